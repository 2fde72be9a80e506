"""Put trainings side by side: runs, bundles, or folders that an evaluation wrote."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Column, Table
from scipy.stats import binomtest

from planespotter_models import Calibration, Thresholds, read_bundle
from planespotter_training import run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation import output_files
from planespotter_training.evaluation.confidence_intervals import intervals
from planespotter_training.evaluation.metric_definitions import DEFINITIONS, shown, shown_interval
from planespotter_training.evaluation.metrics import figures
from planespotter_training.evaluation.scoring import judge, number
from planespotter_training.reports.charts import epochs_chart
from planespotter_training.reports.evaluation_report import page

# What is the same before and after calibration, so that runs and bundles can stand beside each other.
FIGURES = (
    "constructor_accuracy",
    "constructor_macro_f1",
    "family_accuracy",
    "model_accuracy_given_constructor",
    "path_accuracy",
    "path_macro_f1",
    "hierarchical_f",
    "severity",
    "severity_of_mistakes",
    "nll_before_temperature",
    "ece_before_temperature",
    "path_nll_before_temperature",
)
PAIRED = {
    "constructor_right": "constructor_accuracy",
    "family_right": "family_accuracy",
    "path_right": "path_accuracy",
}
LABEL = ["photo_id", "constructor", "family", "model"]
RESAMPLES = 2000


@dataclass(frozen=True)
class Side:
    """One of the trainings that are compared."""

    name: str
    settings: Mapping[str, Any]
    facts: Mapping[str, str]
    """What else there is to say of it: how long it took, what it was measured on."""
    figures: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, Any]] = ()
    """The lines of the run's log."""
    answers: pd.DataFrame | None = None
    """One row for each photo: LABEL, `airframe` and the columns of PAIRED, NaN where a label does not say."""


@dataclass(frozen=True)
class Difference:
    """How a side differs from the first one on the photos that both answered."""

    side: str
    figure: str
    photos: int
    value: float
    """The share that is right here, less the share that is right at the first side."""
    interval: tuple[float, float]
    gained: int
    """Photos right here only."""
    lost: int
    """Photos right at the first side only."""
    chance: float
    """McNemar's exact test: how often a difference as large would come about if there were none."""


@dataclass(frozen=True)
class Comparison:
    """The sides, and what their answers to the same photos say."""

    sides: Sequence[Side]
    differences: Sequence[Difference]


