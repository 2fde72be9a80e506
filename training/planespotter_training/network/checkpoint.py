"""Checkpoints of a run: network, optimizer state and position in the data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from planespotter_models import LabelTree
from planespotter_training.errors import TrainingError
from planespotter_training.network.model import Classifier, NetworkConfig
from planespotter_training.recipes.config import Recipe


def manager(run: Path, *, create: bool = True) -> Any:
    """Return the orbax CheckpointManager of a run; it keeps the last two steps. Close it after use."""
    return ocp.CheckpointManager(
        (run / "checkpoints").absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=2, create=create)
    )


def save(checkpoints: Any, step: int, state: Mapping[str, Any], iterator: Any) -> None:
    """Save a checkpoint unless there is one of this step.

    Args:
        checkpoints: From `manager`.
        step: Number of completed steps.
        state: Pytrees of arrays: "weights", "statistics", "optimizer" and, with EMA, the "average" of the first two.
            The average is saved as the "network" to be used, and the weights to resume from as "learning".
        iterator: A grain iterator, whose position is saved.
    """
    if checkpoints.latest_step() == step:
        return
    saved = {name: ocp.args.StandardSave(part) for name, part in _parts(state).items()}
    checkpoints.save(step, args=ocp.args.Composite(**saved, iterator=ocp.args.JsonSave(iterator.get_state())))


def restore(checkpoints: Any, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return state and iterator position of the latest step; the arrays get the shape and sharding of `state`."""
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _parts(state))
    wanted = {name: ocp.args.StandardRestore(part) for name, part in abstract.items()}
    restored = checkpoints.restore(
        checkpoints.latest_step(), args=ocp.args.Composite(**wanted, iterator=ocp.args.JsonRestore())
    )
    result = {**_divide(restored.get("learning", restored["network"])), "optimizer": restored["optimizer"]}
    if "average" in state:
        result["average"] = _divide(restored["network"])
    return result, restored["iterator"]


def _parts(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the items of a checkpoint by name."""
    networks = {"network": state["average"], "learning": state} if "average" in state else {"network": state}
    return {
        **{name: nnx.merge_state(part["weights"], part["statistics"]) for name, part in networks.items()},
        "optimizer": state["optimizer"],
    }


def _divide(network: Any) -> dict[str, Any]:
    weights, statistics = nnx.split_state(network, nnx.Param, ...)
    return {"weights": weights, "statistics": statistics}


def load_network(run: Path, recipe: Recipe, tree: LabelTree) -> tuple[Classifier, int]:
    """Load the network of the latest checkpoint of `run`.

    Returns:
        The network and its step.

    Raises:
        TrainingError: There is no checkpoint yet.
    """
    missing = TrainingError(f"The run {run} has no checkpoint yet. Let `planespotter train` finish an epoch first.")
    if not (run / "checkpoints").is_dir():
        raise missing
    network = build(recipe, tree)
    with manager(run, create=False) as checkpoints:
        step = checkpoints.latest_step()
        if step is None:
            raise missing
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, nnx.state(network))
        restored = checkpoints.restore(step, args=ocp.args.Composite(network=ocp.args.StandardRestore(abstract)))
    nnx.update(network, restored["network"])
    return network, step


def build(recipe: Recipe, tree: LabelTree, dtype: Any = np.float32) -> Classifier:
    """Build the network of `recipe` with initial weights; its convolutions compute in `dtype`."""
    return Classifier(tree.heads, network_config(recipe, tree), seed=recipe.seed, dtype=dtype)


def network_config(recipe: Recipe, tree: LabelTree) -> NetworkConfig:
    """Return the configuration of a recipe's network for a label tree."""
    return NetworkConfig(
        channel_multiplier=recipe.channel_multiplier,
        batch_norm=recipe.batch_norm,
        dropout=recipe.dropout,
        pooling=recipe.pooling,
        size=(recipe.height, recipe.width),
        hidden_units=recipe.hidden_units,
        flip_tta=recipe.flip_tta,
        baseline_classes=0 if recipe.baseline_head == "off" else len(tree.all_leaves) + tree.other,
        joint_baseline=recipe.baseline_head == "joint",
        train_from=recipe.train_from,
        preprocessing=recipe.preprocessing,
    )
