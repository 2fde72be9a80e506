"""Apply a review: decisions as the rows of a catalog, which `planespotter train` takes.

The review of a catalog changes its rows: a corrected label replaces the former one, which `changed.csv` keeps, and the
rows of photos that nobody could name move to `dropped.csv`. The review of predictions stores its photos in a catalog.
Both can be repeated: what is applied already stays as it is.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CHANGED, DROPPED, attribution
from planespotter_scraping.catalog.folder_import import ImportResult, photo_id_of, source_name, store_photos
from planespotter_scraping.catalog.path_labels import airframe_from_path
from planespotter_scraping.cleaning.history import (
    CHANGED_COLUMNS,
    DROPPED_COLUMNS,
    REVIEWED,
    Row,
    effective_history,
    rows_of,
    timestamp_after,
    write_or_remove,
    write_rows,
)
from planespotter_scraping.reviewing import log as decision_log
from planespotter_scraping.reviewing.log import Decision
from planespotter_scraping.reviewing.photos import Reviewable

RULE, REASON = "review", "A reviewer could not see what aircraft it is."
COLUMNS = ("reviewed_by", "reviewed_at")


@dataclass
class AppliedReview:
    """What became of a review.

    Attributes:
        photos: Photos in the catalog, reviewed or not.
        corrected: Labels that were replaced.
        dropped: Photos that were dropped, as nobody could name them.
        imported: What was stored of reviewed predictions.
    """

    photos: int = 0
    corrected: int = 0
    dropped: int = 0
    imported: ImportResult = field(default_factory=ImportResult)


def apply_review(review: Reviewable, decisions: Mapping[str, Decision]) -> AppliedReview:
    """Apply the decisions of a review to its catalog, whose lock must be held.

    Raises:
        CatalogError: The catalog cannot be used.
    """
    result = AppliedReview()
    if review.folder is None:
        decisions = _import(review, decisions, result)
    if (review.out / "catalog.csv").exists():
        _change_rows(review.out, decisions, result)
        attribution.refresh(review.out)
    return result


def _import(review: Reviewable, decisions: Mapping[str, Decision], result: AppliedReview) -> dict[str, Decision]:
    """Store the photos that have a label; return the decisions by photo_id and by sha256."""
    paths = {photo.key: photo.path for photo in review.photos}
    source = source_name(review.out, None)
    labelled: dict[str, dict[str, str]] = {}
    by_id: dict[str, Decision] = {}
    for key, decision in decisions.items():
        if (path := paths.get(key)) is None or decision.decision == decision_log.SKIP:
            continue
        try:
            data = path.read_bytes()
        except OSError as error:
            result.imported.unreadable[key] = error.strerror or type(error).__name__
            continue
        # A photo that the catalog has from elsewhere has another id, but the same content.
        by_id[photo_id_of(source, data)] = by_id[hashlib.sha256(data).hexdigest()] = decision
        if decision.label:
            label = _label(decision)
            labelled[str(path.resolve())] = {**airframe_from_path(key, label), **label, **_who_and_when(decision)}
    if labelled:
        store_photos(Path("/"), labelled, review.out, source=source, result=result.imported)
    return by_id


def _change_rows(folder: Path, decisions: Mapping[str, Decision], result: AppliedReview) -> None:
    """Change the rows of a catalog as decided. Nothing takes effect before `catalog.csv` is replaced."""
    labels = catalog.read(folder).set_index("photo_id")
    header, rows = rows_of(folder / "catalog.csv")
    dropped, changed = effective_history(folder, rows)
    now = timestamp_after(row.get(name, "") for row in (*dropped, *changed) for name in ("dropped_at", "changed_at"))
    added = [name for name in COLUMNS if name not in header]
    remaining, is_changed = [], False
    for number, row in enumerate(rows, start=1):
        decision = decisions.get(row["photo_id"]) or decisions.get(row.get("sha256", ""))
        if decision is None or decision.decision == decision_log.SKIP or _is_applied(decision, row):
            remaining.append(row)
            continue
        if decision.decision == decision_log.UNKNOWN:
            values = (REASON, RULE, now, str(number))
            dropped.append({**row, **dict(zip(DROPPED_COLUMNS, values, strict=True))})
            result.dropped += 1
            continue
        new = {**row, **_who_and_when(decision)}
        label = tuple(name for name in labels.loc[row["photo_id"], list(catalog.LABEL_PATH)] if name)
        if label != decision.label:
            new |= {**_label(decision), "review": ""} if "review" in header else _label(decision)
            changed.append({**row, "change_reason": REVIEWED, "changed_at": now, "added_columns": " ".join(added)})
            result.corrected += 1
        is_changed = is_changed or new != {**dict.fromkeys(COLUMNS, ""), **row}
        remaining.append(new)
    result.photos = len(remaining)
    if not is_changed and not result.dropped:
        return
    columns = [*header, *(name for name in ("aircraft_type", *COLUMNS) if name not in header)]
    write_or_remove(folder / CHANGED, columns, CHANGED_COLUMNS, changed)
    write_or_remove(folder / DROPPED, columns, DROPPED_COLUMNS, dropped)
    write_rows(folder / "catalog.csv", columns, remaining)  # takes effect here


def _label(decision: Decision) -> Row:
    """Return constructor and type of a decision with a label."""
    if decision.decision == decision_log.CORRECT:
        return {"constructor": decision.constructor, "aircraft_type": decision.aircraft_type}
    constructor, *deeper = decision.label
    return {"constructor": constructor, "aircraft_type": deeper[-1] if deeper else ""}


def _who_and_when(decision: Decision) -> Row:
    return {"reviewed_by": decision.by, "reviewed_at": decision.at}


def _is_applied(decision: Decision, row: Row) -> bool:
    """Return whether an earlier run has applied a decision: the label may have been edited since."""
    return decision.label != () and _who_and_when(decision).items() <= row.items()
