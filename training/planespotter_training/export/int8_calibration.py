"""int8 calibration: choose the range of each layer's activations, and measure what int8 inference costs.

Activations are clipped to the range and rounded to 256 steps. The maximum that was observed would make the steps coarse
for all other values, so the range is the one with the least mean squared error of clipping and rounding.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planespotter_models import Bundle, Calibration, Int8Calibration, Label, LabelTree
from planespotter_scraping.catalog import count_noun
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.confidence_intervals import resamples
from planespotter_training.evaluation.scoring import score

PHOTOS = 256
"""Maximum number of calibration photos; more hardly change the ranges."""

BATCH, VALUES = 8, 40_000
"""Photos per batch, and sampled activations per layer and batch."""

SHARES = np.linspace(0.2, 1.0, 41)
"""Candidate ranges, as shares of the maximum."""

MAX_ACCURACY_DROP = 0.5
"""Default maximum accuracy drop, in percentage points."""

ACCURACIES = {"constructor": "constructor accuracy", "type": "path accuracy"}


def calibrate_ranges(bundle: Bundle, photos: Callable[[int], NDArray[np.uint8]], count: int) -> Int8Calibration:
    """Calibrate the activation ranges of the network of `bundle`.

    Args:
        bundle: The bundle; it must have an architecture.
        photos: Returns the photo at an index, uint8 [height, width, 3].
        count: Number of photos.

    Raises:
        TrainingError: OpenVINO is not installed, or `count` is 0.
    """
    check_installed()
    from planespotter_models.engines.openvino_graph import build_graph, convolution_names
    from planespotter_models.engines.openvino_import import openvino as ov

    if not count:
        raise TrainingError("There are no photos for the int8 calibration. Name a catalog with --int8-calibration.")
    assert bundle.architecture is not None, "export records the architecture"
    names = convolution_names(bundle.weights)[:-1]  # the output of the last one is not quantized
    network = build_graph(
        bundle.architecture, bundle.weights, list(bundle.tree.heads), bundle.height, bundle.width, extra_outputs=names
    )
    compiled = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    random = np.random.default_rng(0)
    chosen = random.permutation(count)[:PHOTOS]
    maximum = dict.fromkeys(names, 0.0)
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for start in range(0, len(chosen), BATCH):
        results = compiled({0: np.stack([photos(int(index)) for index in chosen[start : start + BATCH]])})
        for name in names:
            values = results[name].ravel()
            maximum[name] = max(maximum[name], float(values.max()))
            samples[name].append(random.choice(values, min(VALUES, values.size), replace=False))
    ranges = {name: _range(np.concatenate(samples[name]), maximum[name]) for name in names}
    return Int8Calibration(ranges, len(chosen))


def _range(values: NDArray[np.float32], maximum: float) -> float:
    """Return the range with the least mean squared error for `values`."""
    if maximum <= 0:
        return 1.0  # a dead layer: any range will do
    values = values[values > 0]
    errors = []
    for end in maximum * SHARES:
        step = end / 255
        rounded = np.minimum(np.round(values / step), 255) * step
        errors.append(np.mean((rounded - values) ** 2))
    return float(maximum * SHARES[int(np.argmin(errors))])


def compare_outputs(
    tree: LabelTree,
    calibration: Calibration,
    exact: Mapping[str, NDArray[Any]],
    rounded: Mapping[str, NDArray[Any]],
    labels: Sequence[Label],
    sources: Sequence[str],
) -> dict[str, Any]:
    """Compare int8 with float32 inference on the same n photos.

    Args:
        tree: Label tree of the network.
        calibration: Calibration of the bundle.
        exact: Log-probabilities [n, classes] per head in float32.
        rounded: The same of int8 inference.
        labels: Ground truth of each photo.
        sources: Source of each photo.

    Returns:
        "photos"; "agreement" per head, the share of photos with the same class; for each of ACCURACIES that the labels
        determine, both accuracies and their difference in percentage "points", with a paired bootstrap 95 % "interval";
        "mean_probability_change" and "max_probability_change".
    """
    rows = [score(tree, calibration, outputs, labels, sources) for outputs in (exact, rounded)]
    constructor_of = np.array([tree.constructors.index(leaf.constructor) for leaf in tree.all_leaves])
    index_of = {name: index for index, name in enumerate(tree.constructors)}
    true_constructor = np.array([index_of.get(tree.clip(label).constructor, -1) for label in labels])
    ground_truth = {"constructor": true_constructor, "type": rows[0]["true_leaf"]}
    comparison: dict[str, Any] = {
        "photos": len(labels),
        "agreement": {head: float(np.mean(exact[head].argmax(1) == rounded[head].argmax(1))) for head in tree.heads},
    }
    drawn = resamples(rows[0])
    for name in ACCURACIES:
        predicted = [constructor_of[part["leaf"]] if name == "constructor" else part["leaf"] for part in rows]
        known = ground_truth[name] >= 0
        if not known.any():
            continue
        correct = [np.where(known, classes == ground_truth[name], False) for classes in predicted]
        difference = 100 * (correct[1].astype(float) - correct[0])
        resampled = [difference[index].sum() / max(1, known[index].sum()) for index in drawn]
        comparison[name] = {
            "photos": int(known.sum()),
            "float32": float(correct[0].sum() / known.sum()),
            "int8": float(correct[1].sum() / known.sum()),
            "points": float(difference.sum() / known.sum()),
            "interval": [float(end) for end in np.percentile(resampled, (2.5, 97.5))],
        }
    change = np.stack([np.abs(np.exp(rounded[head]) - np.exp(exact[head])).max(axis=1) for head in tree.heads])
    comparison["mean_probability_change"] = float(change.max(axis=0).mean())
    comparison["max_probability_change"] = float(change.max())
    return comparison


def check_accuracy_drop(comparison: Mapping[str, Any], max_accuracy_drop: float) -> None:
    """Raise TrainingError if an accuracy drops by more than `max_accuracy_drop` percentage points."""
    for name, title in ACCURACIES.items():
        if name in comparison and -comparison[name]["points"] > max_accuracy_drop:
            accuracy = comparison[name]
            low, high = accuracy["interval"]
            raise TrainingError(
                f"int8 inference loses {-accuracy['points']:.2f} points (95 % interval {-high:.2f} to {-low:.2f}) of "
                f"{title} on {count_noun(accuracy['photos'], 'held-out photo')}, {accuracy['int8']:.2%} instead of "
                f"{accuracy['float32']:.2%}; the limit is {max_accuracy_drop:g} (--max-accuracy-drop). Nothing was "
                "written. Calibrate on more photos (--int8-calibration CATALOG), or export without --int8."
            )


def describe_comparison(comparison: Mapping[str, Any]) -> str:
    """Describe the result of `compare_outputs` in sentences."""
    parts = [
        f"{title} {accuracy['float32']:.2%} in float32, {accuracy['int8']:.2%} in int8: "
        f"{accuracy['points']:+.2f} points (95 % interval {accuracy['interval'][0]:+.2f} to "
        f"{accuracy['interval'][1]:+.2f})"
        for name, title in ACCURACIES.items()
        if (accuracy := comparison.get(name))
    ]
    heads = ", ".join(f"{head} {share:.2%}" for head, share in comparison["agreement"].items())
    return (
        f"int8 inference on {count_noun(comparison['photos'], 'held-out photo')}: "
        f"{'; '.join(parts) or 'none of them labelled'}. "
        f"Agreement of the heads: {heads}. Probabilities change by {comparison['mean_probability_change']:.4f} on "
        f"average and by {comparison['max_probability_change']:.3f} at most."
    )


def check_installed() -> None:
    """Raise TrainingError if OpenVINO is not installed."""
    if importlib.util.find_spec("openvino") is None:
        raise TrainingError(
            "int8 inference needs OpenVINO. Install the training extra: pip install '.[training]' in a checkout of "
            "planespotter."
        )
