"""The network: VGG16 at any width and size, and the same after its normalisation was folded away."""

import jax
import numpy as np
import pytest
from flax import nnx

from planespotter_training.network import Classifier, fold_norms

HEADS = {"constructor": 2, "Airbus": 5, "Boeing": 3}


def build(width: float, *, norm: bool = False, dropout: float = 0.0) -> Classifier:
    return Classifier(HEADS, width=width, norm=norm, dropout=dropout)


def photos(n: int, height: int, width: int) -> jax.Array:
    return jax.random.randint(jax.random.key(1), (n, height, width, 3), 0, 256).astype(np.uint8)


def test_at_full_width_the_convolutions_are_those_of_vgg16() -> None:
    trunk = nnx.eval_shape(lambda: build(1)).trunk
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(trunk, nnx.Param))) == 14_714_688
    shapes = {name: layer.kernel.shape for name, layer in trunk.layers.items()}
    assert len(shapes) == 13
    assert shapes["block1_conv1"] == (3, 3, 3, 64)
    assert shapes["block5_conv3"] == (3, 3, 512, 512)


@pytest.mark.parametrize(("width", "height", "across"), [(1 / 16, 32, 32), (3 / 32, 40, 100)])
def test_any_width_and_size_gives_log_probabilities_for_every_head(width: float, height: int, across: int) -> None:
    outputs = build(width)(photos(2, height, across))
    assert {head: output.shape for head, output in outputs.items()} == {h: (2, n) for h, n in HEADS.items()}
    for output in outputs.values():
        np.testing.assert_allclose(np.exp(output).sum(axis=1), 1, rtol=1e-5)


def test_the_network_sees_blue_green_red_less_their_means() -> None:
    network = build(1 / 16)
    seen: list[jax.Array] = []
    first = network.trunk.layers["block1_conv1"]

    class Spy(nnx.Module):
        def __call__(self, x: jax.Array) -> jax.Array:
            seen.append(x)
            return first(x)

    network.trunk.layers["block1_conv1"] = Spy()
    network(np.full((1, 32, 32, 3), (124, 117, 104), np.uint8))  # type: ignore[arg-type]
    np.testing.assert_allclose(seen[0][0, 0, 0], (104 - 103.939, 117 - 116.779, 124 - 123.68), atol=1e-4)


def test_folding_the_normalisation_away_changes_no_answer() -> None:
    network = build(1 / 16, norm=True)
    for step in range(3):  # give the running statistics something to hold
        network(photos(8, 32, 48) // (step + 1), dropout_key=jax.random.key(step))
    before = network(photos(4, 32, 48))
    fold_norms(network)
    after = network(photos(4, 32, 48))
    assert not network.trunk.norms
    for head in HEADS:
        np.testing.assert_allclose(after[head], before[head], atol=1e-4)


def test_dropout_is_on_in_training_only() -> None:
    network = build(1 / 16, dropout=0.5)
    batch = photos(2, 32, 48)
    calm = [network(batch)["Airbus"] for _ in range(2)]
    moved = [network(batch, dropout_key=jax.random.key(key))["Airbus"] for key in range(2)]
    np.testing.assert_array_equal(calm[0], calm[1])
    assert not np.array_equal(moved[0], moved[1])
