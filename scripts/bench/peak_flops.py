"""What the processor can do at best: matrix products in float32 and in 8 bits."""

from collections.abc import Callable

import numpy as np

SIDE = 1536
OPERATIONS = 2.0 * SIDE**3


def float32_product() -> Callable[[], object]:
    """Return a product of two matrices as NumPy does it, on all cores."""
    random = np.random.default_rng(0)
    a, b = (random.random((SIDE, SIDE), np.float32) for _ in range(2))
    return lambda: a @ b


def int8_product() -> Callable[[], object]:
    """Return a product of two matrices of 8 bits as OpenVINO does it, on all cores."""
    from planespotter_models.engines.openvino_import import openvino as ov
    from planespotter_models.engines.openvino_import import opset15 as op

    random = np.random.default_rng(0)
    given = op.parameter([SIDE, SIDE], np.uint8, name="a")
    bounds = [op.constant(np.float32(bound)) for bound in (0, 255)]
    a = op.fake_quantize(op.convert(given, "f32"), *bounds, *bounds, 256)
    whole = op.constant(random.integers(-127, 128, (SIDE, SIDE), np.int8))
    b = op.multiply(op.convert(whole, "f32"), op.constant(np.float32(1 / 127)))
    network = ov.Model([op.result(op.matmul(a, b, False, False))], [given], "product")
    compiled = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    photos = random.integers(0, 256, (SIDE, SIDE), np.uint8)
    return lambda: compiled({0: photos}, share_inputs=True)
