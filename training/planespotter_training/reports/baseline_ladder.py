"""The original project's four steps one after another, and its figure: how loss and accuracy went in each.

DIR/NAME       the run of each step; the data set's files are the same in all of them
DIR/ladder.*   the figure as SVG and PNG, and a page with it and the figures behind it
"""

import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from rich.console import Console

from planespotter_training import recipes, run_folder
from planespotter_training.loop.train import train
from planespotter_training.network import pretrained

PANELS = (("loss", "loss", "loss"), ("constructor accuracy", "constructor_accuracy", "all/constructor_accuracy"))
"""Title, name in a line of the log for the training photos, and for the validation photos."""

GREY, BLUE = "#8a8f98", "#1f5fbf"


def climb(
    catalog_folder: Path,
    changes: Sequence[str],
    out: Path,
    constructors: Sequence[str],
    console: Console,
    *,
    weights: Path | None = None,
    init: Path | None = None,
    left_out: Mapping[str, Sequence[str]] | None = None,
    memory: int | None = None,
) -> bool:
    """Train the four steps into folders of `out`, with `changes` made to each, and draw them; return whether all ended.

    A step that is complete is kept. `weights` or `init` says what the steps that need it begin with; it is looked for
    before the first step. Raises TrainingError or CatalogError.
    """
    steps = {name: recipes.load(name, changes) for name in recipes.LADDER}
    starts = {
        name: pretrained.choose(recipe, weights, init, console) if recipe.pretrained else None
        for name, recipe in steps.items()
    }
    for number, (name, recipe) in enumerate(steps.items(), start=1):
        console.rule(f"{number} of {len(steps)}: {name}")
        complete = train(
            catalog_folder,
            name,
            recipe,
            out / name,
            constructors,
            console,
            start=starts[name],
            left_out=left_out,
            memory=memory,
            like=out / recipes.LADDER[0] if number > 1 else None,
        )
        if not complete:
            return False
    draw(out)
    return True


def draw(out: Path) -> None:
    """Draw the steps in `out` to ladder.svg, ladder.png and ladder.html. Raises TrainingError for a run's damage."""
    logs = {name: _log(out / name) for name in recipes.LADDER}
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    axes = figure.subplots(len(PANELS), len(logs), sharex="col", sharey="row", squeeze=False)
    for column, (name, log) in enumerate(logs.items()):
        for row, (title, in_training, in_validation) in enumerate(PANELS):
            _panel(
                axes[row][column],
                [line["epoch"] for line in log],
                [line[in_training] for line in log],
                [line["validation"].get(in_validation) for line in log],
            )
            axes[row][0].set_ylabel(title)
            if "accuracy" in title:
                axes[row][0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes[0][column].set_title(name)
        axes[-1][column].set_xlabel("epoch")
    axes[0][0].legend(frameon=False)
    figure.savefig(out / "ladder.png", dpi=150)
    drawing = io.StringIO()
    figure.savefig(drawing, format="svg", metadata={"Date": None})
    (out / "ladder.svg").write_text(drawing.getvalue(), encoding="utf-8")
    (out / "ladder.html").write_text(_page(drawing.getvalue(), logs, out), encoding="utf-8")


def _log(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _panel(panel: Axes, epochs: list[float], training: list[float], validation: list[float | None]) -> None:
    marker = "o" if len(epochs) == 1 else None  # a line of one point would not show
    panel.plot(epochs, training, color=GREY, linestyle="--", marker=marker, label="training")
    # None, where no label of the validation photos allows the figure, is a gap.
    seen = [float("nan") if value is None else value for value in validation]
    panel.plot(epochs, seen, color=BLUE, marker=marker, label="validation")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def _page(drawing: str, logs: Mapping[str, list[dict[str, Any]]], out: Path) -> str:
    """Return one page that needs no other file."""
    names = ("step", "epochs", "training loss", "validation loss", "training", "validation", "highest", "test")
    rows = "".join(
        f"<tr><th scope=row>{name}</th>{''.join(f'<td>{cell}</td>' for cell in _cells(log, out / name))}</tr>"
        for name, log in logs.items()
    )
    begun = run_folder.read(out / recipes.LADDER[0])
    photos = ", ".join(f"{n:,} {side}" for side, n in begun.photos.items())
    starts = {run_folder.read(out / name).start for name in logs} - {""}
    began = f" Where a step begins with trained weights, they are {html.escape(', '.join(sorted(starts)))}."
    settings = f"{begun.recipe.height} x {begun.recipe.width} px, {begun.recipe.channels:g} of VGG16's channels"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>From scratch to fine-tuned</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #1c1f23 }}
svg {{ max-width: 100%; height: auto }}
table {{ border-collapse: collapse }}
th, td {{ padding: .3rem .8rem; border-bottom: 1px solid #d5d8dc; text-align: right }}
th:first-child {{ text-align: left }}
div {{ overflow-x: auto }}
</style>
<h1>From scratch to fine-tuned</h1>
<p>Four ways to train the same network, one after another. Photos: {photos}; {settings}.{began if starts else ""}</p>
{drawing[drawing.index("<svg") :]}
<h2>At the end</h2>
<div><table><thead><tr>{"".join(f"<th scope=col>{name}</th>" for name in names)}</tr></thead>
<tbody>{rows}</tbody></table></div>
<p>Training, validation, highest and test are shares of photos with the right constructor: of the last epoch, of
the epoch with the highest on validation photos, and of the last epoch's network on photos that no choice looked at.
Training photos are augmented and part of the network is switched off for them, so their share can be the lower one.</p>
</html>
"""


def _cells(log: list[dict[str, Any]], folder: Path) -> list[str]:
    last = log[-1]
    validation = [line["validation"].get("all/constructor_accuracy") for line in log]
    known = [value for value in validation if value is not None]
    measured = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    test = [
        metric["value"]
        for metric in measured.get("test", {}).get("chain", [])
        if (metric["source"], metric["name"]) == ("", "constructor_accuracy")
    ]
    shares = (last["constructor_accuracy"], validation[-1], max(known, default=None), next(iter(test), None))
    return [
        f"{last['epoch']:g}",
        f"{last['loss']:.3f}",
        f"{last['validation']['loss']:.3f}",
        *("" if share is None else f"{share:.1%}" for share in shares),
    ]
