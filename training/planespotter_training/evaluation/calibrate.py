"""Choose temperatures and thresholds on validation photos.

The promise is about answers as they are given: of those that end at a level (the constructor alone, the family, the
model), at least a share of `precision` is right. It holds for each of these groups on its own, so it also holds for all
that names a constructor, or a family, at all. The leftovers of the deeper level are the harder photos: a threshold for
all together would let them be wrong far more often.

The share of a few photos says little about the next ones, and a threshold is picked because it looked good. So the
share counts less one standard error, as the lower end of Wilson's interval with z = 1: without a single mistake, 19
photos are enough for 95 %. In simulations with 500 to 2,000 validation photos, two thirds or more of the thresholds
then kept the promise on new photos of the same kind, and the others missed it by a point or two.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from planespotter_models import CONSTRUCTOR_HEAD, Calibration, Label, LabelTree, Thresholds, decode_prediction
from planespotter_training.evaluation.confidence_intervals import wilson

# Share of the answers that shall be right at the level at which they are given.
PRECISION = 0.95

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
    precision: float = PRECISION,
) -> Calibration:
    """Return the calibration for photos with log-probabilities `outputs` [n, classes] per head and these labels.

    Each head's temperature minimises the negative log-likelihood of the labels that it decides. Each level's threshold
    is the lowest with which `precision` of the answers given at that level are right. For the constructor, photos count
    by `constructor_weights` [n], as in training.
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
    return Calibration(temperatures, _thresholds(tree, temperatures, outputs, labels, constructor_weights, precision))


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
    precision: float,
) -> Thresholds:
    # With all thresholds at 0, every answer is "sure" down to its leaf.
    answers = decode_prediction(tree, Calibration(temperatures, Thresholds(0, 0, 0)), outputs)
    known = np.array([label.constructor in tree.constructors for label in labels], bool)
    found = {"model": NEVER, "family": NEVER, "constructor": NEVER}
    deeper = np.zeros(len(labels), bool)  # answered below the level at hand
    for depth, level in ((2, "model"), (1, "family"), (0, "constructor")):
        probabilities = np.array([one.probabilities[depth] if one.label[depth] else 0.0 for one in answers])
        right = np.array([a.label[: depth + 1] == b[: depth + 1] for a, b in zip(answers, labels, strict=True)], bool)
        judged = known & np.array([bool(label[depth]) for label in labels], bool) & (probabilities > 0)
        weights = np.where(judged, constructor_weights if depth == 0 else 1.0, 0.0)
        found[level] = _threshold(probabilities, right, weights, deeper, precision)
        deeper = probabilities >= found[level]
    return Thresholds(**found)


def _threshold(
    probabilities: NDArray[np.floating],
    right: NDArray[np.bool_],
    weights: NDArray[np.floating],
    deeper: NDArray[np.bool_],
    precision: float,
) -> float:
    """Return the lowest threshold with which the answers given at this level keep the promise; NEVER if there is none.

    `deeper` says which photos are answered below this level if they pass here: they are not given at it. Where too few
    are left to speak for themselves, they are judged together with the deeper ones.
    """
    order = np.argsort(-probabilities, kind="stable")

    def lowest_share(of: NDArray[np.bool_]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return the lower end of the share that is right, and of the best share, for the first k photos among `of`."""
        weight = np.where(of, weights, 0.0)[order]
        total, squares = np.cumsum(weight), np.cumsum(weight**2)
        share = np.cumsum(weight * right[order]) / np.maximum(total, 1e-9)
        photos = total**2 / np.maximum(squares, 1e-9)  # Kish's effective number of weighted photos
        return (
            np.array([wilson(min(s, 1.0), n, z=1.0)[0] if n else 0.0 for s, n in zip(share, photos, strict=True)]),
            np.array([wilson(1.0, n, z=1.0)[0] if n else 0.0 for n in photos]),
        )

    here, here_at_best = lowest_share(~deeper)
    together, _ = lowest_share(np.ones(len(order), bool))
    kept = (here >= precision) | ((here_at_best < precision) & (together >= precision))
    last_of_equals = np.diff(probabilities[order], append=-np.inf) != 0  # equal ones lie above it together
    enough = np.flatnonzero(kept & last_of_equals)
    return max(LEAST, float(probabilities[order[enough[-1]]])) if len(enough) else NEVER
