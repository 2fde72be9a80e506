"""GPU run: tried on a CPU with tiny settings; failures, budgets and resumption of its steps."""

import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scripts import gpu_run
from scripts.gpu_run import Options, Outcome
from tests.jax_fixtures import compile_once, compile_quickly
from tests.training.conftest import paint_catalog

from planespotter_models import read_bundle
from planespotter_training import recipes
from planespotter_training.network.model import BLOCKS

__all__ = ["compile_once", "compile_quickly", "paint_catalog"]

WIDTH = 1 / 16


def write_weights(path: Path) -> Path:
    """Write a file as Keras has it of VGG16, with a sixteenth of the channels and random weights."""
    random, channels = np.random.default_rng(0), 3
    with h5py.File(path, "w") as file:
        for block, widths in enumerate(BLOCKS, start=1):
            for conv, full in enumerate(widths, start=1):
                layer, out = f"block{block}_conv{conv}", round(full * WIDTH)
                kernel = random.normal(0, np.sqrt(2 / 9 / channels), (3, 3, channels, out))
                file[f"{layer}/{layer}_W_1:0"] = kernel.astype(np.float32)
                file[f"{layer}/{layer}_b_1:0"] = np.zeros(out, np.float32)
                channels = out
    return path


def run(folder: Path, *more: str) -> dict[str, Any]:
    """Run the script on the catalog and the weights in `folder`; return its results."""
    script = str(gpu_run.ROOT / "scripts" / "gpu_run.sh")
    command = [script, "catalog.tar", "vgg16.h5", "out", "--tiny", "--seeds", "2"]
    command += ["--set", f"channel_multiplier={WIDTH}", "--minutes", "60", *more]
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    results: dict[str, Any] = json.loads((folder / "out" / "results.json").read_text(encoding="utf-8"))
    return results


@pytest.mark.slow
def test_a_gpu_run_with_tiny_settings_leaves_bundles_a_chart_and_all_metrics(
    tmp_path: Path, paint_catalog: Callable[[Path, int], Path]
) -> None:
    with tarfile.open(tmp_path / "catalog.tar", "w") as archive:
        archive.add(paint_catalog(tmp_path / "painted", 96), arcname="photos")
    write_weights(tmp_path / "vgg16.h5")
    results = run(tmp_path)
    outcomes = results["steps"]
    assert {name: (outcome["status"], outcome["reason"]) for name, outcome in outcomes.items() if name != "export"} == {
        name: ("done", outcome["reason"]) for name, outcome in outcomes.items() if name != "export"
    }
    check_results(results, tmp_path / "out", seeds=2)
    # A second run has nothing to do.
    written = (tmp_path / "out" / "airliners.tar").stat().st_mtime_ns
    again = run(tmp_path)
    assert again["steps"] == outcomes
    assert (tmp_path / "out" / "airliners.tar").stat().st_mtime_ns == written


def check_results(results: dict[str, Any], out: Path, seeds: int) -> None:
    """Check the metrics of a complete run, and the files in `out`."""
    metrics = {name: outcome["metrics"] for name, outcome in results["steps"].items()}
    assert metrics["throughput"]["photos_per_second"] > 0
    assert 0 < metrics["throughput"]["share_of_peak"] < 1.5
    for seed in range(seeds):
        assert metrics[f"best-seed-{seed}"]["epochs"] == 2
        assert 0 <= metrics[f"best-seed-{seed}"]["test"]["constructor_accuracy"] <= 1
    assert list(metrics["baseline-ladder"]) == list(recipes.BASELINE_LADDER)
    assert all(step["test"]["constructor_accuracy"] <= 1 for step in metrics["baseline-ladder"].values())
    assert metrics["serving"]["photos_per_second"]["jax"]["stream"] > 0
    bundles = {"airliners.tar", "airliners-small.tar"}
    assert set(results["files"]) == {*bundles, "baseline_ladder.svg", "baseline_ladder.png"}
    for name in bundles:
        with tarfile.open(out / name) as archive:
            archive.extractall(out.parent / "unpacked", filter="data")
        bundle = read_bundle(out.parent / "unpacked" / name.removesuffix(".tar"))
        assert bundle.tree.constructors == ("Airbus", "Boeing")
        assert results["files"][name] <= gpu_run.MAX_BUNDLE_BYTES


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Return the options of a run on an empty catalog."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "catalog.csv").touch()
    (tmp_path / "vgg16.h5").touch()
    result = Options(tmp_path / "catalog", tmp_path / "vgg16.h5", tmp_path / "out", tmp_path / "work")
    gpu_run.unpack(result)
    return result


