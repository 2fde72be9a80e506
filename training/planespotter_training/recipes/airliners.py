"""Airliners: the network that ships. VGG16 from ImageNet, fine-tuned from block 4 on, on photos of 176 x 112 px.

Command: planespotter train CATALOG --recipe airliners --out RUN
Device:  two CPU cores, or one GPU
"""

from planespotter_training.recipes.config import Recipe

RECIPE = Recipe(
    height=112,
    width=176,
    channel_multiplier=1,
    epochs=7,
    steps_per_epoch=250,
    batch_size=32,
    learning_rate=5e-4,
    warmup_epochs=0.4,
    weight_decay=0.05,
    dropout=0.3,
    source_balance=0.5,
    single_constructor_weight=0.2,
    min_photos=20,
    shift=0.08,
    zoom=0.25,
    brightness_contrast=0.25,
    channel_mixing=0.5,
    batch_norm=False,
    pretrained=True,
    pooling="covariance",
    other_output=True,
    label_smoothing=0.05,
    train_from="block4_conv1",
    frozen_views=3,
    layer_decay=0.35,
    unfreeze_epochs=0.3,
    ema_decay=0.995,
    type_balance=0.5,
    rotation=8,
    randaugment_ops=1,
    randaugment_magnitude=0.3,
)
