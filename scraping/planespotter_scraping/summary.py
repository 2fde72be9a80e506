"""Tell on a terminal how a crawl goes, and what a catalog holds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from planespotter_scraping import catalog
from planespotter_scraping.crawl import Outcome


@contextmanager
def progress_bar(pages: int | None) -> Iterator[Callable[[Outcome], None]]:
    """Show a progress bar on standard error, if that is a terminal; the value is the function that moves it."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting the browser", total=pages)

        def move(outcome: Outcome) -> None:
            text = f"page {outcome.pages + 1}, {outcome.stored} photos stored"
            bar.update(task, description=text, completed=outcome.pages)

        yield move


def show(folder: Path, outcome: Outcome, console: Console | None = None) -> None:
    """Print what a crawl into `folder` did, what the catalog holds now, and what is missing in it."""
    console = console or Console()
    frame = catalog.read(folder) if (folder / "catalog.csv").exists() else None
    if frame is not None:
        table = Table("constructor", "model", "photos", "airframes", title=f"{len(frame)} photos in {folder}")
        for labels, photos in frame.groupby(["constructor", "model"]):
            constructor, model = map(str, labels)
            airframes = photos["registration"][photos["registration"] != ""].nunique()
            table.add_row(constructor or "not said", model or "not said", str(len(photos)), str(airframes))
        console.print(table)
    console.print(f"{outcome.pages} pages read, {outcome.stored} photos stored, {outcome.known} known already.")
    if outcome.other_constructors:
        others = ", ".join(f"{count} of {name}" for name, count in outcome.other_constructors.most_common())
        console.print(f"Left out, since --constructors does not name them: {others}.")
    if frame is not None:
        for column, what in (
            ("airline", "an airline"),
            ("aircraft_type", "a type"),
            ("registration", "a registration"),
        ):
            count = int((frame[column] == "").sum())
            if count:
                console.print(f"{count} photos without {what}: their pages do not say.")
    if outcome.bad_images:
        photo_id, reason = next(iter(outcome.bad_images.items()))
        console.print(f"{len(outcome.bad_images)} photos without a usable image, such as {photo_id}: {reason}.")
