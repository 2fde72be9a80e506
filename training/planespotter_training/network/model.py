"""VGG16 with hierarchical heads, in Flax NNX: one for the constructor, and one per constructor for its types.

The trunk is configuration D of Simonyan and Zisserman (2014), "Very Deep Convolutional Networks for Large-Scale Image
Recognition", up to its last pooling; the layers keep the names of the Keras file with its ImageNet weights. The rest is
the recipe's: by default global average pooling feeds the heads, so that any input size works.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from planespotter_models.architecture import BGR_MEAN, RMS_EPSILON, SQUARE_ROOT_EPSILON
from planespotter_training.network import winograd
from planespotter_training.recipes.config import LAYERS

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions in each block, at full width."""

BLOCK_ENDS = tuple(f"block{block}_conv{len(widths)}" for block, widths in enumerate(BLOCKS, start=1))
"""The convolutions before a max pooling."""

REDUCED_CHANNELS = 64
"""Channels of which pooling "covariance" takes the covariance."""

WINOGRAD_CHANNELS = 64
"""Convolutions of at least as many input channels gain from Winograd's algorithm on a CPU."""


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is built of; the settings of the same names are those of the recipe."""

    channel_multiplier: float
    batch_norm: bool
    dropout: float = 0.0
    pooling: str = "average"
    size: tuple[int, int] = (0, 0)
    """Height and width of photos in pixels; only pooling "flatten" needs it."""
    hidden_units: int = 0
    flip_tta: bool = False
    baseline_classes: int = 0
    """Classes of the flat baseline head, 0 for none."""
    joint_baseline: bool = False
    """Whether the baseline head's gradient trains the features too."""
    train_from: str = LAYERS[0]
    preprocessing: str = "bgr-mean"


class Trunk(nnx.Module):
    """The convolutions: uint8 RGB [n, height, width, 3] to feature maps; preprocessing is inside.

    Layers before `train_from` get no gradient, and their batch normalisation uses its running statistics. Convolutions
    compute in `dtype`; with `winograd`, which training sets on a CPU, the wide ones by Winograd's algorithm.
    """

    def __init__(self, config: NetworkConfig, random: np.random.Generator, dtype: Any = jnp.float32) -> None:
        self.layers: nnx.Dict[nnx.Conv] = nnx.Dict()
        self.norms: nnx.Dict[nnx.BatchNorm] = nnx.Dict()
        self.dtype = dtype
        self.winograd = False
        self.frozen = LAYERS[: (*LAYERS, "heads").index(config.train_from)]
        self.last_pooling = config.pooling != "covariance"
        self.preprocessing = config.preprocessing
        channels = 3
        for block, widths in enumerate(BLOCKS, start=1):
            for conv, full in enumerate(widths, start=1):
                name, out = f"block{block}_conv{conv}", max(1, round(full * config.channel_multiplier))
                # He et al. (2015): the variance of the features stays the same from layer to layer.
                kernel = _normal(random, np.sqrt(2 / (9 * channels)))
                self.layers[name] = nnx.Conv(
                    channels, out, (3, 3), kernel_init=kernel, dtype=dtype, param_dtype=jnp.float32, rngs=nnx.Rngs(0)
                )
                if config.batch_norm:
                    self.norms[name] = nnx.BatchNorm(out, momentum=0.9, dtype=dtype, rngs=nnx.Rngs(0))
                channels = out
        self.features = channels

    def maps(self, photos: jax.Array, *, training: bool = False) -> jax.Array:
        """Return the feature maps float [n, rows, columns, channels], in the trunk's dtype.

        Rows and columns are those of the photos / 32, or / 16 if the recipe's pooling takes them before the last
        max pooling.
        """
        return self.trained_part(self.frozen_part(photos, training=training), training=training)

    def frozen_part(self, photos: jax.Array, *, training: bool = False) -> jax.Array:
        """Compute the layers before `train_from`, if any: float [n, rows, columns, channels]."""
        x = self._preprocess(photos)
        x = self._layers(self.frozen, x.astype(self.dtype), training=training)
        # No backward pass is compiled for frozen layers.
        return jax.lax.stop_gradient(x) if self.frozen else x

    def trained_part(self, x: jax.Array, *, training: bool = False) -> jax.Array:
        """Compute the layers from `train_from` on, given the output of `frozen_part`."""
        return self._layers(LAYERS[len(self.frozen) :], x.astype(self.dtype), training=training)

    def _preprocess(self, photos: jax.Array) -> jax.Array:
        if self.preprocessing == "rgb-255":
            return photos.astype(jnp.float32) / 255
        return photos[..., ::-1].astype(jnp.float32) - jnp.asarray(BGR_MEAN, jnp.float32).reshape(1, 1, 1, 3)

    def _layers(self, names: Sequence[str], x: jax.Array, *, training: bool) -> jax.Array:
        for name in names:
            x = self._convolve(name, x)
            if name in self.norms:
                x = self.norms[name](x, use_running_average=not training or name in self.frozen)
            x = nnx.relu(x)
            if name in BLOCK_ENDS and (name != LAYERS[-1] or self.last_pooling):
                x = _max_pool(x) if training else nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        return x

    def _convolve(self, name: str, x: jax.Array) -> jax.Array:
        layer = self.layers[name]
        if not self.winograd or x.shape[-1] < WINOGRAD_CHANNELS:
            result: jax.Array = layer(x)
            return result
        assert layer.bias is not None
        return winograd.convolve(x, layer.kernel[...]) + layer.bias[...].reshape(1, 1, 1, -1)

    def __call__(self, photos: jax.Array, *, training: bool = False) -> jax.Array:
        """Return features float32 [n, channels]: global average pooling of the feature maps."""
        return self.maps(photos, training=training).astype(jnp.float32).mean(axis=(1, 2))


