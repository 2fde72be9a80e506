"""Training loop with all recipe options: cached or streamed, stopped or not, on one device or four, the same result."""

import fcntl
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pandas as pd
import pytest
from rich.console import Console
from tests.training.loop.runs import steps, stop_after, weights

from planespotter_scraping import catalog
from planespotter_training import recipes, run_folder
from planespotter_training.data.dataset import reopen
from planespotter_training.errors import TrainingError
from planespotter_training.loop import devices
from planespotter_training.loop import train as training
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.prepare_run import check_same, create_run
from planespotter_training.loop.train import train
from planespotter_training.network import checkpoint

pytestmark = pytest.mark.slow

BOTH = ("Airbus", "Boeing")
QUIET = Console(quiet=True)
# Seconds that devices wait for one another; the defaults of 30 and 40 are too short for a busy machine.
LONG_TIMEOUTS = "--xla_cpu_collective_call_terminate_timeout_seconds=600 --xla_cpu_collective_timeout_seconds=600"
SMALL = (
    "height=32",
    "width=48",
    "channel_multiplier=0.03125",
    "batch_size=8",
    "min_photos=5",
    "epochs=1",
    "warmup_epochs=0",
)
NO_AUGMENTATION = (
    "shift=0",
    "zoom=0",
    "brightness_contrast=0",
    "channel_mixing=0",
    "flip=false",
)  # compiled in half the time
EVERYTHING = (
    *SMALL,
    "learning_rate=0.0001",
    "steps_per_epoch=6",
    "train_from=block5_conv1",  # the full backward pass takes long to compile
    "pooling=average+max",
    "hidden_units=4",
    "flip_tta=true",
    "baseline_head=joint",
    "label_smoothing=0.1",
    "layer_decay=0.8",
    "unfreeze_epochs=0.5",
    "ema_decay=0.9",
    "type_balance=0.5",
    "rotation=10",
    "randaugment_ops=2",
    "l2=0.001",
)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory, paint_catalog: Callable[[Path, int], Path]) -> Path:
    return paint_catalog(tmp_path_factory.mktemp("painted") / "catalog", 80)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, painted: Path) -> Path:
    """Return an uninterrupted run whose photos were cached on the device."""
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert train(job(painted, out), QUIET)
    return out


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, painted: Path) -> Path:
    """Return the same run with streamed photos, stopped after four steps and again after five."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    streamed = job(painted, out, cache_bytes=0)
    with pytest.MonkeyPatch.context() as patch:
        for count in (4, 1):
            patch.setattr(training, "stop_on_signal", partial(stop_after, count))
            assert not train(streamed, QUIET)
    assert train(streamed, QUIET)
    return out


def job(folder: Path, out: Path, settings: Sequence[str] = EVERYTHING, **more: Any) -> TrainJob:
    return TrainJob(folder, "small", recipes.load("small", settings), out, BOTH, **more)


def test_a_streamed_and_stopped_run_is_bit_identical_to_a_cached_one(uninterrupted: Path, stopped: Path) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(weights(uninterrupted), weights(stopped), strict=True))
    same = ("step", "loss", "constructor_accuracy", "gradient_norm", "learning_rate")
    assert [[row[name] for name in same] for row in steps(uninterrupted)] == [
        [row[name] for name in same] for row in steps(stopped)
    ]
    epochs = [json.loads((folder / "log.jsonl").read_text()) for folder in (uninterrupted, stopped)]
    for name in ("loss", "constructor_accuracy"):  # of the complete epoch, not only of the steps after the last stop
        assert epochs[0][name] == epochs[1][name]


def test_four_devices_share_the_batch_and_compute_the_same_loss(
    uninterrupted: Path, painted: Path, tmp_path: Path
) -> None:
    settings = [word for setting in EVERYTHING for word in ("--set", setting)]
    command = [sys.executable, "-m", "planespotter_client.commands.main", "train", str(painted), "--out", str(tmp_path)]
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count=4 {LONG_TIMEOUTS}"}
    done = subprocess.run([*command, *settings], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for single, four in zip(steps(uninterrupted), steps(tmp_path), strict=True):
        assert four["loss"] == pytest.approx(single["loss"], rel=1e-4)
        assert four["gradient_norm"] == pytest.approx(single["gradient_norm"], rel=1e-2)


def test_two_processes_of_two_devices_compute_the_same_loss(painted: Path, tmp_path: Path, reserved_port: int) -> None:
    """They connect as hosts do; each decodes its half of every batch."""
    settings = (*SMALL, *NO_AUGMENTATION, "steps_per_epoch=4", "train_from=heads", "learning_rate=0.01")
    assert train(job(painted, tmp_path / "alone", settings), QUIET)
    words = [word for setting in settings for word in ("--set", setting)]
    command = [
        sys.executable,
        "-m",
        "planespotter_client.commands.main",
        "train",
        str(painted),
        *words,
        "--device-cache-gib",
        "0",
        "--start-timeout",
        "600",
    ]
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count=2 {LONG_TIMEOUTS}",
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{reserved_port}",
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
        outputs = [process.communicate(timeout=1200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    losses = [[row["loss"] for row in steps(tmp_path / name)] for name in ("alone", "together")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    for alone, together in zip(weights(tmp_path / "alone"), weights(tmp_path / "together"), strict=True):
        np.testing.assert_allclose(alone, together, rtol=1e-3, atol=1e-5)
    final = [json.loads((tmp_path / name / "final_metrics.json").read_text()) for name in ("alone", "together")]
    assert final[0].keys() == final[1].keys() == {"validation", "test"}


def test_the_saved_network_is_the_average_of_weights_and_batch_statistics(stopped: Path) -> None:
    restore = ocp.args.StandardRestore
    with checkpoint.manager(stopped, create=False) as checkpoints:
        fifth, sixth = (
            checkpoints.restore(step, args=ocp.args.Composite(network=restore(), learning=restore())) for step in (5, 6)
        )
    averages = [jax.tree.leaves_with_path(items["network"]) for items in (fifth, sixth)]
    learning = jax.tree.leaves_with_path(sixth["learning"])
    moved = set()
    for (path, old), (_, new), (_, last) in zip(*averages, learning, strict=True):
        # A young average decays faster than the recipe's 0.9: 6 of 15 parts of the old one remain at the sixth step.
        np.testing.assert_allclose(new, old * 0.4 + last * 0.6, rtol=1e-5, atol=1e-7)
        if not np.array_equal(new, last):
            moved.add([getattr(key, "key", None) for key in path if getattr(key, "key", None) != "value"][-1])
    assert {"kernel", "bias", "scale", "mean", "var"} <= moved


def test_the_baseline_has_the_same_metrics_as_the_hierarchical_heads(uninterrupted: Path) -> None:
    final = json.loads((uninterrupted / "final_metrics.json").read_text())
    assert set(final) == {"validation", "test"}
    for split in final.values():
        hierarchical, flat = (
            {(metric["source"], metric["name"], metric["photos"]) for metric in split[heads]}
            for heads in ("hierarchical", "flat")
        )
        assert ("", "constructor_accuracy") in {row[:2] for row in flat}
        assert hierarchical == flat
    (line,) = (json.loads(line) for line in (uninterrupted / "log.jsonl").read_text().splitlines())
    assert line["baseline"].keys() | {"loss"} == line["validation"].keys()


def test_every_step_and_epoch_is_logged_once(uninterrupted: Path) -> None:
    assert [row["step"] for row in steps(uninterrupted)] == [1, 2, 3, 4, 5, 6]
    (line,) = (json.loads(line) for line in (uninterrupted / "log.jsonl").read_text().splitlines())
    assert line["loss"] == pytest.approx(np.mean([row["loss"] for row in steps(uninterrupted)]))
    assert 0 <= line["share_of_peak"] < 1


def test_a_training_that_writes_to_a_log_reports_each_long_phase_and_the_time_left(
    painted: Path, tmp_path: Path
) -> None:
    log = io.StringIO()
    settings = (*SMALL, *NO_AUGMENTATION, "epochs=2", "train_from=heads")
    assert train(job(painted, tmp_path / "run", settings), Console(file=log, width=200))
    text = log.getvalue()
    phases = ("Checking the photos", "Writing the dataset", "Decoding the photos", "Compiling the network", "Measuring")
    places = [text.index(phase) for phase in phases]
    assert places == sorted(places)
    first, last = re.findall(r"epoch \d of 2: .*", text)
    assert re.search(r"validation accuracy: constructor .*%, \d+ photos/s, about \d+ (s|min) left$", first)
    assert last.endswith("photos/s")
    assert "peak" not in text


def test_a_diverged_training_stops_and_reports_the_photos(painted: Path, tmp_path: Path) -> None:
    settings = (*SMALL, *NO_AUGMENTATION, "learning_rate=1e38", "batch_norm=false", "train_from=heads")
    with pytest.raises(
        TrainingError,
        match=r"Training has diverged: .* not finite at step \d, at the photos p\d+, p\d+.*\. There is no checkpoint "
        r"yet\. Train into another folder with a lower learning rate than 1e\+38",
    ):
        train(job(painted, tmp_path, settings), QUIET)


def test_a_second_process_cannot_train_in_a_locked_run_folder(uninterrupted: Path, painted: Path) -> None:
    with (uninterrupted / ".run.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TrainingError, match="Another training is writing to"):
            train(job(painted, uninterrupted), QUIET)


def test_a_batch_that_devices_cannot_share_evenly_is_rejected(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = devices.Layout()
    layout.devices = 3
    monkeypatch.setattr(devices, "Layout", lambda: layout)
    with pytest.raises(TrainingError, match="batch_size is 8, which 3 devices cannot share evenly"):
        train(job(painted, tmp_path, SMALL), QUIET)


# ---------------------------------------------------------------- holding out


def prepare(folder: Path, out: Path, **settings: Any) -> run_folder.Run:
    return create_run(job(folder, out, SMALL, **settings), catalog.read(folder), "", QUIET)


def edit_catalog(painted: Path, tmp_path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """Write a catalog with the images of `painted` and edited rows."""
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / "images").symlink_to(painted / "images")
    rows = pd.read_csv(painted / "catalog.csv", dtype=str, keep_default_na=False)
    edit(rows).to_csv(folder / "catalog.csv", index=False)
    return folder


def test_runs_on_the_same_photos_share_the_files_of_their_dataset(painted: Path, tmp_path: Path) -> None:
    prepare(painted, tmp_path / "first")
    prepare(painted, tmp_path / "second", shared_dataset=tmp_path / "first")
    prepare(painted, tmp_path / "other", held_out={"sources": ["left"]}, shared_dataset=tmp_path / "first")
    first, second, other = (
        {file.name: file.stat().st_ino for file in (tmp_path / name / "dataset").rglob("*.array_record*")}
        for name in ("first", "second", "other")
    )
    assert first == second
    assert not set(first.values()) & set(other.values())
    assert len(reopen(tmp_path / "second" / "dataset")["train"]) == run_folder.read(tmp_path / "first").photos["train"]


def test_a_held_out_source_or_airline_is_in_the_test_split_only(painted: Path, tmp_path: Path) -> None:
    folder = edit_catalog(
        painted, tmp_path, lambda rows: rows.assign(airline=np.where(np.arange(len(rows)) % 5, "Red Air", "Blue Air"))
    )
    held_out = {"sources": ["LEFT"], "airlines": ["blue air"]}
    run = prepare(folder, tmp_path / "run", held_out=held_out)
    assert run_folder.read(tmp_path / "run").held_out == run.held_out == held_out
    split = pd.read_csv(tmp_path / "run" / "split.csv", dtype=str, keep_default_na=False)
    out = (split["source"] == "left") | (split["airline"] == "Blue Air")
    assert set(split["split"][out]) == {"test"}
    assert set(split["split"][~out]) == {"train", "validation", "test"}
    airframes = set(split["registration"][out]) - {""}
    moved_along = ~out & split["registration"].isin(airframes)
    assert moved_along.any()
    assert set(split["split"][moved_along]) == {"test"}
    assert any("held out: of the same airframes as those held out by name" in note for note in run.notes)
    assert run.sources.keys() == {"right"}


def test_an_unknown_source_or_airline_is_an_error_that_lists_the_most_frequent(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has the source 'up'\. The most frequent are: left \(40\), right \(40\)"):
        prepare(painted, tmp_path / "run", held_out={"sources": ["up"]})
    with pytest.raises(TrainingError, match=r"has the airline 'Blue Air'\. The most frequent are: none is named"):
        prepare(painted, tmp_path / "run", held_out={"airlines": ["Blue Air"]})


def test_a_run_is_not_resumed_with_other_held_out_sources(uninterrupted: Path, painted: Path) -> None:
    with pytest.raises(TrainingError, match="holds another run, with nothing held out"):
        train(job(painted, uninterrupted, held_out={"sources": ["left"]}), QUIET)


# ---------------------------------------------------------------- training only


def with_drawings(painted: Path, tmp_path: Path) -> Path:
    """Return a catalog in which every tenth picture is a drawing, and another tenth are renders."""

    def edit(rows: pd.DataFrame) -> pd.DataFrame:
        number = np.arange(len(rows)) % 10
        return rows.assign(source=np.select([number == 1, number == 5], ["Drawings", "render"], rows["source"]))

    return edit_catalog(painted, tmp_path, edit)


def read_split(run: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Return the rows of split.csv, and which of them are drawings or renders."""
    split = pd.read_csv(run / "split.csv", dtype=str, keep_default_na=False)
    return split, split["source"].isin(["Drawings", "render"])


