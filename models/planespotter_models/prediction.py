"""From log-probabilities to an answer: the deepest node that the network is sure enough of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from planespotter_models.label_tree import CONSTRUCTOR_HEAD, Label, LabelTree

Array = NDArray[np.floating]


class Level(Enum):
    """How deep in the tree an answer is sure."""

    UNKNOWN = "unknown"
    CONSTRUCTOR = "constructor"
    FAMILY = "family"
    MODEL = "model"


class DecodeRule(Enum):
    """How one path is taken through the tree."""

    GREEDY = "greedy"
    """The most probable constructor, then its most probable leaf."""
    BEST_PATH = "best_path"
    """The most probable leaf of all."""


@dataclass(frozen=True)
class Thresholds:
    """Least calibrated probability at which a level counts as sure."""

    constructor: float
    family: float
    model: float


@dataclass(frozen=True)
class Calibration:
    """What turns the network's output into answers; chosen on validation data.

    `temperatures` has one positive number for each head: its log-probabilities are divided by it and normalised again
    (Guo et al. 2017, "On Calibration of Modern Neural Networks").
    """

    temperatures: Mapping[str, float]
    thresholds: Thresholds
    decode: DecodeRule = DecodeRule.GREEDY


@dataclass(frozen=True)
class Answer:
    """What the network says about one photo: a path through the tree, and how far it is sure of it.

    The probabilities belong to the nodes of `label`, constructor, family, model; 0 where the tree goes no deeper.
    `alternatives` are the most probable leaves with their probabilities, best first. `heat` tells where the network
    looked, if that was asked for: uint8 [rows, columns] (see explain.py).
    """

    level: Level
    label: Label
    probabilities: tuple[float, float, float]
    alternatives: tuple[tuple[Label, float], ...] = ()
    heat: NDArray[np.uint8] | None = field(default=None, compare=False, repr=False)


def leaf_probabilities(
    tree: LabelTree, temperatures: Mapping[str, float], outputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Return for each constructor the calibrated probabilities of its leaves, p(constructor) · p(leaf | constructor).

    `outputs` are log-probabilities of shape [n, classes] for each head of `tree`. All leaves together sum to 1.
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
    alternatives: int | Sequence[int] = 0,
) -> list[Answer]:
    """Return one answer for each of the n photos whose log-probabilities [n, classes] per head are in `outputs`.

    `alternatives` is how many each answer has, one number for all or one for each photo.
    """
    by_constructor = leaf_probabilities(tree, calibration.temperatures, outputs)
    table = np.concatenate([by_constructor[constructor] for constructor in tree.constructors], axis=1)
    leaves = tree.all_leaves
    rows = np.arange(len(table))
    constructors = np.repeat(np.arange(len(tree.constructors)), [len(tree.leaves[name]) for name in tree.constructors])
    families = _numbers([leaf[:2] for leaf in leaves])
    totals = np.stack([by_constructor[constructor].sum(axis=1) for constructor in tree.constructors], axis=1)
    eligible = table
    if calibration.decode is DecodeRule.GREEDY:
        eligible = np.where(constructors == totals.argmax(axis=1)[:, None], table, -1.0)
    best = eligible.argmax(axis=1)
    per_level = zip(
        best.tolist(),
        np.minimum(1.0, totals[rows, constructors[best]]).tolist(),
        np.minimum(1.0, np.where(families == families[best][:, None], table, 0.0).sum(axis=1)).tolist(),
        table[rows, best].tolist(),
        strict=True,
    )
    counts = [alternatives] * len(table) if isinstance(alternatives, int) else alternatives
    most = max(counts, default=0)
    ranking = np.argsort(-table, axis=1, kind="stable")[:, :most] if most else np.empty((len(table), 0), int)
    answers = []
    for row, (count, (leaf, of_constructor, of_family, of_model)) in enumerate(zip(counts, per_level, strict=True)):
        label = leaves[leaf]
        probabilities = (of_constructor, of_family if label.family else 0.0, of_model if label.model else 0.0)
        answers.append(
            Answer(
                level=sure_level(label, probabilities, calibration.thresholds),
                label=label,
                probabilities=probabilities,
                alternatives=tuple((leaves[i], float(table[row, i])) for i in ranking[row, :count]),
            )
        )
    return answers


def _numbers(names: Sequence[tuple[str, ...]]) -> NDArray[np.intp]:
    """Return a number for each name, the same for the same."""
    known: dict[tuple[str, ...], int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names])


def sure_level(label: Label, probabilities: tuple[float, float, float], thresholds: Thresholds) -> Level:
    """Return the deepest level of `label` down to which every level reaches its threshold."""
    sure = Level.UNKNOWN
    steps = (
        (Level.CONSTRUCTOR, label.constructor, thresholds.constructor),
        (Level.FAMILY, label.family, thresholds.family),
        (Level.MODEL, label.model, thresholds.model),
    )
    for (level, name, threshold), probability in zip(steps, probabilities, strict=True):
        if not name or probability < threshold:
            break
        sure = level
    return sure
