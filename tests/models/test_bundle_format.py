"""The bundle on disk: what was written is read, and anything else is refused with a sentence."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from planespotter_models import (
    Bundle,
    BundleError,
    Calibration,
    LabelTree,
    Thresholds,
    load_engine,
    read_bundle,
    write_bundle,
)
from planespotter_models.bundle_format import _canonical, _sha256
from planespotter_models.weight_quantization import MIN_CHANNEL_MAX, dequantize, quantize
from planespotter_training.export.export import as_function, serialise
from planespotter_training.network.model import Classifier


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def test_what_was_written_is_read(tiny_bundle: Path, tmp_path: Path) -> None:
    first = read_bundle(tiny_bundle)
    write_bundle(first, tmp_path / "again")
    second = read_bundle(tmp_path / "again")
    assert (second.name, second.version, second.tree) == (first.name, first.version, first.tree)
    assert (second.calibration, second.metrics) == (first.calibration, first.metrics)
    assert second.network == first.network
    assert all(np.array_equal(second.weights[name], weight) for name, weight in first.weights.items())


def test_a_bundle_replaces_a_bundle_but_nothing_else(tiny_bundle: Path, copy: Path, tmp_path: Path) -> None:
    model = read_bundle(tiny_bundle)
    write_bundle(model, copy)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "precious.jpg").write_bytes(b"1")
    with pytest.raises(BundleError, match=r"is not replaced: precious\.jpg does not belong to a bundle"):
        write_bundle(model, tmp_path / "photos")
    assert (tmp_path / "photos" / "precious.jpg").read_bytes() == b"1"


def test_a_failure_while_replacing_leaves_the_old_bundle(
    tiny_bundle: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if ".new." in path.name:
            raise KeyboardInterrupt
        return rename(path, target)

    model = read_bundle(tiny_bundle)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_bundle(model, copy)
    assert read_bundle(copy).name == "tiny"
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["bundle.json", "model.stablehlo", "weights.safetensors"]), data=st.data())
def test_one_flipped_bit_anywhere_is_refused(copy: Path, name: str, data: st.DataObject) -> None:
    original = (copy / name).read_bytes()
    changed = bytearray(original)
    changed[data.draw(st.integers(0, len(original) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (copy / name).write_bytes(changed)
    try:
        with pytest.raises(BundleError, match=r"damaged|cannot be read|reads format"):
            read_bundle(copy)
    finally:
        (copy / name).write_bytes(original)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"No bundle at .*: the folder does not exist"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"the folder has no bundle\.json"):
        read_bundle(tmp_path)


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match=r"lacks weights\.safetensors"):
        read_bundle(copy)


def test_a_later_format_is_refused_with_both_numbers(copy: Path) -> None:
    description = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({**description, "format": 3}))
    with pytest.raises(BundleError, match="has format 3; this version of planespotter reads format 2"):
        read_bundle(copy)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the description of a bundle, with the right hash, as someone might who edits it by hand."""
    description = json.loads((folder / "bundle.json").read_text())
    del description["sha256"]
    change(description)
    description["sha256"] = _sha256(_canonical(description))
    (folder / "bundle.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("files"),
        lambda d: d.update(files=[]),
        lambda d: d.update(files={}),
        lambda d: d.update(label_tree={"Airbus": ["A320"]}),
        lambda d: d.update(temperatures=[]),
        lambda d: d["temperatures"].update(Airbus="warm"),
        lambda d: d["temperatures"].update(Airbus=0),
        lambda d: d["input"].update(height="a"),
        lambda d: d["input"].update(height=-1),
        lambda d: d["thresholds"].update(model=None),
        lambda d: d.update(name=None),
        lambda d: d.update(decode_rule="guess"),
        lambda d: d.update(metrics=[{"value": 1}]),
    ],
)
def test_a_description_with_something_of_the_wrong_kind_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    rewrite(copy, change)
    with pytest.raises(BundleError, match=r"is invalid: a field is missing or has the wrong type"):
        read_bundle(copy)


