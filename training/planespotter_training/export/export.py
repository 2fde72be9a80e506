"""Export a run as a model bundle: fold batch normalisation, calibrate, measure, and serialize the network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console

from planespotter_models import (
    Architecture,
    Bundle,
    Calibration,
    EngineChoice,
    LabelTree,
    Thresholds,
    decode_photo,
    decode_prediction,
    load_engine,
    write_bundle,
)
from planespotter_models.weight_quantization import dequantize, quantize
from planespotter_scraping import catalog
from planespotter_training import run_folder
from planespotter_training.data import dataset
from planespotter_training.data.dataset import Examples
from planespotter_training.data.training_fingerprint import make_fingerprint
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.calibrate import TARGET_PRECISION, calibrate
from planespotter_training.evaluation.held_out_sources import calibrate_on, cross_fit, predict_held_out
from planespotter_training.evaluation.metrics import measure
from planespotter_training.evaluation.predict import BATCH, predict
from planespotter_training.export.int8_calibration import (
    MAX_ACCURACY_DROP,
    calibrate_ranges,
    check_accuracy_drop,
    check_installed,
    compare_outputs,
    describe_comparison,
)
from planespotter_training.export.serialize import as_function, by_platform, in_bfloat16, serialize, serialize_heat_map
from planespotter_training.network import checkpoint
from planespotter_training.network.model import fold_norms
from planespotter_training.phases import phase

SAME = 1e-3
"""Maximum change of a probability by another order of the same sums."""

Outputs = Mapping[str, NDArray[Any]]
"""Log-probabilities [n, classes] per head."""


@dataclass(frozen=True)
class ExportOptions:
    """How to export."""

    target_precision: float = TARGET_PRECISION
    """Share of predictions at each confidence level that must be correct, from 0 to 1."""
    quantize_weights: bool = False
    """Store kernels as int8; the bundle is calibrated and measured with these weights."""
    bf16: bool = False
    """Compute convolutions in bfloat16 on a GPU. A CPU, where all metrics are measured, computes in float32."""
    int8: bool = False
    """Calibrate for int8 inference on a CPU."""
    int8_calibration: Path | None = None
    """Catalog whose photos the int8 ranges are calibrated on; None for the run's validation photos."""
    calibration_runs: Sequence[Path] = ()
    """Runs on whose held-out sources temperatures and thresholds are fitted; on the validation photos without any."""
    max_accuracy_drop: float = MAX_ACCURACY_DROP
    """Maximum accuracy that int8 inference may lose, in percentage points."""


