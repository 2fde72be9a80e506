"""Network: VGG16 at any width and input size, with and without folded batch normalisation."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from planespotter_models.architecture import SQUARE_ROOT_EPSILON
from planespotter_training.network.model import REDUCED_CHANNELS, Classifier, NetworkConfig, flops, fold_norms

pytestmark = pytest.mark.slow

HEADS = {"constructor": 2, "Airbus": 5, "Boeing": 3}


def build(multiplier: float, *, batch_norm: bool = False, **settings: Any) -> Classifier:
    return Classifier(HEADS, NetworkConfig(multiplier, batch_norm, **settings))


def photos(n: int, height: int, width: int) -> jax.Array:
    return jax.random.randint(jax.random.key(1), (n, height, width, 3), 0, 256).astype(np.uint8)


def test_at_full_width_the_convolutions_are_those_of_vgg16() -> None:
    trunk = nnx.eval_shape(lambda: build(1)).trunk
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(trunk, nnx.Param))) == 14_714_688
    shapes = {name: layer.kernel.shape for name, layer in trunk.layers.items()}
    assert len(shapes) == 13
    assert shapes["block1_conv1"] == (3, 3, 3, 64)
    assert shapes["block5_conv3"] == (3, 3, 512, 512)


@pytest.mark.parametrize(("multiplier", "height", "width"), [(1 / 16, 32, 32), (3 / 32, 40, 100)])
def test_every_head_returns_log_probabilities_at_any_size(multiplier: float, height: int, width: int) -> None:
    outputs = build(multiplier)(photos(2, height, width))
    assert {head: output.shape for head, output in outputs.items()} == {h: (2, n) for h, n in HEADS.items()}
    for output in outputs.values():
        np.testing.assert_allclose(np.exp(output).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [("bgr-mean", (104 - 103.939, 117 - 116.779, 124 - 123.68)), ("rgb-255", (124 / 255, 117 / 255, 104 / 255))],
)
def test_the_input_is_preprocessed_as_the_recipe_says(preprocessing: str, expected: tuple[float, ...]) -> None:
    network = build(1 / 16, preprocessing=preprocessing)
    inputs: list[jax.Array] = []
    first = network.trunk.layers["block1_conv1"]

    class Spy(nnx.Module):
        def __call__(self, x: jax.Array) -> jax.Array:
            inputs.append(x)
            return first(x)

    network.trunk.layers["block1_conv1"] = Spy()
    network(np.full((1, 32, 32, 3), (124, 117, 104), np.uint8))  # type: ignore[arg-type]
    np.testing.assert_allclose(inputs[0][0, 0, 0], expected, atol=1e-4)


def test_folding_batch_normalisation_does_not_change_predictions() -> None:
    network = build(1 / 16, batch_norm=True)
    for step in range(3):  # so that the running statistics are not the initial ones
        network(photos(8, 32, 48) // (step + 1), dropout_key=jax.random.key(step))
    unfolded = network(photos(4, 32, 48))
    fold_norms(network)
    folded = network(photos(4, 32, 48))
    assert not network.trunk.norms
    for head in HEADS:
        np.testing.assert_allclose(folded[head], unfolded[head], atol=1e-4)


def test_dropout_is_active_in_training_only() -> None:
    network = build(1 / 16, dropout=0.5)
    batch = photos(2, 32, 48)
    inference = [network(batch)["Airbus"] for _ in range(2)]
    training = [network(batch, dropout_key=jax.random.key(key))["Airbus"] for key in range(2)]
    np.testing.assert_array_equal(inference[0], inference[1])
    assert not np.array_equal(training[0], training[1])


def test_max_pooling_in_training_has_the_same_values_and_gradients() -> None:
    graph, weights, rest = nnx.split(build(1 / 16), nnx.Param, ...)  # type: ignore[misc]
    batch = photos(2, 40, 100)  # 40 and 100 leave odd numbers on the way down

    def total(weights: Any, *, training: bool) -> Any:
        return nnx.merge(graph, weights, rest).trunk.maps(batch, training=training).sum()

    fast, plain = (jax.value_and_grad(total)(weights, training=training) for training in (True, False))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max()), fast, plain)


@pytest.mark.parametrize(("pooling", "features"), [("average", 32), ("average+max", 64), ("flatten", 32 * 2 * 3)])
def test_feature_maps_are_pooled_as_the_recipe_says(pooling: str, features: int) -> None:
    network = build(1 / 16, pooling=pooling, size=(64, 100))
    batch = photos(2, 64, 100)
    pooled = np.asarray(network.features(batch))
    assert pooled.shape == (2, features)
    maps = np.asarray(network.trunk.maps(batch))
    assert maps.shape == (2, 2, 3, 32)
    expected = {
        "average": maps.mean(axis=(1, 2)),
        "average+max": np.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=1),
        "flatten": maps.reshape(2, -1),
    }
    np.testing.assert_allclose(pooled, expected[pooling], rtol=1e-5)


def test_covariance_pooling_is_the_square_root_of_the_covariance_of_reduced_maps_next_to_their_average() -> None:
    network = build(1 / 16, pooling="covariance")
    batch = photos(2, 64, 100)
    maps = np.asarray(network.trunk.maps(batch))
    assert maps.shape == (2, 4, 6, 32)  # before the last max pooling
    assert network.reduction is not None
    reduced = (maps @ np.asarray(network.reduction.kernel[...])).reshape(2, 24, REDUCED_CHANNELS)
    pairs = np.stack([np.cov(photo.T, bias=True)[np.triu_indices(REDUCED_CHANNELS)] for photo in reduced])
    roots = np.sign(pairs) * np.abs(pairs) / np.sqrt(np.abs(pairs) + SQUARE_ROOT_EPSILON)

    def unit(x: np.ndarray) -> Any:
        return x / np.sqrt((x**2).mean(axis=1, keepdims=True))

    expected = np.concatenate([unit(maps.mean(axis=(1, 2))), unit(roots)], axis=1)
    np.testing.assert_allclose(network.features(batch), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("train_from", ["block1_conv2", "block4_conv1", "block4_conv2", "heads"])
@pytest.mark.parametrize("pooling", ["average", "covariance"])
def test_the_frozen_and_the_trained_part_together_are_the_network(train_from: str, pooling: str) -> None:
    network = build(1 / 16, train_from=train_from, pooling=pooling)
    batch = photos(2, 64, 100)
    features = network.features_after(network.trunk.frozen_part(batch))
    np.testing.assert_array_equal(features, network.features(batch))


def test_flip_tta_averages_the_probabilities_of_a_photo_and_its_flip() -> None:
    plain, averaging = (build(1 / 16, flip_tta=flip_tta) for flip_tta in (False, True))
    batch = photos(2, 32, 48)
    photo, flip = plain(batch), plain(batch[:, :, ::-1])
    mean, of_flip = averaging(batch), averaging(batch[:, :, ::-1])
    for head in HEADS:
        np.testing.assert_allclose(np.exp(mean[head]), (np.exp(photo[head]) + np.exp(flip[head])) / 2, rtol=1e-4)
        np.testing.assert_allclose(of_flip[head], mean[head], rtol=1e-4)
        assert not np.allclose(photo[head], flip[head], rtol=1e-3)


@pytest.mark.parametrize("joint", [False, True])
def test_the_baseline_head_changes_no_other_head_and_trains_the_features_only_if_joint(joint: bool) -> None:
    batch = photos(2, 32, 48)
    network = build(1 / 32, hidden_units=4, baseline_classes=8, joint_baseline=joint)
    without = build(1 / 32, hidden_units=4)
    for head in HEADS:
        np.testing.assert_array_equal(network(batch)[head], without(batch)[head])
    graph, weights = nnx.split(network)

    @jax.jit
    @jax.grad
    def gradient(weights: nnx.State) -> jax.Array:  # type: ignore[type-arg]
        merged = nnx.merge(graph, weights)
        return merged.flat(merged.features(batch))[:, 0].sum()

    gradients = nnx.to_pure_dict(gradient(weights))
    assert np.abs(gradients["baseline_head"]["kernel"]).max() > 0
    assert bool(np.abs(gradients["trunk"]["layers"]["block5_conv3"]["kernel"]).max() > 0) is joint


def test_frozen_layers_get_no_gradient_and_keep_their_statistics() -> None:
    network = build(1 / 32, batch_norm=True, train_from="block3_conv1")
    graph, weights, statistics = nnx.split(network, nnx.Param, ...)  # type: ignore[misc]

    @jax.jit
    def gradient(weights: nnx.State) -> object:  # type: ignore[type-arg]
        def loss(weights: nnx.State) -> tuple[jax.Array, object]:  # type: ignore[type-arg]
            merged = nnx.merge(graph, weights, statistics, copy=True)
            output = merged(photos(4, 32, 48), dropout_key=jax.random.key(0))["Airbus"][:, 0].sum()
            return output, nnx.split(merged, nnx.Param, ...)[2]  # type: ignore[misc]

        return jax.grad(loss, has_aux=True)(weights)

    gradients, after = map(nnx.to_pure_dict, gradient(weights))
    initial = nnx.to_pure_dict(statistics)
    for name, layer in gradients["trunk"]["layers"].items():
        is_trained = name >= "block3"
        assert bool(np.abs(layer["kernel"]).max() > 0) is is_trained
        norms = initial["trunk"]["norms"][name]["mean"], after["trunk"]["norms"][name]["mean"]
        assert bool((norms[0] != norms[1]).any()) is is_trained


def test_the_flops_of_vgg16_at_224_pixels_are_those_of_the_literature() -> None:
    network = nnx.eval_shape(lambda: build(1))
    inference, training = flops(network, 224, 224)
    assert inference == pytest.approx(2 * 15.35e9, rel=0.01)
    assert inference * 2.9 < training < inference * 3  # three times, but for the input of the first layer
    frozen = nnx.eval_shape(lambda: build(1, train_from="heads"))
    assert flops(frozen, 224, 224) == (inference, inference)
    assert flops(frozen, 224, 224, frozen_kept=True) == (inference, 0)
