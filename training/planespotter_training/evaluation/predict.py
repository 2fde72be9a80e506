"""Batched prediction of a network in training: all examples in order, each photo once."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from planespotter_training.data.dataset import Examples

BATCH = 64


def predict(
    step: Callable[[NDArray[np.uint8]], Mapping[str, object]], examples: Examples
) -> dict[str, NDArray[np.floating]]:
    """Predict all examples.

    Args:
        step: Takes photos uint8 [BATCH, height, width, 3] and returns an array [BATCH, ...] per head.
        examples: The photos; the last batch is padded with zeros.

    Returns:
        Log-probabilities [n, classes] per head; empty without examples.
    """
    parts: dict[str, list[NDArray[np.floating]]] = {}
    for start in range(0, len(examples), BATCH):
        photos = np.stack([examples.pixels(i) for i in range(start, min(start + BATCH, len(examples)))])
        padded = np.zeros((BATCH, *photos.shape[1:]), np.uint8)
        padded[: len(photos)] = photos
        for head, output in step(padded).items():
            parts.setdefault(head, []).append(np.asarray(output)[: len(photos)])
    return {head: np.concatenate(outputs) for head, outputs in parts.items()}
