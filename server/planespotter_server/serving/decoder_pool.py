"""Decoder pool: threads that decode photos, with a time limit per photo and a check that they are not all stuck.

A thread takes photo after photo by itself, and hands each on without the event loop, which sees failures only.
Photos whose inspection estimates a high price use at most half of the threads: those of other callers do not wait.

Threads, not processes: the inspection of a photo bounds what it costs to decode, so the server stays available without
killing a decoder, and sending photos and pixels between processes would add half of the time that decoding takes. The
time limit is a second line of defense. A thread cannot be interrupted: a photo over the limit gets its error at once,
but its thread is lost until the decoder returns. While all threads are over the limit, no photo can be decoded; if they
stay so, the server has to be restarted.
"""

import asyncio
import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from planespotter_photos import ExpensivePhotoError
from planespotter_server.rejections import decode_timed_out
from planespotter_server.serving.fair_queue import FairQueue
from planespotter_server.serving.thread_priority import lower_priority

Pixels = NDArray[np.uint8]

CHECKS_PER_TIMEOUT = 10
EXPENSIVE_SECONDS = 0.1
"""Photos with a higher estimate share half of the threads, so that the others always find one that is free soon."""
STUCK_TIMEOUTS = 6
"""Threads count as stuck after this many timeouts: on an overloaded machine a photo may just wait for a core."""

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class DecodeJob:
    """A photo to decode, and who waits for its pixels.

    Args:
        decode: Returns the pixels, or raises ExpensivePhotoError if that would take more than the given seconds.
        caller: Callers are served round robin.
        on_decoded: Called with the pixels, in the thread that decoded them.
        on_failed: Called with the error in the event loop. For each job, one of the two is called once, unless it is
            discarded.
    """

    decode: Callable[[float], Pixels] | None
    caller: Hashable
    on_decoded: Callable[[Pixels], object]
    on_failed: Callable[[Exception], None]
    started_at: float = 0.0
    waits: bool = False
    """Whether it is in a queue."""
    is_expensive: bool = False
    is_done: bool = False
    """Whether its outcome is known, or does not matter anymore: it was discarded, or took too long."""


class DecoderPool:
    """Threads that decode the photos of all models, and serve callers round robin. Create it in a running event loop.

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
        self._check: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        # A wake-up for each idle thread that should look again. Unlike a Condition, it takes the lock from nobody.
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()
        # The lock guards what follows, and the state of the jobs.
        self._lock = threading.Lock()
        self._sleeping = 0  # threads that wait for a wake-up, less those under way
        self._queue: FairQueue[DecodeJob] = FairQueue()
        self._expensive: FairQueue[DecodeJob] = FairQueue()
        self._running: set[DecodeJob] = set()
        self._expensive_next = False
        self._closed = False
        for number in range(threads):
            # Not a thread that Python joins at exit: it may be stuck in a photo.
            threading.Thread(target=self._work, name=f"decode_{number}", daemon=True).start()

    def submit(self, job: DecodeJob) -> None:
        """Queue a photo, in the event loop. Its error is PHOTO_DECODE_TIMEOUT, or what `decode` raises."""
        if self._check is None:
            self._check = self._loop.call_later(self._timeout / CHECKS_PER_TIMEOUT, self._check_timeouts)
        with self._lock:
            job.waits = True
            self._queue.push(job.caller, job)
            self._wake()

    def discard(self, job: DecodeJob) -> None:
        """Drop a photo whose caller has left: it costs nothing if it still waits."""
        with self._lock:
            job.is_done = True
            if job.waits:
                job.waits = False
                (self._expensive if job.is_expensive else self._queue).remove(job.caller, job)

    def close(self) -> None:
        """Stop; drop what has not started."""
        if self._check is not None:
            self._check.cancel()
        with self._lock:
            self._closed = True
            for job in (*self._queue.clear(), *self._expensive.clear()):
                job.waits = False
            for _ in range(self._threads):
                self._wake()

    # In the threads

    def _work(self) -> None:
        lower_priority()
        while (job := self._take()) is not None:
            self._decode(job)
            del job  # this thread may wait long for the next one

    def _take(self) -> DecodeJob | None:
        """Wait for the next photo; None once the pool is closed."""
        while True:
            with self._lock:
                if self._closed:
                    return None
                job = self._next()
                if job is not None:
                    job.waits = False
                    job.started_at = time.perf_counter()
                    self._running.add(job)
                    return job
                self._sleeping += 1
            self._wakeups.get()

    def _wake(self) -> None:
        """Wake a thread, if any sleeps; called with the lock held."""
        if self._sleeping > 0:
            self._sleeping -= 1
            self._wakeups.put(None)

    def _next(self) -> DecodeJob | None:
        """Return the next photo that may start: cheap and expensive ones in turn."""
        running_expensive = sum(job.is_expensive for job in self._running)
        expensive = self._expensive if running_expensive < max(1, self._threads // 2) else None
        first, second = (expensive, self._queue) if self._expensive_next else (self._queue, expensive)
        queue = first or second  # an empty queue is false
        if not queue:
            return None
        self._expensive_next = queue is self._queue
        return queue.pop()

    def _decode(self, job: DecodeJob) -> None:
        pixels: Pixels | None = None
        failure: Exception | None = None
        decode, job.decode = job.decode, None
        assert decode is not None
        try:
            pixels = decode(math.inf if job.is_expensive else EXPENSIVE_SECONDS)
        except ExpensivePhotoError:
            job.decode = decode
        except Exception as error:
            failure = error
        del decode  # with the photo's content
        self._observe(time.perf_counter() - job.started_at)
        with self._lock:
            self._running.discard(job)
            is_dropped, starts_again = job.is_done, job.decode is not None
            if starts_again and not is_dropped and not self._closed:
                job.waits = job.is_expensive = True
                self._expensive.push(job.caller, job)
            else:
                job.is_done = True
            if self._expensive:
                self._wake()
        if is_dropped or starts_again:
            return
        if pixels is not None:
            job.on_decoded(pixels)
        elif failure is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(job.on_failed, failure)

    # In the event loop

    def _check_timeouts(self) -> None:
        now = time.perf_counter()
        with self._lock:
            late = [job for job in self._running if now - job.started_at > self._timeout]
            newly_late = [job for job in late if not job.is_done]
            for job in newly_late:
                job.is_done = True
        for job in newly_late:
            log.warning("decode_timeout", seconds=round(now - job.started_at, 1), late=len(late))
            job.on_failed(decode_timed_out(self._timeout))
        self._set_available(len(late) < self._threads)
        stuck = [job for job in late if now - job.started_at > STUCK_TIMEOUTS * self._timeout]
        if len(stuck) == self._threads:
            log.error("decoders_stuck", threads=self._threads)
            self._on_stuck()
            return
        self._check = self._loop.call_later(self._timeout / CHECKS_PER_TIMEOUT, self._check_timeouts)

    def _set_available(self, available: bool) -> None:
        if available == self._available:
            return
        self._available = available
        if available:
            log.info("decoders_available")
        else:
            log.warning("decoders_unavailable", threads=self._threads)
        self._on_available(available)
