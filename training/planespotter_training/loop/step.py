"""The pure functions of training: loss, train step and eval step. The state is a plain pytree.

They place nothing on devices; `placement` does, and compiles them.

State: "weights" (what is trained), "statistics" (of batch normalisation), "optimizer" and, with EMA, the "average" of
weights and statistics.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from numpy.typing import NDArray

from planespotter_models import CONSTRUCTOR_HEAD, LabelTree
from planespotter_training.data.augment import Augmentation, augment
from planespotter_training.network.loss import distillation_loss, node_loss, split_flat
from planespotter_training.recipes.config import Recipe

FLAT = "flat "
"""Prefix of the names of heads that the flat baseline amounts to, in the output of `eval_step`."""

State = dict[str, Any]


@dataclass(frozen=True)
class Constants:
    """What does not change during a training: the steps are functions of it."""

    graph: Any
    """The NNX graph of the network, without its state."""
    tree: LabelTree
    recipe: Recipe
    optimizer: Any
    """An optax gradient transformation."""
    scale_updates: Callable[[Any, Any], Any]
    """(updates, step) -> updates: layer-wise learning rate decay and gradual unfreezing."""
    frozen: Any
    """Tree of the weights: whether each is frozen. The compiler does not see it, and would copy these at each step."""
    batch_sharding: Any
    """How the photos of a batch are spread over the devices."""
    feature_scale: NDArray[np.float32] | None = None
    """Steps [1, 1, 1, channels] of the quantized features of frozen layers; None without these."""


def split_network(network: nnx.Module) -> tuple[Any, Any, Any]:
    """Split `network` into graph, weights, and the rest: the running statistics of batch normalisation."""
    graph, weights, statistics = nnx.split(network, nnx.Param, ...)  # type: ignore[misc] # as many as asked for
    return graph, weights, statistics


def loss(
    constants: Constants,
    weights: Any,
    statistics: Any,
    inputs: jax.Array,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
    """Compute the loss of a batch.

    Args:
        constants: What does not change during a training.
        weights: What the gradient is taken of.
        statistics: Running statistics of batch normalisation.
        inputs: Augmented photos, uint8 RGB [n, height, width, 3]; or with a `feature_scale` their quantized features
            before `train_from`.
        batch: `masks` [n, outputs], `constructor_weights` [n] and, with a teacher, its `soft_labels` [n, outputs].
        key: Random key of dropout.

    Returns:
        The loss; then per photo "losses" and "correct" [n], of the constructor, and the new statistics.
    """
    recipe, tree = constants.recipe, constants.tree
    network = nnx.merge(constants.graph, weights, statistics, copy=True)
    features = _features(network, inputs, constants.feature_scale, dropout_key=key)
    outputs = network.hierarchical(features)
    targets = batch["masks"], batch["constructor_weights"]
    losses = node_loss(tree, outputs, *targets, smoothing=recipe.label_smoothing)
    total = losses.mean()
    if "soft_labels" in batch:
        share = recipe.distillation_weight
        soft = distillation_loss(tree, outputs, batch["soft_labels"], recipe.distillation_temperature)
        total = (1 - share) * total + share * soft.mean()
    if recipe.baseline_head != "off":
        flat = split_flat(tree, network.flat(features))
        total += node_loss(tree, flat, *targets, smoothing=recipe.label_smoothing).mean()
    if recipe.l2:
        dense = [*network.heads.values(), *filter(None, (network.hidden, network.reduction))]
        total += recipe.l2 * sum((layer.kernel[...] ** 2).sum() for layer in dense)
    per_photo = {"losses": losses, "correct": _correct_constructor(tree, outputs, batch["masks"])}
    return total, (per_photo, split_network(network)[2])


def train_step(
    constants: Constants, state: State, cache: jax.Array | None, batch: Mapping[str, jax.Array], step: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """Augment a batch, take a step of the optimizer and update the moving average.

    Args:
        constants: What does not change during a training.
        state: The state before the step.
        cache: All training photos uint8 [photos, height, width, 3], or None if `batch` holds its `photos`.
        batch: `index`, `masks` and `constructor_weights` [n, ...]; without a cache the `photos` [n, height, width, 3],
            too, or the `features` of frozen layers, which need no augmentation.
        step: Number of completed steps; together with the recipe's seed it determines all randomness.

    Returns:
        The state after the step; and "losses" and "correct" [n], "gradient_norm" and "weight_norm".
    """
    recipe = constants.recipe
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(jax.random.key(recipe.seed), step))
    if constants.feature_scale is None:
        photos = batch["photos"] if cache is None else cache[batch["index"]]
        photos = jax.lax.with_sharding_constraint(photos, constants.batch_sharding)
        inputs = augment(photos, augment_key, Augmentation.of(recipe))
    else:
        inputs = batch["features"]

    def loss_of(weights: Any) -> Any:
        return loss(constants, weights, state["statistics"], inputs, batch, dropout_key)

    (_, (per_photo, statistics)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state["weights"])
    updates, optimizer_state = constants.optimizer.update(gradients, state["optimizer"], state["weights"])
    keep_frozen = partial(jax.tree.map, lambda frozen, old, new: old if frozen else new, constants.frozen)
    weights = keep_frozen(
        state["weights"], optax.apply_updates(state["weights"], constants.scale_updates(updates, step))
    )
    new = {"weights": weights, "statistics": statistics, "optimizer": optimizer_state}
    if recipe.ema_decay:
        # A young average decays faster, or the initial weights would dominate it for long. The batch statistics are
        # averaged too: those of the last weights do not fit the average of many.
        share = 1 - jnp.minimum(recipe.ema_decay, (1 + step) / (10 + step))
        new["average"] = jax.tree.map(
            lambda mean, value: mean + (value - mean) * share,  # in this form, a constant value stays exactly constant
            state["average"],
            {"weights": weights, "statistics": statistics},
        )
        new["average"]["weights"] = keep_frozen(state["average"]["weights"], new["average"]["weights"])
    return new, per_photo | {"gradient_norm": optax.tree.norm(gradients), "weight_norm": optax.tree.norm(weights)}


def eval_step(
    constants: Constants, weights: Any, statistics: Any, inputs: jax.Array, *, frozen: bool = False
) -> dict[str, jax.Array]:
    """Predict photos: log-probabilities [n, classes] per head.

    Args:
        constants: What does not change during a training.
        weights: Weights of the network.
        statistics: Running statistics of batch normalisation.
        inputs: uint8 RGB [n, height, width, 3]; or with `frozen` their quantized features before `train_from`.
        frozen: Whether the frozen layers have been computed. There is no flip TTA then.

    Returns:
        Outputs by head. With a baseline head, the heads that it amounts to are included, with the prefix FLAT.
    """
    network = nnx.merge(constants.graph, weights, statistics)
    features = _features(network, inputs, constants.feature_scale if frozen else None)
    outputs = network.hierarchical(features) if frozen or not network.flip_tta else network(inputs)
    if constants.recipe.baseline_head != "off":
        flat = split_flat(constants.tree, network.flat(features))
        outputs |= {FLAT + head: output for head, output in flat.items()}
    return outputs  # type: ignore[no-any-return]


def _features(
    network: Any, inputs: jax.Array, scale: NDArray[np.float32] | None, *, dropout_key: jax.Array | None = None
) -> jax.Array:
    """Return the input of the heads, of photos, or with a `scale` of the quantized features of frozen layers."""
    features: jax.Array = (
        network.features(inputs, dropout_key=dropout_key)
        if scale is None
        else network.features_after(inputs.astype(jnp.float32) * scale, dropout_key=dropout_key)
    )
    return features


def _correct_constructor(tree: LabelTree, outputs: Mapping[str, jax.Array], masks: jax.Array) -> jax.Array:
    """Return for each photo whether the constructor head predicts the constructor of its label: bool [n]."""
    sizes = [*(len(tree.leaves[name]) for name in tree.constructors), *([1] if tree.other else [])]
    ends = np.cumsum(sizes)
    true = jnp.stack([masks[:, end - n : end].any(axis=1) for n, end in zip(sizes, ends, strict=True)], axis=1)
    return jnp.argmax(outputs[CONSTRUCTOR_HEAD], axis=1) == jnp.argmax(true, axis=1)
