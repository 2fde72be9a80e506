"""Initial weights: read from Keras files, rejected unless they fit, downloaded once."""

import http.server
import io
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest
from flax import nnx
from numpy.typing import NDArray
from rich.console import Console

from planespotter_models import LabelTree
from planespotter_models.architecture import BGR_MEAN
from planespotter_training import recipes, run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.network import checkpoint, pretrained
from planespotter_training.network.model import BLOCKS
from planespotter_training.recipes.config import LAYERS, Recipe

QUIET = Console(quiet=True)
TREE = LabelTree({"Airbus": {"A320": []}, "Boeing": {"737": [], "747": []}})
WIDTH = 1 / 16


def recipe(*changes: str) -> Recipe:
    return recipes.load("small", [f"channel_multiplier={WIDTH}", "height=32", "width=64", *changes])


@pytest.fixture(scope="module")
def weights() -> dict[str, NDArray[np.float32]]:
    """Random convolutions by layer, as in the file: kernel and bias."""
    random, channels, arrays = np.random.default_rng(5), 3, {}
    for layer, full in zip(LAYERS, (channels for block in BLOCKS for channels in block), strict=True):
        out = int(full * WIDTH)
        arrays[f"{layer}.kernel"] = random.normal(0, np.sqrt(2 / 9 / channels), (3, 3, channels, out)).astype(
            np.float32
        )
        arrays[f"{layer}.bias"] = random.normal(0, 0.5, out).astype(np.float32)
        channels = out
    return arrays


def write(path: Path, weights: dict[str, NDArray[np.float32]], name: str = "{layer}/{layer}_{kind}_1:0") -> Path:
    """Write `weights` in the layout of the Keras file: a group per layer, empty for poolings."""
    short = {"kernel": "W", "bias": "b"}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"input_1", *(layer.encode() for layer in LAYERS)])
        for block in range(1, 6):
            file.create_group(f"block{block}_pool")
        for key, weight in weights.items():
            layer, kind = key.split(".")
            file[name.format(layer=layer, kind=short[kind] if "_1:0" in name else kind)] = weight
    return path


