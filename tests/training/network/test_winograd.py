"""Winograd's algorithm: the same convolution with fewer multiplications."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planespotter_models import LabelTree
from planespotter_training.network import winograd
from planespotter_training.network.model import WINOGRAD_CHANNELS, Classifier, NetworkConfig

pytestmark = pytest.mark.slow


def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 11), st.integers(1, 11)),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**16),
)
def test_the_result_is_that_of_a_plain_convolution_at_any_size(
    size: tuple[int, int, int], channels: tuple[int, int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    x = jnp.asarray(random.normal(size=(*size, channels[0])), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(3, 3, *channels)), jnp.float32)
    expected = plain(x, kernel)
    np.testing.assert_allclose(winograd.convolve(x, kernel), expected, atol=3e-5 * max(1, np.abs(expected).max()))


def test_the_gradients_are_those_of_a_plain_convolution() -> None:
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(2, 7, 10, 8)), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(3, 3, 8, 5)), jnp.float32)
    fast, slow = (
        jax.grad(lambda x, kernel, f=function: (f(x, kernel) ** 2).sum(), argnums=(0, 1))(x, kernel)
        for function in (winograd.convolve, plain)
    )
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_a_network_predicts_the_same_with_it() -> None:
    tree = LabelTree({"Airbus": {"A320": [], "A380": []}, "Boeing": {}})
    network = Classifier(tree.heads, NetworkConfig(1, False))
    assert sum(layer.kernel.shape[2] >= WINOGRAD_CHANNELS for layer in network.trunk.layers.values()) == 12
    photos = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8))
    expected = network(photos)
    network.trunk.winograd = True
    for head, output in network(photos).items():
        np.testing.assert_allclose(output, expected[head], rtol=1e-5, atol=1e-5)
