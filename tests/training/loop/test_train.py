"""Training from catalog to bundle, as a user runs it, on easily separable images."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from flax import nnx
from rich.console import Console
from tests.training.loop.runs import stop_after

from planespotter_client.commands.main import main
from planespotter_models import EngineChoice, load_engine, read_bundle
from planespotter_training import recipes, run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.evaluate import evaluate
from planespotter_training.export.export import export
from planespotter_training.export.serialize import as_function, serialize
from planespotter_training.loop import train as training
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.prepare_run import locked_run
from planespotter_training.loop.train import train
from planespotter_training.network import checkpoint
from planespotter_training.network.model import Classifier, NetworkConfig

pytestmark = pytest.mark.slow

QUICK = (
    "height=32",
    "width=48",
    "channel_multiplier=0.0625",
    "batch_size=8",
    "min_photos=5",
    "warmup_epochs=0",
    "dropout=0.1",
    "channel_mixing=0.1",
    "ema_decay=0.9",
    "schedule=constant",  # so that runs of any length compile to the same program
)
HASTY = (*QUICK, "channel_multiplier=0.03125", "train_from=block5_conv1")  # where accuracy does not matter
BOTH = ("Airbus", "Boeing")
PHOTOS = 160
QUIET = Console(quiet=True)


def quick(folder: Path, out: Path, epochs: int, settings: tuple[str, ...] = HASTY) -> bool:
    recipe = recipes.load("small", [*settings, f"epochs={epochs}"])
    return train(TrainJob(folder, "small", recipe, out, BOTH), QUIET)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory, paint_catalog: Callable[[Path, int], Path]) -> Path:
    return paint_catalog(tmp_path_factory.mktemp("painted") / "catalog", PHOTOS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, painted: Path) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    assert quick(painted, out, 6, QUICK)
    return out


@pytest.fixture(scope="module")
def exported(trained: Path) -> Path:
    out = trained.parent / "bundle"
    export(trained, out, "painted", "7", QUIET)
    return out


def test_a_bundle_is_adapted_to_another_catalog_and_keeps_its_types(
    exported: Path, painted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The catalog has no 737 and no A380, and a type that the bundle does not know."""
    frame = pd.read_csv(painted / "catalog.csv", dtype=str, keep_default_na=False)
    frame = frame[frame["aircraft_type"].isin(["A320-214", "747-400"])].replace({"747-400": "787-9"})
    catalog = tmp_path / "corrected"
    (catalog / "images").mkdir(parents=True)
    for name, file in zip(frame["photo_id"], frame["file"], strict=True):
        (catalog / "images" / f"{name}.png").write_bytes((painted / "images" / Path(file).name).read_bytes())
    frame.assign(file=[f"images/{name}.png" for name in frame["photo_id"]]).to_csv(catalog / "catalog.csv", index=False)
    changes = ("epochs=8", "min_photos=5", "batch_size=8", "learning_rate=0.003")
    settings = [part for change in changes for part in ("--set", change)]
    out = tmp_path / "adapted"
    with pytest.raises(SystemExit, match="0"):
        main(["train", str(catalog), "--recipe", "adapt", "--init", str(exported), "--out", str(out), *settings])
    text = " ".join(capsys.readouterr().err.split())
    assert "The heads continue from it as well, with 1 further type." in text
    assert "path accuracy on" in text
    known, tree = read_bundle(exported).tree, run_folder.read(out).tree
    assert set(known.all_leaves) < set(tree.all_leaves)
    assert [leaf.family for leaf in tree.all_leaves if leaf not in known.all_leaves] == ["787"]
    path = json.loads((out / "improvement.json").read_text())["path"]
    assert path["photos"] > 5
    assert path["trained"] >= path["initial"]


def test_a_trained_network_classifies_the_images(exported: Path, painted: Path) -> None:
    metrics = {(m.source, m.name): m for m in evaluate(exported, painted, "test", Console(quiet=True)).metrics}
    assert metrics["", "constructor_accuracy"].value >= 0.9
    assert metrics["", "path_accuracy"].value >= 0.9
    assert {source for source, _ in metrics} == {"", "left", "right"}


def test_an_evaluation_has_the_metrics_of_the_bundle(exported: Path, painted: Path) -> None:
    evaluated = {
        (m.source, m.name, m.photos): m.value for m in evaluate(exported, painted, "test", Console(quiet=True)).metrics
    }
    in_bundle = {(m.source, m.name, m.photos): m.value for m in read_bundle(exported).metrics}
    assert evaluated == pytest.approx(in_bundle, abs=1.5 / max(photos for _, _, photos in in_bundle))


