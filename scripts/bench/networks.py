"""Networks and photos for benchmarks: random weights, which are as fast as trained ones, and drawings of airliners."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planespotter_models import Architecture, Bundle, Calibration, LabelTree, Thresholds, decode_photo
from planespotter_scraping.sample_site.drawing import draw
from planespotter_scraping.sample_site.photos import collection

TREE = LabelTree({"Airbus": {"A320": [], "A330": []}, "Boeing": {"737": ["737-700", "737-800"]}})


def full_width(side: int = 150) -> Bundle:
    """Return VGG16 in full width with random weights, calibrated for int8 inference; `side` is in pixels."""
    return random_bundle(side, side, 1.0)


def from_recipe(name: str) -> Bundle:
    """Return the network of a recipe with random weights, calibrated for int8 inference."""
    from planespotter_training import recipes

    recipe = recipes.load(name)
    return random_bundle(recipe.height, recipe.width, recipe.channel_multiplier)


def random_bundle(height: int, width: int, channels: float) -> Bundle:
    """Return VGG16 with `channels` times its channels, for photos of `height` by `width` pixels."""
    # Imported here: the worker processes of the load generator import this module, too, and must start fast.
    import jax

    from planespotter_training.export.int8_calibration import calibrate_ranges
    from planespotter_training.export.serialize import as_function, serialize
    from planespotter_training.network.model import Classifier, NetworkConfig

    function, weights = as_function(Classifier(TREE.heads, NetworkConfig(channels, batch_norm=False)))
    bundle = Bundle(
        name="random",
        version="0",
        tree=TREE,
        height=height,
        width=width,
        calibration=Calibration(dict.fromkeys(TREE.heads, 1.0), Thresholds(0.5, 0.5, 0.5)),
        metrics=(),
        training={},
        jax_version=jax.__version__,
        network=serialize(function, weights, height, width),
        weights=weights,
        architecture=Architecture("average", flip_tta=False),
    )
    photos = pixels(bundle, 8)
    return replace(bundle, int8_calibration=calibrate_ranges(bundle, photos.__getitem__, len(photos)))


def operations(model: Bundle) -> float:
    """Return how many multiplications and additions the convolutions need per photo."""
    total = 0.0
    for name, kernel in model.weights.items():
        if name.startswith("trunk.layers.block") and name.endswith(".kernel"):
            halvings = int(name.removeprefix("trunk.layers.block")[0]) - 1
            total += 2.0 * kernel.size * (model.height >> halvings) * (model.width >> halvings)
    return total * (2 if model.architecture is not None and model.architecture.flip_tta else 1)


def drawings(count: int) -> list[bytes]:
    """Return JPEG files of airliners, as drawn by the sample site."""
    return [draw(photo.airliner, photo.livery, photo.photo_id) for photo in collection(count)]


def pixels(model: Bundle, count: int) -> NDArray[np.uint8]:
    """Return drawings as uint8 [count, height, width, 3]."""
    return np.stack([decode_photo(photo, model.height, model.width) for photo in drawings(count)])


def write_photos(folder: Path, photos: Sequence[bytes], suffix: str = "") -> list[Path]:
    """Write each photo to a file in `folder`; return the paths."""
    files = [folder / f"{number}{suffix}.jpg" for number in range(len(photos))]
    for file, photo in zip(files, photos, strict=True):
        file.write_bytes(photo)
    return files
