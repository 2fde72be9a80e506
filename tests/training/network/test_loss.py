"""Loss of partial labels, compared with an explicit sum over all leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from planespotter_models import Label, LabelTree
from planespotter_training.network.loss import leaf_mask, node_loss, split_flat

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


def expected_loss(outputs: dict[str, jax.Array], row: int, node: Label, *, given_constructor: bool) -> float:
    """Add up p(constructor) · p(leaf | constructor) over every leaf on whose path the node lies."""
    total = 0.0
    for index, constructor in enumerate(TREE.constructors):
        p_constructor = 1.0 if given_constructor else float(np.exp(outputs["constructor"][row, index]))
        for number, leaf in enumerate(TREE.leaves[constructor]):
            if all(name in ("", of_leaf) for name, of_leaf in zip(node, leaf, strict=True)):
                total += p_constructor * float(np.exp(outputs[constructor][row, number]))
    return -float(np.log(total))


@pytest.mark.slow
@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_the_loss_is_the_negative_log_probability_of_the_node(weight: float) -> None:
    outputs = random_outputs(len(NODES))
    masks = jnp.asarray(np.stack([leaf_mask(TREE, node) for node in NODES]))
    losses = node_loss(TREE, outputs, masks, jnp.full(len(NODES), weight))
    expected = [expected_loss(outputs, row, node, given_constructor=weight == 0) for row, node in enumerate(NODES)]
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_photo_labelled_with_a_constructor_only_does_not_train_the_type_heads() -> None:
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
def test_a_photo_with_constructor_weight_0_does_not_train_the_constructor_head() -> None:
    outputs = {head: jnp.full((1, classes), -np.log(classes)) for head, classes in TREE.heads.items()}
    masks = jnp.asarray(leaf_mask(TREE, Label("Boeing", "737", "737-800")))[None]
    gradients = jax.grad(lambda heads: node_loss(TREE, heads, masks, jnp.zeros(1)).sum())(outputs)
    assert np.abs(gradients["constructor"]).max() == 0
    assert np.abs(gradients["Boeing"]).max() > 0.01


@pytest.mark.slow
def test_label_smoothing_applies_to_the_heads_that_a_photo_trains() -> None:
    outputs = random_outputs(len(NODES))
    masks = jnp.asarray(np.stack([leaf_mask(TREE, node) for node in NODES]))
    weights = jnp.linspace(0.5, 1, len(NODES))
    plain, smooth = (np.asarray(node_loss(TREE, outputs, masks, weights, smoothing=share)) for share in (0.0, 0.1))
    for row, node in enumerate(NODES):
        uniform = -float(outputs["constructor"][row].mean()) * float(weights[row])
        if node.family and node != Label("Boeing", "737"):  # all of Boeing in this tree
            uniform -= float(outputs[node.constructor][row].mean())
        assert smooth[row] == pytest.approx(0.9 * plain[row] + 0.1 * uniform, rel=1e-5)


def test_a_flat_softmax_split_into_heads_keeps_the_probability_of_every_leaf() -> None:
    flat = jax.nn.log_softmax(3 * jax.random.normal(jax.random.key(4), (6, 5)))
    heads = split_flat(TREE, flat)
    assert {head: output.shape for head, output in heads.items()} == {h: (6, n) for h, n in TREE.heads.items()}
    for output in heads.values():
        np.testing.assert_allclose(np.exp(output).sum(axis=1), 1, rtol=1e-5)
    joint = [heads["constructor"][:, i : i + 1] + heads[name] for i, name in enumerate(TREE.constructors)]
    np.testing.assert_allclose(np.concatenate(joint, axis=1), flat, rtol=1e-5)
