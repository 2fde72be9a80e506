"""The function of a bundle that tells where the network looked."""

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
from planespotter_training.export import export
from planespotter_training.network.model import BLOCKS, Classifier

HEIGHT, WIDTH = 32, 64


@pytest.fixture(scope="module")
def network(tiny_bundle: Path) -> Classifier:
    """A network of random weights for the labels of the tiny bundle."""
    heads = read_bundle(tiny_bundle).tree.heads
    made = Classifier(heads, width=1 / 64, norm=False, seed=3, pooling="flatten", size=(HEIGHT, WIDTH), mirror=True)
    for head in made.heads.values():
        head.kernel[...] = head.kernel[...] * 100  # so that some answers are sure
    return made


@pytest.fixture(scope="module")
def explained(tiny_bundle: Path, network: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same as a bundle, written and read."""
    function, weights = export.as_function(network)
    tiny = read_bundle(tiny_bundle)
    made = replace(
        tiny,
        height=HEIGHT,
        width=WIDTH,
        network=export.serialise(function, weights, HEIGHT, WIDTH),
        weights=weights,
        heat_map=export.serialise_heat(network, tiny.tree, weights, HEIGHT, WIDTH),
    )
    folder = tmp_path_factory.mktemp("explained") / "bundle"
    write_bundle(made, folder)
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


def test_it_is_grad_cam_as_the_paper_has_it(explained: Bundle, network: Classifier) -> None:
    explainer = HeatMapExplainer(explained)
    build, weights = export.by_weights(network)
    given = {name: jnp.asarray(weight) for name, weight in weights.items()}
    photo = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    tree, looked = explained.tree, 0
    for leaf in tree.all_leaves:

        def answered(bias: jax.Array, leaf: Label = leaf) -> jax.Array:
            made = build({**given, "trunk.layers.block5_conv3.bias": bias})
            made.mirror = False
            outputs = made(jnp.asarray(photo[None]))
            column = tree.leaves[leaf.constructor].index(leaf)
            first = outputs["constructor"][0, tree.constructors.index(leaf.constructor)]
            return first + outputs[leaf.constructor][0, column]

        # What moves a channel everywhere at once is its bias: the sum of the gradient over the map.
        importance = jax.grad(answered)(jnp.asarray(weights["trunk.layers.block5_conv3.bias"]))
        heat = np.maximum(np.asarray((last_maps(network, photo) * importance[None, None]).sum(axis=-1)), 0)
        looked += bool(heat.max() > 0)
        np.testing.assert_allclose(explainer.run(photo, leaf), 255 * heat / max(heat.max(), 1e-9), atol=1)
    assert looked > 0


def test_the_map_has_a_cell_for_every_16_pixels(explained: Bundle) -> None:
    photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    heat = HeatMapExplainer(explained).run(photo, explained.tree.all_leaves[0])
    assert heat.dtype == np.uint8
    assert heat.shape == (HEIGHT // 16, WIDTH // 16)


def test_a_bundle_without_it_says_so(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="has no heat map function"):
        HeatMapExplainer(read_bundle(tiny_bundle))


def test_a_function_that_does_not_fit_is_refused(explained: Bundle) -> None:
    with pytest.raises(BundleError, match="does not run under jax"):
        HeatMapExplainer(replace(explained, heat_map=explained.network))
    with pytest.raises(BundleError, match="does not run under jax"):
        HeatMapExplainer(replace(explained, heat_map=b"nothing"))


def test_writing_a_bundle_over_another_leaves_no_function_of_the_other(explained: Bundle, tmp_path: Path) -> None:
    write_bundle(explained, tmp_path / "bundle")
    assert (tmp_path / "bundle" / "heat_map.stablehlo").is_file()
    write_bundle(replace(explained, heat_map=None), tmp_path / "bundle")
    assert not (tmp_path / "bundle" / "heat_map.stablehlo").exists()
    assert read_bundle(tmp_path / "bundle").heat_map is None


def test_a_changed_function_is_refused(explained: Bundle, tmp_path: Path) -> None:
    write_bundle(explained, tmp_path / "bundle")
    (tmp_path / "bundle" / "heat_map.stablehlo").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"heat_map\.stablehlo is damaged or was modified"):
        read_bundle(tmp_path / "bundle")
