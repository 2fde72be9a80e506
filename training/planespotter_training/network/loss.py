"""Loss for partial labels: the negative log-likelihood of a node of the label tree, at any level."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from planespotter_models.label_tree import CONSTRUCTOR_HEAD, Label, LabelTree


def leaf_mask(tree: LabelTree, label: Label) -> NDArray[np.bool_]:
    """Return a mask [leaves] of the leaves at or below the node `label`, over all constructors in order.

    With an `other` output, the mask has one more entry for it, last: the only one that a label outside the tree sets.
    """
    mask = [np.zeros(len(tree.leaves[constructor]), bool) for constructor in tree.constructors]
    if label.constructor in tree.constructors:
        mask[tree.constructors.index(label.constructor)][list(tree.leaves_below(label))] = True
    if tree.other:
        mask.append(np.array([label.constructor not in tree.constructors]))
    return np.concatenate(mask)


def node_loss(
    tree: LabelTree,
    outputs: Mapping[str, jax.Array],
    mask: jax.Array,
    constructor_weights: jax.Array,
    *,
    smoothing: float = 0.0,
) -> jax.Array:
    """Compute -log p(node) for each photo, where the node is the one that it is labelled with, at any level.

    A node's probability is the sum of its leaves', and a leaf's is p(constructor) · p(leaf | constructor).

    Args:
        tree: Label tree of the network.
        outputs: Log-probabilities [n, classes] per head.
        mask: Leaves of each photo's node, bool [n, leaves (+ 1 with an `other` output)], from `leaf_mask`.
        constructor_weights: Factor [n] on the part -log p(constructor), 1 for the formula above; a photo with 0 trains
            only the type heads.
        smoothing: Label smoothing (Szegedy et al. 2016): share of the loss that is the mean of -log p over all classes
            of the heads that the photo trains.

    Returns:
        Losses [n].
    """
    constructor = outputs[CONSTRUCTOR_HEAD] * constructor_weights[:, None]
    joint = joint_log_probabilities(tree, {**outputs, CONSTRUCTOR_HEAD: constructor})
    loss = -jax.nn.logsumexp(jnp.where(mask, joint, -jnp.inf), axis=1)
    if not smoothing:
        return loss
    uniform = -constructor.mean(axis=1)
    start = 0
    for name in tree.constructors:
        classes = outputs[name].shape[1]
        of_head = mask[:, start : start + classes]
        start += classes
        # A photo labelled with the constructor only does not train the head of its types.
        uniform += jnp.where(of_head.any(axis=1) & ~of_head.all(axis=1), -outputs[name].mean(axis=1), 0.0)
    return (1 - smoothing) * loss + smoothing * uniform


def joint_log_probabilities(tree: LabelTree, outputs: Mapping[str, jax.Array | NDArray[np.float32]]) -> jax.Array:
    """Return log-probabilities [n, leaves (+ 1)]: p(constructor) · p(leaf | constructor), then any `other` output.

    Args:
        tree: Label tree of the network.
        outputs: Log-probabilities [n, classes] per head.
    """
    constructor = outputs[CONSTRUCTOR_HEAD]
    columns = [constructor[:, index : index + 1] + outputs[name] for index, name in enumerate(tree.constructors)]
    return jnp.concatenate([*columns, constructor[:, len(tree.constructors) :]], axis=1)


def distillation_loss(
    tree: LabelTree, outputs: Mapping[str, jax.Array], soft_labels: jax.Array, temperature: float
) -> jax.Array:
    """Compute the cross-entropy between a teacher's and the network's probabilities of the leaves, both softened.

    Args:
        tree: Label tree of the network.
        outputs: Log-probabilities [n, classes] per head.
        soft_labels: The teacher's log-probabilities [n, leaves (+ 1 with an `other` output)].
        temperature: Divides both log-probabilities before they are normalized again. The loss is multiplied by its
            square, so that the gradient keeps its size (Hinton et al. 2015).

    Returns:
        Losses [n].
    """
    joint = joint_log_probabilities(tree, outputs)
    targets = jax.nn.softmax(soft_labels / temperature, axis=1)
    return -(targets * jax.nn.log_softmax(joint / temperature, axis=1)).sum(axis=1) * temperature**2


def split_flat(tree: LabelTree, flat: jax.Array) -> dict[str, jax.Array]:
    """Convert a flat softmax to equivalent hierarchical heads, so that loss, decoding and metrics apply to both.

    Args:
        tree: Label tree of the network.
        flat: Log-probabilities [n, leaves (+ 1 with an `other` output)].

    Returns:
        Log-probabilities [n, classes] per head: p(constructor) is the sum over its leaves, and p(leaf | constructor)
        the leaf's share of it.
    """
    parts, start = {}, 0
    for name in tree.constructors:
        classes = len(tree.leaves[name])
        parts[name] = flat[:, start : start + classes]
        start += classes
    sums = {name: jax.nn.logsumexp(part, axis=1, keepdims=True) for name, part in parts.items()}
    return {
        CONSTRUCTOR_HEAD: jnp.concatenate([*sums.values(), flat[:, start:]], axis=1),
        **{name: part - sums[name] for name, part in parts.items()},
    }
