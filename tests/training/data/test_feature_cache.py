"""Feature cache: each view of a photo is computed once, in this run or another, and survives a crash."""

from pathlib import Path

import numpy as np
import pytest

from planespotter_training.data.feature_cache import KEY_BYTES, content_key, open_cache
from planespotter_training.errors import TrainingError

SHAPE = (2, 3)


class Computer:
    """Computes features that contain their key, and counts them."""

    def __init__(self, keys: list[bytes]) -> None:
        self.keys, self.computed = keys, 0

    def __call__(self, missing: list[int]) -> np.ndarray:
        self.computed += len(missing)
        return np.stack([features_of(self.keys[index]) for index in missing])


def features_of(key: bytes) -> np.ndarray:
    return np.frombuffer(key[:6], np.uint8).reshape(SHAPE)


def keys_of(*numbers: int) -> list[bytes]:
    return [content_key(np.full((4, 4, 3), number, np.uint8), view=number % 3) for number in numbers]


def fetch(folder: Path, *numbers: int, identity: str = "a") -> int:
    """Get the features of some photos, check them, and return how many had to be computed."""
    keys = keys_of(*numbers)
    compute = Computer(keys)
    with open_cache(folder, {"kind": identity}, SHAPE, lambda: {"scale": 2}) as cache:
        assert cache.meta["scale"] == 2
        np.testing.assert_array_equal(cache.get(keys, compute), [features_of(key) for key in keys])
    return compute.computed


def test_features_are_computed_once_also_if_a_batch_repeats_a_photo(tmp_path: Path) -> None:
    assert fetch(tmp_path, 1, 2, 1) == 2
    assert fetch(tmp_path, 2, 3) == 1
    assert fetch(tmp_path, 1, 2, 3) == 0


def test_views_of_a_photo_and_equal_views_of_two_photos_have_different_keys() -> None:
    photos = [np.full((4, 4, 3), value, np.uint8) for value in (1, 2)]
    keys = {content_key(photo, view) for photo in photos for view in (0, 1, 255)}
    assert len(keys) == 6
    assert {len(key) for key in keys} == {KEY_BYTES}


@pytest.mark.parametrize("file", ["features.bin", "keys.bin"])
def test_a_record_that_a_crash_cut_off_is_computed_again(tmp_path: Path, file: str) -> None:
    fetch(tmp_path, 1, 2, 3)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-1])
    assert fetch(tmp_path, 1, 2, 3) == 1
    assert fetch(tmp_path, 1, 2, 3) == 0


def test_features_of_another_kind_are_rejected(tmp_path: Path) -> None:
    fetch(tmp_path, 1)
    with pytest.raises(TrainingError, match="other frozen layers, another photo size or another augmentation"):
        fetch(tmp_path, 1, identity="b")


def test_two_processes_cannot_write_at_a_time(tmp_path: Path) -> None:
    with open_cache(tmp_path, {}, SHAPE, dict), pytest.raises(TrainingError, match="Another training is writing"):
        fetch(tmp_path, 1)
