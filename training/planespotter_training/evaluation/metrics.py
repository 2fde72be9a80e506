"""How well answers match labels: figures of any set of photos, from the rows that `judge` makes.

A figure that the labels do not allow, such as the accuracy of types where only constructors are known, is None.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from planespotter_models import Calibration, Label, LabelTree, Metric
from planespotter_training.evaluation.scoring import Nodes, Rows, judge, number

BINS = 15
"""Bins of equal mass for the calibration error."""

# What a bundle says of itself: shares of photos only, which a reader understands without a definition.
SUMMARY = (
    "constructor_accuracy",
    "family_accuracy",
    "path_accuracy",
    "model_accuracy_given_constructor",
    "sure_share",
    "sure_accuracy",
    "unknown_share",
)

Array = NDArray[np.floating]


class Figure(NamedTuple):
    """A figure and the number of photos that it was measured on."""

    value: float
    photos: int


def measure(
    tree: LabelTree,
    calibration: Calibration,
    outputs: Mapping[str, NDArray[np.floating]],
    labels: Sequence[Label],
    sources: Sequence[str],
) -> list[Metric]:
    """Return the metrics in SUMMARY of n photos: `outputs` are log-probabilities [n, classes] per head.

    Those of all photos come first, with the source ""; then those of each source, "(none)" where it is not known.
    """
    return summary(number(tree), judge(tree, calibration, outputs, labels, sources))


def summary(nodes: Nodes, rows: Rows) -> list[Metric]:
    """Return the metrics in SUMMARY, of all rows and of each source; see `measure`."""
    return [
        Metric(source, name, figure.value, figure.photos)
        for source, part in {"": rows, **by_source(rows)}.items()
        for name, figure in figures(nodes, part, SUMMARY).items()
        if figure is not None
    ]


def by_source(rows: Rows) -> dict[str, Rows]:
    """Return the rows of each source, by name; "(none)" where the source is not known."""
    return {str(source) or "(none)": rows[rows["source"] == source] for source in sorted(set(rows["source"]))}


def figures(nodes: Nodes, rows: Rows, names: Sequence[str] | None = None) -> dict[str, Figure | None]:
    """Return the figures called `names`, or all of DEFINITIONS, of the photos in `rows`."""
    return {name: FIGURES[name](nodes, rows) if len(rows) else None for name in names or FIGURES}


# ---------------------------------------------------------------- figures


def _mean(values: NDArray[np.generic]) -> Figure | None:
    return Figure(float(values.mean()), len(values)) if len(values) else None


def _level_accuracy(depth: int, leaf: str = "leaf") -> Callable[[Nodes, Rows], Figure | None]:
    def figure(nodes: Nodes, rows: Rows) -> Figure | None:
        rows = rows[rows["truth"][:, depth] >= 0]
        return _mean(nodes.paths[rows[leaf]][:, depth] == rows["truth"][:, depth])

    return figure


def _path_accuracy(leaf: str = "leaf") -> Callable[[Nodes, Rows], Figure | None]:
    def figure(_: Nodes, rows: Rows) -> Figure | None:
        rows = rows[rows["true_leaf"] >= 0]
        return _mean(rows[leaf] == rows["true_leaf"])

    return figure


def _constructor_macro_f1(nodes: Nodes, rows: Rows) -> Figure | None:
    rows = rows[rows["truth"][:, 0] >= 0]
    return _macro_f1(rows["truth"][:, 0], nodes.paths[rows["leaf"]][:, 0])


def _path_macro_f1(_: Nodes, rows: Rows) -> Figure | None:
    rows = rows[rows["true_leaf"] >= 0]
    return _macro_f1(rows["true_leaf"], rows["leaf"])


def _macro_f1(true: NDArray[np.int64], predicted: NDArray[np.int64]) -> Figure | None:
    if not len(true):
        return None
    size = int(max(true.max(), predicted.max())) + 1
    right = np.bincount(true[true == predicted], minlength=size)
    seen = np.bincount(true, minlength=size) + np.bincount(predicted, minlength=size)
    return Figure(float((2 * right[seen > 0] / seen[seen > 0]).mean()), len(true))


def _overlap(part: str, *, sure: bool) -> Callable[[Nodes, Rows], Figure | None]:
    def figure(nodes: Nodes, rows: Rows) -> Figure | None:
        rows = rows[rows["true_leaf"] >= 0]
        said = nodes.paths[rows["leaf"]]
        if sure:
            said = np.where(np.arange(3) < rows["level"][:, None], said, -1)
        true = nodes.paths[rows["true_leaf"]]
        common, n_said, n_true = ((said == true) & (said >= 0)).sum(), (said >= 0).sum(), (true >= 0).sum()
        above, below = {
            "precision": (common, n_said),
            "recall": (common, n_true),
            "f": (2 * common, n_said + n_true),
        }[part]
        return Figure(float(above / below), len(rows)) if below else None

    return figure


def _severity(*, of_mistakes: bool) -> Callable[[Nodes, Rows], Figure | None]:
    def figure(nodes: Nodes, rows: Rows) -> Figure | None:
        rows = rows[rows["true_leaf"] >= 0]
        if of_mistakes:
            rows = rows[rows["leaf"] != rows["true_leaf"]]
        said, true = nodes.paths[rows["leaf"]], nodes.paths[rows["true_leaf"]]
        agreed = ((said == true) & (said >= 0)).sum(axis=1)
        return _mean(np.where(rows["leaf"] == rows["true_leaf"], 0, 3 - agreed))

    return figure


def _mean_of(column: str) -> Callable[[Nodes, Rows], Figure | None]:
    return lambda _, rows: _mean(rows[column][~np.isnan(rows[column])])


def judged(nodes: Nodes, rows: Rows, level: str, prefix: str = "") -> tuple[Array, NDArray[np.bool_]]:
    """Return the probabilities of the paths at `level`, "constructor" or "path", and whether they are right.

    Of the photos whose label says so. `prefix` is "" or "uncalibrated_".
    """
    if level == "constructor":
        rows = rows[rows["truth"][:, 0] >= 0]
        right = nodes.paths[rows[f"{prefix}leaf"]][:, 0] == rows["truth"][:, 0]
    else:
        rows = rows[rows["true_leaf"] >= 0]
        right = rows[f"{prefix}leaf"] == rows["true_leaf"]
    return rows[f"{prefix}{level}_probability"], right


def _ece(level: str, prefix: str = "") -> Callable[[Nodes, Rows], Figure | None]:
    def figure(nodes: Nodes, rows: Rows) -> Figure | None:
        probabilities, right = judged(nodes, rows, level, prefix)
        if not len(right):
            return None
        said, true, photos = reliability(probabilities, right)
        return Figure(float(np.average(np.abs(said - true), weights=photos)), len(right))

    return figure


def reliability(probabilities: Array, right: NDArray[np.bool_]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return mean probability, share that is right, and number of photos, in up to BINS bins of equal mass."""
    order = np.argsort(probabilities, kind="stable")
    edges = np.linspace(0, len(order), min(BINS, len(order)) + 1).round().astype(int)
    photos = np.diff(edges)
    said = np.add.reduceat(probabilities[order], edges[:-1]) / photos
    return said, np.add.reduceat(right[order].astype(float), edges[:-1]) / photos, photos


