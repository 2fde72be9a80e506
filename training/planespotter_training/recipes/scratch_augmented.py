"""Baseline ladder, step 2: `scratch`, with its augmentation.

Command: planespotter train CATALOG --recipe scratch-augmented --out RUN
Device:  as for scratch
Minutes: not yet measured
Score:   not yet measured

As in the original: rotation up to 40 degrees; shift, shear and zoom up to 0.2; horizontal flip; nearest fill. Keras
takes the shear in radians or in degrees, depending on its version; here it is in radians. `scratch` lists the other
differences.
"""

from dataclasses import replace

from planespotter_training.recipes.scratch import RECIPE as SCRATCH

RECIPE = replace(SCRATCH, rotation=40, shift=0.2, shear=0.2, zoom=0.2, flip=True, fill="nearest")
