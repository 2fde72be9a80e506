"""Baseline ladder, step 1: VGG16 from random weights, without augmentation.

Command: planespotter train CATALOG --recipe scratch --out RUN
         planespotter train CATALOG --baseline-ladder --out DIR    (all five steps, with a chart)
Device:  one GPU; a CPU takes days at full width, so there add
         --set channel_multiplier=0.125 --set height=64 --set width=96
Minutes: not yet measured
Score:   not yet measured

As in the original: 150 x 150 px; 100 epochs of 100 steps of 20 photos; flattened features, a dense layer of 256 units
with ReLU, dropout 0.5; RMSprop at a constant 2e-5; an L2 penalty on the dense layers, whose strength is not on record
(Keras's default here); no augmentation, not even a flip.

Differences from the original, in all steps:
- Photos keep their aspect ratio, padded with the mean colour; it squeezed them to a square.
- The heads are the label tree's, trained jointly; it had the constructor head only.
- Several sources are mixed as in the other recipes; its photos were of one source.
- The network gets BGR less the channel means, as the ImageNet weights expect; it fed RGB from 0 to 1, which is measured
  on its own: `fine-tuned-rgb`.
- Training from random weights has batch normalisation after every convolution: without it, a network this deep hardly
  learns.
"""

from planespotter_training.recipes.config import Recipe

RECIPE = Recipe(
    height=150,
    width=150,
    channel_multiplier=1,
    epochs=100,
    steps_per_epoch=100,
    batch_size=20,
    learning_rate=2e-5,
    schedule="constant",
    warmup_epochs=0,
    optimizer="rmsprop",
    weight_decay=0,
    l2=0.01,
    pooling="flatten",
    hidden_units=256,
    dropout=0.5,
    source_balance=0.5,
    single_constructor_weight=0.2,
    min_photos=20,
    shift=0,
    zoom=0,
    brightness_contrast=0,
    flip=False,
    baseline_head="stop-gradient",
)
