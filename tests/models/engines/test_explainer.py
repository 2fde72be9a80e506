"""Heat maps: the exported function equals Grad-CAM, and invalid functions are rejected."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from planespotter_models import Bundle, BundleError, Label, read_bundle, write_bundle
from planespotter_models.architecture import BGR_MEAN
from planespotter_models.engines.explainer import HeatMapExplainer
from planespotter_training.export import serialize
from planespotter_training.network.model import BLOCKS, Classifier, NetworkConfig

HEIGHT, WIDTH = 32, 64


@pytest.fixture(scope="module")
def network(tiny_bundle: Path) -> Classifier:
    """A network with random weights and the label tree of the tiny bundle."""
    heads = read_bundle(tiny_bundle).tree.heads
    config = NetworkConfig(1 / 64, batch_norm=False, pooling="flatten", size=(HEIGHT, WIDTH), flip_tta=True)
    classifier = Classifier(heads, config, seed=3)
    for head in classifier.heads.values():
        head.kernel[...] = head.kernel[...] * 100  # some predictions become confident
    return classifier


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, network: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network as a bundle with a heat map function, written and read."""
    function, weights = serialize.as_function(network)
    tiny = read_bundle(tiny_bundle)
    bundle = replace(
        tiny,
        height=HEIGHT,
        width=WIDTH,
        network=serialize.serialize(function, weights, HEIGHT, WIDTH),
        weights=weights,
        heat_map=serialize.serialize_heat_map(network, tiny.tree, weights, HEIGHT, WIDTH),
    )
    folder = tmp_path_factory.mktemp("heat_map") / "bundle"
    write_bundle(bundle, folder)
    return read_bundle(folder)


def last_maps(network: Classifier, photo: Any) -> jax.Array:
    """Return the output of the last convolution, [rows, columns, channels]."""
    x = jnp.asarray(photo[None, ..., ::-1], jnp.float32) - jnp.asarray(BGR_MEAN, jnp.float32).reshape(1, 1, 1, 3)
    for block, widths in enumerate(BLOCKS, start=1):
        for conv in range(1, len(widths) + 1):
            x = nnx.relu(network.trunk.layers[f"block{block}_conv{conv}"](x))
        if block < len(BLOCKS):
            x = nnx.max_pool(x, (2, 2), (2, 2))
    return x[0]


@pytest.mark.slow
def test_heat_map_equals_grad_cam_as_published(bundle: Bundle, network: Classifier) -> None:
    explainer = HeatMapExplainer(bundle)
    build, weights = serialize.by_weights(network)
    arrays = {name: jnp.asarray(weight) for name, weight in weights.items()}
    photo = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    tree, non_zero_maps = bundle.tree, 0
    for leaf in tree.all_leaves:

        def score(bias: jax.Array, leaf: Label = leaf) -> jax.Array:
            classifier = build({**arrays, "trunk.layers.block5_conv3.bias": bias})
            classifier.flip_tta = False
            outputs = classifier(jnp.asarray(photo[None]))
            column = tree.leaves[leaf.constructor].index(leaf)
            first = outputs["constructor"][0, tree.constructors.index(leaf.constructor)]
            return first + outputs[leaf.constructor][0, column]

        # The gradient by a channel's bias is the sum of the gradients over its feature map.
        importance = jax.grad(score)(jnp.asarray(weights["trunk.layers.block5_conv3.bias"]))
        heat = np.maximum(np.asarray((last_maps(network, photo) * importance[None, None]).sum(axis=-1)), 0)
        non_zero_maps += bool(heat.max() > 0)
        np.testing.assert_allclose(explainer.run(photo, leaf), 255 * heat / max(heat.max(), 1e-9), atol=1)
    assert non_zero_maps > 0


def test_heat_map_has_a_cell_per_16_by_16_pixels(bundle: Bundle) -> None:
    photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    heat = HeatMapExplainer(bundle).run(photo, bundle.tree.all_leaves[0])
    assert heat.dtype == np.uint8
    assert heat.shape == (HEIGHT // 16, WIDTH // 16)


def test_bundle_without_a_heat_map_function_is_rejected(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="has no heat map function"):
        HeatMapExplainer(read_bundle(tiny_bundle))


def test_function_with_other_inputs_or_outputs_is_rejected(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="does not run under jax"):
        HeatMapExplainer(replace(bundle, heat_map=bundle.network))
    with pytest.raises(BundleError, match="does not run under jax"):
        HeatMapExplainer(replace(bundle, heat_map=b"nothing"))


def test_replacing_a_bundle_removes_its_heat_map_function(bundle: Bundle, tmp_path: Path) -> None:
    write_bundle(bundle, tmp_path / "bundle")
    assert (tmp_path / "bundle" / "heat_map.stablehlo").is_file()
    write_bundle(replace(bundle, heat_map=None), tmp_path / "bundle")
    assert not (tmp_path / "bundle" / "heat_map.stablehlo").exists()
    assert read_bundle(tmp_path / "bundle").heat_map is None


def test_modified_function_is_rejected(bundle: Bundle, tmp_path: Path) -> None:
    write_bundle(bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "heat_map.stablehlo").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"heat_map\.stablehlo is damaged or was modified"):
        read_bundle(tmp_path / "bundle")
