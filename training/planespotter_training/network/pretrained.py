"""Initial weights: VGG16 from ImageNet, or those of an earlier run or bundle (transfer learning).

Of a run or bundle, the trunk is taken, and the heads, too, if it distinguishes the same types: so a training continues
with other settings.

The ImageNet weights are those of Karen Simonyan and Andrew Zisserman, Visual Geometry Group, University of Oxford,
under the Creative Commons Attribution licence (CC BY 4.0), in the file that Keras made of them. They expect BGR less
the channel means, which is the preprocessing of the network's trunk.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from planespotter_models import FOLDER, LabelTree, read_bundle
from planespotter_models.bundle_format import DESCRIPTION
from planespotter_scraping.catalog import count_noun
from planespotter_training import run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.network import checkpoint
from planespotter_training.network.model import Classifier, NetworkConfig, fold_norms
from planespotter_training.recipes.config import LAYERS, Recipe

FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{FILE}"
MD5 = "6d6bbae143d832006294945121d1f1fc"
SIZE = 58_889_256
CREDIT = "VGG16 ImageNet weights by K. Simonyan and A. Zisserman, Visual Geometry Group, Oxford, CC BY 4.0"

CONVOLUTION = re.compile(r"block\d_conv\d")


@dataclass(frozen=True)
class InitialWeights:
    """Weights to initialise a trunk with, by name: "block1_conv1.kernel" [3, 3, in, out], "block1_conv1.bias" [out].

    A trunk with batch normalisation has "block1_conv1.scale", ".shift", ".mean" and ".var" [out] as well.
    """

    origin: str
    """Where they are from, in words; the same for the same weights."""
    weights: Mapping[str, NDArray[Any]] = field(repr=False)
    tree: LabelTree | None = None
    """Label tree of `top`."""
    top: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False)
    """Weights after the trunk, by dotted path: "heads.constructor.kernel"; used for the same types and pooling only."""
    preprocessing: str = "bgr-mean"
    """Preprocessing that they were trained with: see the recipe's setting."""
    fingerprint: Mapping[str, Any] | None = field(default=None, repr=False)
    """Training fingerprint of a bundle."""


def find_init(init: Path | None) -> Path | None:
    """Return the folder of an initial network: an installed model can be given by its name, for its latest version."""
    if init is None or init.exists() or len(init.parts) != 1:
        return init
    versions = [folder for folder in (FOLDER / init).glob("*") if (folder / DESCRIPTION).is_file()]
    return max(versions, key=lambda folder: (len(folder.name), folder.name), default=init)


def fit_recipe(recipe: Recipe, init: Path | None) -> Recipe:
    """Return a recipe that keeps the types of a bundle with the shape of the bundle's network; others as they are.

    Raises:
        TrainingError: The recipe keeps the types of an initial network, but there is none.
        BundleError: It is a bundle that cannot be read.
    """
    if not recipe.keep_types:
        return recipe
    if init is None:
        raise TrainingError("This recipe continues from a network. Name a bundle or run with --init.")
    if not (init / DESCRIPTION).is_file():
        return replace(recipe, other_output=run_folder.read(init).tree.other)
    bundle = read_bundle(init)
    architecture = bundle.architecture
    hidden = bundle.weights.get("hidden.bias")
    return replace(
        recipe,
        height=bundle.height,
        width=bundle.width,
        channel_multiplier=bundle.weights[f"trunk.layers.{LAYERS[0]}.bias"].shape[0] / 64,
        pooling=architecture.pooling if architecture else recipe.pooling,
        flip_tta=architecture.flip_tta if architecture else recipe.flip_tta,
        hidden_units=0 if hidden is None else hidden.shape[0],
        other_output=bundle.tree.other,
        batch_norm=False,
    )


def choose(recipe: Recipe, weights: Path | None, init: Path | None, console: Console) -> InitialWeights | None:
    """Choose the initial weights of a run.

    Args:
        recipe: Its recipe; `pretrained` asks for the ImageNet weights if neither `weights` nor `init` is given.
        weights: A Keras HDF5 file of VGG16.
        init: A run or bundle.
        console: For the progress of a download.

    Returns:
        The weights, or None for random ones.

    Raises:
        TrainingError: Both are given, or the weights cannot be read or do not fit the recipe's trunk.
    """
    if weights is not None and init is not None:
        raise TrainingError("--weights and --init both name initial weights. Pass one of them.")
    if weights is not None:
        initial = from_keras(weights)
    elif init is not None:
        initial = from_trained(init, batch_norm=recipe.batch_norm)
        if initial.preprocessing == "rgb-255" != recipe.preprocessing:
            raise TrainingError(
                f"The run {init} was trained with preprocessing=rgb-255, but this recipe has preprocessing="
                f"{recipe.preprocessing}. Add --set preprocessing=rgb-255, or start from another run."
            )
    elif recipe.pretrained:
        if recipe.channel_multiplier != 1 or recipe.batch_norm:
            raise TrainingError(
                "The ImageNet weights are those of the full VGG16 without batch normalisation, but this recipe has "
                f"{_shape_settings(recipe)}. Set channel_multiplier=1 and batch_norm=false, or start from the trunk "
                "of a run with the same settings with --init RUN, or from random weights with --set pretrained=false."
            )
        initial = from_keras(download(console))
    else:
        return None
    check(initial, recipe)
    return initial


