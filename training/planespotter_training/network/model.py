"""VGG16 with one head for the constructor and one for each constructor's models, in Flax NNX.

The trunk is configuration D of Simonyan and Zisserman (2014), "Very Deep Convolutional Networks for Large-Scale Image
Recognition", up to its last pooling; the layers keep the names of the Keras file with its ImageNet weights. What
follows it is the recipe's: by default the mean over the picture feeds the heads, so that any input size will do.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from planespotter_models.architecture import BGR_MEAN
from planespotter_training.recipes.config import LAYERS

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions in each block, at full width."""


class Trunk(nnx.Module):
    """The convolutions: uint8 RGB [n, height, width, 3] to feature maps; preprocessing is inside.

    `width` scales the number of channels (1 is VGG16). `norm` adds batch normalisation after each convolution, which
    training from scratch needs; it is folded into the convolutions at export. Layers before `train_from` get no
    gradient, and their batch normalisation uses its running statistics. Convolutions compute in `dtype`.
    """

    def __init__(
        self,
        *,
        width: float,
        norm: bool,
        random: np.random.Generator,
        train_from: str = LAYERS[0],
        dtype: Any = jnp.float32,
    ) -> None:
        self.layers: nnx.Dict[nnx.Conv] = nnx.Dict()
        self.norms: nnx.Dict[nnx.BatchNorm] = nnx.Dict()
        self.dtype = dtype
        self.frozen = LAYERS[: (*LAYERS, "heads").index(train_from)]
        channels = 3
        for block, widths in enumerate(BLOCKS, start=1):
            for conv, full in enumerate(widths, start=1):
                name, out = f"block{block}_conv{conv}", max(1, round(full * width))
                # He et al. (2015): the variance of the features stays the same from layer to layer.
                kernel = _normal(random, np.sqrt(2 / (9 * channels)))
                self.layers[name] = nnx.Conv(
                    channels, out, (3, 3), kernel_init=kernel, dtype=dtype, param_dtype=jnp.float32, rngs=nnx.Rngs(0)
                )
                if norm:
                    self.norms[name] = nnx.BatchNorm(out, momentum=0.9, dtype=dtype, rngs=nnx.Rngs(0))
                channels = out
        self.features = channels

    def maps(self, photos: jax.Array, *, training: bool = False) -> jax.Array:
        """Return the feature maps float [n, height / 32, width / 32, channels], in the trunk's dtype."""
        x = photos[..., ::-1].astype(jnp.float32) - jnp.asarray(BGR_MEAN, jnp.float32).reshape(1, 1, 1, 3)
        x = x.astype(self.dtype)
        for block, widths in enumerate(BLOCKS, start=1):
            for conv in range(1, len(widths) + 1):
                name = f"block{block}_conv{conv}"
                x = self.layers[name](x)
                if name in self.norms:
                    x = self.norms[name](x, use_running_average=not training or name in self.frozen)
                x = nnx.relu(x)
                if self.frozen and name == self.frozen[-1]:
                    x = jax.lax.stop_gradient(x)  # so that the compiler leaves out the way back through what is frozen
            x = _halve(x) if training else nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        return x

    def __call__(self, photos: jax.Array, *, training: bool = False) -> jax.Array:
        """Return features float32 [n, channels], the mean over the picture."""
        return self.maps(photos, training=training).astype(jnp.float32).mean(axis=(1, 2))


