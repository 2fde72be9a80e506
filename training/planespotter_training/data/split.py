"""Split photos into training, validation and test: those of one airframe together, and those that look alike."""

import hashlib

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SPLITS = ("train", "validation", "test")


def assign(photos: pd.DataFrame, looks: pd.Series | None = None) -> pd.Series:
    """Return "train", "validation" or "test" for each row: 80, 10 and 10 % of the airframes.

    The side is taken from a hash of the airframe's name, so it stays the same when the catalog grows, and in any other
    catalog with the same aircraft. `looks` numbers groups of near duplicates, as catalog.near_duplicate_groups does:
    where such a group (or a chain of groups and airframes) would come to lie on several sides, all of it goes to
    the first of them in the order of SPLITS. So a photo may leave the test when more are collected, but one that was
    trained on never enters it.
    """
    sides = airframes(photos).map(_side)
    return (sides if looks is None else spread(sides, photos, looks)).rename("split")


def spread(sides: pd.Series, photos: pd.DataFrame, looks: pd.Series) -> pd.Series:
    """Return `sides` with all photos that airframes and `looks` tie together on the first of their sides."""
    order = sides.map(SPLITS.index)
    return order.groupby(_joined(airframes(photos), looks)).transform("min").map(dict(enumerate(SPLITS)))


def keep_out(sides: pd.Series, photos: pd.DataFrame, looks: pd.Series, chosen: pd.Series) -> pd.Series:
    """Return `sides` with the photos `chosen` [n, bool] in the test, and all that airframes and `looks` tie to them.

    Without these, training would have seen the very aircraft that it is tested on, in other photos.
    """
    return sides.mask(chosen.groupby(_joined(airframes(photos), looks)).transform("any"), "test")


def airframes(photos: pd.DataFrame) -> pd.Series:
    """Return a name of the airframe for each row: its registration; a photo without one stands for itself."""
    registration = photos["registration"].str.upper().str.replace(r"[^A-Z0-9]", "", regex=True)
    return registration.where(registration != "", "photo " + photos["photo_id"]).rename("airframe")


def sides_by_source(photos: pd.DataFrame, looks: pd.Series) -> pd.DataFrame:
    """Return how the `split` of `photos` came out for each source, and for all: one row each.

    The columns are the photos on each side, and then how many airframes, and groups of `looks`, lie on several sides.
    """
    marked = photos.assign(airframe=airframes(photos), look=looks.loc[photos.index])
    spread = {name: marked.groupby(name)["split"].nunique() for name in ("airframe", "look")}
    rows = {}
    for source, part in [*marked.groupby("source"), ("all", marked)]:
        several = {name: int((sides[part[name].unique()] > 1).sum()) for name, sides in spread.items()}
        counts = {side: int((part["split"] == side).sum()) for side in SPLITS}
        rows[str(source)] = counts | {f"{name}s on several sides": count for name, count in several.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def _joined(*groupings: pd.Series) -> np.ndarray:
    """Return the number of the group of each row, where rows that share a group in any of `groupings` are together."""
    rows = len(groupings[0])
    codes = [pd.factorize(grouping)[0] for grouping in groupings]
    starts = np.cumsum([rows, *(code.max(initial=-1) + 1 for code in codes)])
    ends = np.concatenate([code + start for code, start in zip(codes, starts, strict=False)])
    graph = coo_array(
        (np.ones(len(ends), bool), (np.tile(np.arange(rows), len(codes)), ends)), shape=(starts[-1], starts[-1])
    )
    groups: np.ndarray = connected_components(graph, directed=False)[1]
    return groups[:rows]


def _side(group: str) -> str:
    share = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) / 2**64
    return "train" if share < 0.8 else "validation" if share < 0.9 else "test"
