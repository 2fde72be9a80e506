"""Augmentation: photos stay photos, and the same key gives the same picture."""

from functools import partial

import jax
import numpy as np
import pytest

from planespotter_training.data import augment as augmentation

pytestmark = pytest.mark.slow

NOTHING = {"shift": 0.0, "zoom": 0.0, "light": 0.0, "colour": 0.0}
augment = partial(
    jax.jit,
    static_argnames=(*NOTHING, "flip", "rotation", "shear", "random_ops", "random_strength", "fill"),
)(augmentation.augment)


def photos(n: int) -> jax.Array:
    return jax.random.randint(jax.random.key(1), (n, 32, 48, 3), 0, 256).astype(np.uint8)


def test_with_nothing_to_change_a_photo_is_itself_or_its_mirror_image() -> None:
    batch = photos(64)
    found = np.asarray(augment(batch, jax.random.key(0), **NOTHING)).astype(int)
    same = np.abs(found - batch).max(axis=(1, 2, 3)) <= 1
    mirrored = np.abs(found - batch[:, :, ::-1]).max(axis=(1, 2, 3)) <= 1
    assert (same | mirrored).all()
    assert 10 < mirrored.sum() < 54


@pytest.mark.parametrize(
    "settings",
    [
        {"fill": "nearest"},
        {"rotation": 1e-6},
        {"random_ops": 10, "random_strength": 0.0},
    ],
)
def test_no_way_of_changing_a_photo_does_so_on_its_own(settings: dict[str, object]) -> None:
    batch = photos(4)
    found = np.asarray(augment(batch, jax.random.key(0), **NOTHING, flip=False, **settings)).astype(int)
    np.testing.assert_allclose(found, batch, atol=1)


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
    settings = {**NOTHING, "colour": 0.9}
    np.testing.assert_allclose(augment(grey, jax.random.key(0), **settings), grey, atol=1)
    batch = photos(4)
    recoloured = np.asarray(augment(batch, jax.random.key(0), **settings)).astype(float)
    assert np.abs(recoloured.std(axis=(1, 2)) / np.asarray(batch).astype(float).std(axis=(1, 2)) - 1).max() > 0.1


def test_a_half_turn_puts_the_picture_upside_down() -> None:
    # Every angle up to a half turn is as likely: the photo that was turned most is nearly upside down.
    ramp = np.broadcast_to(np.linspace(20, 220, 32).reshape(1, 32, 1, 1), (64, 32, 48, 3)).astype(np.uint8)
    found = np.asarray(augment(ramp, jax.random.key(0), **NOTHING, flip=False, rotation=180.0, fill="nearest"))
    centre = found[:, :, 24, 0].astype(float)
    assert (centre[:, 24] - centre[:, 8]).min() < -80
    assert (centre[:, 24] - centre[:, 8]).max() > 80


def test_what_comes_in_from_outside_is_the_nearest_pixel_or_the_mean() -> None:
    framed = np.full((16, 32, 48, 3), 60, np.uint8)
    framed[:, 4:-4, 4:-4] = 200
    settings = {**NOTHING, "shift": 0.5, "flip": False}
    near = np.asarray(augment(framed, jax.random.key(0), **settings, fill="nearest"))
    assert (near.min(), near.max()) == (60, 200)
    assert not np.isin(near, [60, 200]).all()  # between pixels
    mean = np.asarray(augment(framed, jax.random.key(0), **settings))
    assert (mean == round(float(framed[0].mean()))).any()


def test_so_many_random_operations_are_chosen_of_each_photo_and_never_too_strong() -> None:
    keys = jax.random.split(jax.random.key(0), 200)
    amounts = jax.vmap(lambda key: augmentation._random_ops(key, jax.random.fold_in(key, 1), 2, 0.5))(keys)
    assert set((np.stack(list(amounts.values())) != 0).sum(axis=0)) == {2}
    for name, largest in augmentation.RANDOM_OPS.items():
        assert 0 < np.abs(amounts[name]).max() <= largest / 2
