"""Augmentation: photos stay photos, and the same key gives the same picture."""

from functools import partial

import jax
import numpy as np

from planespotter_training import augment as augmentation

augment = partial(jax.jit, static_argnames=("shift", "zoom", "light", "colour"))(augmentation.augment)


def photos(n: int) -> jax.Array:
    return jax.random.randint(jax.random.key(1), (n, 32, 48, 3), 0, 256).astype(np.uint8)


def test_with_nothing_to_change_a_photo_is_itself_or_its_mirror_image() -> None:
    batch = photos(64)
    found = np.asarray(augment(batch, jax.random.key(0), shift=0, zoom=0, light=0, colour=0)).astype(int)
    same = np.abs(found - batch).max(axis=(1, 2, 3)) <= 1
    mirrored = np.abs(found - batch[:, :, ::-1]).max(axis=(1, 2, 3)) <= 1
    assert (same | mirrored).all()
    assert 10 < mirrored.sum() < 54


def test_the_key_decides_the_picture() -> None:
    batch = photos(4)
    one, again, other = (
        augment(batch, jax.random.key(key), shift=0.1, zoom=0.2, light=0.3, colour=0.5) for key in (0, 0, 1)
    )
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_recolouring_leaves_grey_grey_and_changes_all_else() -> None:
    grey = np.full((4, 32, 48, 3), 90, np.uint8)
    found = augment(grey, jax.random.key(0), shift=0, zoom=0, light=0, colour=0.9)
    np.testing.assert_allclose(found, grey, atol=1)
    batch = photos(4)
    recoloured = np.asarray(augment(batch, jax.random.key(0), shift=0, zoom=0, light=0, colour=0.9)).astype(float)
    assert np.abs(recoloured.std(axis=(1, 2)) / np.asarray(batch).astype(float).std(axis=(1, 2)) - 1).max() > 0.1
