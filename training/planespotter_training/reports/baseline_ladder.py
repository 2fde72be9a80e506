"""Baseline ladder: train the original project's steps one after another, and chart loss and accuracy.

DIR/NAME                the run of each step; all share the files of one dataset
DIR/baseline_ladder.*   the chart as SVG and PNG, and a page with it and the final metrics
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from planespotter_training import recipes, run_folder
from planespotter_training.atomic_write import write_bytes, write_text
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.train import train
from planespotter_training.network import pretrained
from planespotter_training.reports.charts import Curve, epochs_grid
from planespotter_training.reports.pages import page

NAME = "baseline_ladder"

PANELS = (("loss", "loss", "loss"), ("constructor accuracy", "constructor_accuracy", "all/constructor_accuracy"))
"""Title, and name in a line of log.jsonl for the training and for the validation photos."""


@dataclass(frozen=True)
class InitialSource:
    """Where the steps that need pretrained weights get them: see `pretrained.choose`."""

    weights: Path | None = None
    init: Path | None = None


def train_baseline_ladder(job: TrainJob, changes: Sequence[str], source: InitialSource, console: Console) -> bool:
    """Train the steps into folders of `job.out`, and draw them. Steps that are complete are kept.

    Args:
        job: What to train on; recipe and initial weights are those of each step.
        changes: Settings to override in each step.
        source: Pretrained weights; they are read before the first step.
        console: For progress.

    Returns:
        Whether all steps are complete.

    Raises:
        TrainingError, CatalogError: See `train`.
    """
    steps = {name: recipes.load(name, changes) for name in recipes.BASELINE_LADDER}
    initial = {
        name: pretrained.choose(recipe, source.weights, source.init, console) if recipe.pretrained else None
        for name, recipe in steps.items()
    }
    for number, (name, recipe) in enumerate(steps.items(), start=1):
        console.rule(f"{number} of {len(steps)}: {name}")
        step = replace(
            job,
            recipe_name=name,
            recipe=recipe,
            out=job.out / name,
            initial=initial[name],
            shared_dataset=job.out / recipes.BASELINE_LADDER[0] if number > 1 else None,
        )
        if not train(step, console):
            return False
    draw(job.out)
    return True


def draw(out: Path) -> None:
    """Draw the steps in `out` to baseline_ladder.svg, .png and .html."""
    logs = {name: run_folder.read_lines(out / name / run_folder.LOG) for name in recipes.BASELINE_LADDER}
    chart = epochs_grid(
        {
            name: {
                title: {"training": _training(log, in_training), "validation": _validation(log, in_validation)}
                for title, in_training, in_validation in PANELS
            }
            for name, log in logs.items()
        }
    )
    write_bytes(out / f"{NAME}.png", chart.png)
    write_text(out / f"{NAME}.svg", chart.svg)
    runs = {name: run_folder.read(out / name) for name in logs}
    text = page(
        f"{NAME}.html",
        chart=chart.page_svg,
        run=runs[recipes.BASELINE_LADDER[0]],
        initial_weights=sorted({run.initial_weights for run in runs.values()} - {""}),
        rows={name: _row(log, out / name) for name, log in logs.items()},
    )
    write_text(out / f"{NAME}.html", text)


def _training(log: list[dict[str, Any]], name: str) -> Curve:
    return [line["epoch"] for line in log], [line[name] for line in log]


def _validation(log: list[dict[str, Any]], name: str) -> Curve:
    # A gap where the labels of the validation photos do not determine the metric.
    values = [line["validation"].get(name) for line in log]
    return [line["epoch"] for line in log], [float("nan") if value is None else value for value in values]


def _row(log: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Return the final metrics of a step, None where the labels do not determine them."""
    last = log[-1]
    validation = [line["validation"].get("all/constructor_accuracy") for line in log]
    known = [value for value in validation if value is not None]
    test = run_folder.read_final_metrics(folder).get("test", {}).get("hierarchical", {}).get("constructor_accuracy")
    return {
        "epochs": last["epoch"],
        "losses": (last["loss"], last["validation"]["loss"]),
        "accuracies": (
            last["constructor_accuracy"],
            validation[-1],
            max(known, default=None),
            None if test is None else test["value"],
        ),
    }
