"""Compare trainings: runs, bundles or evaluations, by settings, epochs, metrics and paired differences."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Column, Table
from scipy.stats import binomtest

from planespotter_models import Calibration, Thresholds, read_bundle
from planespotter_scraping.catalog import count_noun
from planespotter_training import run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation import output_files
from planespotter_training.evaluation.confidence_intervals import intervals
from planespotter_training.evaluation.metrics import METRICS, compute, format_interval, format_value, legend
from planespotter_training.evaluation.scoring import number_nodes, score
from planespotter_training.phases import phase
from planespotter_training.reports import held_out_table
from planespotter_training.reports.charts import epochs_chart
from planespotter_training.reports.held_out_table import HeldOutSource
from planespotter_training.reports.pages import page

COMPARED = (
    "constructor_accuracy",
    "constructor_macro_f1",
    "constructor_auroc",
    "family_accuracy",
    "model_accuracy_given_constructor",
    "path_accuracy",
    "path_macro_f1",
    "hierarchical_f1",
    "hierarchical_distance",
    "mistake_severity",
    "uncalibrated_nll",
    "uncalibrated_ece",
    "uncalibrated_path_nll",
)
"""Metrics that do not depend on calibration, so that runs and bundles can be compared."""
PAIRED = {
    "constructor_correct": "constructor_accuracy",
    "family_correct": "family_accuracy",
    "path_correct": "path_accuracy",
}
LABEL = ["photo_id", "constructor", "family", "model"]
OF_RECIPE = ("recipe", "initial weights", "for training only")
SAME_IN_SEEDS = (*OF_RECIPE, "held out of training", "photos trained on", "test photos")
RESAMPLES = 2000
SIGNIFICANCE = 0.05
"""Probability of calling any of the differences between two subjects clear, if there is none."""


@dataclass(frozen=True)
class Subject:
    """One of the trainings that are compared."""

    name: str
    settings: Mapping[str, Any]
    facts: Mapping[str, str]
    """What else describes it: how long it took, what it was measured on."""
    metrics: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, Any]] = ()
    """The lines of the run's log."""
    predictions: pd.DataFrame | None = None
    """One row per photo: LABEL, `airframe` and the columns of PAIRED, NaN where the label does not determine it."""
    held_out: Sequence[HeldOutSource] = ()
    """A run's metrics on the sources that it held out of training."""


@dataclass(frozen=True)
class Difference:
    """How a subject differs from the first one on the photos that both predicted."""

    subject: str
    metric: str
    photos: int
    value: float
    """Accuracy here minus accuracy of the first subject."""
    interval: tuple[float, float]
    gained: int
    """Photos that are correct here only."""
    lost: int
    """Photos that are correct at the first subject only."""
    p_value: float
    """McNemar's exact test."""


@dataclass(frozen=True)
class Comparison:
    """The subjects, and their differences on the same photos."""

    subjects: Sequence[Subject]
    differences: Sequence[Difference]


def compare(folders: Sequence[Path], console: Console) -> Comparison:
    """Compare the runs, bundles or evaluations in `folders` with the first of them.

    Raises:
        TrainingError: A folder is none of these, or is damaged.
    """
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    subjects = [_read(folder, name, console) for folder, name in zip(folders, names, strict=True)]
    differences = [
        difference
        for subject in subjects[1:]
        for column in PAIRED
        for difference in [paired_difference(subjects[0], subject, column)]
        if difference is not None
    ]
    return Comparison(subjects, differences)


# ---------------------------------------------------------------- reading


def _read(folder: Path, name: str, console: Console) -> Subject:
    if (folder / "run.json").is_file():
        with phase(console, f"Measuring {name} on its test photos"):
            return _read_run(folder, name)
    if (folder / output_files.METRICS_FILE).is_file():
        return _read_evaluation(folder, name)
    if (folder / "bundle.json").is_file():
        return _read_bundle(folder, name)
    raise TrainingError(
        f"{folder} is not a run, a bundle or an evaluation: it has no run.json, bundle.json or metrics.json. "
        "Name a folder that `planespotter train`, `export` or `evaluate --out` wrote."
    )


