"""VGG16 with one head for the constructor and one for each constructor's models, in Flax NNX.

The trunk is configuration D of Simonyan and Zisserman (2014), "Very Deep Convolutional Networks for Large-Scale Image
Recognition", up to its last pooling; the layers keep the names of the Keras file with its ImageNet weights. Instead of
the fully connected layers, the mean over the picture feeds the heads, so that any input size will do.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions in each block, at full width."""

# What the ImageNet weights expect: blue, green, red, less the mean of each, unscaled.
BGR_MEAN = (103.939, 116.779, 123.68)


class Trunk(nnx.Module):
    """The convolutions: uint8 RGB [n, height, width, 3] to features [n, channels]; preprocessing is inside.

    `width` scales the number of channels (1 is VGG16). `norm` adds batch normalisation after each convolution, which
    training from scratch needs; it is folded into the convolutions at export.
    """

    def __init__(self, *, width: float, norm: bool, random: np.random.Generator) -> None:
        self.layers: nnx.Dict[nnx.Conv] = nnx.Dict()
        self.norms: nnx.Dict[nnx.BatchNorm] = nnx.Dict()
        channels = 3
        for block, widths in enumerate(BLOCKS, start=1):
            for conv, full in enumerate(widths, start=1):
                name, out = f"block{block}_conv{conv}", max(1, round(full * width))
                # He et al. (2015): the variance of the features stays the same from layer to layer.
                kernel = _normal(random, np.sqrt(2 / (9 * channels)))
                self.layers[name] = nnx.Conv(channels, out, (3, 3), kernel_init=kernel, rngs=nnx.Rngs(0))
                if norm:
                    self.norms[name] = nnx.BatchNorm(out, momentum=0.9, rngs=nnx.Rngs(0))
                channels = out
        self.features = channels

    def __call__(self, photos: jax.Array, *, training: bool = False) -> jax.Array:
        """Return features [n, channels], the mean over the picture."""
        x = photos[..., ::-1].astype(jnp.float32) - jnp.asarray(BGR_MEAN, jnp.float32).reshape(1, 1, 1, 3)
        for block, widths in enumerate(BLOCKS, start=1):
            for conv in range(1, len(widths) + 1):
                name = f"block{block}_conv{conv}"
                x = self.layers[name](x)
                if name in self.norms:
                    x = self.norms[name](x, use_running_average=not training)
                x = nnx.relu(x)
            x = nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        return x.mean(axis=(1, 2))


class Classifier(nnx.Module):
    """The trunk and a linear head for each of `heads` (name → number of classes); `seed` decides the first weights."""

    def __init__(
        self, heads: Mapping[str, int], *, width: float, norm: bool, dropout: float = 0.0, seed: int = 0
    ) -> None:
        random = np.random.default_rng(seed)
        self.trunk = Trunk(width=width, norm=norm, random=random)
        self.dropout = nnx.Dropout(dropout)
        self.heads = nnx.Dict(
            {
                name: nnx.Linear(self.trunk.features, classes, kernel_init=_normal(random, 0.01), rngs=nnx.Rngs(0))
                for name, classes in heads.items()
            }
        )

    def __call__(self, photos: jax.Array, *, dropout_key: jax.Array | None = None) -> dict[str, jax.Array]:
        """Return log-probabilities [n, classes] for each head, for uint8 RGB photos [n, height, width, 3].

        With a `dropout_key` the network is in training: dropout is on, and batch statistics are of this batch.
        """
        training = dropout_key is not None
        features = self.trunk(photos, training=training)
        features = self.dropout(
            features, deterministic=not training, rngs=None if dropout_key is None else nnx.Rngs(dropout=dropout_key)
        )
        return {name: jax.nn.log_softmax(head(features)) for name, head in self.heads.items()}


def _normal(random: np.random.Generator, deviation: float) -> Callable[[object, tuple[int, ...], object], jax.Array]:
    """Return an initialiser that draws from NumPy: JAX would first compile each shape, for half a second or so."""
    return lambda _, shape, dtype: jnp.asarray(random.normal(0, deviation, shape), dtype)  # type: ignore[arg-type]


def fold_norms(network: Classifier) -> None:
    """Fold every batch normalisation of `network` into the convolution before it, in place.

    With running mean m and variance v, scale s and shift b, the convolution k·x + c becomes f·k·x + f·(c-m) + b, where
    f = s/√(v+ε).
    """
    for name, norm in network.trunk.norms.items():
        conv = network.trunk.layers[name]
        assert norm.scale is not None
        assert norm.bias is not None
        assert conv.bias is not None
        factor = norm.scale[...] / jnp.sqrt(norm.var[...] + norm.epsilon)
        conv.kernel[...] = conv.kernel[...] * factor.reshape(1, 1, 1, -1)
        conv.bias[...] = (conv.bias[...] - norm.mean[...]) * factor + norm.bias[...]
    network.trunk.norms = nnx.Dict()
