"""Weight quantization: store kernels as int8 with one scale per output channel, a quarter of the size of float32.

This is about storage. An engine either dequantizes the weights to float32 or, where the bundle has activation ranges,
multiplies them in int8 (see `engines/openvino_graph.py`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALE_SUFFIX = ":scale"
"""The scales of the int8 array `NAME` are stored as `NAME:scale`."""

MIN_CHANNEL_MAX = 127 * np.finfo(np.float32).tiny
"""A channel with no weight above this, about 1.5e-36, is stored as zeros: its scale would be subnormal."""


def quantize(weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Quantize every kernel to int8; keep biases as they are.

    Idempotent: quantizing what `dequantize` returned gives the same int8 values.

    Args:
        weights: Arrays by name. A kernel has shape [..., outputs] and at least two axes.

    Returns:
        Kernels as int8 from -127 to 127, each with its float32 scales [outputs] under `NAME:scale`.
    """
    quantized: dict[str, NDArray[Any]] = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            quantized[name] = weight
            continue
        channel_max = np.abs(weight).max(axis=tuple(range(weight.ndim - 1)))
        scale = np.where(channel_max > MIN_CHANNEL_MAX, channel_max / 127, 1).astype(np.float32)
        quantized[name] = np.round(weight / scale).astype(np.int8)
        quantized[name + SCALE_SUFFIX] = scale
    return quantized


def dequantize(quantized: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Undo `quantize`: multiply int8 kernels by their scales, to float32; return other arrays unchanged.

    Raises:
        ValueError: A kernel and its scales differ in the number of output channels.
    """
    weights: dict[str, NDArray[Any]] = {}
    for name, weight in quantized.items():
        scale = quantized.get(name + SCALE_SUFFIX)
        if scale is not None:
            if scale.shape != weight.shape[-1:]:
                raise ValueError(f"{name} has shape {weight.shape}, but its scales have shape {scale.shape}")
            weight = weight.astype(np.float32) * scale
        if not name.endswith(SCALE_SUFFIX):
            weights[name] = weight
    return weights
