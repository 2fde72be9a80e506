"""Augmentation: deterministic by key, and no operation changes a photo at strength 0."""

from typing import Any

import jax
import numpy as np
import pytest

from planespotter_training.data import augment as augmentation

pytestmark = pytest.mark.slow

NOTHING: dict[str, Any] = {"shift": 0.0, "zoom": 0.0, "brightness_contrast": 0.0, "channel_mixing": 0.0}


def augment(batch: Any, key: jax.Array, **settings: Any) -> jax.Array:
    compiled = jax.jit(augmentation.augment, static_argnames="settings")
    photos: jax.Array = compiled(batch, key, settings=augmentation.Augmentation(**settings))
    return photos


def photos(n: int) -> jax.Array:
    return jax.random.randint(jax.random.key(1), (n, 32, 48, 3), 0, 256).astype(np.uint8)


def test_without_augmentation_a_photo_is_unchanged_or_flipped() -> None:
    batch = photos(64)
    result = np.asarray(augment(batch, jax.random.key(0), **NOTHING)).astype(int)
    same = np.abs(result - batch).max(axis=(1, 2, 3)) <= 1
    flipped = np.abs(result - batch[:, :, ::-1]).max(axis=(1, 2, 3)) <= 1
    assert (same | flipped).all()
    assert 10 < flipped.sum() < 54


@pytest.mark.parametrize(
    "settings",
    [
        {"fill": "nearest"},
        {"rotation": 1e-6},
        {"randaugment_ops": 10, "randaugment_magnitude": 0.0},
    ],
)
def test_no_operation_changes_a_photo_at_strength_0(settings: dict[str, object]) -> None:
    batch = photos(4)
    result = np.asarray(augment(batch, jax.random.key(0), **NOTHING, flip=False, **settings)).astype(int)
    np.testing.assert_allclose(result, batch, atol=1)


def test_augmentation_is_deterministic_by_key() -> None:
    batch = photos(4)
    settings = {"shift": 0.1, "zoom": 0.2, "brightness_contrast": 0.3, "channel_mixing": 0.5}
    first, again, other = (augment(batch, jax.random.key(key), **settings) for key in (0, 0, 1))
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_channel_mixing_keeps_grey_and_changes_other_colours() -> None:
    grey = np.full((4, 32, 48, 3), 90, np.uint8)
    settings = {**NOTHING, "channel_mixing": 0.9}
    np.testing.assert_allclose(augment(grey, jax.random.key(0), **settings), grey, atol=1)
    batch = photos(4)
    mixed = np.asarray(augment(batch, jax.random.key(0), **settings)).astype(float)
    assert np.abs(mixed.std(axis=(1, 2)) / np.asarray(batch).astype(float).std(axis=(1, 2)) - 1).max() > 0.1


def test_a_rotation_by_180_degrees_turns_the_photo_upside_down() -> None:
    # All angles up to 180 degrees are equally likely: the largest of 64 is nearly upside down.
    ramp = np.broadcast_to(np.linspace(20, 220, 32).reshape(1, 32, 1, 1), (64, 32, 48, 3)).astype(np.uint8)
    result = np.asarray(augment(ramp, jax.random.key(0), **NOTHING, flip=False, rotation=180.0, fill="nearest"))
    centre = result[:, :, 24, 0].astype(float)
    assert (centre[:, 24] - centre[:, 8]).min() < -80
    assert (centre[:, 24] - centre[:, 8]).max() > 80


def test_areas_outside_the_photo_are_filled_with_the_nearest_pixel_or_the_mean() -> None:
    framed = np.full((16, 32, 48, 3), 60, np.uint8)
    framed[:, 4:-4, 4:-4] = 200
    settings = {**NOTHING, "shift": 0.5, "flip": False}
    nearest = np.asarray(augment(framed, jax.random.key(0), **settings, fill="nearest"))
    assert (nearest.min(), nearest.max()) == (60, 200)
    assert not np.isin(nearest, [60, 200]).all()  # interpolated
    mean = np.asarray(augment(framed, jax.random.key(0), **settings))
    assert (mean == round(float(framed[0].mean()))).any()


def test_randaugment_chooses_the_given_number_of_operations_within_the_magnitude() -> None:
    keys = jax.random.split(jax.random.key(0), 200)
    settings = augmentation.Augmentation(**NOTHING, randaugment_ops=2, randaugment_magnitude=0.5)
    amounts = jax.vmap(lambda key: augmentation._sample_ops(key, jax.random.fold_in(key, 1), settings))(keys)
    assert set((np.stack(list(amounts.values())) != 0).sum(axis=0)) == {2}
    for name, maximum in augmentation.RANDAUGMENT_OPS.items():
        assert 0 < np.abs(amounts[name]).max() <= maximum / 2
