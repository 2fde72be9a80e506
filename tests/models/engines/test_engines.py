"""Engines: JAX and OpenVINO give the same outputs for every photo, batch size and thread; choosing an engine."""

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import jax
import jax.export
import numpy as np
import pytest
from numpy.typing import NDArray

from planespotter_models import (
    FOLDER,
    Architecture,
    Bundle,
    BundleError,
    Calibration,
    EngineMode,
    Int8Calibration,
    LabelTree,
    Thresholds,
    decode_photo,
    load_engine,
    read_bundle,
    write_bundle,
)
from planespotter_models.engines import load as engines
from planespotter_models.engines.base import EngineChoice
from planespotter_models.engines.load import choose_engine
from planespotter_scraping.sample_site.drawing import draw
from planespotter_scraping.sample_site.photos import collection
from planespotter_training.export.serialize import as_function, by_platform, in_bfloat16, serialize
from planespotter_training.network.model import Classifier, NetworkConfig

TREE = LabelTree({"Airbus": {"A320": [], "A380": []}, "Boeing": {"737": ["737-700", "737-800"], "747": []}})
HEIGHT, WIDTH = 64, 96
SIZES = (1, 4)


def random_bundle(pooling: str, hidden: int, *, flip_tta: bool) -> Bundle:
    config = NetworkConfig(
        channel_multiplier=1 / 16,
        batch_norm=False,
        pooling=pooling,
        size=(HEIGHT, WIDTH),
        hidden_units=hidden,
        flip_tta=flip_tta,
    )
    network = Classifier(TREE.heads, config, seed=1)
    for layer in network.heads.values():  # random features would give extreme probabilities
        layer.kernel[...] = layer.kernel[...] / 3
    function, weights = as_function(network)
    exported = serialize(function, weights, HEIGHT, WIDTH)
    calibration = Calibration(dict.fromkeys(TREE.heads, 1.0), Thresholds(0.5, 0.5, 0.5))
    architecture = Architecture(pooling, flip_tta)
    return Bundle("r", "1", TREE, HEIGHT, WIDTH, calibration, (), {}, jax.__version__, exported, weights, architecture)


@pytest.fixture(scope="module")
def model() -> Bundle:
    return random_bundle("average", 0, flip_tta=False)


@pytest.fixture(scope="module")
def drawings() -> NDArray[np.uint8]:
    photos = [draw(photo.airliner, photo.livery, photo.photo_id) for photo in collection(12)]
    return np.stack([decode_photo(photo, HEIGHT, WIDTH) for photo in photos])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pooling", "hidden", "flip_tta"),
    [("average", 0, False), ("average+max", 0, True), ("flatten", 8, False)],
)
def test_openvino_outputs_equal_those_of_jax(
    pooling: str, hidden: int, flip_tta: bool, drawings: NDArray[np.uint8]
) -> None:
    bundle = random_bundle(pooling, hidden, flip_tta=flip_tta)
    expected = load_engine(bundle, (12,), EngineChoice.JAX).run(drawings)
    actual = load_engine(bundle, (12,), EngineChoice.OPENVINO).run(drawings)
    assert actual.keys() == expected.keys()
    for head, outputs in expected.items():
        assert actual[head].dtype == np.float32
        np.testing.assert_allclose(actual[head], outputs, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted(path.parent for path in FOLDER.glob("*/*/bundle.json")), ids=str)
def test_int8_inference_of_the_installed_models_agrees_with_float32(folder: Path) -> None:
    installed = read_bundle(folder)
    assert installed.int8_calibration is not None
    photos = [draw(photo.airliner, photo.livery, photo.photo_id) for photo in collection(48)]
    pixels = np.stack([decode_photo(photo, installed.height, installed.width) for photo in photos])
    exact = load_engine(installed, (16,), EngineChoice.JAX).run(pixels)
    rounded = load_engine(installed, (16,), EngineChoice.OPENVINO).run(pixels)
    agreement = np.mean(exact["constructor"].argmax(axis=1) == rounded["constructor"].argmax(axis=1))
    assert agreement >= 0.95
    for head, outputs in exact.items():
        assert np.abs(np.exp(rounded[head]) - np.exp(outputs)).mean() < 0.02


@pytest.mark.parametrize("engine", [EngineChoice.JAX, EngineChoice.OPENVINO])
@pytest.mark.parametrize("mode", list(EngineMode))
def test_outputs_of_a_photo_do_not_depend_on_batch_or_thread(
    engine: EngineChoice, mode: EngineMode, model: Bundle, drawings: NDArray[np.uint8]
) -> None:
    loaded = load_engine(model, SIZES, engine, mode, threads=2)
    alone = {head: np.concatenate([loaded.run(photo[None])[head] for photo in drawings]) for head in TREE.heads}
    numbers = [*range(1, 12), *range(1, 12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda n: loaded.run(drawings[:n]), numbers))
    for n, outputs in zip(numbers, together, strict=True):
        for head, classes in TREE.heads.items():
            assert outputs[head].shape == (n, classes)
            np.testing.assert_allclose(outputs[head], alone[head][:n], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_bfloat16_is_used_on_a_gpu_and_not_on_a_cpu(model: Bundle, drawings: NDArray[np.uint8]) -> None:
    network = Classifier(TREE.heads, NetworkConfig(1 / 16, batch_norm=False), seed=1)
    function, weights = as_function(network)
    rounded = in_bfloat16(network)
    exported = serialize(by_platform(function, rounded), weights, HEIGHT, WIDTH)
    assert "bf16" in jax.export.deserialize(bytearray(exported)).mlir_module()
    expected, in_bf16 = (jax.jit(network)(weights, drawings) for network in (function, rounded))
    engine = load_engine(replace(model, network=exported, weights=weights), (12,), EngineChoice.JAX)
    for head, outputs in engine.run(drawings).items():
        np.testing.assert_allclose(outputs, expected[head], atol=1e-3)
        assert np.abs(in_bf16[head] - outputs).max() > 1e-3


def test_photos_of_another_shape_or_type_are_invalid(model: Bundle) -> None:
    loaded = load_engine(model, (1,), EngineChoice.OPENVINO)
    for photos in (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, HEIGHT, WIDTH, 3), np.float32)):
        with pytest.raises(ValueError, match=r"photos must be uint8 \[n,"):
            loaded.run(photos)  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [(), (0, 4), (-1,)])
