"""Weights to begin with: those of VGG16 from ImageNet, or the trunk of an earlier run or bundle.

The ImageNet weights are those of Karen Simonyan and Andrew Zisserman, Visual Geometry Group, University of Oxford,
under the Creative Commons Attribution licence (CC BY 4.0), in the file that Keras made of them. They expect blue,
green, red less the mean of each, which is how the network's trunk takes its photos.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from planespotter_models import read_bundle
from planespotter_models.bundle_format import DESCRIPTION
from planespotter_training import run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.network import checkpoint
from planespotter_training.network.model import Classifier, fold_norms
from planespotter_training.recipes.config import Recipe

FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{FILE}"
MD5 = "6d6bbae143d832006294945121d1f1fc"
SIZE = 58_889_256
CREDIT = "VGG16 ImageNet weights by K. Simonyan and A. Zisserman, Visual Geometry Group, Oxford, CC BY 4.0"

CONVOLUTION = re.compile(r"block\d_conv\d")


@dataclass(frozen=True)
class Start:
    """Weights for a trunk to begin with, by name: "block1_conv1.kernel" [3, 3, in, out], "block1_conv1.bias" [out].

    A trunk with batch normalisation has "block1_conv1.scale", ".shift", ".mean" and ".var" [out] as well.
    """

    origin: str
    """Where they are from, in words; the same for the same weights."""
    weights: Mapping[str, NDArray[Any]] = field(repr=False)


def choose(recipe: Recipe, weights: Path | None, init: Path | None, console: Console) -> Start | None:
    """Return what a run of `recipe` begins with: the file `weights`, the trunk of `init`, ImageNet's, or nothing.

    Raises TrainingError, also if the recipe's trunk cannot take these weights.
    """
    if weights is not None and init is not None:
        raise TrainingError("--weights and --init both say what to begin with. Give one of them.")
    if weights is not None:
        start = from_keras(weights)
    elif init is not None:
        start = from_trained(init, norm=recipe.norm)
    elif recipe.pretrained:
        if recipe.channels != 1 or recipe.norm:
            raise TrainingError(
                "The ImageNet weights are those of the whole VGG16 without batch normalisation, but this recipe has "
                f"channels={recipe.channels:g} and norm={str(recipe.norm).lower()}. Set channels=1 and norm=false, or "
                "begin with the trunk of a run like it with --init RUN, or with nothing by --set pretrained=false."
            )
        start = from_keras(fetch(console))
    else:
        return None
    check(start, recipe)
    return start


def fetch(console: Console) -> Path:
    """Return the ImageNet weights in the user's cache, fetched and checked if they are not there.

    Raises TrainingError, which says what to do without them.
    """
    import pooch
    import requests

    cache = Path(pooch.os_cache("planespotter"))
    columns = ("Fetching the ImageNet weights", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    pooch.get_logger().setLevel("ERROR")
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        downloader = pooch.HTTPDownloader(progressbar=_Bar(progress), timeout=30, chunk_size=2**16)
        try:
            found = pooch.retrieve(URL, f"md5:{MD5}", fname=FILE, path=cache, downloader=downloader)
        except (requests.RequestException, OSError, ValueError) as error:
            what = "is not what it should be" if isinstance(error, ValueError) else "cannot be fetched"
            raise TrainingError(
                f"The file with the ImageNet weights {what} ({type(error).__name__}), and there is no copy in {cache}. "
                f"Fetch {URL} ({SIZE:,} bytes) with a machine that reaches it and name the copy with --weights FILE; "
                "or begin with the trunk of an earlier run with --init RUN; or train without: --recipe small, "
                "--recipe scratch-augmented, or --set pretrained=false --set norm=true."
            ) from error
    return Path(found)


class _Bar:
    """What pooch tells of a download, shown by rich. The names are pooch's."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._task = progress, progress.add_task("", total=SIZE)
        self.total = SIZE

    def update(self, size: int) -> None:
        self._progress.update(self._task, advance=size, total=self.total or SIZE)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        pass


def from_keras(path: Path) -> Start:
    """Return the convolutions in a Keras HDF5 file of VGG16, with its top or without. Raises TrainingError.

    A file other than the known one is taken for what it holds, and named by its hash.
    """
    import h5py

    try:
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        found: dict[str, NDArray[Any]] = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: _collect(found, name, item))
    except OSError as error:
        reason = error.strerror or "it is no HDF5 file"
        raise TrainingError(
            f"{path} cannot be read as weights of Keras: {reason}. Name a copy of {FILE} with --weights."
        ) from error
    return Start(CREDIT if md5 == MD5 else f"the weights file {path.name} with md5 {md5}", found)


