"""Progress of a run: counts by constructor, the bar on the terminal, and the summary at the end."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from planespotter_client._errors import PlaneSpotterError
from planespotter_client._extras import install_command
from planespotter_photos import formats
from planespotter_photos.counts import count_noun

if TYPE_CHECKING:
    from planespotter_client import PhotoResult

# The bar is drawn ten times a second, so it is not updated for each photo.
UPDATE_SECONDS = 0.1
MAX_SHOWN_FOLDERS = 6
MAX_SHOWN_HOUSEKEEPING = 3


class RunStats:
    """Counts of a run, and when it started."""

    def __init__(self) -> None:
        self.constructors: Counter[str] = Counter()
        """Photos by confident constructor; "unknown" counts the others that have a prediction."""
        self.failed = 0
        self.unfiled = 0
        """Photos with a prediction that were missing when they were to be filed."""
        self.filed: Counter[str] = Counter()
        """Photos put into folders, by the name of the folder: "Boeing 737", "unknown"."""
        self.already_filed = 0
        """Photos that were in their folder already, or that equal one there."""
        self.skipped = 0
        """Photos that an earlier run answered."""
        self.damaged_packets = 0
        """Packets of a video that could not be decoded."""
        self.unread: Counter[str] = Counter()
        """Photos in folders that were passed over, by the name of their format: it is not read here."""
        self.housekeeping: list[str] = []
        """Hidden and housekeeping photos and folders that were passed over: the first of them."""
        self.housekeeping_count = 0
        self.sent = 0
        self.started = time.monotonic()

    @property
    def answered(self) -> int:
        """Photos that have a result, a prediction or an error."""
        return self.constructors.total() + self.failed

    @property
    def rate(self) -> float:
        """Photos per second so far."""
        return self.answered / max(1e-9, time.monotonic() - self.started)

    def add(self, result: "PhotoResult") -> None:
        """Count a result."""
        prediction = result.prediction
        if prediction is None:
            self.failed += 1
        else:
            is_known = prediction.level.value != "unknown"
            self.constructors[prediction.constructor.name if is_known else "unknown"] += 1

    def by_constructor(self) -> str:
        """Return "Airbus 512, Boeing 488, unknown 12, failed 3"."""
        counts = [*self.constructors.most_common(), *([("failed", self.failed)] if self.failed else [])]
        return ", ".join(f"{name} {count:,}" for name, count in counts)

    def count_unread(self, name: str) -> None:
        """Count a photo that was passed over, by the name of its format."""
        self.unread[name] += 1

    def count_housekeeping(self, path: str) -> None:
        """Count a hidden or housekeeping photo or folder that was passed over."""
        self.housekeeping_count += 1
        if len(self.housekeeping) < MAX_SHOWN_HOUSEKEEPING:
            self.housekeeping.append(path)

    def housekeeping_summary(self) -> str:
        """Return which hidden and housekeeping files were passed over, in one line; empty if none was."""
        if not self.housekeeping_count:
            return ""
        shown = ", ".join(self.housekeeping)
        more = ", ..." if self.housekeeping_count > len(self.housekeeping) else ""
        return f"{self.housekeeping_count:,} hidden or system files and folders skipped: {shown}{more}."

    def unread_summary(self) -> str:
        """Return what was passed over in one line; empty if nothing was."""
        if not self.unread:
            return ""
        can_install = formats.missing_packages(self.unread)
        advice = f" To read more of them: {install_command('formats')}." if can_install else ""
        return f"{formats.summarize_unread(self.unread)}.{advice}"

    def summary(self) -> str:
        """Return the summary of the run in one line."""
        seconds = time.monotonic() - self.started
        counts = f": {self.by_constructor()}" if self.answered else ""
        skipped = f" {self.skipped:,} skipped, as an earlier run answered them." if self.skipped else ""
        return (
            f"{count_noun(self.answered, 'photo')} in {_duration(seconds)}, {self.answered / max(1e-9, seconds):.1f} "
            f"photos/s{counts}.{skipped}"
        )


def filing_summary(stats: RunStats, folder: Path) -> str:
    """Return what was filed into `folder`, as a sentence."""
    largest = stats.filed.most_common(MAX_SHOWN_FOLDERS)
    shown = [f"{name} {count:,}" for name, count in largest]
    if len(stats.filed) > len(largest):
        rest = stats.filed.total() - sum(count for _, count in largest)
        shown.append(f"{rest:,} in {count_noun(len(stats.filed) - len(largest), 'more folder')}")
    counts = f" ({', '.join(shown)})" if shown else ""
    same = f"; {stats.already_filed:,} were there already" if stats.already_filed else ""
    return f"{count_noun(stats.filed.total(), 'photo')} filed in {folder}{counts}{same}."


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


class _Bar(Progress):
    """A progress bar with the counts on a separate line."""

    counts: Callable[[], str] = staticmethod(str)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.counts(), style="dim", no_wrap=True, overflow="ellipsis")


def track_progress(
    results: "Iterable[PhotoResult]",
    stats: RunStats,
    total: Callable[[], int | None],
    visible: bool = True,
) -> "Generator[PhotoResult, None, None]":
    """Count `results` in `stats` and yield them.

    Args:
        results: The results of a stream.
        stats: Counts to update.
        total: Returns the number of photos, None if it is unknown. It runs in a separate thread, as it may take long.
        visible: Whether to draw a bar on stderr, if that is a terminal.
    """
    console = Console(stderr=True)
    columns = [
        TextColumn("classifying"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} photos/s"),
        TimeRemainingColumn(),
    ]
    hidden = not (visible and console.is_terminal)
    stats.started = time.monotonic()
    # stdout is not redirected: that would send it to stderr, where the bar is.
    with _Bar(*columns, console=console, disable=hidden, transient=True, redirect_stdout=False, expand=True) as bar:
        bar.counts = stats.by_constructor
        task = bar.add_task("", total=None, rate=0.0)
        totals: list[int] = []  # the total, once it is known
        if not hidden:
            threading.Thread(target=lambda: totals.extend(filter(None, [total()])), daemon=True).start()
        updated = 0.0
        for result in results:
            stats.add(result)
            if not hidden and (now := time.monotonic()) - updated >= UPDATE_SECONDS:
                updated = now
                expected = max(stats.answered, totals[0] - stats.skipped) if totals else None
                bar.update(task, completed=stats.answered, total=expected, rate=stats.rate)
            yield result


def aborted_stream_error(error: PlaneSpotterError, answered: int, total: int | None) -> PlaneSpotterError:
    """Return `error`, which ended a stream after `answered` of `total` results, with the number of missing results.

    A `total` of None is unknown.
    """
    missing = f"Only {count_noun(answered, 'photo')} {'has' if answered == 1 else 'have'} a result"
    if total is not None:
        left = total - answered
        missing = f"{left:,} of {count_noun(total, 'photo')} {'has' if left == 1 else 'have'} no result"
    return type(error)(
        f"{missing}, because the stream was aborted. {error}", reason=error.reason, metadata=error.metadata
    )