def export(
    run: Path, out: Path, name: str, version: str, console: Console, options: ExportOptions | None = None
) -> Bundle:
    """Export the latest checkpoint of a run.

    Temperatures and thresholds are fitted on the validation photos, or on sources that were held out of training.
    Metrics are measured on the test photos that it was not calibrated on. int8 inference is compared with float32 on
    the test photos, or on the validation photos if there are none.

    Args:
        run: Folder of the run.
        out: Folder of the bundle to write.
        name: Name of the model.
        version: Version of the model.
        console: For progress and the cost of rounding.
        options: How to export; None for the defaults.

    Returns:
        The bundle that was written.

    Raises:
        TrainingError: The run cannot be exported, or int8 inference loses more than the maximum.
        CatalogError: The catalog for the int8 calibration cannot be read.
        BundleError: `out` holds other files.
    """
    options = options or ExportOptions()
    if options.int8:
        check_installed()
    described = run_folder.read(run)
    tree, recipe = described.tree, described.recipe
    if recipe.preprocessing != "bgr-mean":
        raise TrainingError(
            f"The run {run} was trained with preprocessing={recipe.preprocessing}, which bundles do not have: it is a "
            "baseline to compare with. Export a run with preprocessing=bgr-mean."
        )
    network, steps = checkpoint.load_network(run, recipe, tree)
    fold_norms(network)
    network.baseline_head = None  # a baseline to compare with, never served
    function, exact = as_function(network)
    weights = dequantize(quantize(exact)) if options.quantize_weights else exact
    rounded = in_bfloat16(network) if options.bf16 else function
    splits = dataset.reopen(run / "dataset")
    validation, test = (
        dataset.load(splits[split], tree, recipe, described.sources) for split in ("validation", "test")
    )
    step = partial(jax.jit(function), weights)
    calibration, cross_fitted = _calibrate(run, tree, step, validation, options, console)
    if run.resolve() in (path.resolve() for path in options.calibration_runs):
        calibrated_on = {name.lower() for name in described.held_out["sources"]}
        test = test.select([source.lower() not in calibrated_on for source in test.sources])
    with phase(console, "Measuring on the test photos"):
        outputs = predict(step, test)
        costs: dict[str, Any] = {"weight_quantization": {}, "bfloat16": {}}
        if options.quantize_weights and len(test):
            unrounded = predict(partial(jax.jit(function), exact), test)
            costs["weight_quantization"] = _cost("weights quantized to int8", tree, unrounded, outputs, console)
        if options.bf16 and len(test):
            in_bf16 = predict(partial(jax.jit(rounded), weights), test)
            costs["bfloat16"] = _cost("convolutions in bfloat16", tree, outputs, in_bf16, console)
    size = recipe.height, recipe.width
    bundle = Bundle(
        name=name,
        version=version,
        tree=tree,
        height=recipe.height,
        width=recipe.width,
        calibration=calibration,
        metrics=tuple(measure(tree, calibration, outputs, test.labels, test.sources) if len(test) else ()),
        training=_training_record(run, described, steps)
        | costs
        | {"target_precision": options.target_precision, "cross_fitted": cross_fitted},
        jax_version=jax.__version__,
        network=serialize(by_platform(function, rounded) if options.bf16 else function, weights, *size),
        weights=weights,
        architecture=Architecture(recipe.pooling, recipe.flip_tta),
        heat_map=serialize_heat_map(network, tree, weights, *size),
    )
    if options.int8:
        held_out, exact_outputs = (test, outputs) if len(test) else (validation, predict(step, validation))
        with phase(console, "Calibrating int8 inference, and comparing it with float32"):
            bundle = _with_int8(bundle, validation, held_out, exact_outputs, options.int8_calibration)
        assert bundle.int8_calibration is not None
        comparison = bundle.int8_calibration.comparison
        console.print(describe_comparison(comparison), soft_wrap=True, highlight=False)
        check_accuracy_drop(comparison, options.max_accuracy_drop)
    write_bundle(bundle, out, quantize_weights=options.quantize_weights)
    return bundle


def _calibrate(
    run: Path,
    tree: LabelTree,
    step: Callable[[NDArray[np.uint8]], Outputs],
    validation: Examples,
    options: ExportOptions,
    console: Console,
) -> tuple[Calibration, dict[str, Any]]:
    """Return the calibration, and the metrics of held-out sources that `cross_fit` measures, {} without these."""
    if options.calibration_runs:
        with phase(console, "Calibrating on held-out sources"):
            held_out_photos = predict_held_out(options.calibration_runs, tree)
            cross_fitted = cross_fit(held_out_photos, tree, options.target_precision)
            return calibrate_on(held_out_photos, tree, options.target_precision), cross_fitted
    with phase(console, "Calibrating on the validation photos"):
        if not len(validation):
            raise TrainingError(f"The run {run} has no validation photos to calibrate on. Collect more photos.")
        outputs = predict(step, validation)
        weights = validation.constructor_weights
        return calibrate(tree, outputs, validation.labels, weights, options.target_precision), {}


def _training_record(run: Path, described: run_folder.Run, steps: int) -> dict[str, Any]:
    """Return what the bundle records of its training."""
    return {
        "recipe": described.recipe_name,
        "settings": asdict(described.recipe),
        "steps": steps,
        "photos": described.photos,
        "sources": described.sources,
        "notes": described.notes,
        "initial_weights": described.initial_weights,
        "held_out": described.held_out,
        "teacher": described.teacher,
        "train_only": described.train_only,
        "baseline": _baseline(run),
        "training_fingerprint": make_fingerprint(pd.read_csv(run / "split.csv", dtype=str, keep_default_na=False)),
    }