def forward(weights: dict[str, NDArray[np.float32]], photos: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the convolutions of VGG16 in NumPy, as an independent reference."""
    red, green, blue = (photos[..., channel].astype(float) for channel in range(3))
    x = np.stack([blue - BGR_MEAN[0], green - BGR_MEAN[1], red - BGR_MEAN[2]], axis=-1)
    for layer in LAYERS:
        if layer.endswith("conv1") and layer != "block1_conv1":
            n, height, width, channels = x.shape
            x = x.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
        kernel, padded = weights[f"{layer}.kernel"].astype(float), np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        height, width = x.shape[1:3]
        shifted = [padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)]
        x = np.maximum(np.sum(shifted, axis=0) + weights[f"{layer}.bias"], 0)
    n, height, width, channels = x.shape
    pooled = x.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
    return np.asarray(pooled.mean(axis=(1, 2)))


@pytest.mark.slow
def test_a_network_initialised_from_the_file_computes_vgg16(
    weights: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    path = write(tmp_path / "vgg16.h5", weights)
    initial = pretrained.choose(recipe("batch_norm=false"), path, None, QUIET)
    assert initial is not None
    network = checkpoint.build(recipe("batch_norm=false"), TREE)
    pretrained.apply(initial, network, TREE, QUIET)
    photos = np.random.default_rng(1).integers(0, 256, (2, 32, 64, 3), np.uint8)
    expected = forward(weights, photos)
    features = np.asarray(network.trunk(photos))  # type: ignore[arg-type]
    np.testing.assert_allclose(features, expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("name", ["{layer}/{layer}/{kind}:0", "model_weights/{layer}/{layer}/{kind}:0"])
def test_other_layouts_of_keras_are_supported(
    weights: dict[str, NDArray[np.float32]], tmp_path: Path, name: str
) -> None:
    initial = pretrained.from_keras(write(tmp_path / "other.h5", weights, name))
    assert initial.weights.keys() == weights.keys()
    assert all(np.array_equal(initial.weights[key], weight) for key, weight in weights.items())


def test_another_weights_file_is_accepted_and_identified_by_its_hash(
    weights: dict[str, NDArray[np.float32]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "other.h5", weights)
    origin = pretrained.from_keras(path).origin
    assert origin.startswith("the weights file other.h5 with md5 ")
    monkeypatch.setattr(pretrained, "MD5", origin[-32:])
    assert "Oxford, CC BY 4.0" in pretrained.from_keras(path).origin


def test_the_top_of_the_full_vgg16_is_ignored(weights: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    path = write(tmp_path / "full.h5", weights)
    with h5py.File(path, "a") as file:
        file["fc1/fc1_W_1:0"] = np.zeros((8, 8), np.float32)
    console = Console(record=True, file=io.StringIO())
    initial = pretrained.choose(recipe("batch_norm=false"), path, None, console)
    assert initial is not None
    pretrained.apply(initial, checkpoint.build(recipe("batch_norm=false"), TREE), TREE, console)
    assert (
        "26 of its 27 arrays, without fc1/fc1_W_1:0. The heads start from random weights."
        in console.export_text().replace("\n", " ")
    )


def test_weights_that_match_in_part_are_rejected_with_the_differences(
    weights: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    fewer = {key: weight for key, weight in weights.items() if not key.startswith("block5_conv3")}
    strange = fewer | {"block5_conv4.bias": np.zeros(4, np.float32), "block1_conv1.bias": np.zeros(7, np.float32)}
    with pytest.raises(
        TrainingError,
        match=r"it lacks block5_conv3\.bias, block5_conv3\.kernel; the trunk has no block5_conv4\.bias; "
        r"block1_conv1\.bias is 7 and should be 4\. Change the recipe",
    ):
        pretrained.choose(recipe("batch_norm=false"), write(tmp_path / "part.h5", strange), None, QUIET)


def test_a_network_with_batch_normalisation_rejects_weights_without(
    weights: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"batch_norm=true\) cannot start from .* it lacks block1_conv1\.mean"):
        pretrained.choose(recipe(), write(tmp_path / "vgg16.h5", weights), None, QUIET)


def test_a_file_without_weights_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"no weights")
    with pytest.raises(TrainingError, match=r"photo\.jpg cannot be read as weights of Keras: it is not an HDF5 file"):
        pretrained.from_keras(tmp_path / "photo.jpg")
    with pytest.raises(TrainingError, match="No such file"):
        pretrained.from_keras(tmp_path / "nothing.h5")


# ---------------------------------------------------------------- download


@pytest.fixture
def site(weights: dict[str, NDArray[np.float32]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve a file instead of Keras's, and list the requests for it."""
    folder = tmp_path / "site"
    folder.mkdir()
    write(folder / pretrained.FILE, weights)
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: object) -> None:
            requests.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(pretrained, "URL", f"http://127.0.0.1:{server.server_port}/{pretrained.FILE}")
        monkeypatch.setattr(pretrained, "MD5", pretrained.from_keras(folder / pretrained.FILE).origin[-32:])
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield requests
        server.shutdown()
        thread.join()


def test_the_imagenet_weights_are_downloaded_once(site: list[str], tmp_path: Path) -> None:
    first = pretrained.download(QUIET)
    assert first.is_relative_to(tmp_path / "cache")
    assert pretrained.download(QUIET) == first
    assert len(site) == 1
    assert "Oxford" in pretrained.from_keras(first).origin


def test_a_damaged_download_is_rejected(site: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "MD5", "0" * 32)
    with pytest.raises(TrainingError, match="has the wrong hash"):
        pretrained.download(QUIET)


def test_without_internet_and_file_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "URL", "http://127.0.0.1:9/vgg16.h5")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        TrainingError, match=r"cannot be downloaded .* --weights FILE; .* --init RUN; .* --recipe small"
    ):
        pretrained.choose(recipes.load("best"), None, None, QUIET)