def test_drawings_and_renders_are_in_the_train_split_only(painted: Path, tmp_path: Path) -> None:
    folder = with_drawings(painted, tmp_path)
    run = prepare(folder, tmp_path / "run", train_only=["drawings"])
    assert run_folder.read(tmp_path / "run").train_only == run.train_only == ["Drawings", "render"]
    split, drawn = read_split(tmp_path / "run")
    assert drawn.sum() == 16
    assert set(split["split"][drawn]) == {"train"}
    assert set(split["split"][~drawn]) == {"train", "validation", "test"}
    same_airframe = ~drawn & split["registration"].isin(set(split["registration"][drawn]) - {""})
    assert same_airframe.any()
    assert set(split["split"][same_airframe]) == {"train"}


def test_a_drawing_of_what_is_held_out_is_not_used(painted: Path, tmp_path: Path) -> None:
    folder = with_drawings(painted, tmp_path)
    run = prepare(folder, tmp_path / "run", train_only=["Drawings"], held_out={"sources": ["left"]})
    split, drawn = read_split(tmp_path / "run")
    assert set(split["split"][drawn]) == {"train"}
    by_split = split[split["registration"] != ""].groupby("registration")["split"].nunique()
    assert by_split.max() == 1
    unused = 80 - len(split)
    assert 0 < unused < 16
    assert any(note.startswith(f"{unused} photos are not used: of sources for training only") for note in run.notes)


