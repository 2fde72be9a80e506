"""OpenVINO graph: rebuild the network of a bundle from its weights, in float32 or for int8 inference.

For int8 inference the output of each convolution is fake-quantized to 256 levels between 0 and its activation range,
and each kernel to 255 levels with one scale per output channel, exactly as `weight_quantization` stores them; OpenVINO
then multiplies int8 values. The input of the first convolution is quantized too; everything after the trunk stays in
float32, as it is small.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planespotter_models.architecture import (
    BGR_MEAN,
    RMS_EPSILON,
    SQUARE_ROOT_EPSILON,
    Architecture,
    Int8Calibration,
)
from planespotter_models.engines.openvino_import import openvino as ov
from planespotter_models.engines.openvino_import import opset15 as op
from planespotter_models.weight_quantization import SCALE_SUFFIX, quantize

LEVELS = 256


def build_graph(
    architecture: Architecture,
    weights: Mapping[str, NDArray[Any]],
    heads: Sequence[str],
    height: int,
    width: int,
    *,
    int8: Int8Calibration | None = None,
    extra_outputs: Sequence[str] = (),
) -> ov.Model:
    """Build the network: uint8 photos [n, height, width, 3] to log-probabilities float32 [n, classes] by head.

    Args:
        architecture: What the weights do not show.
        weights: Arrays by name, in float32 or float16.
        heads: Names of the heads, in the order of the outputs.
        height: Height of the input in pixels.
        width: Width of the input in pixels.
        int8: Activation ranges for int8 inference; None for float32.
        extra_outputs: Convolutions whose output after ReLU [n, channels, rows, columns] becomes an output, too.

    Raises:
        KeyError: A weight or an activation range is missing.
        ValueError: The weights do not fit each other.
    """
    photos = op.parameter([-1, height, width, 3], np.uint8, name="photos")
    x = op.convert(photos, "f32")
    # The kernels expect BGR: reverse the input channels of the first kernel instead of every photo.
    x = op.subtract(x, op.constant(np.array(BGR_MEAN[::-1], np.float32).reshape(1, 1, 1, 3)))
    x = op.transpose(x, op.constant([0, 3, 1, 2]))
    if architecture.flip_tta:
        right_to_left = op.constant(np.arange(width)[::-1].copy())
        x = op.concat([x, op.gather(x, right_to_left, op.constant(3))], axis=0)
    if int8 is not None:
        x = _fake_quantize(x, -max(BGR_MEAN), 255 - min(BGR_MEAN))
    activations = {}
    names = convolution_names(weights)
    for name, following in zip(names, [*names[1:], ""], strict=True):
        kernel = np.asarray(weights[f"trunk.layers.{name}.kernel"], np.float32)
        if name == names[0]:
            kernel = kernel[:, :, ::-1]
        x = op.convolution(x, _kernel(kernel, int8=int8 is not None), [1, 1], [1, 1], [1, 1], [1, 1])
        x = op.relu(op.add(x, op.constant(_vector(weights[f"trunk.layers.{name}.bias"]).reshape(1, -1, 1, 1))))
        if name in extra_outputs:
            activations[name] = x
        if int8 is not None and following:
            x = _fake_quantize(x, 0.0, int8.activation_ranges[name])
        ends_block = following.partition("_")[0] != name.partition("_")[0]
        if ends_block and (following or architecture.pooling != "covariance"):
            x = op.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    outputs = _log_probabilities(_pool(x, architecture.pooling, weights), weights, heads)
    if architecture.flip_tta:
        outputs = {head: _average_with_flip(output) for head, output in outputs.items()}
    results = []
    for name, node in {**outputs, **activations}.items():
        result = op.result(node)
        result.get_output_tensor(0).set_names({name})
        results.append(result)
    return ov.Model(results, [photos], "planespotter")


def convolution_names(weights: Mapping[str, Any]) -> list[str]:
    """Return the names of the trunk's convolutions in order: block1_conv1, ..."""
    prefix, suffix = "trunk.layers.", ".kernel"
    return sorted(
        name.removeprefix(prefix).removesuffix(suffix)
        for name in weights
        if name.startswith(prefix) and name.endswith(suffix)
    )


