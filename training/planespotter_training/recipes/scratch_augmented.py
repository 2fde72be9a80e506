"""The original project's second step: `scratch`, with its augmentation.

Command: planespotter train CATALOG --recipe scratch-augmented --out RUN
Device:  as for scratch
Minutes: not yet measured
Score:   not yet measured

As in the original: turned by up to 40 degrees; shifted, sheared and scaled by up to 0.2; half of the photos mirrored;
what comes in from outside is the nearest pixel. Its shear was in radians or in degrees, depending on the version
of Keras; here it is in radians. What else differs is told at scratch.
"""

from dataclasses import replace

from planespotter_training.recipes.scratch import RECIPE as SCRATCH

RECIPE = replace(SCRATCH, rotation=40, shift=0.2, shear=0.2, zoom=0.2, flip=True, fill="nearest")
