"""Memory limiter: when the process exceeds its limit, give freed memory back, then end the largest uploaders' calls.

gRPC receives a whole message before it reports its size, so admission control cannot count the bytes that are still
arriving. The process's resident memory includes them.
"""

import asyncio
import ctypes
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from planespotter_server.rejections import RequestRejected

CHECK_SECONDS = 0.1
# A call that receives for less time is not ended: most messages arrive at once.
MIN_RECEIVE_SECONDS = 0.3
# Freed memory goes back to the system this long after the last time: if memory has grown since; if it is above the
# limit; and if it is only above its minimum, because what was in use the last time may be free now.
TRIM_SECONDS, TRIM_SECONDS_ABOVE_LIMIT, TRIM_SECONDS_WITHOUT_GROWTH = 10.0, 1.0, 60.0
# Growth that is worth a trim, which locks the allocator.
TRIM_BYTES = 32 * 1024 * 1024
RETRY_DELAY = 1.0

log = structlog.get_logger()


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(eq=False)
class Receive:
    """A message that is arriving.

    Args:
        client: Key of the client.
        end: Ends its call or stream.
    """

    client: str
    end: Callable[[], None]
    since: float = field(default_factory=_now)


class MemoryLimiter:
    """Keeps the resident memory of this process below a limit.

    Args:
        max_bytes: The limit.
        measure: Returns the resident memory in bytes; 0 if it is unknown.
        trim: Gives freed memory back to the system.
    """

    def __init__(
        self, max_bytes: int, measure: Callable[[], int] | None = None, trim: Callable[[], None] | None = None
    ) -> None:
        self._max_bytes = max_bytes
        self._measure = measure or resident_bytes
        self._trim = trim or trim_heap
        self._receives: set[Receive] = set()
        self._bytes = self._trimmed_bytes = self._min_bytes = self._measure()
        self._trimmed_at = 0.0
        self._reported = False

    @contextmanager
    def receiving(self, client: str, end: Callable[[], None]) -> Iterator[None]:
        """Register a message of `client` that is arriving while the block runs; `end` must make it stop."""
        receive = Receive(client, end)
        self._receives.add(receive)
        try:
            yield
        finally:
            self._receives.discard(receive)

    def check_capacity(self, client: str) -> None:
        """Check that another message of `client` can be received: above the limit, not while others still arrive.

        Raises:
            RequestRejected: QUEUE_FULL.
        """
        if self._bytes > self._max_bytes and any(receive.client == client for receive in self._slow_receives(_now())):
            raise self.rejection()

    def rejection(self) -> RequestRejected:
        """Return the rejection of a call while memory is short."""
        return RequestRejected(
            "QUEUE_FULL",
            f"The server is short of memory while this client has unfinished uploads: its limit is "
            f"{self._max_bytes:,} bytes. Finish them, or retry in {RETRY_DELAY:g} s.",
            metadata={"max_bytes": self._max_bytes},
            retry_after=RETRY_DELAY,
        )

    async def watch(self) -> None:
        """Enforce the limit until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.enforce(_now())

    async def enforce(self, now: float) -> None:
        """Measure; give memory back if that is due; above the limit, end calls of the client that receives most."""
        self._bytes = self._measure()
        if self._trim_is_due(now):
            await asyncio.to_thread(self._trim)
            self._bytes = self._trimmed_bytes = self._measure()
            self._trimmed_at = now
        self._trimmed_bytes = min(self._trimmed_bytes, self._bytes)
        self._min_bytes = min(self._min_bytes, self._bytes)
        above = self._bytes > self._max_bytes
        ended = self._end_largest(now) if above else 0
        if above and not self._reported:
            log.warning("memory_limit", bytes=self._bytes, max_bytes=self._max_bytes, ended=ended)
        self._reported = above

    def _trim_is_due(self, now: float) -> bool:
        seconds = now - self._trimmed_at
        if self._bytes > self._trimmed_bytes + TRIM_BYTES:
            return seconds >= (TRIM_SECONDS_ABOVE_LIMIT if self._bytes > self._max_bytes else TRIM_SECONDS)
        return self._bytes > self._min_bytes + TRIM_BYTES and seconds >= TRIM_SECONDS_WITHOUT_GROWTH

    def _slow_receives(self, now: float) -> list[Receive]:
        return [receive for receive in self._receives if now - receive.since >= MIN_RECEIVE_SECONDS]

    def _end_largest(self, now: float) -> int:
        """End the oldest half of the calls of the client with most of them; return their number."""
        slow = self._slow_receives(now)
        if not slow:
            return 0
        client, count = Counter(receive.client for receive in slow).most_common(1)[0]
        oldest = sorted((receive for receive in slow if receive.client == client), key=lambda each: each.since)
        for receive in oldest[: (count + 1) // 2]:
            self._receives.discard(receive)
            receive.end()
        return (count + 1) // 2


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes; 0 where the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def trim_heap() -> None:
    """Give freed memory back to the system, where the C library can: glibc."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
