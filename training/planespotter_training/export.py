"""Turn a run into a bundle: fold, calibrate, measure, and serialise the network with jax.export."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np
import pandas as pd
from flax import nnx
from rich.console import Console

from planespotter_training import bundle, checkpoint, dataset, run
from planespotter_training.bundle import Bundle
from planespotter_training.calibrate import PRECISION, calibrate
from planespotter_training.errors import TrainingError
from planespotter_training.metrics import measure
from planespotter_training.network import Classifier, fold_norms
from planespotter_training.predict import predict
from planespotter_training.seen import remember

PLATFORMS = ("cpu", "cuda")


def export(
    run_folder: Path, out: Path, name: str, version: str, console: Console, precision: float = PRECISION
) -> Bundle:
    """Write the latest checkpoint of the run in `run_folder` as a bundle to `out`, and return it.

    Temperatures and thresholds are chosen on the validation photos, so that `precision` of the answers given at a level
    are right; the metrics are of the test photos. Raises TrainingError or BundleError.
    """
    described = run.read(run_folder)
    tree, recipe = described.tree, described.recipe
    network, steps = checkpoint.load_network(run_folder, recipe, tree)
    fold_norms(network)
    network.control = None  # it is there to be compared with, and never served
    function, weights = as_function(network)
    splits = dataset.reopen(run_folder / "dataset")
    with console.status("Calibrating on the validation photos"):
        validation = dataset.load(splits["validation"], tree, recipe, described.sources)
        if not len(validation):
            raise TrainingError(f"The run {run_folder} has no validation photos to calibrate on. Collect more photos.")
        step = partial(jax.jit(function), weights)
        calibration = calibrate(
            tree, predict(step, validation), validation.labels, validation.constructor_weights, precision
        )
    with console.status("Measuring on the test photos"):
        test = dataset.load(splits["test"], tree, recipe, described.sources)
        metrics = measure(tree, calibration, predict(step, test), test.labels, test.sources) if len(test) else []
    with console.status("Writing the bundle"):
        made = Bundle(
            name=name,
            version=version,
            tree=tree,
            height=recipe.height,
            width=recipe.width,
            calibration=calibration,
            metrics=tuple(metrics),
            trained_on={
                "recipe": described.recipe_name,
                "settings": asdict(recipe),
                "steps": steps,
                "photos": described.photos,
                "sources": described.sources,
                "notes": described.notes,
                "precision": precision,
                "seen": remember(pd.read_csv(run_folder / "split.csv", dtype=str, keep_default_na=False)),
            },
            jax_version=jax.__version__,
            network=serialise(function, weights, recipe.height, recipe.width),
            weights=weights,
        )
        bundle.write(made, out)
    return made


def as_function(network: Classifier) -> tuple[Any, dict[str, np.ndarray[Any, Any]]]:
    """Return a pure function (weights, photos) -> log-probabilities per head, and its weights by their dotted path."""
    graph, state = nnx.split(network)
    flat = dict(nnx.to_flat_state(state))
    paths = {".".join(map(str, path)): path for path in flat}

    def function(weights: dict[str, jax.Array], photos: jax.Array) -> dict[str, jax.Array]:
        state = nnx.from_flat_state(
            [(paths[name], flat[paths[name]].replace(weight)) for name, weight in weights.items()]
        )
        outputs: dict[str, jax.Array] = nnx.merge(graph, state)(photos)
        return outputs

    return function, {name: np.asarray(flat[path][...]) for name, path in paths.items()}


def serialise(function: Any, weights: dict[str, np.ndarray[Any, Any]], height: int, width: int) -> bytes:
    """Return `function` as jax.export bytes for any number of uint8 photos [n, height, width, 3]."""
    (n,) = jax.export.symbolic_shape("n")
    photos = jax.ShapeDtypeStruct((n, height, width, 3), np.uint8)
    shapes = {name: jax.ShapeDtypeStruct(weight.shape, weight.dtype) for name, weight in weights.items()}
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(shapes, photos)
    return bytes(exported.serialize())
