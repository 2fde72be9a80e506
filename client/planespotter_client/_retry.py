"""Retries: backoff with jitter for calls, and reconnection of streams."""

import random
from dataclasses import dataclass

from planespotter_client._errors import DeadlineExceededError, OverloadedError, PlaneSpotterError, UnavailableError

INITIAL_BACKOFF, MAX_BACKOFF = 0.1, 2.0
"""Bounds of the exponential backoff, in seconds."""


def with_jitter(seconds: float) -> float:
    """Return `seconds` plus up to 50 % jitter, so that rejected clients do not return all at once."""
    return seconds * random.uniform(1.0, 1.5)


class CallRetries:
    """The retry policy of one call.

    The call fails over at once to a server that it has not tried. After all servers were tried, and with only one, it
    is retried after the server's retry delay, or with exponential backoff if none of several servers responded. A
    single server that does not respond is retried by gRPC itself.

    Args:
        servers: Number of servers.
        retries: Maximum number of rounds after the first.
        end: Deadline of the call, on the clock of `pause`.
    """

    def __init__(self, servers: int, retries: int, end: float) -> None:
        self._servers = servers
        self._retries = retries
        self._end = end
        self._untried = servers - 1
        self._backoff = INITIAL_BACKOFF

    def pause(self, error: PlaneSpotterError, now: float) -> float | None:
        """Return the seconds to wait before the next attempt.

        Args:
            error: Why the last attempt failed.
            now: Current time in seconds.

        Returns:
            0 or more; None if the call fails with `error`.
        """
        busy = isinstance(error, OverloadedError | UnavailableError) and error.retry_after is not None
        if not (busy or (self._servers > 1 and isinstance(error, UnavailableError))) or now >= self._end:
            return None
        if self._untried:
            self._untried -= 1
            return 0.0
        pause = with_jitter(self._backoff if error.retry_after is None else error.retry_after)
        if not self._retries or now + pause >= self._end:
            return None
        self._retries -= 1
        self._untried, self._backoff = self._servers - 1, 2 * self._backoff
        return pause


@dataclass
class StreamReconnect:
    """The reconnect policy of a stream: exponential backoff, until `timeout` seconds pass without a result."""

    timeout: float
    retry_overloaded: bool
    """Whether a server that rejects the stream as overloaded is retried."""
    opens_at: float = 0.0
    """Earliest time of the next attempt."""
    reconnecting: bool = False
    """Whether a stream has ended since the last result."""
    _end: float | None = None
    _backoff: float = INITIAL_BACKOFF

    def reset(self) -> None:
        """Reset the policy: a result has arrived."""
        self._end, self._backoff, self.reconnecting = None, INITIAL_BACKOFF, False

    def idle(self) -> None:
        """Stop the timeout: no photo is unanswered."""
        self._end = None

    def handle_end(self, now: float, error: PlaneSpotterError | None = None) -> None:
        """Schedule the next attempt after a stream has ended.

        Args:
            now: Current time in seconds.
            error: Why the stream failed; None if the server drained it.

        Raises:
            PlaneSpotterError: `error`, if it cannot be retried or the timeout has passed.
        """
        if self._end is None:
            self._end = now + self.timeout
        pause = random.uniform(0.5, 1.0) * self._backoff
        if isinstance(error, DeadlineExceededError):  # of the probe before the stream; a stream has no deadline
            error = UnavailableError(str(error), reason=error.reason)
        if error is not None:
            busy = isinstance(error, OverloadedError) and error.retry_after is not None and self.retry_overloaded
            if not (busy or isinstance(error, UnavailableError)) or now >= self._end:
                raise error
            if error.retry_after is not None:
                pause = max(pause, with_jitter(error.retry_after))
        self._backoff = min(MAX_BACKOFF, 2 * self._backoff)
        self.reconnecting = True
        self.opens_at = now + pause