def results_of(options: Options) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((options.out / "results.json").read_text(encoding="utf-8"))
    return content["steps"]  # type: ignore[no-any-return]


def test_after_a_failed_step_the_others_run_and_only_what_is_not_done_runs_again(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    broken = ["baseline-ladder", "best-seed-1"]

    def pretend(_: Options, name: str, seconds: float, __: threading.Event) -> Outcome:
        started.append(name)
        return Outcome("failed", "out of memory") if name in broken else Outcome("done", metrics={"rate": seconds})

    monkeypatch.setattr(gpu_run, "run_step", pretend)
    gpu_run.run_all(options, [], threading.Event())
    everything = set(gpu_run.steps(options))
    assert set(started) == everything
    steps = results_of(options)
    assert {name for name, step in steps.items() if step["status"] == "failed"} == set(broken)
    assert steps["baseline-ladder"]["reason"] == "out of memory"
    assert steps["serving"]["metrics"]["rate"] > 0

    started.clear()
    broken.clear()
    gpu_run.run_all(options, [], threading.Event())
    assert set(started) == {"baseline-ladder", "best-seed-1"}
    assert {step["status"] for step in results_of(options).values()} == {"done"}


def test_steps_share_the_total_time_and_are_skipped_when_it_is_used_up(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = gpu_run.steps(options)
    longest = [max(sum(table[name].share for name in lane) for lane in lanes) for lanes in gpu_run.stages(options)]
    assert sum(longest) <= 1

    monkeypatch.setattr(gpu_run, "run_step", lambda *_: pytest.fail("there is no time for it"))
    short = Options(options.catalog, options.weights, options.out, options.work, minutes=0.1)
    gpu_run.run_all(short, [], threading.Event())
    assert {step["reason"] for step in results_of(short).values()} == {"The total time was used up."}


@pytest.mark.parametrize(
    ("code", "seconds", "problem"),
    [
        ("pass", 30, ""),
        ("import sys; sys.exit(3)", 30, "it ended with exit status 3"),
        ("import time; time.sleep(60)", 1, "its budget of 1 s ran out"),
    ],
)
def test_a_process_ends_with_its_budget_and_its_problem_is_named(
    code: str, seconds: float, problem: str, tmp_path: Path
) -> None:
    result = gpu_run.run_process([sys.executable, "-c", code], seconds, tmp_path / "log", threading.Event())
    assert result.startswith(problem)
    assert bool(result) == bool(problem)


def test_a_step_that_raises_is_recorded_with_its_reason(options: Options) -> None:
    plan = {**asdict(options), "step": "best-seed-0", "seconds": 10}
    gpu_run.run_step_here(plan)  # the weights are an empty file
    outcome = json.loads((options.work / "steps" / "best-seed-0.json").read_text(encoding="utf-8"))
    assert outcome["status"] == "failed"
    assert "cannot be read as weights of Keras" in outcome["reason"]


def test_work_of_other_arguments_is_not_resumed(options: Options) -> None:
    other = Options(options.catalog, options.weights, options.out, options.work, settings=("epochs=1",))
    with pytest.raises(SystemExit, match="holds the work of other arguments"):
        gpu_run.unpack(other)


@pytest.mark.parametrize(
    ("catalog", "weights", "message"),
    [
        ("nothing.tar", "vgg16.h5", "has no catalog.csv"),
        ("vgg16.h5", "vgg16.h5", "cannot be unpacked"),
        ("catalog", "nothing.h5", "There is no file .*nothing.h5"),
    ],
)
def test_missing_inputs_are_named(catalog: str, weights: str, message: str, options: Options, tmp_path: Path) -> None:
    wrong = Options(tmp_path / catalog, tmp_path / weights, tmp_path / "out", tmp_path / "other")
    with pytest.raises(SystemExit, match=message):
        gpu_run.unpack(wrong)
