"""Checkpoints of a run: the network, the optimiser and the position in the data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from planespotter_models import LabelTree
from planespotter_training.errors import TrainingError
from planespotter_training.network.model import Classifier
from planespotter_training.recipes.config import Recipe


def manager(run: Path, *, create: bool = True) -> Any:
    """Return the orbax CheckpointManager of a run; it keeps the last two steps. Close it after use."""
    return ocp.CheckpointManager(
        (run / "checkpoints").absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=2, create=create)
    )


def save(checkpoints: Any, step: int, state: Mapping[str, Any], iterator: Any) -> None:
    """Save the state after `step` steps, and the position of a grain iterator.

    `state` holds pytrees of arrays: "weights", "statistics", "optimiser" and, if one is kept, the "average" of the
    first two. The network that is saved is the one to be used, made of the average if there is one; what training goes
    on with is then beside it.
    """
    if checkpoints.latest_step() == step:
        return
    saved = {name: ocp.args.StandardSave(part) for name, part in _parts(state).items()}
    checkpoints.save(step, args=ocp.args.Composite(**saved, iterator=ocp.args.JsonSave(iterator.get_state())))


def restore(checkpoints: Any, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the state and the iterator's position of the latest step; the state is shaped and placed like `state`."""
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _parts(state))
    wanted = {name: ocp.args.StandardRestore(part) for name, part in abstract.items()}
    restored = checkpoints.restore(
        checkpoints.latest_step(), args=ocp.args.Composite(**wanted, iterator=ocp.args.JsonRestore())
    )
    made = {**_divide(restored.get("learning", restored["network"])), "optimiser": restored["optimiser"]}
    if "average" in state:
        made["average"] = _divide(restored["network"])
    return made, restored["iterator"]


def _parts(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is saved of `state`, by name."""
    networks = {"network": state["average"], "learning": state} if "average" in state else {"network": state}
    return {
        **{name: nnx.merge_state(held["weights"], held["statistics"]) for name, held in networks.items()},
        "optimiser": state["optimiser"],
    }


def _divide(network: Any) -> dict[str, Any]:
    weights, statistics = nnx.split_state(network, nnx.Param, ...)
    return {"weights": weights, "statistics": statistics}


def load_network(run: Path, recipe: Recipe, tree: LabelTree) -> tuple[Classifier, int]:
    """Return the network of the latest checkpoint of `run` and its step. Raises TrainingError if there is none."""
    nothing = TrainingError(f"The run {run} has no checkpoint yet. Let `planespotter train` finish an epoch first.")
    if not (run / "checkpoints").is_dir():
        raise nothing
    network = build(recipe, tree)
    with manager(run, create=False) as checkpoints:
        step = checkpoints.latest_step()
        if step is None:
            raise nothing
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, nnx.state(network))
        restored = checkpoints.restore(step, args=ocp.args.Composite(network=ocp.args.StandardRestore(abstract)))
    nnx.update(network, restored["network"])
    return network, step


def build(recipe: Recipe, tree: LabelTree, dtype: Any = np.float32) -> Classifier:
    """Return the network of `recipe` with fresh weights; its convolutions compute in `dtype`."""
    return Classifier(
        tree.heads,
        width=recipe.channels,
        norm=recipe.norm,
        dropout=recipe.dropout,
        seed=recipe.seed,
        pooling=recipe.pooling,
        size=(recipe.height, recipe.width),
        hidden=recipe.hidden,
        mirror=recipe.mirror,
        control=0 if recipe.control == "off" else sum(map(len, tree.leaves.values())),
        control_trains_trunk=recipe.control == "joint",
        train_from=recipe.train_from,
        dtype=dtype,
    )
