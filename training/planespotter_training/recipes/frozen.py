"""Baseline ladder, step 3: train only the dense layers, on frozen features of VGG16 from ImageNet.

Command: planespotter train CATALOG --recipe frozen --out RUN
         add --weights FILE for a copy of the ImageNet weights on disk, or --init RUN for the trunk of another run
Device:  one GPU, or a CPU for hours: the convolutions run forward only
Minutes: not yet measured
Score:   not yet measured

Augmentation, head and optimizer are those of `scratch-augmented`. `scratch` lists the differences from the original.
"""

from dataclasses import replace

from planespotter_training.recipes.scratch_augmented import RECIPE as AUGMENTED

RECIPE = replace(AUGMENTED, pretrained=True, batch_norm=False, train_from="heads")
