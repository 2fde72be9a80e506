"""Tell on a terminal what a crawl or an import did."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from planespotter_scraping import catalog
from planespotter_scraping.catalog import stats
from planespotter_scraping.catalog.stats import some
from planespotter_scraping.console import tables
from planespotter_scraping.sites import NOT_ON_CARD

if TYPE_CHECKING:  # an import needs nothing of a crawl, nor the other way round
    from planespotter_scraping.catalog.folder_import import Imported
    from planespotter_scraping.crawling.result import CrawlResult

SHOWN = 10  # files named in a report; the others are counted


def show(folder: Path, outcome: "CrawlResult") -> None:
    """Print what a crawl into `folder` did, what the catalog holds now, and what is missing in it."""
    console = tables.console_for_tables()
    frame = catalog.read(folder) if (folder / "catalog.csv").exists() else None
    if frame is not None:
        tables.show_models(stats.numbers(frame), console)
    for sentence in crawl_sentences(folder, outcome, frame):
        console.print(sentence, markup=False, highlight=False)  # it may hold what a site wrote


def crawl_sentences(folder: Path, outcome: "CrawlResult", frame: pd.DataFrame | None) -> Iterator[str]:
    """Yield what a crawl did, a sentence for each thing that there is to say; `frame` is the catalog now, if any."""
    pages, stored = some(outcome.pages, "page"), some(outcome.stored, "photo")
    yield f"{pages} read, {stored} stored, {outcome.known} known already."
    if outcome.other_constructors:
        others = ", ".join(f"{count} of {name}" for name, count in outcome.other_constructors.most_common())
        yield f"Left out, since --constructors does not name them: {others}."
    for reason, count in outcome.excluded.most_common():
        yield f"{some(count, 'file')} left out: {reason}."
    if outcome.skipped_categories:
        what = ", ".join(f"{count} of {name}" for name, count in outcome.skipped_categories.most_common())
        yield f"{outcome.skipped_categories.total()} categories skipped, which show no aircraft: {what}."
    yield from outcome.notes
    told = {"airline": "an airline", "aircraft_type": "a type", "registration": "a registration"}
    if frame is not None:
        for column, what in told.items():
            count = int((frame[column] == "").sum())
            if count:
                yield f"{some(count, 'photo')} without {what}: their pages do not say."
    for name, reasons in outcome.missing.items():
        for reason, count in reasons.most_common():
            if frame is not None and reason == NOT_ON_CARD and name in told:
                continue
            yield f"{some(count, 'card')} without {name}: {reason}."
    if frame is not None and "review" in frame and (count := int((frame["review"] != "").sum())):
        yield f"{some(count, 'photo')} to look at: `planespotter catalog review {folder}` lists their labels."
    if outcome.bad_images:
        photo_id, reason = next(iter(outcome.bad_images.items()))
        yield f"{some(len(outcome.bad_images), 'photo')} without a usable image, such as {photo_id}: {reason}."


def import_sentences(outcome: "Imported") -> Iterator[str]:
    """Yield what an import did, a sentence for each thing that there is to say."""
    yield f"{some(outcome.stored, 'photo')} stored, {outcome.known} known already."
    for file, original in _some(outcome.copies):
        yield f"Left out: {file} is an exact copy of {original}{_but(outcome, file)}."
    if len(outcome.copies) > SHOWN:
        yield (
            f"Left out: {len(outcome.copies)} exact copies in all, "
            f"{len(outcome.disagreeing)} of them with labels that disagree."
        )
    for file, reason in _some(outcome.unreadable):
        yield f"Left out: {file} cannot be read: {reason.rstrip('.')}."
    if len(outcome.unreadable) > SHOWN:
        yield f"Left out: {len(outcome.unreadable)} files that cannot be read in all."
    if outcome.unplaced:
        names = ", ".join(f"{name} ({count})" for name, count in outcome.unplaced.most_common(SHOWN))
        more = ", ..." if len(outcome.unplaced) > SHOWN else ""
        kept = some(outcome.unplaced.total(), "photo")
        yield f"Without a family: {kept}, as all that is known is: {names}{more}."
    if outcome.not_listed:
        yield f"{outcome.not_listed} images in the folder are left out, since the labels do not name them."
    if outcome.other_kinds:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in outcome.other_kinds.most_common(SHOWN))
        yield f"Files that are no JPEG, PNG or WebP are left out: {kinds}."


def _but(outcome: "Imported", file: str) -> str:
    """Say that the labels of a copy disagree, if they do."""
    return f", but their labels disagree: {outcome.disagreeing[file]}" if file in outcome.disagreeing else ""


def _some(things: dict[str, str]) -> list[tuple[str, str]]:
    """Return the first few of `things`."""
    return list(things.items())[:SHOWN]
