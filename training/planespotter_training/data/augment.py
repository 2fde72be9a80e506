"""Augmentation on the device, inside the compiled training step."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

# The operations of RandAugment (Cubuk et al., 2020) that leave an aircraft what it is, and by how much they change a
# photo at full strength. Those that invert or solarise it, or cut out a part, are left out.
RANDOM_OPS = {
    "rotation": 30.0,  # degrees
    "shear": 0.3,
    "tilt": 0.3,  # shear along the other axis
    "across": 0.3,  # shift, as a share of the width
    "down": 0.3,
    "brightness": 0.9,
    "contrast": 0.9,
    "saturation": 0.9,
    "sharpness": 0.9,
    "posterise": 5.0,  # bits that are dropped
}


def augment(
    photos: jax.Array,
    key: jax.Array,
    *,
    shift: float,
    zoom: float,
    light: float,
    colour: float,
    flip: bool = True,
    rotation: float = 0.0,
    shear: float = 0.0,
    random_ops: int = 0,
    random_strength: float = 0.0,
    fill: str = "mean",
) -> jax.Array:
    """Mirror, shift, scale, turn, shear, recolour and relight each photo at random: uint8 [n, height, width, 3].

    `shift`: largest shift as a share of the size. `zoom`: largest change of scale as a share. `light`: largest change
    of brightness and of contrast as a share. `colour`: largest share of each channel that a mixture of all replaces.
    `rotation` in degrees. `random_ops` further operations of RANDOM_OPS change each photo, by up to `random_strength`
    of what stands there. What comes in from outside the photo is of its mean colour, or with `fill` "nearest" its edge.
    """

    def one(photo: jax.Array, key: jax.Array) -> jax.Array:
        mirror, scale_key, shift_key, bright_key, contrast_key, share_key, mix_key = jax.random.split(key, 7)
        turn_key, shear_key, which_key, amount_key = jax.random.split(jax.random.fold_in(key, 1), 4)
        x = photo.astype(jnp.float32)
        if flip:
            x = jnp.where(jax.random.bernoulli(mirror), x[:, ::-1], x)
        if colour:
            mixture = jax.random.uniform(mix_key, (3, 3))
            share = jax.random.uniform(share_key, (), maxval=colour)
            x = x @ ((1 - share) * jnp.eye(3) + share * mixture / mixture.sum(axis=0, keepdims=True))
        mean = x.mean(axis=(0, 1), keepdims=True)
        size = jnp.asarray(x.shape[:2], jnp.float32)
        scale = jnp.exp(jax.random.uniform(scale_key, (), minval=jnp.log1p(-zoom), maxval=jnp.log1p(zoom)))
        move = jax.random.uniform(shift_key, (2,), minval=-shift, maxval=shift) * size
        ops = _random_ops(which_key, amount_key, random_ops, random_strength)
        if rotation or shear or random_ops or fill == "nearest":
            angle = jax.random.uniform(turn_key, (), minval=-rotation, maxval=rotation) + ops["rotation"]
            slant = jax.random.uniform(shear_key, (), minval=-shear, maxval=shear) + ops["shear"]
            move = move + jnp.stack([ops["down"], ops["across"]]) * size
            x = _warp(x - mean, scale, jnp.deg2rad(angle), slant, ops["tilt"], move, fill)
        else:
            # Scaled about the centre; less the mean, so that the outside, which is filled with 0, becomes the mean.
            # Much quicker than the general case, being one axis after the other.
            place = (1 - scale) * size / 2 + move
            scales = jnp.full(2, scale)
            x = jax.image.scale_and_translate(
                x - mean, x.shape, (0, 1), scales, place, method="linear", antialias=False
            )
        contrast = jax.random.uniform(contrast_key, (), minval=1 - light, maxval=1 + light)
        brightness = jax.random.uniform(bright_key, (), minval=1 - light, maxval=1 + light)
        x = x * contrast + mean * brightness
        if random_ops:
            x = _look(jnp.clip(x, 0, 255), ops)
        return jnp.clip(jnp.round(x), 0, 255).astype(jnp.uint8)

    return jax.vmap(one)(photos, jax.random.split(key, len(photos)))


def _random_ops(which_key: jax.Array, amount_key: jax.Array, count: int, strength: float) -> dict[str, jax.Array]:
    """Return by how much each operation changes a photo: `count` different ones by a random amount, the others by 0."""
    names = list(RANDOM_OPS)
    draws = jax.random.uniform(which_key, (len(names),))
    chosen = (draws[:, None] > draws[None, :]).sum(axis=1) < count  # the smallest draws; to sort takes long to compile
    amounts = jax.random.uniform(amount_key, (len(names),), minval=-strength, maxval=strength) * chosen
    return {name: amounts[index] * RANDOM_OPS[name] for index, name in enumerate(names)}


def _warp(
    x: jax.Array, scale: jax.Array, angle: jax.Array, shear: jax.Array, tilt: jax.Array, move: jax.Array, fill: str
) -> jax.Array:
    """Turn by `angle`, shear, scale and then `move` the picture [height, width, channels] about its centre."""
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    slants = jnp.stack([jnp.stack([jnp.float32(1), tilt]), jnp.stack([shear, jnp.float32(1)])])
    forward = scale * jnp.stack([jnp.stack([cosine, -sine]), jnp.stack([sine, cosine])]) @ slants
    (a, b), (c, d) = forward
    back = jnp.stack([jnp.stack([d, -b]), jnp.stack([-c, a])]) / (a * d - b * c)
    height, width = x.shape[:2]
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2], jnp.float32).reshape(2, 1)
    rows, columns = jnp.meshgrid(
        jnp.arange(height, dtype=jnp.float32), jnp.arange(width, dtype=jnp.float32), indexing="ij"
    )
    there = jnp.stack([rows.ravel(), columns.ravel()]) - centre - move.reshape(2, 1)
    mode = "nearest" if fill == "nearest" else "constant"
    from_where = (back @ there + centre).reshape(2, height, width)

    def of_channel(channel: jax.Array) -> jax.Array:
        found: jax.Array = map_coordinates(channel, [from_where[0], from_where[1]], order=1, mode=mode, cval=0.0)
        return found

    warped: jax.Array = jax.vmap(of_channel, in_axes=2, out_axes=2)(x)
    return warped


def _look(x: jax.Array, ops: dict[str, jax.Array]) -> jax.Array:
    """Change brightness, contrast, saturation, sharpness and number of shades; an operation of 0 changes nothing."""
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
