"""The ladder: the original's four steps in order, and the figure of how they went."""

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
from planespotter_training.network import pretrained
from planespotter_training.recipes.config import Recipe
from planespotter_training.reports import baseline_ladder

TREE = LabelTree({"Airbus": {}, "Boeing": {}})
SHRUNK = ("channels=0.125", "epochs=2")


def pretend(_: Path, name: str, recipe: Recipe, out: Path, *__: Any, **settings: Any) -> bool:
    """Leave what a training leaves."""
    start = settings["start"]
    first = out.parent / recipes.LADDER[0]
    assert settings["like"] == (None if out == first else first)  # all share the data set of the first
    out.mkdir(parents=True)
    begun = run_folder.Run(name, recipe, "", "", [], TREE, {"train": 1200}, {}, [], start.origin if start else "")
    run_folder.write(begun, out)
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
    (out / "measured.json").write_text(json.dumps({"test": {"chain": [metric], "control": []}}))
    return True


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for weights and trainings; return the names of the recipes for which weights were asked."""
    asked: list[str] = []

    def choose(recipe: Recipe, *_: Any) -> pretrained.Start:
        asked.append(recipe.train_from)
        return pretrained.Start("a trunk <of> ours", {})

    monkeypatch.setattr(pretrained, "choose", choose)
    monkeypatch.setattr(baseline_ladder, "train", pretend)
    return asked


@pytest.mark.slow
def test_the_figure_shows_all_four_steps(start: list[str], tmp_path: Path) -> None:
    assert baseline_ladder.climb(Path(), SHRUNK, tmp_path, (), Console(quiet=True))
    assert start == ["heads", "block3_conv1"]  # the last two begin with weights
    assert {path.name for path in tmp_path.iterdir()} == {*recipes.LADDER, "ladder.svg", "ladder.png", "ladder.html"}
    assert ET.parse(tmp_path / "ladder.svg").getroot().tag.endswith("svg")
    page = (tmp_path / "ladder.html").read_text()
    for name in recipes.LADDER:
        assert f"<th scope=row>{name}</th><td>2</td><td>0.500</td><td>0.550</td><td>70.0%</td>" in page
    assert "56.8%" in page
    assert "a trunk &lt;of&gt; ours" in page
    assert "<svg" in page
    assert "src=" not in page  # nothing that would have to be fetched


def test_a_step_that_was_stopped_ends_the_ladder_for_now(
    start: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline_ladder, "train", lambda *_, **__: False)
    assert not baseline_ladder.climb(Path(), SHRUNK, tmp_path, (), Console(quiet=True))
    assert not list(tmp_path.iterdir())


def test_weights_that_are_missing_are_told_of_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"this recipe has channels=0\.125 .* --init RUN"):
        baseline_ladder.climb(Path(), SHRUNK, tmp_path, (), Console(quiet=True))


def test_the_ladder_takes_no_other_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(tmp_path), "--out", str(tmp_path / "run"), "--ladder", "--recipe", "best"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "leave" in capsys.readouterr().err
