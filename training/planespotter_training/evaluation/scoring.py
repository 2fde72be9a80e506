"""Hold answers against labels, photo by photo. Every metric is computed from the rows that this makes.

Rows are a NumPy structured array with one row for each photo, so that parts of a set can be judged on their own, joined
with `np.concatenate`, and chosen or drawn again by an index: nothing is averaged before all are there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planespotter_models import (
    Calibration,
    DecodeRule,
    Label,
    LabelTree,
    Level,
    decode_prediction,
    leaf_probabilities,
)

DEPTH = {Level.UNKNOWN: 0, Level.CONSTRUCTOR: 1, Level.FAMILY: 2, Level.MODEL: 3}

# NaN stands for what the label does not allow to say, -1 for a node or leaf that is not named or not in the tree.
ROW = np.dtype(
    [
        ("source", object),
        ("airframe", object),  # photos of the same airframe are not independent
        ("named", bool, 3),  # whether the label names anything at each level, in the tree or not
        ("truth", np.int64, 3),  # the label's node at each level, as far as both the label and the tree reach
        ("true_leaf", np.int64),
        ("level", np.int64),  # how deep the answer is sure: DEPTH
        ("contradicted", bool),  # whether a level that the answer is sure of is not what the label names there
        ("leaf", np.int64),  # where the bundle's rule of decoding ends
        ("greedy_leaf", np.int64),
        ("best_path_leaf", np.int64),
        ("leaf_given_constructor", np.int64),  # the most probable leaf of the true constructor
        ("uncalibrated_leaf", np.int64),  # where the bundle's rule would end with all temperatures at 1
        *(
            (f"{calibrated}{level}_{figure}", np.float64)
            for calibrated in ("", "uncalibrated_")
            for level in ("constructor", "path")
            # The probability of the path's constructor or leaf; -log p and Brier score of the label's.
            for figure in ("probability", "nll", "brier")
        ),
    ]
)
Rows = NDArray[Any]


@dataclass(frozen=True)
class Nodes:
    """The nodes of a label tree by number, from 0."""

    names: tuple[Label, ...]
    leaves: tuple[Label, ...]
    """The leaves, in the order of the heads of the network."""
    paths: NDArray[np.int64]
    """The nodes on the path to each leaf: [leaves, 3], -1 where the tree goes no deeper."""


def number(tree: LabelTree) -> Nodes:
    """Return the nodes of `tree` by number."""
    leaves = tree.all_leaves
    names = tuple(dict.fromkeys(Label(*leaf[:depth]) for leaf in leaves for depth in (1, 2, 3) if leaf[depth - 1]))
    return Nodes(names, leaves, np.array([_path(names, leaf) for leaf in leaves], np.int64))


def _path(names: Sequence[Label], label: Label) -> list[int]:
    return [names.index(Label(*label[:depth])) if label[depth - 1] else -1 for depth in (1, 2, 3)]


def judge(
    tree: LabelTree,
    calibration: Calibration,
    outputs: Mapping[str, NDArray[np.floating]],
    labels: Sequence[Label],
    sources: Sequence[str],
    airframes: Sequence[str] | None = None,
) -> Rows:
    """Return rows for n photos: `outputs` are log-probabilities [n, classes] per head; the rest are lists of n.

    Without `airframes`, each photo counts as one of its own.
    """
    nodes = number(tree)
    leaf_number = {leaf: index for index, leaf in enumerate(nodes.leaves)}
    clipped = [tree.clip(label) for label in labels]
    answers = decode_prediction(tree, calibration, outputs)
    rows = np.zeros(len(labels), ROW)
    rows["source"] = np.array(sources, object)
    rows["airframe"] = np.array(range(len(labels)) if airframes is None else airframes, object)
    rows["named"] = np.array([[bool(name) for name in label] for label in labels]).reshape(-1, 3)
    rows["truth"] = np.array([_path(nodes.names, truth) for truth in clipped], np.int64).reshape(-1, 3)
    # A constructor whose types are not told apart is a leaf, but names no type.
    rows["true_leaf"] = [leaf_number.get(truth, -1) if truth.family else -1 for truth in clipped]
    rows["level"] = [DEPTH[one.level] for one in answers]
    rows["contradicted"] = [
        any(mine != theirs for mine, theirs in zip(one.label[: DEPTH[one.level]], label, strict=False) if theirs)
        for one, label in zip(answers, labels, strict=True)
    ]
    rows["leaf"] = [leaf_number[one.label] for one in answers]
    for rule in DecodeRule:
        decoded = decode_prediction(tree, replace(calibration, decode_rule=rule), outputs)
        rows[f"{rule.value}_leaf"] = [leaf_number[one.label] for one in decoded]
    plain = replace(calibration, temperatures=dict.fromkeys(tree.heads, 1.0))
    rows["uncalibrated_leaf"] = [leaf_number[one.label] for one in decode_prediction(tree, plain, outputs)]
    first = np.cumsum([0, *(len(tree.leaves[name]) for name in tree.constructors)])
    for number_, name in enumerate(tree.constructors):
        best = first[number_] + outputs[name].argmax(axis=1)
        mine = np.array([truth.constructor == name for truth in clipped], bool)
        rows["leaf_given_constructor"] = np.where(mine, best, rows["leaf_given_constructor"])
    rows["leaf_given_constructor"][rows["truth"][:, 0] < 0] = -1
    constructor_of = np.repeat(np.arange(len(tree.constructors)), np.diff(first))
    true_constructor = np.array(
        [tree.constructors.index(truth.constructor) if truth.constructor else -1 for truth in clipped], np.int64
    )
    for prefix, used in (("", calibration), ("uncalibrated_", plain)):
        parts = leaf_probabilities(tree, used.temperatures, outputs)
        leaves = np.concatenate([parts[name] for name in tree.constructors], axis=1)
        constructors = np.stack([parts[name].sum(axis=1) for name in tree.constructors], axis=1)
        ends = rows[f"{prefix}leaf"]
        for level, table, chosen, true in (
            ("constructor", constructors, constructor_of[ends], true_constructor),
            ("path", leaves, ends, rows["true_leaf"]),
        ):
            rows[f"{prefix}{level}_probability"] = np.minimum(_pick(table, chosen), 1)
            known = true >= 0
            right = np.where(known, _pick(table, np.maximum(true, 0)), np.nan)
            rows[f"{prefix}{level}_nll"] = -np.log(np.maximum(right, 1e-300))
            rows[f"{prefix}{level}_brier"] = (table**2).sum(axis=1) - 2 * right + 1
    return rows


def _pick(table: NDArray[np.floating], columns: NDArray[np.int64]) -> NDArray[np.floating]:
    return np.asarray(np.take_along_axis(table, columns[:, None], axis=1)[:, 0])
