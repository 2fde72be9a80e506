"""Serialization: turn a network into pure functions of its weights, and these into StableHLO with jax.export."""

from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax import nnx

from planespotter_models import LabelTree
from planespotter_training.network.gradcam import grad_cam
from planespotter_training.network.model import Classifier

PLATFORMS = ("cpu", "cuda")

Weights = dict[str, np.ndarray[Any, Any]]
"""Weights by dotted path: "trunk.layers.block1_conv1.kernel"."""


def as_function(network: Classifier) -> tuple[Any, Weights]:
    """Return a pure function (weights, photos) -> log-probabilities per head, and the weights of `network`."""
    build, weights = by_weights(network)

    def function(weights: dict[str, jax.Array], photos: jax.Array) -> dict[str, jax.Array]:
        return build(weights)(photos)

    return function, weights


def by_weights(network: Classifier) -> tuple[Callable[[dict[str, jax.Array]], Classifier], Weights]:
    """Return a function that rebuilds the network from weights by dotted path, and the weights of `network`."""
    graph, state = nnx.split(network)
    flat = dict(nnx.to_flat_state(state))
    paths = {".".join(map(str, path)): path for path in flat}

    def build(weights: dict[str, jax.Array]) -> Classifier:
        state = nnx.from_flat_state(
            [(paths[name], flat[paths[name]].replace(weight)) for name, weight in weights.items()]
        )
        rebuilt: Classifier = nnx.merge(graph, state)
        return rebuilt

    return build, {name: np.asarray(flat[path][...]) for name, path in paths.items()}


def in_bfloat16(network: Classifier) -> Any:
    """Return the function of `network` with convolutions that compute in bfloat16; see `as_function`."""
    graph, state = nnx.split(network)
    copy: Classifier = nnx.merge(graph, state)
    copy.trunk.dtype = jnp.bfloat16
    for layer in copy.trunk.layers.values():
        layer.dtype = jnp.bfloat16
    return as_function(copy)[0]


def by_platform(exact: Any, rounded: Any) -> Any:
    """Return a function (weights, photos) that is `rounded` on CUDA and `exact` elsewhere."""

    def function(weights: dict[str, jax.Array], photos: jax.Array) -> dict[str, jax.Array]:
        outputs: dict[str, jax.Array] = jax.lax.platform_dependent(weights, photos, cuda=rounded, default=exact)
        return outputs

    return function


def serialize(function: Any, weights: Weights, height: int, width: int) -> bytes:
    """Serialize `function` with jax.export, for any number of uint8 photos [n, height, width, 3]."""
    (n,) = jax.export.symbolic_shape("n")
    return _serialize(function, weights, jax.ShapeDtypeStruct((n, height, width, 3), np.uint8))


def serialize_heat_map(network: Classifier, tree: LabelTree, weights: Weights, height: int, width: int) -> bytes:
    """Serialize the heat map function of `network`, for its folded `weights`, a photo and a leaf."""
    build, _ = by_weights(network)

    def function(weights: dict[str, jax.Array], photos: jax.Array, leaves: jax.Array) -> jax.Array:
        heat_map = grad_cam(build(weights), tree, photos, leaves)
        return jnp.round(255 * heat_map).astype(jnp.uint8)

    photo = jax.ShapeDtypeStruct((1, height, width, 3), np.uint8)
    return _serialize(function, weights, photo, jax.ShapeDtypeStruct((1,), np.int32))


def _serialize(function: Any, weights: Weights, *inputs: Any) -> bytes:
    shapes = {name: jax.ShapeDtypeStruct(weight.shape, weight.dtype) for name, weight in weights.items()}
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(shapes, *inputs)
    return bytes(exported.serialize())
