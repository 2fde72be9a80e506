"""Feature cache: arrays of one shape on disk, by content key, each computed once.

FOLDER/meta.json      what the features are of; a folder holds features of one kind
FOLDER/features.bin   uint8 records of one size, in the order in which they were computed
FOLDER/keys.bin       the key of each record

A record counts once its key is written, which happens after the record: an interrupted write leaves a cache without the
last records. One process writes at a time.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planespotter_training.atomic_write import lock, write_text
from planespotter_training.errors import TrainingError

KEY_BYTES = 16

Features = NDArray[np.uint8]


def content_key(pixels: NDArray[np.uint8], view: int) -> bytes:
    """Return the key of a view of a photo: views of equal pixels have equal keys, in any run and catalog.

    Args:
        pixels: The photo as it enters the network, before augmentation.
        view: Number of the view, from 0 to 255.
    """
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).digest()[: KEY_BYTES - 1] + bytes([view])


class FeatureCache:
    """An open cache; create it with `open_cache`."""

    def __init__(self, folder: Path, meta: Mapping[str, Any], shape: tuple[int, ...]) -> None:
        self.meta, self.shape = meta, shape
        self._size = math.prod(shape)
        self._features = (folder / "features.bin").open("a+b")
        self._keys = (folder / "keys.bin").open("a+b")
        self._keys.seek(0)
        known = self._keys.read()
        count = min(len(known) // KEY_BYTES, os.fstat(self._features.fileno()).st_size // self._size)
        self._features.truncate(count * self._size)
        self._keys.truncate(count * KEY_BYTES)
        self._slots = {known[slot * KEY_BYTES : (slot + 1) * KEY_BYTES]: slot for slot in range(count)}

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, keys: Sequence[bytes], compute: Callable[[list[int]], Features]) -> Features:
        """Return the features of `keys`, uint8 [n, *shape].

        Args:
            keys: From `content_key`.
            compute: Returns the features uint8 [m, *shape] of those among the keys, by index, that are not there yet.

        Raises:
            TrainingError: The disk is full.
        """
        missing = {key: index for index, key in enumerate(keys) if key not in self._slots}
        if missing:
            self._append(list(missing), compute(list(missing.values())))
        result = np.empty((len(keys), *self.shape), np.uint8)
        for index, key in enumerate(keys):
            record = os.pread(self._features.fileno(), self._size, self._slots[key] * self._size)
            result[index] = np.frombuffer(record, np.uint8).reshape(self.shape)
        return result

    def _append(self, keys: list[bytes], features: Features) -> None:
        try:
            self._features.write(features.tobytes())
            self._features.flush()
            self._keys.write(b"".join(keys))
            self._keys.flush()
        except OSError as error:
            gigabytes = (len(self) + len(keys)) * self._size / 1e9
            raise TrainingError(
                f"The features of frozen layers cannot be kept on disk: {error.strerror or error}. They take "
                f"{gigabytes:.1f} GB so far. Free some space, train with fewer --set frozen_views=..., or with 0."
            ) from error
        for key in keys:
            self._slots[key] = len(self._slots)

    def close(self) -> None:
        """Close the files."""
        self._features.close()
        self._keys.close()


@contextmanager
def open_cache(
    folder: Path, identity: Mapping[str, Any], shape: tuple[int, ...], describe: Callable[[], Mapping[str, Any]]
) -> Iterator[FeatureCache]:
    """Open the cache in `folder`, or create it.

    Args:
        folder: Its folder.
        identity: JSON that decides what the features are; a cache of another identity is rejected.
        shape: Shape of the features of one view.
        describe: Called for a new cache; returns JSON that is kept next to the identity, as `meta` of the cache.

    Raises:
        TrainingError: The folder holds features of another kind, or another process uses it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        path = folder / "meta.json"
        if not path.is_file():
            write_text(path, json.dumps({"identity": identity, "shape": shape, **describe()}) + "\n")
        meta = json.loads(path.read_text(encoding="utf-8"))
        # JSON has lists only, and both sides must be compared in the same form.
        if meta["identity"] != json.loads(json.dumps(identity)) or meta["shape"] != list(shape):
            raise TrainingError(
                f"{folder} holds features of other frozen layers, another photo size or another augmentation. Name "
                "another folder with --feature-cache, or delete this one."
            )
        cache = FeatureCache(folder, meta, shape)
        try:
            yield cache
        finally:
            cache.close()
