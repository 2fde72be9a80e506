"""Optimizer: learning rate schedule, frozen layers, layer-wise learning rate decay and gradual unfreezing."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from planespotter_training.recipes.config import LAYERS, Recipe

HEADS = "heads"

RULES = (
    *((rf"trunk\.(layers|norms)\.{layer}\.\w+", layer) for layer in LAYERS),
    (r"(heads\..+|hidden|reduction|baseline_head)\.\w+", HEADS),
)
"""The layer of a weight by its dotted path; every weight must match exactly one rule."""


@dataclass(frozen=True)
class Plan:
    """The length of a training and its learning rate."""

    steps_per_epoch: int
    total: int
    """Steps of the whole training."""
    rate: Callable[[Any], Any]
    """Learning rate of the heads by step, from 0."""


def plan(recipe: Recipe, training_photos: int) -> Plan:
    """Plan a training on that many photos."""
    steps_per_epoch = recipe.steps_per_epoch or training_photos // recipe.batch_size
    total = steps_per_epoch * recipe.epochs
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 2)
    return Plan(steps_per_epoch, total, schedule(recipe, warmup, total))


def schedule(recipe: Recipe, warmup: int, total: int) -> Callable[[Any], Any]:
    """Return the learning rate schedule: linear warmup, then cosine decay to 0, or constant.

    Args:
        recipe: Gives the kind of schedule, and the peak learning rate, above 0.
        warmup: Steps of the warmup, from 0 to `total` / 2.
        total: Steps of the whole training, at least 1.

    Returns:
        A function from the step, counted from 0, to the learning rate, from 0 to the peak. It accepts traced values.
    """
    if recipe.schedule == "cosine":
        cosine: Callable[[Any], Any] = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, warmup, total)
        return cosine
    ramp = optax.linear_schedule(0.0, recipe.learning_rate, max(1, warmup))
    constant: Callable[[Any], Any] = optax.join_schedules([ramp, lambda _: recipe.learning_rate], [warmup])
    return constant


def layers_of(weights: Any) -> Any:
    """Return a tree shaped like `weights` with the name of each weight's layer, or "heads".

    Raises:
        ValueError: A weight does not match exactly one of RULES.
    """

    def layer_of(path: Any, _: object) -> str:
        dotted = jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")
        matches = [layer for pattern, layer in RULES if re.fullmatch(pattern, dotted)]
        if len(matches) != 1:
            raise ValueError(f"the weight {dotted} must match one rule of the optimizer, but matches {matches}")
        return matches[0]

    return jax.tree_util.tree_map_with_path(layer_of, weights)


def optimizer(recipe: Recipe, rate: Callable[[Any], Any], weights: Any) -> Any:
    """Return the optimizer; layers before `recipe.train_from` are frozen: they have no state and do not change.

    Weight decay of AdamW applies to kernels only, not to biases and scales.

    Args:
        recipe: Gives the algorithm, its weight decay and the first layer to train.
        rate: Learning rate by step, from 0.
        weights: Tree of the weights; only its paths matter.

    Returns:
        An optax gradient transformation.

    Raises:
        ValueError: A weight does not match exactly one of RULES.
    """
    if recipe.optimizer == "adamw":
        kernels = partial(jax.tree.map, lambda weight: weight.ndim > 1)
        transform = optax.adamw(rate, weight_decay=recipe.weight_decay, mask=kernels)
    else:
        transform = optax.rmsprop(rate, decay=0.9, eps=1e-7)
    frozen = frozen_weights(recipe, weights)
    if recipe.train_from == LAYERS[0]:
        return transform
    parts = jax.tree.map(lambda is_frozen: "frozen" if is_frozen else "trained", frozen)
    return optax.multi_transform({"trained": transform, "frozen": optax.set_to_zero()}, parts)


def frozen_weights(recipe: Recipe, weights: Any) -> Any:
    """Return a tree shaped like `weights` with whether each is in a layer before `recipe.train_from`.

    Raises:
        ValueError: A weight does not match exactly one of RULES.
    """
    frozen = LAYERS[: (*LAYERS, HEADS).index(recipe.train_from)]
    return jax.tree.map(lambda layer: layer in frozen, layers_of(weights))


def update_scale(recipe: Recipe, steps_per_epoch: int, weights: Any) -> Callable[[Any, Any], Any]:
    """Return a function that scales each update by its layer's share of the learning rate.

    A block of convolutions has `layer_decay` of the rate of the next block, and 0 until it is unfrozen. The heads have
    the full rate from the start.

    Args:
        recipe: Gives `layer_decay`, in (0, 1], and `unfreeze_epochs`, the epochs between the unfreezing of two blocks.
        steps_per_epoch: Steps per epoch, at least 1.
        weights: Tree of the weights; only its paths matter.

    Returns:
        A function (updates, step) -> updates, with the tree of `weights` and steps from 0.

    Raises:
        ValueError: A weight does not match exactly one of RULES.
    """
    if recipe.layer_decay == 1 and not recipe.unfreeze_epochs:
        return lambda updates, _: updates
    layers = layers_of(weights)

    def scale(updates: Any, step: Any) -> Any:
        def share(layer: str) -> Any:
            behind = 0 if layer == HEADS else 6 - int(layer[5])  # blocks up to the heads
            start = behind * recipe.unfreeze_epochs * steps_per_epoch
            return jnp.where(step >= start, jnp.float32(recipe.layer_decay**behind), 0.0)

        return jax.tree.map(lambda update, layer: update * share(layer), updates, layers)

    return scale
