"""Baselines of an evaluation: the flat softmax of a run, or another bundle, on the same photos."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from planespotter_models import Bundle, Calibration, Label, load_engine, read_bundle
from planespotter_training import run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.evaluate import BATCH, Evaluation, predict_photos
from planespotter_training.evaluation.scoring import Rows, score


def evaluate_baseline(path: Path, evaluation: Evaluation, console: Console) -> tuple[str, Rows]:
    """Score a baseline on the photos of an evaluation.

    Args:
        path: Folder of a bundle, or of a run that was trained with a baseline head: its flat softmax over all types is
            calibrated on the run's validation photos, as a bundle is.
        evaluation: The evaluation to compare with.
        console: For progress.

    Returns:
        A name for the baseline, and its rows, in the order of the evaluation's.

    Raises:
        TrainingError, BundleError: The baseline cannot be read or compared; see `check_baseline`.
    """
    check_baseline(path, evaluation.bundle)
    if (path / "bundle.json").is_file():
        other = read_bundle(path)
        engine = load_engine(other, (BATCH,))
        name = f"{other.name} {other.version}"
        predicted = partial(predict_photos, other.tree, (other.height, other.width), engine.run)
        calibration = other.calibration
    else:
        run = run_folder.read(path)
        step, calibration = _flat_softmax(path, run)
        name = f"flat softmax of {path.resolve().name}"
        predicted = partial(predict_photos, run.tree, (run.recipe.height, run.recipe.width), step)
    outputs, photos, _ = predicted(evaluation.folder, evaluation.photos, console)
    labels = [Label(*row) for row in photos[["constructor", "family", "model"]].itertuples(index=False)]
    rows = score(
        evaluation.bundle.tree,
        calibration,
        outputs,
        labels,
        list(photos["source"]),
        list(evaluation.rows["airframe"]),
    )
    return name, rows


def check_baseline(path: Path, model: Bundle) -> None:
    """Check that the bundle or run at `path` can be compared with `model`, photo by photo.

    Raises:
        TrainingError, BundleError: It cannot be read, has no baseline head, or has another label tree.
    """
    run = None if (path / "bundle.json").is_file() else run_folder.read(path)
    if run is not None and run.recipe.baseline_head == "off":
        raise TrainingError(
            f"The run {path} was trained without a baseline head. Train with --set baseline_head=stop-gradient, or "
            "name a bundle."
        )
    tree = run.tree if run else read_bundle(path).tree
    if {name: dict(families) for name, families in tree.branches.items()} != {
        name: dict(families) for name, families in model.tree.branches.items()
    }:
        raise TrainingError(
            f"{path} has another label tree than {model.name} {model.version}, so they cannot be compared. Train both "
            "on the same catalog with the same min_photos."
        )


def _flat_softmax(path: Path, run: run_folder.Run) -> tuple[Any, Calibration]:
    import jax

    from planespotter_training.data import dataset
    from planespotter_training.evaluation.calibrate import calibrate
    from planespotter_training.evaluation.predict import predict
    from planespotter_training.network import checkpoint
    from planespotter_training.network.loss import split_flat

    network, _ = checkpoint.load_network(path, run.recipe, run.tree)

    @jax.jit
    def step(photos: jax.Array) -> dict[str, jax.Array]:
        return split_flat(run.tree, network.flat(network.features(photos)))

    validation = dataset.load(dataset.reopen(path / "dataset")["validation"], run.tree, run.recipe, run.sources)
    outputs = predict(step, validation)
    calibration = calibrate(run.tree, outputs, validation.labels, validation.constructor_weights)

    def run_batch(photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        padded = np.zeros((BATCH, *photos.shape[1:]), np.uint8)
        padded[: len(photos)] = photos
        return {head: np.asarray(output)[: len(photos)] for head, output in step(padded).items()}

    return run_batch, calibration
