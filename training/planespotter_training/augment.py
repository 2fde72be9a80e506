"""Augmentation on the device, inside the compiled training step."""

import jax
import jax.numpy as jnp


def augment(photos: jax.Array, key: jax.Array, *, shift: float, zoom: float, light: float, colour: float) -> jax.Array:
    """Mirror, shift, scale, recolour and relight each photo at random. Takes and returns uint8 [n, height, width, 3].

    `shift`: largest shift as a share of the size. `zoom`: largest change of scale as a share. `light`: largest change
    of brightness and of contrast as a share. What comes in from outside the photo is of its mean colour.
    """
    keys = jax.random.split(key, len(photos))
    return jax.vmap(lambda photo, key: _augment_one(photo, key, shift, zoom, light, colour))(photos, keys)


def _augment_one(photo: jax.Array, key: jax.Array, shift: float, zoom: float, light: float, colour: float) -> jax.Array:
    mirror, scale_key, shift_key, bright_key, contrast_key, share_key, mix_key = jax.random.split(key, 7)
    x = photo.astype(jnp.float32)
    x = jnp.where(jax.random.bernoulli(mirror), x[:, ::-1], x)
    mixture = jax.random.uniform(mix_key, (3, 3))
    share = jax.random.uniform(share_key, (), maxval=colour)
    x = x @ ((1 - share) * jnp.eye(3) + share * mixture / mixture.sum(axis=0, keepdims=True))
    mean = x.mean(axis=(0, 1), keepdims=True)
    size = jnp.asarray(x.shape[:2], jnp.float32)
    scale = jnp.exp(jax.random.uniform(scale_key, (), minval=jnp.log1p(-zoom), maxval=jnp.log1p(zoom)))
    move = jax.random.uniform(shift_key, (2,), minval=-shift, maxval=shift) * size
    # Scaled about the centre; less the mean, so that the outside, which is filled with 0, becomes the mean.
    x = jax.image.scale_and_translate(
        x - mean, x.shape, (0, 1), jnp.full(2, scale), (1 - scale) * size / 2 + move, method="linear", antialias=False
    )
    contrast = jax.random.uniform(contrast_key, (), minval=1 - light, maxval=1 + light)
    brightness = jax.random.uniform(bright_key, (), minval=1 - light, maxval=1 + light)
    return jnp.clip(jnp.round(x * contrast + mean * brightness), 0, 255).astype(jnp.uint8)
