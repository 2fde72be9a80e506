"""Progress output on standard error: bars on a terminal, occasional lines of a crawl in a log.

Work other than a crawl prints nothing unless standard error is a terminal.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from planespotter_photos.counts import count_noun

if TYPE_CHECKING:  # a crawl must not import what an import needs, nor an import what a crawl needs
    from planespotter_scraping.catalog.folder_import import ImportResult
    from planespotter_scraping.crawling.result import CrawlResult

LOG_INTERVAL = 30.0  # seconds between two lines in a log
BAR_COLUMNS = 110  # minimum width of a terminal for a bar, in columns
SKIPPED_FIELDS = ("review", "photo_id")  # a remark, and a field that every photo has


@contextmanager
def crawl_bar(pages: int | None) -> "Iterator[Callable[[CrawlResult], None]]":
    """Show the progress of a crawl.

    Args:
        pages: Maximum number of pages to read; None for all.

    Yields:
        A function that shows the result so far.
    """
    console = Console(stderr=True)
    show = _on_terminal if console.is_terminal else _in_log
    with show(console, pages) as update:
        yield update


@contextmanager
def _on_terminal(console: Console, pages: int | None) -> "Iterator[Callable[[CrawlResult], None]]":
    """Update one line, with a bar if the terminal is wide enough."""
    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
    bars = [BarColumn(bar_width=20)] if console.width >= BAR_COLUMNS else []
    start = monotonic()
    with Progress(*columns, *bars, console=console, transient=True) as bar:
        task = bar.add_task("starting the browser", total=pages)

        def update(result: "CrawlResult") -> None:
            text = result.wait_notice or crawl_status(result, pages, monotonic() - start)
            width = console.width - 3 - 22 * len(bars)
            completed = max(0, result.page_number - 1)
            bar.update(task, description=text[:width], completed=completed, total=last_page(result, pages))

        yield update


@contextmanager
def _in_log(console: Console, pages: int | None) -> "Iterator[Callable[[CrawlResult], None]]":
    """Print a line every LOG_INTERVAL seconds, and one when a wait starts."""
    start = last_line = monotonic()
    wait_notice = ""

    def update(result: "CrawlResult") -> None:
        nonlocal last_line, wait_notice
        now = monotonic()
        if result.wait_notice and result.wait_notice != wait_notice:
            console.print(result.wait_notice, markup=False, highlight=False, soft_wrap=True)
        elif now - last_line >= LOG_INTERVAL:
            last_line = now
            console.print(crawl_status(result, pages, now - start), markup=False, highlight=False, soft_wrap=True)
        wait_notice = result.wait_notice or wait_notice

    yield update


def last_page(result: "CrawlResult", pages: int | None) -> int | None:
    """Return the number of the last page to read, None if unknown."""
    return min((number for number in (pages, result.last_page) if number is not None), default=None)


def crawl_status(result: "CrawlResult", pages: int | None, seconds: float) -> str:
    """Return a line with page, photos, photos per minute, filled fields and remaining time.

    Args:
        result: Result so far.
        pages: Maximum number of pages to read; None for all.
        seconds: Time since the crawl started.
    """
    last = last_page(result, pages)
    parts = []
    if result.page_number:
        left = format_duration((last - result.page_number) * seconds / result.pages) if last and result.pages else ""
        left = " (last)" if result.page_number == last else f" ({left} left)" if left else ""
        parts.append(f"page {result.page_number}" + (f" of {last}{left}" if last else ""))
    rate = f" ({60 * result.stored / seconds:.0f} per minute)" if seconds >= 1 else ""
    parts.append(f"{count_noun(result.stored, 'photo')}{rate}")
    if result.known and not result.stored:
        parts.append(f"{result.known} known")
    if result.max_photos and result.stored:
        remaining = result.max_photos - result.stored - result.known
        parts.append(f"at most {format_duration(remaining * seconds / result.stored)} left")
    if result.category:
        parts.append(result.category)
    shares = {
        name: count / result.photos_read for name, count in result.field_counts.items() if name not in SKIPPED_FIELDS
    }
    if shares:
        emptiest = min(shares, key=lambda name: shares[name])
        detail = f" ({emptiest} {shares[emptiest]:.0%})" if shares[emptiest] < 0.995 else ""
        parts.append(f"fields {sum(shares.values()) / len(shares):.0%} full{detail}")
    return ", ".join(parts)


def format_duration(seconds: float) -> str:
    """Return a duration such as "45 s", "12 min" or "1 h 02 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


@contextmanager
def import_bar() -> "Iterator[Callable[[ImportResult, int], None]]":
    """Show the progress of an import.

    Yields:
        A function that shows the result so far; its second argument is the number of all images.
    """
    start = monotonic()
    with work_bar("searching for photos") as update:

        def show(result: "ImportResult", total: int) -> None:
            rate = result.processed / max(0.5, monotonic() - start)
            update(f"{count_noun(result.stored, 'photo')} stored, {rate:.0f} files per second", result.processed, total)

        yield show


@contextmanager
def work_bar(first: str = "reading the catalog") -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on standard error, if that is a terminal.

    Args:
        first: Description of the work before anything is counted.

    Yields:
        A function that updates the bar: description, number of items done, number of all items.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(first, total=None)

        def update(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield update
