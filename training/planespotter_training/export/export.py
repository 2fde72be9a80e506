"""Turn a run into a bundle: fold, calibrate, measure, and serialise the network with jax.export."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx
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
from planespotter_training.data import dataset
from planespotter_training.data.training_fingerprint import remember
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.calibrate import PRECISION, calibrate
from planespotter_training.evaluation.metrics import measure
from planespotter_training.evaluation.predict import BATCH, predict
from planespotter_training.export.int8_calibration import (
    MAX_LOSS,
    check_installed,
    check_loss,
    choose_ranges,
    compare,
    describe,
)
from planespotter_training.network import checkpoint
from planespotter_training.network.gradcam import grad_cam
from planespotter_training.network.model import Classifier, fold_norms
from planespotter_training.run_folder import read as read_run

PLATFORMS = ("cpu", "cuda")

# Two ways of adding the same numbers up change a probability by less than this.
SAME = 1e-3


def export(
    run_folder: Path,
    out: Path,
    name: str,
    version: str,
    console: Console,
    precision: float = PRECISION,
    *,
    quantize_weights: bool = False,
    bf16: bool = False,
    int8: bool = False,
    calibrate_on: Path | None = None,
    max_loss: float = MAX_LOSS,
) -> Bundle:
    """Write the latest checkpoint of the run in `run_folder` as a bundle to `out`, and return it.

    Temperatures and thresholds are chosen on the validation photos, so that `precision` of the answers given at a level
    are right; the metrics are of the test photos. With `quantize_weights`, kernels are stored as int8, and all of
    this is of the network that they make.

    With `bf16`, convolutions compute in bfloat16 on a GPU, and as before on a CPU, where all figures are measured; what
    that changes in the answers is measured too.

    With `int8`, the bundle also says how to compute in 8 bits: ranges are chosen on the photos of the catalog
    `calibrate_on`, or on the validation photos, and compared on the test photos, or on the validation photos if there
    are none. Raises TrainingError, also if that loses more than `max_loss` points of accuracy, CatalogError or
    BundleError.
    """
    if int8:
        check_installed()
    described = read_run(run_folder)
    tree, recipe = described.tree, described.recipe
    network, steps = checkpoint.load_network(run_folder, recipe, tree)
    fold_norms(network)
    network.control = None  # it is there to be compared with, and never served
    function, exact = as_function(network)
    weights = dequantize(quantize(exact)) if quantize_weights else exact
    rounded = in_bfloat16(network) if bf16 else function
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
        outputs = predict(step, test)
        metrics = measure(tree, calibration, outputs, test.labels, test.sources) if len(test) else []
        cost: dict[str, Any] = {"weight_quantization": {}, "bfloat16": {}}
        if quantize_weights and len(test):
            before = predict(partial(jax.jit(function), exact), test)
            cost["weight_quantization"] = cost_of_rounding(tree, before, outputs)
            loss = describe_cost(cost["weight_quantization"])
            said = f"With weights quantized to int8, of {len(test):,} test photos: {loss}."
            console.print(said, soft_wrap=True, highlight=False)
        if bf16 and len(test):
            cost["bfloat16"] = cost_of_rounding(tree, outputs, predict(partial(jax.jit(rounded), weights), test))
            said = f"With convolutions in bfloat16, of {len(test):,} test photos: {describe_cost(cost['bfloat16'])}."
            console.print(said, soft_wrap=True, highlight=False)
    made = Bundle(
        name=name,
        version=version,
        tree=tree,
        height=recipe.height,
        width=recipe.width,
        calibration=calibration,
        metrics=tuple(metrics),
        training={
            "recipe": described.recipe_name,
            "settings": asdict(recipe),
            "steps": steps,
            "photos": described.photos,
            "sources": described.sources,
            "notes": described.notes,
            "start": described.start,
            "held_out": described.left_out,
            **cost,
            "baseline": _control(run_folder),
            "target_precision": precision,
            "training_fingerprint": remember(pd.read_csv(run_folder / "split.csv", dtype=str, keep_default_na=False)),
        },
        jax_version=jax.__version__,
        network=serialise(by_platform(function, rounded) if bf16 else function, weights, recipe.height, recipe.width),
        weights=weights,
        architecture=Architecture(recipe.pooling, recipe.mirror),
        heat_map=serialise_heat(network, tree, weights, recipe.height, recipe.width),
    )
    if int8:
        held_out, exact_outputs = (test, outputs) if len(test) else (validation, predict(step, validation))
        with console.status("Choosing the ranges of 8 bits, and comparing"):
            made = _in_8_bits(made, validation, held_out, exact_outputs, calibrate_on)
        assert made.int8_calibration is not None
        console.print(describe(made.int8_calibration.comparison), soft_wrap=True, highlight=False)
        check_loss(made.int8_calibration.comparison, max_loss)
    write_bundle(made, out, quantize_weights=quantize_weights)
    return made


def _control(run_folder: Path) -> dict[str, Any] | None:
    """Return how the chain and the flat softmax beside it did on the run's test photos; None if none was trained."""
    path = run_folder / "measured.json"
    test = json.loads(path.read_text(encoding="utf-8")).get("test") if path.is_file() else None
    if not test or not test["control"]:
        return None
    chain, flat = (
        {metric["name"]: metric for metric in test[part] if not metric["source"]} for part in ("chain", "control")
    )
    return {
        figure: {"photos": metric["photos"], "chain": metric["value"], "flat_softmax": flat[figure]["value"]}
        for figure, metric in chain.items()
        if figure in ("constructor_accuracy", "path_accuracy")
    }


