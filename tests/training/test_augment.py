"""Augmentation: photos stay photos, and the same key gives the same picture."""

from functools import partial

import jax
import numpy as np

from planespotter_training import augment as augmentation

augment = partial(jax.jit, static_argnames=("shift", "zoom", "light"))(augmentation.augment)


def photos(n: int) -> jax.Array:
    return jax.random.randint(jax.random.key(1), (n, 32, 48, 3), 0, 256).astype(np.uint8)


def test_with_nothing_to_change_a_photo_is_itself_or_its_mirror_image() -> None:
    batch = photos(64)
    found = np.asarray(augment(batch, jax.random.key(0), shift=0, zoom=0, light=0)).astype(int)
    same = np.abs(found - batch).max(axis=(1, 2, 3)) <= 1
    mirrored = np.abs(found - batch[:, :, ::-1]).max(axis=(1, 2, 3)) <= 1
    assert (same | mirrored).all()
    assert 10 < mirrored.sum() < 54


def test_the_key_decides_the_picture() -> None:
    batch = photos(4)
    one, again, other = (augment(batch, jax.random.key(key), shift=0.1, zoom=0.2, light=0.3) for key in (0, 0, 1))
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
