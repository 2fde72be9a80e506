"""Dynamic batching: gather items of many callers into batches for one device.

Event-driven, without a fixed delay: an idle device takes a batch as soon as an item waits, and while it runs, the next
batch gathers, so that batches grow with the load. `max_delay` makes an idle device wait for a batch to fill. With
`max_in_flight` above 1, a full batch is submitted while another still runs, so that a GPU copies one while it computes
the other; a batch that is not full waits until the device is idle, and may still grow.

Items come from the thread that prepared them and go to a thread of the device: the event loop is woken once per batch,
with all of its results.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from planespotter_server.rejections import RequestRejected, device_failed, shutting_down
from planespotter_server.serving.fair_queue import FairQueue
from planespotter_server.serving.thread_priority import lower_priority

Item = TypeVar("Item")
Result = TypeVar("Result")

CHECKS_PER_TIMEOUT = 10

log = structlog.get_logger()


@dataclass
class Counters:
    """What a batcher has done so far. `examples` is what the device spent its time on."""

    batches: int = 0
    """Runs of the device, including failed ones and those of single items."""
    examples: int = 0
    """Items that were passed to the device, each as often as it was."""
    succeeded: int = 0
    failed: int = 0
    """Items that the device failed on, or that were waiting when it failed."""
    cancelled: int = 0
    """Items whose caller cancelled before the device took them."""
    expired: int = 0
    """Items whose deadline passed before the device took them."""


class BatchObserver:
    """Observes the batches of a batcher, in its threads; this base class ignores them."""

    def observe_queue_wait(self, seconds: float) -> None:
        """Record how long an item waited for the device."""

    def observe_batch(self, size: int, seconds: float) -> None:
        """Record that the device ran a batch of `size` items for `seconds`."""


@dataclass(eq=False, slots=True)
class Entry(Generic[Item, Result]):
    """An item, and who waits for its result.

    Args:
        item: Argument of the function.
        caller: Callers are served round robin, so that many items of one do not delay another.
        deadline: Time of `time.monotonic`, which is the clock of the event loop too; None for no deadline.
        on_result: Called once in the event loop, with the result or the error, unless the entry is discarded.
        on_dequeue: Called in a thread of the device when it takes the item.
    """

    item: Item
    caller: Hashable
    deadline: float | None
    on_result: Callable[[Result | None, Exception | None], None]
    on_dequeue: Callable[[], None] | None = None
    enqueued_at: float = 0.0
    waits: bool = False
    """Whether it is in the queue."""
    is_done: bool = False
    """Whether `on_result` has been called, or never will be. Changes only in the event loop."""


class Batcher(Generic[Item, Result]):
    """Runs a function on batches of items, in a thread per batch in flight. Create it inside a running event loop.

    Every item gets exactly one result or exception. If the function raises, each item of the batch is retried alone, so
    that a bad item fails without its neighbours. The device counts as failed after `max_consecutive_failures` batches
    without a single success, or once a batch exceeds `timeout`; waiting and further items are then rejected with
    DEVICE_FAILED. Admission control bounds how many items wait here.

    Args:
        run: Returns one result per item, in order.
        max_batch: Maximum number of items per batch.
        max_delay: Maximum time that an idle device waits for a batch to fill, in seconds.
        max_in_flight: Maximum number of batches on the device at a time.
        max_consecutive_failures: Batches without a success after which the device counts as failed.
        timeout: Maximum duration of a batch, in seconds; None for no limit.
        on_device_failed: Called once in the event loop when the device counts as failed.
        observer: Is notified of queue waits and batches.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        max_batch: int,
        max_delay: float = 0.0,
        *,
        max_in_flight: int = 1,
        max_consecutive_failures: int = 5,
        timeout: float | None = None,
        on_device_failed: Callable[[], None] = lambda: None,
        observer: BatchObserver | None = None,
    ) -> None:
        self._observer = observer or BatchObserver()
        self.counters = Counters()
        self._run = run
        self._max_batch = max_batch
        self._max_delay = max_delay
        self._max_consecutive_failures = max_consecutive_failures
        self._timeout = timeout
        self._on_device_failed = on_device_failed
        self._loop = asyncio.get_running_loop()
        # A wake-up for each waiting thread that should look again. Unlike a Condition, it takes the lock from nobody.
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()
        # The lock guards what follows, and the counters up to the device.
        self._lock = threading.Lock()
        self._sleeping = 0  # threads that wait for a wake-up, less those under way
        self._queue: FairQueue[Entry[Item, Result]] = FairQueue()
        self._in_flight: dict[int, tuple[float, list[Entry[Item, Result]]]] = {}  # start and entries, by thread
        self._is_filling = False
        self._consecutive_failures = 0
        self._min_duration: dict[int, float] = {}  # shortest run so far, by batch size
        self._rejection: Callable[[], RequestRejected] | None = None
        self._check: asyncio.TimerHandle | None = None
        if timeout is not None:
            self._check = self._loop.call_later(timeout / CHECKS_PER_TIMEOUT, self._check_timeout, timeout)
        for number in range(max_in_flight):
            # Not a thread that Python joins at exit: it may be stuck in the device.
            threading.Thread(target=self._work, name=f"device_{number}", daemon=True).start()

    @property
    def queue_depth(self) -> int:
        """Number of items that wait for the device."""
        return len(self._queue)

    def push(self, entry: Entry[Item, Result]) -> None:
        """Queue an entry, from any thread.

        The device never sees an entry that is discarded before its batch starts, nor one whose deadline would pass even
        if the batch were as fast as the fastest so far. Its errors are RequestRejected with DEADLINE_EXCEEDED_IN_QUEUE,
        DEVICE_FAILED or SHUTTING_DOWN, and what the function raises.
        """
        with self._lock:
            rejection = self._rejection
            if rejection is None:
                entry.enqueued_at = time.monotonic()
                entry.waits = True
                self._queue.push(entry.caller, entry)
                # Otherwise the next batch starts when one ends, or when the delay does.
                if len(self._queue) >= self._max_batch or not (self._in_flight or self._is_filling):
                    self._wake()
        if rejection is not None:
            self._post(self._fail, [entry], rejection())

    def discard(self, entry: Entry[Item, Result]) -> None:
        """Drop an entry whose caller has cancelled, in the event loop; without effect if it is done."""
        entry.is_done = True
        with self._lock:
            if entry.waits:
                entry.waits = False
                self._queue.remove(entry.caller, entry)
                self.counters.cancelled += 1

    async def submit(self, item: Item, caller: Hashable, deadline: float | None = None) -> Result:
        """Queue an item and return its result; see `push` for what it raises."""
        future: asyncio.Future[Result] = self._loop.create_future()

        def resolve(result: Result | None, error: Exception | None) -> None:
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]
            else:
                future.set_exception(error)

        entry = Entry[Item, Result](item, caller, deadline, resolve)
        self.push(entry)
        try:
            return await future
        except asyncio.CancelledError:
            self.discard(entry)
            raise

    def close(self) -> None:
        """Stop: reject waiting items and those on the device, and do not wait for it."""
        if self._check is not None:
            self._check.cancel()
        with self._lock:
            self._rejection = self._rejection or shutting_down
            entries = self._clear()
            for _, batch in self._in_flight.values():
                entries += batch
            self._wake_all()
        self._fail(entries, shutting_down())

    # In the threads of the device

    def _work(self) -> None:
        lower_priority()
        while True:
            try:
                batch = self._next_batch()
                if batch is None:
                    return
                self._process(batch)
                del batch  # this thread may wait long for the next one
            except Exception as error:  # a bug: those who wait must learn of it
                log.error("unhandled_exception", exc_info=error)
                with self._lock:
                    entries = self._clear() + self._in_flight.get(threading.get_ident(), (0.0, []))[1]
                self._post(self._fail, entries, error)
            finally:
                with self._lock:
                    self._in_flight.pop(threading.get_ident(), None)

    def _next_batch(self) -> list[Entry[Item, Result]] | None:
        """Wait for the next batch and take it; None once the batcher is closed or has failed."""
        while True:
            with self._lock:
                if self._rejection is not None:
                    return None
                delay = self._delay()
                if delay is not None and delay <= 0:
                    batch = self._take()
                    if batch:
                        self._in_flight[threading.get_ident()] = time.monotonic(), batch
                        return batch
                    continue
                self._sleeping += 1
                self._is_filling = delay is not None
            with contextlib.suppress(queue.Empty):
                self._wakeups.get(timeout=delay)
                continue
            with self._lock:  # nobody has woken this thread: its delay is over
                self._is_filling = False
                self._sleeping -= 1

    def _wake(self) -> None:
        """Wake a thread, if any sleeps; called with the lock held."""
        if self._sleeping > 0:
            self._sleeping -= 1
            self._is_filling = False
            self._wakeups.put(None)

    def _wake_all(self) -> None:
        while self._sleeping > 0:
            self._wake()

    def _delay(self) -> float | None:
        """Return the seconds until the next batch starts; None for "when something changes"."""
        if not self._queue:
            return None
        if len(self._queue) >= self._max_batch:
            return 0.0
        if self._in_flight:
            return None
        if not self._max_delay:
            return 0.0
        oldest = min(entry.enqueued_at for entry in self._queue.oldest_of_each_caller())
        return max(0.0, oldest + self._max_delay - time.monotonic())

    def _take(self) -> list[Entry[Item, Result]]:
        """Take the next batch from the queue."""
        batch: list[Entry[Item, Result]] = []
        min_duration = self._min_duration.get(min(len(self._queue), self._max_batch), 0.0)
        now = time.monotonic()
        while self._queue and len(batch) < self._max_batch:
            entry = self._queue.pop()
            entry.waits = False
            if not self._is_live(entry, now, min_duration):
                continue
            batch.append(entry)
        return batch

    def _is_live(self, entry: Entry[Item, Result], now: float, min_duration: float = 0.0) -> bool:
        """Return whether `entry` can still finish in time if its batch takes `min_duration`; reject it if not."""
        if entry.is_done:
            self.counters.cancelled += 1
            return False
        if entry.deadline is None or now + min_duration < entry.deadline:
            return True
        self._post(self._expire, entry, now - entry.enqueued_at)
        return False

    def _process(self, batch: list[Entry[Item, Result]]) -> None:
        """Give every entry of `batch` its result, and update the health of the device."""
        now = time.monotonic()
        for entry in batch:
            self._observer.observe_queue_wait(now - entry.enqueued_at)
            if entry.on_dequeue is not None:
                entry.on_dequeue()
        error = self._attempt(batch)
        succeeded = error is None
        if error is not None and len(batch) == 1:
            self._post(self._fail, batch, error)
        elif error is not None:
            log.warning("batch_failed", photos=len(batch), error=type(error).__name__, then="retry each photo alone")
            for entry in batch:
                if self._rejection is not None:
                    break
                with self._lock:
                    live = self._is_live(entry, time.monotonic())
                if live:
                    error = self._attempt([entry])
                    if error is None:
                        succeeded = True
                    else:
                        self._post(self._fail, [entry], error)
            self._post(self._fail, batch, (self._rejection or shutting_down)())
        with self._lock:
            self._consecutive_failures = 0 if succeeded else self._consecutive_failures + 1
            failed = self._consecutive_failures >= self._max_consecutive_failures
        if failed:
            self._fail_device()

    def _attempt(self, entries: list[Entry[Item, Result]]) -> Exception | None:
        """Run the device on `entries`; return the error, or None if they get their results."""
        started = time.monotonic()
        with self._lock:
            self.counters.batches += 1
            self.counters.examples += len(entries)
            self._in_flight[threading.get_ident()] = started, entries
        try:
            results = self._run([entry.item for entry in entries])
        except Exception as error:
            return error
        finally:
            duration = time.monotonic() - started
            self._observer.observe_batch(len(entries), duration)
            with self._lock:
                self._min_duration[len(entries)] = min(duration, self._min_duration.get(len(entries), duration))
        if len(results) != len(entries):
            return ValueError(f"The device was given {len(entries)} items, and its results are {len(results)}.")
        self._post(self._succeed, entries, results)
        return None

    def _fail_device(self) -> None:
        """Reject waiting and further items with DEVICE_FAILED, from any thread."""
        with self._lock:
            if self._rejection is not None:
                return
            self._rejection = device_failed
            waiting = self._clear()
            self._wake_all()
        self._post(self._fail, waiting, device_failed())
        self._post(self._on_device_failed)

    def _clear(self) -> list[Entry[Item, Result]]:
        entries = self._queue.clear()
        for entry in entries:
            entry.waits = False
        return entries

    def _post(self, function: Callable[..., None], *arguments: object) -> None:
        """Call `function` in the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(function, *arguments)

    # In the event loop

    def _succeed(self, entries: Sequence[Entry[Item, Result]], results: Sequence[Result]) -> None:
        for entry, result in zip(entries, results, strict=True):
            self.counters.succeeded += _resolve(entry, result, None)

    def _fail(self, entries: Sequence[Entry[Item, Result]], error: Exception) -> None:
        for entry in entries:
            self.counters.failed += _resolve(entry, None, error)

    def _expire(self, entry: Entry[Item, Result], waited: float) -> None:
        self.counters.expired += _resolve(
            entry,
            None,
            RequestRejected(
                "DEADLINE_EXCEEDED_IN_QUEUE",
                f"The deadline is too short: after {waited:.3f} s in the queue, no time is left for inference. "
                "Allow more time.",
                metadata={"waited_seconds": f"{waited:.3f}"},
            ),
        )

    def _check_timeout(self, timeout: float) -> None:
        """Fail the device if a batch takes too long."""
        now = time.monotonic()
        with self._lock:
            late = [entries for started, entries in self._in_flight.values() if now - started > timeout]
        for entries in late:
            log.error("inference_timeout", photos=len(entries), timeout_seconds=timeout)
            self._fail_device()
            self._fail(entries, device_failed())
        if not late:
            self._check = self._loop.call_later(timeout / CHECKS_PER_TIMEOUT, self._check_timeout, timeout)


def _resolve(entry: Entry[Item, Result], result: Result | None, error: Exception | None) -> bool:
    """Give an entry its outcome; return whether it had none."""
    if entry.is_done:
        return False
    entry.is_done = True
    try:
        entry.on_result(result, error)
    except Exception as bug:  # of one caller, who must not take the results of the others
        log.error("unhandled_exception", exc_info=bug)
    return True
