"""Evaluation metrics: one table of name, function, title, meaning, kind and direction; computed from scored rows.

A metric that the labels do not determine, such as path accuracy where only constructors are labelled, is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from planespotter_models import Calibration, Label, LabelTree, Metric
from planespotter_training.evaluation import metric_functions as f
from planespotter_training.evaluation.metric_functions import BINS, Function, Value
from planespotter_training.evaluation.scoring import Nodes, Rows, number_nodes, score

DASH = "\N{EN DASH}"


class Kind(StrEnum):
    """What kind of number a metric is: how it is shown, and how its confidence interval is computed."""

    PROPORTION = "proportion"
    """A share of photos: per cent, Wilson interval."""
    RATIO = "ratio"
    """Another number from 0 to 1: per cent, bootstrap interval."""
    NUMBER = "number"
    """Any number: three decimals, bootstrap interval."""


@dataclass(frozen=True)
class MetricSpec:
    """One row of the table of metrics."""

    name: str
    function: Function
    title: str
    meaning: str
    kind: Kind
    better: Literal["higher", "lower", ""]
    """Which values are better; "" if neither."""


PROPORTION, RATIO, NUMBER = Kind

# fmt: off
_TABLE = (
    # name, function, title
    # meaning
    # kind, better
    MetricSpec(
        "constructor_accuracy", f.level_accuracy(0), "constructor accuracy",
        "The constructor is correct, of photos whose constructor is in the label tree.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "constructor_macro_f1", f.constructor_macro_f1, "constructor macro-F1",
        "Mean over constructors of F1, the harmonic mean of recall and precision.",
        NUMBER, "higher",
    ),
    MetricSpec(
        "constructor_auroc", f.constructor_auroc, "constructor AUROC",
        "How well the probability of the first constructor, as a share of all constructors in the label tree, "
        "separates its photos from those of the others: 1 always, 0.5 not at all. The prior of the training photos "
        "does not change it.",
        NUMBER, "higher",
    ),
    MetricSpec(
        "family_accuracy", f.level_accuracy(1), "family accuracy",
        "Constructor and family are correct, of photos whose family is in the label tree.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "model_accuracy_given_constructor", f.path_accuracy("leaf_given_constructor"),
        "model accuracy given the constructor",
        "The model is correct if the constructor is taken from the label: what the heads of the constructors can do.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "path_accuracy", f.path_accuracy(), "path accuracy",
        "Constructor, family and model are all correct, of photos labelled down to a model, or to a family that the "
        "label tree does not divide.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "path_macro_f1", f.path_macro_f1, "path macro-F1",
        "Mean over models of F1, the harmonic mean of recall and precision.",
        NUMBER, "higher",
    ),
    MetricSpec(
        "hierarchical_precision", f.overlap("precision", confident=False), "hierarchical precision",
        "Share of the nodes on predicted paths that are on the true paths (Kiritchenko et al. 2006).",
        RATIO, "higher",
    ),
    MetricSpec(
        "hierarchical_recall", f.overlap("recall", confident=False), "hierarchical recall",
        "Share of the nodes on true paths that are on the predicted paths.",
        RATIO, "higher",
    ),
    MetricSpec(
        "hierarchical_f1", f.overlap("f1", confident=False), "hierarchical F1",
        "Harmonic mean of hierarchical precision and recall.",
        RATIO, "higher",
    ),
    MetricSpec(
        "confident_hierarchical_precision", f.overlap("precision", confident=True),
        "hierarchical precision, confident levels",
        "Hierarchical precision of the nodes down to the confidence level.",
        RATIO, "higher",
    ),
    MetricSpec(
        "confident_hierarchical_recall", f.overlap("recall", confident=True), "hierarchical recall, confident levels",
        "Hierarchical recall of the nodes down to the confidence level.",
        RATIO, "higher",
    ),
    MetricSpec(
        "confident_hierarchical_f1", f.overlap("f1", confident=True), "hierarchical F1, confident levels",
        "Harmonic mean of the two.",
        RATIO, "higher",
    ),
    MetricSpec(
        "hierarchical_distance", f.hierarchical_distance(of_mistakes=False), "hierarchical distance",
        "Mean height at which predicted and true path meet: 0 correct, 1 in the family, 2 in the "
        "constructor, 3 nowhere (Bertinetto et al. 2020).",
        NUMBER, "lower",
    ),
    MetricSpec(
        "mistake_severity", f.hierarchical_distance(of_mistakes=True), "mistake severity",
        "Hierarchical distance of wrong paths only, 1 to 3. Many mild mistakes lower it, so read both.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "nll", f.mean_of("constructor_nll"), "NLL",
        "Negative log-likelihood: mean of -log p of the true constructor.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "uncalibrated_nll", f.mean_of("uncalibrated_constructor_nll"), "NLL, uncalibrated",
        "The same before temperature scaling.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "brier", f.mean_of("constructor_brier"), "Brier score",
        "Squared distance of the constructors' probabilities from the ground truth, 0 to 2.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "uncalibrated_brier", f.mean_of("uncalibrated_constructor_brier"), "Brier score, uncalibrated",
        "The same before temperature scaling.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "ece", f.ece("constructor"), "ECE",
        "Expected calibration error of the constructor: mean gap between confidence and accuracy, over "
        f"{BINS} bins of equal mass.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "uncalibrated_ece", f.ece("constructor", "uncalibrated_"), "ECE, uncalibrated",
        "The same before temperature scaling.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "aurc", f.aurc("constructor"), "AURC",
        "Area under the risk-coverage curve: error rate of the k most confident constructors, averaged over "
        "all k.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "path_nll", f.mean_of("path_nll"), "NLL of the path",
        "NLL of the whole path.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "uncalibrated_path_nll", f.mean_of("uncalibrated_path_nll"), "NLL of the path, uncalibrated",
        "The same before temperature scaling.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "path_brier", f.mean_of("path_brier"), "Brier score of the path",
        "Brier score over all types.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "uncalibrated_path_brier", f.mean_of("uncalibrated_path_brier"), "Brier score of the path, uncalibrated",
        "The same before temperature scaling.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "path_ece", f.ece("path"), "ECE of the path",
        "ECE of the whole path.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "uncalibrated_path_ece", f.ece("path", "uncalibrated_"), "ECE of the path, uncalibrated",
        "The same before temperature scaling.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "path_aurc", f.aurc("path"), "AURC of the path",
        "AURC of the whole path.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "confident_share", f.confident_share, "confident share",
        "Coverage: the confidence level is constructor or deeper, of photos whose constructor is in the "
        "label tree.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "confident_accuracy", f.confident_accuracy, "accuracy when confident",
        "Selective accuracy: no level down to the confidence level is wrong, of confident predictions.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "level_constructor_share", f.level_share(1), "confidence level constructor",
        "The confidence level is exactly constructor.",
        PROPORTION, "",
    ),
    MetricSpec(
        "level_constructor_accuracy", f.accuracy_at_level(1), "accuracy at confidence level constructor",
        "Share of these that is correct down to the constructor, where the label names it.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "level_family_share", f.level_share(2), "confidence level family",
        "The confidence level is exactly family.",
        PROPORTION, "",
    ),
    MetricSpec(
        "level_family_accuracy", f.accuracy_at_level(2), "accuracy at confidence level family",
        "Share of these that is correct down to the family, where the label names it.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "level_model_share", f.level_share(3), "confidence level model",
        "The confidence level is exactly model.",
        PROPORTION, "",
    ),
    MetricSpec(
        "level_model_accuracy", f.accuracy_at_level(3), "accuracy at confidence level model",
        "Share of these that is correct down to the model, where the label names it.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "unknown_share", f.unknown_share, "out of taxonomy, predicted unknown",
        "The confidence level is unknown, of out-of-taxonomy aircraft.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "auroc", f.auroc("known"), "AUROC, out of taxonomy",
        "How well the probability of being in the label tree (without an `other` output: that of the predicted "
        "constructor) separates aircraft in the tree from everything else: 1 always, 0.5 not at all.",
        NUMBER, "higher",
    ),
    MetricSpec(
        "fpr95", f.fpr95("known"), "FPR95, out of taxonomy",
        "Share of out-of-taxonomy aircraft above the threshold that 95% of the aircraft in the label tree "
        "pass.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "path_auroc", f.auroc("path"), "AUROC of the path, out of taxonomy",
        "AUROC with the probability of the whole path. Maximum logit and energy are not available: a bundle "
        "outputs log-probabilities, which no longer hold the scale of each head's logits.",
        NUMBER, "higher",
    ),
    MetricSpec(
        "path_fpr95", f.fpr95("path"), "FPR95 of the path, out of taxonomy",
        "FPR95 with the probability of the whole path.",
        NUMBER, "lower",
    ),
    MetricSpec(
        "greedy_constructor_accuracy", f.level_accuracy(0, "greedy_leaf"), "constructor accuracy, greedy",
        "Decoding the most probable constructor, then its most probable type.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "greedy_family_accuracy", f.level_accuracy(1, "greedy_leaf"), "family accuracy, greedy",
        "Decoding the most probable constructor, then its most probable type.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "greedy_path_accuracy", f.path_accuracy("greedy_leaf"), "path accuracy, greedy",
        "Decoding the most probable constructor, then its most probable type.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "best_path_constructor_accuracy", f.level_accuracy(0, "best_path_leaf"), "constructor accuracy, best path",
        "Decoding the most probable type of all constructors.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "best_path_family_accuracy", f.level_accuracy(1, "best_path_leaf"), "family accuracy, best path",
        "Decoding the most probable type of all constructors.",
        PROPORTION, "higher",
    ),
    MetricSpec(
        "best_path_accuracy", f.path_accuracy("best_path_leaf"), "path accuracy, best path",
        "Decoding the most probable type of all constructors.",
        PROPORTION, "higher",
    ),
)
# fmt: on

METRICS: Mapping[str, MetricSpec] = {spec.name: spec for spec in _TABLE}

SUMMARY = (
    "constructor_accuracy",
    "family_accuracy",
    "path_accuracy",
    "model_accuracy_given_constructor",
    "confident_share",
    "confident_accuracy",
    "unknown_share",
)
"""The metrics in a bundle: proportions only, which a reader understands without a definition."""


def measure(
    tree: LabelTree,
    calibration: Calibration,
    outputs: Mapping[str, NDArray[np.floating]],
    labels: Sequence[Label],
    sources: Sequence[str],
) -> list[Metric]:
    """Compute the metrics in SUMMARY of n photos.

    Args:
        tree: Label tree of the network.
        calibration: Temperatures, thresholds and decode rule to predict with.
        outputs: Log-probabilities [n, classes] per head.
        labels: Ground truth of each photo.
        sources: Source of each photo, "" if unknown.

    Returns:
        The metrics of all photos, with source "", then those of each source, "(none)" for photos without one.
    """
    return summarize(number_nodes(tree), score(tree, calibration, outputs, labels, sources))


def summarize(nodes: Nodes, rows: Rows) -> list[Metric]:
    """Compute the metrics in SUMMARY of all rows and of each source; see `measure`."""
    return [
        Metric(source, name, measured.value, measured.photos)
        for source, part in {"": rows, **by_source(rows)}.items()
        for name, measured in compute(nodes, part, SUMMARY).items()
        if measured is not None
    ]


def by_source(rows: Rows) -> dict[str, Rows]:
    """Group the rows by source; "(none)" holds photos without one."""
    return {str(source) or "(none)": rows[rows["source"] == source] for source in sorted(set(rows["source"]))}


def compute(nodes: Nodes, rows: Rows, names: Sequence[str] | None = None) -> dict[str, Value | None]:
    """Compute the metrics called `names`, or all of METRICS, of the photos in `rows`."""
    return {name: METRICS[name].function(nodes, rows) if len(rows) else None for name in names or METRICS}


def format_value(name: str, value: float | None) -> str:
    """Format the value of a metric: per cent or three decimals by its kind; a dash for None."""
    if value is None:
        return DASH
    return f"{value:.3f}" if METRICS[name].kind is Kind.NUMBER else f"{value:.1%}"


def legend(names: Sequence[str]) -> Table:
    """Return the meaning of each metric in `names` that METRICS has, for a terminal, below a table of them."""
    table = Table.grid(padding=(0, 2))
    for spec in (METRICS[name] for name in dict.fromkeys(names) if name in METRICS):
        table.add_row(spec.title, spec.meaning + (" Lower is better." if spec.better == "lower" else ""), style="dim")
    return table


def format_interval(name: str, ends: tuple[float, float] | None) -> str:
    """Format an interval without repeating the unit; "" for None."""
    return "" if ends is None else DASH.join(format_value(name, end).rstrip("%") for end in ends)
