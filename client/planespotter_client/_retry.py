"""When something that failed is tried again."""

import random
from dataclasses import dataclass

from planespotter_client._errors import DeadlineExceededError, OverloadedError, PlaneSpotterError, UnavailableError

# How long to wait before a stream is opened again, in seconds: the first time, and at most.
REOPEN_FIRST, REOPEN_MOST = 0.1, 2.0


def jittered(seconds: float) -> float:
    """Return `seconds` or up to half as much again: those who were sent away together do not all come back at once."""
    return seconds * random.uniform(1.0, 1.5)


class Attempts:
    """When a call that failed is made again.

    At once on a server that was not asked yet, if there are several and another may do better. After all were asked,
    and where there is but one, `retries` times at most and not beyond the time `end`: after as long as a busy server
    says, or soon if none of several answered; with some jitter. One server that does not answer is gRPC's to try again.
    """

    def __init__(self, servers: int, retries: int, end: float) -> None:
        self._servers = servers
        self._retries = retries
        self._end = end
        self._unasked = servers - 1
        self._soon = REOPEN_FIRST

    def pause(self, error: PlaneSpotterError, now: float) -> float | None:
        """Return how many seconds to wait after `error` at the time `now` before the next attempt; None for no more."""
        busy = isinstance(error, OverloadedError | UnavailableError) and error.retry_after is not None
        if not (busy or (self._servers > 1 and isinstance(error, UnavailableError))) or now >= self._end:
            return None
        if self._unasked:
            self._unasked -= 1
            return 0.0
        pause = jittered(self._soon if error.retry_after is None else error.retry_after)
        if not self._retries or now + pause >= self._end:
            return None
        self._retries -= 1
        self._unasked, self._soon = self._servers - 1, 2 * self._soon
        return pause


@dataclass
class Reopening:
    """When a stream that ended is opened again: soon, as long as no more than `patience` seconds bring no answer."""

    patience: float
    busy_too: bool
    """Whether a server that asks to come back later is asked again."""
    opens_at: float = 0.0
    """When the next stream may be opened."""
    again: bool = False
    """Whether a stream ended since the last answer."""
    _until: float | None = None
    _delay: float = REOPEN_FIRST

    def answered(self) -> None:
        """Take note that a server answers photos."""
        self._until, self._delay, self.again = None, REOPEN_FIRST, False

    def idle(self) -> None:
        """Take note that no photo waits for an answer, so that none is late."""
        self._until = None

    def ended(self, now: float, error: PlaneSpotterError | None = None) -> None:
        """Take note that a stream ended at the time `now`, with `error` or because the server goes away.

        Raises `error` if another stream would fare no better, or there was no answer for too long.
        """
        if self._until is None:
            self._until = now + self.patience
        wait = random.uniform(0.5, 1.0) * self._delay
        if isinstance(error, DeadlineExceededError):  # of the probe before the stream
            error = UnavailableError(str(error), reason=error.reason)
        if error is not None:
            busy = isinstance(error, OverloadedError) and error.retry_after is not None and self.busy_too
            if not (busy or isinstance(error, UnavailableError)) or now >= self._until:
                raise error
            if error.retry_after is not None:
                wait = max(wait, jittered(error.retry_after))
        self._delay = min(REOPEN_MOST, 2 * self._delay)
        self.again = True
        self.opens_at = now + wait
