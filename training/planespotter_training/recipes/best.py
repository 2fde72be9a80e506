"""Ours: VGG16 from ImageNet, all of it trained, on photos of 288 x 192 px.

Command: planespotter train CATALOG --recipe best --out RUN
         without the ImageNet weights, from random ones: add --set pretrained=false --set norm=true
         --set layer_decay=1 --set unfreeze_epochs=0 --set learning_rate=0.001
Device:  one GPU
Minutes: not yet measured
Score:   not yet measured

What each part gains is not yet measured. Each can be taken away by one setting, the rest staying as it is:

| part                                            | without it              |
|-------------------------------------------------|-------------------------|
| resolution of 288 x 192 px                      | height=96 width=144     |
| the largest value of each feature, and its mean | pooling=average         |
| label smoothing                                 | label_smoothing=0       |
| two operations of RandAugment                   | random_ops=0            |
| the average of the weights                      | ema=0                   |
| slower rates for earlier blocks                 | layer_decay=1           |
| heads first, then block after block             | unfreeze_epochs=0       |
| rare types drawn more often                     | type_balance=1          |
| the mirrored photo at answer time               | mirror=false            |
"""

from planespotter_training.recipes.recipe import Recipe

RECIPE = Recipe(
    height=192,
    width=288,
    channels=1,
    epochs=30,
    batch_size=32,
    learning_rate=3e-4,
    warmup_epochs=1,
    weight_decay=0.05,
    dropout=0.3,
    source_balance=0.5,
    lone_weight=0.2,
    min_photos=20,
    shift=0.08,
    zoom=0.15,
    light=0.25,
    colour=0.5,
    norm=False,
    pretrained=True,
    pooling="average+max",
    mirror=True,
    control="stopped",
    label_smoothing=0.1,
    layer_decay=0.7,
    unfreeze_epochs=0.5,
    ema=0.999,
    type_balance=0.5,
    random_ops=2,
    random_strength=0.3,
)
