"""Measure what each part of a recipe gains: train it as it is with several seeds, then once without each part.

    python -m scripts.bench.ablation CATALOG --out DIR [--recipe best] [--set NAME=VALUE ...]
        [--seeds 3] [--only NAME ...]

Each training is a run in DIR, named for what it leaves out; a run that is complete is kept, so Ctrl-C loses nothing.
`--only` trains just the runs named, so that several machines or cores can share the work in one DIR, once the first
run, whose data set the others share, is there. The table is printed from whatever is complete. A gain that is smaller
than the range of the seeds says nothing.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from planespotter_training import recipes
from planespotter_training.errors import TrainingError
from planespotter_training.loop import devices
from planespotter_training.loop.train import train
from planespotter_training.network import pretrained

PARTS: Mapping[str, Sequence[str]] = {
    "the largest value of each feature, and its mean": ("pooling=average",),
    "label smoothing": ("label_smoothing=0",),
    "RandAugment": ("random_ops=0",),
    "recolouring": ("colour=0",),
    "the average of the weights": ("ema=0",),
    "slower rates for earlier blocks": ("layer_decay=1",),
    "heads first, then block after block": ("unfreeze_epochs=0",),
    "rare types drawn more often": ("type_balance=1",),
    "the mirrored photo at answer time": ("mirror=false",),
    "batch normalisation": ("norm=false",),
}
"""What a recipe may hold, and the settings that take it away."""

FIGURES = ("constructor_accuracy", "path_accuracy")


def main() -> None:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="best")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=None, metavar="RUN")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--init", type=Path)
    asked = parser.parse_args()
    console = Console(stderr=True)
    try:
        runs = plan(asked.recipe, asked.settings, asked.seeds)
        devices.initialise()
        for name, changes in runs.items():
            if asked.only is None or name in asked.only:
                console.rule(name)
                recipe = recipes.load(asked.recipe, changes)
                start = pretrained.choose(recipe, asked.weights, asked.init, console)
                first = asked.out / next(iter(runs))
                like = first if asked.out / name != first else None
                constructors = ["Airbus", "Boeing"]
                if not train(
                    asked.catalog, asked.recipe, recipe, asked.out / name, constructors, console, start=start, like=like
                ):
                    raise SystemExit(130)
    except TrainingError as error:
        raise SystemExit(str(error)) from error
    Console(width=200).print(table(asked.out, runs), highlight=False, markup=False)


def plan(recipe_name: str, settings: Sequence[str], seeds: int) -> dict[str, list[str]]:
    """Return the settings of each run by its name: the whole with each seed, and without each part that it holds."""
    whole = recipes.load(recipe_name, settings)
    runs = {f"seed-{seed}": [*settings, f"seed={seed}"] for seed in range(seeds)}
    for changes in PARTS.values():
        if recipes.load(recipe_name, [*settings, *changes]) != whole:
            runs[changes[0].replace("=", "-")] = [*settings, *changes, "seed=0"]
    return runs


def table(out: Path, runs: Mapping[str, Sequence[str]]) -> str:
    """Return a table in Markdown of the complete runs in `out`: per cent of the validation and test photos."""
    found = {name: read(out / name) for name in runs if (out / name / "measured.json").is_file()}
    seeds = [figures for name, figures in found.items() if name.startswith("seed-")]
    whole = found.get("seed-0")
    rows = ["| without | constructor | gain | path | gain |", "|---|---|---|---|---|"]
    spread = []
    for figure in FIGURES:
        values = [figures[figure] for figures in seeds]
        spread += [f"{min(values):.1f} to {max(values):.1f} %" if values else "-", ""]
    rows.append(f"| nothing, {len(seeds)} seeds | {' | '.join(spread)} |")
    names = {changes[0].replace("=", "-"): part for part, changes in PARTS.items()}
    for name, figures in found.items():
        if name in names:
            cells = []
            for figure in FIGURES:
                cells += [f"{figures[figure]:.1f} %", f"{whole[figure] - figures[figure]:+.1f}" if whole else "-"]
            rows.append(f"| {names[name]} | {' | '.join(cells)} |")
    return "\n".join(rows)


def read(run: Path) -> dict[str, float]:
    """Return the accuracies of the run on all its validation and test photos together, in per cent."""
    measured = json.loads((run / "measured.json").read_text(encoding="utf-8"))
    sides = [
        {metric["name"]: (metric["value"], metric["photos"]) for metric in side["chain"] if metric["source"] == ""}
        for side in measured.values()
    ]
    return {
        figure: 100 * sum(side[figure][0] * side[figure][1] for side in sides) / sum(side[figure][1] for side in sides)
        for figure in FIGURES
    }


if __name__ == "__main__":
    main()
