"""Engines: whichever runs the network, every photo gets the same answer."""

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
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from planespotter_models import (
    Architecture,
    Bundle,
    BundleError,
    Calibration,
    EngineMode,
    Int8Calibration,
    LabelTree,
    Thresholds,
    cores,
    decode_photo,
    load_engine,
    read_bundle,
    write_bundle,
)
from planespotter_models.engines import load as engines
from planespotter_models.engines.base import EngineChoice, split_into_batches
from planespotter_models.engines.load import choose_engine
from planespotter_scraping.sample_site.drawing import draw
from planespotter_scraping.sample_site.photos import collection
from planespotter_training.export.export import as_function, by_platform, in_bfloat16, serialise
from planespotter_training.network.model import Classifier

TREE = LabelTree({"Airbus": {"A320": [], "A380": []}, "Boeing": {"737": ["737-700", "737-800"], "747": []}})
HEIGHT, WIDTH = 64, 96
SIZES = (1, 4)


def random_bundle(pooling: str, hidden: int, *, mirror: bool) -> Bundle:
    network = Classifier(
        TREE.heads,
        width=1 / 16,
        norm=False,
        seed=1,
        pooling=pooling,
        size=(HEIGHT, WIDTH),
        hidden=hidden,
        mirror=mirror,
    )
    for layer in network.heads.values():  # so that random features make no extreme probabilities
        layer.kernel[...] = layer.kernel[...] / 3
    function, weights = as_function(network)
    exported = serialise(function, weights, HEIGHT, WIDTH)
    calibration = Calibration(dict.fromkeys(TREE.heads, 1.0), Thresholds(0.5, 0.5, 0.5))
    layers = Architecture(pooling, mirror)
    return Bundle("r", "1", TREE, HEIGHT, WIDTH, calibration, (), {}, jax.__version__, exported, weights, layers)


@pytest.fixture(scope="module")
def model() -> Bundle:
    return random_bundle("average", 0, mirror=False)


@pytest.fixture(scope="module")
def drawings() -> NDArray[np.uint8]:
    photos = [draw(photo.airliner, photo.livery, photo.photo_id) for photo in collection(12)]
    return np.stack([decode_photo(photo, HEIGHT, WIDTH) for photo in photos])


@pytest.mark.parametrize(
    ("pooling", "hidden", "mirror"),
    [("average", 0, False), ("average+max", 0, True), ("flatten", 8, False)],
)
def test_openvino_answers_as_jax_does(pooling: str, hidden: int, mirror: bool, drawings: NDArray[np.uint8]) -> None:
    made = random_bundle(pooling, hidden, mirror=mirror)
    expected = load_engine(made, (12,), EngineChoice.JAX).run(drawings)
    found = load_engine(made, (12,), EngineChoice.OPENVINO).run(drawings)
    assert found.keys() == expected.keys()
    for head, outputs in expected.items():
        assert found[head].dtype == np.float32
        np.testing.assert_allclose(found[head], outputs, atol=1e-3)


def test_in_8_bits_the_shipped_network_says_the_same_of_drawings() -> None:
    from planespotter_models import FOLDER

    shipped = read_bundle(FOLDER / "airliners" / "1")
    if shipped.int8_calibration is None:
        pytest.skip("the network that is shipped was not prepared for 8 bits")
    photos = [draw(photo.airliner, photo.livery, photo.photo_id) for photo in collection(48)]
    pixels = np.stack([decode_photo(photo, shipped.height, shipped.width) for photo in photos])
    exact = load_engine(shipped, (16,), EngineChoice.JAX).run(pixels)
    rounded = load_engine(shipped, (16,), EngineChoice.OPENVINO).run(pixels)
    agreement = np.mean(exact["constructor"].argmax(axis=1) == rounded["constructor"].argmax(axis=1))
    assert agreement >= 0.95
    for head, outputs in exact.items():
        assert np.abs(np.exp(rounded[head]) - np.exp(outputs)).mean() < 0.02


@pytest.mark.parametrize("engine", [EngineChoice.JAX, EngineChoice.OPENVINO])
@pytest.mark.parametrize("mode", list(EngineMode))
def test_every_photo_gets_its_own_answer_whatever_the_number_and_the_thread(
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


def test_bfloat16_is_for_a_gpu_and_changes_nothing_on_a_cpu(model: Bundle, drawings: NDArray[np.uint8]) -> None:
    network = Classifier(TREE.heads, width=1 / 16, norm=False, seed=1)
    function, weights = as_function(network)
    rounded = in_bfloat16(network)
    exported = serialise(by_platform(function, rounded), weights, HEIGHT, WIDTH)
    assert "bf16" in jax.export.deserialize(bytearray(exported)).mlir_module()
    expected, off = (jax.jit(one)(weights, drawings) for one in (function, rounded))
    engine = load_engine(replace(model, network=exported, weights=weights), (12,), EngineChoice.JAX)
    for head, outputs in engine.run(drawings).items():
        np.testing.assert_allclose(outputs, expected[head], atol=1e-3)
        assert np.abs(off[head] - outputs).max() > 1e-3


def test_photos_of_another_shape_or_kind_are_refused(model: Bundle) -> None:
    loaded = load_engine(model, (1,), EngineChoice.OPENVINO)
    for wrong in (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, HEIGHT, WIDTH, 3), np.float32)):
        with pytest.raises(ValueError, match=r"photos must be uint8 \[n,"):
            loaded.run(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [(), (0, 4), (-1,)])
