"""Split photos into training, validation and test, with all photos of one airframe on the same side."""

import hashlib

import pandas as pd

SPLITS = ("train", "validation", "test")


def assign(photos: pd.DataFrame) -> pd.Series:
    """Return "train", "validation" or "test" for each row: 80, 10 and 10 % of the airframes.

    The side is taken from a hash of the airframe's name, so it stays the same when the catalog grows, and in any other
    catalog with the same aircraft.
    """
    return airframes(photos).map(_side).rename("split")


def airframes(photos: pd.DataFrame) -> pd.Series:
    """Return a name of the airframe for each row: its registration; a photo without one stands for itself."""
    registration = photos["registration"].str.upper().str.replace(r"[^A-Z0-9]", "", regex=True)
    return registration.where(registration != "", "photo " + photos["photo_id"]).rename("airframe")


def _side(group: str) -> str:
    share = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) / 2**64
    return "train" if share < 0.8 else "validation" if share < 0.9 else "test"