@pytest.mark.parametrize("engine", [EngineChoice.JAX, EngineChoice.OPENVINO])
def test_batch_sizes_below_one_are_invalid(model: Bundle, engine: EngineChoice, sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"batch_sizes must be one number of photos or more, each at least 1; got"):
        load_engine(model, sizes, engine)


# ---------------------------------------------------------------- choosing an engine


@pytest.fixture
def no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "openvino" else find(name, *rest)
    )


def test_openvino_is_chosen_on_a_cpu_if_it_can_run_the_bundle(model: Bundle) -> None:
    assert choose_engine(model) == EngineChoice.OPENVINO
    assert choose_engine(replace(model, architecture=None)) == EngineChoice.JAX


def test_jax_is_chosen_on_an_accelerator(model: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_accelerator", lambda: True)
    assert choose_engine(model) == EngineChoice.JAX


@pytest.mark.usefixtures("no_openvino")
def test_without_openvino_jax_is_chosen_and_openvino_rejected(model: Bundle) -> None:
    assert choose_engine(model) == EngineChoice.JAX
    with pytest.raises(BundleError, match="needs OpenVINO, which is not installed"):
        choose_engine(model, EngineChoice.OPENVINO)


def test_bundle_without_an_architecture_is_for_jax_only(model: Bundle) -> None:
    with pytest.raises(BundleError, match="only the engine jax can run it"):
        choose_engine(replace(model, architecture=None), EngineChoice.OPENVINO)


def test_auto_chooses_int8_inference_only_with_int8_instructions(
    model: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name.split(".")[2] for name in model.weights if name.endswith("kernel") and "block" in name]
    model = replace(model, int8_calibration=Int8Calibration(dict.fromkeys(names, 800.0)))
    monkeypatch.setattr(engines, "multiplies_int8", lambda: True)
    assert "int8" in load_engine(model, (1,)).description
    monkeypatch.setattr(engines, "multiplies_int8", lambda: False)
    assert "float32" in load_engine(model, (1,)).description
    assert "int8" in load_engine(model, (1,), EngineChoice.OPENVINO).description
    assert "float32" in load_engine(model, (1,), EngineChoice.OPENVINO_FLOAT32).description


def test_openvino_sends_no_telemetry(tmp_path: Path) -> None:
    program = "\n".join(
        [
            "import os, sys",
            "os.register_at_fork(before=lambda: print('forked'))",
            "from planespotter_models.engines import openvino",
            "loaded = [name for name in sys.modules if name.startswith('openvino_telemetry') and sys.modules[name]]",
            "print(loaded)",
        ]
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("[]\n", 0), result.stderr
    assert list(tmp_path.iterdir()) == []  # telemetry would store a user id here


# ---------------------------------------------------------------- invalid bundles


def test_weights_that_do_not_fit_each_other_are_rejected(model: Bundle) -> None:
    weights = {name: weight for name, weight in model.weights.items() if "block3_conv2" not in name}
    weights["trunk.layers.block3_conv3.kernel"] = np.zeros((3, 3, 5, 7), np.float32)
    with pytest.raises(BundleError, match="do not form a network under OpenVINO"):
        load_engine(replace(model, weights=weights), (1,), EngineChoice.OPENVINO)


def test_heads_that_differ_from_the_label_tree_are_rejected(model: Bundle) -> None:
    tree = LabelTree({**TREE.branches, "Boeing": {"737": [], "747": []}})
    with pytest.raises(BundleError, match=r"has the heads .* but its label tree has"):
        load_engine(replace(model, tree=tree), (1,), EngineChoice.OPENVINO)


def test_int8_calibration_is_written_and_read(model: Bundle, tmp_path: Path) -> None:
    calibrated = replace(model, int8_calibration=Int8Calibration({"block1_conv1": 2.5}, 8, {"photos": 3}))
    write_bundle(calibrated, tmp_path / "bundle")
    bundle = read_bundle(tmp_path / "bundle")
    assert (bundle.architecture, bundle.int8_calibration) == (calibrated.architecture, calibrated.int8_calibration)


@pytest.mark.parametrize("ranges", [{"block1_conv1": 0.0}, {"block1_conv1": -1.0}, {"block1_conv1": float("nan")}])
def test_activation_ranges_that_are_not_positive_are_invalid(ranges: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"the activation range of block1_conv1 is .* but must be above 0"):
        Int8Calibration(ranges)


@pytest.mark.slow
def test_compiled_networks_are_cached_for_the_next_start(tiny_bundle: Path, tmp_path: Path) -> None:
    program = "\n".join(
        [
            "import sys",
            "from pathlib import Path",
            "from planespotter_models import load_engine, read_bundle",
            "model, cache = read_bundle(Path(sys.argv[1])), Path(sys.argv[2])",
            "load_engine(model, (1,), 'jax', cache=cache)",
        ]
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    command = [sys.executable, "-c", program, str(tiny_bundle), str(tmp_path / "cache")]
    subprocess.run(command, env=environment, check=True)
    assert list((tmp_path / "cache").iterdir())
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0  # its content is executed