def _in_8_bits(
    made: Bundle,
    validation: dataset.Examples,
    held_out: dataset.Examples,
    exact: Mapping[str, NDArray[Any]],
    catalog_folder: Path | None,
) -> Bundle:
    """Return `made` with what computing in 8 bits takes; `exact` are the answers of the function to `held_out`."""
    if catalog_folder is None:
        ranges = choose_ranges(made, validation.pixels, len(validation))
    else:
        files = list(catalog.read(catalog_folder)["file"])
        ranges = choose_ranges(
            made,
            lambda index: decode_photo((catalog_folder / files[index]).read_bytes(), made.height, made.width),
            len(files),
        )
    made = replace(made, int8_calibration=ranges)
    engines = [load_engine(made, (BATCH,), engine) for engine in (EngineChoice.OPENVINO_FLOAT32, EngineChoice.OPENVINO)]
    built, rounded = (predict(engine.run, held_out) for engine in engines)
    apart = max(float(np.abs(np.exp(built[head]) - np.exp(exact[head])).max()) for head in exact)
    if apart > SAME:
        raise TrainingError(
            f"The network built for OpenVINO differs from the exported one by {apart:.3g} in a probability, so it is "
            "not the same network. Export it without --int8, and report this, please."
        )
    compared = compare(made.tree, made.calibration, exact, rounded, held_out.labels, held_out.sources)
    return replace(made, int8_calibration=replace(ranges, comparison=compared))


def cost_of_rounding(
    tree: LabelTree, before: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]]
) -> dict[str, float]:
    """Return how rounded weights changed the log-probabilities [n, classes] of each head."""
    uncalibrated = Calibration(dict.fromkeys(tree.heads, 1.0), Thresholds(0, 0, 0))
    answers = [decode_prediction(tree, uncalibrated, outputs) for outputs in (before, after)]
    moved = [np.abs(np.exp(after[head]) - np.exp(before[head])).max(axis=1) for head in before]
    pairs = list(zip(*answers, strict=True))
    return {
        "other_constructor": float(np.mean([a.label.constructor != b.label.constructor for a, b in pairs])),
        "other_path": float(np.mean([a.label != b.label for a, b in pairs])),
        "mean_change_of_probability": float(np.mean(moved)),
        "largest_change_of_probability": float(np.max(moved)),
    }


