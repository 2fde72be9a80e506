"""The optimiser: every weight belongs to one layer, and learns as fast as the recipe says."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from planespotter_training import recipes
from planespotter_training.loop import optimizer
from planespotter_training.network.model import Classifier
from planespotter_training.recipes.config import LAYERS, OPTIMISERS

HEADS = {"constructor": 2, "De Havilland 1.0": 3}


@pytest.fixture(scope="module")
def weights() -> Any:
    return nnx.state(Classifier(HEADS, width=1 / 32, norm=True, hidden=3, control=4), nnx.Param)


def by_layer(weights: Any, values: Any) -> dict[str, set[float]]:
    found: dict[str, set[float]] = {}
    for layer, value in zip(jax.tree.leaves(optimizer.layers_of(weights)), jax.tree.leaves(values), strict=True):
        found.setdefault(layer, set()).update(np.unique(np.round(value, 6)).tolist())
    return found


def test_every_weight_matches_exactly_one_rule(weights: Any) -> None:
    layers = jax.tree.leaves(optimizer.layers_of(weights))
    assert set(layers) == {*LAYERS, "heads"}
    assert all(layers.count(layer) == 4 for layer in LAYERS)  # kernel and bias, scale and shift
    assert layers.count("heads") == 2 * 4  # the two heads, the dense layer and the control


def test_a_weight_that_no_rule_knows_is_an_error(weights: Any) -> None:
    with pytest.raises(ValueError, match=r"the weight neck\.kernel must match one rule .* matches \[\]"):
        optimizer.layers_of({"neck": {"kernel": jnp.zeros(2)}})


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPTIMISERS)
def test_what_lies_before_the_first_layer_that_is_trained_does_not_move(weights: Any, kind: str) -> None:
    changes = ["train_from=block3_conv1", f"optimiser={kind}", "weight_decay=0.5", "schedule=constant"]
    recipe = recipes.load("small", changes)
    optimiser = optimizer.optimiser(recipe, optimizer.schedule(recipe, 0, 10), weights)
    gradients = jax.tree.map(jnp.ones_like, weights)
    updates, _ = jax.jit(optimiser.update)(gradients, optimiser.init(weights), weights)
    still = {layer for layer, values in by_layer(weights, updates).items() if values == {0.0}}
    assert still == {layer for layer in LAYERS if layer < "block3"}


@pytest.mark.slow
def test_earlier_blocks_learn_more_slowly_and_later(weights: Any) -> None:
    recipe = recipes.load("small", ["layer_decay=0.5", "unfreeze_epochs=2"])
    shares = optimizer.shares(recipe, 10, weights)
    ones = jax.tree.map(jnp.ones_like, weights)
    at_first = by_layer(weights, shares(ones, 19))
    assert at_first.pop("heads") == {1.0}
    assert set.union(*at_first.values()) == {0.0}
    two_blocks = by_layer(weights, shares(ones, 40))
    assert two_blocks["block5_conv1"] == {0.5}
    assert two_blocks["block4_conv3"] == {0.25}
    assert two_blocks["block3_conv3"] == {0.0}
    assert by_layer(weights, shares(ones, 100))["block1_conv1"] == {0.03125}


def test_a_recipe_without_such_settings_leaves_updates_as_they_are(weights: Any) -> None:
    assert optimizer.shares(recipes.load("small"), 10, weights)(weights, 0) is weights


def test_the_learning_rate_rises_and_then_follows_its_schedule() -> None:
    cosine = optimizer.schedule(recipes.load("small", ["learning_rate=1"]), 10, 100)
    assert [float(cosine(step)) for step in (0, 5, 10, 100)] == pytest.approx([0, 0.5, 1, 0])
    constant = optimizer.schedule(recipes.load("small", ["learning_rate=1", "schedule=constant"]), 10, 100)
    assert [float(constant(step)) for step in (0, 5, 10, 100)] == pytest.approx([0, 0.5, 1, 1])
    at_once = optimizer.schedule(recipes.load("scratch"), 0, 100)
    assert [float(at_once(step)) for step in (0, 99)] == pytest.approx([2e-5, 2e-5])


def test_rmsprop_takes_the_steps_of_keras() -> None:
    recipe = recipes.load("scratch", ["learning_rate=0.1"])
    weight = {"heads": {"a": {"kernel": jnp.array([1.0, -2.0])}}}
    optimiser = optimizer.optimiser(recipe, optimizer.schedule(recipe, 0, 10), weight)
    state, mean = optimiser.init(weight), np.zeros(2)
    value = np.array([1.0, -2.0])
    for gradient in (np.array([0.5, 1.0]), np.array([-0.25, 2.0])):
        updates, state = optimiser.update({"heads": {"a": {"kernel": jnp.asarray(gradient)}}}, state, weight)
        weight = optax.apply_updates(weight, updates)
        mean = 0.9 * mean + 0.1 * gradient**2
        value = value - 0.1 * gradient / np.sqrt(mean + 1e-7)
    np.testing.assert_allclose(weight["heads"]["a"]["kernel"], value, rtol=1e-5)
