"""Dynamic batching: gather items of many callers into batches for one device.

Event-driven, without a fixed delay: an idle device takes a batch as soon as an item waits, and while it runs, the next
batch gathers, so that batches grow with the load. `max_delay` makes an idle device wait for a batch to fill. With
`max_in_flight` above 1, a full batch is submitted while another still runs, so that a GPU copies one while it computes
the other; a batch that is not full waits until the device is idle, and may still grow.
"""

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from planespotter_server.rejections import RequestRejected, device_failed, shutting_down
from planespotter_server.serving.fair_queue import FairQueue
from planespotter_server.serving.thread_priority import lower_priority

Item = TypeVar("Item")
Result = TypeVar("Result")

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
    """Observes the batches of a batcher; this base class ignores them."""

    def observe_queue_wait(self, seconds: float) -> None:
        """Record how long an item waited for the device."""

    def observe_batch(self, size: int, seconds: float) -> None:
        """Record that the device ran a batch of `size` items for `seconds`."""


@dataclass(eq=False)
class _Entry(Generic[Item, Result]):
    item: Item
    result: asyncio.Future[Result]
    deadline: float | None
    enqueued_at: float
    on_dequeue: Callable[[], None]
    dequeued: bool = False


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
        on_device_failed: Called once when the device counts as failed.
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
        self._max_in_flight = max_in_flight
        self._max_consecutive_failures = max_consecutive_failures
        self._timeout = timeout
        self._on_device_failed = on_device_failed
        self._queue: FairQueue[_Entry[Item, Result]] = FairQueue()
        self._in_flight: dict[asyncio.Task[None], list[_Entry[Item, Result]]] = {}
        self._consecutive_failures = 0
        self._min_duration: dict[int, float] = {}  # shortest run so far, by batch size
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._device = ThreadPoolExecutor(max_in_flight, thread_name_prefix="device", initializer=lower_priority)
        self._rejection: Callable[[], RequestRejected] | None = None
        self._start()

    @property
    def queue_depth(self) -> int:
        """Number of items that wait for the device."""
        return len(self._queue)

    async def submit(
        self,
        item: Item,
        caller: Hashable,
        deadline: float | None = None,
        on_dequeue: Callable[[], None] = lambda: None,
    ) -> Result:
        """Run the function on `item`, in a batch with items of other callers.

        The device never sees an item whose caller cancels before its batch starts, nor one whose deadline would pass
        even if the batch were as fast as the fastest so far.

        Args:
            item: Argument of the function.
            caller: Callers are served round robin, so that many items of one do not delay another.
            deadline: Time on the clock of the event loop; None for no deadline.
            on_dequeue: Called when the device takes the item.

        Raises:
            RequestRejected: DEADLINE_EXCEEDED_IN_QUEUE, DEVICE_FAILED or SHUTTING_DOWN.
        """
        if self._rejection is not None:
            raise self._rejection()
        entry: _Entry[Item, Result] = _Entry(item, self._loop.create_future(), deadline, self._loop.time(), on_dequeue)
        self._queue.push(caller, entry)
        self._changed.set()
        try:
            return await entry.result
        except asyncio.CancelledError:
            self._discard(caller, entry)
            raise

    async def close(self) -> None:
        """Stop: reject waiting items, and do not wait for batches on the device."""
        self._rejection = self._rejection or shutting_down
        tasks = [self._worker, *self._in_flight]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self._device.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        self._worker = self._loop.create_task(self._work())
        self._worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        """Fail waiting items, which no worker would take; replace a worker that crashed."""
        error = None if worker.cancelled() else worker.exception()
        self._fail_waiting(lambda: error or shutting_down())
        if error is not None:
            self._start()

    async def _work(self) -> None:
        while True:
            self._changed.clear()
            delay = self._delay()
            if delay is None or delay > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._changed.wait()
                continue
            batch = self._take()
            if batch:
                task = self._loop.create_task(self._process(batch))
                self._in_flight[task] = batch
                task.add_done_callback(self._batch_ended)

    def _delay(self) -> float | None:
        """Return the seconds until the next batch starts; None for "when something changes"."""
        if not self._queue or len(self._in_flight) >= self._max_in_flight:
            return None
        if len(self._queue) >= self._max_batch:
            return 0.0
        if self._in_flight:
            return None
        if not self._max_delay:
            return 0.0
        oldest = min(entry.enqueued_at for entry in self._queue.oldest_of_each_caller())
        return max(0.0, oldest + self._max_delay - self._loop.time())

    def _take(self) -> list[_Entry[Item, Result]]:
        """Take the next batch from the queue."""
        batch: list[_Entry[Item, Result]] = []
        min_duration = self._min_duration.get(min(len(self._queue), self._max_batch), 0.0)
        while self._queue and len(batch) < self._max_batch:
            entry = self._queue.pop()
            entry.dequeued = True
            if self._is_live(entry, min_duration):
                batch.append(entry)
                entry.on_dequeue()
                self._observer.observe_queue_wait(self._loop.time() - entry.enqueued_at)
        return batch

    def _discard(self, caller: Hashable, entry: _Entry[Item, Result]) -> None:
        """Remove the entry of a cancelled caller, unless the device has it already."""
        if not entry.dequeued:
            entry.dequeued = True
            self.counters.cancelled += 1
            self._queue.remove(caller, entry)

    def _is_live(self, entry: _Entry[Item, Result], min_duration: float = 0.0) -> bool:
        """Return whether `entry` can still finish in time if its batch takes `min_duration`; reject it if not."""
        if entry.result.done():
            self.counters.cancelled += 1
            return False
        now = self._loop.time()
        if entry.deadline is not None and now + min_duration >= entry.deadline:
            self.counters.expired += 1
            waited = now - entry.enqueued_at
            _set_exception(
                entry,
                RequestRejected(
                    "DEADLINE_EXCEEDED_IN_QUEUE",
                    f"The deadline is too short: after {waited:.3f} s in the queue, no time is left for inference. "
                    "Allow more time.",
                    metadata={"waited_seconds": f"{waited:.3f}"},
                ),
            )
            return False
        return True

    async def _process(self, batch: Sequence[_Entry[Item, Result]]) -> None:
        """Give every entry of `batch` its result, and update the health of the device."""
        error = await self._attempt(batch)
        succeeded = error is None
        if error is not None and len(batch) == 1:
            self._fail(batch[0], error)
        elif error is not None:
            log.warning("batch_failed", photos=len(batch), error=type(error).__name__, then="retry each photo alone")
            for entry in batch:
                if self._rejection is None and self._is_live(entry):
                    error = await self._attempt([entry])
                    if error is None:
                        succeeded = True
                    else:
                        self._fail(entry, error)
        self._consecutive_failures = 0 if succeeded else self._consecutive_failures + 1
        if self._consecutive_failures >= self._max_consecutive_failures:
            self._fail_device()

    async def _attempt(self, entries: Sequence[_Entry[Item, Result]]) -> Exception | None:
        """Run the device on `entries`; return the error, or None if they have their results."""
        self.counters.batches += 1
        self.counters.examples += len(entries)
        started = self._loop.time()
        running = self._loop.run_in_executor(self._device, self._run, [entry.item for entry in entries])
        finished, _ = await asyncio.wait([running], timeout=self._timeout)
        duration = self._loop.time() - started
        self._observer.observe_batch(len(entries), duration)
        self._min_duration[len(entries)] = min(duration, self._min_duration.get(len(entries), duration))
        if not finished:
            running.add_done_callback(lambda late: late.cancelled() or late.exception())  # marks it as retrieved
            log.error("inference_timeout", photos=len(entries), timeout_seconds=self._timeout)
            self._fail_device()
            return device_failed()
        try:
            pairs = list(zip(entries, running.result(), strict=True))
        except Exception as error:
            return error
        for entry, result in pairs:
            if not entry.result.done():
                entry.result.set_result(result)
                self.counters.succeeded += 1
        return None

    def _batch_ended(self, task: asyncio.Task[None]) -> None:
        """Fail entries that have no result, however the task of their batch ended, and start the next batch."""
        batch = self._in_flight.pop(task)
        error = shutting_down() if task.cancelled() else task.exception()
        for entry in batch:
            self._fail(entry, error or (self._rejection or shutting_down)())
        self._changed.set()

    def _fail_device(self) -> None:
        if self._rejection is None:
            self._rejection = device_failed
            self._fail_waiting(device_failed)
            self._on_device_failed()

    def _fail_waiting(self, error: Callable[[], BaseException]) -> None:
        for entry in self._queue.clear():
            entry.dequeued = True
            self._fail(entry, error())

    def _fail(self, entry: _Entry[Item, Result], error: BaseException) -> None:
        if not entry.result.done():
            self.counters.failed += 1
            _set_exception(entry, error)


def _set_exception(entry: _Entry[Item, Result], error: BaseException) -> None:
    if not entry.result.done():
        entry.result.set_exception(error)
        entry.result.exception()  # marks it as retrieved: the caller may leave before it looks
