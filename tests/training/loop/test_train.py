"""Training from a catalog to a bundle, as a user runs it, on pictures that are easy to tell apart."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from planespotter_client.commands.main import main
from planespotter_models import EngineChoice, load_engine, read_bundle
from planespotter_training import recipes, run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.evaluate import evaluate
from planespotter_training.export.export import as_function, export, serialise
from planespotter_training.loop import train as training
from planespotter_training.loop.train import train
from planespotter_training.network import checkpoint
from planespotter_training.network.model import Classifier

pytestmark = pytest.mark.slow

QUICK = (
    "height=32",
    "width=48",
    "channels=0.0625",
    "batch_size=8",
    "min_photos=5",
    "warmup_epochs=0",
    "dropout=0.1",
    "colour=0.1",
    "ema=0.9",
    "schedule=constant",  # so that runs of any length, on as many photos, compile to the same program
)
HASTY = (*QUICK, "channels=0.03125", "train_from=block5_conv1")  # where it does not matter what is learned
BOTH = ("Airbus", "Boeing")
PHOTOS = 160


def quick(folder: Path, out: Path, epochs: int, settings: tuple[str, ...] = HASTY) -> bool:
    recipe = recipes.load("small", [*settings, f"epochs={epochs}"])
    return train(folder, "small", recipe, out, BOTH, Console(quiet=True))


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
    export(trained, out, "painted", "7", Console(quiet=True))
    return out


def test_a_trained_network_tells_the_pictures_apart(exported: Path, painted: Path) -> None:
    metrics = {(m.source, m.name): m for m in evaluate(exported, painted, "test", Console(quiet=True)).metrics}
    assert metrics["", "constructor_accuracy"].value >= 0.9
    assert metrics["", "path_accuracy"].value >= 0.9
    assert {source for source, _ in metrics} == {"", "left", "right"}


def test_what_is_evaluated_is_what_the_bundle_says(exported: Path, painted: Path) -> None:
    evaluated = {
        (m.source, m.name, m.photos): m.value for m in evaluate(exported, painted, "test", Console(quiet=True)).metrics
    }
    said = {(m.source, m.name, m.photos): m.value for m in read_bundle(exported).metrics}
    assert evaluated == pytest.approx(said, abs=1.5 / max(photos for _, _, photos in said))


def test_the_run_says_what_was_trained_and_which_photos_were_held_out(trained: Path, painted: Path) -> None:
    described = run_folder.read(trained)
    assert described.tree.branches == {"Airbus": {"A320": ["A320-200"], "A380": ["A380-800"]}} | {
        "Boeing": {"737": ["737-800"], "747": ["747-400"]}
    }
    with (trained / "heldout.csv").open() as file:
        heldout = list(csv.DictReader(file))
    assert len(heldout) == described.photos["test"]
    assert all(Path(row["file"]).is_file() for row in heldout)
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == [1, 2, 3, 4, 5, 6]
    assert log[-1]["loss"] < log[0]["loss"] / 2


def test_stopping_anywhere_and_going_on_gives_the_same_network_bit_for_bit(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quick(painted, tmp_path / "whole", epochs=2)
    per_epoch = run_folder.read(tmp_path / "whole").photos["train"] // 8
    for steps in (3, per_epoch + 2):  # in the middle of either epoch
        with monkeypatch.context() as patch:
            patch.setattr(training, "_stop_on_signal", partial(stop_after, steps))
            assert not quick(painted, tmp_path / "parts", epochs=2)
    assert quick(painted, tmp_path / "parts", epochs=2)
    networks = []
    for name in ("whole", "parts"):
        described = run_folder.read(tmp_path / name)
        networks.append(checkpoint.load_network(tmp_path / name, described.recipe, described.tree)[0])
    leaves = [jax.tree.leaves(nnx.state(network)) for network in networks]
    assert all(np.array_equal(one, other) for one, other in zip(*leaves, strict=True))


@contextmanager
def stop_after(steps: int) -> Iterator[object]:
    """Stand in for the signal: it comes after that many steps. The loop asks once before each step."""
    asked = iter(range(steps))

    class Stop:
        def is_set(self) -> bool:
            return next(asked, None) is None

    yield Stop()


def started(folder: Path, out: Path, epochs: int) -> subprocess.Popen[str]:
    """Start training as a user does, with its lines on standard error to be read."""
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


def test_a_killed_training_goes_on_and_logs_every_epoch_once(painted: Path, tmp_path: Path) -> None:
    with started(painted, tmp_path / "run", epochs=3) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 2"):
                process.kill()
    assert quick(painted, tmp_path / "run", epochs=3)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == [1, 2, 3]


def test_a_signal_saves_and_ends_with_its_code(painted: Path, tmp_path: Path) -> None:
    with started(painted, tmp_path / "run", epochs=500) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 1 "):
                process.send_signal(signal.SIGTERM)
        assert process.wait() == 130
    described = run_folder.read(tmp_path / "run")
    assert checkpoint.load_network(tmp_path / "run", described.recipe, described.tree)[1] > 0


def test_a_folder_with_other_things_is_left_alone(painted: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "catalog.csv").write_text("precious")
    with pytest.raises(TrainingError, match=r"holds what is no part of a run \(dataset/catalog\.csv\), so it is left"):
        quick(painted, tmp_path, epochs=1)
    assert (tmp_path / "dataset" / "catalog.csv").read_text() == "precious"


def test_another_training_in_the_same_folder_is_refused(trained: Path, painted: Path) -> None:
    with pytest.raises(TrainingError, match="holds another run, recipe small with epochs=6"):
        quick(painted, trained, 3, QUICK)


def test_constructors_that_the_catalog_lacks_are_named_beside_those_it_has(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has none of Fokker\. The catalog has: .*Airbus \(80\)"):
        train(painted, "small", recipes.load("small"), tmp_path, ("Airbus", "Fokker"), Console(quiet=True))


def test_one_constructor_named_twice_is_one(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="only Airbus was named"):
        train(painted, "small", recipes.load("small"), tmp_path, ("Airbus", "airbus"), Console(quiet=True))


def test_a_training_that_could_not_begin_leaves_its_folder_free(painted: Path, tmp_path: Path) -> None:
    recipe = recipes.load("small", [*QUICK, "batch_size=4096"])
    with pytest.raises(TrainingError, match=r"A batch of 4096 photos is more than the \d+ to train on"):
        train(painted, "small", recipe, tmp_path / "run", BOTH, Console(quiet=True))
    assert quick(painted, tmp_path / "run", epochs=1)


def test_a_run_does_not_go_on_with_a_catalog_that_has_changed(
    paint_catalog: Callable[[Path, int], Path], tmp_path: Path
) -> None:
    folder = paint_catalog(tmp_path / "catalog", PHOTOS)
    assert quick(folder, tmp_path / "run", epochs=1)
    with (folder / "catalog.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(TrainingError, match="as it was before it changed"):
        quick(folder, tmp_path / "run", epochs=1)


def test_a_run_of_an_earlier_version_whose_recipe_lacks_later_settings_can_be_read(
    trained: Path, tmp_path: Path
) -> None:
    description = json.loads((trained / "run.json").read_text())
    del description["recipe"]["colour"]
    (tmp_path / "run.json").write_text(json.dumps(description))
    assert run_folder.read(tmp_path).recipe.colour == 0


def test_exporting_what_is_no_run_or_has_no_checkpoint_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="There is no run at"):
        export(tmp_path, tmp_path / "bundle", "x", "1", Console(quiet=True))
    (tmp_path / "run.json").write_text((trained / "run.json").read_text())
    with pytest.raises(TrainingError, match="has no checkpoint yet"):
        export(tmp_path, tmp_path / "bundle", "x", "1", Console(quiet=True))


def test_the_exported_function_is_the_network_for_any_number_of_photos() -> None:
    network = Classifier({"constructor": 2, "A": 3}, width=1 / 16, norm=False, seed=3)
    function, weights = as_function(network)
    loaded = jax.export.deserialize(bytearray(serialise(function, weights, 32, 48)))
    assert loaded.platforms == ("cpu", "cuda")
    for n in (1, 3):
        photos = np.random.default_rng(n).integers(0, 256, (n, 32, 48, 3), np.uint8)
        expected = network(photos)  # type: ignore[arg-type]
        for head, output in loaded.call(weights, photos).items():
            np.testing.assert_allclose(output, expected[head], atol=1e-5)


def test_the_command_says_what_is_wrong_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, sentence in (
        (["train", tmp_path, "--out", tmp_path / "run"], "error: "),
        (["evaluate", tmp_path, tmp_path], "There is no bundle at"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = " ".join(capsys.readouterr().err.split())
        assert ended.value.code == 1
        assert said.startswith("error: ")
        assert sentence in said
        assert "Traceback" not in said


# ---------------------------------------------------------------- 8 bits


def exporting(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments])
    return int(ended.value.code or 0)


def test_export_prepares_8_bits_and_says_what_they_cost(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert exporting(str(trained), "--out", str(out), "--int8", "--max-loss", "100") == 0
    assert "In 8 bits, on " in " ".join(capsys.readouterr().err.split())
    made = read_bundle(out)
    assert made.int8_calibration is not None
    assert 0 < made.int8_calibration.photos <= 256
    compared = json.loads((out / "bundle.json").read_text())["int8_calibration"]["comparison"]
    assert compared == made.int8_calibration.comparison
    assert set(compared["agreement"]) == set(made.tree.heads)
    photos = np.random.default_rng(0).integers(60, 200, (8, made.height, made.width, 3), np.uint8)
    exact = load_engine(made, (8,), EngineChoice.JAX).run(photos)
    rounded = load_engine(made, (8,), EngineChoice.OPENVINO).run(photos)
    for head, values in exact.items():
        drift = np.abs(np.exp(rounded[head]) - np.exp(values))
        assert 0 < drift.max() < 0.2


def test_export_writes_nothing_that_loses_too_much(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def far_off(*_: object) -> dict[str, object]:
        half = {"photos": 9, "float32": 1.0, "int8": 0.5, "points": -50.0, "interval": [-60.0, -40.0]}
        return {"photos": 9, "agreement": {}, "constructor": half, "mean_drift": 0.0, "largest_drift": 0.0}

    monkeypatch.setattr("planespotter_training.export.export.compare", far_off)
    assert exporting(str(trained), "--out", str(tmp_path / "bundle"), "--int8") == 1
    assert "loses 50.00 points" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "bundle").exists()


def test_a_catalog_to_choose_ranges_on_is_for_8_bits_only(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exporting(str(trained), "--out", str(tmp_path / "bundle"), "--calibrate", str(tmp_path)) == 2
    assert "needed for 8 bits only" in " ".join(capsys.readouterr().err.split())
