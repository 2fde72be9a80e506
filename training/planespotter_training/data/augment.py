"""Data augmentation on the device, inside the compiled training step: affine, colour and RandAugment operations."""

from dataclasses import dataclass, fields
from typing import Self

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from planespotter_training.recipes.config import Recipe

# The operations of RandAugment (Cubuk et al. 2020) that keep an aircraft recognisable, and their change at magnitude 1.
# Invert, solarise and cutout are excluded.
RANDAUGMENT_OPS = {
    "rotation": 30.0,  # degrees
    "shear_x": 0.3,
    "shear_y": 0.3,
    "translate_x": 0.3,  # share of the width
    "translate_y": 0.3,  # share of the height
    "brightness": 0.9,
    "contrast": 0.9,
    "saturation": 0.9,
    "sharpness": 0.9,
    "posterise": 5.0,  # bits that are dropped
}


@dataclass(frozen=True)
class Augmentation:
    """The strength of each augmentation; the settings are those of the recipe."""

    shift: float
    zoom: float
    brightness_contrast: float
    channel_mixing: float
    flip: bool = True
    rotation: float = 0.0
    shear: float = 0.0
    randaugment_ops: int = 0
    randaugment_magnitude: float = 0.0
    fill: str = "mean"

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Return the augmentation of a recipe."""
        return cls(**{field.name: getattr(recipe, field.name) for field in fields(cls)})


def augment(photos: jax.Array, key: jax.Array, settings: Augmentation) -> jax.Array:
    """Augment each photo at random.

    Args:
        photos: uint8 RGB [n, height, width, 3].
        key: Random key.
        settings: The maximum strength of each operation.

    Returns:
        uint8 RGB [n, height, width, 3].
    """

    def augment_photo(photo: jax.Array, key: jax.Array) -> jax.Array:
        flip_key, scale_key, shift_key, bright_key, contrast_key, share_key, mix_key = jax.random.split(key, 7)
        rotation_key, shear_key, which_key, amount_key = jax.random.split(jax.random.fold_in(key, 1), 4)
        x = photo.astype(jnp.float32)
        if settings.flip:
            x = jnp.where(jax.random.bernoulli(flip_key), x[:, ::-1], x)
        if settings.channel_mixing:
            mixture = jax.random.uniform(mix_key, (3, 3))
            share = jax.random.uniform(share_key, (), maxval=settings.channel_mixing)
            x = x @ ((1 - share) * jnp.eye(3) + share * mixture / mixture.sum(axis=0, keepdims=True))
        mean = x.mean(axis=(0, 1), keepdims=True)
        size = jnp.asarray(x.shape[:2], jnp.float32)
        scale = jnp.exp(
            jax.random.uniform(scale_key, (), minval=jnp.log1p(-settings.zoom), maxval=jnp.log1p(settings.zoom))
        )
        move = jax.random.uniform(shift_key, (2,), minval=-settings.shift, maxval=settings.shift) * size
        ops = _sample_ops(which_key, amount_key, settings)
        if settings.rotation or settings.shear or settings.randaugment_ops or settings.fill == "nearest":
            rotation, shear = settings.rotation, settings.shear
            angle = jax.random.uniform(rotation_key, (), minval=-rotation, maxval=rotation) + ops["rotation"]
            shears = jax.random.uniform(shear_key, (), minval=-shear, maxval=shear) + ops["shear_x"], ops["shear_y"]
            move = move + jnp.stack([ops["translate_y"], ops["translate_x"]]) * size
            x = _warp(x - mean, scale, jnp.deg2rad(angle), shears, move, settings.fill)
        else:
            # Scale about the centre. The mean is subtracted, so that the fill of 0 becomes the mean. One axis after the
            # other, this is much faster than the general case.
            place = (1 - scale) * size / 2 + move
            scales = jnp.full(2, scale)
            x = jax.image.scale_and_translate(
                x - mean, x.shape, (0, 1), scales, place, method="linear", antialias=False
            )
        change = settings.brightness_contrast
        contrast = jax.random.uniform(contrast_key, (), minval=1 - change, maxval=1 + change)
        brightness = jax.random.uniform(bright_key, (), minval=1 - change, maxval=1 + change)
        x = x * contrast + mean * brightness
        if settings.randaugment_ops:
            x = _colour_ops(jnp.clip(x, 0, 255), ops)
        return jnp.clip(jnp.round(x), 0, 255).astype(jnp.uint8)

    return jax.vmap(augment_photo)(photos, jax.random.split(key, len(photos)))


def _sample_ops(which_key: jax.Array, amount_key: jax.Array, settings: Augmentation) -> dict[str, jax.Array]:
    """Sample RandAugment: the change of each operation, 0 for all but `randaugment_ops` of them."""
    names, magnitude = list(RANDAUGMENT_OPS), settings.randaugment_magnitude
    draws = jax.random.uniform(which_key, (len(names),))
    # The smallest draws are chosen; a sort would take long to compile.
    chosen = (draws[:, None] > draws[None, :]).sum(axis=1) < settings.randaugment_ops
    amounts = jax.random.uniform(amount_key, (len(names),), minval=-magnitude, maxval=magnitude) * chosen
    return {name: amounts[index] * RANDAUGMENT_OPS[name] for index, name in enumerate(names)}


def _warp(
    x: jax.Array,
    scale: jax.Array,
    angle: jax.Array,
    shears: tuple[jax.Array, jax.Array],
    move: jax.Array,
    fill: str,
) -> jax.Array:
    """Apply an affine transform about the centre of an image [height, width, channels].

    It is sheared by `shears` (x, y), rotated by `angle` in radians, scaled, and moved by `move` pixels (rows, columns).
    """
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    shear = jnp.stack([jnp.stack([jnp.float32(1), shears[1]]), jnp.stack([shears[0], jnp.float32(1)])])
    forward = scale * jnp.stack([jnp.stack([cosine, -sine]), jnp.stack([sine, cosine])]) @ shear
    (a, b), (c, d) = forward
    inverse = jnp.stack([jnp.stack([d, -b]), jnp.stack([-c, a])]) / (a * d - b * c)
    height, width = x.shape[:2]
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2], jnp.float32).reshape(2, 1)
    rows, columns = jnp.meshgrid(
        jnp.arange(height, dtype=jnp.float32), jnp.arange(width, dtype=jnp.float32), indexing="ij"
    )
    targets = jnp.stack([rows.ravel(), columns.ravel()]) - centre - move.reshape(2, 1)
    mode = "nearest" if fill == "nearest" else "constant"
    sources = (inverse @ targets + centre).reshape(2, height, width)

    def warp_channel(channel: jax.Array) -> jax.Array:
        warped: jax.Array = map_coordinates(channel, [sources[0], sources[1]], order=1, mode=mode, cval=0.0)
        return warped

    warped: jax.Array = jax.vmap(warp_channel, in_axes=2, out_axes=2)(x)
    return warped


def _colour_ops(x: jax.Array, ops: dict[str, jax.Array]) -> jax.Array:
    """Change brightness, contrast, saturation and sharpness, and posterise; an operation of 0 changes nothing."""
    x = x * (1 + ops["brightness"])
    mean = x.mean(keepdims=True)
    x = mean + (x - mean) * (1 + ops["contrast"])
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * (1 + ops["saturation"])
    padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    around = [padded[i : i + x.shape[0], j : j + x.shape[1]] for i in range(3) for j in range(3)]
    blurred = jnp.stack(around).mean(axis=0)
    x = blurred + (x - blurred) * (1 + ops["sharpness"])
    step = 2.0 ** jnp.floor(jnp.abs(ops["posterise"]))
    return jnp.floor(x / step) * step + jnp.where(step > 1, step / 2, x - jnp.floor(x))
