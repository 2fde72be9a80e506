"""The loss of photos that are labelled only part of the way."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from planespotter_training.bundle.tree import CONSTRUCTOR_HEAD, Label, LabelTree


def leaf_mask(tree: LabelTree, label: Label) -> NDArray[np.bool_]:
    """Return which leaves of `tree` lie at or below the node `label`: bool [leaves], all constructors in order."""
    mask = [np.zeros(len(tree.leaves[constructor]), bool) for constructor in tree.constructors]
    mask[tree.constructors.index(label.constructor)][list(tree.leaves_below(label))] = True
    return np.concatenate(mask)


def node_loss(
    tree: LabelTree, outputs: Mapping[str, jax.Array], mask: jax.Array, constructor_weights: jax.Array
) -> jax.Array:
    """Return for each photo -log p(node), the node being the one that it is labelled with, at whichever level.

    A node's probability is the sum of its leaves', and a leaf's is p(constructor) · p(leaf | constructor).

    `outputs`: log-probabilities [n, classes] for each head. `mask`: the leaves of each photo's node, bool [n, leaves],
    from `leaf_mask`. `constructor_weights`: float [n], 1 for the formula above; the part -log p(constructor) of the
    loss is multiplied by it, so that a photo with 0 teaches the model heads only. Returns float [n].
    """
    constructor = outputs[CONSTRUCTOR_HEAD] * constructor_weights[:, None]
    joint = jnp.concatenate(
        [constructor[:, index : index + 1] + outputs[name] for index, name in enumerate(tree.constructors)], axis=1
    )
    return -jax.nn.logsumexp(jnp.where(mask, joint, -jnp.inf), axis=1)
