"""Comparison of trainings, and reports that need a trained network: heat maps and the flat softmax baseline."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from planespotter_client.commands.main import main
from planespotter_models import load_engine, read_bundle
from planespotter_training import recipes, run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation import confidence_intervals, output_files
from planespotter_training.evaluation.evaluate import evaluate
from planespotter_training.export.export import export
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.train import train
from planespotter_training.reports import evaluation_report
from planespotter_training.reports.charts import epochs_chart, epochs_grid
from planespotter_training.reports.compare_runs import (
    PAIRED,
    Comparison,
    Subject,
    changed_settings,
    compare,
    over_seeds,
    paired_difference,
    seed_groups,
    tables,
    verdicts,
    write,
)
from planespotter_training.reports.heat_maps import heat_maps

pytestmark = pytest.mark.slow

QUIET = Console(quiet=True)
QUICK = (
    "height=32",
    "width=48",
    "channel_multiplier=0.0625",
    "batch_size=8",
    "min_photos=5",
    "warmup_epochs=0",
    "channel_mixing=0.1",
)


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    """Bootstrap fewer samples, for speed; intervals are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confidence_intervals, "DRAWS", 0)
        yield


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, paint_catalog: Callable[[Path, int], Path]) -> Path:
    return paint_catalog(tmp_path_factory.mktemp("compared") / "catalog", 120)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, catalog: Path) -> tuple[Path, Path]:
    """Return a run as it was after its first epoch, and the complete run."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = recipes.load("small", [*QUICK, "epochs=2", "baseline_head=joint"])
    job = TrainJob(catalog, "small", recipe, folder / "long", ("Airbus", "Boeing"))
    assert train(job, QUIET)
    shutil.copytree(folder / "long", folder / "short")
    steps = sorted((int(path.name), path) for path in (folder / "short" / "checkpoints").iterdir())
    shutil.rmtree(steps[-1][1])
    log = (folder / "short" / "log.jsonl").read_text().splitlines()
    (folder / "short" / "log.jsonl").write_text(log[0] + "\n")
    described = json.loads((folder / "short" / "run.json").read_text())
    described["recipe"]["learning_rate"] = 0.5
    (folder / "short" / "run.json").write_text(json.dumps(described))
    return folder / "short", folder / "long"


@pytest.fixture(scope="module")
def exported(runs: tuple[Path, Path]) -> Path:
    export(runs[1], runs[1].parent / "bundle", "long", "1", QUIET)
    return runs[1].parent / "bundle"


def test_runs_are_compared_on_the_same_test_photos(runs: tuple[Path, Path], tmp_path: Path) -> None:
    comparison = compare(runs, QUIET)
    short, long = comparison.subjects
    assert changed_settings(comparison.subjects) == {"learning_rate": ["0.5", "0.002"]}
    assert len(short.epochs) == 1
    assert len(long.epochs) == 2
    for difference in comparison.differences:
        change = (long.metrics[difference.metric] or 0) - (short.metrics[difference.metric] or 0)
        assert difference.value == pytest.approx(change)
        assert difference.value == pytest.approx((difference.gained - difference.lost) / difference.photos)
        assert difference.interval[0] <= difference.value <= difference.interval[1]
    write(comparison, tmp_path / "comparison.html")
    text = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "<h1>Comparison of short and long</h1>" in text
    assert text.count("<svg") == 4
    assert "://" not in text
    assert len(tables(comparison)) == 3


def test_a_bundle_and_an_evaluation_of_a_run_have_the_metrics_of_the_run(
    runs: tuple[Path, Path], exported: Path, catalog: Path, tmp_path: Path
) -> None:
    arguments = ["evaluate", exported, catalog, "--out", tmp_path / "evaluation", "--baseline", runs[1]]
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert not ended.value.code
    comparison = compare([runs[1], exported, tmp_path / "evaluation"], QUIET)
    of_run, of_bundle, of_evaluation = (subject.metrics for subject in comparison.subjects)
    for name in ("constructor_accuracy", "path_accuracy", "uncalibrated_nll"):
        assert of_evaluation[name] == pytest.approx(of_run[name], abs=1e-4)
        assert of_bundle[name] in (None, pytest.approx(of_run[name], abs=1e-4))
    assert {difference.value for difference in comparison.differences} == {0}
    assert {difference.p_value for difference in comparison.differences} == {1}

    content = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    flat = content["baselines"]["flat softmax of long"]
    assert flat["n"] == content["overall"]["n"]
    final = json.loads((runs[1] / "final_metrics.json").read_text())["test"]["flat"]
    of_run = {metric["name"]: metric["value"] for metric in final if not metric["source"]}
    assert flat["constructor_accuracy"] == pytest.approx(of_run["constructor_accuracy"])
    assert flat["path_accuracy"] == pytest.approx(of_run["path_accuracy"])
    assert "the evidence for the prediction" in (tmp_path / "evaluation" / "report.html").read_text()


def test_the_report_describes_the_training_and_the_baseline(
    runs: tuple[Path, Path], exported: Path, catalog: Path
) -> None:
    evaluation = evaluate(exported, catalog, "test", QUIET)
    text = evaluation_report.render(evaluation, output_files.metrics_content(evaluation, {}))
    run = run_folder.read(runs[1])
    assert f"on {run.photos['train']:,} photos; calibrated on" in text
    assert run.notes
    assert all(f"<li>{note}</li>" in text for note in run.notes)
    for source, counts in run.sources.items():
        assert f"<th>{source}</th><td>{counts['Airbus']}</td><td>{counts['Boeing']}</td>" in text
    final = json.loads((runs[1] / "final_metrics.json").read_text())["test"]
    accuracy = {
        heads: next(row["value"] for row in rows if row["name"] == "path_accuracy" and not row["source"])
        for heads, rows in final.items()
    }
    hierarchical, flat = f"{accuracy['hierarchical']:.1%}", f"{accuracy['flat']:.1%}"
    assert f"path accuracy {hierarchical} of the hierarchical heads and {flat} of the flat softmax" in text


def test_the_comparison_shows_what_was_held_out(runs: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(runs[1], tmp_path / "without")
    described = json.loads((tmp_path / "without" / "run.json").read_text())
    described["held_out"] = {"sources": ["left"], "airlines": ["Blue Air"]}
    (tmp_path / "without" / "run.json").write_text(json.dumps(described))
    subjects = compare([runs[1], tmp_path / "without"], QUIET).subjects
    assert [subject.facts["held out of training"] for subject in subjects] == ["nothing", "left, Blue Air"]


def test_a_run_without_a_baseline_head_cannot_be_the_baseline(
    runs: tuple[Path, Path],
    exported: Path,
    catalog: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = run_folder.read(runs[1])
    run = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, baseline_head="off"))
    monkeypatch.setattr(run_folder, "read", lambda _: run)
    with pytest.raises(SystemExit):
        main(["evaluate", str(exported), str(catalog), "--out", str(tmp_path), "--baseline", str(runs[1])])
    output = capsys.readouterr()
    assert "was trained without a baseline head" in output.err
    assert not output.out  # rejected before any photo is evaluated


def test_grad_cam_is_that_of_the_served_network(exported: Path) -> None:
    model = read_bundle(exported)
    engine = load_engine(model, (4,))
    photos = np.random.default_rng(0).integers(0, 255, (4, model.height, model.width, 3), np.uint8)
    outputs = engine.run(photos)
    leaves = np.array([outputs[model.tree.constructors[0]][i].argmax() for i in range(4)])
    maps, method = heat_maps(model, engine, photos, leaves)
    assert method == "grad-cam"
    assert maps.shape[0] == 4
    assert maps.min() >= 0
    assert maps.max() <= 1


def test_occlusion_locates_the_evidence(tiny_bundle: Path) -> None:
    model = read_bundle(tiny_bundle)
    engine = load_engine(model, (1,))
    photo = np.full((1, model.height, model.width, 3), 124, np.uint8)
    photo[:, 6:12, 36:42] = (255, 0, 0)  # the only red, the evidence for Airbus
    maps, method = heat_maps(model, engine, photo, np.array([0]))
    assert method == "occlusion"
    row, column = np.unravel_index(maps[0].argmax(), maps[0].shape)
    assert (row, column) == (1, 6)


def subject(name: str, correct: list[int], airframes: list[str]) -> Subject:
    rows = {"photo_id": [f"p{i}" for i in range(len(correct))], "airframe": airframes, "path_correct": correct}
    predictions = pd.DataFrame(rows).assign(constructor="Boeing", family="737", model="737-800")
    predictions["constructor_correct"] = predictions["family_correct"] = 1
    return Subject(name, {}, {}, {}, predictions=predictions)


def test_photos_of_one_airframe_are_not_independent() -> None:
    first, second = [0] * 40, [1] * 20 + [0] * 20
    independent, grouped = (
        paired_difference(subject("a", first, frames), subject("b", second, frames), "path_correct")
        for frames in ([f"N{i}" for i in range(40)], [f"N{i // 10}" for i in range(40)])
    )
    assert independent is not None
    assert grouped is not None
    assert independent.value == grouped.value == 0.5
    assert grouped.interval[0] < independent.interval[0]
    assert independent.p_value == pytest.approx(2 / 2**20)


def seeded(name: str, seed: int, accuracy: float, rate: float = 0.1) -> Subject:
    return Subject(name, {"seed": seed, "learning_rate": rate}, {"recipe": "small"}, {"path_accuracy": accuracy})


def test_trainings_that_differ_only_in_the_seed_have_a_mean_and_a_range(tmp_path: Path) -> None:
    subjects = [seeded("a", 0, 0.5), seeded("b", 1, 0.6), seeded("c", 2, 0.7), seeded("other", 3, 0.9, rate=0.2)]
    assert {names: [member.name for member in group] for names, group in seed_groups(subjects).items()} == {
        "a, b, c": ["a", "b", "c"]
    }
    assert over_seeds(subjects[:3])["path_accuracy"] == pytest.approx((0.6, 0.5, 0.7))
    assert seed_groups([seeded("a", 0, 0.5), seeded("its bundle", 0, 0.5)]) == {}
    write(Comparison(subjects, []), tmp_path / "comparison.html")
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert tables(Comparison(subjects, []))[2].columns[0].header == "3 seeds: a, b, c"
    assert "<td>60.0%</td><td>50.0\N{EN DASH}70.0</td>" in page


def test_only_photos_with_the_same_label_are_paired() -> None:
    first, second = subject("a", [1, 1], ["x", "y"]), subject("b", [1, 0], ["x", "y"])
    assert second.predictions is not None
    second.predictions.loc[1, "model"] = "737-700"
    difference = paired_difference(first, second, "path_correct")
    assert difference is not None
    assert difference.photos == 1


def test_a_folder_with_other_files_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is not a run, a bundle or an evaluation"):
        compare([tmp_path, tmp_path], QUIET)
    (tmp_path / output_files.METRICS_FILE).write_text("{}")
    with pytest.raises(TrainingError, match="Evaluate again"):
        compare([tmp_path, tmp_path], QUIET)


def test_a_chart_takes_its_colours_from_its_page() -> None:
    chart = epochs_chart({'a "quoted" <name>': ([1, 2], [0.5, 0.7])}, "accuracy", share=True)
    assert "var(--series-1)" in chart
    assert "#0a0b01" not in chart
    assert "<name>" not in chart
    assert 'aria-label="accuracy by epoch. a &quot;quoted&quot; &lt;name&gt;: 0.5 to 0.7."' in chart


def test_a_stand_alone_chart_has_its_own_colours() -> None:
    chart = epochs_grid({"first": {"accuracy": {"training": ([1, 2], [0.5, 0.7]), "validation": ([1, 2], [0.4, 0.6])}}})
    assert "var(--" in chart.page_svg
    assert "var(--" not in chart.svg
    assert "#0a0b01" not in chart.svg
    assert chart.png.startswith(b"\x89PNG")


def sentence(first: list[int], second: list[int]) -> str:
    """Return the verdict on two runs, of which each is correct or not on the same photos of different airframes."""
    airframes = [f"N{number}" for number in range(len(first))]
    return verdict_on(subject("old", first, airframes), subject("new", second, airframes))


def verdict_on(first: Subject, second: Subject) -> str:
    differences = [paired_difference(first, second, column) for column in PAIRED]
    [verdict] = verdicts(Comparison([first, second], [each for each in differences if each is not None]))
    return verdict


def test_a_run_that_is_right_more_often_is_called_clearly_better_whichever_comes_first() -> None:
    worse, better = [0] * 20 + [1] * 20, [1] * 35 + [0] * 5
    assert re.fullmatch(
        r"new is clearly better than old: path accuracy by 37\.5 points \(\d+\.\d to \d+\.\d\)\.",
        sentence(worse, better),
    )
    assert sentence(better, worse).startswith("old is clearly better than new: path accuracy by 37.5 points (")


def test_a_difference_that_may_be_chance_makes_neither_run_better() -> None:
    assert sentence([0] * 4 + [1] * 36, [1] * 40) == (
        "Neither old nor new is clearly better: on the 40 photos that both predicted, their differences may be chance."
    )


def test_a_run_that_is_better_at_one_metric_and_worse_at_another_is_not_called_better() -> None:
    airframes = [f"N{number}" for number in range(40)]
    first, second = subject("old", [0] * 40, airframes), subject("new", [1] * 40, airframes)
    assert second.predictions is not None
    second.predictions["constructor_correct"] = 0
    assert verdict_on(first, second) == (
        "Neither is better at everything: new is clearly better at path accuracy by 100.0 points (100.0 to 100.0), old "
        "at constructor accuracy by 100.0 points (100.0 to 100.0)."
    )


def test_bundles_have_no_predictions_to_decide_which_is_better() -> None:
    subjects = [Subject(name, {}, {}, {"path_accuracy": 0.5}) for name in ("a", "b")]
    assert verdicts(Comparison(subjects, [])) == [
        "Whether a or b is better was not tested: they have no predictions for the same photos."
    ]


def test_the_comparison_ends_with_the_meaning_of_each_metric_and_a_verdict(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, runs)])
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    words = " ".join(" ".join(lines).split())
    assert "Constructor, family and model are all correct" in words
    assert words.count("Hierarchical distance of wrong paths only") == 1
    assert "clearly better" in lines[-1]