def test_the_run_records_label_tree_and_held_out_photos(trained: Path, painted: Path) -> None:
    run = run_folder.read(trained)
    assert run.tree.branches == {"Airbus": {"A320": ["A320-200"], "A380": ["A380-800"]}} | {
        "Boeing": {"737": ["737-800"], "747": ["747-400"]}
    }
    with (trained / "heldout.csv").open() as file:
        heldout = list(csv.DictReader(file))
    assert len(heldout) == run.photos["test"]
    assert all(Path(row["file"]).is_file() for row in heldout)
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == [1, 2, 3, 4, 5, 6]
    assert log[-1]["loss"] < log[0]["loss"] / 2


def test_a_stopped_and_resumed_training_is_bit_identical(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quick(painted, tmp_path / "uninterrupted", epochs=2)
    per_epoch = run_folder.read(tmp_path / "uninterrupted").photos["train"] // 8
    for steps in (3, per_epoch + 2):  # in the middle of either epoch
        with monkeypatch.context() as patch:
            patch.setattr(training, "stop_on_signal", partial(stop_after, steps))
            assert not quick(painted, tmp_path / "resumed", epochs=2)
    assert quick(painted, tmp_path / "resumed", epochs=2)
    networks = []
    for name in ("uninterrupted", "resumed"):
        run = run_folder.read(tmp_path / name)
        networks.append(checkpoint.load_network(tmp_path / name, run.recipe, run.tree)[0])
    leaves = [jax.tree.leaves(nnx.state(network)) for network in networks]
    assert all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))


def started(folder: Path, out: Path, epochs: int) -> subprocess.Popen[str]:
    """Start training as a user does, with standard error in a pipe."""
    settings = [word for setting in (*HASTY, f"epochs={epochs}") for word in ("--set", setting)]
    program = [
        sys.executable,
        "-m",
        "planespotter_client.commands.main",
        "train",
        str(folder),
        "--out",
        str(out),
        *settings,
    ]
    return subprocess.Popen(program, stderr=subprocess.PIPE, text=True)


def test_a_killed_training_resumes_and_logs_every_epoch_once(painted: Path, tmp_path: Path) -> None:
    with started(painted, tmp_path / "run", epochs=3) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 2"):
                process.kill()
    assert quick(painted, tmp_path / "run", epochs=3)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == [1, 2, 3]


def test_a_signal_saves_a_checkpoint_and_exits_with_130(painted: Path, tmp_path: Path) -> None:
    with started(painted, tmp_path / "run", epochs=500) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 1 "):
                process.send_signal(signal.SIGTERM)
        assert process.wait() == 130
    run = run_folder.read(tmp_path / "run")
    assert checkpoint.load_network(tmp_path / "run", run.recipe, run.tree)[1] > 0


def test_a_folder_with_other_files_is_not_overwritten(painted: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "catalog.csv").write_text("precious")
    with pytest.raises(TrainingError, match=r"holds other files than a run \(dataset/catalog\.csv\)"):
        quick(painted, tmp_path, epochs=1)
    assert (tmp_path / "dataset" / "catalog.csv").read_text() == "precious"


def test_another_training_in_the_same_folder_is_rejected(trained: Path, painted: Path) -> None:
    with pytest.raises(TrainingError, match="holds another run, recipe small with epochs=6"):
        quick(painted, trained, 3, QUICK)


