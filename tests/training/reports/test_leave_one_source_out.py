"""Leave one source out: a run without each source, on which it is measured."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from planespotter_client.commands.main import main
from planespotter_training import recipes, run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation import confidence_intervals
from planespotter_training.loop.job import TrainJob
from planespotter_training.reports import leave_one_source_out
from planespotter_training.reports.leave_one_source_out import sources_to_hold_out, train_leave_one_source_out

QUIET = Console(quiet=True)
BORDER, CORNER = "\N{BOX DRAWINGS LIGHT VERTICAL}", "\N{BOX DRAWINGS LIGHT UP AND LEFT}"
SMALL = ("height=32", "width=48", "channel_multiplier=0.03125", "batch_size=8", "epochs=1", "train_from=heads")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, paint_catalog: Callable[[Path, int], Path]) -> Path:
    """Return a catalog of two sources, one that shows Boeings only, one of others, renders, and drawings."""
    folder = paint_catalog(tmp_path_factory.mktemp("sources") / "catalog", 96)
    rows = pd.read_csv(folder / "catalog.csv", dtype=str, keep_default_na=False)
    number = np.arange(len(rows))
    rows["source"] = np.select(
        [number % 12 == 2, number % 12 == 4, number % 12 == 5, number % 12 == 9],
        ["one maker", "others", "render", "drawings"],
        rows["source"],
    )
    rows.loc[rows["source"] == "others", "constructor"] = "ATR"
    rows.to_csv(folder / "catalog.csv", index=False)
    return folder


def job(catalog: Path, out: Path, **more: object) -> TrainJob:
    arguments = {"constructors": ("airbus", "Boeing"), "train_only": ("drawings",), **more}
    return TrainJob(catalog, "small", recipes.load("small", SMALL), out, **arguments)  # type: ignore[arg-type]


def test_every_source_with_photos_of_the_constructors_is_held_out_but_those_for_training_only(photos: Path) -> None:
    assert sources_to_hold_out(job(photos, Path())) == ["left", "one maker", "right"]
    assert sources_to_hold_out(job(photos, Path(), train_only=())) == ["drawings", "left", "one maker", "right"]


def test_a_source_without_which_a_constructor_has_no_photos_is_an_error_before_the_first_training(
    tmp_path: Path, photos: Path
) -> None:
    rows = pd.read_csv(photos / "catalog.csv", dtype=str, keep_default_na=False)
    rows = rows[(rows["constructor"] != "Airbus") | (rows["source"] == "left")]
    rows.to_csv(tmp_path / "catalog.csv", index=False)
    with pytest.raises(TrainingError, match="Without the source 'left', the catalog has no photo of Airbus"):
        train_leave_one_source_out(job(tmp_path, tmp_path / "run", train_only=()), QUIET)
    rows[rows["source"] == "render"].to_csv(tmp_path / "catalog.csv", index=False)
    with pytest.raises(TrainingError, match="has no source to hold out"):
        train_leave_one_source_out(job(tmp_path, tmp_path / "run", train_only=()), QUIET)


def test_the_runs_share_a_feature_cache_and_a_stop_ends_them(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[TrainJob] = []

    def train_until_the_second(job: TrainJob, _: Console) -> bool:
        jobs.append(job)
        return len(jobs) < 2

    monkeypatch.setattr(leave_one_source_out, "train", train_until_the_second)
    assert train_leave_one_source_out(job(photos, tmp_path, held_out={"airlines": ["x"]}), QUIET) is None
    assert [job.out.name for job in jobs] == ["without-left", "without-one maker"]
    assert [job.held_out for job in jobs] == [
        {"airlines": ["x"], "sources": ["left"]},
        {"airlines": ["x"], "sources": ["one maker"]},
    ]
    assert {job.feature_cache for job in jobs} == {tmp_path / "frozen_features"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", ["--baseline-ladder", "--hold-out-source=left"])
def test_options_that_exclude_one_another_are_rejected(
    other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", str(tmp_path), "--out", str(tmp_path / "run"), "--leave-one-source-out", other])
    assert ended.value.code == 2
    assert f"omit {other.partition('=')[0]}" in " ".join(capsys.readouterr().err.replace(BORDER, " ").split())


@pytest.mark.slow
def test_each_source_is_held_out_by_one_run_and_measured_on_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(confidence_intervals, "DRAWS", 0)
    monkeypatch.setenv("COLUMNS", "160")
    out = tmp_path / "run"
    settings = [f"--set={setting}" for setting in (*SMALL, "other_output=true", "frozen_views=1")]
    arguments = ["train", str(photos), "--out", str(out), "--leave-one-source-out", "--train-only-source=drawings"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, *settings])
    assert not ended.value.code
    printed = capsys.readouterr().out
    runs = ["without-left", "without-one maker", "without-right"]
    assert {path.name for path in out.iterdir()} == {*runs, "frozen_features", "leave_one_source_out.html"}
    for name in runs:
        run = run_folder.read(out / name)
        assert run.held_out == {"sources": [name.removeprefix("without-")]}
        assert run.train_only == ["drawings", "render"]
    assert all(name in printed for name in (*runs, "mean of 3", "constructor AUROC"))
    html = (out / "leave_one_source_out.html").read_text(encoding="utf-8")
    assert '<td class="text">mean of 3</td>' in html
    assert "For training only: drawings, render." in html

    def train_again(*_: object) -> bool:
        raise AssertionError("a complete run was trained again")

    monkeypatch.setattr("planespotter_training.loop.train.placement.compile_train_step", train_again)
    with pytest.raises(SystemExit) as ended:
        main([*arguments, *settings])
    assert not ended.value.code
    assert capsys.readouterr().out == printed

    with pytest.raises(SystemExit) as ended:
        main(["compare", *(str(out / name) for name in runs), "--out", str(tmp_path / "comparison.html")])
    assert not ended.value.code
    table = printed[: printed.rindex(CORNER) + 1]  # without the meanings of its metrics, which follow all tables
    assert table in capsys.readouterr().out
    assert "On held-out sources" in (tmp_path / "comparison.html").read_text(encoding="utf-8")
