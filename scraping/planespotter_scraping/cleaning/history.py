"""Catalog history: the rows that cleans and reviews dropped or changed, by which they are undone.

Nothing takes effect before `catalog.csv` is replaced: `dropped.csv` and `changed.csv` are written first, and their rows
count only where `catalog.csv` agrees.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CHANGED, DROPPED

DROPPED_COLUMNS = ("drop_reason", "drop_rule", "dropped_at", "dropped_from_row")
CHANGED_COLUMNS = ("change_reason", "changed_at", "added_columns")
REVIEWED = "A reviewer corrected its label."
"""The `change_reason` of a row whose label a review replaced."""
CLEANED_COLUMNS = ("file", "sha256", "width", "height", "phash", "cropped_bottom", "stretched", "review")
REVIEWED_COLUMNS = ("constructor", "aircraft_type", "review", "reviewed_by", "reviewed_at")

Row = dict[str, str]


def effective_history(folder: Path, rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows that earlier cleans dropped and changed, without those of a clean that a kill interrupted."""
    by_id = {row["photo_id"]: row for row in rows}
    _, dropped = rows_of(folder / DROPPED)
    _, changed = rows_of(folder / CHANGED)
    dropped = [row for row in dropped if row["photo_id"] not in by_id]
    dropped_ids = {row["photo_id"] for row in dropped}
    return dropped, [
        was
        for was in changed
        if was["photo_id"] in dropped_ids
        or any(by_id.get(was["photo_id"], was).get(column, "") != was.get(column, "") for column in changeable(was))
    ]


def changeable(was: Row) -> tuple[str, ...]:
    """Return the columns that the change of a row can have replaced; undoing it leaves edits of others as they are."""
    return REVIEWED_COLUMNS if was["change_reason"] == REVIEWED else CLEANED_COLUMNS


def timestamp_after(times: Iterable[str]) -> str:
    """Return the current time, or a second after the latest of `times`: each clean has a unique timestamp."""
    latest = max(times, default="")
    now = datetime.now(UTC).replace(microsecond=0)
    return (max(now, datetime.fromisoformat(latest) + timedelta(seconds=1)) if latest else now).isoformat()


def rows_of(path: Path) -> tuple[list[str], list[Row]]:
    """Return header and rows of a CSV file of the catalog; both empty if it does not exist."""
    if not path.exists():
        return [], []
    header, rows = catalog.parse(path)
    return header, [dict(zip(header, row, strict=True)) for row in rows]


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Row]) -> None:
    """Replace a CSV file atomically."""
    catalog.rewrite(path, header, ([row.get(column, "") for column in header] for row in rows))


def write_or_remove(path: Path, header: Sequence[str], further: Sequence[str], rows: Sequence[Row]) -> None:
    """Replace a CSV file by rows of the catalog with further columns; remove it if there are no rows."""
    if rows:
        columns = dict.fromkeys([*header, *(column for row in rows for column, value in row.items() if value)])
        write_rows(path, [*(column for column in columns if column not in further), *further], rows)
    else:
        path.unlink(missing_ok=True)