def test_a_recipe_that_the_imagenet_weights_do_not_fit_is_rejected_before_the_download() -> None:
    with pytest.raises(
        TrainingError, match=r"channel_multiplier=0\.125 and batch_norm=false\. Set channel_multiplier=1"
    ):
        pretrained.choose(recipes.load("best", ["channel_multiplier=0.125"]), None, None, QUIET)


# ---------------------------------------------------------------- an earlier run


class Nowhere:
    """An iterator without a position."""

    def get_state(self) -> dict[str, int]:
        return {}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with batch normalisation and random statistics."""
    folder = tmp_path_factory.mktemp("earlier") / "first"
    folder.mkdir()
    network = checkpoint.build(recipe(), TREE)
    random = np.random.default_rng(3)
    for norm in network.trunk.norms.values():
        norm.mean[...] = random.normal(0, 1, norm.mean.shape).astype(np.float32)
        norm.var[...] = random.uniform(0.5, 2, norm.var.shape).astype(np.float32)
    run = run_folder.Run("small", recipe(), "photos", "", ["Airbus", "Boeing"], TREE, {}, {}, [])
    run_folder.write(run, folder)
    _, weights, statistics = nnx.split(network, nnx.Param, ...)  # type: ignore[misc]
    with checkpoint.manager(folder) as checkpoints:
        state = {"weights": weights, "statistics": statistics, "optimizer": {"count": np.zeros(1)}}
        checkpoint.save(checkpoints, 7, state, Nowhere())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["true", "false"])
def test_a_run_can_start_from_the_trunk_of_another(earlier: Path, batch_norm: str) -> None:
    initial = pretrained.choose(recipe(f"batch_norm={batch_norm}"), None, earlier, QUIET)
    assert initial is not None
    assert initial.origin.startswith("the run first after 7 steps")
    network = checkpoint.build(recipe(f"batch_norm={batch_norm}", "seed=9"), TREE)
    pretrained.apply(initial, network, TREE, QUIET)
    source, _ = checkpoint.load_network(earlier, recipe(), TREE)
    photos = jax.random.randint(jax.random.key(1), (2, 32, 64, 3), 0, 256).astype(np.uint8)
    np.testing.assert_allclose(network.trunk(photos), source.trunk(photos), rtol=1e-4, atol=1e-3)
    for head, output in network(photos).items():  # the types are the same
        np.testing.assert_allclose(output, source(photos)[head], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tree", "settings"),
    [
        (LabelTree({"Airbus": {"A320": []}, "Boeing": {"737": []}}), []),  # a type less
        (LabelTree(TREE.branches, other=True), []),
        (TREE, ["pooling=average+max"]),
    ],
)
def test_the_heads_start_from_random_weights_if_types_outputs_or_pooling_do_not_fit(
    earlier: Path, tree: LabelTree, settings: list[str]
) -> None:
    initial = pretrained.choose(recipe(*settings), None, earlier, QUIET)
    assert initial is not None
    network, fresh = (checkpoint.build(recipe(*settings, "seed=9"), tree) for _ in range(2))
    console = Console(file=io.StringIO(), width=200)
    pretrained.apply(initial, network, tree, console)
    assert "The heads start from random weights" in console.file.getvalue()  # type: ignore[attr-defined]
    for name, head in network.heads.items():
        np.testing.assert_array_equal(head.kernel[...], fresh.heads[name].kernel[...])


def test_a_trunk_that_was_trained_with_other_preprocessing_is_rejected(earlier: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(earlier, tmp_path / "wrong")
    run_folder.write(replace(run_folder.read(folder), recipe=recipe("preprocessing=rgb-255")), folder)
    with pytest.raises(TrainingError, match=r"trained with preprocessing=rgb-255, but this recipe has .*bgr-mean"):
        pretrained.choose(recipe(), None, folder, QUIET)
    assert pretrained.choose(recipe("preprocessing=rgb-255"), None, folder, QUIET)


def test_weights_and_init_are_mutually_exclusive(earlier: Path) -> None:
    with pytest.raises(TrainingError, match="--weights and --init both name"):
        pretrained.choose(recipe(), earlier, earlier, QUIET)