def _shape_settings(recipe: Recipe) -> str:
    return f"channel_multiplier={recipe.channel_multiplier:g} and batch_norm={str(recipe.batch_norm).lower()}"


def download(console: Console) -> Path:
    """Return the ImageNet weights in the user's cache; download and verify them if they are not there.

    Raises:
        TrainingError: They cannot be downloaded; the text says what to do instead.
    """
    import pooch
    import requests

    cache = Path(pooch.os_cache("planespotter"))
    columns = ("Downloading the ImageNet weights", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    pooch.get_logger().setLevel("ERROR")
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        downloader = pooch.HTTPDownloader(progressbar=_Bar(progress), timeout=30, chunk_size=2**16)
        try:
            path = pooch.retrieve(URL, f"md5:{MD5}", fname=FILE, path=cache, downloader=downloader)
        except (requests.RequestException, OSError, ValueError) as error:
            what = "has the wrong hash" if isinstance(error, ValueError) else "cannot be downloaded"
            raise TrainingError(
                f"The file with the ImageNet weights {what} ({type(error).__name__}), and there is no copy in {cache}. "
                f"Download {URL} ({SIZE:,} bytes) on a machine that reaches it and name the copy with --weights FILE; "
                "or start from the trunk of an earlier run with --init RUN; or train without: --recipe small, "
                "--recipe scratch-augmented, or --set pretrained=false --set batch_norm=true."
            ) from error
    return Path(path)


class _Bar:
    """Adapter that shows pooch's progress with rich. The names are pooch's."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._task = progress, progress.add_task("", total=SIZE)
        self.total = SIZE

    def update(self, size: int) -> None:
        self._progress.update(self._task, advance=size, total=self.total or SIZE)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        pass


def from_keras(path: Path) -> InitialWeights:
    """Read the convolutions from a Keras HDF5 file of VGG16, with or without its top.

    A file other than the known one is identified by its hash.

    Raises:
        TrainingError: The file cannot be read as HDF5.
    """
    import h5py

    try:
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        arrays: dict[str, NDArray[Any]] = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: _collect(arrays, name, item))
    except OSError as error:
        reason = error.strerror or "it is not an HDF5 file"
        raise TrainingError(
            f"{path} cannot be read as weights of Keras: {reason}. Name a copy of {FILE} with --weights."
        ) from error
    return InitialWeights(CREDIT if md5 == MD5 else f"the weights file {path.name} with md5 {md5}", arrays)


def _collect(arrays: dict[str, NDArray[Any]], name: str, item: Any) -> None:
    """Add a data set of a Keras file, such as block1_conv1/block1_conv1_W_1:0, to `arrays`."""
    if not hasattr(item, "shape"):
        return
    layer = CONVOLUTION.search(name)
    kind = {4: "kernel", 1: "bias"}.get(len(item.shape))
    # Anything but a convolution keeps its name, so that an error can name what does not fit.
    arrays[f"{layer[0]}.{kind}" if layer and kind else name] = np.asarray(item, np.float32)


def from_trained(folder: Path, *, batch_norm: bool) -> InitialWeights:
    """Read the weights of a run or bundle.

    Args:
        folder: Folder of the run or bundle.
        batch_norm: Keep the batch normalisation of a run; otherwise it is folded into the convolutions.

    Raises:
        TrainingError: It is a run that cannot be read.
        BundleError: It is a bundle that cannot be read.
    """
    if (folder / DESCRIPTION).is_file():
        bundle = read_bundle(folder)
        flat = {
            name.removeprefix("trunk.layers."): weight
            for name, weight in bundle.weights.items()
            if name.startswith("trunk.layers.")
        }
        top = {name: weight for name, weight in bundle.weights.items() if not name.startswith("trunk.")}
        origin = f"the bundle {bundle.name} {bundle.version} ({_digest(flat | top)})"
        fingerprint = bundle.training.get("training_fingerprint")
        return InitialWeights(origin, flat, bundle.tree, top, fingerprint=fingerprint)
    run = run_folder.read(folder)
    network, step = checkpoint.load_network(folder, run.recipe, run.tree)
    if not batch_norm:
        fold_norms(network)
    flat = {name: np.asarray(variable[...]) for name, variable in _trunk(network).items()}
    top = {name: np.asarray(variable[...]) for name, variable in _top(network).items()}
    origin = f"the run {folder.name} after {count_noun(step, 'step')} ({_digest(flat | top)})"
    return InitialWeights(origin, flat, run.tree, top, run.recipe.preprocessing)


def _digest(weights: Mapping[str, NDArray[Any]]) -> str:
    """Return a short hash of the weights."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + np.ascontiguousarray(weights[name]).tobytes())
    return f"sha256 {digest.hexdigest()[:12]}"


def _trunk(network: Classifier) -> dict[str, Any]:
    """Return the variables of the trunk of `network` by the names of `InitialWeights`."""
    variables: dict[str, Any] = {}
    for name, layer in network.trunk.layers.items():
        variables |= {f"{name}.kernel": layer.kernel, f"{name}.bias": layer.bias}
    for name, norm in network.trunk.norms.items():
        variables |= {f"{name}.scale": norm.scale, f"{name}.shift": norm.bias}
        variables |= {f"{name}.mean": norm.mean, f"{name}.var": norm.var}
    return variables


def check(initial: InitialWeights, recipe: Recipe) -> None:
    """Raise TrainingError unless `initial` has exactly the arrays of the recipe's trunk, each of the right shape."""
    config = NetworkConfig(recipe.channel_multiplier, recipe.batch_norm)
    bare = nnx.eval_shape(lambda: Classifier({}, config))
    expected = {name: tuple(variable.shape) for name, variable in _trunk(bare).items()}
    # A file may hold the top of VGG16, which is not used.
    present = {
        name: array.shape for name, array in initial.weights.items() if not name.startswith(("fc", "predictions"))
    }
    missing = sorted(expected.keys() - present.keys())
    unused = sorted(present.keys() - expected.keys())
    misshapen = sorted(name for name in expected.keys() & present.keys() if expected[name] != present[name])
    if missing or unused or misshapen:
        faults = [
            f"it lacks {_some(missing)}" if missing else "",
            f"the trunk has no {_some(unused)}" if unused else "",
            f"{misshapen[0]} is {_shape(present[misshapen[0]])} and should be {_shape(expected[misshapen[0]])}"
            if misshapen
            else "",
        ]
        raise TrainingError(
            f"The network of this recipe ({_shape_settings(recipe)}) cannot start from {initial.origin}: "
            f"{'; '.join(filter(None, faults))}. Change the recipe with --set channel_multiplier=... or "
            "--set batch_norm=..., or start from other weights."
        )


def _top(network: Classifier) -> dict[str, Any]:
    """Return the variables of `network` after its trunk, without the baseline, by dotted path."""
    layers = {"hidden": network.hidden, "reduction": network.reduction}
    layers |= {f"heads.{name}": head for name, head in network.heads.items()}
    return {
        f"{name}.{kind}": variable
        for name, layer in layers.items()
        if layer is not None
        for kind, variable in (("kernel", layer.kernel), ("bias", layer.bias))
        if variable is not None
    }


def apply(initial: InitialWeights, network: Classifier, tree: LabelTree, console: Console) -> None:
    """Copy `initial` into `network`, and print what was used.

    Args:
        initial: The weights; they must fit the trunk (see `check`).
        network: The network.
        tree: Its label tree.
        console: For the summary.
    """
    variables = _trunk(network)
    for name, variable in variables.items():
        variable[...] = initial.weights[name].astype(np.float32)
    unused = sorted(initial.weights.keys() - variables.keys())
    top = _top(network)
    heads = "The heads start from random weights."
    if initial.tree is not None and tree_contains(tree, initial.tree) and _top_fits(initial.top, top):
        _extend_top(initial, initial.tree, top, tree)
        added = len(tree.all_leaves) - len(initial.tree.all_leaves)
        further = f", with {count_noun(added, 'further type')}" if added else ""
        heads = f"The heads continue from it as well{further}."
    console.print(
        f"Initial weights: {initial.origin}; {len(variables)} of its {len(initial.weights)} arrays"
        f"{f', without {_some(unused)}' if unused else ''}. {heads}",
        highlight=False,
        soft_wrap=True,
    )


def tree_contains(tree: LabelTree, part: LabelTree) -> bool:
    """Return whether a tree has all leaves of another one, and the same constructors and `other` output."""
    same_constructors = (tree.constructors, tree.other) == (part.constructors, part.other)
    return same_constructors and set(part.all_leaves) <= set(tree.all_leaves)


def _top_fits(weights: Mapping[str, Any], top: Mapping[str, Any]) -> bool:
    """Return whether both have the same layers after the trunk; the number of outputs of a head may differ."""

    def shape(name: str, array: Any) -> tuple[int, ...]:
        return tuple(array.shape[:-1] if name.startswith("heads.") else array.shape)

    return {name: shape(name, array) for name, array in weights.items()} == {
        name: shape(name, array) for name, array in top.items()
    }


def _extend_top(initial: InitialWeights, former: LabelTree, top: Mapping[str, Any], tree: LabelTree) -> None:
    """Copy the weights after the trunk output by output: a new type starts as the mean of its family or constructor."""
    for name, variable in top.items():
        weight = np.asarray(initial.top[name], np.float32)
        constructor = name.split(".")[1] if name.startswith("heads.") else ""
        if constructor not in tree.leaves:  # of the constructor head, or before the heads
            variable[...] = weight
            continue
        positions = {leaf: index for index, leaf in enumerate(former.leaves[constructor])}
        columns = []
        for leaf in tree.leaves[constructor]:
            relatives = [position for known, position in positions.items() if known.family == leaf.family]
            chosen = [positions[leaf]] if leaf in positions else relatives or list(positions.values())
            columns.append(weight[..., chosen].mean(axis=-1))
        variable[...] = np.stack(columns, axis=-1)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
