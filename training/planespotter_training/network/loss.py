"""The loss of photos that are labelled only part of the way."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from planespotter_models.label_tree import CONSTRUCTOR_HEAD, Label, LabelTree


def leaf_mask(tree: LabelTree, label: Label) -> NDArray[np.bool_]:
    """Return which leaves of `tree` lie at or below the node `label`: bool [leaves], all constructors in order."""
    mask = [np.zeros(len(tree.leaves[constructor]), bool) for constructor in tree.constructors]
    mask[tree.constructors.index(label.constructor)][list(tree.leaves_below(label))] = True
    return np.concatenate(mask)


def node_loss(
    tree: LabelTree,
    outputs: Mapping[str, jax.Array],
    mask: jax.Array,
    constructor_weights: jax.Array,
    *,
    smoothing: float = 0.0,
) -> jax.Array:
    """Return for each photo -log p(node), the node being the one that it is labelled with, at whichever level.

    A node's probability is the sum of its leaves', and a leaf's is p(constructor) · p(leaf | constructor).

    `outputs`: log-probabilities [n, classes] for each head. `mask`: the leaves of each photo's node, bool [n, leaves],
    from `leaf_mask`. `constructor_weights`: float [n], 1 for the formula above; the part -log p(constructor) of the
    loss is multiplied by it, so that a photo with 0 teaches the model heads only. `smoothing` is the share of the loss
    that is, instead, the mean of -log p over all classes of the heads that the photo teaches (Szegedy et al., 2016).
    Returns float [n].
    """
    constructor = outputs[CONSTRUCTOR_HEAD] * constructor_weights[:, None]
    joint = jnp.concatenate(
        [constructor[:, index : index + 1] + outputs[name] for index, name in enumerate(tree.constructors)], axis=1
    )
    loss = -jax.nn.logsumexp(jnp.where(mask, joint, -jnp.inf), axis=1)
    if not smoothing:
        return loss
    uniform = -constructor.mean(axis=1)
    start = 0
    for name in tree.constructors:
        classes = outputs[name].shape[1]
        mine = mask[:, start : start + classes]
        start += classes
        # A photo labelled with the constructor alone says nothing to the head of its models.
        uniform += jnp.where(mine.any(axis=1) & ~mine.all(axis=1), -outputs[name].mean(axis=1), 0.0)
    return (1 - smoothing) * loss + smoothing * uniform


def as_chain(tree: LabelTree, flat: jax.Array) -> dict[str, jax.Array]:
    """Return what the heads of the chain would say if they agreed with the flat log-probabilities [n, leaves].

    So loss, decoding and metrics of the chain serve for the flat softmax as well: p(constructor) is the sum over its
    leaves, and p(leaf | constructor) the leaf's share of it.
    """
    parts, start = {}, 0
    for name in tree.constructors:
        classes = len(tree.leaves[name])
        parts[name] = flat[:, start : start + classes]
        start += classes
    sums = {name: jax.nn.logsumexp(part, axis=1, keepdims=True) for name, part in parts.items()}
    return {
        CONSTRUCTOR_HEAD: jnp.concatenate(list(sums.values()), axis=1),
        **{name: part - sums[name] for name, part in parts.items()},
    }
