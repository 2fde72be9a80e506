"""Adapt: continue from a bundle on a few hundred photos, such as corrected predictions.

Command: planespotter train CATALOG --recipe adapt --init BUNDLE --out RUN
Device:  two CPU cores
Minutes: 4 on two busy cores, for 353 training photos and the installed `airliners`
Score:   not conclusive. With photos of a source that the bundle knows but had not seen, constructor accuracy rose from
         97 % after the first epoch to 100 % and path accuracy from 22 to 24 %, on 37 validation photos: too few to say.

Trains the heads, and after two epochs the last block of convolutions too. The label tree stays that of the bundle, with
its `other` output, and gets further types of the catalog with `min_photos` photos or more. Shape and pooling of the
network are those of the bundle. At its end, the run compares the network with the bundle on the photos that it did not
train on.
"""

from dataclasses import replace

from planespotter_training.recipes.airliners import RECIPE as AIRLINERS

RECIPE = replace(
    AIRLINERS,
    epochs=8,
    steps_per_epoch=0,
    batch_size=16,
    learning_rate=1e-4,
    warmup_epochs=1,
    source_balance=1,
    single_constructor_weight=1,
    min_photos=10,
    pretrained=False,
    train_from="block5_conv1",
    frozen_views=2,
    layer_decay=0.3,
    unfreeze_epochs=2,
    ema_decay=0.98,
    type_balance=0.7,
    keep_types=True,
)