def risk_coverage(probabilities: Array, right: NDArray[np.bool_]) -> Array:
    """Return the share of wrong answers among the k most probable ones, for k = 1 to n.

    Among equally probable ones, the wrong ones are spread evenly, so that the order of photos does not matter.
    """
    _, place, photos = np.unique(-probabilities, return_inverse=True, return_counts=True)
    wrong = np.bincount(place, weights=~right) / photos
    return np.asarray(np.cumsum(np.repeat(wrong, photos)) / np.arange(1, len(right) + 1))


def _aurc(level: str) -> Callable[[Nodes, Rows], Figure | None]:
    return lambda nodes, rows: _mean(risk_coverage(*judged(nodes, rows, level)))


def _known_and_outside(rows: Rows, level: str) -> tuple[Array, Array]:
    known = rows["truth"][:, 0] >= 0
    outside = rows["named"][:, 0] & ~known
    return rows[f"{level}_probability"][known], rows[f"{level}_probability"][outside]


def _auroc(level: str) -> Callable[[Nodes, Rows], Figure | None]:
    def figure(_: Nodes, rows: Rows) -> Figure | None:
        known, outside = _known_and_outside(rows, level)
        if not len(known) or not len(outside):
            return None
        ranks = rankdata(np.concatenate([known, outside]))[: len(known)]
        pairs = len(known) * len(outside)
        return Figure(float((ranks.sum() - len(known) * (len(known) + 1) / 2) / pairs), len(known) + len(outside))

    return figure


