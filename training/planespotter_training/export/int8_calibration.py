"""Prepare a network to compute in 8 bits: choose the range of each layer's values, and see what that costs.

A layer's values are cut off at its range and rounded to 256 steps below it. The largest value that was ever seen makes
the steps coarse for all others, so the range is the one with the least mean square of what cutting and rounding change.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planespotter_models import Bundle, Calibration, Int8Calibration, Label, LabelTree
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.confidence_intervals import resamples
from planespotter_training.evaluation.scoring import judge

# How many photos the ranges are chosen on; more hardly move them.
PHOTOS = 256
# How many at a time, and how many values of a layer are looked at for each such batch.
BATCH, VALUES = 8, 40_000
# Ranges that are tried, as shares of the largest value.
SHARES = np.linspace(0.2, 1.0, 41)

MAX_LOSS = 0.5
"""Points of accuracy that 8 bits may cost."""

ACCURACIES = ("constructor", "type")


def choose_ranges(bundle: Bundle, photos: Callable[[int], NDArray[np.uint8]], count: int) -> Int8Calibration:
    """Return the ranges for the network of `bundle`, chosen on `photos(index)` [height, width, 3] of `count` photos.

    Raises TrainingError where OpenVINO is not installed or no photo was given.
    """
    check_installed()
    from planespotter_models.engines.openvino_graph import build_graph, convolution_names
    from planespotter_models.engines.openvino_import import openvino as ov

    if not count:
        raise TrainingError("There are no photos to choose the ranges of 8 bits on. Name a catalog with --calibrate.")
    assert bundle.architecture is not None, "export says how the layers follow each other"
    names = convolution_names(bundle.weights)[:-1]  # what comes out of the last one stays as it is
    network = build_graph(
        bundle.architecture, bundle.weights, list(bundle.tree.heads), bundle.height, bundle.width, extra_outputs=names
    )
    compiled = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    random = np.random.default_rng(0)
    chosen = random.permutation(count)[:PHOTOS]
    largest = dict.fromkeys(names, 0.0)
    seen: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for start in range(0, len(chosen), BATCH):
        results = compiled({0: np.stack([photos(int(index)) for index in chosen[start : start + BATCH]])})
        for name in names:
            values = results[name].ravel()
            largest[name] = max(largest[name], float(values.max()))
            seen[name].append(random.choice(values, min(VALUES, values.size), replace=False))
    ranges = {name: _range(np.concatenate(seen[name]), largest[name]) for name in names}
    return Int8Calibration(ranges, len(chosen))


def _range(values: NDArray[np.float32], largest: float) -> float:
    if largest <= 0:
        return 1.0  # a layer of which nothing comes: any range will do
    values = values[values > 0]
    changed = []
    for end in largest * SHARES:
        step = end / 255
        rounded = np.minimum(np.round(values / step), 255) * step
        changed.append(np.mean((rounded - values) ** 2))
    return float(largest * SHARES[int(np.argmin(changed))])


def compare(
    tree: LabelTree,
    calibration: Calibration,
    exact: Mapping[str, NDArray[Any]],
    rounded: Mapping[str, NDArray[Any]],
    labels: Sequence[Label],
    sources: Sequence[str],
) -> dict[str, Any]:
    """Return how the log-probabilities [n, classes] per head in 8 bits compare with those in float32, in figures.

    Differences of accuracy are in points, each with its 95 % interval: photos are drawn again, in pairs.
    """
    rows = [judge(tree, calibration, outputs, labels, sources) for outputs in (exact, rounded)]
    constructor_of = np.array([tree.constructors.index(leaf.constructor) for leaf in tree.all_leaves])
    index_of = {name: index for index, name in enumerate(tree.constructors)}
    true_constructor = np.array([index_of.get(tree.clip(label).constructor, -1) for label in labels])
    truths = {"constructor": true_constructor, "type": rows[0]["true_leaf"]}
    found: dict[str, Any] = {
        "photos": len(labels),
        "agreement": {head: float(np.mean(exact[head].argmax(1) == rounded[head].argmax(1))) for head in tree.heads},
    }
    drawn = resamples(rows[0])
    for name in ACCURACIES:
        said = [constructor_of[one["leaf"]] if name == "constructor" else one["leaf"] for one in rows]
        known = truths[name] >= 0
        if not known.any():
            continue
        right = [np.where(known, answers == truths[name], False) for answers in said]
        difference = 100 * (right[1].astype(float) - right[0])
        resampled = [difference[index].sum() / max(1, known[index].sum()) for index in drawn]
        found[name] = {
            "photos": int(known.sum()),
            "float32": float(right[0].sum() / known.sum()),
            "int8": float(right[1].sum() / known.sum()),
            "points": float(difference.sum() / known.sum()),
            "interval": [float(end) for end in np.percentile(resampled, (2.5, 97.5))],
        }
    moved = np.stack([np.abs(np.exp(rounded[head]) - np.exp(exact[head])).max(axis=1) for head in tree.heads])
    found["mean_drift"] = float(moved.max(axis=0).mean())
    found["largest_drift"] = float(moved.max())
    return found


def check_loss(found: Mapping[str, Any], max_loss: float) -> None:
    """Raise TrainingError if the result of `compare` has lost more than `max_loss` points of an accuracy."""
    for name in ACCURACIES:
        if name in found and -found[name]["points"] > max_loss:
            low, high = found[name]["interval"]
            raise TrainingError(
                f"In 8 bits the network names the {name} right on {found[name]['int8']:.2%} of "
                f"{found[name]['photos']:,} held-out photos, in float32 on {found[name]['float32']:.2%}: it loses "
                f"{-found[name]['points']:.2f} points (95 % interval {-high:.2f} to {-low:.2f}), and may lose "
                f"{max_loss:g} (--max-loss). Nothing was written. Choose the ranges on more photos (--calibrate "
                "CATALOG), or export without --int8."
            )


def describe(found: Mapping[str, Any]) -> str:
    """Return the result of `compare` in sentences."""
    parts = [
        f"{name} {one['float32']:.2%} in float32, {one['int8']:.2%} in 8 bits: {one['points']:+.2f} points (95 % "
        f"interval {one['interval'][0]:+.2f} to {one['interval'][1]:+.2f})"
        for name in ACCURACIES
        if (one := found.get(name))
    ]
    heads = ", ".join(f"{head} {share:.2%}" for head, share in found["agreement"].items())
    return (
        f"In 8 bits, on {found['photos']:,} held-out photos: {'; '.join(parts) or 'none of them labelled'}. Heads that "
        f"say the same: {heads}. Probabilities change by {found['mean_drift']:.4f} in the mean and by "
        f"{found['largest_drift']:.3f} at most."
    )


def check_installed() -> None:
    """Raise TrainingError where OpenVINO is not installed."""
    if importlib.util.find_spec("openvino") is None:
        raise TrainingError("To compute in 8 bits takes OpenVINO. Install planespotter[training].")
