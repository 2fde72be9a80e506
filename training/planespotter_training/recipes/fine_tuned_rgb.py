"""Baseline ladder, step 5: `fine-tuned`, with the preprocessing of the original.

Command: planespotter train CATALOG --recipe fine-tuned-rgb --out RUN
         add --weights FILE for a copy of the ImageNet weights on disk, or --init RUN for the trunk of another run
Device:  one GPU
Minutes: not yet measured
Score:   not yet measured

The ImageNet weights expect BGR from 0 to 255 less the channel means. The original fed them RGB from 0 to 1: the
channels in the wrong order, with about a hundredth of the contrast, and off center. The difference from `fine-tuned` is
what that costs. A run of this recipe cannot be exported.
"""

from dataclasses import replace

from planespotter_training.recipes.fine_tuned import RECIPE as FINE_TUNED

RECIPE = replace(FINE_TUNED, preprocessing="rgb-255")
