"""The original project's fourth step: as `frozen`, and the convolutions from block3_conv1 on learn as well.

Command: planespotter train CATALOG --recipe fine-tuned --out RUN
         add --weights FILE for a copy of the ImageNet weights on disk, or --init RUN for the trunk of another run
Device:  one GPU
Minutes: not yet measured
Score:   not yet measured; the original's was 88 % of validation photos, Airbus against Boeing

Begins with the weights of ImageNet and new dense layers, not with what `frozen` has learnt. What differs from the
original is told at scratch.
"""

from dataclasses import replace

from planespotter_training.recipes.frozen import RECIPE as FROZEN

RECIPE = replace(FROZEN, train_from="block3_conv1")
