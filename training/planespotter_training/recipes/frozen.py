"""The original project's third step: only the dense layers learn, on the features of VGG16 from ImageNet.

Command: planespotter train CATALOG --recipe frozen --out RUN
         add --weights FILE for a copy of the ImageNet weights on disk, or --init RUN for the trunk of another run
Device:  one GPU, or a CPU with patience: the convolutions run forward only
Minutes: not yet measured
Score:   not yet measured

Augmentation, head and optimiser are those of scratch-augmented. What differs from the original is told at scratch.
"""

from dataclasses import replace

from planespotter_training.recipes.scratch_augmented import RECIPE as AUGMENTED

RECIPE = replace(AUGMENTED, pretrained=True, norm=False, train_from="heads")
