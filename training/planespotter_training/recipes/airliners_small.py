"""Airliners-small: a narrow VGG16 (a quarter of the channels, 144 x 96 px) for those who count milliseconds.

Command: planespotter train CATALOG --recipe airliners-small --teacher BUNDLE --out RUN
Device:  two CPU cores, or one GPU
Minutes: about 60 on two busy cores, in the steps of the installed network's model card
Score:   on 96 photos of a source that neither it nor its teacher saw: constructor 71.6 %, family 25.4 %, AUROC of
         out-of-taxonomy aircraft 0.896

It is distilled from the bundle of a large network, whose predictions for photo and flip are learnt next to the labels.
So photos that name the constructor only teach types, too.

The same layers trained on labels alone, on four sources and without the `other` output, had 61.2 %, 19.6 % and 0.461
there.

Not measured: other weights and temperatures of the distillation, unlabelled photos, a start from random weights.
"""

from planespotter_training.recipes.config import Recipe

RECIPE = Recipe(
    height=96,
    width=144,
    channel_multiplier=1 / 4,
    epochs=12,
    batch_size=32,
    learning_rate=1.5e-3,
    warmup_epochs=0.5,
    weight_decay=0.05,
    dropout=0.1,
    source_balance=0.5,
    single_constructor_weight=0.2,
    min_photos=20,
    shift=0.08,
    zoom=0.2,
    brightness_contrast=0.25,
    channel_mixing=0.5,
    batch_norm=True,
    pooling="average+max",
    other_output=True,
    distillation_weight=0.7,
    distillation_temperature=2.0,
    ema_decay=0.998,
    type_balance=0.5,
)
