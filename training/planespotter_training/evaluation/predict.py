"""Batched prediction of a network in training: all examples in order, each photo once."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from planespotter_training.data.dataset import Examples

BATCH = 64


def predict(
    step: Callable[[NDArray[np.uint8]], Mapping[str, object]],
    examples: Examples,
    inputs: Callable[[NDArray[np.int64]], NDArray[np.uint8]] | None = None,
) -> dict[str, NDArray[np.floating]]:
    """Predict all examples.

    Args:
        step: Takes inputs uint8 [BATCH, ...] and returns an array [BATCH, ...] per head.
        examples: The photos; the last batch is padded with zeros.
        inputs: Returns the inputs of photos by index; None for the photos themselves, uint8 [n, height, width, 3].

    Returns:
        Log-probabilities [n, classes] per head; empty without examples.
    """
    parts: dict[str, list[NDArray[np.floating]]] = {}
    for start in range(0, len(examples), BATCH):
        indices = np.arange(start, min(start + BATCH, len(examples)))
        photos = inputs(indices) if inputs else np.stack([examples.pixels(int(index)) for index in indices])
        padded = np.zeros((BATCH, *photos.shape[1:]), np.uint8)
        padded[: len(photos)] = photos
        for head, output in step(padded).items():
            parts.setdefault(head, []).append(np.asarray(output)[: len(photos)])
    return {head: np.concatenate(outputs) for head, outputs in parts.items()}
