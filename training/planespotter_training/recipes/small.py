"""For a CPU and the demo: a narrow VGG16 (an eighth of the channels, 64 x 96 px), trained from scratch.

planespotter train CATALOG --recipe small --out RUN
"""

from planespotter_training.recipes.recipe import Recipe

RECIPE = Recipe(
    height=64,
    width=96,
    channels=1 / 8,
    epochs=20,
    batch_size=32,
    learning_rate=2e-3,
    warmup_epochs=1,
    weight_decay=0.05,
    dropout=0.2,
    source_balance=0.5,
    lone_weight=0.2,
    min_photos=20,
    shift=0.08,
    zoom=0.15,
    light=0.25,
    colour=0.8,
)