def test_renders_that_are_held_out_by_name_are_tested_on(painted: Path, tmp_path: Path) -> None:
    folder = with_drawings(painted, tmp_path)
    assert prepare(folder, tmp_path / "run", held_out={"sources": ["Render"]}).train_only == []
    split, _ = read_split(tmp_path / "run")
    assert set(split["split"][split["source"] == "render"]) == {"test"}
    with pytest.raises(TrainingError, match="'render' is both held out and used for training only"):
        prepare(folder, tmp_path / "both", held_out={"sources": ["Render"]}, train_only=["render"])
    with pytest.raises(TrainingError, match="has the source 'sketches'"):
        prepare(folder, tmp_path / "unknown", train_only=["sketches"])


def test_a_run_is_not_resumed_with_other_sources_for_training_only(painted: Path, tmp_path: Path) -> None:
    folder, out = with_drawings(painted, tmp_path), tmp_path / "run"
    prepare(folder, out, train_only=["drawings"])
    check_same(job(folder, out, SMALL, train_only=["DRAWINGS", "render"]), "")
    with pytest.raises(TrainingError, match="holds another run, with Drawings, render for training only"):
        check_same(job(folder, out, SMALL), "")


def test_a_run_from_before_there_were_sources_for_training_only_is_resumed(painted: Path, tmp_path: Path) -> None:
    folder, out = with_drawings(painted, tmp_path), tmp_path / "run"
    prepare(folder, out)
    content = json.loads((out / "run.json").read_text())
    assert content.pop("train_only") == ["render"]
    (out / "run.json").write_text(json.dumps(content))
    check_same(job(folder, out, SMALL), "")
    assert run_folder.read(out).train_only == []
