"""Gather what many callers ask for into batches for one device.

Event-driven: the device takes a batch as soon as it is idle and something waits. While it runs, the next batch
gathers, so batches grow with the load by themselves. `max_delay` makes an idle device wait for company. With
`max_in_flight` above 1 a full batch is handed over while another still runs, so that a GPU copies the one while it
computes the other; a batch that is not full waits until the device is idle, where it may still grow.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from planespotter_server.rejections import RequestRejected, device_failed, shutting_down
from planespotter_server.serving.thread_priority import give_way

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

log = structlog.get_logger()


@dataclass
class Counters:
    """What became of the items of one batcher so far. `rows` is what the device was spent on."""

    batches: int = 0
    """Runs of the device, those that failed and those of single items included."""
    rows: int = 0
    """Items that the device was given, each as often as it was."""
    answered: int = 0
    failed: int = 0
    """Items with which the device failed, or that still waited when it was given up."""
    cancelled: int = 0
    """Items whose caller left before the device took them."""
    expired: int = 0
    """Items whose deadline passed before the device took them."""


class Watcher:
    """Hears what a batcher does as it does it; this one does not care."""

    def waited(self, seconds: float) -> None:
        """Take note that an item was given to the device after so long."""

    def ran(self, items: int, seconds: float) -> None:
        """Take note that the device worked on so many items for so long."""


@dataclass(eq=False)
class _Entry(Generic[Item, Outcome]):
    item: Item
    outcome: asyncio.Future[Outcome]
    deadline: float | None
    arrived: float
    on_taken: Callable[[], None]
    taken: bool = False


class Batcher(Generic[Item, Outcome]):
    """Runs `run` on batches of at most `max_batch` items, `max_in_flight` batches at a time, each in a thread.

    `run` returns one outcome for each item, in their order. If it raises, each item of the batch is tried alone, so
    that one bad item cannot fail its neighbours. After `max_failures` batches in a row of which not one item came
    through, or one that takes longer than `timeout`, the device counts as broken: `on_broken` is called once, and what
    waits and what comes is refused with DEVICE_FAILED.

    Times are those of the event loop's clock, in seconds. How much may wait is bounded before items come here (see
    room.py). Make it inside a running event loop.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Outcome]],
        max_batch: int,
        max_delay: float = 0.0,
        *,
        max_in_flight: int = 1,
        max_failures: int = 5,
        timeout: float | None = None,
        on_broken: Callable[[], None] = lambda: None,
        watcher: Watcher | None = None,
    ) -> None:
        self._watcher = watcher or Watcher()
        self.counters = Counters()
        self._run = run
        self._max_batch = max_batch
        self._max_delay = max_delay
        self._max_in_flight = max_in_flight
        self._max_failures = max_failures
        self._timeout = timeout
        self._on_broken = on_broken
        self._queues: OrderedDict[Hashable, deque[_Entry[Item, Outcome]]] = OrderedDict()
        self._waiting = 0
        self._in_flight: dict[asyncio.Task[None], list[_Entry[Item, Outcome]]] = {}
        self._failures = 0
        # The least time that the device ever took for so many items.
        self._quickest: dict[int, float] = {}
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._device = ThreadPoolExecutor(max_in_flight, thread_name_prefix="device", initializer=give_way)
        self._refusal: Callable[[], RequestRejected] | None = None
        self._start()

    @property
    def waiting(self) -> int:
        """How many items wait for the device."""
        return self._waiting

    async def submit(
        self,
        item: Item,
        caller: Hashable,
        deadline: float | None = None,
        on_taken: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Return the outcome of `item`. `on_taken` is called when the device takes it.

        Callers take turns, so one that submits many items does not hold up the others. If the caller is cancelled
        before the device takes the item, or its deadline is nearer than the device ever was quick (RequestRejected
        DEADLINE_EXCEEDED_IN_QUEUE), the device never sees it.
        """
        if self._refusal is not None:
            raise self._refusal()
        entry: _Entry[Item, Outcome] = _Entry(item, self._loop.create_future(), deadline, self._loop.time(), on_taken)
        self._queues.setdefault(caller, deque()).append(entry)
        self._waiting += 1
        self._changed.set()
        try:
            return await entry.outcome
        except asyncio.CancelledError:
            self._forget(caller, entry)
            raise

    async def close(self) -> None:
        """Stop. What still waits is refused; a batch on the device is not waited for."""
        self._refusal = self._refusal or shutting_down
        ending = [self._worker, *self._in_flight]
        for task in ending:
            task.cancel()
        await asyncio.wait(ending)
        self._device.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        self._worker = self._loop.create_task(self._work())
        self._worker.add_done_callback(self._ended)

    def _ended(self, worker: asyncio.Task[None]) -> None:
        """Fail what waits: nobody would ever take it. Then, unless it was stopped, start a new worker."""
        error = None if worker.cancelled() else worker.exception()
        self._fail_waiting(lambda: error or shutting_down())
        if error is not None:
            self._start()

    async def _work(self) -> None:
        while True:
            self._changed.clear()
            patience = self._patience()
            if patience is None or patience > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await self._changed.wait()
                continue
            batch = self._take()
            if batch:
                task = self._loop.create_task(self._finish(batch))
                self._in_flight[task] = batch
                task.add_done_callback(self._finished)

    def _patience(self) -> float | None:
        """Return how long to wait before the next batch goes to the device; None: until something changes."""
        if not self._waiting or len(self._in_flight) >= self._max_in_flight:
            return None
        if self._waiting >= self._max_batch:
            return 0.0
        if self._in_flight:
            return None
        if not self._max_delay:
            return 0.0
        oldest = min(queue[0].arrived for queue in self._queues.values())
        return max(0.0, oldest + self._max_delay - self._loop.time())

    def _take(self) -> list[_Entry[Item, Outcome]]:
        """Take the next batch from the queues, one item of each caller in turn."""
        batch: list[_Entry[Item, Outcome]] = []
        takes = self._quickest.get(min(self._waiting, self._max_batch), 0.0)
        while self._queues and len(batch) < self._max_batch:
            caller, queue = self._queues.popitem(last=False)
            entry = queue.popleft()
            if queue:
                self._queues[caller] = queue
            entry.taken = True
            self._waiting -= 1
            if self._is_wanted(entry, takes):
                batch.append(entry)
                entry.on_taken()
                self._watcher.waited(self._loop.time() - entry.arrived)
        return batch

    def _forget(self, caller: Hashable, entry: _Entry[Item, Outcome]) -> None:
        """Take the entry of a caller that left out of its queue."""
        if entry.taken:
            return
        entry.taken = True
        self.counters.cancelled += 1
        self._waiting -= 1
        queue = self._queues[caller]
        queue.remove(entry)
        if not queue:
            del self._queues[caller]

    def _is_wanted(self, entry: _Entry[Item, Outcome], takes: float = 0.0) -> bool:
        """Return whether `entry` is worth the `takes` seconds or more that its batch takes; tell its caller if not."""
        if entry.outcome.done():
            self.counters.cancelled += 1
            return False
        waited = self._loop.time() - entry.arrived
        if entry.deadline is not None and entry.arrived + waited + takes >= entry.deadline:
            self.counters.expired += 1
            _fail(
                entry,
                RequestRejected(
                    "DEADLINE_EXCEEDED_IN_QUEUE",
                    f"The photo waited {waited:.3f} s for its turn, and then it was too late for an answer before its "
                    "deadline. Allow more time.",
                    metadata={"waited_seconds": f"{waited:.3f}"},
                ),
            )
            return False
        return True

    async def _finish(self, batch: Sequence[_Entry[Item, Outcome]]) -> None:
        """Give every entry of `batch` its outcome, and judge the device by them."""
        error = await self._attempt(batch)
        came_through = error is None
        if error is not None and len(batch) == 1:
            self._fail(batch[0], error)
        elif error is not None:
            log.warning("batch_failed", photos=len(batch), error=type(error).__name__, then="each is tried alone")
            for entry in batch:
                if self._refusal is None and self._is_wanted(entry):
                    error = await self._attempt([entry])
                    if error is None:
                        came_through = True
                    else:
                        self._fail(entry, error)
        self._failures = 0 if came_through else self._failures + 1
        if self._failures >= self._max_failures:
            self._break()

    async def _attempt(self, entries: Sequence[_Entry[Item, Outcome]]) -> Exception | None:
        """Run the device on `entries`; return what went wrong, None if they have their outcomes."""
        self.counters.batches += 1
        self.counters.rows += len(entries)
        started = self._loop.time()
        running = self._loop.run_in_executor(self._device, self._run, [entry.item for entry in entries])
        finished, _ = await asyncio.wait([running], timeout=self._timeout)
        took = self._loop.time() - started
        self._watcher.ran(len(entries), took)
        self._quickest[len(entries)] = min(took, self._quickest.get(len(entries), took))
        if not finished:
            running.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody will look
            log.error("device_stuck", photos=len(entries), seconds=self._timeout)
            self._break()
            return device_failed()
        try:
            pairs = list(zip(entries, running.result(), strict=True))
        except Exception as error:
            return error
        for entry, outcome in pairs:
            if not entry.outcome.done():
                entry.outcome.set_result(outcome)
                self.counters.answered += 1
        return None

    def _finished(self, task: asyncio.Task[None]) -> None:
        """Leave no entry of a batch without an outcome, whatever ended its task, and let the next batch go."""
        batch = self._in_flight.pop(task)
        error = shutting_down() if task.cancelled() else task.exception()
        for entry in batch:
            self._fail(entry, error or (self._refusal or shutting_down)())
        self._changed.set()

    def _break(self) -> None:
        if self._refusal is None:
            self._refusal = device_failed
            self._fail_waiting(device_failed)
            self._on_broken()

    def _fail_waiting(self, error: Callable[[], BaseException]) -> None:
        for queue in self._queues.values():
            for entry in queue:
                entry.taken = True
                self._fail(entry, error())
        self._queues.clear()
        self._waiting = 0

    def _fail(self, entry: _Entry[Item, Outcome], error: BaseException) -> None:
        if not entry.outcome.done():
            self.counters.failed += 1
            _fail(entry, error)


def _fail(entry: _Entry[Item, Outcome], error: BaseException) -> None:
    if not entry.outcome.done():
        entry.outcome.set_exception(error)
        entry.outcome.exception()  # marks it as seen: the caller may leave before it looks
