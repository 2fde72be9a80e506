"""The loss of photos that are labelled only part of the way, against a sum over all leaves by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from planespotter_models import Label, LabelTree
from planespotter_training.network.loss import as_chain, leaf_mask, node_loss

TREE = LabelTree({"Airbus": {"A320": ["A320-200", "A320neo"], "A380": []}, "Boeing": {"737": ["737-700", "737-800"]}})
NODES = [
    Label("Airbus"),
    Label("Airbus", "A320"),
    Label("Airbus", "A320", "A320neo"),
    Label("Airbus", "A380"),
    Label("Boeing"),
    Label("Boeing", "737"),
    Label("Boeing", "737", "737-800"),
]


def random_outputs(n: int, seed: int = 0) -> dict[str, jax.Array]:
    keys = jax.random.split(jax.random.key(seed), len(TREE.heads))
    return {
        head: jax.nn.log_softmax(3 * jax.random.normal(key, (n, classes)))
        for key, (head, classes) in zip(keys, TREE.heads.items(), strict=True)
    }


def by_hand(outputs: dict[str, jax.Array], row: int, node: Label, *, given_constructor: bool) -> float:
    """Add up p(constructor) · p(leaf | constructor) over every leaf on whose path the node lies."""
    total = 0.0
    for index, constructor in enumerate(TREE.constructors):
        p_constructor = 1.0 if given_constructor else float(np.exp(outputs["constructor"][row, index]))
        for number, leaf in enumerate(TREE.leaves[constructor]):
            if all(mine in ("", theirs) for mine, theirs in zip(node, leaf, strict=True)):
                total += p_constructor * float(np.exp(outputs[constructor][row, number]))
    return -float(np.log(total))


@pytest.mark.slow
@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_it_is_minus_log_of_the_probability_of_the_node(weight: float) -> None:
    outputs = random_outputs(len(NODES))
    masks = jnp.asarray(np.stack([leaf_mask(TREE, node) for node in NODES]))
    found = node_loss(TREE, outputs, masks, jnp.full(len(NODES), weight))
    expected = [by_hand(outputs, row, node, given_constructor=weight == 0) for row, node in enumerate(NODES)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_photo_known_only_by_its_constructor_does_not_move_the_model_heads() -> None:
    outputs = {head: jnp.zeros((1, classes)) for head, classes in TREE.heads.items()}
    masks = jnp.asarray(leaf_mask(TREE, Label("Airbus")))[None]

    def loss(logits: dict[str, jax.Array]) -> jax.Array:
        heads = {head: jax.nn.log_softmax(array) for head, array in logits.items()}
        return node_loss(TREE, heads, masks, jnp.ones(1)).sum()

    gradients = jax.grad(loss)(outputs)
    assert np.abs(gradients["constructor"]).max() > 0.01
    assert np.abs(gradients["Airbus"]).max() < 1e-6
    assert np.abs(gradients["Boeing"]).max() == 0


@pytest.mark.slow
def test_a_photo_of_a_source_with_one_constructor_does_not_move_the_constructor_head() -> None:
    outputs = {head: jnp.full((1, classes), -np.log(classes)) for head, classes in TREE.heads.items()}
    masks = jnp.asarray(leaf_mask(TREE, Label("Boeing", "737", "737-800")))[None]
    gradients = jax.grad(lambda heads: node_loss(TREE, heads, masks, jnp.zeros(1)).sum())(outputs)
    assert np.abs(gradients["constructor"]).max() == 0
    assert np.abs(gradients["Boeing"]).max() > 0.01


@pytest.mark.slow
def test_smoothing_asks_the_heads_that_a_photo_teaches_for_equal_probabilities() -> None:
    outputs = random_outputs(len(NODES))
    masks = jnp.asarray(np.stack([leaf_mask(TREE, node) for node in NODES]))
    weights = jnp.linspace(0.5, 1, len(NODES))
    plain, smooth = (np.asarray(node_loss(TREE, outputs, masks, weights, smoothing=share)) for share in (0.0, 0.1))
    for row, node in enumerate(NODES):
        uniform = -float(outputs["constructor"][row].mean()) * float(weights[row])
        if node.family and node != Label("Boeing", "737"):  # which says no more than Boeing in this tree
            uniform -= float(outputs[node.constructor][row].mean())
        assert smooth[row] == pytest.approx(0.9 * plain[row] + 0.1 * uniform, rel=1e-5)


def test_a_flat_softmax_as_a_chain_gives_every_leaf_its_probability() -> None:
    flat = jax.nn.log_softmax(3 * jax.random.normal(jax.random.key(4), (6, 5)))
    chain = as_chain(TREE, flat)
    assert {head: output.shape for head, output in chain.items()} == {h: (6, n) for h, n in TREE.heads.items()}
    for output in chain.values():
        np.testing.assert_allclose(np.exp(output).sum(axis=1), 1, rtol=1e-5)
    joint = [chain["constructor"][:, i : i + 1] + chain[name] for i, name in enumerate(TREE.constructors)]
    np.testing.assert_allclose(np.concatenate(joint, axis=1), flat, rtol=1e-5)
