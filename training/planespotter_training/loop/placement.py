"""Placement: put the initial state on the devices, and compile the train step for them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from planespotter_models import LabelTree
from planespotter_training.loop.devices import Layout
from planespotter_training.loop.optimizer import Plan, frozen_weights, optimizer, update_scale
from planespotter_training.loop.step import Constants, State, split_network, train_step
from planespotter_training.recipes.config import Recipe


def build(
    network: nnx.Module,
    recipe: Recipe,
    tree: LabelTree,
    plan: Plan,
    layout: Layout,
    feature_scale: NDArray[np.float32] | None = None,
) -> tuple[Constants, State]:
    """Split a network into constants and initial state, replicated on all devices."""
    graph, weights, statistics = split_network(network)
    transform = optimizer(recipe, plan.rate, weights)
    state = {"weights": weights, "statistics": statistics, "optimizer": transform.init(weights)}
    if recipe.ema_decay:
        state["average"] = jax.tree.map(jnp.copy, {"weights": weights, "statistics": statistics})
    scale_updates = update_scale(recipe, plan.steps_per_epoch, weights)
    frozen = frozen_weights(recipe, weights)
    constants = Constants(graph, tree, recipe, transform, scale_updates, frozen, layout.shared, feature_scale)
    return constants, layout.put(state, layout.everywhere)


def compile_train_step(constants: Constants, layout: Layout) -> Any:
    """Compile `train_step` for the devices; it overwrites the state that it is called with (donation)."""
    return jax.jit(partial(train_step, constants), out_shardings=layout.everywhere, donate_argnames="state")
