"""Held-out sources: predictions for photos of sources that a run held out of training, to calibrate a network on.

Validation photos come from the sources that were trained on, where a network is more often right than elsewhere.
Temperatures and thresholds that are fitted on held-out sources hold for photos that anyone takes. Several runs of one
recipe that hold out different sources together give many such photos (cross-fitting).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from planespotter_models import Calibration, Label, LabelTree
from planespotter_scraping.catalog import count_noun
from planespotter_training import run_folder
from planespotter_training.data import dataset
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.calibrate import calibrate
from planespotter_training.evaluation.metrics import compute
from planespotter_training.evaluation.predict import predict
from planespotter_training.evaluation.scoring import number_nodes, score
from planespotter_training.network import checkpoint
from planespotter_training.network.model import fold_norms

CROSS_FITTED = (
    "confident_share",
    "confident_accuracy",
    "ece",
    "constructor_accuracy",
    "constructor_auroc",
    "family_accuracy",
    "auroc",
)
"""Metrics of held-out sources, each with a calibration fitted on the other ones."""


@dataclass(frozen=True)
class HeldOut:
    """Predictions for n photos of held-out sources, and their labels."""

    outputs: Mapping[str, NDArray[Any]]
    """Log-probabilities [n, classes] per head."""
    labels: Sequence[Label]
    sources: Sequence[str]

    def select(self, mask: NDArray[np.bool_]) -> "HeldOut":
        """Return the photos in `mask` [n]."""
        chosen = np.flatnonzero(mask)
        return HeldOut(
            {head: output[chosen] for head, output in self.outputs.items()},
            [self.labels[int(index)] for index in chosen],
            [self.sources[int(index)] for index in chosen],
        )


def predict_held_out(runs: Sequence[Path], tree: LabelTree) -> HeldOut:
    """Predict the photos of the sources that each of `runs` held out, with the network of that run.

    Args:
        runs: Folders of the runs.
        tree: Label tree of the network to calibrate; theirs must be the same.

    Raises:
        TrainingError: A run cannot be read, held out no source or one that another did, or has another label tree.
    """
    parts: list[HeldOut] = []
    seen: dict[str, Path] = {}
    for folder in runs:
        run = run_folder.read(folder)
        held_out = {name.lower() for name in run.held_out.get("sources", ())}
        if not held_out:
            raise TrainingError(
                f"The run {folder} held out no source, so there is nothing to calibrate on. Train it with "
                "--hold-out-source."
            )
        if not run.tree.same_outputs(tree):
            missing = sorted(set(map(str, tree.all_leaves)) ^ set(map(str, run.tree.all_leaves)))
            raise TrainingError(
                f"The run {folder} has another label tree: it differs in {count_noun(len(missing), 'type')}. Only "
                "runs that classify the same types can calibrate one another; without the photos of a source, a type "
                "may be too rare."
            )
        for name in held_out:
            if name in seen:
                raise TrainingError(f"{seen[name]} and {folder} both held out the source {name!r}. Pass one of them.")
            seen[name] = folder
        network, _ = checkpoint.load_network(folder, run.recipe, tree)
        fold_norms(network)
        graph, state = nnx.split(network)
        step = jax.jit(lambda state, photos, graph=graph: nnx.merge(graph, state)(photos))
        test = dataset.load(dataset.reopen(folder / "dataset")["test"], tree, run.recipe, run.sources)
        test = test.select([source.lower() in held_out for source in test.sources])
        parts.append(HeldOut(predict(partial(step, state), test), test.labels, test.sources))
    return HeldOut(
        {head: np.concatenate([part.outputs[head] for part in parts]) for head in tree.heads},
        [label for part in parts for label in part.labels],
        [source for part in parts for source in part.sources],
    )


def calibrate_on(held_out_photos: HeldOut, tree: LabelTree, target_precision: float) -> Calibration:
    """Fit temperatures and thresholds on held-out sources, of which each counts by the square root of its size."""
    _, group, counts = np.unique(held_out_photos.sources, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[group])
    return calibrate(
        tree,
        held_out_photos.outputs,
        held_out_photos.labels,
        weights / weights.mean(),
        target_precision,
        at_every_level=True,
    )


def cross_fit(
    held_out_photos: HeldOut, tree: LabelTree, target_precision: float
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure each source with a calibration that is fitted on the other sources.

    Returns:
        For each source, and under "" for all together: {metric: {"value": ..., "photos": ...}}; {} for one source.
    """
    sources = np.array(held_out_photos.sources)
    names = sorted(set(held_out_photos.sources))
    if len(names) < 2:
        return {}
    nodes = number_nodes(tree)
    parts = {}
    for name in names:
        here = held_out_photos.select(sources == name)
        calibration = calibrate_on(held_out_photos.select(sources != name), tree, target_precision)
        parts[name] = score(tree, calibration, here.outputs, here.labels, here.sources)
    parts[""] = np.concatenate(list(parts.values()))
    return {
        name: {
            metric: {"value": value.value, "photos": value.photos}
            for metric, value in compute(nodes, rows, CROSS_FITTED).items()
            if value is not None
        }
        for name, rows in parts.items()
    }
