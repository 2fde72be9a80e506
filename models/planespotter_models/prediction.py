"""Decode a prediction: from the log-probabilities of all heads to the deepest node that the network is confident of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from planespotter_models.label_tree import CONSTRUCTOR_HEAD, Label, LabelTree

Array = NDArray[np.floating]


class Level(Enum):
    """Confidence level: how deep in the label tree a prediction is confident."""

    UNKNOWN = "unknown"
    CONSTRUCTOR = "constructor"
    FAMILY = "family"
    MODEL = "model"


class DecodeRule(Enum):
    """How to choose the predicted leaf."""

    GREEDY = "greedy"
    """The most probable constructor, then the most probable of its leaves."""
    BEST_PATH = "best_path"
    """The most probable leaf of all constructors."""


@dataclass(frozen=True)
class Thresholds:
    """Minimum calibrated probability at which each level counts as confident."""

    constructor: float
    family: float
    model: float


@dataclass(frozen=True)
class Calibration:
    """Temperatures and thresholds, both fitted on validation photos.

    Attributes:
        temperatures: A positive number per head, which divides its log-probabilities before they are normalized again
            (temperature scaling: Guo et al. 2017, "On Calibration of Modern Neural Networks").
        thresholds: Minimum probability per level.
        decode_rule: How to choose the predicted leaf.
    """

    temperatures: Mapping[str, float]
    thresholds: Thresholds
    decode_rule: DecodeRule = DecodeRule.GREEDY


@dataclass(frozen=True)
class Prediction:
    """What the network predicts for one photo: a path through the label tree, and how deep it is confident.

    Attributes:
        level: The deepest level that is confident, with all levels above it.
        label: The predicted leaf, also where it is deeper than `level`.
        probabilities: Calibrated probability of the constructor, family and model of `label`; 0 below the leaf.
        candidates: The most probable leaves with their probabilities, best first.
        heat_map: uint8 [rows, columns], where the network looked; None if not requested (see `engines/explainer.py`).
    """

    level: Level
    label: Label
    probabilities: tuple[float, float, float]
    candidates: tuple[tuple[Label, float], ...] = ()
    heat_map: NDArray[np.uint8] | None = field(default=None, compare=False, repr=False)


def leaf_probabilities(
    tree: LabelTree, temperatures: Mapping[str, float], outputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Compute the calibrated probability of every leaf: p(constructor) · p(leaf | constructor).

    Args:
        tree: Label tree of the network.
        temperatures: Temperature per head.
        outputs: Log-probabilities [n, classes] per head.

    Returns:
        Probabilities [n, leaves] per constructor. Each row sums to 1 over all constructors, less the probability of the
        `other` output where the tree has one.
    """
    heads = {head: _soften(outputs[head], temperatures[head]) for head in tree.heads}
    return {
        constructor: heads[CONSTRUCTOR_HEAD][:, index : index + 1] * heads[constructor]
        for index, constructor in enumerate(tree.constructors)
    }


def _soften(log_probabilities: Array, temperature: float) -> Array:
    scaled = log_probabilities.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    softened: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return softened


def decode_prediction(
    tree: LabelTree,
    calibration: Calibration,
    outputs: Mapping[str, Array],
    top_k: int | Sequence[int] = 0,
) -> list[Prediction]:
    """Decode the network's outputs for a batch of n photos.

    Args:
        tree: Label tree of the network.
        calibration: Temperatures, thresholds and decode rule of the bundle.
        outputs: Log-probabilities [n, classes] per head.
        top_k: How many candidates each prediction has: one number for all photos, or one per photo.

    Returns:
        One prediction per photo, in order.
    """
    by_constructor = leaf_probabilities(tree, calibration.temperatures, outputs)
    table = np.concatenate([by_constructor[constructor] for constructor in tree.constructors], axis=1)
    leaves = tree.all_leaves
    rows = np.arange(len(table))
    constructors = np.repeat(np.arange(len(tree.constructors)), [len(tree.leaves[name]) for name in tree.constructors])
    families = _group_numbers([leaf[:2] for leaf in leaves])
    totals = np.stack([by_constructor[constructor].sum(axis=1) for constructor in tree.constructors], axis=1)
    eligible = table
    if calibration.decode_rule is DecodeRule.GREEDY:
        eligible = np.where(constructors == totals.argmax(axis=1)[:, None], table, -1.0)
    best = eligible.argmax(axis=1)
    per_level = zip(
        best.tolist(),
        np.minimum(1.0, totals[rows, constructors[best]]).tolist(),
        np.minimum(1.0, np.where(families == families[best][:, None], table, 0.0).sum(axis=1)).tolist(),
        table[rows, best].tolist(),
        strict=True,
    )
    counts = [top_k] * len(table) if isinstance(top_k, int) else top_k
    max_count = max(counts, default=0)
    ranking = np.argsort(-table, axis=1, kind="stable")[:, :max_count] if max_count else np.empty((len(table), 0), int)
    predictions = []
    for row, (count, (leaf, of_constructor, of_family, of_model)) in enumerate(zip(counts, per_level, strict=True)):
        label = leaves[leaf]
        probabilities = (of_constructor, of_family if label.family else 0.0, of_model if label.model else 0.0)
        predictions.append(
            Prediction(
                level=confidence_level(label, probabilities, calibration.thresholds),
                label=label,
                probabilities=probabilities,
                candidates=tuple((leaves[i], float(table[row, i])) for i in ranking[row, :count]),
            )
        )
    return predictions


def _group_numbers(names: Sequence[tuple[str, ...]]) -> NDArray[np.intp]:
    """Assign numbers to names in order of appearance; equal names get the same number."""
    numbers: dict[tuple[str, ...], int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])


def confidence_level(label: Label, probabilities: tuple[float, float, float], thresholds: Thresholds) -> Level:
    """Return the deepest level of `label` at which it and every level above reach their thresholds.

    Args:
        label: The predicted path; it ends above a level whose name is empty.
        probabilities: Probabilities of its constructor, family and model, each from 0 to 1.
        thresholds: Minimum probability per level, from 0 to 1, or above 1 for a level that is never confident.

    Returns:
        UNKNOWN if the constructor does not reach its threshold.
    """
    confident = Level.UNKNOWN
    steps = (
        (Level.CONSTRUCTOR, label.constructor, thresholds.constructor),
        (Level.FAMILY, label.family, thresholds.family),
        (Level.MODEL, label.model, thresholds.model),
    )
    for (level, name, threshold), probability in zip(steps, probabilities, strict=True):
        if not name or probability < threshold:
            break
        confident = level
    return confident