def test_an_unknown_constructor_is_an_error_that_lists_the_known_ones(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has none of Fokker\. The catalog has: .*Airbus \(80\)"):
        train(TrainJob(painted, "small", recipes.load("small"), tmp_path, ("Airbus", "Fokker")), QUIET)


def test_a_constructor_named_twice_counts_once(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="only Airbus was named"):
        train(TrainJob(painted, "small", recipes.load("small"), tmp_path, ("Airbus", "airbus")), QUIET)


def test_a_training_that_could_not_start_leaves_its_folder_usable(painted: Path, tmp_path: Path) -> None:
    recipe = recipes.load("small", [*QUICK, "batch_size=4096"])
    with pytest.raises(TrainingError, match=r"batch_size is 4096, but the train split has only \d+ photos"):
        train(TrainJob(painted, "small", recipe, tmp_path / "run", BOTH), QUIET)
    assert quick(painted, tmp_path / "run", epochs=1)


def test_a_run_is_not_resumed_with_a_changed_catalog(
    paint_catalog: Callable[[Path, int], Path], tmp_path: Path
) -> None:
    folder = paint_catalog(tmp_path / "catalog", PHOTOS)
    assert quick(folder, tmp_path / "run", epochs=1)
    with (folder / "catalog.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(TrainingError, match="before it changed"):
        quick(folder, tmp_path / "run", epochs=1)


def test_a_run_without_later_settings_can_be_read(trained: Path, tmp_path: Path) -> None:
    description = json.loads((trained / "run.json").read_text())
    del description["recipe"]["channel_mixing"]
    (tmp_path / "run.json").write_text(json.dumps(description))
    assert run_folder.read(tmp_path).recipe.channel_mixing == 0


def test_a_folder_without_run_or_checkpoint_is_not_exported(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="There is no run at"):
        export(tmp_path, tmp_path / "bundle", "x", "1", QUIET)
    (tmp_path / "run.json").write_text((trained / "run.json").read_text())
    with pytest.raises(TrainingError, match="has no checkpoint yet"):
        export(tmp_path, tmp_path / "bundle", "x", "1", QUIET)


def test_a_run_with_the_preprocessing_of_the_original_is_not_exported(trained: Path, tmp_path: Path) -> None:
    run = run_folder.read(trained)
    run_folder.write(replace(run, recipe=replace(run.recipe, preprocessing="rgb-255")), tmp_path)
    with pytest.raises(TrainingError, match="preprocessing=rgb-255, which bundles do not have"):
        export(tmp_path, tmp_path / "bundle", "x", "1", QUIET)
    assert not (tmp_path / "bundle").exists()


def test_a_run_on_exact_labels_uses_only_photos_whose_label_names_a_model(
    paint_catalog: Callable[[Path, int], Path], tmp_path: Path
) -> None:
    folder = paint_catalog(tmp_path / "catalog", PHOTOS)
    photos = pd.read_csv(folder / "catalog.csv", dtype=str, keep_default_na=False)
    families = photos["aircraft_type"].str.extract(r"^(A\d+|\d+)", expand=False)
    photos.loc[::5, "aircraft_type"] = families
    photos.to_csv(folder / "catalog.csv", index=False)
    recipe = recipes.load("small", [*HASTY, "exact_labels=true"])
    with locked_run(TrainJob(folder, "small", recipe, tmp_path / "run", BOTH), QUIET):
        run = run_folder.read(tmp_path / "run")
    assert sum(run.photos.values()) == PHOTOS * 4 // 5
    assert f"{PHOTOS // 5} photos are not used: the label names no model (exact_labels)" in run.notes


def test_the_exported_function_is_the_network_for_any_number_of_photos() -> None:
    network = Classifier({"constructor": 2, "A": 3}, NetworkConfig(1 / 16, batch_norm=False), seed=3)
    function, weights = as_function(network)
    loaded = jax.export.deserialize(bytearray(serialize(function, weights, 32, 48)))
    assert loaded.platforms == ("cpu", "cuda")
    for n in (1, 3):
        photos = np.random.default_rng(n).integers(0, 256, (n, 32, 48, 3), np.uint8)
        expected = network(photos)  # type: ignore[arg-type]
        for head, output in loaded.call(weights, photos).items():
            np.testing.assert_allclose(output, expected[head], atol=1e-5)


def test_the_command_prints_errors_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, sentence in (
        (["train", tmp_path, "--out", tmp_path / "run"], "error: "),
        (["evaluate", tmp_path, tmp_path], "No bundle at"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        output = " ".join(capsys.readouterr().err.split())
        assert ended.value.code == 1
        assert output.startswith("error: ")
        assert sentence in output
        assert "Traceback" not in output


# ---------------------------------------------------------------- int8


def run_export(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments])
    return int(ended.value.code or 0)


def test_export_calibrates_int8_inference_and_reports_its_cost(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert run_export(str(trained), "--out", str(out), "--int8", "--max-accuracy-drop", "100") == 0
    assert "int8 inference on " in " ".join(capsys.readouterr().err.split())
    bundle = read_bundle(out)
    assert bundle.int8_calibration is not None
    assert 0 < bundle.int8_calibration.photos <= 256
    comparison = json.loads((out / "bundle.json").read_text())["int8_calibration"]["comparison"]
    assert comparison == bundle.int8_calibration.comparison
    assert set(comparison["agreement"]) == set(bundle.tree.heads)
    photos = np.random.default_rng(0).integers(60, 200, (8, bundle.height, bundle.width, 3), np.uint8)
    exact = load_engine(bundle, (8,), EngineChoice.JAX).run(photos)
    rounded = load_engine(bundle, (8,), EngineChoice.OPENVINO).run(photos)
    for head, values in exact.items():
        change = np.abs(np.exp(rounded[head]) - np.exp(values))
        assert 0 < change.max() < 0.2


def test_export_writes_nothing_above_the_maximum_accuracy_drop(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def far_off(*_: object) -> dict[str, object]:
        half = {"photos": 9, "float32": 1.0, "int8": 0.5, "points": -50.0, "interval": [-60.0, -40.0]}
        return {
            "photos": 9,
            "agreement": {},
            "constructor": half,
            "mean_probability_change": 0.0,
            "max_probability_change": 0.0,
        }

    monkeypatch.setattr("planespotter_training.export.export.compare_outputs", far_off)
    assert run_export(str(trained), "--out", str(tmp_path / "bundle"), "--int8") == 1
    assert "loses 50.00 points" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "bundle").exists()


def test_int8_calibration_requires_int8(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_export(str(trained), "--out", str(tmp_path / "bundle"), "--int8-calibration", str(tmp_path)) == 2
    assert "used for int8 inference only" in " ".join(capsys.readouterr().err.split())
