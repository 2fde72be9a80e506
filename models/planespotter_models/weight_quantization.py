"""Weights in 8 bits: a quarter of the size, with one scale for each output channel."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALE = ":scale"
"""What follows the name of an array of 8 bits in the name of its scales."""

SMALLEST = 127 * np.finfo(np.float32).tiny
"""A channel whose largest weight is not above this, about 1.5e-36, is stored as zeros: its scale would lose digits."""


def pack(weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return `weights` with each kernel [..., outputs] as int8 from -127 to 127 and its scales float32 [outputs].

    Biases stay as they are. To pack what was unpacked changes nothing.
    """
    packed: dict[str, NDArray[Any]] = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            packed[name] = weight
            continue
        largest = np.abs(weight).max(axis=tuple(range(weight.ndim - 1)))
        scale = np.where(largest > SMALLEST, largest / 127, 1).astype(np.float32)
        packed[name] = np.round(weight / scale).astype(np.int8)
        packed[name + SCALE] = scale
    return packed


def unpack(packed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the weights, as float32 where they were packed. Raises ValueError for scales that do not fit."""
    weights: dict[str, NDArray[Any]] = {}
    for name, weight in packed.items():
        scale = packed.get(name + SCALE)
        if scale is not None:
            if scale.shape != weight.shape[-1:]:
                raise ValueError(f"{name} has {weight.shape} weights but {scale.shape} scales")
            weight = weight.astype(np.float32) * scale
        if not name.endswith(SCALE):
            weights[name] = weight
    return weights
