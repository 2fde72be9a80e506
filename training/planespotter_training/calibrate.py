"""Choose temperatures and thresholds on validation photos."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from planespotter_training.bundle import CONSTRUCTOR_HEAD, Calibration, Label, LabelTree, Thresholds, answer

# Share of the answers that shall be right at a level that counts as sure.
TARGET = 0.95

# Fewer photos than this say nothing about a head: it keeps temperature 1.
MIN_PHOTOS = 20

NEVER = 1.01
"""A threshold that no probability reaches."""

# What is less likely than not is never sure, even if all validation photos were right.
LEAST = 0.5


def calibrate(
    tree: LabelTree,
    outputs: Mapping[str, NDArray[np.floating]],
    labels: Sequence[Label],
    constructor_weights: NDArray[np.floating],
) -> Calibration:
    """Return the calibration for photos with log-probabilities `outputs` [n, classes] per head and these labels.

    Each head's temperature minimises the negative log-likelihood of the labels that it decides. Each level's threshold
    is the lowest at which TARGET of the answers sure of it are right. For the constructor, photos count by
    `constructor_weights` [n], as in training.
    """
    truths = [tree.clip(label) for label in labels]
    temperatures = {CONSTRUCTOR_HEAD: 1.0, **dict.fromkeys(tree.constructors, 1.0)}
    speaks = [i for i, truth in enumerate(truths) if truth.constructor and constructor_weights[i]]
    if speaks:
        masks = np.array([[name == truths[i].constructor for name in tree.constructors] for i in speaks])
        temperatures[CONSTRUCTOR_HEAD] = _temperature(
            outputs[CONSTRUCTOR_HEAD][speaks], masks, constructor_weights[speaks]
        )
    for constructor, leaves in tree.leaves.items():
        mine = [i for i, truth in enumerate(truths) if truth.constructor == constructor and truth.family]
        if mine and len(leaves) > 1:
            masks = np.zeros((len(mine), len(leaves)), bool)
            for row, i in enumerate(mine):
                masks[row, list(tree.leaves_below(truths[i]))] = True
            temperatures[constructor] = _temperature(outputs[constructor][mine], masks, np.ones(len(mine)))
    return Calibration(temperatures, _thresholds(tree, temperatures, outputs, labels, constructor_weights))


def _temperature(
    log_probabilities: NDArray[np.floating], masks: NDArray[np.bool_], weights: NDArray[np.floating]
) -> float:
    """Return the temperature that gives the classes in `masks` [n, classes] the highest likelihood."""
    if len(masks) < MIN_PHOTOS:
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(log_probabilities / np.exp(log_temperature), axis=1)
        return -float(np.average(logsumexp(np.where(masks, scaled, -np.inf), axis=1), weights=weights))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.1), np.log(10.0)), method="bounded").x))


def _thresholds(
    tree: LabelTree,
    temperatures: Mapping[str, float],
    outputs: Mapping[str, NDArray[np.floating]],
    labels: Sequence[Label],
    constructor_weights: NDArray[np.floating],
) -> Thresholds:
    # With all thresholds at 0, every answer is "sure" down to its leaf.
    answers = answer(tree, Calibration(temperatures, Thresholds(0, 0, 0)), outputs)
    found = {}
    for depth, level in enumerate(("constructor", "family", "model")):
        rows = [
            (one.probabilities[depth], one.label[: depth + 1] == label[: depth + 1], weight if depth == 0 else 1.0)
            for one, label, weight in zip(answers, labels, constructor_weights, strict=True)
            if label.constructor in tree.constructors and label[depth] and one.label[depth]
        ]
        found[level] = _threshold(*np.array(rows, float).reshape(-1, 3).T)
    return Thresholds(**found)


def _threshold(
    probabilities: NDArray[np.floating], right: NDArray[np.floating], weights: NDArray[np.floating]
) -> float:
    """Return the lowest probability at or above which TARGET of the answers are right; NEVER if there is none."""
    order = np.argsort(-probabilities, kind="stable")
    weight = np.cumsum(weights[order])
    accuracy = np.cumsum((weights * right)[order]) / np.maximum(weight, 1e-9)
    # Enough answers must lie above it, or one lucky photo would decide; and equal ones lie above it together.
    last_of_equals = np.diff(probabilities[order], append=-np.inf) != 0
    many = np.arange(1, len(order) + 1) >= MIN_PHOTOS
    enough = np.flatnonzero((accuracy >= TARGET) & many & last_of_equals)
    return max(LEAST, float(probabilities[order[enough[-1]]])) if len(enough) else NEVER
