"""Console summary of a crawl or an import."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from planespotter_scraping import catalog
from planespotter_scraping.catalog import count_noun, stats
from planespotter_scraping.console import tables
from planespotter_scraping.sites import NOT_ON_CARD

if TYPE_CHECKING:  # a crawl must not import what an import needs, nor an import what a crawl needs
    from planespotter_scraping.catalog.folder_import import ImportResult
    from planespotter_scraping.crawling.result import CrawlResult

MAX_FILES = 10  # files named in a summary; the others are counted
MAX_HOUSEKEEPING = 3  # likewise, of hidden and system files and folders


def show(folder: Path, result: "CrawlResult") -> None:
    """Print the models in a catalog and the result of a crawl.

    Args:
        folder: Folder of the catalog.
        result: Result of the crawl.
    """
    console = tables.console_for_tables()
    frame = catalog.read(folder) if (folder / "catalog.csv").exists() else None
    if frame is not None:
        tables.show_models(stats.compute_stats(frame), console)
    for sentence in crawl_sentences(folder, result, frame):
        console.print(sentence, markup=False, highlight=False)  # may hold text of a site


def crawl_sentences(folder: Path, result: "CrawlResult", frame: pd.DataFrame | None) -> Iterator[str]:
    """Yield the result of a crawl as sentences.

    Args:
        folder: Folder of the catalog.
        result: Result of the crawl.
        frame: The catalog after the crawl, if there is one.
    """
    pages, stored = count_noun(result.pages, "page"), count_noun(result.stored, "photo")
    yield f"{pages} read, {stored} stored, {result.known} known already."
    if result.other_constructors:
        names = ", ".join(f"{count} of {name}" for name, count in result.other_constructors.most_common())
        yield f"Skipped, not in --constructors: {names}."
    for reason, count in result.excluded.most_common():
        yield f"{count_noun(count, 'file')} skipped: {reason}."
    if result.skipped_categories:
        names = ", ".join(f"{count} of {name}" for name, count in result.skipped_categories.most_common())
        categories = count_noun(result.skipped_categories.total(), "category", "categories")
        yield f"{categories} without aircraft skipped: {names}."
    yield from result.notes
    fields = {"airline": "an airline", "aircraft_type": "a type", "registration": "a registration"}
    if frame is not None:
        for column, what in fields.items():
            count = int(((frame[column] == "") & (frame["constructor"] != catalog.NO_AIRCRAFT)).sum())
            if count:
                yield f"{count_noun(count, 'photo')} without {what} on the page."
    for name, reasons in result.missing.items():
        for reason, count in reasons.most_common():
            if frame is not None and reason == NOT_ON_CARD and name in fields:
                continue
            yield f"{count_noun(count, 'card')} without {name}: {reason}."
    if frame is not None and "review" in frame and (count := int((frame["review"] != "").sum())):
        yield f"{count_noun(count, 'photo')} to review: `planespotter catalog review {folder}` lists the labels."
    if result.bad_images:
        photo_id, reason = next(iter(result.bad_images.items()))
        yield f"{count_noun(len(result.bad_images), 'photo')} without a usable image, such as {photo_id}: {reason}."
    for problem in result.incomplete[:MAX_FILES]:
        yield f"INCOMPLETE: {problem}"
    if result.incomplete:
        yield "Photos of the list may be missing. The stored ones are safe, and the same command looks again."


def import_sentences(result: "ImportResult") -> Iterator[str]:
    """Yield the result of an import as sentences."""
    yield f"{count_noun(result.stored, 'photo')} stored, {result.known} known already."
    yield from result.notes
    for file, original in _first(result.copies):
        yield f"Skipped {file}: exact copy of {original}{_conflict(result, file)}."
    if len(result.copies) > MAX_FILES:
        conflicts = len(result.label_conflicts)
        yield f"Skipped {len(result.copies)} exact copies in all, {conflicts} with conflicting labels."
    for file, reason in _first(result.unreadable):
        yield f"Skipped {file}: {reason.rstrip('.')}."
    if len(result.unreadable) > MAX_FILES:
        yield f"Skipped {len(result.unreadable)} unreadable files in all."
    if result.without_family:
        names = ", ".join(f"{name} ({count})" for name, count in result.without_family.most_common(MAX_FILES))
        more = ", ..." if len(result.without_family) > MAX_FILES else ""
        yield f"{count_noun(result.without_family.total(), 'photo')} without a family; their labels: {names}{more}."
    if result.unlisted:
        yield f"Skipped {count_noun(result.unlisted, 'image')} that the labels do not list."
    if result.other_files:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in result.other_files.most_common(MAX_FILES))
        yield f"Skipped other files: {kinds}."
    if result.housekeeping:
        names = ", ".join(result.housekeeping[:MAX_HOUSEKEEPING])
        more = ", ..." if len(result.housekeeping) > MAX_HOUSEKEEPING else ""
        yield f"Skipped hidden and system files and folders ({len(result.housekeeping):,}): {names}{more}."


def _conflict(result: "ImportResult", file: str) -> str:
    """Return the conflict between the labels of an exact copy as a clause, "" if there is none."""
    return f", but their labels conflict: {result.label_conflicts[file]}" if file in result.label_conflicts else ""


def _first(items: dict[str, str]) -> list[tuple[str, str]]:
    """Return the first MAX_FILES items."""
    return list(items.items())[:MAX_FILES]
