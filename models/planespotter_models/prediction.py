"""Decode a prediction: from the log-probabilities of all heads to the deepest node that the network is confident of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from planespotter_models.label_tree import CONSTRUCTOR_HEAD, Label, LabelTree
from planespotter_models.prior import Prior

Array = NDArray[np.floating]


class Level(Enum):
    """Confidence level: how deep in the label tree a prediction is confident."""

    UNKNOWN = "unknown"
    CONSTRUCTOR = "constructor"
    FAMILY = "family"
    MODEL = "model"


LEVELS = tuple(Level)
"""Confidence levels by the number of confident names: 0 is UNKNOWN, 3 is MODEL."""

NETWORK = "network"
"""The evidence of a prediction that uses nothing but the photo."""


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
        evidence: What the prediction uses: "network", or with a prior, such as "network+fleet".
        network: Label and probabilities of the network alone; None if the prediction uses nothing else.
        leaf_probabilities: Probabilities [leaves] by the network alone, in the order of `LabelTree.all_leaves`; None if
            not requested.
    """

    level: Level
    label: Label
    probabilities: tuple[float, float, float]
    candidates: tuple[tuple[Label, float], ...] = ()
    heat_map: NDArray[np.uint8] | None = field(default=None, compare=False, repr=False)
    evidence: str = NETWORK
    network: tuple[Label, tuple[float, float, float]] | None = None
    leaf_probabilities: Array | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class PredictionOptions:
    """What is asked for one photo.

    Attributes:
        top_k: Number of candidates.
        min_probability: Minimum probability of the confidence level, instead of the thresholds; None keeps them.
        leaf_probabilities: Whether to return the probabilities of all leaves.
        prior: What is known besides the photo; None for nothing.
    """

    top_k: int = 0
    min_probability: float | None = None
    leaf_probabilities: bool = False
    prior: Prior | None = None


@dataclass(frozen=True, eq=False)
class Decisions:
    """Predictions of n photos as arrays.

    Attributes:
        leaves: Index [n] of the predicted leaf in `LabelTree.all_leaves`.
        probabilities: Probability [n, 3] of its constructor, family and model; 0 below the leaf.
        depths: Number [n] of confident levels, from 0 (unknown) to 3 (model): an index of `LEVELS`.
    """

    leaves: NDArray[np.intp]
    probabilities: Array
    depths: NDArray[np.intp]


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


def leaf_table(tree: LabelTree, calibration: Calibration, outputs: Mapping[str, Array]) -> Array:
    """Return the calibrated probabilities [n, leaves] of all leaves, in the order of `tree.all_leaves`."""
    by_constructor = leaf_probabilities(tree, calibration.temperatures, outputs)
    return np.concatenate([by_constructor[constructor] for constructor in tree.constructors], axis=1)


def decode_prediction(
    tree: LabelTree,
    calibration: Calibration,
    outputs: Mapping[str, Array],
    top_k: int = 0,
    options: Sequence[PredictionOptions] | None = None,
) -> list[Prediction]:
    """Decode the network's outputs for a batch of n photos.

    Args:
        tree: Label tree of the network.
        calibration: Temperatures, thresholds and decode rule of the bundle.
        outputs: Log-probabilities [n, classes] per head.
        top_k: How many candidates each prediction has.
        options: What is asked for each photo, instead of `top_k`.

    Returns:
        One prediction per photo, in order.
    """
    table = leaf_table(tree, calibration, outputs)
    return decode_leaves(tree, calibration, table, options or [PredictionOptions(top_k)] * len(table))


def decode_leaves(
    tree: LabelTree, calibration: Calibration, table: Array, options: Sequence[PredictionOptions]
) -> list[Prediction]:
    """Decode the probabilities [n, leaves] of all leaves; `options` has what is asked for each of the n photos."""
    raw = table
    if any(each.prior is not None for each in options):
        table = np.stack(
            [row if each.prior is None else each.prior.apply(row) for row, each in zip(raw, options, strict=True)]
        )
    decisions = decide(tree, calibration, table, [each.min_probability for each in options])
    network = decisions if table is raw else decide(tree, calibration, raw)
    leaves = tree.all_leaves
    max_count = max((each.top_k for each in options), default=0)
    ranking = np.argsort(-table, axis=1, kind="stable")[:, :max_count] if max_count else np.empty((len(table), 0), int)
    columns = (decisions.leaves.tolist(), decisions.probabilities.tolist(), decisions.depths.tolist())
    predictions = []
    for row, (each, leaf, probabilities, depth) in enumerate(zip(options, *columns, strict=True)):
        predictions.append(
            Prediction(
                level=LEVELS[depth],
                label=leaves[leaf],
                probabilities=_triple(probabilities),
                candidates=tuple((leaves[i], float(table[row, i])) for i in ranking[row, : each.top_k]),
                evidence=NETWORK if each.prior is None else f"{NETWORK}+{each.prior.name}",
                network=None
                if each.prior is None
                else (leaves[network.leaves[row]], _triple(network.probabilities[row].tolist())),
                leaf_probabilities=raw[row] if each.leaf_probabilities else None,
            )
        )
    return predictions


def _triple(values: list[float]) -> tuple[float, float, float]:
    constructor, family, model = values
    return constructor, family, model


def decide(
    tree: LabelTree,
    calibration: Calibration,
    table: Array,
    min_probabilities: Sequence[float | None] | float | None = None,
) -> Decisions:
    """Choose the predicted leaf and the confidence level of n photos.

    Args:
        tree: Label tree of the network.
        calibration: Its decode rule and thresholds.
        table: Probabilities [n, leaves] of all leaves.
        min_probabilities: Minimum probability of every level, 0 to 1, instead of the thresholds: one for all photos or
            one for each. None keeps the thresholds.
    """
    groups = tree.leaf_groups
    rows = np.arange(len(table))
    of_constructors = np.add.reduceat(table, groups.first_of_constructors, axis=1)
    of_families = np.add.reduceat(table, groups.first_of_families, axis=1)
    eligible = table
    if calibration.decode_rule is DecodeRule.GREEDY:
        eligible = np.where(groups.constructors == of_constructors.argmax(axis=1)[:, None], table, -1.0)
    best = eligible.argmax(axis=1)
    exists = groups.has_level[best]
    probabilities = np.zeros((len(table), 3), table.dtype)
    probabilities[:, 0] = np.minimum(1.0, of_constructors[rows, groups.constructors[best]])
    probabilities[:, 1] = np.minimum(1.0, of_families[rows, groups.families[best]])
    probabilities[:, 2] = table[rows, best]
    probabilities *= exists
    thresholds = _thresholds(calibration.thresholds, min_probabilities)
    confident = np.logical_and.accumulate(exists & (probabilities >= thresholds), axis=1)
    return Decisions(best, probabilities, confident.sum(axis=1))


def _thresholds(thresholds: Thresholds, min_probabilities: Sequence[float | None] | float | None) -> Array:
    """Return the minimum probability per level: [3] or [n, 3]."""
    default = [thresholds.constructor, thresholds.family, thresholds.model]
    if min_probabilities is None or isinstance(min_probabilities, int | float):
        return np.array(default if min_probabilities is None else [float(min_probabilities)] * 3)
    return np.array([default if minimum is None else [minimum] * 3 for minimum in min_probabilities]).reshape(-1, 3)
