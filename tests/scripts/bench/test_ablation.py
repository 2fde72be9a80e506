"""Ablation: the runs of a recipe, and the table of those that are complete."""

import json
from pathlib import Path

from scripts.bench import ablation


def write(folder: Path, constructor: tuple[float, float], path: tuple[float, float]) -> None:
    folder.mkdir()
    splits = {
        split: {
            "hierarchical": [
                {"source": "", "name": "constructor_accuracy", "value": constructor[number], "photos": 100},
                {"source": "las", "name": "constructor_accuracy", "value": 0, "photos": 90},
                {"source": "", "name": "path_accuracy", "value": path[number], "photos": 50},
            ]
        }
        for number, split in enumerate(("validation", "test"))
    }
    (folder / "final_metrics.json").write_text(json.dumps(splits), encoding="utf-8")


def test_only_parts_that_the_recipe_has_are_removed() -> None:
    runs = ablation.plan("best", ["pretrained=false", "layer_decay=1", "unfreeze_epochs=0"], seeds=2)
    assert list(runs)[:2] == ["seed-0", "seed-1"]
    assert runs["seed-1"] == ["pretrained=false", "layer_decay=1", "unfreeze_epochs=0", "seed=1"]
    assert runs["ema_decay-0"][-2:] == ["ema_decay=0", "seed=0"]
    assert "layer_decay-1" not in runs
    assert "batch_norm-false" not in runs, "the recipe has no batch normalisation"


def test_the_table_shows_the_range_of_the_seeds_and_the_gain_of_each_part(tmp_path: Path) -> None:
    runs = ablation.plan("best", [], seeds=3)
    write(tmp_path / "seed-0", (0.9, 0.8), (0.5, 0.4))
    write(tmp_path / "seed-1", (0.9, 0.9), (0.5, 0.5))
    write(tmp_path / "ema_decay-0", (0.8, 0.8), (0.5, 0.5))
    assert ablation.table(tmp_path, runs).splitlines()[2:] == [
        "| all parts, 2 seeds | 85.0 to 90.0 % |  | 45.0 to 50.0 % |  |",
        "| moving average of the weights | 80.0 % | +5.0 | 50.0 % | -5.0 |",
    ]
