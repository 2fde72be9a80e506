"""Metric functions: what each metric computes from scored rows. The table in `metrics` names and describes them.

A function returns None where no photo has the label that it needs.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from planespotter_training.evaluation.scoring import Nodes, Rows

BINS = 15
"""Bins of equal mass for the calibration error."""

Array = NDArray[np.floating]


class Value(NamedTuple):
    """The value of a metric and the number of photos that it was measured on."""

    value: float
    photos: int


Function = Callable[[Nodes, Rows], Value | None]


# ---------------------------------------------------------------- accuracy


def _mean(values: NDArray[np.generic]) -> Value | None:
    return Value(float(values.mean()), len(values)) if len(values) else None


def level_accuracy(depth: int, leaf: str = "leaf") -> Function:
    """Compute the share of photos with a correct node at level `depth` (0: constructor), for the leaf in a column."""

    def metric(nodes: Nodes, rows: Rows) -> Value | None:
        rows = rows[rows["true_nodes"][:, depth] >= 0]
        return _mean(nodes.paths[rows[leaf]][:, depth] == rows["true_nodes"][:, depth])

    return metric


def path_accuracy(leaf: str = "leaf") -> Function:
    """Compute the share of photos with a correct leaf in a column."""

    def metric(_: Nodes, rows: Rows) -> Value | None:
        rows = rows[rows["true_leaf"] >= 0]
        return _mean(rows[leaf] == rows["true_leaf"])

    return metric


def constructor_macro_f1(nodes: Nodes, rows: Rows) -> Value | None:
    """Compute the mean F1 over constructors."""
    rows = rows[rows["true_nodes"][:, 0] >= 0]
    return _macro_f1(rows["true_nodes"][:, 0], nodes.paths[rows["leaf"]][:, 0])


def path_macro_f1(_: Nodes, rows: Rows) -> Value | None:
    """Compute the mean F1 over leaves."""
    rows = rows[rows["true_leaf"] >= 0]
    return _macro_f1(rows["true_leaf"], rows["leaf"])


def _macro_f1(true: NDArray[np.int64], predicted: NDArray[np.int64]) -> Value | None:
    if not len(true):
        return None
    size = int(max(true.max(), predicted.max())) + 1
    correct = np.bincount(true[true == predicted], minlength=size)
    present = np.bincount(true, minlength=size) + np.bincount(predicted, minlength=size)
    return Value(float((2 * correct[present > 0] / present[present > 0]).mean()), len(true))


def overlap(part: Literal["precision", "recall", "f1"], *, confident: bool) -> Function:
    """Compute hierarchical precision, recall or F1, of all levels or down to the confidence level."""

    def metric(nodes: Nodes, rows: Rows) -> Value | None:
        rows = rows[rows["true_leaf"] >= 0]
        predicted = nodes.paths[rows["leaf"]]
        if confident:
            predicted = np.where(np.arange(3) < rows["level"][:, None], predicted, -1)
        true = nodes.paths[rows["true_leaf"]]
        common = ((predicted == true) & (predicted >= 0)).sum()
        n_predicted, n_true = (predicted >= 0).sum(), (true >= 0).sum()
        numerator, denominator = {
            "precision": (common, n_predicted),
            "recall": (common, n_true),
            "f1": (2 * common, n_predicted + n_true),
        }[part]
        return Value(float(numerator / denominator), len(rows)) if denominator else None

    return metric


def hierarchical_distance(*, of_mistakes: bool) -> Function:
    """Compute the mean height at which predicted and true path meet, over all photos or over mistakes."""

    def metric(nodes: Nodes, rows: Rows) -> Value | None:
        rows = rows[rows["true_leaf"] >= 0]
        if of_mistakes:
            rows = rows[rows["leaf"] != rows["true_leaf"]]
        predicted, true = nodes.paths[rows["leaf"]], nodes.paths[rows["true_leaf"]]
        common = ((predicted == true) & (predicted >= 0)).sum(axis=1)
        return _mean(np.where(rows["leaf"] == rows["true_leaf"], 0, 3 - common))

    return metric


def constructor_auroc(_: Nodes, rows: Rows) -> Value | None:
    """Compute the AUROC of the first constructor's share of the tree's constructors, among their photos."""
    constructor, log_odds = rows["true_nodes"][:, 0], rows["first_constructor_log_odds"]
    return _area_under_roc(log_odds[constructor == 0], log_odds[constructor > 0])  # the first constructor is node 0


# ---------------------------------------------------------------- calibration


def mean_of(column: str) -> Function:
    """Compute the mean of a column, without NaN."""
    return lambda _, rows: _mean(rows[column][~np.isnan(rows[column])])


def confidences(nodes: Nodes, rows: Rows, level: str, prefix: str = "") -> tuple[Array, NDArray[np.bool_]]:
    """Select the probabilities of the predictions at a level, and whether they are correct.

    Args:
        nodes: The numbered nodes of the label tree.
        rows: Scored photos; those whose label does not name `level` are excluded.
        level: "constructor" or "path".
        prefix: "" for calibrated probabilities, "uncalibrated_" for temperature 1.

    Returns:
        Probabilities [n] and correctness [n].
    """
    if level == "constructor":
        rows = rows[rows["true_nodes"][:, 0] >= 0]
        correct = nodes.paths[rows[f"{prefix}leaf"]][:, 0] == rows["true_nodes"][:, 0]
    else:
        rows = rows[rows["true_leaf"] >= 0]
        correct = rows[f"{prefix}leaf"] == rows["true_leaf"]
    return rows[f"{prefix}{level}_probability"], correct


def ece(level: str, prefix: str = "") -> Function:
    """Compute the expected calibration error; the arguments are those of `confidences`."""

    def metric(nodes: Nodes, rows: Rows) -> Value | None:
        probabilities, correct = confidences(nodes, rows, level, prefix)
        if not len(correct):
            return None
        confidence, accuracy, photos = reliability(probabilities, correct)
        return Value(float(np.average(np.abs(confidence - accuracy), weights=photos)), len(correct))

    return metric


def reliability(probabilities: Array, correct: NDArray[np.bool_]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Compute the mean probability, accuracy and number of photos in up to BINS bins of equal mass."""
    order = np.argsort(probabilities, kind="stable")
    edges = np.linspace(0, len(order), min(BINS, len(order)) + 1).round().astype(int)
    photos = np.diff(edges)
    confidence = np.add.reduceat(probabilities[order], edges[:-1]) / photos
    return confidence, np.add.reduceat(correct[order].astype(float), edges[:-1]) / photos, photos


