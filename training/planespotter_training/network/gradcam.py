"""Grad-CAM (Selvaraju et al. 2017) at the last convolution: which parts of a photo a prediction rests on.

Export writes it into the bundle as a function of the same weights, so that a report shows the heat map that a server
returns.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from planespotter_models import LabelTree
from planespotter_training.network.loss import joint_log_probabilities
from planespotter_training.network.model import Classifier

LAST = "block5_conv3"


def grad_cam(network: Classifier, tree: LabelTree, photos: jax.Array, leaves: jax.Array) -> jax.Array:
    """Compute heat maps.

    Args:
        network: Network without batch normalisation. It is modified: pass one that nothing else uses.
        tree: Its label tree.
        photos: uint8 RGB [n, height, width, 3].
        leaves: Number of the leaf to explain, int [n].

    Returns:
        Float [n, rows, columns] from 0 to 1: 1 where the evidence for the leaf is strongest, 0 where there is none.
    """
    conv = network.trunk.layers[LAST]
    tapped: dict[str, Any] = {}

    class Tap(nnx.Module):
        """The last convolution, with its output recorded and offset by the variable of the gradient."""

        def __call__(self, x: jax.Array) -> jax.Array:
            maps: jax.Array = conv(x)
            maps = maps + tapped["offset"].astype(maps.dtype)
            tapped["maps"] = maps
            return maps

    network.trunk.layers[LAST] = Tap()
    network.flip_tta = False  # the mean over a photo and its mirror image has no single location

    def log_probability(offset: jax.Array) -> tuple[jax.Array, jax.Array]:
        tapped["offset"] = offset
        outputs = network(photos)
        joint = joint_log_probabilities(tree, outputs)
        chosen = jax.nn.one_hot(leaves, joint.shape[1])
        return (joint * chosen).sum(), jax.nn.relu(tapped["maps"])

    shape = jax.eval_shape(log_probability, jnp.zeros(()))[1].shape
    gradients, maps = jax.grad(log_probability, has_aux=True)(jnp.zeros(shape))
    importance = gradients.mean(axis=(1, 2), keepdims=True)
    heat = jax.nn.relu((importance * maps).sum(axis=-1)).astype(jnp.float32)
    return heat / jnp.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-9)