def test_a_file_outside_the_bundle_is_refused(copy: Path) -> None:
    rewrite(copy, lambda description: description["files"].update({"../secret": "0" * 64}))
    with pytest.raises(BundleError, match="refers to a file outside its folder"):
        read_bundle(copy)


def test_the_engine_gives_every_photo_its_own_answer_whatever_the_number(tiny_bundle: Path) -> None:
    model = read_bundle(tiny_bundle)
    engine = load_engine(model, (1, 4))
    photos = np.random.default_rng(0).integers(0, 256, (7, model.height, model.width, 3), np.uint8)
    together = engine.run(photos)
    for index in range(len(photos)):
        alone = engine.run(photos[index : index + 1])
        for head, classes in model.tree.heads.items():
            assert together[head].shape == (7, classes)
            np.testing.assert_allclose(together[head][index], alone[head][0], rtol=1e-4, atol=1e-5)


def test_a_network_whose_heads_do_not_fit_the_tree_is_refused(tiny_bundle: Path) -> None:
    model = read_bundle(tiny_bundle)
    branches = {**model.tree.branches, "ATR": {}}
    with pytest.raises(BundleError, match=r"has the heads .* but its label tree has"):
        load_engine(replace(model, tree=LabelTree(branches)), (1,))


def test_a_network_that_jax_cannot_read_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="Export it again from its run"):
        load_engine(replace(read_bundle(tiny_bundle), network=b"no network"), (1,))


# ---------------------------------------------------------------- weights in 8 bits


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=4, max_side=5), elements=st.floats(-1e3, 1e3, width=32)),
)
@example(np.array([[1e-45]], np.float32))
def test_a_weight_in_8_bits_is_off_by_half_a_step_of_its_channel_at_most(weight: np.ndarray) -> None:
    largest = np.abs(weight).reshape(-1, weight.shape[-1]).max(axis=0)
    found = dequantize(quantize({"kernel": weight, "bias": weight.ravel()}))
    assert (np.abs(found["kernel"] - weight) <= largest / 127 * 0.501 + MIN_CHANNEL_MAX).all()
    np.testing.assert_array_equal(found["bias"], weight.ravel())
    np.testing.assert_allclose(dequantize(quantize(found))["kernel"], found["kernel"], rtol=1e-6)


def test_a_bundle_in_8_bits_is_a_quarter_of_the_size_and_answers_alike(tmp_path: Path) -> None:
    network = Classifier({"constructor": 2, "Airbus": 2, "Boeing": 2}, width=1 / 4, norm=False, seed=3)
    for layer in network.heads.values():  # so that random features make no extreme probabilities
        layer.kernel[...] = layer.kernel[...] / 10
    function, weights = as_function(network)
    tree = LabelTree({"Airbus": {"A320": [], "A380": []}, "Boeing": {"737": [], "747": []}})
    calibration = Calibration(dict.fromkeys(tree.heads, 1.0), Thresholds(0.5, 0.5, 0.5))
    network_file = serialise(function, weights, 32, 48)
    exact = Bundle("a", "1", tree, 32, 48, calibration, (), {}, "", network_file, weights)
    write_bundle(exact, tmp_path / "exact")
    write_bundle(exact, tmp_path / "rounded", quantize_weights=True)
    sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("exact", "rounded")]
    assert sizes[1] < sizes[0] * 0.27
    photos = np.random.default_rng(1).integers(0, 256, (8, 32, 48, 3), np.uint8)
    outputs = [load_engine(read_bundle(tmp_path / name), (8,)).run(photos) for name in ("exact", "rounded")]
    for head in tree.heads:
        drift = np.abs(outputs[0][head] - outputs[1][head])
        assert 0 < drift.max() < 0.1


def test_scales_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"kernel has shape \(2, 3\), but its scales have shape \(2,\)"):
        dequantize({"kernel": np.zeros((2, 3), np.int8), "kernel:scale": np.ones(2, np.float32)})