def _read_run(folder: Path, name: str) -> Subject:
    import jax

    from planespotter_training.data import dataset
    from planespotter_training.data.split import airframes
    from planespotter_training.evaluation.predict import predict
    from planespotter_training.network import checkpoint

    run = run_folder.read(folder)
    network, step = checkpoint.load_network(folder, run.recipe, run.tree)
    test = dataset.load(dataset.reopen(folder / "dataset")["test"], run.tree, run.recipe, run.sources)
    log = run_folder.read_lines(folder / run_folder.LOG)
    settings = asdict(run.recipe)
    facts = {
        "recipe": run.recipe_name,
        "photos trained on": f"{run.photos.get('train', 0):,}",
        "initial weights": run.initial_weights or "random",
        "held out of training": _names(run.held_out),
        **({"for training only": ", ".join(run.train_only)} if run.train_only else {}),
        "epochs trained": f"{log[-1]['epoch']:.3g}" if log else "0",
        **_speed(log, run.recipe.batch_size),
        "types": str(len(run.tree.all_leaves)),
        "test photos": f"{len(test):,}",
    }
    if not len(test):
        return Subject(name, settings, facts, {}, epochs=log)
    outputs = predict(jax.jit(lambda photos: network(photos)), test)
    calibration = Calibration(dict.fromkeys(run.tree.heads, 1.0), Thresholds(0, 0, 0))
    rows = score(run.tree, calibration, outputs, test.labels, test.sources)
    nodes = number_nodes(run.tree)
    split = pd.read_csv(folder / "split.csv", dtype=str, keep_default_na=False)
    airframe_of = dict(zip(split["photo_id"], airframes(split), strict=True))
    rows["airframe"] = [airframe_of.get(photo_id, photo_id) for photo_id in test.photo_ids]
    predictions = pd.DataFrame(test.labels, columns=LABEL[1:]).assign(
        photo_id=test.photo_ids, airframe=rows["airframe"], **output_files.correct(nodes, rows)
    )
    values = compute(nodes, rows, COMPARED)
    return Subject(
        name,
        settings,
        facts | {"step": f"{step:,}"},
        {metric: None if measured is None else measured.value for metric, measured in values.items()},
        intervals(nodes, rows, values),
        log,
        _numeric(predictions),
        held_out_table.measure_sources(name, run.held_out.get("sources", ()), nodes, rows),
    )


def _names(held_out: Mapping[str, Sequence[str]] | None) -> str:
    """Return held-out sources and airlines as text."""
    return ", ".join(name for names in (held_out or {}).values() for name in names) or "nothing"


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


