"""Held-out sources: metrics of each run on the sources that it held out, and their mean for each recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Column, Table

from planespotter_training.evaluation.confidence_intervals import intervals
from planespotter_training.evaluation.metrics import METRICS, compute, format_interval, format_value
from planespotter_training.evaluation.scoring import Nodes, Rows

COLUMNS = ("constructor_accuracy", "constructor_auroc", "family_accuracy", "auroc")
"""Metrics in the table: numbers from 0 to 1, of which none depends on a calibration."""

Ends = tuple[float, float]


@dataclass(frozen=True)
class HeldOutSource:
    """Metrics of a run on a source that it held out of training, or their mean over several sources."""

    run: str
    """Name of the run; for a mean, of the recipe."""
    source: str
    photos: int
    metrics: Mapping[str, float | None]
    intervals: Mapping[str, Ends | None]


def measure_sources(run: str, names: Sequence[str], nodes: Nodes, rows: Rows) -> list[HeldOutSource]:
    """Measure each source in `names`, in any case, that has photos in `rows`."""
    folded = np.array([source.lower() for source in rows["source"]], object)
    measured = []
    for name in names:
        part = rows[folded == name.lower()]
        if len(part):
            values = compute(nodes, part, COLUMNS)
            metrics = {metric: None if value is None else value.value for metric, value in values.items()}
            measured.append(
                HeldOutSource(run, str(part["source"][0]), len(part), metrics, intervals(nodes, part, values))
            )
    return measured


def mean_over_sources(recipe: str, measured: Sequence[HeldOutSource]) -> HeldOutSource:
    """Average over sources, of which each counts the same; several runs without one source are averaged first.

    The interval combines those of the sources (method of variance estimates recovery, Zou and Donner 2008). So it is
    about other photos of the same sources, not about other sources.
    """
    by_source: dict[str, list[HeldOutSource]] = {}
    for row in measured:
        by_source.setdefault(row.source.lower(), []).append(row)
    metrics: dict[str, float | None] = dict.fromkeys(COLUMNS)
    ends: dict[str, Ends | None] = dict.fromkeys(COLUMNS)
    for name in COLUMNS:
        of_sources = [_mean_and_ends(name, rows) for rows in by_source.values()]
        known = np.array([mean for mean in of_sources if mean is not None])
        if len(known):
            value, low, high = known.T
            mean = float(value.mean())
            below, above = (float(np.linalg.norm(part)) / len(known) for part in (value - low, high - value))
            metrics[name], ends[name] = mean, (max(0.0, mean - below), min(1.0, mean + above))
    photos = sum(rows[0].photos for rows in by_source.values())
    return HeldOutSource(recipe, f"mean of {len(by_source)}", photos, metrics, ends)


def _mean_and_ends(name: str, rows: Sequence[HeldOutSource]) -> NDArray[np.floating] | None:
    """Average the value of a metric and the ends of its interval, [3]; None where no row has the metric."""
    known = [
        (value, row.intervals.get(name) or (value, value)) for row in rows if (value := row.metrics[name]) is not None
    ]
    return np.mean([(value, low, high) for value, (low, high) in known], axis=0) if known else None


def held_out_table(groups: Sequence[Sequence[HeldOutSource]]) -> Table:
    """Return a table for a terminal; in each group, the mean is the last row."""
    heads = (Column("photos", justify="right"), *(Column(METRICS[name].title, justify="right") for name in COLUMNS))
    table = Table(Column("run", overflow="fold"), Column("held-out source", overflow="fold"), *heads)
    for rows in groups:
        for row in rows:
            cells = [
                f"{format_value(name, row.metrics[name])}\n{format_interval(name, row.intervals[name])}".strip()
                for name in COLUMNS
            ]
            table.add_row(row.run, row.source, f"{row.photos:,}", *cells)
        table.add_section()
    return table
