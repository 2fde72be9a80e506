"""Build the network of a bundle for OpenVINO, in float32 or in 8 bits, from its weights and what it says of itself.

In 8 bits, what comes out of each convolution is rounded to 256 steps between 0 and its range, and each kernel to 255
steps with one scale for each output channel, just as `eight_bits` stores them; the convolutions multiply these whole
numbers. The first one takes the pixels less the mean colour, and what follows the trunk stays in float32: it is small.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planespotter_models.architecture import BGR_MEAN, Int8, Layers
from planespotter_models.engines.openvino_import import openvino as ov
from planespotter_models.engines.openvino_import import opset15 as op
from planespotter_models.weight_quantization import SCALE, pack

LEVELS = 256


def build(
    layers: Layers,
    weights: Mapping[str, NDArray[Any]],
    heads: Sequence[str],
    height: int,
    width: int,
    *,
    int8: Int8 | None = None,
    show: Sequence[str] = (),
) -> ov.Model:
    """Return the network: uint8 photos [n, height, width, 3] to log-probabilities float32 [n, classes] of each head.

    With `int8`, it computes in 8 bits with these ranges. `show` names convolutions whose output, after ReLU,
    [n, channels, rows, columns], shall come out too. Raises KeyError or ValueError for weights that make no network.
    """
    photos = op.parameter([-1, height, width, 3], np.uint8, name="photos")
    x = op.convert(photos, "f32")
    # Blue, green, red is what the kernels expect: the first one is turned round instead of the picture.
    x = op.subtract(x, op.constant(np.array(BGR_MEAN[::-1], np.float32).reshape(1, 1, 1, 3)))
    x = op.transpose(x, op.constant([0, 3, 1, 2]))
    if layers.mirror:
        right_to_left = op.constant(np.arange(width)[::-1].copy())
        x = op.concat([x, op.gather(x, right_to_left, op.constant(3))], axis=0)
    if int8 is not None:
        x = _round(x, -max(BGR_MEAN), 255 - min(BGR_MEAN))
    shown = {}
    names = convolutions(weights)
    for name, following in zip(names, [*names[1:], ""], strict=True):
        kernel = np.asarray(weights[f"trunk.layers.{name}.kernel"], np.float32)
        if name == names[0]:
            kernel = kernel[:, :, ::-1]
        x = op.convolution(x, _kernel(kernel, int8=int8 is not None), [1, 1], [1, 1], [1, 1], [1, 1])
        x = op.relu(op.add(x, op.constant(_vector(weights[f"trunk.layers.{name}.bias"]).reshape(1, -1, 1, 1))))
        if name in show:
            shown[name] = x
        if int8 is not None and following:
            x = _round(x, 0.0, int8.ranges[name])
        if following.partition("_")[0] != name.partition("_")[0]:
            x = op.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    outputs = _answers(_pooled(x, layers.pooling), weights, heads)
    if layers.mirror:
        outputs = {head: _mean_of_both(output) for head, output in outputs.items()}
    results = []
    for name, node in {**outputs, **shown}.items():
        result = op.result(node)
        result.get_output_tensor(0).set_names({name})
        results.append(result)
    return ov.Model(results, [photos], "planespotter")


def convolutions(weights: Mapping[str, Any]) -> list[str]:
    """Return the names of the trunk's convolutions, in order: block1_conv1, ..."""
    prefix, suffix = "trunk.layers.", ".kernel"
    return sorted(
        name.removeprefix(prefix).removesuffix(suffix)
        for name in weights
        if name.startswith(prefix) and name.endswith(suffix)
    )


def _pooled(maps: Any, pooling: str) -> Any:
    axes = op.constant([2, 3])
    if pooling == "average":
        return op.reduce_mean(maps, axes)
    if pooling == "average+max":
        return op.concat([op.reduce_mean(maps, axes), op.reduce_max(maps, axes)], axis=1)
    rows_first = op.transpose(maps, op.constant([0, 2, 3, 1]))  # as the dense layer was trained
    return op.reshape(rows_first, op.constant([0, -1]), special_zero=True)


def _answers(features: Any, weights: Mapping[str, NDArray[Any]], heads: Sequence[str]) -> dict[str, Any]:
    if "hidden.kernel" in weights:
        features = op.relu(_dense(features, weights, "hidden"))
    return {head: op.log_softmax(_dense(features, weights, f"heads.{head}"), 1) for head in heads}


def _dense(x: Any, weights: Mapping[str, NDArray[Any]], name: str) -> Any:
    kernel = op.constant(np.ascontiguousarray(weights[f"{name}.kernel"], np.float32))
    return op.add(op.matmul(x, kernel, False, False), op.constant(_vector(weights[f"{name}.bias"]).reshape(1, -1)))


def _mean_of_both(output: Any) -> Any:
    """Of the probabilities of the photos and, after them, of their mirror images, return the logarithm of the mean."""
    a, b = op.split(output, op.constant(0), 2).outputs()
    larger = op.maximum(a, b)
    total = op.add(op.exp(op.subtract(a, larger)), op.exp(op.subtract(b, larger)))
    return op.add(larger, op.log(op.multiply(total, op.constant(np.float32(0.5)))))


def _round(x: Any, low: float, high: float) -> Any:
    bounds = [op.constant(np.float32(bound)) for bound in (low, high)]
    return op.fake_quantize(x, *bounds, *bounds, LEVELS)


def _kernel(kernel: NDArray[np.float32], *, int8: bool) -> Any:
    """Return the constant [outputs, inputs, rows, columns] for a kernel [rows, columns, inputs, outputs]."""
    if not int8:
        return op.constant(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    packed = pack({"kernel": kernel})
    whole = op.constant(np.ascontiguousarray(packed["kernel"].transpose(3, 2, 0, 1)))
    scale = op.constant(packed["kernel" + SCALE].reshape(-1, 1, 1, 1))
    return op.multiply(op.convert(whole, "f32"), scale)


def _vector(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)
