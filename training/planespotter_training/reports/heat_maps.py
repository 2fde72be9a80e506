"""Heat maps of an evaluation: Grad-CAM from the bundle, or occlusion where it has no Grad-CAM function.

Occlusion covers parts of the photo; the heat is how much less likely that makes the prediction. It is slower and
coarser, but needs only the network that is served.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from planespotter_models import CONSTRUCTOR_HEAD, Bundle, Engine
from planespotter_models.engines.explainer import HeatMapExplainer
from planespotter_models.preprocess import PADDING
from planespotter_training.evaluation.scoring import number_nodes

STEPS = 8
"""Positions of the cover along the longer side."""


def heat_maps(
    model: Bundle, engine: Engine, photos: NDArray[np.uint8], leaves: NDArray[np.int64]
) -> tuple[NDArray[np.floating], str]:
    """Compute a heat map for each photo.

    Args:
        model: The bundle.
        engine: An engine of the bundle, for occlusion.
        photos: uint8 RGB [n, height, width, 3].
        leaves: The predicted leaf of each photo, int [n].

    Returns:
        Float [n, rows, columns] from 0 to 1, and the method: "grad-cam" or "occlusion".
    """
    if model.heat_map is None:
        return _occlusion(model, engine, photos, leaves), "occlusion"
    explainer, labels = HeatMapExplainer(model), model.tree.all_leaves
    maps = [explainer.run(photo, labels[leaf]) for photo, leaf in zip(photos, leaves, strict=True)]
    return np.stack(maps) / 255, "grad-cam"


def overlay(heat_map: NDArray[np.floating], height: int, width: int) -> Image.Image:
    """Render a heat map [rows, columns] as an RGBA image over the photo: from transparent to orange."""
    smooth = Image.fromarray((heat_map * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    strength = np.asarray(smooth, np.float32) / 255
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[..., 0] = 255
    rgba[..., 1] = (230 * strength).astype(np.uint8)
    rgba[..., 3] = (190 * strength**1.5).astype(np.uint8)
    return Image.fromarray(rgba)


def _occlusion(
    model: Bundle, engine: Engine, photos: NDArray[np.uint8], leaves: NDArray[np.int64]
) -> NDArray[np.floating]:
    step = max(1, max(model.height, model.width) // STEPS)
    rows, columns = -(-model.height // step), -(-model.width // step)
    maps = np.zeros((len(photos), rows, columns))
    uncovered = _log_probabilities(model, engine.run(photos), leaves)
    for row in range(rows):
        for column in range(columns):
            covered = photos.copy()
            covered[:, row * step : (row + 1) * step, column * step : (column + 1) * step] = PADDING
            drop = uncovered - _log_probabilities(model, engine.run(covered), leaves)
            maps[:, row, column] = np.maximum(0, drop)
    return np.asarray(maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-9))


def _log_probabilities(model: Bundle, outputs: Any, leaves: NDArray[np.int64]) -> NDArray[np.floating]:
    """Return the log-probability [n] of the path to each photo's leaf."""
    nodes, total = number_nodes(model.tree), np.zeros(len(leaves))
    for row, leaf in enumerate(leaves):
        label = nodes.leaves[leaf]
        total[row] += outputs[CONSTRUCTOR_HEAD][row, model.tree.constructors.index(label.constructor)]
        total[row] += outputs[label.constructor][row, model.tree.leaves[label.constructor].index(label)]
    return total
