"""Trainings side by side, and what needs a network that was really trained: Grad-CAM and the flat softmax."""

import dataclasses
import json
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
from planespotter_training.loop.train import train
from planespotter_training.network import gradcam
from planespotter_training.reports import evaluation_report
from planespotter_training.reports.charts import epochs_chart
from planespotter_training.reports.compare_runs import (
    Comparison,
    Side,
    changed_settings,
    compare,
    over_seeds,
    paired,
    seeds,
    tables,
    write,
)

pytestmark = pytest.mark.slow

QUIET = Console(quiet=True)
QUICK = ("height=32", "width=48", "channels=0.0625", "batch_size=8", "min_photos=5", "warmup_epochs=0", "colour=0.1")


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    """Intervals are tested elsewhere; here they are drawn from fewer samples, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confidence_intervals, "DRAWS", 0)
        yield


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, paint_catalog: Callable[[Path, int], Path]) -> Path:
    return paint_catalog(tmp_path_factory.mktemp("compared") / "catalog", 120)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, catalog: Path) -> tuple[Path, Path]:
    """Return a run, and the same as it was an epoch earlier."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = recipes.load("small", [*QUICK, "epochs=2", "control=joint"])
    assert train(catalog, "small", recipe, folder / "long", ("Airbus", "Boeing"), QUIET)
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
    short, long = comparison.sides
    assert changed_settings(comparison.sides) == {"learning_rate": ["0.5", "0.002"]}
    assert len(short.epochs) == 1
    assert len(long.epochs) == 2
    for one in comparison.differences:
        assert one.value == pytest.approx((long.figures[one.figure] or 0) - (short.figures[one.figure] or 0))
        assert one.value == pytest.approx((one.gained - one.lost) / one.photos)
        assert one.interval[0] <= one.value <= one.interval[1]
    write(comparison, tmp_path / "comparison.html")
    text = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "<h1>short and long side by side</h1>" in text
    assert text.count("<svg") == 4
    assert "://" not in text
    assert len(tables(comparison)) == 3


def test_a_bundle_and_an_evaluation_of_a_run_say_what_the_run_says(
    runs: tuple[Path, Path], exported: Path, catalog: Path, tmp_path: Path
) -> None:
    arguments = ["evaluate", exported, catalog, "--out", tmp_path / "evaluation", "--control", runs[1]]
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert not ended.value.code
    comparison = compare([runs[1], exported, tmp_path / "evaluation"], QUIET)
    of_run, of_bundle, of_evaluation = (side.figures for side in comparison.sides)
    for name in ("constructor_accuracy", "path_accuracy", "nll_before_temperature"):
        assert of_evaluation[name] == pytest.approx(of_run[name], abs=1e-4)
        assert of_bundle[name] in (None, pytest.approx(of_run[name], abs=1e-4))
    assert {one.value for one in comparison.differences} == {0}
    assert {one.chance for one in comparison.differences} == {1}

    found = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    flat = found["control"]["flat softmax of long"]
    assert flat["n"] == found["overall"]["n"]
    measured = json.loads((runs[1] / "measured.json").read_text())["test"]["control"]
    said = {metric["name"]: metric["value"] for metric in measured if not metric["source"]}
    assert flat["constructor_accuracy"] == pytest.approx(said["constructor_accuracy"])
    assert flat["path_accuracy"] == pytest.approx(said["path_accuracy"])
    assert "what spoke for the answer" in (tmp_path / "evaluation" / "report.html").read_text()


def test_the_report_says_what_the_bundle_was_trained_on_and_how_the_control_did(
    runs: tuple[Path, Path], exported: Path, catalog: Path
) -> None:
    evaluation = evaluate(exported, catalog, "test", QUIET)
    text = evaluation_report.render(evaluation, output_files.metrics(evaluation, {}))
    described = run_folder.read(runs[1])
    assert f"{described.photos['train']:,} photos taught it" in text
    assert described.notes
    assert all(f"<li>{note}</li>" in text for note in described.notes)
    for source, counts in described.sources.items():
        assert f"<th>{source}</th><td>{counts['Airbus']}</td><td>{counts['Boeing']}</td>" in text
    measured = json.loads((runs[1] / "measured.json").read_text())["test"]
    right = {part: {one["name"]: one["value"] for one in measured[part] if not one["source"]} for part in measured}
    chain, flat = (f"{right[part]['path_accuracy']:.1%}" for part in ("chain", "control"))
    assert f"path accuracy {chain} of the chain and {flat} of the flat softmax" in text


