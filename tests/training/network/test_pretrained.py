"""Weights to begin with: read as Keras wrote them, refused unless they fit, fetched once."""

import http.server
import io
import threading
from collections.abc import Iterator
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
    return recipes.load("small", [f"channels={WIDTH}", "height=32", "width=64", *changes])


@pytest.fixture(scope="module")
def weights() -> dict[str, NDArray[np.float32]]:
    """Random convolutions by layer, as in the file: kernel and bias."""
    random, channels, made = np.random.default_rng(5), 3, {}
    for layer, full in zip(LAYERS, (channels for block in BLOCKS for channels in block), strict=True):
        out = int(full * WIDTH)
        made[f"{layer}.kernel"] = random.normal(0, np.sqrt(2 / 9 / channels), (3, 3, channels, out)).astype(np.float32)
        made[f"{layer}.bias"] = random.normal(0, 0.5, out).astype(np.float32)
        channels = out
    return made


def write(path: Path, weights: dict[str, NDArray[np.float32]], name: str = "{layer}/{layer}_{kind}_1:0") -> Path:
    """Write `weights` in the layout of the file of Keras: a group for each layer, those of the poolings empty."""
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
    """The convolutions of VGG16 in NumPy: an independent account of what the network should compute."""
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
def test_a_network_begun_from_the_file_computes_what_vgg16_does(
    weights: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    path = write(tmp_path / "vgg16.h5", weights)
    start = pretrained.choose(recipe("norm=false"), path, None, QUIET)
    assert start is not None
    network = checkpoint.build(recipe("norm=false"), TREE)
    pretrained.apply(start, network, QUIET)
    photos = np.random.default_rng(1).integers(0, 256, (2, 32, 64, 3), np.uint8)
    expected = forward(weights, photos)
    found = np.asarray(network.trunk(photos))  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("name", ["{layer}/{layer}/{kind}:0", "model_weights/{layer}/{layer}/{kind}:0"])
def test_other_layouts_of_keras_are_read_as_well(
    weights: dict[str, NDArray[np.float32]], tmp_path: Path, name: str
) -> None:
    start = pretrained.from_keras(write(tmp_path / "other.h5", weights, name))
    assert start.weights.keys() == weights.keys()
    assert all(np.array_equal(start.weights[key], weight) for key, weight in weights.items())


def test_a_file_with_other_content_than_the_known_one_is_taken_and_named_by_its_hash(
    weights: dict[str, NDArray[np.float32]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "mine.h5", weights)
    origin = pretrained.from_keras(path).origin
    assert origin.startswith("the weights file mine.h5 with md5 ")
    monkeypatch.setattr(pretrained, "MD5", origin[-32:])
    assert "Oxford, CC BY 4.0" in pretrained.from_keras(path).origin


def test_the_whole_vgg16_is_taken_without_its_top(weights: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    path = write(tmp_path / "whole.h5", weights)
    with h5py.File(path, "a") as file:
        file["fc1/fc1_W_1:0"] = np.zeros((8, 8), np.float32)
    console = Console(record=True, file=io.StringIO())
    start = pretrained.choose(recipe("norm=false"), path, None, console)
    assert start is not None
    pretrained.apply(start, checkpoint.build(recipe("norm=false"), TREE), console)
    assert "26 of its 27 arrays, without fc1/fc1_W_1:0; new: the heads." in console.export_text().replace("\n", " ")


def test_weights_that_match_in_part_are_refused_with_both_sides_named(
    weights: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    fewer = {key: weight for key, weight in weights.items() if not key.startswith("block5_conv3")}
    strange = fewer | {"block5_conv4.bias": np.zeros(4, np.float32), "block1_conv1.bias": np.zeros(7, np.float32)}
    with pytest.raises(
        TrainingError,
        match=r"it lacks block5_conv3\.bias, block5_conv3\.kernel; nothing takes its block5_conv4\.bias; "
        r"block1_conv1\.bias is 7 and should be 4\. Change the recipe",
    ):
        pretrained.choose(recipe("norm=false"), write(tmp_path / "part.h5", strange), None, QUIET)


def test_a_network_with_batch_normalisation_cannot_begin_with_weights_without(
    weights: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"norm=true\) cannot begin with .* it lacks block1_conv1\.mean"):
        pretrained.choose(recipe(), write(tmp_path / "vgg16.h5", weights), None, QUIET)


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"no weights")
    with pytest.raises(TrainingError, match=r"photo\.jpg cannot be read as weights of Keras: it is no HDF5 file"):
        pretrained.from_keras(tmp_path / "photo.jpg")
    with pytest.raises(TrainingError, match="No such file"):
        pretrained.from_keras(tmp_path / "nothing.h5")


# ---------------------------------------------------------------- fetching


@pytest.fixture
def site(weights: dict[str, NDArray[np.float32]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve a file in the place of Keras's, and count how often it is asked for."""
    folder = tmp_path / "site"
    folder.mkdir()
    write(folder / pretrained.FILE, weights)
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(pretrained, "URL", f"http://127.0.0.1:{server.server_port}/{pretrained.FILE}")
        monkeypatch.setattr(pretrained, "MD5", pretrained.from_keras(folder / pretrained.FILE).origin[-32:])
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield asked
        server.shutdown()
        thread.join()


def test_the_imagenet_weights_are_fetched_once(site: list[str], tmp_path: Path) -> None:
    first = pretrained.fetch(QUIET)
    assert first.is_relative_to(tmp_path / "cache")
    assert pretrained.fetch(QUIET) == first
    assert len(site) == 1
    assert "Oxford" in pretrained.from_keras(first).origin


def test_a_file_that_came_damaged_is_not_used(site: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "MD5", "0" * 32)
    with pytest.raises(TrainingError, match="is not what it should be"):
        pretrained.fetch(QUIET)


def test_without_network_and_file_a_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "URL", "http://127.0.0.1:9/vgg16.h5")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(TrainingError, match=r"cannot be fetched .* --weights FILE; .* --init RUN; .* --recipe small"):
        pretrained.choose(recipes.load("best"), None, None, QUIET)


def test_a_recipe_that_the_imagenet_weights_do_not_fit_says_so_before_fetching() -> None:
    with pytest.raises(TrainingError, match=r"channels=0\.125 and norm=false\. Set channels=1"):
        pretrained.choose(recipes.load("best", ["channels=0.125"]), None, None, QUIET)


# ---------------------------------------------------------------- an earlier run


class Nowhere:
    """An iterator whose position does not matter."""

    def get_state(self) -> dict[str, int]:
        return {}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with batch normalisation whose statistics are of something."""
    folder = tmp_path_factory.mktemp("earlier") / "first"
    folder.mkdir()
    network = checkpoint.build(recipe(), TREE)
    random = np.random.default_rng(3)
    for norm in network.trunk.norms.values():
        norm.mean[...] = random.normal(0, 1, norm.mean.shape).astype(np.float32)
        norm.var[...] = random.uniform(0.5, 2, norm.var.shape).astype(np.float32)
    begun = run_folder.Run("small", recipe(), "photos", "", ["Airbus", "Boeing"], TREE, {}, {}, [])
    run_folder.write(begun, folder)
    _, weights, statistics = nnx.split(network, nnx.Param, ...)  # type: ignore[misc]
    with checkpoint.manager(folder) as checkpoints:
        state = {"weights": weights, "statistics": statistics, "optimiser": {"count": np.zeros(1)}}
        checkpoint.save(checkpoints, 7, state, Nowhere())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["true", "false"])
def test_a_run_can_begin_with_the_trunk_of_another(earlier: Path, norm: str) -> None:
    start = pretrained.choose(recipe(f"norm={norm}"), None, earlier, QUIET)
    assert start is not None
    assert start.origin.startswith("the trunk of the run first after 7 steps")
    network = checkpoint.build(recipe(f"norm={norm}", "seed=9"), TREE)
    pretrained.apply(start, network, QUIET)
    before, _ = checkpoint.load_network(earlier, recipe(), TREE)
    photos = jax.random.randint(jax.random.key(1), (2, 32, 64, 3), 0, 256).astype(np.uint8)
    np.testing.assert_allclose(network.trunk(photos), before.trunk(photos), rtol=1e-4, atol=1e-3)


def test_two_things_to_begin_with_are_one_too_many(earlier: Path) -> None:
    with pytest.raises(TrainingError, match="--weights and --init both say"):
        pretrained.choose(recipe(), earlier, earlier, QUIET)