def describe_cost(cost: Mapping[str, float]) -> str:
    """Return the result of `cost_of_rounding` in words."""
    return (
        f"{cost['other_constructor']:.1%} get another constructor and {cost['other_path']:.1%} another path; "
        f"probabilities change by {cost['mean_change_of_probability']:.4f} in the mean and "
        f"{cost['largest_change_of_probability']:.3f} at most"
    )


def as_function(network: Classifier) -> tuple[Any, dict[str, np.ndarray[Any, Any]]]:
    """Return a pure function (weights, photos) -> log-probabilities per head, and its weights by their dotted path."""
    build, weights = by_weights(network)

    def function(weights: dict[str, jax.Array], photos: jax.Array) -> dict[str, jax.Array]:
        return build(weights)(photos)

    return function, weights


def by_weights(
    network: Classifier,
) -> tuple[Callable[[dict[str, jax.Array]], Classifier], dict[str, np.ndarray[Any, Any]]]:
    """Return a function that makes the network of weights by their dotted path, and its own weights."""
    graph, state = nnx.split(network)
    flat = dict(nnx.to_flat_state(state))
    paths = {".".join(map(str, path)): path for path in flat}

    def build(weights: dict[str, jax.Array]) -> Classifier:
        state = nnx.from_flat_state(
            [(paths[name], flat[paths[name]].replace(weight)) for name, weight in weights.items()]
        )
        made: Classifier = nnx.merge(graph, state)
        return made

    return build, {name: np.asarray(flat[path][...]) for name, path in paths.items()}


def in_bfloat16(network: Classifier) -> Any:
    """Return the function of `network` with convolutions that compute in bfloat16; weights are as of `as_function`."""
    graph, state = nnx.split(network)
    other: Classifier = nnx.merge(graph, state)
    other.trunk.dtype = jnp.bfloat16
    for layer in other.trunk.layers.values():
        layer.dtype = jnp.bfloat16
    return as_function(other)[0]


def by_platform(exact: Any, rounded: Any) -> Any:
    """Return a function (weights, photos) that is `rounded` on CUDA and `exact` elsewhere."""

    def function(weights: dict[str, jax.Array], photos: jax.Array) -> dict[str, jax.Array]:
        outputs: dict[str, jax.Array] = jax.lax.platform_dependent(weights, photos, cuda=rounded, default=exact)
        return outputs

    return function


def serialise(function: Any, weights: dict[str, np.ndarray[Any, Any]], height: int, width: int) -> bytes:
    """Return `function` as jax.export bytes for any number of uint8 photos [n, height, width, 3]."""
    (n,) = jax.export.symbolic_shape("n")
    return _serialise(function, weights, jax.ShapeDtypeStruct((n, height, width, 3), np.uint8))


def serialise_heat(
    network: Classifier, tree: LabelTree, weights: dict[str, np.ndarray[Any, Any]], height: int, width: int
) -> bytes:
    """Return as jax.export bytes where `network`, with its folded `weights`, looks in one photo for one leaf."""
    build, _ = by_weights(network)

    def function(weights: dict[str, jax.Array], photos: jax.Array, leaves: jax.Array) -> jax.Array:
        heat = grad_cam(build(weights), tree, photos, leaves)
        return jnp.round(255 * heat).astype(jnp.uint8)

    photo = jax.ShapeDtypeStruct((1, height, width, 3), np.uint8)
    return _serialise(function, weights, photo, jax.ShapeDtypeStruct((1,), np.int32))


def _serialise(function: Any, weights: dict[str, np.ndarray[Any, Any]], *inputs: Any) -> bytes:
    shapes = {name: jax.ShapeDtypeStruct(weight.shape, weight.dtype) for name, weight in weights.items()}
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(shapes, *inputs)
    return bytes(exported.serialize())