class Classifier(nnx.Module):
    """The trunk and a linear head for each of `heads`.

    Args:
        heads: Number of classes by name of the head.
        config: What the network is built of.
        seed: Random seed of the initial weights.
        dtype: Compute type of the convolutions.
    """

    def __init__(
        self, heads: Mapping[str, int], config: NetworkConfig, *, seed: int = 0, dtype: Any = jnp.float32
    ) -> None:
        random = np.random.default_rng(seed)
        self.trunk = Trunk(config, random, dtype)
        self.dropout = nnx.Dropout(config.dropout)
        self.pooling, self.flip_tta = config.pooling, config.flip_tta
        self.joint_baseline = config.joint_baseline
        height, width = config.size
        cells = (height // 32) * (width // 32)
        channels, pairs = self.trunk.features, REDUCED_CHANNELS * (REDUCED_CHANNELS + 1) // 2
        features = {
            "average": channels,
            "average+max": 2 * channels,
            "flatten": cells * channels,
            "covariance": channels + pairs,
        }[config.pooling]

        def dense(inputs: int, outputs: int, deviation: float, *, bias: bool = True) -> nnx.Linear:
            kernel = _normal(random, deviation)
            return nnx.Linear(inputs, outputs, use_bias=bias, kernel_init=kernel, rngs=nnx.Rngs(0))

        second_order = config.pooling == "covariance"
        # A 1 x 1 convolution.
        self.reduction = dense(channels, REDUCED_CHANNELS, np.sqrt(1 / channels), bias=False) if second_order else None
        hidden, baseline = config.hidden_units, config.baseline_classes
        self.hidden = dense(features, hidden, np.sqrt(2 / features)) if hidden else None
        inputs = hidden or features
        self.heads = nnx.Dict({name: dense(inputs, classes, 0.01) for name, classes in heads.items()})
        self.baseline_head = dense(inputs, baseline, 0.01) if baseline else None

    def __call__(self, photos: jax.Array, *, dropout_key: jax.Array | None = None) -> dict[str, jax.Array]:
        """Predict photos.

        Args:
            photos: uint8 RGB [n, height, width, 3].
            dropout_key: Turns training mode on: dropout, batch statistics of this batch, no flip TTA.

        Returns:
            Log-probabilities float32 [n, classes] per head.
        """
        features = self.features(photos, dropout_key=dropout_key)
        if not self.flip_tta or dropout_key is not None:
            return self.hierarchical(features)
        both = self.hierarchical(features), self.hierarchical(self.features(photos[:, :, ::-1]))
        # The logarithm of the mean of two probabilities.
        return {name: jnp.logaddexp(both[0][name], both[1][name]) - np.log(2).astype(np.float32) for name in both[0]}

    def features(self, photos: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """Return the input of the heads: float32 [n, features]."""
        return self.pool(self.trunk.maps(photos, training=dropout_key is not None), dropout_key=dropout_key)

    def features_after(self, frozen: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """Return the input of the heads, given the output of the trunk's `frozen_part`."""
        return self.pool(self.trunk.trained_part(frozen, training=dropout_key is not None), dropout_key=dropout_key)

    def pool(self, maps: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """Return the input of the heads float32 [n, features], given the trunk's maps [n, rows, columns, channels]."""
        maps = maps.astype(jnp.float32)
        if self.pooling == "average":
            features = maps.mean(axis=(1, 2))
        elif self.pooling == "average+max":
            features = jnp.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=1)
        elif self.pooling == "covariance":
            assert self.reduction is not None
            covariances = _covariances(self.reduction(maps))
            features = jnp.concatenate([_unit_rms(maps.mean(axis=(1, 2))), _unit_rms(covariances)], axis=1)
        else:
            features = maps.reshape(maps.shape[0], math.prod(maps.shape[1:]))  # n may be symbolic
        if self.hidden is not None:
            features = nnx.relu(self.hidden(features))
        keys = None if dropout_key is None else nnx.Rngs(dropout=dropout_key)
        return self.dropout(features, deterministic=dropout_key is None, rngs=keys)

    def hierarchical(self, features: jax.Array) -> dict[str, jax.Array]:
        """Return log-probabilities [n, classes] per head from `features` [n, features]."""
        return {name: jax.nn.log_softmax(head(features)) for name, head in self.heads.items()}

    def flat(self, features: jax.Array) -> jax.Array:
        """Return log-probabilities [n, leaves] of the baseline head from `features` [n, features]."""
        assert self.baseline_head is not None, "this network was built without a baseline head"
        return jax.nn.log_softmax(
            self.baseline_head(features if self.joint_baseline else jax.lax.stop_gradient(features))
        )


def _covariances(maps: jax.Array) -> jax.Array:
    """Return the signed square roots of the covariances between `maps` [n, rows, columns, channels]: [n, pairs]."""
    n, rows, columns, channels = maps.shape
    positions = maps.reshape(n, rows * columns, channels)
    centered = positions - positions.mean(axis=1, keepdims=True)
    covariances = jnp.einsum("npi,npj->nij", centered, centered) / (rows * columns)
    upper = np.ravel_multi_index(np.triu_indices(channels), (channels, channels))
    pairs = covariances.reshape(n, channels * channels)[:, upper]
    return pairs / jnp.sqrt(jnp.abs(pairs) + SQUARE_ROOT_EPSILON)


def _unit_rms(x: jax.Array) -> jax.Array:
    return x / jnp.sqrt((x**2).mean(axis=1, keepdims=True) + RMS_EPSILON)


def _max_pool(x: jax.Array) -> jax.Array:
    """Max pooling of 2 x 2: [n, height / 2, width / 2, channels], with a faster gradient on a CPU.

    The gradient of XLA's pooling scatters value by value; that of a maximum of four is a comparison.
    """
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    upper, lower = (jnp.maximum(x[:, row::2, ::2], x[:, row::2, 1::2]) for row in (0, 1))
    return jnp.maximum(upper, lower)


def _normal(random: np.random.Generator, deviation: float) -> Callable[[object, tuple[int, ...], object], jax.Array]:
    """Return an initializer that draws from NumPy: JAX would compile each shape first, half a second each."""
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


def flops(network: Classifier, height: int, width: int, *, frozen_kept: bool = False) -> tuple[float, float]:
    """Count the floating-point operations of the convolutions for one photo.

    A multiplication and an addition are two operations. The backward pass costs one forward pass per layer that is
    trained, for its weights, and one more for its input unless nothing before it is trained.

    Args:
        network: The network; its frozen layers cost nothing in the backward pass.
        height: Height of the input, in pixels.
        width: Width of the input, in pixels.
        frozen_kept: Whether the features of frozen layers are kept, so that a training step starts after them.

    Returns:
        Operations (FLOP) per photo: of inference, and of a training step, which includes its forward pass.
    """
    forward = step = 0.0
    trains_before = False
    for name, conv in network.trunk.layers.items():
        halvings = int(name[5]) - 1
        rows, columns = height >> halvings, width >> halvings
        layer = 2.0 * conv.kernel.size * rows * columns
        forward += layer
        if name not in network.trunk.frozen:
            step += layer * (2 + trains_before)
            trains_before = True
        elif not frozen_kept:
            step += layer
    return forward, step
