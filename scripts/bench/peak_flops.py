"""Peak throughput of the processor: matrix products in float32 and int8."""

from collections.abc import Callable

import numpy as np

SIDE = 1536
OPERATIONS = 2.0 * SIDE**3
"""Multiplications and additions per product."""


def float32_product() -> Callable[[], object]:
    """Return a function that multiplies two float32 matrices with NumPy, on all cores."""
    random = np.random.default_rng(0)
    a, b = (random.random((SIDE, SIDE), np.float32) for _ in range(2))
    return lambda: a @ b


def int8_product() -> Callable[[], object]:
    """Return a function that multiplies two int8 matrices with OpenVINO, on all cores."""
    from planespotter_models.engines.openvino_import import openvino as ov
    from planespotter_models.engines.openvino_import import opset15 as op

    random = np.random.default_rng(0)
    parameter = op.parameter([SIDE, SIDE], np.uint8, name="a")
    bounds = [op.constant(np.float32(bound)) for bound in (0, 255)]
    a = op.fake_quantize(op.convert(parameter, "f32"), *bounds, *bounds, 256)
    int8_constant = op.constant(random.integers(-127, 128, (SIDE, SIDE), np.int8))
    b = op.multiply(op.convert(int8_constant, "f32"), op.constant(np.float32(1 / 127)))
    network = ov.Model([op.result(op.matmul(a, b, False, False))], [parameter], "product")
    compiled = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    matrix = random.integers(0, 256, (SIDE, SIDE), np.uint8)
    return lambda: compiled({0: matrix}, share_inputs=True)
