"""Weight quantization: bounded error, idempotence, and the size and outputs of a quantized bundle."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from planespotter_models import Bundle, Calibration, LabelTree, Thresholds, load_engine, read_bundle, write_bundle
from planespotter_models.weight_quantization import MIN_CHANNEL_MAX, dequantize, quantize
from planespotter_training.export.serialize import as_function, serialize
from planespotter_training.network.model import Classifier, NetworkConfig


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=4, max_side=5), elements=st.floats(-1e3, 1e3, width=32)),
)
@example(np.array([[1e-45]], np.float32))
def test_quantization_error_is_at_most_half_a_step_of_the_channel(weight: np.ndarray) -> None:
    channel_max = np.abs(weight).reshape(-1, weight.shape[-1]).max(axis=0)
    restored = dequantize(quantize({"kernel": weight, "bias": weight.ravel()}))
    assert (np.abs(restored["kernel"] - weight) <= channel_max / 127 * 0.501 + MIN_CHANNEL_MAX).all()
    np.testing.assert_array_equal(restored["bias"], weight.ravel())
    np.testing.assert_allclose(dequantize(quantize(restored))["kernel"], restored["kernel"], rtol=1e-6)


@pytest.mark.slow
def test_quantized_bundle_has_a_quarter_of_the_size_and_nearly_the_same_outputs(tmp_path: Path) -> None:
    network = Classifier({"constructor": 2, "Airbus": 2, "Boeing": 2}, NetworkConfig(1 / 4, batch_norm=False), seed=3)
    for layer in network.heads.values():  # random features would give extreme probabilities
        layer.kernel[...] = layer.kernel[...] / 10
    function, weights = as_function(network)
    tree = LabelTree({"Airbus": {"A320": [], "A380": []}, "Boeing": {"737": [], "747": []}})
    calibration = Calibration(dict.fromkeys(tree.heads, 1.0), Thresholds(0.5, 0.5, 0.5))
    network_file = serialize(function, weights, 32, 48)
    exact = Bundle("a", "1", tree, 32, 48, calibration, (), {}, "", network_file, weights)
    write_bundle(exact, tmp_path / "exact")
    write_bundle(exact, tmp_path / "quantized", quantize_weights=True)
    sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("exact", "quantized")]
    assert sizes[1] < sizes[0] * 0.27
    photos = np.random.default_rng(1).integers(0, 256, (8, 32, 48, 3), np.uint8)
    outputs = [load_engine(read_bundle(tmp_path / name), (8,)).run(photos) for name in ("exact", "quantized")]
    for head in tree.heads:
        difference = np.abs(outputs[0][head] - outputs[1][head])
        assert 0 < difference.max() < 0.1


def test_scales_of_another_size_are_invalid() -> None:
    with pytest.raises(ValueError, match=r"kernel has shape \(2, 3\), but its scales have shape \(2,\)"):
        dequantize({"kernel": np.zeros((2, 3), np.int8), "kernel:scale": np.ones(2, np.float32)})
