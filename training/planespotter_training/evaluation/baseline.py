"""Answer the photos of an evaluation with something else to hold beside it: a run's flat softmax, or another bundle."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from planespotter_models import Bundle, Calibration, Label, load_engine, read_bundle
from planespotter_training import run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.evaluate import BATCH, Evaluation, answer_photos
from planespotter_training.evaluation.scoring import Rows, judge


def answer_again(path: Path, evaluation: Evaluation, console: Console) -> tuple[str, Rows]:
    """Return a name for what is at `path`, and its answers to the photos of `evaluation`, in the same order.

    `path` is a bundle, or a run that was trained with a control: its flat softmax over all types is taken, calibrated
    on the run's validation photos as a bundle is. Raises TrainingError or BundleError.
    """
    check_control(path, evaluation.bundle)
    if (path / "bundle.json").is_file():
        other = read_bundle(path)
        engine = load_engine(other, (BATCH,))
        name = f"{other.name} {other.version}"
        answers = partial(answer_photos, other.tree, (other.height, other.width), engine.run)
        calibration = other.calibration
    else:
        described = run_folder.read(path)
        step, calibration = _flat_softmax(path, described)
        name = f"flat softmax of {path.resolve().name}"
        answers = partial(answer_photos, described.tree, (described.recipe.height, described.recipe.width), step)
    outputs, photos, _ = answers(evaluation.folder, evaluation.photos, console)
    labels = [Label(*row) for row in photos[["constructor", "family", "model"]].itertuples(index=False)]
    rows = judge(
        evaluation.bundle.tree,
        calibration,
        outputs,
        labels,
        list(photos["source"]),
        list(evaluation.rows["airframe"]),
    )
    return name, rows


def check_control(path: Path, model: Bundle) -> None:
    """Raise TrainingError or BundleError unless what is at `path` can be held beside `model`, photo by photo."""
    described = None if (path / "bundle.json").is_file() else run_folder.read(path)
    if described is not None and described.recipe.control == "off":
        raise TrainingError(
            f"The run {path} was trained without a flat softmax to compare with. Train with --set control=stopped, "
            "or name a bundle."
        )
    tree = described.tree if described else read_bundle(path).tree
    if {name: dict(families) for name, families in tree.branches.items()} != {
        name: dict(families) for name, families in model.tree.branches.items()
    }:
        raise TrainingError(
            f"{path} tells other types apart than {model.name} {model.version}, so the two cannot be held side by "
            "side. Train both on the same catalog with the same min_photos."
        )


def _flat_softmax(path: Path, described: run_folder.Run) -> tuple[Any, Calibration]:
    import jax

    from planespotter_training.data import dataset
    from planespotter_training.evaluation.calibrate import calibrate
    from planespotter_training.evaluation.predict import predict
    from planespotter_training.network import checkpoint
    from planespotter_training.network.loss import as_chain

    network, _ = checkpoint.load_network(path, described.recipe, described.tree)

    @jax.jit
    def step(photos: jax.Array) -> dict[str, jax.Array]:
        return as_chain(described.tree, network.flat(network.features(photos)))

    validation = dataset.load(
        dataset.reopen(path / "dataset")["validation"], described.tree, described.recipe, described.sources
    )
    outputs = predict(step, validation)
    calibration = calibrate(described.tree, outputs, validation.labels, validation.constructor_weights)

    def answer(photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        padded = np.zeros((BATCH, *photos.shape[1:]), np.uint8)
        padded[: len(photos)] = photos
        return {head: np.asarray(output)[: len(photos)] for head, output in step(padded).items()}

    return answer, calibration