def _baseline(run: Path) -> dict[str, Any] | None:
    """Return the run's test accuracies of the hierarchical heads and the flat baseline; None if it has no baseline."""
    test = run_folder.read_final_metrics(run).get("test")
    if not test or not test["flat"]:
        return None
    flat = test["flat"]
    return {
        name: {"photos": metric["photos"], "hierarchical": metric["value"], "flat_softmax": flat[name]["value"]}
        for name, metric in test["hierarchical"].items()
        if name in ("constructor_accuracy", "path_accuracy")
    }


def _with_int8(
    bundle: Bundle, validation: Examples, held_out: Examples, exact: Outputs, catalog_folder: Path | None
) -> Bundle:
    """Return `bundle` with its int8 calibration; `exact` is the output of the exported function for `held_out`."""
    if catalog_folder is None:
        ranges = calibrate_ranges(bundle, validation.pixels, len(validation))
    else:
        files = list(catalog.read(catalog_folder)["file"])
        ranges = calibrate_ranges(
            bundle,
            lambda index: decode_photo((catalog_folder / files[index]).read_bytes(), bundle.height, bundle.width),
            len(files),
        )
    bundle = replace(bundle, int8_calibration=ranges)
    engines = [
        load_engine(bundle, (BATCH,), engine) for engine in (EngineChoice.OPENVINO_FLOAT32, EngineChoice.OPENVINO)
    ]
    rebuilt, rounded = (predict(engine.run, held_out) for engine in engines)
    difference = max(float(np.abs(np.exp(rebuilt[head]) - np.exp(exact[head])).max()) for head in exact)
    if difference > SAME:
        raise TrainingError(
            f"The network rebuilt for OpenVINO differs from the exported one by {difference:.3g} in a probability, so "
            "it is another network. Export it without --int8, and report this, please."
        )
    comparison = compare_outputs(bundle.tree, bundle.calibration, exact, rounded, held_out.labels, held_out.sources)
    return replace(bundle, int8_calibration=replace(ranges, comparison=comparison))


def _cost(what: str, tree: LabelTree, exact: Outputs, rounded: Outputs, console: Console) -> dict[str, float]:
    cost = cost_of_rounding(tree, exact, rounded)
    photos = len(next(iter(rounded.values())))
    sentence = f"With {what}, of {catalog.count_noun(photos, 'test photo')}: {describe_cost(cost)}."
    console.print(sentence, soft_wrap=True, highlight=False)
    return cost


def cost_of_rounding(tree: LabelTree, exact: Outputs, rounded: Outputs) -> dict[str, float]:
    """Compare predictions before and after rounding: shares of photos that change, and changes of probabilities."""
    uncalibrated = Calibration(dict.fromkeys(tree.heads, 1.0), Thresholds(0, 0, 0))
    predictions = [decode_prediction(tree, uncalibrated, outputs) for outputs in (exact, rounded)]
    change = [np.abs(np.exp(rounded[head]) - np.exp(exact[head])).max(axis=1) for head in exact]
    pairs = list(zip(*predictions, strict=True))
    return {
        "changed_constructor": float(np.mean([a.label.constructor != b.label.constructor for a, b in pairs])),
        "changed_path": float(np.mean([a.label != b.label for a, b in pairs])),
        "mean_probability_change": float(np.mean(change)),
        "max_probability_change": float(np.max(change)),
    }


def describe_cost(cost: Mapping[str, float]) -> str:
    """Describe the result of `cost_of_rounding`."""
    return (
        f"the constructor changes for {cost['changed_constructor']:.1%}, the path for {cost['changed_path']:.1%}; "
        f"probabilities change by {cost['mean_probability_change']:.4f} on average and "
        f"{cost['max_probability_change']:.3f} at most"
    )
