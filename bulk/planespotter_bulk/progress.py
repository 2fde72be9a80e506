"""Progress of a job: photos, rate, time left, predictions by constructor and failures by reason."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from planespotter_bulk.worker import Summary
from planespotter_photos.counts import count_noun

LINE_SECONDS = 30.0
"""How often a line is printed where stderr is not a terminal."""
TERMINAL_SECONDS = 0.5


class JobProgress:
    """Counts of a job, printed to stderr: as a line that changes on a terminal, else as a line now and then.

    Args:
        total: Photos of the job.
        done: Photos that earlier runs answered.
    """

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done = total, done
        self.photos = 0
        self.deaths = 0
        self.constructors: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._started: float | None = None  # when the first block was, as loading the network does not count
        self._last = 0.0
        self._console = Console(stderr=True, highlight=False)
        self._printed = time.monotonic()

    def add(self, summary: Summary) -> None:
        """Count a block that was just committed."""
        self._last = time.monotonic()
        if self._started is None:
            self._started = self._last - summary.seconds
        self.photos += summary.photos
        self.deaths += summary.deaths
        self.constructors.update(summary.constructors)
        self.reasons.update(summary.reasons)

    @property
    def rate(self) -> float:
        """Photos per second of this run."""
        return self.photos / max(1e-9, self._last - self._started) if self._started is not None else 0.0

    def line(self) -> str:
        """Return the progress in one line."""
        answered = self.done + self.photos
        parts = [f"{answered:,} of {count_noun(self.total, 'photo')} ({100 * answered / max(1, self.total):.1f} %)"]
        if self.rate:
            parts.append(f"{self.rate:,.1f} photos/s")
            if answered < self.total:
                parts.append(f"{duration((self.total - answered) / self.rate)} left")
        counts = self.counts()
        return f"{', '.join(parts)}{f': {counts}' if counts else ''}"

    def counts(self) -> str:
        """Return the counts of this run: "Airbus 512, Boeing 488, unknown 12, failed 3 (PHOTO_EMPTY 3)"."""
        counts = [f"{name} {count:,}" for name, count in self.constructors.most_common()]
        if self.reasons:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.reasons.most_common())
            counts.append(f"failed {self.reasons.total():,} ({reasons})")
        return ", ".join(counts)

    def summary(self) -> str:
        """Return the summary at the end, with advice if workers died."""
        earlier = f" {self.done:,} were answered by earlier runs." if self.done else ""
        counts = f": {self.counts()}" if self.photos else ""
        deaths = ""
        if self.deaths:
            deaths = (
                f" Workers died {count_noun(self.deaths, 'time')}, and their photos were classified again. If memory "
                "is short, use larger machines, or fewer workers with a higher --worker-cpus."
            )
        rate = f", {self.rate:,.1f} photos/s" if self.rate else ""
        return f"{count_noun(self.photos, 'photo')}{rate}{counts}.{earlier}{deaths}"

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Erase the line of the terminal at the end."""
        try:
            yield
        finally:
            if self._console.is_terminal:
                self._console.print("\r\x1b[K", end="")

    def show(self) -> None:
        """Print the progress, if it is time."""
        now = time.monotonic()
        if now - self._printed < (TERMINAL_SECONDS if self._console.is_terminal else LINE_SECONDS):
            return
        self._printed = now
        if self._console.is_terminal:
            self._console.file.write(f"\r\x1b[K{self.line()[: self._console.width - 1]}")
            self._console.file.flush()
        else:
            self._console.print(self.line(), soft_wrap=True)


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: "3 h 20 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
