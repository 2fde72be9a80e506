"""Optimizer: layer rules, frozen layers, layer-wise learning rates and schedules."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from planespotter_training import recipes
from planespotter_training.loop import optimizer
from planespotter_training.network.model import Classifier, NetworkConfig
from planespotter_training.recipes.config import LAYERS, OPTIMIZERS

HEADS = {"constructor": 2, "De Havilland 1.0": 3}


@pytest.fixture(scope="module")
def weights() -> Any:
    return nnx.state(
        Classifier(HEADS, NetworkConfig(1 / 32, batch_norm=True, hidden_units=3, baseline_classes=4)), nnx.Param
    )


def by_layer(weights: Any, values: Any) -> dict[str, set[float]]:
    values_of: dict[str, set[float]] = {}
    for layer, value in zip(jax.tree.leaves(optimizer.layers_of(weights)), jax.tree.leaves(values), strict=True):
        values_of.setdefault(layer, set()).update(np.unique(np.round(value, 6)).tolist())
    return values_of


def test_every_weight_matches_exactly_one_rule(weights: Any) -> None:
    layers = jax.tree.leaves(optimizer.layers_of(weights))
    assert set(layers) == {*LAYERS, "heads"}
    assert all(layers.count(layer) == 4 for layer in LAYERS)  # kernel and bias, scale and shift
    assert layers.count("heads") == 2 * 4  # the two heads, the dense layer and the baseline head


def test_a_weight_without_a_rule_is_an_error(weights: Any) -> None:
    with pytest.raises(ValueError, match=r"the weight neck\.kernel must match one rule .* matches \[\]"):
        optimizer.layers_of({"neck": {"kernel": jnp.zeros(2)}})


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_layers_before_train_from_are_frozen(weights: Any, kind: str) -> None:
    changes = ["train_from=block3_conv1", f"optimizer={kind}", "weight_decay=0.5", "schedule=constant"]
    recipe = recipes.load("small", changes)
    transform = optimizer.optimizer(recipe, optimizer.schedule(recipe, 0, 10), weights)
    gradients = jax.tree.map(jnp.ones_like, weights)
    updates, _ = jax.jit(transform.update)(gradients, transform.init(weights), weights)
    frozen = {layer for layer, values in by_layer(weights, updates).items() if values == {0.0}}
    assert frozen == {layer for layer in LAYERS if layer < "block3"}


@pytest.mark.parametrize(("start", "frozen"), [("block1_conv1", ()), ("block3_conv1", LAYERS[:4]), ("heads", LAYERS)])
def test_frozen_weights_are_those_before_train_from(weights: Any, start: str, frozen: tuple[str, ...]) -> None:
    layers = jax.tree.leaves(optimizer.layers_of(weights))
    are_frozen = jax.tree.leaves(optimizer.frozen_weights(recipes.load("small", [f"train_from={start}"]), weights))
    assert are_frozen == [layer in frozen for layer in layers]


@pytest.mark.slow
def test_earlier_blocks_have_lower_learning_rates_and_are_unfrozen_later(weights: Any) -> None:
    recipe = recipes.load("small", ["layer_decay=0.5", "unfreeze_epochs=2"])
    scale = optimizer.update_scale(recipe, 10, weights)
    ones = jax.tree.map(jnp.ones_like, weights)
    at_first = by_layer(weights, scale(ones, 19))
    assert at_first.pop("heads") == {1.0}
    assert set.union(*at_first.values()) == {0.0}
    two_blocks = by_layer(weights, scale(ones, 40))
    assert two_blocks["block5_conv1"] == {0.5}
    assert two_blocks["block4_conv3"] == {0.25}
    assert two_blocks["block3_conv3"] == {0.0}
    assert by_layer(weights, scale(ones, 100))["block1_conv1"] == {0.03125}


def test_updates_are_not_scaled_by_default(weights: Any) -> None:
    assert optimizer.update_scale(recipes.load("small"), 10, weights)(weights, 0) is weights


def test_the_learning_rate_warms_up_and_then_follows_its_schedule() -> None:
    cosine = optimizer.schedule(recipes.load("small", ["learning_rate=1"]), 10, 100)
    assert [float(cosine(step)) for step in (0, 5, 10, 100)] == pytest.approx([0, 0.5, 1, 0])
    constant = optimizer.schedule(recipes.load("small", ["learning_rate=1", "schedule=constant"]), 10, 100)
    assert [float(constant(step)) for step in (0, 5, 10, 100)] == pytest.approx([0, 0.5, 1, 1])
    no_warmup = optimizer.schedule(recipes.load("scratch"), 0, 100)
    assert [float(no_warmup(step)) for step in (0, 99)] == pytest.approx([2e-5, 2e-5])


def test_rmsprop_is_that_of_keras() -> None:
    recipe = recipes.load("scratch", ["learning_rate=0.1"])
    weight = {"heads": {"a": {"kernel": jnp.array([1.0, -2.0])}}}
    transform = optimizer.optimizer(recipe, optimizer.schedule(recipe, 0, 10), weight)
    state, mean = transform.init(weight), np.zeros(2)
    value = np.array([1.0, -2.0])
    for gradient in (np.array([0.5, 1.0]), np.array([-0.25, 2.0])):
        updates, state = transform.update({"heads": {"a": {"kernel": jnp.asarray(gradient)}}}, state, weight)
        weight = optax.apply_updates(weight, updates)
        mean = 0.9 * mean + 0.1 * gradient**2
        value = value - 0.1 * gradient / np.sqrt(mean + 1e-7)
    np.testing.assert_allclose(weight["heads"]["a"]["kernel"], value, rtol=1e-5)
