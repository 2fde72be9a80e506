"""Say how long work goes while it runs.

A crawl says it on a terminal as it happens, elsewhere with a line now and then; other work only on a terminal.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from planespotter_scraping.crawling.result import CrawlResult

if TYPE_CHECKING:  # a crawl needs nothing of an import
    from planespotter_scraping.catalog.folder_import import Imported

EVERY = 30.0  # seconds between the lines in a log
WIDE = 110  # columns, from which on there is space for a bar
NO_FIELDS = ("review", "photo_id")  # the first is the reader's remark, and nothing is a photo without the second


@contextmanager
def crawl_bar(pages: int | None) -> Iterator[Callable[[CrawlResult], None]]:
    """Show on standard error how a crawl goes; the value is the function that is told. `pages` is how many to read."""
    console = Console(stderr=True)
    show = _on_terminal if console.is_terminal else _in_log
    with show(console, pages) as move:
        yield move


@contextmanager
def _on_terminal(console: Console, pages: int | None) -> Iterator[Callable[[CrawlResult], None]]:
    """Show a line that changes, with a bar where there is space for one."""
    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
    bars = [BarColumn(bar_width=20)] if console.width >= WIDE else []
    start = monotonic()
    with Progress(*columns, *bars, console=console, transient=True) as bar:
        task = bar.add_task("starting the browser", total=pages)

        def move(outcome: CrawlResult) -> None:
            text = outcome.wait_notice or how_it_goes(outcome, pages, monotonic() - start)
            room = console.width - 3 - 22 * len(bars)
            done = max(0, outcome.page_number - 1)
            bar.update(task, description=text[:room], completed=done, total=last_page(outcome, pages))

        yield move


@contextmanager
def _in_log(console: Console, pages: int | None) -> Iterator[Callable[[CrawlResult], None]]:
    """Write a line every EVERY seconds, and one when a wait begins."""
    start = said = monotonic()
    waiting = ""

    def move(outcome: CrawlResult) -> None:
        nonlocal said, waiting
        now = monotonic()
        if outcome.wait_notice and outcome.wait_notice != waiting:
            console.print(outcome.wait_notice, markup=False, highlight=False, soft_wrap=True)
        elif now - said >= EVERY:
            said = now
            console.print(how_it_goes(outcome, pages, now - start), markup=False, highlight=False, soft_wrap=True)
        waiting = outcome.wait_notice

    yield move


def last_page(outcome: CrawlResult, pages: int | None) -> int | None:
    """Return the number of the last page that will be read, None if nobody knows."""
    return min((number for number in (pages, outcome.last_page) if number is not None), default=None)


def how_it_goes(outcome: CrawlResult, pages: int | None, seconds: float) -> str:
    """Return pages, photos, photos a minute, how full the fields are, and the time left, after so many seconds."""
    last = last_page(outcome, pages)
    told = []
    if outcome.page_number:
        left = spoken((last - outcome.page_number) * seconds / outcome.pages) if last and outcome.pages else ""
        left = " (last)" if outcome.page_number == last else f" ({left} left)" if left else ""
        told.append(f"page {outcome.page_number}" + (f" of {last}{left}" if last else ""))
    rate = f" ({60 * outcome.stored / seconds:.0f} a minute)" if seconds >= 1 else ""
    told.append(f"{outcome.stored} photos{rate}")
    if outcome.known and not outcome.stored:
        told.append(f"{outcome.known} known")
    if outcome.max_photos and outcome.stored:
        told.append(
            f"at most {spoken((outcome.max_photos - outcome.stored - outcome.known) * seconds / outcome.stored)} left"
        )
    if outcome.category:
        told.append(outcome.category)
    shares = {
        name: count / outcome.photos_read for name, count in outcome.field_counts.items() if name not in NO_FIELDS
    }
    if shares:
        least = min(shares, key=lambda name: shares[name])
        worst = f" ({least} {shares[least]:.0%})" if shares[least] < 0.995 else ""
        told.append(f"fields {sum(shares.values()) / len(shares):.0%} full{worst}")
    return ", ".join(told)


def spoken(seconds: float) -> str:
    """Return a time as people say it, such as 1 h 02 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


@contextmanager
def import_bar() -> "Iterator[Callable[[Imported, int], None]]":
    """Show how an import goes; the value is the function that is told what was done, and the number of all files."""
    start = monotonic()
    with work_bar("looking for photos") as move:

        def tell(outcome: "Imported", total: int) -> None:
            rate = outcome.done / max(0.5, monotonic() - start)
            move(f"{outcome.stored} photos stored, {rate:.0f} files a second", outcome.done, total)

        yield tell


@contextmanager
def work_bar(first: str = "reading the catalog") -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on standard error, if that is a terminal; the value moves it: what is done, how many, of how many.

    `first` is what is done before anything can be counted.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(first, total=None)

        def move(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield move
