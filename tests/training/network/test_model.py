"""The network: VGG16 at any width and size, and the same after its normalisation was folded away."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from planespotter_training.network.model import Classifier, flops, fold_norms

pytestmark = pytest.mark.slow

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


def test_in_training_the_maxima_of_the_trunk_and_their_gradients_are_the_same() -> None:
    graph, weights, rest = nnx.split(build(1 / 16), nnx.Param, ...)  # type: ignore[misc]
    batch = photos(2, 40, 100)  # 40 and 100 leave odd numbers on the way down

    def total(weights: Any, *, training: bool) -> Any:
        return nnx.merge(graph, weights, rest).trunk.maps(batch, training=training).sum()

    one, other = (jax.value_and_grad(total)(weights, training=training) for training in (True, False))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max()), one, other)


@pytest.mark.parametrize(("pooling", "features"), [("average", 32), ("average+max", 64), ("flatten", 32 * 2 * 3)])
def test_the_picture_is_pooled_as_the_recipe_says(pooling: str, features: int) -> None:
    network = Classifier({"constructor": 2}, width=1 / 16, norm=False, pooling=pooling, size=(64, 100))
    batch = photos(2, 64, 100)
    found = np.asarray(network.features(batch))
    assert found.shape == (2, features)
    maps = np.asarray(network.trunk.maps(batch))
    assert maps.shape == (2, 2, 3, 32)
    expected = {
        "average": maps.mean(axis=(1, 2)),
        "average+max": np.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=1),
        "flatten": maps.reshape(2, -1),
    }
    np.testing.assert_allclose(found, expected[pooling], rtol=1e-5)


def test_with_the_mirror_a_photo_and_its_mirror_image_get_one_answer_the_mean_of_both() -> None:
    plain, mirrored = (Classifier(HEADS, width=1 / 16, norm=False, mirror=mirror) for mirror in (False, True))
    batch = photos(2, 32, 48)
    one, other = plain(batch), plain(batch[:, :, ::-1])
    found, again = mirrored(batch), mirrored(batch[:, :, ::-1])
    for head in HEADS:
        np.testing.assert_allclose(np.exp(found[head]), (np.exp(one[head]) + np.exp(other[head])) / 2, rtol=1e-4)
        np.testing.assert_allclose(again[head], found[head], rtol=1e-4)
        assert not np.allclose(one[head], other[head], rtol=1e-3)


@pytest.mark.parametrize("joint", [False, True])
def test_the_control_changes_no_head_and_trains_the_features_only_if_asked_to(joint: bool) -> None:
    batch = photos(2, 32, 48)
    network = Classifier(HEADS, width=1 / 32, norm=False, hidden=4, control=8, control_trains_trunk=joint)
    without = Classifier(HEADS, width=1 / 32, norm=False, hidden=4)
    for head in HEADS:
        np.testing.assert_array_equal(network(batch)[head], without(batch)[head])
    graph, weights = nnx.split(network)

    @jax.jit
    @jax.grad
    def gradient(weights: nnx.State) -> jax.Array:  # type: ignore[type-arg]
        merged = nnx.merge(graph, weights)
        return merged.flat(merged.features(batch))[:, 0].sum()

    found = nnx.to_pure_dict(gradient(weights))
    assert np.abs(found["control"]["kernel"]).max() > 0
    assert bool(np.abs(found["trunk"]["layers"]["block5_conv3"]["kernel"]).max() > 0) is joint


def test_what_is_frozen_gets_no_gradient_and_keeps_its_statistics() -> None:
    network = Classifier(HEADS, width=1 / 32, norm=True, train_from="block3_conv1")
    graph, weights, statistics = nnx.split(network, nnx.Param, ...)  # type: ignore[misc]

    @jax.jit
    def gradient(weights: nnx.State) -> object:  # type: ignore[type-arg]
        def loss(weights: nnx.State) -> tuple[jax.Array, object]:  # type: ignore[type-arg]
            merged = nnx.merge(graph, weights, statistics, copy=True)
            output = merged(photos(4, 32, 48), dropout_key=jax.random.key(0))["Airbus"][:, 0].sum()
            return output, nnx.split(merged, nnx.Param, ...)[2]  # type: ignore[misc]

        return jax.grad(loss, has_aux=True)(weights)

    gradients, after = map(nnx.to_pure_dict, gradient(weights))
    before = nnx.to_pure_dict(statistics)
    for name, layer in gradients["trunk"]["layers"].items():
        learns = name >= "block3"
        assert bool(np.abs(layer["kernel"]).max() > 0) is learns
        norms = before["trunk"]["norms"][name]["mean"], after["trunk"]["norms"][name]["mean"]
        assert bool((norms[0] != norms[1]).any()) is learns


def test_a_photo_of_224_pixels_costs_vgg16_what_is_known_of_it() -> None:
    network = nnx.eval_shape(lambda: build(1))
    answering, training = flops(network, 224, 224)
    assert answering == pytest.approx(2 * 15.35e9, rel=0.01)
    assert answering * 2.9 < training < answering * 3  # three times, but for what is before the first layer
    assert flops(nnx.eval_shape(lambda: Classifier(HEADS, width=1, norm=False, train_from="heads")), 224, 224) == (
        answering,
        answering,
    )
