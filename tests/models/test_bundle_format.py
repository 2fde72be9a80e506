"""Bundle format: round trip, atomic replacement, and rejection of damaged or invalid bundles."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planespotter_models import (
    BundleError,
    IncompleteBundleError,
    LabelTree,
    load_engine,
    read_bundle,
    write_bundle,
)
from planespotter_models.bundle_format import _canonical, _sha256


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def test_written_bundle_is_read_back(tiny_bundle: Path, tmp_path: Path) -> None:
    first = read_bundle(tiny_bundle)
    write_bundle(first, tmp_path / "again")
    second = read_bundle(tmp_path / "again")
    assert (second.name, second.version, second.tree) == (first.name, first.version, first.tree)
    assert (second.calibration, second.metrics) == (first.calibration, first.metrics)
    assert second.network == first.network
    assert all(np.array_equal(second.weights[name], weight) for name, weight in first.weights.items())


def test_only_a_bundle_is_replaced_by_a_bundle(tiny_bundle: Path, copy: Path, tmp_path: Path) -> None:
    model = read_bundle(tiny_bundle)
    write_bundle(model, copy)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "precious.jpg").write_bytes(b"1")
    with pytest.raises(BundleError, match=r"is not replaced: precious\.jpg does not belong to a bundle"):
        write_bundle(model, tmp_path / "photos")
    assert (tmp_path / "photos" / "precious.jpg").read_bytes() == b"1"


def test_failure_while_replacing_keeps_the_old_bundle(
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
def test_any_flipped_bit_is_rejected(copy: Path, name: str, data: st.DataObject) -> None:
    original = (copy / name).read_bytes()
    changed = bytearray(original)
    changed[data.draw(st.integers(0, len(original) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (copy / name).write_bytes(changed)
    try:
        with pytest.raises(BundleError, match=r"damaged|cannot be read|reads format"):
            read_bundle(copy)
    finally:
        (copy / name).write_bytes(original)


def test_missing_folder_and_folder_without_a_bundle_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"No bundle at .*: the folder does not exist"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"the folder has no bundle\.json"):
        read_bundle(tmp_path)


def test_missing_file_is_named(copy: Path) -> None:
    (copy / "weights.safetensors").unlink()
    with pytest.raises(IncompleteBundleError, match=r"lacks weights\.safetensors"):
        read_bundle(copy)


def test_other_format_is_rejected_with_both_numbers(copy: Path) -> None:
    description = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({**description, "format": 3}))
    with pytest.raises(BundleError, match="has format 3; this version of planespotter reads format 2"):
        read_bundle(copy)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Apply `change` to the description of a bundle, with a valid hash, as if edited by hand."""
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
def test_description_with_a_missing_or_wrongly_typed_field_is_rejected(
    copy: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    rewrite(copy, change)
    with pytest.raises(BundleError, match=r"is invalid: a field is missing or has the wrong type"):
        read_bundle(copy)


def test_file_outside_the_bundle_is_rejected(copy: Path) -> None:
    rewrite(copy, lambda description: description["files"].update({"../secret": "0" * 64}))
    with pytest.raises(BundleError, match="refers to a file outside its folder"):
        read_bundle(copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_number_that_is_not_finite_is_rejected(copy: Path, tmp_path: Path, value: float) -> None:
    bundle = read_bundle(copy)
    weights = {**bundle.weights, "greens": np.array([0.0, value, 1.0], np.float32)}
    write_bundle(replace(bundle, weights=weights), tmp_path / "weights")
    with pytest.raises(BundleError, match=r"the weights 'greens' have values that are not finite"):
        read_bundle(tmp_path / "weights")
    rewrite(copy, lambda description: description["temperatures"].update(Airbus=value))
    with pytest.raises(BundleError, match=r"is not a finite number"):
        read_bundle(copy)


def test_number_that_overflows_is_rejected(copy: Path) -> None:
    text = (copy / "bundle.json").read_text()
    (copy / "bundle.json").write_text(text.replace("0.96", "1e999"))
    with pytest.raises(BundleError, match=r"1e999 is not a finite number"):
        read_bundle(copy)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes and /dev/zero")
@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
def test_pipe_and_device_are_rejected_without_being_read(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(BundleError):
        read_bundle(copy)
    (copy / name).unlink()
    (copy / name).symlink_to("/dev/zero")
    with pytest.raises(BundleError):
        read_bundle(copy)


def test_file_above_the_size_limit_is_rejected_without_being_read(copy: Path) -> None:
    with (copy / "weights.safetensors").open("r+b") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(BundleError, match=r"it has 1,099,511,627,776 bytes; the limit is 4,294,967,296"):
        read_bundle(copy)


def test_outputs_of_a_photo_do_not_depend_on_the_number_of_photos(tiny_bundle: Path) -> None:
    model = read_bundle(tiny_bundle)
    engine = load_engine(model, (1, 4))
    photos = np.random.default_rng(0).integers(0, 256, (7, model.height, model.width, 3), np.uint8)
    together = engine.run(photos)
    for index in range(len(photos)):
        alone = engine.run(photos[index : index + 1])
        for head, classes in model.tree.heads.items():
            assert together[head].shape == (7, classes)
            np.testing.assert_allclose(together[head][index], alone[head][0], rtol=1e-4, atol=1e-5)


def test_network_whose_heads_differ_from_the_label_tree_is_rejected(tiny_bundle: Path) -> None:
    model = read_bundle(tiny_bundle)
    branches = {**model.tree.branches, "ATR": {}}
    with pytest.raises(BundleError, match=r"has the heads .* but its label tree has"):
        load_engine(replace(model, tree=LabelTree(branches)), (1,))


def test_network_that_jax_cannot_read_is_rejected(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="Export it again from its run"):
        load_engine(replace(read_bundle(tiny_bundle), network=b"no network"), (1,))
