"""Suspects: photos whose label or image is likely wrong, with their ids, for a person to check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from planespotter_scraping.catalog.stats import NETWORK_SIDE, CatalogStats
from planespotter_scraping.explore.disagreements import Disagreement

MAX_ASPECT_RATIO = 3.0  # width to height; aircraft photos are wide, but not this wide
MIN_ASPECT_RATIO = 0.6
DISAGREEMENT = "network"
"""The id of the suspects that a network finds."""
UNFAMILIAR, CONTRAST = "unfamiliar", "contrast"
"""The ids of outliers."""


@dataclass(frozen=True)
class Suspects:
    """Photos to check for one reason.

    Attributes:
        id: Key of the reason, for filters.
        reason: The reason, as a sentence.
        photo_ids: Ids of the photos.
    """

    id: str
    reason: str
    photo_ids: list[str]


def find_suspects(
    frame: pd.DataFrame,
    stats: CatalogStats,
    disagreements: Sequence[Disagreement] = (),
    outliers: Mapping[str, list[str]] | None = None,
) -> list[Suspects]:
    """Return the suspects of a catalog by reason, without empty ones.

    Args:
        frame: Catalog, as `catalog.read` returns it.
        stats: Its statistics.
        disagreements: Confident predictions that contradict a label, the most confident first.
        outliers: Photo ids by UNFAMILIAR and CONTRAST, see `outliers.py`; None for none.
    """
    outliers = outliers or {}
    families = dict(zip(frame["photo_id"], zip(frame["constructor"], frame["family"], strict=True), strict=True))
    contradicting = [
        photo_id
        for group in stats["near_duplicates"] or []
        if len({families[photo_id] for photo_id in group if all(families.get(photo_id, ("", "")))}) > 1
        for photo_id in group
    ]
    known = frame[(frame["registration"] != "") & (frame["family"] != "")]
    counts = known.groupby(["registration", "family"])["photo_id"].transform("size")
    largest = counts.groupby(known["registration"]).transform("max")
    several = known.groupby("registration")["family"].transform("nunique") > 1
    width, height = (pd.to_numeric(frame[name], errors="coerce") for name in ("width", "height"))
    shapes = (width / height > MAX_ASPECT_RATIO) | (width / height < MIN_ASPECT_RATIO)
    small = pd.concat([width, height], axis=1).min(axis=1) < NETWORK_SIDE
    review = frame["review"] != "" if "review" in frame else pd.Series(False, index=frame.index)
    reasons = (
        (
            DISAGREEMENT,
            "A network contradicts the label with confidence, the most confident first.",
            [item.photo_id for item in disagreements],
        ),
        (
            UNFAMILIAR,
            "Outliers: a network recognizes no constructor in them, the least familiar first.",
            outliers.get(UNFAMILIAR, []),
        ),
        ("duplicate", "Near duplicates with different labels: at least one of them is wrong.", contradicting),
        (
            "airframe",
            "Labels that differ from most photos of the same airframe.",
            list(known["photo_id"][several & (counts < largest)]),
        ),
        ("review", "Two readings of the label differ, or only the URL has it.", list(frame["photo_id"][review])),
        (
            CONTRAST,
            "Outliers: much flatter or harsher than others of their source, such as in fog, at night or drawn.",
            outliers.get(CONTRAST, []),
        ),
        ("shape", "Unusual shape: perhaps a detail, a panorama or a screenshot.", list(frame["photo_id"][shapes])),
        ("small", f"Small: a side of fewer than {NETWORK_SIDE} pixels.", list(frame["photo_id"][small])),
    )
    return [Suspects(key, reason, list(map(str, ids))) for key, reason, ids in reasons if ids]
