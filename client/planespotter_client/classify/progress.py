"""How far a run is: the bar on the terminal, the counts by constructor, and the line at the end."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from planespotter_client._errors import PlaneSpotterError

if TYPE_CHECKING:
    from planespotter_client import PhotoAnswer

# The bar is drawn ten times a second, so it need not hear of each photo.
EVERY = 0.1


class Tally:
    """Counts of answers, and since when."""

    def __init__(self) -> None:
        self.constructors: Counter[str] = Counter()
        self.failed = 0
        self.unfiled = 0
        """Photos that were answered, but were gone before they could be filed."""
        self.skipped = 0
        """Photos that had an answer before."""
        self.damaged = 0
        """Parts of a video that could not be decoded, so that they gave no frames."""
        self.sent = 0
        """Photos that were found and had none."""
        self.began = time.monotonic()

    @property
    def answered(self) -> int:
        """How many photos have an answer, be it that they failed."""
        return self.constructors.total() + self.failed

    @property
    def rate(self) -> float:
        """Photos a second, so far."""
        return self.answered / max(1e-9, time.monotonic() - self.began)

    def add(self, answer: "PhotoAnswer") -> None:
        """Count an answer."""
        said = answer.classification
        if said is None:
            self.failed += 1
        else:
            self.constructors[said.constructor.name if said.level.value != "unknown" else "unknown"] += 1

    def by_constructor(self) -> str:
        """Return "Airbus 512, Boeing 488, unknown 12, failed 3"."""
        counts = [*self.constructors.most_common(), *([("failed", self.failed)] if self.failed else [])]
        return ", ".join(f"{name} {count:,}" for name, count in counts)

    def summary(self) -> str:
        """Return one line that says what was done."""
        seconds = time.monotonic() - self.began
        counts = f": {self.by_constructor()}" if self.answered else ""
        before = f" {self.skipped:,} had an answer before." if self.skipped else ""
        return (
            f"{photos(self.answered)} in {_duration(seconds)}, {self.answered / max(1e-9, seconds):.1f} photos/s"
            f"{counts}.{before}"
        )


def photos(count: int) -> str:
    """Return "1 photo" or "1,234 photos"."""
    return f"{count:,} photo{'' if count == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


class _Bar(Progress):
    """A bar with the counts on a line of their own."""

    counts: Callable[[], str] = staticmethod(str)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.counts(), style="dim", no_wrap=True, overflow="ellipsis")


def with_progress(
    answers: "Iterable[PhotoAnswer]",
    tally: Tally,
    total: Callable[[], int | None],
    shown: bool = True,
) -> "Generator[PhotoAnswer, None, None]":
    """Count `answers` in `tally` and pass them on, with a bar on stderr if that is a terminal and `shown` is true.

    `total` says how many there will be, as soon as that is known; it is asked in a thread of its own.
    """
    console = Console(stderr=True)
    columns = [
        TextColumn("classifying"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} photos/s"),
        TimeRemainingColumn(),
    ]
    hidden = not (shown and console.is_terminal)
    tally.began = time.monotonic()
    # stdout is not redirected: that would send it to stderr, where the bar is.
    with _Bar(*columns, console=console, disable=hidden, transient=True, redirect_stdout=False, expand=True) as bar:
        bar.counts = tally.by_constructor
        task = bar.add_task("", total=None, rate=0.0)
        counted: list[int] = []
        if not hidden:
            threading.Thread(target=lambda: counted.extend(filter(None, [total()])), daemon=True).start()
        last = 0.0
        for answer in answers:
            tally.add(answer)
            if not hidden and (now := time.monotonic()) - last >= EVERY:
                last = now
                expected = max(tally.answered, counted[0] - tally.skipped) if counted else None
                bar.update(task, completed=tally.answered, total=expected, rate=tally.rate)
            yield answer


def cut_short(error: PlaneSpotterError, done: int, total: int | None) -> PlaneSpotterError:
    """Return `error`, which ended a stream after `done` of `total` answers (None: not known), with what is missing."""
    missing = f"Only {photos(done)} {'has' if done == 1 else 'have'} an answer"
    if total is not None:
        missing = f"{total - done:,} of {photos(total)} {'has' if total - done == 1 else 'have'} no answer"
    return type(error)(
        f"{missing}, because the stream broke off. {error}", reason=error.reason, metadata=error.metadata
    )
