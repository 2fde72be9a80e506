"""Rate limit: a token bucket per client, in photos per second."""

import asyncio
import time
from collections.abc import Callable


class TokenBucket:
    """A bucket that holds at most one second's worth of photos.

    Args:
        photos_per_second: Rate at which it fills.
        clock: Returns seconds.
    """

    def __init__(self, photos_per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.photos_per_second = photos_per_second
        self._capacity = max(1.0, photos_per_second)
        self._level = self._capacity
        self._clock = clock
        self._filled_at = clock()

    def delay(self) -> float:
        """Return the seconds until the next photo is within the rate; 0 if it is now."""
        now = self._clock()
        self._level = min(self._capacity, self._level + (now - self._filled_at) * self.photos_per_second)
        self._filled_at = now
        return max(0.0, (1 - self._level) / self.photos_per_second)

    async def wait(self) -> None:
        """Wait until the next photo is within the rate, without taking it."""
        while (delay := self.delay()) > 0:  # noqa: ASYNC110  (another call of the client may take it first)
            await asyncio.sleep(delay)

    def take(self) -> None:
        """Take one photo from the bucket, even below zero: later photos then wait longer."""
        self._level -= 1
