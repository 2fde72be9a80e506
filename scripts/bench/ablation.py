"""Ablation of a recipe: train it with several seeds, then once without each of its parts.

    python -m scripts.bench.ablation CATALOG --out DIR [--recipe best] [--set NAME=VALUE ...]
        [--seeds 3] [--only NAME ...]

Each training is a run in DIR, named after the part that it removes; complete runs are kept, so Ctrl-C loses nothing.
`--only` trains only the runs named, so that several machines or cores can share the work in one DIR, once the first
run, whose dataset the others share, exists. The table shows the runs that are complete. A difference within the range
of the seeds is not significant.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from planespotter_training import recipes, run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.loop import devices
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.train import train
from planespotter_training.network import pretrained

PARTS: Mapping[str, Sequence[str]] = {
    "second-order pooling": ("pooling=average+max",),
    "maximum next to average pooling": ("pooling=average",),
    "the `other` output": ("other_output=false",),
    "label smoothing": ("label_smoothing=0",),
    "RandAugment": ("randaugment_ops=0",),
    "channel mixing": ("channel_mixing=0",),
    "moving average of the weights": ("ema_decay=0",),
    "layer-wise learning rate decay": ("layer_decay=1",),
    "gradual unfreezing": ("unfreeze_epochs=0",),
    "rare types sampled more often": ("type_balance=1",),
    "flip TTA": ("flip_tta=false",),
    "batch normalisation": ("batch_norm=false",),
}
"""The parts of a recipe, and the settings that remove each."""

METRICS = ("constructor_accuracy", "path_accuracy")


def main() -> None:
    """Train the missing runs, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="best")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=None, metavar="RUN")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--init", type=Path)
    options = parser.parse_args()
    console = Console(stderr=True)
    try:
        runs = plan(options.recipe, options.settings, options.seeds)
        devices.initialize(devices.Timeouts())
        for name, changes in runs.items():
            if options.only is None or name in options.only:
                console.rule(name)
                recipe = recipes.load(options.recipe, changes)
                first = options.out / next(iter(runs))
                job = TrainJob(
                    catalog=options.catalog,
                    recipe_name=options.recipe,
                    recipe=recipe,
                    out=options.out / name,
                    constructors=["Airbus", "Boeing"],
                    initial=pretrained.choose(recipe, options.weights, options.init, console),
                    shared_dataset=first if options.out / name != first else None,
                )
                if not train(job, console):
                    raise SystemExit(130)
    except TrainingError as error:
        raise SystemExit(str(error)) from error
    Console(width=200).print(table(options.out, runs), highlight=False, markup=False)


def plan(recipe_name: str, settings: Sequence[str], seeds: int) -> dict[str, list[str]]:
    """Return the overrides of each run by its name: all parts with each seed, and without each part that it has."""
    full = recipes.load(recipe_name, settings)
    runs = {f"seed-{seed}": [*settings, f"seed={seed}"] for seed in range(seeds)}
    for changes in PARTS.values():
        if recipes.load(recipe_name, [*settings, *changes]) != full:
            runs[changes[0].replace("=", "-")] = [*settings, *changes, "seed=0"]
    return runs


def table(out: Path, runs: Mapping[str, Sequence[str]]) -> str:
    """Return a Markdown table of the complete runs in `out`: per cent of the validation and test photos."""
    results = {name: read(out / name) for name in runs if (out / name / run_folder.FINAL_METRICS).is_file()}
    seeds = [metrics for name, metrics in results.items() if name.startswith("seed-")]
    full = results.get("seed-0")
    rows = ["| without | constructor | gain | path | gain |", "|---|---|---|---|---|"]
    ranges = []
    for metric in METRICS:
        values = [metrics[metric] for metrics in seeds]
        ranges += [f"{min(values):.1f} to {max(values):.1f} %" if values else "-", ""]
    rows.append(f"| all parts, {len(seeds)} seeds | {' | '.join(ranges)} |")
    names = {changes[0].replace("=", "-"): part for part, changes in PARTS.items()}
    for name, metrics in results.items():
        if name in names:
            cells = []
            for metric in METRICS:
                cells += [f"{metrics[metric]:.1f} %", f"{full[metric] - metrics[metric]:+.1f}" if full else "-"]
            rows.append(f"| {names[name]} | {' | '.join(cells)} |")
    return "\n".join(rows)


def read(run: Path) -> dict[str, float]:
    """Return the accuracies of a run on all its validation and test photos together, in per cent."""
    splits = [split["hierarchical"] for split in run_folder.read_final_metrics(run).values()]
    return {
        name: 100
        * sum(split[name]["value"] * split[name]["photos"] for split in splits)
        / sum(split[name]["photos"] for split in splits)
        for name in METRICS
    }


if __name__ == "__main__":
    main()
