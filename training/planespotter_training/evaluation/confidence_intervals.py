"""95 % intervals: Wilson's for shares of photos, resampled airframes for all other figures."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from planespotter_training.evaluation.metrics import FIGURES, Figure, figures
from planespotter_training.evaluation.scoring import Nodes, Rows

Z = 1.959963984540054
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""

SHARES = frozenset(name for name in FIGURES if name.endswith(("accuracy", "_share", "given_constructor")))

# About how many photos are drawn in all: enough resamples for an interval, and a bounded time.
DRAWS = 2_000_000


def intervals(nodes: Nodes, rows: Rows, found: Mapping[str, Figure | None]) -> dict[str, tuple[float, float] | None]:
    """Return lower and upper end of the 95 % interval of each of the figures `found` of `rows`, or None.

    The seed is fixed: the same rows have the same intervals.
    """
    ends: dict[str, tuple[float, float] | None] = dict.fromkeys(found)
    for name, figure in found.items():
        if name in SHARES and figure is not None:
            ends[name] = wilson(figure.value, figure.photos)
    others = [name for name, figure in found.items() if name not in SHARES and figure is not None]
    if others:
        ends.update(_bootstrap(nodes, rows, {name: found[name] for name in others}))
    return ends


def wilson(share: float, photos: float, z: float = Z) -> tuple[float, float]:
    """Return the interval of Wilson (1927) for `share` of so many photos, which stays sound near 0 and 1."""
    centre = (share + z**2 / (2 * photos)) / (1 + z**2 / photos)
    half = z / (1 + z**2 / photos) * np.sqrt(share * (1 - share) / photos + z**2 / (4 * photos**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def resamples(rows: Rows, seed: int = 0) -> list[NDArray[np.int64]]:
    """Return index arrays that draw as many airframes as `rows` has, with repeats, each with all photos."""
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


def _bootstrap(nodes: Nodes, rows: Rows, found: Mapping[str, Figure | None]) -> dict[str, tuple[float, float] | None]:
    values: dict[str, list[float]] = {name: [] for name in found}
    for index in resamples(rows):
        for name, figure in figures(nodes, rows[index], list(found)).items():
            if figure is not None:
                values[name].append(figure.value)
    return {name: _ends(found[name], np.array(drawn)) for name, drawn in values.items()}


def _ends(figure: Figure | None, drawn: NDArray[np.floating]) -> tuple[float, float] | None:
    """Return the middle 95 % of `drawn`, moved so that its median lies on the figure itself.

    Repeats make calibration errors come out higher than they are; unmoved, the interval may miss the figure.
    """
    if figure is None or not len(drawn):
        return None
    low, middle, high = np.percentile(drawn, (2.5, 50, 97.5))
    return max(0.0, float(figure.value + low - middle)), float(figure.value + high - middle)
