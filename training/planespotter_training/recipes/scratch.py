"""The original project's first step: VGG16 from random weights on the photos as they are.

Command: planespotter train CATALOG --recipe scratch --out RUN
         planespotter train CATALOG --ladder --out DIR    (this and the three that follow, with their figure)
Device:  one GPU; a CPU takes days at full width, so there add --set channels=0.125 --set height=64 --set width=96
Minutes: not yet measured
Score:   not yet measured

As in the original: 150 x 150 px; 100 epochs of 100 steps of 20 photos; the features laid out flat, a dense layer of 256
units with ReLU, dropout of one half; RMSprop at a constant 2e-5; a penalty on the squared weights of the dense layers,
whose strength is not on record (it is Keras's default here); no augmentation, not even mirroring.

Not as in the original, in all four steps:
- Photos keep their proportions, on a ground of mean colour; it squeezed them to a square.
- The heads are the label tree's, trained together; it had the first stage only.
- Several sources are mixed as in the other recipes: its photos were of one.
- The ImageNet weights get blue, green, red less their means, as they expect; it fed red, green, blue from 0 to 1.
- Where training starts from random weights, every convolution is followed by batch normalisation: without it, so
  many layers hardly learn from random weights.
"""

from planespotter_training.recipes.config import Recipe

RECIPE = Recipe(
    height=150,
    width=150,
    channels=1,
    epochs=100,
    steps_per_epoch=100,
    batch_size=20,
    learning_rate=2e-5,
    schedule="constant",
    warmup_epochs=0,
    optimiser="rmsprop",
    weight_decay=0,
    l2=0.01,
    pooling="flatten",
    hidden=256,
    dropout=0.5,
    source_balance=0.5,
    lone_weight=0.2,
    min_photos=20,
    shift=0,
    zoom=0,
    light=0,
    flip=False,
    control="stopped",
)
