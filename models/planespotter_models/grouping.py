"""Grouping: the probabilities of the leaves for several photos of one aircraft, from their summed log-probabilities.

Photos of one aircraft resemble each other, so n of them are worth less than n independent ones. Their sum is divided by
the square root of n: of the exponents tried, it gives the ground truth the highest likelihood on validation and on test
photos of airframes. Without it, groups are right as often, and far too confident.
"""

import numpy as np
from numpy.typing import NDArray

MIN_PROBABILITY = 1e-9
"""Smaller probabilities count as this one, so that a single photo cannot rule a type out."""


def log_evidence(table: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the evidence [..., leaves + 1] of photos with probabilities [..., leaves]: add it up for one aircraft.

    The last value is that of everything outside of the tree.
    """
    outside = 1.0 - table.sum(axis=-1, keepdims=True, dtype=np.float64)
    evidence: NDArray[np.float64] = np.log(np.maximum(np.concatenate([table, outside], axis=-1), MIN_PROBABILITY))
    return evidence


def combine_evidence(evidence: NDArray[np.float64], photos: int) -> NDArray[np.float64]:
    """Return the probabilities [leaves] of one aircraft, given the summed evidence [leaves + 1] of its photos."""
    discounted = evidence / np.sqrt(photos)
    probabilities = np.exp(discounted - discounted.max())
    combined: NDArray[np.float64] = probabilities[:-1] / probabilities.sum()
    return combined
