"""What a bundle remembers of the photos it was made with, so that nobody measures it on them unawares.

Airframes, image files and the sources' own names of photos are kept as hashes of 6 bytes: enough to know one again, too
short to list what was there. The file changes when a photo is cropped or saved anew, the name does not.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from planespotter_training.data.split import airframes, assign, spread

SIZE = 6
USED = ("train", "validation")
"""The sides that a bundle is made with: it was trained on the first and calibrated on the second."""


def remember(photos: pd.DataFrame) -> dict[str, Any] | None:
    """Return what `recall` takes, as JSON: `photos` are the rows of a run's split.csv. None for one of an older run."""
    if not {"airline", "sha256"} <= set(photos.columns):
        return None
    remembered: dict[str, Any] = {
        side: base64.b64encode(b"".join(sorted(set(_all_keys(photos[photos["split"] == side]))))).decode()
        for side in USED
    }
    train = photos[photos["split"] == "train"]
    remembered["airlines"] = {str(name): int(n) for name, n in train["airline"].value_counts().items() if name}
    return remembered


def recall(
    remembered: Mapping[str, Any] | None, photos: pd.DataFrame, folder: Path, looks: pd.Series | None = None
) -> pd.Series:
    """Return the side of each row of the catalog in `folder`: "train", "validation", or "test" if on neither.

    It is on a side if its airframe, file or name is, or if it looks like a photo of the catalog that is: `looks` gives
    groups of near duplicates, as catalog.near_duplicate_groups does. If the bundle remembers nothing, the side is what
    the split gives, which is the same for every catalog but for the looks.
    """
    if not remembered:
        return assign(photos, looks)
    sides = pd.Series("test", index=photos.index, name="split")
    keys = [set(_keys(*row, folder=folder)) for row in _identities(photos)]
    for side in reversed(USED):
        packed = base64.b64decode(remembered[side])
        known = {packed[start : start + SIZE] for start in range(0, len(packed), SIZE)}
        sides[np.array([bool(mine & known) for mine in keys], bool)] = side
    return sides if looks is None else spread(sides, photos, looks).rename("split")


def _identities(photos: pd.DataFrame) -> Iterable[tuple[str, str, str, str, str]]:
    columns = photos["photo_id"], photos["source"], airframes(photos), photos["sha256"], photos["file"]
    return zip(*columns, strict=True)


def _all_keys(photos: pd.DataFrame) -> Iterator[bytes]:
    for identity in _identities(photos):
        keys = list(_keys(*identity))
        # Ids of photos without their source are only unique in one catalog: they serve where nothing better is known.
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
