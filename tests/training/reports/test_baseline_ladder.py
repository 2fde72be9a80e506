"""Baseline ladder: the original's steps in order, and their chart."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from planespotter_client.commands.main import main
from planespotter_models import LabelTree
from planespotter_training import recipes, run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.loop.job import TrainJob
from planespotter_training.network import pretrained
from planespotter_training.recipes.config import Recipe
from planespotter_training.reports import baseline_ladder
from planespotter_training.reports.baseline_ladder import InitialSource

TREE = LabelTree({"Airbus": {}, "Boeing": {}})
SMALL = ("channel_multiplier=0.125", "epochs=2")


def job(out: Path) -> TrainJob:
    return TrainJob(Path(), "small", recipes.load("small"), out, ())


def pretend(job: TrainJob, _: Console) -> bool:
    """Write the run folder of a training."""
    out, first = job.out, job.out.parent / recipes.BASELINE_LADDER[0]
    assert job.shared_dataset == (None if out == first else first)  # all share the dataset of the first
    out.mkdir(parents=True)
    run = run_folder.Run(job.recipe_name, job.recipe, "", "", [], TREE, {"train": 1200}, {}, [], job.origin)
    run_folder.write(run, out)
    lines = [
        {
            "epoch": epoch,
            "loss": 1 / epoch,
            "constructor_accuracy": 0.5 + epoch / 10,
            "validation": {"loss": 1.1 / epoch, "all/constructor_accuracy": 0.4 + epoch / 10},
        }
        for epoch in (1, 2)
    ]
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    metric = {"source": "", "name": "constructor_accuracy", "value": 0.5678, "photos": 9}
    (out / "final_metrics.json").write_text(json.dumps({"test": {"hierarchical": [metric], "flat": []}}))
    return True


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace weights and trainings; return the `train_from` of the recipes that requested weights."""
    recorded: list[str] = []

    def choose(recipe: Recipe, *_: Any) -> pretrained.InitialWeights:
        recorded.append(recipe.train_from)
        return pretrained.InitialWeights("a trunk <of> ours", {})

    monkeypatch.setattr(pretrained, "choose", choose)
    monkeypatch.setattr(baseline_ladder, "train", pretend)
    return recorded


@pytest.mark.slow
def test_the_chart_shows_all_steps(requested: list[str], tmp_path: Path) -> None:
    assert baseline_ladder.train_baseline_ladder(job(tmp_path), SMALL, InitialSource(), Console(quiet=True))
    assert requested == ["heads", "block3_conv1", "block3_conv1"]  # the last three start from weights
    assert {path.name for path in tmp_path.iterdir()} == {
        *recipes.BASELINE_LADDER,
        "baseline_ladder.svg",
        "baseline_ladder.png",
        "baseline_ladder.html",
    }
    assert ET.parse(tmp_path / "baseline_ladder.svg").getroot().tag.endswith("svg")
    page = (tmp_path / "baseline_ladder.html").read_text()
    for name in recipes.BASELINE_LADDER:
        assert f"<th>{name}</th><td>2</td><td>0.500</td><td>0.550</td><td>70.0%</td>" in page
    assert "56.8%" in page
    assert "a trunk &lt;of&gt; ours" in page
    assert "<svg" in page
    assert "src=" not in page  # nothing that would have to be fetched


def test_a_stopped_step_stops_the_baseline_ladder(
    requested: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline_ladder, "train", lambda *_, **__: False)
    assert not baseline_ladder.train_baseline_ladder(job(tmp_path), SMALL, InitialSource(), Console(quiet=True))
    assert not list(tmp_path.iterdir())


def test_missing_weights_are_an_error_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"this recipe has channel_multiplier=0\.125 .* --init RUN"):
        baseline_ladder.train_baseline_ladder(job(tmp_path), SMALL, InitialSource(), Console(quiet=True))


def test_the_baseline_ladder_rejects_a_recipe_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(tmp_path), "--out", str(tmp_path / "run"), "--baseline-ladder", "--recipe", "best"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "omit --recipe" in " ".join(capsys.readouterr().err.split())