@pytest.mark.parametrize("engine", [EngineChoice.JAX, EngineChoice.OPENVINO])
def test_batch_sizes_that_are_none_are_refused(model: Bundle, engine: EngineChoice, sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"batch_sizes must be one number of photos or more, each at least 1; got"):
        load_engine(model, sizes, engine)


# ---------------------------------------------------------------- any number of photos


@given(
    st.integers(1, 200),
    st.sets(st.integers(1, 40), min_size=1).map(sorted),
    st.floats(0, 1),
)
def test_any_number_is_made_up_of_the_sizes_that_are_compiled(photos: int, sizes: list[int], padding: float) -> None:
    parts = split_into_batches(photos, sizes, padding)
    assert set(parts) <= set(sizes)
    assert sum(parts[:-1]) < photos <= sum(parts)
    room = sum(parts) - photos
    assert room <= padding * parts[-1] or parts[-1] == min(sizes)


def test_little_is_spent_on_padding() -> None:
    sizes = (1, 2, 4, 8, 16, 32)
    assert split_into_batches(17, sizes, 1 / 8) == [16, 1]
    assert split_into_batches(31, sizes, 1 / 8) == [32]
    assert split_into_batches(17, sizes, 1) == [32]
    assert split_into_batches(70, sizes, 1 / 8) == [32, 32, 4, 2]


# ---------------------------------------------------------------- which engine


@pytest.fixture
def no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "openvino" else find(name, *rest)
    )


def test_on_a_cpu_openvino_is_chosen_where_it_can_run_the_bundle(model: Bundle) -> None:
    assert choose_engine(model) == EngineChoice.OPENVINO
    assert choose_engine(replace(model, architecture=None)) == EngineChoice.JAX


def test_on_an_accelerator_jax_is_chosen(model: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_accelerator", lambda: True)
    assert choose_engine(model) == EngineChoice.JAX


@pytest.mark.usefixtures("no_openvino")
def test_without_openvino_jax_is_chosen_and_openvino_refused(model: Bundle) -> None:
    assert choose_engine(model) == EngineChoice.JAX
    with pytest.raises(BundleError, match="needs OpenVINO, which is not installed"):
        choose_engine(model, EngineChoice.OPENVINO)


def test_a_bundle_that_does_not_tell_its_layers_is_for_jax_alone(model: Bundle) -> None:
    with pytest.raises(BundleError, match="only the engine jax can run it"):
        choose_engine(replace(model, architecture=None), EngineChoice.OPENVINO)


def test_8_bits_are_chosen_by_themselves_only_where_the_processor_multiplies_them(
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


def test_openvino_tells_nobody_that_it_is_used(tmp_path: Path) -> None:
    program = "\n".join(
        [
            "import os, sys",
            "os.register_at_fork(before=lambda: print('forked'))",
            "from planespotter_models.engines import openvino",
            "found = [name for name in sys.modules if name.startswith('openvino_telemetry') and sys.modules[name]]",
            "print(found)",
        ]
    )
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True)
    assert (found.stdout, found.returncode) == ("[]\n", 0), found.stderr
    assert list(tmp_path.iterdir()) == []  # else it would keep a number for this user here


# ---------------------------------------------------------------- bundles that cannot be run


def test_weights_that_make_no_network_are_refused(model: Bundle) -> None:
    weights = {name: weight for name, weight in model.weights.items() if "block3_conv2" not in name}
    weights["trunk.layers.block3_conv3.kernel"] = np.zeros((3, 3, 5, 7), np.float32)
    with pytest.raises(BundleError, match="do not form a network under OpenVINO"):
        load_engine(replace(model, weights=weights), (1,), EngineChoice.OPENVINO)


def test_heads_that_do_not_fit_the_tree_are_refused(model: Bundle) -> None:
    tree = LabelTree({**TREE.branches, "Boeing": {"737": [], "747": []}})
    with pytest.raises(BundleError, match=r"has the heads .* but its label tree has"):
        load_engine(replace(model, tree=tree), (1,), EngineChoice.OPENVINO)


def test_what_it_takes_for_8_bits_is_written_and_read(model: Bundle, tmp_path: Path) -> None:
    whole = replace(model, int8_calibration=Int8Calibration({"block1_conv1": 2.5}, 8, {"photos": 3}))
    write_bundle(whole, tmp_path / "whole")
    found = read_bundle(tmp_path / "whole")
    assert (found.architecture, found.int8_calibration) == (whole.architecture, whole.int8_calibration)


@pytest.mark.parametrize("ranges", [{"block1_conv1": 0.0}, {"block1_conv1": -1.0}, {"block1_conv1": float("nan")}])
def test_ranges_that_are_none_are_refused(ranges: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"the activation range of block1_conv1 is .* but must be above 0"):
        Int8Calibration(ranges)


def test_what_jax_has_compiled_is_kept_for_the_next_start(tiny_bundle: Path, tmp_path: Path) -> None:
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
    command = [sys.executable, "-c", program, str(tiny_bundle), str(tmp_path / "kept")]
    subprocess.run(command, env=environment, check=True)
    assert list((tmp_path / "kept").iterdir())
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0  # what is read from there is run


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1), ("nonsense", None), (None, None)],
)
def test_a_container_uses_no_more_cores_than_its_share_of_time(
    tmp_path: Path, quota: str | None, expected: int | None
) -> None:
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota)
    assert cores(file) == (expected or cores(tmp_path / "none"))
