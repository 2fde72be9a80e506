"""Calibration: fit temperatures and choose confidence thresholds on validation photos.

Target precision: of the predictions whose confidence level is exactly constructor, family or model, at least this share
is correct. It holds for each of these groups separately, and so also for all predictions that are confident of a
constructor, or of a family. The photos that do not reach the deeper level are harder: one threshold for all photos
together would let them be wrong far more often.

The precision of a few photos says little about the next ones, and a threshold is picked because it looked good. So one
standard error is subtracted, as the lower end of Wilson's interval with z = 1: without a mistake, 19 photos are enough
for 95 %. In simulations with 500 to 2,000 validation photos, two thirds or more of the thresholds then reached the
target on new photos of the same kind, and the others missed it by a point or two.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from planespotter_models import CONSTRUCTOR_HEAD, Calibration, Label, LabelTree, Thresholds, decode_prediction
from planespotter_training.evaluation.confidence_intervals import wilson

TARGET_PRECISION = 0.95
"""Share of the predictions at each confidence level that must be correct."""

MIN_PHOTOS = 20
"""A head with fewer labelled photos keeps temperature 1."""

NEVER = 1.01
"""A threshold that no probability reaches."""

MIN_THRESHOLD = 0.5
"""A level that is less likely than not is never confident, even if all validation photos were correct."""


def calibrate(
    tree: LabelTree,
    outputs: Mapping[str, NDArray[np.floating]],
    labels: Sequence[Label],
    constructor_weights: NDArray[np.floating],
    target_precision: float = TARGET_PRECISION,
    *,
    at_every_level: bool = False,
) -> Calibration:
    """Fit temperatures and thresholds.

    Each head's temperature minimises the negative log-likelihood of the labels that it decides. Each level's threshold
    is the lowest that reaches the target precision at exactly that confidence level.

    Args:
        tree: Label tree of the network.
        outputs: Log-probabilities [n, classes] per head.
        labels: Ground truth of each photo.
        constructor_weights: Weight [n] of each photo for the constructor, as in training.
        target_precision: Share from 0 to 1.
        at_every_level: Whether the weights apply to the type heads and deeper thresholds, too; otherwise each photo
            counts as 1 there.

    Returns:
        The calibration, with the default decode rule.
    """
    clipped = [tree.clip(label) for label in labels]
    temperatures = {CONSTRUCTOR_HEAD: 1.0, **dict.fromkeys(tree.constructors, 1.0)}
    # The classes of the constructor head; "" is the `other` output.
    classes = [*tree.constructors, *([""] if tree.other else [])]
    weighted = [i for i, label in enumerate(clipped) if label.constructor in classes and constructor_weights[i]]
    if weighted:
        masks = np.array([[name == clipped[i].constructor for name in classes] for i in weighted])
        temperatures[CONSTRUCTOR_HEAD] = _temperature(
            outputs[CONSTRUCTOR_HEAD][weighted], masks, constructor_weights[weighted]
        )
    for constructor, leaves in tree.leaves.items():
        of_constructor = [i for i, label in enumerate(clipped) if label.constructor == constructor and label.family]
        if of_constructor and len(leaves) > 1:
            masks = np.zeros((len(of_constructor), len(leaves)), bool)
            for row, i in enumerate(of_constructor):
                masks[row, list(tree.leaves_below(clipped[i]))] = True
            weights = constructor_weights[of_constructor] if at_every_level else np.ones(len(of_constructor))
            temperatures[constructor] = _temperature(outputs[constructor][of_constructor], masks, weights)
    deeper_weights = constructor_weights if at_every_level else np.ones(len(labels))
    thresholds = _thresholds(
        tree, temperatures, outputs, labels, (constructor_weights, deeper_weights), target_precision
    )
    return Calibration(temperatures, thresholds)


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
    weights_of_levels: tuple[NDArray[np.floating], NDArray[np.floating]],
    target_precision: float,
) -> Thresholds:
    """Choose the thresholds; `weights_of_levels` are those of photos [n] at the constructor level, and below it."""
    # With all thresholds at 0, every prediction is confident down to its leaf.
    predictions = decode_prediction(tree, Calibration(temperatures, Thresholds(0, 0, 0)), outputs)
    known = np.array([label.constructor in tree.constructors for label in labels], bool)
    # A network that has learnt what is outside the tree answers for it: a confident prediction there is a mistake.
    outside = ~known & tree.other & np.array([bool(label.constructor) for label in labels], bool)
    thresholds = {"model": NEVER, "family": NEVER, "constructor": NEVER}
    deeper = np.zeros(len(labels), bool)  # confident below the current level
    for depth, level in ((2, "model"), (1, "family"), (0, "constructor")):
        probabilities = np.array(
            [prediction.probabilities[depth] if prediction.label[depth] else 0.0 for prediction in predictions]
        )
        correct = np.array(
            [a.label[: depth + 1] == b[: depth + 1] for a, b in zip(predictions, labels, strict=True)], bool
        )
        named = known & np.array([bool(label[depth]) for label in labels], bool)
        scored = (named | outside) & (probabilities > 0)
        weights = np.where(scored, weights_of_levels[depth > 0], 0.0)
        thresholds[level] = _threshold(probabilities, correct, weights, deeper, target_precision)
        deeper = probabilities >= thresholds[level]
    return Thresholds(**thresholds)


def _threshold(
    probabilities: NDArray[np.floating],
    correct: NDArray[np.bool_],
    weights: NDArray[np.floating],
    deeper: NDArray[np.bool_],
    target_precision: float,
) -> float:
    """Return the lowest threshold at which the predictions of exactly this level reach the target precision, or NEVER.

    `deeper` marks the photos whose confidence level is deeper if they pass here. Where too few others are left to
    measure, they are measured together with the deeper ones.
    """
    order = np.argsort(-probabilities, kind="stable")

    def lower_bounds(mask: NDArray[np.bool_]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return lower bounds of the precision, and of a perfect one, of the first k photos in `mask`, for all k."""
        weight = np.where(mask, weights, 0.0)[order]
        total, squares = np.cumsum(weight), np.cumsum(weight**2)
        share = np.cumsum(weight * correct[order]) / np.maximum(total, 1e-9)
        photos = total**2 / np.maximum(squares, 1e-9)  # Kish's effective sample size
        return (
            np.array([wilson(min(s, 1.0), n, z=1.0)[0] if n else 0.0 for s, n in zip(share, photos, strict=True)]),
            np.array([wilson(1.0, n, z=1.0)[0] if n else 0.0 for n in photos]),
        )

    here, here_if_perfect = lower_bounds(~deeper)
    together, _ = lower_bounds(np.ones(len(order), bool))
    reached = (here >= target_precision) | ((here_if_perfect < target_precision) & (together >= target_precision))
    last_of_equals = np.diff(probabilities[order], append=-np.inf) != 0  # equal probabilities pass together
    passing = np.flatnonzero(reached & last_of_equals)
    return max(MIN_THRESHOLD, float(probabilities[order[passing[-1]]])) if len(passing) else NEVER
