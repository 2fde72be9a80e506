"""Photos of a catalog that a run does not use are counted with the reason."""

import pandas as pd

from planespotter_training.loop.prepare_run import unused_notes


def test_photos_of_other_constructors_and_without_a_label_are_counted() -> None:
    unused = pd.Series(["ATR", "Embraer", "ATR", "", "ATR"])
    first, second = unused_notes(unused, ["Airbus", "Boeing"])
    assert first == ("4 photos are not used for training: the constructor is not Airbus or Boeing (ATR 3, Embraer 1)")
    assert second == "1 photo is not used: the label names no constructor"


def test_nothing_is_reported_if_every_photo_is_used() -> None:
    assert list(unused_notes(pd.Series([], dtype=str), ["Airbus"])) == []
