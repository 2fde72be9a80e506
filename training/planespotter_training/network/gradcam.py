"""Where the network looked: Grad-CAM (Selvaraju et al. 2017) at the last convolution.

Export writes it into the bundle as a function of the same weights (see
planespotter_models/engines/explainer.py), so that what a report shows
is what a server shows. Where a bundle has no such function, parts of the photo are covered, and the heat is how much
less likely that makes the answer: slower and coarser, but with the very network that is served.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray
from PIL import Image

from planespotter_models import CONSTRUCTOR_HEAD, Bundle, Engine, LabelTree
from planespotter_models.engines.explainer import HeatMapExplainer
from planespotter_models.preprocess import PADDING
from planespotter_training.evaluation.scoring import number
from planespotter_training.network.model import Classifier

LAST = "block5_conv3"

# The cover's steps across the longer side.
STEPS = 8


def heat(
    model: Bundle, engine: Engine, photos: NDArray[np.uint8], leaves: NDArray[np.int64]
) -> tuple[NDArray[np.floating], str]:
    """Return where the network looked when it answered photos [n, height, width, 3] with `leaves` [n], and how we know.

    The first is float [n, rows, columns] from 0 to 1, the second "grad-cam" or "occlusion".
    """
    if model.heat_map is None:
        return _occlusion(model, engine, photos, leaves), "occlusion"
    explainer, labels = HeatMapExplainer(model), model.tree.all_leaves
    heats = [explainer.run(photo, labels[leaf]) for photo, leaf in zip(photos, leaves, strict=True)]
    return np.stack(heats) / 255, "grad-cam"


def grad_cam(network: Classifier, tree: LabelTree, photos: jax.Array, leaves: jax.Array) -> jax.Array:
    """Return where `network` looks in uint8 photos [n, height, width, 3] for the leaves int [n] of `tree`.

    Float [n, rows, columns]: 1 where most in the photo speaks for the leaf, 0 where nothing does. The network is
    changed; give it one that nothing else uses. Its batch normalisation is folded.
    """
    conv = network.trunk.layers[LAST]
    tapped: dict[str, Any] = {}

    class Tap(nnx.Module):
        """The last convolution, whose output can be read, and moved by what the gradient is taken of."""

        def __call__(self, x: jax.Array) -> jax.Array:
            maps: jax.Array = conv(x)
            maps = maps + tapped["move"].astype(maps.dtype)
            tapped["maps"] = maps
            return maps

    network.trunk.layers[LAST] = Tap()
    network.mirror = False  # the mean of the photo and its mirror image has no one place to look at

    def answered(move: jax.Array) -> tuple[jax.Array, jax.Array]:
        tapped["move"] = move
        outputs = network(photos)
        paths = [
            outputs[CONSTRUCTOR_HEAD][:, index : index + 1] + outputs[constructor]
            for index, constructor in enumerate(tree.constructors)
        ]
        asked = jax.nn.one_hot(leaves, len(tree.all_leaves))
        return (jnp.concatenate(paths, axis=1) * asked).sum(), jax.nn.relu(tapped["maps"])

    shape = jax.eval_shape(answered, jnp.zeros(()))[1].shape
    gradients, maps = jax.grad(answered, has_aux=True)(jnp.zeros(shape))
    importance = gradients.mean(axis=(1, 2), keepdims=True)
    heats = jax.nn.relu((importance * maps).sum(axis=-1)).astype(jnp.float32)
    return heats / jnp.maximum(heats.max(axis=(1, 2), keepdims=True), 1e-9)


def _occlusion(
    model: Bundle, engine: Engine, photos: NDArray[np.uint8], leaves: NDArray[np.int64]
) -> NDArray[np.floating]:
    step = max(1, max(model.height, model.width) // STEPS)
    rows, columns = -(-model.height // step), -(-model.width // step)
    heats = np.zeros((len(photos), rows, columns))
    before = _answered(model, engine.run(photos), leaves)
    for row in range(rows):
        for column in range(columns):
            covered = photos.copy()
            covered[:, row * step : (row + 1) * step, column * step : (column + 1) * step] = PADDING
            heats[:, row, column] = np.maximum(0, before - _answered(model, engine.run(covered), leaves))
    return _scaled(heats)


def _places(model: Bundle, leaves: NDArray[np.int64]) -> list[tuple[int, str, int]]:
    """Return the entries of the network's outputs that the answers are made of: (photo, head, class)."""
    nodes = number(model.tree)
    places = []
    for row, leaf in enumerate(leaves):
        label = nodes.leaves[leaf]
        places.append((row, CONSTRUCTOR_HEAD, model.tree.constructors.index(label.constructor)))
        places.append((row, label.constructor, model.tree.leaves[label.constructor].index(label)))
    return places


def _answered(model: Bundle, outputs: Any, leaves: NDArray[np.int64]) -> NDArray[np.floating]:
    total = np.zeros(len(leaves))
    for row, head, column in _places(model, leaves):
        total[row] += outputs[head][row, column]
    return total


def _scaled(heats: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(heats / np.maximum(heats.max(axis=(1, 2), keepdims=True), 1e-9))


def overlay(heat: NDArray[np.floating], height: int, width: int) -> Image.Image:
    """Return a picture of `heat` [rows, columns] to lay over the photo: from nothing at all to a glowing orange."""
    smooth = Image.fromarray((heat * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    strength = np.asarray(smooth, np.float32) / 255
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[..., 0] = 255
    rgba[..., 1] = (230 * strength).astype(np.uint8)
    rgba[..., 3] = (190 * strength**1.5).astype(np.uint8)
    return Image.fromarray(rgba)