def _collect(found: dict[str, NDArray[Any]], name: str, item: Any) -> None:
    """Add a data set of a Keras file, such as block1_conv1/block1_conv1_W_1:0, to what was found."""
    if not hasattr(item, "shape"):
        return
    layer = CONVOLUTION.search(name)
    kind = {4: "kernel", 1: "bias"}.get(len(item.shape))
    # What is no convolution keeps its own name, so that it can be named if it matches nothing.
    found[f"{layer[0]}.{kind}" if layer and kind else name] = np.asarray(item, np.float32)


def from_trained(folder: Path, *, norm: bool) -> Start:
    """Return the trunk of the run or the bundle in `folder`; without `norm`, with its batch normalisation folded away.

    Raises TrainingError or BundleError.
    """
    if (folder / DESCRIPTION).is_file():
        made = read_bundle(folder)
        flat = {
            name.removeprefix("trunk.layers."): weight
            for name, weight in made.weights.items()
            if name.startswith("trunk.layers.")
        }
        return Start(f"the trunk of the bundle {made.name} {made.version} ({_digest(flat)})", flat)
    described = run_folder.read(folder)
    network, step = checkpoint.load_network(folder, described.recipe, described.tree)
    if not norm:
        fold_norms(network)
    flat = {name: np.asarray(variable[...]) for name, variable in _trunk(network).items()}
    return Start(f"the trunk of the run {folder.name} after {step} steps ({_digest(flat)})", flat)


def _digest(weights: Mapping[str, NDArray[Any]]) -> str:
    """Return a short hash of the weights, which tells two starts apart."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + np.ascontiguousarray(weights[name]).tobytes())
    return f"sha256 {digest.hexdigest()[:12]}"


def _trunk(network: Classifier) -> dict[str, Any]:
    """Return the variables of the trunk of `network` by the names of `Start`."""
    found: dict[str, Any] = {}
    for name, layer in network.trunk.layers.items():
        found |= {f"{name}.kernel": layer.kernel, f"{name}.bias": layer.bias}
    for name, norm in network.trunk.norms.items():
        found |= {f"{name}.scale": norm.scale, f"{name}.shift": norm.bias}
        found |= {f"{name}.mean": norm.mean, f"{name}.var": norm.var}
    return found


def check(start: Start, recipe: Recipe) -> None:
    """Raise TrainingError unless `start` has just what the trunk of `recipe` needs, each of the right shape."""
    bare = nnx.eval_shape(lambda: Classifier({}, width=recipe.channels, norm=recipe.norm))
    needed = {name: tuple(variable.shape) for name, variable in _trunk(bare).items()}
    # The top of the whole VGG16 is not used, and may be there.
    given = {name: weight.shape for name, weight in start.weights.items() if not name.startswith(("fc", "predictions"))}
    lacking = sorted(needed.keys() - given.keys())
    left_over = sorted(given.keys() - needed.keys())
    unlike = sorted(name for name in needed.keys() & given.keys() if needed[name] != given[name])
    if lacking or left_over or unlike:
        faults = [
            f"it lacks {_some(lacking)}" if lacking else "",
            f"nothing takes its {_some(left_over)}" if left_over else "",
            f"{unlike[0]} is {_shape(given[unlike[0]])} and should be {_shape(needed[unlike[0]])}" if unlike else "",
        ]
        raise TrainingError(
            f"The network of this recipe (channels={recipe.channels:g}, norm={str(recipe.norm).lower()}) cannot begin "
            f"with {start.origin}: {'; '.join(filter(None, faults))}. Change the recipe with --set channels=... or "
            "--set norm=..., or begin with other weights."
        )


def apply(start: Start, network: Classifier, console: Console) -> None:
    """Put the weights of `start` into the trunk of `network`, and say what was used and what was not.

    Both must fit: see `check`.
    """
    variables = _trunk(network)
    for name, variable in variables.items():
        variable[...] = start.weights[name].astype(np.float32)
    unused = sorted(start.weights.keys() - variables.keys())
    console.print(
        f"Begins with {start.origin}: {len(variables)} of its {len(start.weights)} arrays"
        f"{f', without {_some(unused)}' if unused else ''}; new: the heads.",
        highlight=False,
        soft_wrap=True,
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
