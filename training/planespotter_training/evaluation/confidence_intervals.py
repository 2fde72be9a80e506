"""95 % confidence intervals: Wilson's for proportions, bootstrap over airframes for all other metrics."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from planespotter_training.evaluation.metric_functions import Value
from planespotter_training.evaluation.metrics import METRICS, Kind, compute
from planespotter_training.evaluation.scoring import Nodes, Rows

Z = 1.959963984540054
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""

DRAWS = 2_000_000
"""Approximate number of photos drawn in total: enough resamples for an interval, in bounded time."""


def intervals(nodes: Nodes, rows: Rows, values: Mapping[str, Value | None]) -> dict[str, tuple[float, float] | None]:
    """Compute the 95 % confidence interval of each metric.

    Args:
        nodes: The numbered nodes of the label tree.
        rows: The scored photos.
        values: The metrics of `rows` by name.

    Returns:
        Lower and upper end by name; None where the metric is None. The seed is fixed, so that the same rows have the
        same intervals.
    """
    ends: dict[str, tuple[float, float] | None] = dict.fromkeys(values)
    measured = {name: value for name, value in values.items() if value is not None}
    for name, value in measured.items():
        if METRICS[name].kind is Kind.PROPORTION:
            ends[name] = wilson(value.value, value.photos)
    if resampled := {name: value for name, value in measured.items() if METRICS[name].kind is not Kind.PROPORTION}:
        ends.update(_bootstrap(nodes, rows, resampled))
    return ends


def wilson(share: float, photos: float, z: float = Z) -> tuple[float, float]:
    """Compute the interval of Wilson (1927) for a share of that many photos, which holds near 0 and 1 too."""
    centre = (share + z**2 / (2 * photos)) / (1 + z**2 / photos)
    half = z / (1 + z**2 / photos) * np.sqrt(share * (1 - share) / photos + z**2 / (4 * photos**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def resamples(rows: Rows, seed: int = 0) -> list[NDArray[np.int64]]:
    """Draw bootstrap samples: index arrays of as many airframes as `rows` has, with repeats, each with all photos."""
    _, group = np.unique(rows["airframe"].astype(str), return_inverse=True)
    order = np.argsort(group, kind="stable")
    photos = np.bincount(group)
    first = np.cumsum(photos) - photos
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(int(np.clip(DRAWS / max(1, len(rows)), 100, 500))):
        groups = random.integers(0, len(photos), len(photos))
        sizes = photos[groups]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        drawn.append(order[np.repeat(first[groups], sizes) + within])
    return drawn


def _bootstrap(nodes: Nodes, rows: Rows, values: Mapping[str, Value]) -> dict[str, tuple[float, float] | None]:
    drawn: dict[str, list[float]] = {name: [] for name in values}
    for index in resamples(rows):
        for name, value in compute(nodes, rows[index], list(values)).items():
            if value is not None:
                drawn[name].append(value.value)
    return {name: _ends(value, np.array(drawn[name])) for name, value in values.items()}


def _ends(value: Value, drawn: NDArray[np.floating]) -> tuple[float, float] | None:
    """Return the middle 95 % of `drawn`, shifted so that its median is the value itself.

    Repeats bias calibration errors upwards; without the shift, the interval may miss the value.
    """
    if not len(drawn):
        return None
    low, middle, high = np.percentile(drawn, (2.5, 50, 97.5))
    return max(0.0, float(value.value + low - middle)), float(value.value + high - middle)
