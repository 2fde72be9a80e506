"""Step watchdog: end this process if training with others makes no progress, because another process is stuck."""

import faulthandler
import os
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, Self

from planespotter_training.loop.supervisor import EXIT_RESTART, end_if_lost, leave_soon

TICK_SECONDS = 0.5
PHASE_SECONDS = 1800.0
"""Maximum time without progress outside of training steps: to compile, to validate a batch or to save a checkpoint."""
MIN_STEPS = 3
"""Steps after which their median duration is known well enough."""


class Watchdog:
    """Watches the steps of a training, in a thread; a context manager around the loop.

    A process that waits for a stuck one in a collective operation cannot be interrupted: no exception reaches it. So
    the thread ends the process.

    Args:
        factor: Multiple of the median duration of a step that a step may take.
        min_seconds: Minimum time that a step may take, in seconds.
        active: Whether to watch; False if this process trains alone.
        end: Called with a sentence when there is no progress.
    """

    def __init__(self, factor: float, min_seconds: float, *, active: bool, end: Callable[[str], None] | None = None):
        self._factor, self._min_seconds, self._active = factor, min_seconds, active
        self._end = end or end_process
        self._durations: deque[float] = deque(maxlen=100)
        self._last_step: float | None = None  # None before the first step, and after a phase
        self._in_phase = False
        self._progress = 0  # a counter: the thread only compares it
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        if self._active:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._stopped.set()
        if self._active and error is not None:  # before anything is closed: that would wait for the other processes
            end_if_lost(error)
            leave_soon(error)

    def step(self) -> None:
        """Count a completed step."""
        now = time.monotonic()
        if self._last_step is not None:
            self._durations.append(now - self._last_step)
        self._last_step = now
        self._progress += 1

    def beat(self) -> None:
        """Count other progress: a validated batch."""
        self._progress += 1

    @contextmanager
    def phase(self) -> Iterator[None]:
        """Allow PHASE_SECONDS without progress while the block runs."""
        self._in_phase, self._last_step = True, None
        self._progress += 1
        yield
        self._progress += 1
        self._in_phase = False

    @property
    def limit(self) -> float:
        """Maximum time without progress, in seconds."""
        if self._in_phase or len(self._durations) < MIN_STEPS:
            return PHASE_SECONDS
        return max(self._min_seconds, self._factor * self._median)

    @property
    def _median(self) -> float:
        return statistics.median(list(self._durations))

    def _watch(self) -> None:
        """Count the ticks without progress: unlike a clock, they do not count while this process itself is stopped."""
        waited, seen = 0.0, self._progress
        while not self._stopped.wait(TICK_SECONDS):
            waited, seen = (waited + TICK_SECONDS, seen) if self._progress == seen else (0.0, self._progress)
            if waited >= self.limit:
                usual = f" (median {self._median:.2g} s)" if self._durations else ""
                self._end(
                    f"No training step has completed for {waited:.0f} s{usual}: another process does not respond. Run "
                    "the same command in all processes: training resumes from the last checkpoint."
                )
                return


def end_process(sentence: str) -> NoReturn:
    """Print `sentence` and the stack of each thread, and end this process with EXIT_RESTART, without any clean-up."""
    print(f"error: {sentence}\nStacks of this process:", file=sys.stderr, flush=True)  # noqa: T201
    faulthandler.dump_traceback(sys.stderr)
    os._exit(EXIT_RESTART)
