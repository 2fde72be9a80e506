"""Checkpoints of a run: the network, the optimiser and the position in the data."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import nnx

from planespotter_training.bundle import LabelTree
from planespotter_training.errors import TrainingError
from planespotter_training.network import Classifier
from planespotter_training.recipes.recipe import Recipe


def manager(run: Path, *, create: bool = True) -> Any:
    """Return the orbax CheckpointManager of a run; it keeps the last two steps. Close it after use."""
    return ocp.CheckpointManager(
        (run / "checkpoints").absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=2, create=create)
    )


def save(checkpoints: Any, step: int, network: Any, optimiser: Any, iterator: Any) -> None:
    """Save the state after `step` steps: pytrees of arrays, and the position of a grain iterator."""
    if checkpoints.latest_step() == step:
        return
    checkpoints.save(
        step,
        args=ocp.args.Composite(
            network=ocp.args.StandardSave(network),
            optimiser=ocp.args.StandardSave(optimiser),
            iterator=ocp.args.JsonSave(iterator.get_state()),
        ),
    )


def restore(checkpoints: Any, network: Any, optimiser: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Return network, optimiser and iterator state of the latest step, shaped like `network` and `optimiser`."""
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, (network, optimiser))
    restored = checkpoints.restore(
        checkpoints.latest_step(),
        args=ocp.args.Composite(
            network=ocp.args.StandardRestore(abstract[0]),
            optimiser=ocp.args.StandardRestore(abstract[1]),
            iterator=ocp.args.JsonRestore(),
        ),
    )
    return restored["network"], restored["optimiser"], restored["iterator"]


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


def build(recipe: Recipe, tree: LabelTree) -> Classifier:
    """Return the network of `recipe` with fresh weights."""
    return Classifier(tree.heads, width=recipe.channels, norm=True, dropout=recipe.dropout, seed=recipe.seed)