def _read_evaluation(folder: Path, name: str) -> Subject:
    try:
        content = json.loads((folder / output_files.METRICS_FILE).read_text(encoding="utf-8"))
        predictions = pd.read_csv(folder / output_files.PREDICTIONS_FILE, dtype=str, keep_default_na=False)
        overall, bundle = content["overall"], content["bundle"]
        return Subject(
            name,
            bundle["settings"] or {},
            {
                "recipe": str(bundle["recipe"] or ""),
                "bundle": f"{bundle['name']} {bundle['version']}",
                "held out of training": _names(bundle.get("held_out")),
                "test photos": f"{overall['n']:,}",
            },
            {metric: overall[metric] for metric in COMPARED},
            {metric: overall["intervals"][metric] for metric in COMPARED},
            predictions=_numeric(predictions[[*LABEL, "airframe", *PAIRED]]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"The evaluation in {folder} is damaged or was written by another version of planespotter "
            f"({type(error).__name__}). Evaluate again into that folder."
        ) from error


def _read_bundle(folder: Path, name: str) -> Subject:
    model = read_bundle(folder)
    overall = {metric.name: metric for metric in model.metrics if not metric.source}
    return Subject(
        name,
        model.training.get("settings") or {},
        {
            "recipe": str(model.training.get("recipe") or ""),
            "bundle": f"{model.name} {model.version}",
            "held out of training": _names(model.training.get("held_out")),
            "test photos": f"{max((metric.photos for metric in overall.values()), default=0):,}",
        },
        {metric: overall[metric].value if metric in overall else None for metric in COMPARED},
    )


def _numeric(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return `predictions` with the columns of PAIRED as numbers."""
    for column in PAIRED:
        predictions = predictions.assign(**{column: pd.to_numeric(predictions[column].replace("", np.nan))})
    return predictions


# ---------------------------------------------------------------- comparing


def paired_difference(first: Subject, other: Subject, column: str) -> Difference | None:
    """Compare a column of PAIRED on the photos that both subjects predicted; None if they share no photos.

    The interval is a paired bootstrap over airframes: what is hard for both cancels out.
    """
    if first.predictions is None or other.predictions is None:
        return None
    both = first.predictions.merge(other.predictions, on=LABEL, suffixes=("", "_other"))
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
        subject=other.name,
        metric=PAIRED[column],
        photos=len(both),
        value=float(change.mean()),
        interval=(float(low), float(high)),
        gained=gained,
        lost=lost,
        p_value=float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
    )


def verdicts(comparison: Comparison) -> list[str]:
    """Return a sentence for each subject but the first: whether it or the first is clearly better.

    A difference is clear if its interval excludes 0 and McNemar's test rejects equality at SIGNIFICANCE, divided by the
    number of metrics that are tested.
    """
    first = comparison.subjects[0].name
    sentences = []
    for subject in comparison.subjects[1:]:
        tested = [difference for difference in comparison.differences if difference.subject == subject.name]
        sentences.append(_verdict(first, subject.name, tested))
    return sentences


def _verdict(first: str, other: str, tested: Sequence[Difference]) -> str:
    if not tested:
        return f"Whether {first} or {other} is better was not tested: they have no predictions for the same photos."
    clear = [difference for difference in tested if _is_clear(difference, len(tested))]
    improved = [difference for difference in clear if difference.value > 0]
    declined = [difference for difference in clear if difference.value < 0]
    photos = max(difference.photos for difference in tested)
    if improved and declined:
        return (
            f"Neither is better at everything: {other} is clearly better at {_clear_metrics(improved)}, {first} at "
            f"{_clear_metrics(declined)}."
        )
    if clear:
        better, worse = (other, first) if improved else (first, other)
        return f"{better} is clearly better than {worse}: {_clear_metrics(clear)}."
    return (
        f"Neither {first} nor {other} is clearly better: on the {count_noun(photos, 'photo')} that both predicted, "
        "their differences may be chance."
    )


def _is_clear(difference: Difference, tests: int) -> bool:
    low, high = difference.interval
    return (low > 0 or high < 0) and difference.p_value < SIGNIFICANCE / tests


def _clear_metrics(differences: Sequence[Difference]) -> str:
    """Describe how much better the better one is, by metric."""
    texts = []
    for difference in differences:
        low, high = sorted(abs(end) for end in difference.interval)
        title = METRICS[difference.metric].title
        texts.append(f"{title} by {100 * abs(difference.value):.1f} points ({100 * low:.1f} to {100 * high:.1f})")
    return " and ".join(texts) if len(texts) < 3 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def changed_settings(subjects: Sequence[Subject]) -> dict[str, list[str]]:
    """Return the settings that differ between subjects, as a text for each subject."""
    names = dict.fromkeys(name for subject in subjects for name in subject.settings)
    values = {name: [str(subject.settings.get(name, "")) for subject in subjects] for name in names}
    return {name: texts for name, texts in values.items() if len(set(texts)) > 1}


def facts_by_name(subjects: Sequence[Subject]) -> dict[str, list[str]]:
    """Return the facts of all subjects, as a text for each subject."""
    names = dict.fromkeys(name for subject in subjects for name in subject.facts)
    return {name: [subject.facts.get(name, "") for subject in subjects] for name in names}


def seed_groups(subjects: Sequence[Subject]) -> dict[str, list[Subject]]:
    """Group subjects that differ only in the seed, by their joined names; each has the metrics of one seed."""
    return {
        ", ".join(subject.name for subject in group): group
        for group in _same_but_seed(subjects, SAME_IN_SEEDS)
        if len(group) > 1 and len({subject.settings.get("seed") for subject in group}) == len(group)
    }


def held_out_groups(subjects: Sequence[Subject]) -> list[list[HeldOutSource]]:
    """Return the metrics on held-out sources by recipe, each with the mean over its sources last."""
    settings = {name: texts for name, texts in changed_settings(subjects).items() if name != "seed"}
    groups = []
    for group in _same_but_seed([subject for subject in subjects if subject.held_out], OF_RECIPE):
        chosen = [f"{name}={group[0].settings.get(name, '')}" for name in settings]
        recipe = ", ".join([group[0].facts.get("recipe", ""), *chosen])
        measured = [row for subject in group for row in subject.held_out]
        groups.append([*measured, held_out_table.mean_over_sources(recipe, measured)])
    return groups


def _same_but_seed(subjects: Sequence[Subject], facts: Sequence[str]) -> list[list[Subject]]:
    """Group the subjects that have the same `facts` and differ in no setting but the seed."""
    groups: dict[str, list[Subject]] = {}
    for subject in subjects:
        same = {name: subject.facts.get(name) for name in facts}
        settings = {name: value for name, value in subject.settings.items() if name != "seed"}
        groups.setdefault(json.dumps([same, settings], sort_keys=True, default=str), []).append(subject)
    return list(groups.values())


def over_seeds(subjects: Sequence[Subject]) -> dict[str, tuple[float, float, float]]:
    """Return mean, minimum and maximum of each metric that all `subjects` have."""
    values = {name: [subject.metrics.get(name) for subject in subjects] for name in COMPARED}
    known = {name: [value for value in row if value is not None] for name, row in values.items()}
    return {name: (float(np.mean(row)), min(row), max(row)) for name, row in known.items() if len(row) == len(subjects)}


# ---------------------------------------------------------------- output


def tables(comparison: Comparison) -> list[Table]:
    """Return the comparison as tables for a terminal."""
    subjects = comparison.subjects
    about = Table("", *(Column(subject.name, justify="right", overflow="fold") for subject in subjects))
    for name, texts in facts_by_name(subjects).items():
        about.add_row(name, *texts)
    about.add_section()
    for name, texts in changed_settings(subjects).items():
        about.add_row(name, *texts)
    results = [about, _metrics_table(subjects)]
    if groups := held_out_groups(subjects):
        results.append(held_out_table.held_out_table(groups))
    for names, group in seed_groups(subjects).items():
        heads = (Column("mean", justify="right"), Column("min to max", justify="right"))
        of_group = Table(f"{len(group)} seeds: {names}", *heads)
        for name, (mean, low, high) in over_seeds(group).items():
            of_group.add_row(METRICS[name].title, format_value(name, mean), format_interval(name, (low, high)))
        results.append(of_group)
    if comparison.differences:
        results.append(_differences_table(comparison))
    return results


def tables_legend(comparison: Comparison) -> Table:
    """Return the meaning of each metric in `tables`."""
    held_out = held_out_table.COLUMNS if held_out_groups(comparison.subjects) else ()
    return legend([*_measured(comparison.subjects), *held_out])


def _metrics_table(subjects: Sequence[Subject]) -> Table:
    table = Table("", *(Column(subject.name, justify="right", overflow="fold") for subject in subjects))
    for name in _measured(subjects):
        cells = [
            f"{format_value(name, subject.metrics.get(name))}\n{format_interval(name, subject.intervals.get(name))}"
            for subject in subjects
        ]
        table.add_row(METRICS[name].title, *(cell.strip() for cell in cells))
    return table


def _differences_table(comparison: Comparison) -> Table:
    table = Table(
        f"compared with {comparison.subjects[0].name}",
        "",
        Column("difference", justify="right"),
        Column("photos", justify="right"),
        Column("gained, lost", justify="right"),
        Column("p", justify="right"),
    )
    for difference in comparison.differences:
        low, high = difference.interval
        table.add_row(
            difference.subject,
            METRICS[difference.metric].title,
            f"{points(difference.value)}\n{points(low)} to {points(high)}",
            f"{difference.photos:,}",
            f"{difference.gained}, {difference.lost}",
            f"{difference.p_value:.2g}",
        )
    return table


def points(value: float) -> str:
    """Format a difference of proportions in percentage points, with its sign."""
    return f"{100 * value:+.1f}"


def write(comparison: Comparison, out: Path) -> None:
    """Write the comparison to the file `out`, as a self-contained page."""
    subjects = comparison.subjects
    text = page(
        "comparison.html",
        subjects=subjects,
        differences=comparison.differences,
        verdicts=verdicts(comparison),
        settings=changed_settings(subjects),
        facts=facts_by_name(subjects),
        measured=_measured(subjects),
        seeds={names: over_seeds(group) for names, group in seed_groups(subjects).items()},
        charts=_charts(subjects),
        held_out=held_out_groups(subjects),
        held_out_columns=held_out_table.COLUMNS,
        points=points,
    )
    output_files.write(out.parent, {out.name: text})


def _measured(subjects: Sequence[Subject]) -> list[str]:
    """Return the names of the metrics that any subject has."""
    return [name for name in COMPARED if any(subject.metrics.get(name) is not None for subject in subjects)]


def _charts(subjects: Sequence[Subject]) -> list[tuple[str, str]]:
    wanted = (
        ("Loss, training", "loss", None, False),
        ("Loss, validation", "loss", "validation", False),
        ("Constructor accuracy, validation", "all/constructor_accuracy", "validation", True),
        ("Path accuracy, validation", "all/path_accuracy", "validation", True),
    )
    charts = []
    for title, key, part, share in wanted:
        curves = {}
        for subject in subjects:
            rows = [(row["epoch"], row.get(part, {}) if part else row) for row in subject.epochs]
            points_ = [(epoch, row[key]) for epoch, row in rows if row.get(key) is not None]
            if points_:
                curves[subject.name] = ([epoch for epoch, _ in points_], [value for _, value in points_])
        if curves:
            charts.append((title, epochs_chart(curves, title.lower(), share=share)))
    return charts
