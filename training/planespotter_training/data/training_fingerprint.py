"""Training fingerprint: hashes in a bundle of the photos it was made with, so that evaluation can exclude them.

Airframes, image files and the sources' own photo ids are stored as hashes of 6 bytes: enough to recognise one, too
short to list what was there. The file hash changes when a photo is cropped or saved again; the id does not.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from planespotter_training.data.split import airframes, assign, unify

SIZE = 6
USED = ("train", "validation")
"""The splits that a bundle is made with: trained on the first, calibrated on the second."""


def make_fingerprint(photos: pd.DataFrame) -> dict[str, Any] | None:
    """Compute the training fingerprint of a run.

    Args:
        photos: The rows of its split.csv.

    Returns:
        JSON for `match_splits`; None if the columns airline and sha256 are missing.
    """
    if not {"airline", "sha256"} <= set(photos.columns):
        return None
    fingerprint: dict[str, Any] = {
        split: base64.b64encode(b"".join(sorted(set(_all_keys(photos[photos["split"] == split]))))).decode()
        for split in USED
    }
    train = photos[photos["split"] == "train"]
    fingerprint["airlines"] = {str(name): int(n) for name, n in train["airline"].value_counts().items() if name}
    return fingerprint


def match_splits(
    fingerprint: Mapping[str, Any] | None,
    photos: pd.DataFrame,
    folder: Path,
    near_duplicates: pd.Series | None = None,
) -> pd.Series:
    """Find the split that each photo of a catalog had in training.

    A photo matches a split if its airframe, file or id does, or if it is a near duplicate of a photo that does.

    Args:
        fingerprint: From `make_fingerprint`. Without one, the split is that of `split.assign`, which depends on the
            catalog only through near duplicates.
        photos: Rows of the catalog.
        folder: Folder of the catalog.
        near_duplicates: Group number of near duplicates for each row.

    Returns:
        "train", "validation", or "test" if it was in neither.
    """
    if not fingerprint:
        return assign(photos, near_duplicates)
    splits = pd.Series("test", index=photos.index, name="split")
    keys = [set(_keys(*row, folder=folder)) for row in _identities(photos)]
    for split in reversed(USED):
        packed = base64.b64decode(fingerprint[split])
        known = {packed[start : start + SIZE] for start in range(0, len(packed), SIZE)}
        splits[np.array([bool(of_photo & known) for of_photo in keys], bool)] = split
    return splits if near_duplicates is None else unify(splits, photos, near_duplicates).rename("split")


def _identities(photos: pd.DataFrame) -> Iterable[tuple[str, str, str, str, str]]:
    columns = photos["photo_id"], photos["source"], airframes(photos), photos["sha256"], photos["file"]
    return zip(*columns, strict=True)


def _all_keys(photos: pd.DataFrame) -> Iterator[bytes]:
    for identity in _identities(photos):
        keys = list(_keys(*identity))
        # A photo id without its source is unique in one catalog only: used where nothing better is known.
        yield from keys[1:] or keys


def _keys(
    photo_id: str, source: str, airframe: str, sha256: str, file: str, folder: Path | None = None
) -> Iterator[bytes]:
    yield _short(f"photo {photo_id}")
    if source:
        yield _short(f"photo {photo_id} of {source}")
    if not airframe.startswith("photo "):
        yield _short(f"airframe {airframe}")
    if sha256 or folder:
        yield _short(f"file {sha256.lower() or hashlib.sha256((folder / file).read_bytes()).hexdigest()}")  # type: ignore[operator]


def _short(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:SIZE]