def test_what_was_left_out_is_told_beside_the_figures(runs: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(runs[1], tmp_path / "without")
    described = json.loads((tmp_path / "without" / "run.json").read_text())
    described["left_out"] = {"sources": ["left"], "airlines": ["Blue Air"]}
    (tmp_path / "without" / "run.json").write_text(json.dumps(described))
    sides = compare([runs[1], tmp_path / "without"], QUIET).sides
    assert [side.facts["left out of training"] for side in sides] == ["nothing", "left, Blue Air"]


def test_a_run_without_a_flat_softmax_cannot_be_the_control(
    runs: tuple[Path, Path],
    exported: Path,
    catalog: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    described = run_folder.read(runs[1])
    described = dataclasses.replace(described, recipe=dataclasses.replace(described.recipe, control="off"))
    monkeypatch.setattr(run_folder, "read", lambda _: described)
    with pytest.raises(SystemExit):
        main(["evaluate", str(exported), str(catalog), "--out", str(tmp_path), "--control", str(runs[1])])
    said = capsys.readouterr()
    assert "was trained without a flat softmax" in said.err
    assert not said.out  # told before any photo is answered


def test_grad_cam_is_of_the_very_network_that_the_bundle_serves(exported: Path) -> None:
    model = read_bundle(exported)
    engine = load_engine(model, (4,))
    photos = np.random.default_rng(0).integers(0, 255, (4, model.height, model.width, 3), np.uint8)
    outputs = engine.run(photos)
    leaves = np.array([outputs[model.tree.constructors[0]][i].argmax() for i in range(4)])
    heats, how = gradcam.heat(model, engine, photos, leaves)
    assert how == "grad-cam"
    assert heats.shape[0] == 4
    assert heats.min() >= 0
    assert heats.max() <= 1


def test_covering_finds_the_part_that_the_answer_needs(tiny_bundle: Path) -> None:
    model = read_bundle(tiny_bundle)
    engine = load_engine(model, (1,))
    photo = np.full((1, model.height, model.width, 3), 124, np.uint8)
    photo[:, 6:12, 36:42] = (255, 0, 0)  # the only red: covering it takes away what says Airbus
    heats, how = gradcam.heat(model, engine, photo, np.array([0]))
    assert how == "occlusion"
    row, column = np.unravel_index(heats[0].argmax(), heats[0].shape)
    assert (row, column) == (1, 6)


def side(name: str, rights: list[int], airframes: list[str]) -> Side:
    rows = {"photo_id": [f"p{i}" for i in range(len(rights))], "airframe": airframes, "path_right": rights}
    answers = pd.DataFrame(rows).assign(constructor="Boeing", family="737", model="737-800")
    answers["constructor_right"] = answers["family_right"] = 1
    return Side(name, {}, {}, {}, answers=answers)


def test_photos_of_one_airframe_count_as_one_witness() -> None:
    before, after = [0] * 40, [1] * 20 + [0] * 20
    one_by_one, together = (
        paired(side("a", before, frames), side("b", after, frames), "path_right")
        for frames in ([f"N{i}" for i in range(40)], [f"N{i // 10}" for i in range(40)])
    )
    assert one_by_one is not None
    assert together is not None
    assert one_by_one.value == together.value == 0.5
    assert together.interval[0] < one_by_one.interval[0]
    assert one_by_one.chance == pytest.approx(2 / 2**20)


def seeded(name: str, seed: int, accuracy: float, rate: float = 0.1) -> Side:
    return Side(name, {"seed": seed, "learning_rate": rate}, {"recipe": "small"}, {"path_accuracy": accuracy})


def test_trainings_that_differ_in_the_seed_alone_have_a_mean_and_a_range(tmp_path: Path) -> None:
    sides = [seeded("a", 0, 0.5), seeded("b", 1, 0.6), seeded("c", 2, 0.7), seeded("other", 3, 0.9, rate=0.2)]
    assert {names: [one.name for one in group] for names, group in seeds(sides).items()} == {"a, b, c": ["a", "b", "c"]}
    assert over_seeds(sides[:3])["path_accuracy"] == pytest.approx((0.6, 0.5, 0.7))
    assert seeds([seeded("a", 0, 0.5), seeded("its bundle", 0, 0.5)]) == {}
    write(Comparison(sides, []), tmp_path / "comparison.html")
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert tables(Comparison(sides, []))[2].columns[0].header == "3 seeds: a, b, c"
    assert "<td>60.0%</td><td>50.0\N{EN DASH}70.0</td>" in page


def test_only_photos_with_the_same_label_on_both_sides_are_paired() -> None:
    first, second = side("a", [1, 1], ["x", "y"]), side("b", [1, 0], ["x", "y"])
    assert second.answers is not None
    second.answers.loc[1, "model"] = "737-700"
    found = paired(first, second, "path_right")
    assert found is not None
    assert found.photos == 1


def test_a_folder_of_something_else_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is no run, no bundle and no evaluation"):
        compare([tmp_path, tmp_path], QUIET)
    (tmp_path / output_files.METRICS).write_text("{}")
    with pytest.raises(TrainingError, match="Evaluate again"):
        compare([tmp_path, tmp_path], QUIET)


def test_a_chart_takes_its_colours_from_the_page() -> None:
    chart = epochs_chart({'a "quoted" <name>': ([1, 2], [0.5, 0.7])}, "accuracy", share=True)
    assert "var(--series-1)" in chart
    assert "#0a0b01" not in chart
    assert "<name>" not in chart
    assert 'aria-label="accuracy by epoch. a &quot;quoted&quot; &lt;name&gt;: 0.5 to 0.7."' in chart
