"""Baseline ladder, step 4: as `frozen`, with the convolutions from block3_conv1 on fine-tuned.

Command: planespotter train CATALOG --recipe fine-tuned --out RUN
         add --weights FILE for a copy of the ImageNet weights on disk, or --init RUN for the trunk of another run
Device:  one GPU
Minutes: not yet measured
Score:   not yet measured; the original's was 88 % of validation photos, Airbus against Boeing

Starts from the ImageNet weights and new dense layers, not from the weights of `frozen`. `scratch` lists the differences
from the original.
"""

from dataclasses import replace

from planespotter_training.recipes.frozen import RECIPE as FROZEN

RECIPE = replace(FROZEN, train_from="block3_conv1")
