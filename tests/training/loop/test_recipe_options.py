"""The loop with all that a recipe can ask for: kept or streamed, stopped or not, on one device or four, the same."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pandas as pd
import pytest
from flax import nnx
from rich.console import Console

from planespotter_scraping import catalog
from planespotter_training import recipes, run_folder
from planespotter_training.data.dataset import reopen
from planespotter_training.errors import TrainingError
from planespotter_training.loop import devices
from planespotter_training.loop import train as training
from planespotter_training.loop.prepare_run import begin
from planespotter_training.loop.train import train
from planespotter_training.network import checkpoint

pytestmark = pytest.mark.slow

BOTH = ("Airbus", "Boeing")
QUIET = Console(quiet=True)
# Devices wait for one another for so many seconds; XLA gives up after 30 or 40, which a busy machine may well take.
PATIENT = "--xla_cpu_collective_call_terminate_timeout_seconds=600 --xla_cpu_collective_timeout_seconds=600"
SMALL = ("height=32", "width=48", "channels=0.03125", "batch_size=8", "min_photos=5", "epochs=1", "warmup_epochs=0")
AS_THEY_ARE = ("shift=0", "zoom=0", "light=0", "colour=0", "flip=false")  # compiled in half the time
EVERYTHING = (
    *SMALL,
    "learning_rate=0.0001",
    "steps_per_epoch=6",
    "train_from=block5_conv1",  # the way back through all of it takes long to compile
    "pooling=average+max",
    "hidden=4",
    "mirror=true",
    "control=joint",
    "label_smoothing=0.1",
    "layer_decay=0.8",
    "unfreeze_epochs=0.5",
    "ema=0.9",
    "type_balance=0.5",
    "rotation=10",
    "random_ops=2",
    "l2=0.001",
)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory, paint_catalog: Callable[[Path, int], Path]) -> Path:
    return paint_catalog(tmp_path_factory.mktemp("painted") / "catalog", 80)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, painted: Path) -> Path:
    """A run without a stop, whose photos stayed on the device."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(painted, "small", recipes.load("small", EVERYTHING), out, BOTH, QUIET)
    return out


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, painted: Path) -> Path:
    """The same run, with its photos streamed, stopped after four steps and again after five."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    recipe = recipes.load("small", EVERYTHING)
    with pytest.MonkeyPatch.context() as patch:
        for count in (4, 1):
            patch.setattr(training, "_stop_on_signal", partial(stop_after, count))
            assert not train(painted, "small", recipe, out, BOTH, QUIET, memory=0)
    assert train(painted, "small", recipe, out, BOTH, QUIET, memory=0)
    return out


def steps(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]


def weights(folder: Path) -> list[Any]:
    described = run_folder.read(folder)
    return jax.tree.leaves(nnx.state(checkpoint.load_network(folder, described.recipe, described.tree)[0]))


@contextmanager
def stop_after(count: int) -> Iterator[object]:
    """Stand in for the signal: it comes after that many steps. The loop asks once before each step."""
    asked = iter(range(count))

    class Stop:
        def is_set(self) -> bool:
            return next(asked, None) is None

    yield Stop()


def test_a_run_that_streams_its_photos_and_was_stopped_ends_with_the_same_weights_bit_for_bit(
    whole: Path, stopped: Path
) -> None:
    assert all(np.array_equal(one, other) for one, other in zip(weights(whole), weights(stopped), strict=True))
    same = ("step", "loss", "constructor_accuracy", "gradient_norm", "learning_rate")
    assert [[row[name] for name in same] for row in steps(whole)] == [
        [row[name] for name in same] for row in steps(stopped)
    ]
    epochs = [json.loads((folder / "log.jsonl").read_text()) for folder in (whole, stopped)]
    for name in ("loss", "constructor_accuracy"):  # of the whole epoch, not of what came after the last stop
        assert epochs[0][name] == epochs[1][name]


def test_four_devices_share_the_batch_and_come_to_the_same_loss(whole: Path, painted: Path, tmp_path: Path) -> None:
    settings = [word for setting in EVERYTHING for word in ("--set", setting)]
    command = [sys.executable, "-m", "planespotter_client.commands.main", "train", str(painted), "--out", str(tmp_path)]
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count=4 {PATIENT}"}
    done = subprocess.run([*command, *settings], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for one, four in zip(steps(whole), steps(tmp_path), strict=True):
        assert four["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert four["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-2)


def test_two_processes_of_two_devices_train_one_network_and_come_to_the_same_loss(
    painted: Path, tmp_path: Path, kept_port: int
) -> None:
    """They find one another as hosts do; each decodes its half of every batch."""
    settings = (*SMALL, *AS_THEY_ARE, "steps_per_epoch=4", "train_from=heads", "learning_rate=0.01")
    assert train(painted, "small", recipes.load("small", settings), tmp_path / "alone", BOTH, QUIET)
    words = [word for setting in settings for word in ("--set", setting)]
    command = [
        sys.executable,
        "-m",
        "planespotter_client.commands.main",
        "train",
        str(painted),
        *words,
        "--memory",
        "0",
    ]
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count=2 {PATIENT}",
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{kept_port}",
        "JAX_NUM_PROCESSES": "2",
    }
    with ExitStack() as ended:
        processes = []
        for number in range(2):
            process = subprocess.Popen(
                [*command, "--out", str(tmp_path / "together")],
                env={**environment, "JAX_PROCESS_ID": str(number)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            ended.enter_context(process)
            ended.callback(process.kill)
            processes.append(process)
        said = [process.communicate(timeout=1200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    losses = [[row["loss"] for row in steps(tmp_path / name)] for name in ("alone", "together")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    for one, other in zip(weights(tmp_path / "alone"), weights(tmp_path / "together"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    measured = [json.loads((tmp_path / name / "measured.json").read_text()) for name in ("alone", "together")]
    assert measured[0].keys() == measured[1].keys() == {"validation", "test"}


def test_what_is_used_is_the_average_of_weights_and_of_batch_statistics(stopped: Path) -> None:
    restore = ocp.args.StandardRestore
    with checkpoint.manager(stopped, create=False) as checkpoints:
        before, after = (
            checkpoints.restore(step, args=ocp.args.Composite(network=restore(), learning=restore())) for step in (5, 6)
        )
    averages = [jax.tree.leaves_with_path(held["network"]) for held in (before, after)]
    learning = jax.tree.leaves_with_path(after["learning"])
    moved = set()
    for (path, old), (_, new), (_, last) in zip(*averages, learning, strict=True):
        # A young average forgets faster than the recipe's 0.9: 6 of 15 parts of the old one are kept at the sixth step.
        np.testing.assert_allclose(new, old * 0.4 + last * 0.6, rtol=1e-5, atol=1e-7)
        if not np.array_equal(new, last):
            moved.add([getattr(key, "key", None) for key in path if getattr(key, "key", None) != "value"][-1])
    assert {"kernel", "bias", "scale", "mean", "var"} <= moved


def test_the_control_is_measured_beside_the_chain(whole: Path) -> None:
    measured = json.loads((whole / "measured.json").read_text())
    assert set(measured) == {"validation", "test"}
    for side in measured.values():
        of_chain, of_control = (
            {(metric["source"], metric["name"], metric["photos"]) for metric in side[kind]}
            for kind in ("chain", "control")
        )
        assert ("", "constructor_accuracy") in {row[:2] for row in of_control}
        assert of_chain == of_control
    (line,) = (json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines())
    assert line["control"].keys() | {"loss"} == line["validation"].keys()


def test_every_step_and_epoch_has_its_line(whole: Path) -> None:
    assert [row["step"] for row in steps(whole)] == [1, 2, 3, 4, 5, 6]
    (line,) = (json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines())
    assert line["loss"] == pytest.approx(np.mean([row["loss"] for row in steps(whole)]))
    assert 0 <= line["share_of_peak"] < 1


def test_a_loss_that_is_no_number_ends_training_and_names_the_photos(painted: Path, tmp_path: Path) -> None:
    recipe = recipes.load("small", [*SMALL, *AS_THEY_ARE, "learning_rate=1e38", "norm=false", "train_from=heads"])
    with pytest.raises(
        TrainingError,
        match=r"no number any more at step \d, at the photos p\d+, p\d+.*: training has diverged\. There is no "
        r"checkpoint yet\. Train into another folder with a lower learning rate than 1e\+38",
    ):
        train(painted, "small", recipe, tmp_path, BOTH, QUIET)


def test_two_trainings_of_one_run_at_a_time_are_refused(whole: Path, painted: Path) -> None:
    with (whole / ".run.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TrainingError, match="Another training is writing to"):
            train(painted, "small", recipes.load("small", EVERYTHING), whole, BOTH, QUIET)


def test_a_batch_that_devices_cannot_share_is_refused(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = devices.Layout()
    layout.devices = 3
    monkeypatch.setattr(devices, "Layout", lambda: layout)
    with pytest.raises(TrainingError, match="A batch of 8 photos cannot be shared evenly by 3 devices"):
        train(painted, "small", recipes.load("small", SMALL), tmp_path, BOTH, QUIET)


# ---------------------------------------------------------------- what is left out of training


def begun(folder: Path, out: Path, left_out: dict[str, list[str]], like: Path | None = None) -> run_folder.Run:
    recipe = recipes.load("small", SMALL)
    return begin(catalog.read(folder), folder, "", "small", recipe, out, BOTH, QUIET, left_out=left_out, like=like)


def test_runs_on_the_very_same_photos_can_share_the_files_of_their_data_set(painted: Path, tmp_path: Path) -> None:
    begun(painted, tmp_path / "one", {})
    begun(painted, tmp_path / "two", {}, tmp_path / "one")
    begun(painted, tmp_path / "other", {"sources": ["left"]}, tmp_path / "one")
    one, two, other = (
        {file.name: file.stat().st_ino for file in (tmp_path / name / "dataset").rglob("*.array_record*")}
        for name in ("one", "two", "other")
    )
    assert one == two
    assert not set(one.values()) & set(other.values())
    assert len(reopen(tmp_path / "two" / "dataset")["train"]) == run_folder.read(tmp_path / "one").photos["train"]


def test_a_source_or_an_airline_that_is_left_out_is_on_the_test_side_only(painted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / "images").symlink_to(painted / "images")
    rows = pd.read_csv(painted / "catalog.csv", dtype=str, keep_default_na=False)
    rows["airline"] = ["Blue Air" if number % 5 == 0 else "Red Air" for number in range(len(rows))]
    rows.to_csv(folder / "catalog.csv", index=False)
    made = begun(folder, tmp_path / "run", {"sources": ["LEFT"], "airlines": ["blue air"]})
    assert (
        run_folder.read(tmp_path / "run").left_out == made.left_out == {"sources": ["LEFT"], "airlines": ["blue air"]}
    )
    split = pd.read_csv(tmp_path / "run" / "split.csv", dtype=str, keep_default_na=False)
    out = (split["source"] == "left") | (split["airline"] == "Blue Air")
    assert set(split["split"][out]) == {"test"}
    assert set(split["split"][~out]) == {"train", "validation", "test"}
    seen_there = set(split["registration"][out]) - {""}
    drawn_along = ~out & split["registration"].isin(seen_there)
    assert drawn_along.any()
    assert set(split["split"][drawn_along]) == {"test"}
    assert any("more photos are kept for the test: they show the same airframes" in note for note in made.notes)
    assert made.sources.keys() == {"right"}


def test_a_name_that_no_photo_has_is_refused_beside_those_that_there_are(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has the source 'up'\. The most frequent are: left \(40\), right \(40\)"):
        begun(painted, tmp_path / "run", {"sources": ["up"]})
    with pytest.raises(TrainingError, match=r"has the airline 'Blue Air'\. The most frequent are: none is named"):
        begun(painted, tmp_path / "run", {"airlines": ["Blue Air"]})


def test_a_run_does_not_go_on_with_others_left_out(whole: Path, painted: Path) -> None:
    recipe = recipes.load("small", EVERYTHING)
    with pytest.raises(TrainingError, match="holds another run, with nothing left out of training"):
        train(painted, "small", recipe, whole, BOTH, QUIET, left_out={"sources": ["left"]})
