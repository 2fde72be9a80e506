"""Scoring: compare predictions with ground truth, photo by photo. Every metric is computed from these rows.

Rows are a NumPy structured array with one row per photo, so that subsets can be scored on their own, joined with
`np.concatenate`, and selected or resampled by index. Nothing is averaged before all rows are there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planespotter_models import (
    CONSTRUCTOR_HEAD,
    Calibration,
    DecodeRule,
    Label,
    LabelTree,
    Level,
    decode_prediction,
    leaf_probabilities,
)

DEPTH = {Level.UNKNOWN: 0, Level.CONSTRUCTOR: 1, Level.FAMILY: 2, Level.MODEL: 3}

# NaN: the label does not determine the value. -1: a node or leaf that the label does not name or the tree lacks.
ROW = np.dtype(
    [
        ("source", object),
        ("airframe", object),  # photos of the same airframe are not independent
        ("named", bool, 3),  # whether the label names anything at each level, in the tree or not
        ("true_nodes", np.int64, 3),  # the label's node at each level, as far as both the label and the tree reach
        ("true_leaf", np.int64),
        ("level", np.int64),  # the confidence level of the prediction, as DEPTH
        ("contradicted", bool),  # whether a level down to the confidence level differs from what the label names
        ("leaf", np.int64),  # where the bundle's decode rule ends
        ("greedy_leaf", np.int64),
        ("best_path_leaf", np.int64),
        ("leaf_given_constructor", np.int64),  # the most probable leaf of the true constructor
        ("known_probability", np.float64),  # score for being in the label tree
        ("first_constructor_log_odds", np.float64),  # of the tree's first constructor against its other ones
        ("uncalibrated_leaf", np.int64),  # where the bundle's decode rule would end with all temperatures at 1
        *(
            (f"{calibrated}{level}_{value}", np.float64)
            for calibrated in ("", "uncalibrated_")
            for level in ("constructor", "path")
            # The probability of the predicted constructor or leaf; -log p and Brier score of the label's.
            for value in ("probability", "nll", "brier")
        ),
    ]
)
Rows = NDArray[Any]


@dataclass(frozen=True)
class Nodes:
    """The nodes of a label tree, numbered from 0."""

    names: tuple[Label, ...]
    leaves: tuple[Label, ...]
    """The leaves, in the order of the heads of the network."""
    paths: NDArray[np.int64]
    """The nodes on the path to each leaf: [leaves, 3], -1 below the end of a branch."""


def number_nodes(tree: LabelTree) -> Nodes:
    """Assign a number to each node of `tree`."""
    leaves = tree.all_leaves
    names = tuple(dict.fromkeys(Label(*leaf[:depth]) for leaf in leaves for depth in (1, 2, 3) if leaf[depth - 1]))
    return Nodes(names, leaves, np.array([_path(names, leaf) for leaf in leaves], np.int64))


def _path(names: Sequence[Label], label: Label) -> list[int]:
    return [names.index(Label(*label[:depth])) if label[depth - 1] else -1 for depth in (1, 2, 3)]


def score(
    tree: LabelTree,
    calibration: Calibration,
    outputs: Mapping[str, NDArray[np.floating]],
    labels: Sequence[Label],
    sources: Sequence[str],
    airframes: Sequence[str] | None = None,
) -> Rows:
    """Score the predictions for n photos.

    Args:
        tree: Label tree of the network.
        calibration: Temperatures, thresholds and decode rule to predict with.
        outputs: Log-probabilities [n, classes] per head.
        labels: Ground truth of each photo.
        sources: Source of each photo, "" if unknown.
        airframes: Name of each photo's airframe; None counts each photo as a separate airframe.

    Returns:
        Structured array [n] of dtype ROW.
    """
    nodes = number_nodes(tree)
    clipped = [tree.clip(label) for label in labels]
    uncalibrated = replace(calibration, temperatures=dict.fromkeys(tree.heads, 1.0))
    rows = np.zeros(len(labels), ROW)
    rows["source"] = np.array(sources, object)
    rows["airframe"] = np.array(range(len(labels)) if airframes is None else airframes, object)
    rows["named"] = np.array([[bool(name) for name in label] for label in labels]).reshape(-1, 3)
    rows["true_nodes"] = np.array([_path(nodes.names, label) for label in clipped], np.int64).reshape(-1, 3)
    leaf_numbers = {leaf: index for index, leaf in enumerate(nodes.leaves)}
    # A constructor whose types are not distinguished is a leaf, but names no type.
    rows["true_leaf"] = [leaf_numbers.get(label, -1) if label.family else -1 for label in clipped]
    _fill_leaves(rows, nodes, tree, calibration, outputs, labels)
    rows["uncalibrated_leaf"] = [
        leaf_numbers[prediction.label] for prediction in decode_prediction(tree, uncalibrated, outputs)
    ]
    _fill_leaf_given_constructor(rows, tree, outputs, clipped)
    # Not the share itself: it rounds to 1 long before the order of the photos is lost.
    of_constructors = outputs[CONSTRUCTOR_HEAD][:, : len(tree.constructors)].astype(np.float64)
    rows["first_constructor_log_odds"] = of_constructors[:, 0] - np.logaddexp.reduce(of_constructors[:, 1:], axis=1)
    for prefix, used in (("", calibration), ("uncalibrated_", uncalibrated)):
        _fill_probabilities(rows, prefix, tree, used, outputs, clipped)
    return rows


def _fill_leaves(
    rows: Rows,
    nodes: Nodes,
    tree: LabelTree,
    calibration: Calibration,
    outputs: Mapping[str, NDArray[np.floating]],
    labels: Sequence[Label],
) -> None:
    """Fill in the predicted leaves of each decode rule, the confidence level, and whether the label contradicts it."""
    leaf_numbers = {leaf: index for index, leaf in enumerate(nodes.leaves)}
    predictions = decode_prediction(tree, calibration, outputs)
    rows["level"] = [DEPTH[prediction.level] for prediction in predictions]
    rows["contradicted"] = [
        any(
            predicted != true
            for predicted, true in zip(prediction.label[: DEPTH[prediction.level]], label, strict=False)
            if true
        )
        for prediction, label in zip(predictions, labels, strict=True)
    ]
    rows["leaf"] = [leaf_numbers[prediction.label] for prediction in predictions]
    for rule in DecodeRule:
        decoded = decode_prediction(tree, replace(calibration, decode_rule=rule), outputs)
        rows[f"{rule.value}_leaf"] = [leaf_numbers[prediction.label] for prediction in decoded]


def _fill_leaf_given_constructor(
    rows: Rows, tree: LabelTree, outputs: Mapping[str, NDArray[np.floating]], clipped: Sequence[Label]
) -> None:
    starts = np.cumsum([0, *(len(tree.leaves[name]) for name in tree.constructors)])
    for index, name in enumerate(tree.constructors):
        best = starts[index] + outputs[name].argmax(axis=1)
        of_constructor = np.array([label.constructor == name for label in clipped], bool)
        rows["leaf_given_constructor"] = np.where(of_constructor, best, rows["leaf_given_constructor"])
    rows["leaf_given_constructor"][rows["true_nodes"][:, 0] < 0] = -1


def _fill_probabilities(
    rows: Rows,
    prefix: str,
    tree: LabelTree,
    calibration: Calibration,
    outputs: Mapping[str, NDArray[np.floating]],
    clipped: Sequence[Label],
) -> None:
    """Fill in probability, NLL and Brier score at `calibration`, of the constructor and of the whole path."""
    by_constructor = leaf_probabilities(tree, calibration.temperatures, outputs)
    leaves = np.concatenate([by_constructor[name] for name in tree.constructors], axis=1)
    constructors = np.stack([by_constructor[name].sum(axis=1) for name in tree.constructors], axis=1)
    constructor_of = np.repeat(
        np.arange(len(tree.constructors)), [len(tree.leaves[name]) for name in tree.constructors]
    )
    true_constructor = np.array(
        [tree.constructors.index(label.constructor) if label.constructor else -1 for label in clipped], np.int64
    )
    predicted = rows[f"{prefix}leaf"]
    if not prefix:
        # Without an `other` output, an aircraft outside the tree can only show by a hesitation between constructors.
        rows["known_probability"] = (
            constructors.sum(axis=1) if tree.other else _pick(constructors, constructor_of[predicted])
        )
    for level, probabilities, chosen, true in (
        ("constructor", constructors, constructor_of[predicted], true_constructor),
        ("path", leaves, predicted, rows["true_leaf"]),
    ):
        rows[f"{prefix}{level}_probability"] = np.minimum(_pick(probabilities, chosen), 1)
        of_label = np.where(true >= 0, _pick(probabilities, np.maximum(true, 0)), np.nan)
        rows[f"{prefix}{level}_nll"] = -np.log(np.maximum(of_label, 1e-300))
        rows[f"{prefix}{level}_brier"] = (probabilities**2).sum(axis=1) - 2 * of_label + 1


def _pick(table: NDArray[np.floating], columns: NDArray[np.int64]) -> NDArray[np.floating]:
    return np.asarray(np.take_along_axis(table, columns[:, None], axis=1)[:, 0])
