"""The optimiser of a recipe, and which part of the network learns how fast."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from planespotter_training.recipes.config import LAYERS, Recipe

HEADS = "heads"

RULES = (
    *((rf"trunk\.(layers|norms)\.{layer}\.\w+", layer) for layer in LAYERS),
    (r"(heads\..+|hidden|control)\.\w+", HEADS),
)
"""Which layer a weight belongs to, by its dotted path; every weight must match exactly one."""


def layers_of(weights: Any) -> Any:
    """Return a tree like `weights` with the name of each weight's layer, or "heads".

    Raises ValueError unless every weight matches exactly one of RULES.
    """

    def layer_of(path: Any, _: object) -> str:
        dotted = jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")
        found = [layer for pattern, layer in RULES if re.fullmatch(pattern, dotted)]
        if len(found) != 1:
            raise ValueError(f"the weight {dotted} must match one rule of the optimiser, but matches {found}")
        return found[0]

    return jax.tree_util.tree_map_with_path(layer_of, weights)


def schedule(recipe: Recipe, warmup: int, total: int) -> Callable[[Any], Any]:
    """Return the learning rate of the heads as a function of the step; `warmup` steps rise to it, of `total`."""
    if recipe.schedule == "cosine":
        made: Callable[[Any], Any] = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, warmup, total)
        return made
    rises = optax.linear_schedule(0.0, recipe.learning_rate, max(1, warmup))
    flat: Callable[[Any], Any] = optax.join_schedules([rises, lambda _: recipe.learning_rate], [warmup])
    return flat


def optimiser(recipe: Recipe, rate: Callable[[Any], Any], weights: Any) -> Any:
    """Return the optax optimiser; what lies before `recipe.train_from` has no state in it and does not change."""
    if recipe.optimiser == "adamw":
        kernels = partial(jax.tree.map, lambda weight: weight.ndim > 1)
        made = optax.adamw(rate, weight_decay=recipe.weight_decay, mask=kernels)
    else:
        made = optax.rmsprop(rate, decay=0.9, eps=1e-7)
    layers = layers_of(weights)
    if recipe.train_from == LAYERS[0]:
        return made
    frozen = LAYERS[: (*LAYERS, HEADS).index(recipe.train_from)]
    parts = jax.tree.map(lambda layer: "frozen" if layer in frozen else "learning", layers)
    return optax.multi_transform({"learning": made, "frozen": optax.set_to_zero()}, parts)


def shares(recipe: Recipe, steps_per_epoch: int, weights: Any) -> Callable[[Any, Any], Any]:
    """Return a function (updates, step) -> updates, each scaled by the share of the learning rate that is its layer's.

    A block of convolutions learns at `layer_decay` of the rate of the block after it, and not before its turn comes
    when they are unfrozen one after another.
    """
    if recipe.layer_decay == 1 and not recipe.unfreeze_epochs:
        return lambda updates, _: updates
    layers = layers_of(weights)

    def scale(updates: Any, step: Any) -> Any:
        def share(layer: str) -> Any:
            behind = 0 if layer == HEADS else 6 - int(layer[5])  # blocks up to the heads
            begins = behind * recipe.unfreeze_epochs * steps_per_epoch
            return jnp.where(step >= begins, jnp.float32(recipe.layer_decay**behind), 0.0)

        return jax.tree.map(lambda update, layer: update * share(layer), updates, layers)

    return scale
