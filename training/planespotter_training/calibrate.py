"""Choose temperatures and thresholds on validation photos."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from planespotter_training.bundle import CONSTRUCTOR_HEAD, Calibration, Label, LabelTree, Thresholds, answer
from planespotter_training.metrics import DEPTH

# Share of the answers that shall be right at a level that counts as sure.
TARGET = 0.95

# Fewer photos than this say nothing about a head: it keeps temperature 1.
MIN_PHOTOS = 20

NEVER = 1.01
"""A threshold that no probability reaches."""


def calibrate(
    tree: LabelTree,
    outputs: Mapping[str, NDArray[np.floating]],
    labels: Sequence[Label],
    speaks_for_constructor: NDArray[np.bool_],
) -> Calibration:
    """Return the calibration for photos with log-probabilities `outputs` [n, classes] per head and these labels.

    Each head's temperature minimises the negative log-likelihood of the labels that it decides. Each level's threshold
    is the lowest at which TARGET of the answers sure of it are right. Photos of a source with a single constructor
    do not speak for the constructor.
    """
    truths = [tree.clip(label) for label in labels]
    temperatures = {CONSTRUCTOR_HEAD: 1.0, **dict.fromkeys(tree.constructors, 1.0)}
    speaks = [i for i, truth in enumerate(truths) if truth.constructor and speaks_for_constructor[i]]
    if speaks:
        masks = np.array([[name == truths[i].constructor for name in tree.constructors] for i in speaks])
        temperatures[CONSTRUCTOR_HEAD] = _temperature(outputs[CONSTRUCTOR_HEAD][speaks], masks)
    for constructor, leaves in tree.leaves.items():
        mine = [i for i, truth in enumerate(truths) if truth.constructor == constructor and truth.family]
        if mine and len(leaves) > 1:
            masks = np.zeros((len(mine), len(leaves)), bool)
            for row, i in enumerate(mine):
                masks[row, list(tree.leaves_below(truths[i]))] = True
            temperatures[constructor] = _temperature(outputs[constructor][mine], masks)
    return Calibration(temperatures, _thresholds(tree, temperatures, outputs, truths, speaks_for_constructor))


def _temperature(log_probabilities: NDArray[np.floating], masks: NDArray[np.bool_]) -> float:
    """Return the temperature that gives the classes in `masks` the highest likelihood. Both are [n, classes]."""
    if len(masks) < MIN_PHOTOS:
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(log_probabilities / np.exp(log_temperature), axis=1)
        return -float(np.mean(logsumexp(np.where(masks, scaled, -np.inf), axis=1)))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.1), np.log(10.0)), method="bounded").x))


def _thresholds(
    tree: LabelTree,
    temperatures: Mapping[str, float],
    outputs: Mapping[str, NDArray[np.floating]],
    truths: Sequence[Label],
    speaks_for_constructor: NDArray[np.bool_],
) -> Thresholds:
    # With all thresholds at 0, every answer is "sure" down to its leaf.
    answers = answer(tree, Calibration(temperatures, Thresholds(0, 0, 0)), outputs)
    found = {}
    for depth, level in enumerate(("constructor", "family", "model")):
        rows = [
            (one.probabilities[depth], one.label[: depth + 1] == truth[: depth + 1])
            for one, truth, speaks in zip(answers, truths, speaks_for_constructor, strict=True)
            if truth[depth] and one.label[depth] and DEPTH[one.level] > depth and (speaks or depth > 0)
        ]
        found[level] = _threshold(np.array([p for p, _ in rows]), np.array([right for _, right in rows], bool))
    return Thresholds(**found)


def _threshold(probabilities: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Return the lowest probability at or above which TARGET of the answers are right; NEVER if there is none."""
    order = np.argsort(-probabilities, kind="stable")
    accuracy = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    # Enough answers must lie above it, or one lucky photo would decide.
    enough = np.flatnonzero((accuracy >= TARGET) & (np.arange(1, len(order) + 1) >= MIN_PHOTOS))
    return float(probabilities[order[enough[-1]]]) if len(enough) else NEVER
