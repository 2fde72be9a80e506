"""Data split: train, validation and test, by airframe and near duplicate, so that no split leaks into another."""

import hashlib

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SPLITS = ("train", "validation", "test")


def assign(photos: pd.DataFrame, near_duplicates: pd.Series | None = None) -> pd.Series:
    """Assign each photo to a split: 80, 10 and 10 % of the airframes.

    The split is derived from a hash of the airframe's name, so it is stable when the catalog grows, and the same in any
    other catalog with the same aircraft.

    Args:
        photos: Rows of a catalog.
        near_duplicates: Group number of near duplicates for each row, as from the catalog. Photos that are connected by
            airframes and groups all go to the first of their splits, in the order of SPLITS. So a photo may leave the
            test split when more are collected, but one that was trained on never enters it.

    Returns:
        "train", "validation" or "test" for each row.
    """
    splits = airframes(photos).map(_split_of)
    return (splits if near_duplicates is None else unify(splits, photos, near_duplicates)).rename("split")


def unify(splits: pd.Series, photos: pd.DataFrame, near_duplicates: pd.Series) -> pd.Series:
    """Move all photos that airframes and near duplicates connect to the first of their `splits`."""
    order = splits.map(SPLITS.index)
    return order.groupby(_connected(airframes(photos), near_duplicates)).transform("min").map(dict(enumerate(SPLITS)))


def hold_out(splits: pd.Series, photos: pd.DataFrame, near_duplicates: pd.Series, selected: pd.Series) -> pd.Series:
    """Move the photos `selected` [n, bool] to the test split, and all photos of the same airframes or near duplicates.

    Without these, training would see the aircraft that it is tested on, in other photos.
    """
    return splits.mask(_with_connected(photos, near_duplicates, selected), "test")


def train_only(splits: pd.Series, photos: pd.DataFrame, near_duplicates: pd.Series, selected: pd.Series) -> pd.Series:
    """Move the photos `selected` [n, bool] to the train split, and all photos of the same airframes or near duplicates.

    Without these, networks would be tested on what they were trained on.
    """
    return splits.mask(_with_connected(photos, near_duplicates, selected), "train")


def _with_connected(photos: pd.DataFrame, near_duplicates: pd.Series, selected: pd.Series) -> pd.Series:
    """Return a mask of the photos `selected` [n, bool] and all photos that airframes and near duplicates connect."""
    return selected.groupby(_connected(airframes(photos), near_duplicates)).transform("any")


def airframes(photos: pd.DataFrame) -> pd.Series:
    """Return the airframe of each row: its registration, or for a photo without one a name unique to the photo."""
    registration = photos["registration"].str.upper().str.replace(r"[^A-Z0-9]", "", regex=True)
    return registration.where(registration != "", "photo " + photos["photo_id"]).rename("airframe")


def splits_by_source(photos: pd.DataFrame, near_duplicates: pd.Series) -> pd.DataFrame:
    """Count the photos of each source in each split.

    Returns:
        A row for each source and one for "all". The columns are the splits, and the number of airframes and of groups
        of near duplicates that leak over several splits.
    """
    marked = photos.assign(airframe=airframes(photos), group=near_duplicates.loc[photos.index])
    kinds = {"airframe": "airframes", "group": "near duplicates"}
    spread = {column: marked.groupby(column)["split"].nunique() for column in kinds}
    rows = {}
    for source, part in [*marked.groupby("source"), ("all", marked)]:
        leaks = {
            f"{kinds[column]} in several splits": int((splits[part[column].unique()] > 1).sum())
            for column, splits in spread.items()
        }
        rows[str(source)] = {split: int((part["split"] == split).sum()) for split in SPLITS} | leaks
    return pd.DataFrame.from_dict(rows, orient="index")


def _connected(*groupings: pd.Series) -> np.ndarray:
    """Return a component number for each row; rows that share a group in any of `groupings` are connected."""
    rows = len(groupings[0])
    codes = [pd.factorize(grouping)[0] for grouping in groupings]
    starts = np.cumsum([rows, *(code.max(initial=-1) + 1 for code in codes)])
    ends = np.concatenate([code + start for code, start in zip(codes, starts, strict=False)])
    graph = coo_array(
        (np.ones(len(ends), bool), (np.tile(np.arange(rows), len(codes)), ends)), shape=(starts[-1], starts[-1])
    )
    groups: np.ndarray = connected_components(graph, directed=False)[1]
    return groups[:rows]


def _split_of(airframe: str) -> str:
    share = int.from_bytes(hashlib.sha256(airframe.encode()).digest()[:8]) / 2**64
    return "train" if share < 0.8 else "validation" if share < 0.9 else "test"