class Classifier(nnx.Module):
    """The trunk and a linear head for each of `heads` (name → number of classes); `seed` decides the first weights.

    `pooling`, `hidden`, `train_from` and `mirror` are as in the recipe; "flatten" needs the `size` of photos (height,
    width). `control` is the number of classes of the flat softmax beside the heads, 0 for none; unless
    `control_trains_trunk`, its gradient stops before the features.
    """

    def __init__(
        self,
        heads: Mapping[str, int],
        *,
        width: float,
        norm: bool,
        dropout: float = 0.0,
        seed: int = 0,
        pooling: str = "average",
        size: tuple[int, int] = (0, 0),
        hidden: int = 0,
        mirror: bool = False,
        control: int = 0,
        control_trains_trunk: bool = False,
        train_from: str = LAYERS[0],
        dtype: Any = jnp.float32,
    ) -> None:
        random = np.random.default_rng(seed)
        self.trunk = Trunk(width=width, norm=norm, random=random, train_from=train_from, dtype=dtype)
        self.dropout = nnx.Dropout(dropout)
        self.pooling, self.mirror, self.control_trains_trunk = pooling, mirror, control_trains_trunk
        cells = (size[0] // 32) * (size[1] // 32)
        features = self.trunk.features * {"average": 1, "average+max": 2, "flatten": cells}[pooling]

        def dense(inputs: int, outputs: int, deviation: float) -> nnx.Linear:
            return nnx.Linear(inputs, outputs, kernel_init=_normal(random, deviation), rngs=nnx.Rngs(0))

        self.hidden = dense(features, hidden, np.sqrt(2 / features)) if hidden else None
        inputs = hidden or features
        self.heads = nnx.Dict({name: dense(inputs, classes, 0.01) for name, classes in heads.items()})
        self.control = dense(inputs, control, 0.01) if control else None

    def __call__(self, photos: jax.Array, *, dropout_key: jax.Array | None = None) -> dict[str, jax.Array]:
        """Return log-probabilities float32 [n, classes] for each head, for uint8 RGB photos [n, height, width, 3].

        With a `dropout_key` the network is in training: dropout is on, batch statistics are of this batch, and no photo
        is mirrored.
        """
        features = self.features(photos, dropout_key=dropout_key)
        if not self.mirror or dropout_key is not None:
            return self.chain(features)
        both = self.chain(features), self.chain(self.features(photos[:, :, ::-1]))
        # Of two probabilities, the logarithm of the mean.
        return {name: jnp.logaddexp(both[0][name], both[1][name]) - np.log(2).astype(np.float32) for name in both[0]}

    def features(self, photos: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """Return what the heads see: float32 [n, features]."""
        training = dropout_key is not None
        maps = self.trunk.maps(photos, training=training).astype(jnp.float32)
        if self.pooling == "average":
            features = maps.mean(axis=(1, 2))
        elif self.pooling == "average+max":
            features = jnp.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=1)
        else:
            features = maps.reshape(maps.shape[0], math.prod(maps.shape[1:]))  # any n, also one not known yet
        if self.hidden is not None:
            features = nnx.relu(self.hidden(features))
        return self.dropout(
            features, deterministic=not training, rngs=None if dropout_key is None else nnx.Rngs(dropout=dropout_key)
        )

    def chain(self, features: jax.Array) -> dict[str, jax.Array]:
        """Return log-probabilities [n, classes] for each head from `features` [n, features]."""
        return {name: jax.nn.log_softmax(head(features)) for name, head in self.heads.items()}

    def flat(self, features: jax.Array) -> jax.Array:
        """Return the log-probabilities [n, leaves] of the control from `features` [n, features]."""
        assert self.control is not None, "this network was built without a control"
        return jax.nn.log_softmax(
            self.control(features if self.control_trains_trunk else jax.lax.stop_gradient(features))
        )


def _halve(x: jax.Array) -> jax.Array:
    """Return what max-pooling of 2 x 2 does, [n, height / 2, width / 2, channels], with a quicker way back on a CPU.

    The gradient of XLA's pooling scatters, value by value; that of a maximum of four is a comparison.
    """
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    upper, lower = (jnp.maximum(x[:, row::2, ::2], x[:, row::2, 1::2]) for row in (0, 1))
    return jnp.maximum(upper, lower)


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


def flops(network: Classifier, height: int, width: int) -> tuple[float, float]:
    """Return the floating-point operations of the convolutions for one photo: answering, and one step of training.

    A training step is the way there, and twice as much back for each layer that learns: for its weights, and for what
    came into it, unless nothing before it learns. A multiplication and an addition are two operations.
    """
    forward = backward = 0.0
    learns_before = False
    for name, conv in network.trunk.layers.items():
        halvings = int(name[5]) - 1
        rows, columns = height >> halvings, width >> halvings
        one = 2.0 * conv.kernel.size * rows * columns
        forward += one
        if name not in network.trunk.frozen:
            backward += one * (1 + learns_before)
            learns_before = True
    return forward, forward + backward