def _pool(maps: Any, pooling: str, weights: Mapping[str, NDArray[Any]]) -> Any:
    axes = op.constant([2, 3])
    if pooling == "covariance":
        return op.concat([_unit_rms(op.reduce_mean(maps, axes)), _unit_rms(_covariances(maps, weights))], axis=1)
    if pooling == "average":
        return op.reduce_mean(maps, axes)
    if pooling == "average+max":
        return op.concat([op.reduce_mean(maps, axes), op.reduce_max(maps, axes)], axis=1)
    rows_first = op.transpose(maps, op.constant([0, 2, 3, 1]))  # the order in which the dense layer was trained
    return op.reshape(rows_first, op.constant([0, -1]), special_zero=True)


def _covariances(maps: Any, weights: Mapping[str, NDArray[Any]]) -> Any:
    """Return signed square roots of the covariances [n, pairs] of reduced maps, from [n, channels, rows, columns]."""
    kernel = np.asarray(weights["reduction.kernel"], np.float32)
    channels = kernel.shape[1]
    _, _, rows, columns = maps.get_output_partial_shape(0)
    positions = op.reshape(maps, op.constant([0, 0, -1]), special_zero=True)
    reduced = op.matmul(op.constant(np.ascontiguousarray(kernel.T)), positions, False, False)
    centered = op.subtract(reduced, op.reduce_mean(reduced, op.constant([2]), keep_dims=True))
    products = op.matmul(centered, centered, False, True)
    covariances = op.multiply(products, op.constant(np.float32(1 / (rows.get_length() * columns.get_length()))))
    upper = np.ravel_multi_index(np.triu_indices(channels), (channels, channels))
    pairs = op.gather(
        op.reshape(covariances, op.constant([0, -1]), special_zero=True), op.constant(upper), op.constant(1)
    )
    epsilon = op.constant(np.float32(SQUARE_ROOT_EPSILON))
    return op.divide(pairs, op.sqrt(op.add(op.abs(pairs), epsilon)))


def _unit_rms(x: Any) -> Any:
    mean_square = op.reduce_mean(op.multiply(x, x), op.constant([1]), keep_dims=True)
    return op.divide(x, op.sqrt(op.add(mean_square, op.constant(np.float32(RMS_EPSILON)))))


def _log_probabilities(features: Any, weights: Mapping[str, NDArray[Any]], heads: Sequence[str]) -> dict[str, Any]:
    if "hidden.kernel" in weights:
        features = op.relu(_dense(features, weights, "hidden"))
    return {head: op.log_softmax(_dense(features, weights, f"heads.{head}"), 1) for head in heads}


def _dense(x: Any, weights: Mapping[str, NDArray[Any]], name: str) -> Any:
    kernel = op.constant(np.ascontiguousarray(weights[f"{name}.kernel"], np.float32))
    return op.add(op.matmul(x, kernel, False, False), op.constant(_vector(weights[f"{name}.bias"]).reshape(1, -1)))


def _average_with_flip(output: Any) -> Any:
    """Average the probabilities of n photos and their flips, given log-probabilities [2n, classes], photos first."""
    a, b = op.split(output, op.constant(0), 2).outputs()
    maximum = op.maximum(a, b)
    total = op.add(op.exp(op.subtract(a, maximum)), op.exp(op.subtract(b, maximum)))
    return op.add(maximum, op.log(op.multiply(total, op.constant(np.float32(0.5)))))


def _fake_quantize(x: Any, low: float, high: float) -> Any:
    bounds = [op.constant(np.float32(bound)) for bound in (low, high)]
    return op.fake_quantize(x, *bounds, *bounds, LEVELS)


def _kernel(kernel: NDArray[np.float32], *, int8: bool) -> Any:
    """Return a kernel [rows, columns, inputs, outputs] as a constant [outputs, inputs, rows, columns]."""
    if not int8:
        return op.constant(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    quantized = quantize({"kernel": kernel})
    values = op.constant(np.ascontiguousarray(quantized["kernel"].transpose(3, 2, 0, 1)))
    scale = op.constant(quantized["kernel" + SCALE_SUFFIX].reshape(-1, 1, 1, 1))
    return op.multiply(op.convert(values, "f32"), scale)


def _vector(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)
