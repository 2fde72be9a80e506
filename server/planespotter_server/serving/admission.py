"""Admission control: cap in-flight photos, bytes and estimated queueing delay.

Unary requests fail fast: one whose estimated wait (in-flight unary photos / recent throughput) exceeds `max_wait` is
rejected with QUEUE_FULL and a retry delay. Streams wait instead: an unread stream is backpressure on its client. A
quarter of the capacity is reserved for unary requests.

Batching is fair across callers, so that photos of streams hardly delay a unary request: the estimate counts unary
photos only.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from planespotter_photos.counts import count_noun
from planespotter_server.rejections import RequestRejected, shutting_down

# Throughput is measured over the last unary photos that finished, while at least MIN_LOAD of them are in flight: fewer
# do not fill the batches, so that the device would look slower than it is. Nothing is rejected by an estimate from
# fewer than MIN_SAMPLES photos.
THROUGHPUT_WINDOW = 256
MIN_LOAD = 8
MIN_SAMPLES = 16
# Bounds of the retry delay, in seconds: long enough to prevent a retry storm, short enough to be useful.
MIN_RETRY_DELAY, MAX_RETRY_DELAY = 0.05, 30.0
DEFAULT_RETRY_DELAY = 1.0


class Permit:
    """The capacity that one photo occupies while it is in flight; a context manager that releases it."""

    def __init__(self, admission: "AdmissionController", size: int, unary: bool) -> None:
        self._admission = admission
        self._size = size
        self._unary = unary
        self._held = True

    def release(self) -> None:
        """Give the capacity back; a second call has no effect."""
        if self._held:
            self._held = False
            self._admission.release(self._size, self._unary)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.release()


class AdmissionController:
    """Caps the photos that are in flight, from arrival to result.

    Args:
        max_photos: Maximum number of photos in flight, of unary requests and streams together.
        max_bytes: Maximum total size of these photos, in encoded bytes.
        max_wait: Maximum estimated queueing delay of a unary photo, in seconds.
        burst: Unary photos that are admitted regardless of the estimate, so that the largest batch request can succeed.
        clock: Returns seconds.
    """

    def __init__(
        self,
        max_photos: int,
        max_bytes: int,
        max_wait: float = math.inf,
        burst: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        # When the last unary photos finished; the first entry is since when the load has been at least the minimum.
        self._finished: deque[float] = deque(maxlen=THROUGHPUT_WINDOW)
        self._max_photos = max_photos
        self._max_bytes = max_bytes
        self._max_wait = max_wait
        self._burst = burst
        self._min_load = min(MIN_LOAD, max_photos)
        self._unary_photos = 0
        self._photos = 0
        self._bytes = 0
        self._closed = False
        self._waiting: deque[tuple[int, asyncio.Future[Permit]]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def closed(self) -> bool:
        """Whether all further photos are rejected."""
        return self._closed

    @property
    def in_flight(self) -> int:
        """Number of photos in flight."""
        return self._photos

    def try_admit(self, size: int, time_left: float | None = None, *, measured: bool = True) -> Permit:
        """Admit one photo of a unary request.

        Args:
            size: Encoded size in bytes.
            time_left: Seconds until the request's deadline; None if it has none.
            measured: Whether it counts for throughput; False if it takes extra work that other photos do not.

        Raises:
            RequestRejected: QUEUE_FULL or SHUTTING_DOWN.
        """
        self.check_capacity(size)
        limit = self._max_wait if self._unary_photos >= self._burst else math.inf
        if time_left is not None:
            limit = min(limit, time_left)
        # Below the minimum load the samples may span idle hours.
        known = self._unary_photos >= self._min_load and len(self._finished) > MIN_SAMPLES
        if limit < math.inf and known and (wait := self._estimated_wait()) > limit:
            source = "the limit is" if limit == self._max_wait else "the deadline leaves"
            raise self._queue_full(
                f"the estimated queueing delay is {wait:.2g} s, and {source} {limit:.2g} s",
                wait_seconds=f"{wait:.3g}",
                max_wait_seconds=f"{limit:.3g}",
            )
        return self._grant(size, unary=measured)

    def check_capacity(self, size: int = 0) -> None:
        """Check that a unary photo of `size` bytes fits, without admitting it.

        Raises:
            RequestRejected: QUEUE_FULL or SHUTTING_DOWN.
        """
        if self._closed:
            raise shutting_down()
        if not self._fits(size, self._max_photos, self._max_bytes):
            raise self._queue_full(
                f"the limits are {count_noun(self._max_photos, 'photo')} and {self._max_bytes:,} bytes",
                max_photos=self._max_photos,
                max_bytes=self._max_bytes,
            )

    def _queue_full(self, problem: str, **metadata: object) -> RequestRejected:
        retry_after = self.retry_after()
        return RequestRejected(
            "QUEUE_FULL",
            f"The queue is full: {count_noun(self._photos, 'photo')} ({self._bytes:,} bytes) in flight; {problem}. "
            f"Retry in {retry_after:.2g} s.",
            metadata={"photos": self._photos, "bytes": self._bytes, **metadata},
            retry_after=retry_after,
        )

    def retry_after(self) -> float:
        """Estimate the seconds until half of the unary photos in flight have finished.

        Half, because the device would run idle if clients returned only after the last photo.
        """
        if len(self._finished) < 2:
            return DEFAULT_RETRY_DELAY
        return min(MAX_RETRY_DELAY, max(MIN_RETRY_DELAY, self._estimated_wait() / 2))

    def _estimated_wait(self) -> float:
        """Return the seconds in which the unary photos in flight finish, at the recent throughput."""
        return self._unary_photos * (self._clock() - self._finished[0]) / (len(self._finished) - 1)

    async def wait_for_capacity(self) -> None:
        """Wait until there is capacity for streams, without taking it.

        A stream waits here before it reads, so that it holds at most one message whose photos have no permit yet.

        Raises:
            RequestRejected: SHUTTING_DOWN.
        """
        if self._closed:
            raise shutting_down()
        if self._waiting or not self._fits_stream(0):
            (await self.admit(0)).release()

    async def admit(self, size: int) -> Permit:
        """Admit one photo of a stream; wait for capacity, first come, first served.

        Args:
            size: Encoded size in bytes.

        Raises:
            RequestRejected: SHUTTING_DOWN.
        """
        if self._closed:
            raise shutting_down()
        if not self._waiting and self._fits_stream(size):
            return self._grant(size, unary=False)
        granted: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, granted))
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().release()  # granted in the same iteration of the event loop
            raise

    def release(self, size: int, unary: bool) -> None:
        """Release the capacity of a photo of `size` bytes and admit waiting streams (called by Permit.release)."""
        self._photos -= 1
        self._bytes -= size
        if unary:
            self._unary_photos -= 1
            self._finished.append(self._clock())
        while self._waiting and (self._waiting[0][1].done() or self._fits_stream(self._waiting[0][0])):
            size, granted = self._waiting.popleft()
            if not granted.done():
                granted.set_result(self._grant(size, unary=False))
        if not self._photos:
            self._idle.set()

    def close(self) -> None:
        """Reject every further photo with SHUTTING_DOWN, including those of waiting streams."""
        self._closed = True
        for _, granted in self._waiting:
            if not granted.done():
                granted.set_exception(shutting_down())
                granted.exception()  # marks it as retrieved: the stream may end before it looks
        self._waiting.clear()

    async def wait_until_idle(self) -> None:
        """Wait until no photo is in flight."""
        await self._idle.wait()

    def _fits_stream(self, size: int) -> bool:
        max_photos = max(1, self._max_photos * 3 // 4)
        return self._fits(size, max_photos, self._max_bytes * 3 // 4)  # the last quarter is for unary requests

    def _fits(self, size: int, max_photos: int, max_bytes: int) -> bool:
        # While nothing is in flight, even a photo above the limit is admitted: it would wait forever otherwise.
        return self._photos == 0 or (self._photos < max_photos and self._bytes + size <= max_bytes)

    def _grant(self, size: int, unary: bool) -> Permit:
        if unary:
            self._unary_photos += 1
            if self._unary_photos == self._min_load:
                self._finished.clear()
                self._finished.append(self._clock())
        self._photos += 1
        self._bytes += size
        self._idle.clear()
        return Permit(self, size, unary)