def compare(folders: Sequence[Path], console: Console) -> Comparison:
    """Compare what is in `folders`; the first is what the others are held against. Raises TrainingError."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    sides = [_read(folder, name, console) for folder, name in zip(folders, names, strict=True)]
    differences = [
        difference
        for side in sides[1:]
        for column in PAIRED
        for difference in [paired(sides[0], side, column)]
        if difference is not None
    ]
    return Comparison(sides, differences)


# ---------------------------------------------------------------- reading


def _read(folder: Path, name: str, console: Console) -> Side:
    if (folder / "run.json").is_file():
        with console.status(f"Measuring {name} on its test photos"):
            return _read_run(folder, name)
    if (folder / output_files.METRICS).is_file():
        return _read_evaluation(folder, name)
    if (folder / "bundle.json").is_file():
        return _read_bundle(folder, name)
    raise TrainingError(
        f"{folder} is no run, no bundle and no evaluation: it holds no run.json, bundle.json or metrics.json. "
        "Name a folder that `planespotter train`, `export` or `evaluate --out` wrote."
    )


def _read_run(folder: Path, name: str) -> Side:
    import jax

    from planespotter_training.data import dataset
    from planespotter_training.data.split import airframes
    from planespotter_training.evaluation.predict import predict
    from planespotter_training.network import checkpoint

    described = run_folder.read(folder)
    network, step = checkpoint.load_network(folder, described.recipe, described.tree)
    test = dataset.load(dataset.reopen(folder / "dataset")["test"], described.tree, described.recipe, described.sources)
    log = []
    for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # a line that was cut short
            log.append(json.loads(line))
    settings = asdict(described.recipe)
    facts = {
        "recipe": described.recipe_name,
        "photos trained on": f"{described.photos.get('train', 0):,}",
        "begun with": described.start or "random weights",
        "left out of training": _names(described.left_out),
        "epochs trained": f"{log[-1]['epoch']:.3g}" if log else "0",
        **_speed(log, described.recipe.batch_size),
        "types": str(sum(map(len, described.tree.leaves.values()))),
        "test photos": f"{len(test):,}",
    }
    if not len(test):
        return Side(name, settings, facts, {}, epochs=log)
    outputs = predict(jax.jit(lambda photos: network(photos)), test)
    calibration = Calibration(dict.fromkeys(described.tree.heads, 1.0), Thresholds(0, 0, 0))
    rows = judge(described.tree, calibration, outputs, test.labels, test.sources)
    nodes = number(described.tree)
    split = pd.read_csv(folder / "split.csv", dtype=str, keep_default_na=False)
    known = dict(zip(split["photo_id"], airframes(split), strict=True))
    rows["airframe"] = [known.get(photo_id, photo_id) for photo_id in test.photo_ids]
    answers = pd.DataFrame(test.labels, columns=LABEL[1:]).assign(photo_id=test.photo_ids, airframe=rows["airframe"])
    found = figures(nodes, rows, FIGURES)
    return Side(
        name,
        settings,
        facts | {"step": f"{step:,}"},
        {figure: None if one is None else one.value for figure, one in found.items()},
        intervals(nodes, rows, found),
        log,
        _numbers(answers.assign(**output_files.rights(nodes, rows))),
    )


def _names(left_out: Mapping[str, Sequence[str]] | None) -> str:
    """Return sources and airlines that training left out, as text."""
    return ", ".join(name for names in (left_out or {}).values() for name in names) or "nothing"


def _speed(log: Sequence[Mapping[str, Any]], batch_size: int) -> dict[str, str]:
    if not log or not all(row.get("photos_per_second") for row in log):
        return {}
    steps = np.diff([0, *(row["step"] for row in log)])
    rates = np.array([row["photos_per_second"] for row in log])
    facts = {
        "minutes of training": f"{(steps * batch_size / rates).sum() / 60:.1f}",
        "photos per second": f"{np.median(rates):,.0f}",
    }
    if all("share_of_peak" in row for row in log):
        facts["share of the device's peak"] = f"{np.median([row['share_of_peak'] for row in log]):.0%}"
    return facts


def _read_evaluation(folder: Path, name: str) -> Side:
    try:
        content = json.loads((folder / output_files.METRICS).read_text(encoding="utf-8"))
        answers = pd.read_csv(folder / output_files.ANSWERS, dtype=str, keep_default_na=False)
        overall, described = content["overall"], content["bundle"]
        return Side(
            name,
            described["settings"] or {},
            {
                "recipe": str(described["recipe"] or ""),
                "bundle": f"{described['name']} {described['version']}",
                "left out of training": _names(described.get("left_out")),
                "test photos": f"{overall['n']:,}",
            },
            {figure: overall[figure] for figure in FIGURES},
            {figure: overall["intervals"][figure] for figure in FIGURES},
            answers=_numbers(answers[[*LABEL, "airframe", *PAIRED]]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"The evaluation in {folder} is damaged or was written by another version of planespotter "
            f"({type(error).__name__}). Evaluate again into that folder."
        ) from error


def _read_bundle(folder: Path, name: str) -> Side:
    model = read_bundle(folder)
    overall = {metric.name: metric for metric in model.metrics if not metric.source}
    return Side(
        name,
        model.training.get("settings") or {},
        {
            "recipe": str(model.training.get("recipe") or ""),
            "bundle": f"{model.name} {model.version}",
            "left out of training": _names(model.training.get("held_out")),
            "test photos": f"{max((metric.photos for metric in overall.values()), default=0):,}",
        },
        {figure: overall[figure].value if figure in overall else None for figure in FIGURES},
    )


def _numbers(answers: pd.DataFrame) -> pd.DataFrame:
    for column in PAIRED:
        answers = answers.assign(**{column: pd.to_numeric(answers[column].replace("", np.nan))})
    return answers


# ---------------------------------------------------------------- comparing


def paired(first: Side, other: Side, column: str) -> Difference | None:
    """Return how often `column` of PAIRED is right at `other` and not at `first`; None without photos in common.

    The interval is from drawing airframes again, the same for both sides: what is hard for both cancels out.
    """
    if first.answers is None or other.answers is None:
        return None
    both = first.answers.merge(other.answers, on=LABEL, suffixes=("", "_other"))
    both = both[both[column].notna() & both[f"{column}_other"].notna()]
    if both.empty:
        return None
    change = (both[f"{column}_other"] - both[column]).to_numpy(float)
    _, place = np.unique(both["airframe"].astype(str), return_inverse=True)
    sums, photos = np.bincount(place, weights=change), np.bincount(place)
    drawn = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / photos[drawn].sum(axis=1), (2.5, 97.5))
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    return Difference(
        side=other.name,
        figure=PAIRED[column],
        photos=len(both),
        value=float(change.mean()),
        interval=(float(low), float(high)),
        gained=gained,
        lost=lost,
        chance=float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
    )


def changed_settings(sides: Sequence[Side]) -> dict[str, list[str]]:
    """Return the settings that are not the same on all sides, as text for each."""
    names = dict.fromkeys(name for side in sides for name in side.settings)
    values = {name: [str(side.settings.get(name, "")) for side in sides] for name in names}
    return {name: texts for name, texts in values.items() if len(set(texts)) > 1}


def changed_facts(sides: Sequence[Side]) -> dict[str, list[str]]:
    """Return the facts of all sides, as text for each."""
    names = dict.fromkeys(name for side in sides for name in side.facts)
    return {name: [side.facts.get(name, "") for side in sides] for name in names}


def seeds(sides: Sequence[Side]) -> dict[str, list[Side]]:
    """Return the sides that differ in nothing but the seed, by their names: each with the figures of one seed."""
    groups: dict[str, list[Side]] = {}
    for side in sides:
        alike = ("recipe", "begun with", "left out of training", "photos trained on", "test photos")
        told = {name: side.facts.get(name) for name in alike}
        same = {name: value for name, value in side.settings.items() if name != "seed"}
        groups.setdefault(json.dumps([told, same], sort_keys=True, default=str), []).append(side)
    return {
        ", ".join(side.name for side in group): group
        for group in groups.values()
        if len(group) > 1 and len({side.settings.get("seed") for side in group}) == len(group)
    }


def over_seeds(sides: Sequence[Side]) -> dict[str, tuple[float, float, float]]:
    """Return mean, lowest and highest of each figure that all `sides` have."""
    values = {name: [side.figures.get(name) for side in sides] for name in FIGURES}
    known = {name: [one for one in of_all if one is not None] for name, of_all in values.items()}
    return {
        name: (float(np.mean(found)), min(found), max(found))
        for name, found in known.items()
        if len(found) == len(sides)
    }


def tables(comparison: Comparison) -> list[Table]:
    """Return the comparison as tables for a terminal."""
    sides = comparison.sides
    about = Table("", *(Column(side.name, justify="right", overflow="fold") for side in sides))
    for name, texts in changed_facts(sides).items():
        about.add_row(name, *texts)
    about.add_section()
    for name, texts in changed_settings(sides).items():
        about.add_row(name, *texts)
    measured = Table("", *(Column(side.name, justify="right", overflow="fold") for side in sides))
    for name in FIGURES:
        if any(side.figures.get(name) is not None for side in sides):
            measured.add_row(
                DEFINITIONS[name].words,
                *(
                    f"{shown(name, side.figures.get(name))}\n{shown_interval(name, side.intervals.get(name))}".strip()
                    for side in sides
                ),
            )
    made = [about, measured]
    for names, group in seeds(sides).items():
        heads = (Column("mean", justify="right"), Column("lowest to highest", justify="right"))
        of_group = Table(f"{len(group)} seeds: {names}", *heads)
        for name, (mean, low, high) in over_seeds(group).items():
            of_group.add_row(DEFINITIONS[name].words, shown(name, mean), shown_interval(name, (low, high)))
        made.append(of_group)
    if comparison.differences:
        made.append(_differences(comparison))
    return made


def _differences(comparison: Comparison) -> Table:
    made = Table(
        f"against {comparison.sides[0].name}",
        "",
        Column("difference", justify="right"),
        Column("photos", justify="right"),
        Column("won, lost", justify="right"),
        Column("p", justify="right"),
    )
    for one in comparison.differences:
        made.add_row(
            one.side,
            DEFINITIONS[one.figure].words,
            f"{points(one.value)}\n{points(one.interval[0])} to {points(one.interval[1])}",
            f"{one.photos:,}",
            f"{one.gained}, {one.lost}",
            f"{one.chance:.2g}",
        )
    return made


def points(value: float) -> str:
    """Return a difference of shares as text, in percentage points with their sign."""
    return f"{100 * value:+.1f}"


def write(comparison: Comparison, out: Path) -> None:
    """Write the comparison to the file `out`, as a page that needs nothing else."""
    text = page(
        "comparison.html",
        sides=comparison.sides,
        differences=comparison.differences,
        settings=changed_settings(comparison.sides),
        facts=changed_facts(comparison.sides),
        figures=[name for name in FIGURES if any(side.figures.get(name) is not None for side in comparison.sides)],
        seeds={names: over_seeds(group) for names, group in seeds(comparison.sides).items()},
        charts=_charts(comparison.sides),
        points=points,
    )
    output_files.write(out.parent, {out.name: text})


def _charts(sides: Sequence[Side]) -> list[tuple[str, str]]:
    wanted = (
        ("Loss, training", "loss", None, False),
        ("Loss, validation", "loss", "validation", False),
        ("Constructor accuracy, validation", "all/constructor_accuracy", "validation", True),
        ("Path accuracy, validation", "all/path_accuracy", "validation", True),
    )
    made = []
    for title, key, part, share in wanted:
        curves = {}
        for side in sides:
            rows = [(row["epoch"], row.get(part, {}) if part else row) for row in side.epochs]
            found = [(epoch, row[key]) for epoch, row in rows if row.get(key) is not None]
            if found:
                curves[side.name] = ([epoch for epoch, _ in found], [value for _, value in found])
        if curves:
            made.append((title, epochs_chart(curves, title.lower(), share=share)))
    return made
