"""Where the network looked: Grad-CAM (Selvaraju et al. 2017) at the last convolution.

A bundle's exported network cannot be differentiated. So the network is built again from the bundle's weights and must
say what the bundle says. Where it does not, parts of the photo are covered, and the heat is how much less likely that
makes the answer: slower and coarser, but with the very network that is served.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from planespotter_training.bundle import CONSTRUCTOR_HEAD, Bundle, Engine
from planespotter_training.bundle.photo import PADDING
from planespotter_training.judge import number

LAST = "block5_conv3"

# The cover's steps across the longer side.
STEPS = 8


def heat(model: Bundle, engine: Engine, photos: NDArray[np.uint8], leaves: NDArray[np.int64]) -> tuple[Any, str]:
    """Return where the network looked when it answered photos [n, height, width, 3] with `leaves` [n], and how we know.

    The first is float [n, rows, columns] from 0 to 1, the second "grad-cam" or "occlusion".
    """
    network = _rebuild(model, engine, photos[:1])
    if network is None:
        return _occlusion(model, engine, photos, leaves), "occlusion"
    return _grad_cam(model, network, photos, leaves), "grad-cam"


def _rebuild(model: Bundle, engine: Engine, photo: NDArray[np.uint8]) -> Any:
    """Return the network of the bundle as Flax has it; None if that does not give what the bundle's engine gives."""
    import jax
    from flax import nnx

    from planespotter_training import checkpoint
    from planespotter_training.network import fold_norms
    from planespotter_training.recipes.recipe import Recipe

    try:
        network = checkpoint.build(Recipe(**model.trained_on["settings"]), model.tree)
        fold_norms(network)
        state = nnx.state(network)
        flat = dict(nnx.to_flat_state(state))
        paths = {".".join(map(str, path)): path for path in flat}
        for name, weight in model.weights.items():
            variable = flat[paths[name]]
            if variable.shape != weight.shape:
                return None
            flat[paths[name]] = variable.replace(weight)
        nnx.update(network, nnx.from_flat_state(list(flat.items())))
        said, expected = jax.jit(lambda photos: network(photos))(photo), engine.run(photo)
        same = all(np.allclose(said[head], expected[head], rtol=1e-3, atol=1e-3) for head in expected)
    except (KeyError, TypeError, ValueError, AttributeError):  # made by another version, or not by training at all
        return None
    return network if same else None


def _grad_cam(
    model: Bundle, network: Any, photos: NDArray[np.uint8], leaves: NDArray[np.int64]
) -> NDArray[np.floating]:
    import jax
    import jax.numpy as jnp
    from flax import nnx

    conv = network.trunk.layers[LAST]
    tapped: dict[str, Any] = {}

    class Tap(nnx.Module):
        """The last convolution, whose output can be read, and moved by what the gradient is taken of."""

        def __call__(self, x: jax.Array) -> jax.Array:
            maps: jax.Array = conv(x) + tapped["move"]
            tapped["maps"] = maps
            return maps

    network.trunk.layers[LAST] = Tap()
    network.mirror = False  # the mean of the photo and its mirror image has no one place to look at
    places = _places(model, leaves)

    def answered(move: jax.Array, photos: jax.Array) -> tuple[jax.Array, jax.Array]:
        tapped["move"] = move
        outputs = network(photos)
        return jnp.stack([outputs[head][row, column] for row, head, column in places]).sum(), jax.nn.relu(
            tapped["maps"]
        )

    shape = jax.eval_shape(answered, jnp.zeros(()), jnp.asarray(photos))[1].shape
    gradients, maps = jax.jit(jax.grad(answered, has_aux=True))(jnp.zeros(shape), jnp.asarray(photos))
    network.trunk.layers[LAST] = conv
    importance = gradients.mean(axis=(1, 2), keepdims=True)
    return _scaled(np.asarray(jax.nn.relu((importance * maps).sum(axis=-1))))


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