def risk_coverage(probabilities: Array, correct: NDArray[np.bool_]) -> Array:
    """Compute the selective risk: the error rate of the k most confident predictions, for k = 1 to n.

    Among equally probable predictions the errors are spread evenly, so that the order of photos does not matter.
    """
    _, place, photos = np.unique(-probabilities, return_inverse=True, return_counts=True)
    wrong = np.bincount(place, weights=~correct) / photos
    return np.asarray(np.cumsum(np.repeat(wrong, photos)) / np.arange(1, len(correct) + 1))


def aurc(level: str) -> Function:
    """Compute the area under the risk-coverage curve."""
    return lambda nodes, rows: _mean(risk_coverage(*confidences(nodes, rows, level)))


# ---------------------------------------------------------------- out of taxonomy


def _known_and_outside(rows: Rows, level: str) -> tuple[Array, Array]:
    known = rows["true_nodes"][:, 0] >= 0
    outside = rows["named"][:, 0] & ~known
    return rows[f"{level}_probability"][known], rows[f"{level}_probability"][outside]


def auroc(level: str) -> Function:
    """Compute the AUROC of a level's probability as a score for being in the label tree."""

    def metric(_: Nodes, rows: Rows) -> Value | None:
        return _area_under_roc(*_known_and_outside(rows, level))

    return metric


def _area_under_roc(positive: Array, negative: Array) -> Value | None:
    """Compute the share of pairs of a positive and a negative score that are in order; ties count half."""
    if not len(positive) or not len(negative):
        return None
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    pairs = len(positive) * len(negative)
    in_order = ranks.sum() - len(positive) * (len(positive) + 1) / 2
    return Value(float(in_order / pairs), len(positive) + len(negative))


def fpr95(level: str) -> Function:
    """Compute the false positive rate at the threshold with a true positive rate of 95 %."""

    def metric(_: Nodes, rows: Rows) -> Value | None:
        known, outside = _known_and_outside(rows, level)
        if not len(known) or not len(outside):
            return None
        threshold = np.sort(known)[::-1][int(np.ceil(0.95 * len(known))) - 1]
        return Value(float((outside >= threshold).mean()), len(known) + len(outside))

    return metric


def unknown_share(_: Nodes, rows: Rows) -> Value | None:
    """Compute the share of out-of-taxonomy photos with confidence level unknown."""
    outside = rows[rows["named"][:, 0] & (rows["true_nodes"][:, 0] < 0)]
    return _mean(outside["level"] == 0)


# ---------------------------------------------------------------- confidence levels


def confident_share(_: Nodes, rows: Rows) -> Value | None:
    """Compute the share of photos with a confidence level of constructor or deeper."""
    return _mean(rows["level"][rows["true_nodes"][:, 0] >= 0] > 0)


def confident_accuracy(_: Nodes, rows: Rows) -> Value | None:
    """Compute the share of confident predictions that the label does not contradict."""
    return _mean(~rows["contradicted"][(rows["true_nodes"][:, 0] >= 0) & (rows["level"] > 0)])


def level_share(depth: int) -> Function:
    """Compute the share of photos whose confidence level is exactly `depth`, 1 for constructor."""
    return lambda _, rows: _mean(rows["level"][rows["true_nodes"][:, 0] >= 0] == depth)


def accuracy_at_level(depth: int) -> Function:
    """Compute the accuracy at confidence level `depth` exactly, of photos whose label names that level."""

    def metric(_: Nodes, rows: Rows) -> Value | None:
        known = rows["true_nodes"][:, 0] >= 0
        return _mean(~rows["contradicted"][known & (rows["level"] == depth) & rows["named"][:, depth - 1]])

    return metric