def _fpr95(level: str) -> Callable[[Nodes, Rows], Figure | None]:
    def figure(_: Nodes, rows: Rows) -> Figure | None:
        known, outside = _known_and_outside(rows, level)
        if not len(known) or not len(outside):
            return None
        least = np.sort(known)[::-1][int(np.ceil(0.95 * len(known))) - 1]
        return Figure(float((outside >= least).mean()), len(known) + len(outside))

    return figure


def _unknown_share(_: Nodes, rows: Rows) -> Figure | None:
    outside = rows[rows["named"][:, 0] & (rows["truth"][:, 0] < 0)]
    return _mean(outside["level"] == 0)


def _sure_share(_: Nodes, rows: Rows) -> Figure | None:
    return _mean(rows["level"][rows["truth"][:, 0] >= 0] > 0)


def _sure_accuracy(_: Nodes, rows: Rows) -> Figure | None:
    return _mean(~rows["contradicted"][(rows["truth"][:, 0] >= 0) & (rows["level"] > 0)])


def _answered_share(depth: int) -> Callable[[Nodes, Rows], Figure | None]:
    return lambda _, rows: _mean(rows["level"][rows["truth"][:, 0] >= 0] == depth)


def _answered_accuracy(depth: int) -> Callable[[Nodes, Rows], Figure | None]:
    def figure(_: Nodes, rows: Rows) -> Figure | None:
        return _mean(~rows["contradicted"][answered_and_named(rows, depth)])

    return figure


def answered_and_named(rows: Rows, depth: int) -> NDArray[np.bool_]:
    """Return which photos are answered at just that depth and have a label that can tell whether this is right."""
    return np.asarray((rows["truth"][:, 0] >= 0) & (rows["level"] == depth) & rows["named"][:, depth - 1])


FIGURES: Mapping[str, Callable[[Nodes, Rows], Figure | None]] = {
    "constructor_accuracy": _level_accuracy(0),
    "constructor_macro_f1": _constructor_macro_f1,
    "family_accuracy": _level_accuracy(1),
    "model_accuracy_given_constructor": _path_accuracy("leaf_given_constructor"),
    "path_accuracy": _path_accuracy(),
    "path_macro_f1": _path_macro_f1,
    "hierarchical_precision": _overlap("precision", sure=False),
    "hierarchical_recall": _overlap("recall", sure=False),
    "hierarchical_f": _overlap("f", sure=False),
    "sure_hierarchical_precision": _overlap("precision", sure=True),
    "sure_hierarchical_recall": _overlap("recall", sure=True),
    "sure_hierarchical_f": _overlap("f", sure=True),
    "severity": _severity(of_mistakes=False),
    "severity_of_mistakes": _severity(of_mistakes=True),
    "nll": _mean_of("constructor_nll"),
    "nll_before_temperature": _mean_of("uncalibrated_constructor_nll"),
    "brier": _mean_of("constructor_brier"),
    "brier_before_temperature": _mean_of("uncalibrated_constructor_brier"),
    "ece": _ece("constructor"),
    "ece_before_temperature": _ece("constructor", "uncalibrated_"),
    "aurc": _aurc("constructor"),
    "path_nll": _mean_of("path_nll"),
    "path_nll_before_temperature": _mean_of("uncalibrated_path_nll"),
    "path_brier": _mean_of("path_brier"),
    "path_brier_before_temperature": _mean_of("uncalibrated_path_brier"),
    "path_ece": _ece("path"),
    "path_ece_before_temperature": _ece("path", "uncalibrated_"),
    "path_aurc": _aurc("path"),
    "sure_share": _sure_share,
    "sure_accuracy": _sure_accuracy,
    "answered_constructor_share": _answered_share(1),
    "answered_constructor_accuracy": _answered_accuracy(1),
    "answered_family_share": _answered_share(2),
    "answered_family_accuracy": _answered_accuracy(2),
    "answered_model_share": _answered_share(3),
    "answered_model_accuracy": _answered_accuracy(3),
    "unknown_share": _unknown_share,
    "auroc": _auroc("constructor"),
    "fpr95": _fpr95("constructor"),
    "path_auroc": _auroc("path"),
    "path_fpr95": _fpr95("path"),
    "greedy_constructor_accuracy": _level_accuracy(0, "greedy_leaf"),
    "greedy_family_accuracy": _level_accuracy(1, "greedy_leaf"),
    "greedy_path_accuracy": _path_accuracy("greedy_leaf"),
    "best_path_constructor_accuracy": _level_accuracy(0, "best_path_leaf"),
    "best_path_family_accuracy": _level_accuracy(1, "best_path_leaf"),
    "best_path_accuracy": _path_accuracy("best_path_leaf"),
}
