"""Decoder pool: threads that decode photos, with a time limit per photo and a check that they are not all stuck.

Photos whose inspection estimates a high price use at most half of the threads: those of other callers do not wait.

Threads, not processes: the inspection of a photo bounds what it costs to decode, so the server stays available without
killing a decoder, and sending photos and pixels between processes would add half of the time that decoding takes. The
time limit is a second line of defense. A thread cannot be interrupted: a photo over the limit gets its error at once,
but its thread is lost until the decoder returns. While all threads are over the limit, no photo can be decoded; if they
stay so, the server has to be restarted.
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import structlog
from numpy.typing import NDArray

from planespotter_photos import ExpensivePhotoError
from planespotter_server.rejections import decode_timed_out
from planespotter_server.serving.fair_semaphore import FairSemaphore
from planespotter_server.serving.thread_priority import lower_priority

Pixels = NDArray[np.uint8]

CHECKS_PER_TIMEOUT = 10
EXPENSIVE_SECONDS = 0.1
"""Photos with a higher estimate share half of the threads, so that the others always find one that is free soon."""
STUCK_TIMEOUTS = 6
"""Threads count as stuck after this many timeouts: on an overloaded machine a photo may just wait for a core."""

log = structlog.get_logger()


class _Job:
    """One photo: the future that its caller awaits, and since when a thread works on it."""

    future: asyncio.Future[Pixels]

    def __init__(self) -> None:
        self.started = 0.0
        self.is_late = False


class DecoderPool:
    """Threads that decode the photos of all models, and serve callers round robin.

    Args:
        threads: Number of threads.
        timeout: Maximum time to decode a photo in seconds, without the time in the queue.
        observe: Called with the seconds that each photo took.
        on_available: Called with False when every thread is over the timeout, with True once one is free again.
        on_stuck: Called once when every thread has been decoding one photo for STUCK_TIMEOUTS times the timeout.
    """

    def __init__(
        self,
        threads: int,
        timeout: float = 10.0,
        observe: Callable[[float], None] = lambda _: None,
        on_available: Callable[[bool], None] = lambda _: None,
        on_stuck: Callable[[], None] = lambda: None,
    ) -> None:
        self._threads = threads
        self._timeout = timeout
        self._observe = observe
        self._on_available = on_available
        self._on_stuck = on_stuck
        self._available = True
        self._running: set[_Job] = set()
        self._check: asyncio.TimerHandle | None = None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode", initializer=lower_priority)
        # Twice the threads: each finds its next photo without waiting for the event loop.
        self._semaphore = FairSemaphore(2 * threads)
        self._expensive = FairSemaphore(max(1, threads // 2))

    async def decode(self, decode: Callable[[float], Pixels], caller: object) -> Pixels:
        """Decode one photo in one of the threads. A caller that cancels while it waits costs nothing.

        Args:
            decode: Returns the pixels, or raises ExpensivePhotoError if that would take more than the given seconds.
            caller: Whose photo it is.

        Raises:
            RequestRejected: PHOTO_DECODE_TIMEOUT.
        """
        try:
            return await self._decode(partial(decode, EXPENSIVE_SECONDS), caller)
        except ExpensivePhotoError:
            async with self._expensive.acquire(caller):
                return await self._decode(partial(decode, math.inf), caller)

    async def _decode(self, decode: Callable[[], Pixels], caller: object) -> Pixels:
        async with self._semaphore.acquire(caller):
            loop = asyncio.get_running_loop()
            job = _Job()
            job.future = loop.run_in_executor(self._pool, self._run, job, decode)
            if self._check is None:
                self._check = loop.call_later(self._timeout / CHECKS_PER_TIMEOUT, self._check_timeouts)
            try:
                return await job.future
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if job.is_late and task is not None and not task.cancelling():
                    raise decode_timed_out(self._timeout) from None
                raise

    def _run(self, job: _Job, decode: Callable[[], Pixels]) -> Pixels:
        job.started = time.perf_counter()
        self._running.add(job)
        try:
            return decode()
        finally:
            self._running.discard(job)
            self._observe(time.perf_counter() - job.started)

    def _check_timeouts(self) -> None:
        now = time.perf_counter()
        late = [job for job in tuple(self._running) if now - job.started > self._timeout]
        for job in late:
            if not job.is_late:
                job.is_late = True
                job.future.cancel()
                log.warning("decode_timeout", seconds=round(now - job.started, 1), late=len(late))
        self._set_available(len(late) < self._threads)
        stuck = [job for job in late if now - job.started > STUCK_TIMEOUTS * self._timeout]
        if len(stuck) == self._threads:
            log.error("decoders_stuck", threads=self._threads)
            self._on_stuck()
            return
        self._check = asyncio.get_running_loop().call_later(self._timeout / CHECKS_PER_TIMEOUT, self._check_timeouts)

    def _set_available(self, available: bool) -> None:
        if available == self._available:
            return
        self._available = available
        if available:
            log.info("decoders_available")
        else:
            log.warning("decoders_unavailable", threads=self._threads)
        self._on_available(available)

    def close(self) -> None:
        """Stop; cancel what has not started."""
        if self._check is not None:
            self._check.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
