"""Gather what many callers ask for into batches for one device.

Event-driven: the device takes a batch as soon as it is idle and something waits. While it runs, the next batch
gathers, so batches grow with the load by themselves. `max_delay` makes an idle device wait for company.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from planespotter_server.refusals import Refusal, shutting_down

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(eq=False)
class _Entry(Generic[Item, Outcome]):
    item: Item
    outcome: asyncio.Future[Outcome]
    deadline: float | None
    arrived: float


class Batcher(Generic[Item, Outcome]):
    """Runs `run` on batches of at most `max_batch` items, one batch at a time, in a thread of its own.

    `run` returns one outcome for each item, in their order. If it raises, each item of the batch is tried alone, so
    that one bad item cannot fail its neighbours. Times are those of the event loop's clock, in seconds. How
    much may wait is bounded before items come here (see room.py). Make it inside a running event loop.
    """

    def __init__(
        self, run: Callable[[Sequence[Item]], Sequence[Outcome]], max_batch: int, max_delay: float = 0.0
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_delay = max_delay
        self._queues: OrderedDict[Hashable, deque[_Entry[Item, Outcome]]] = OrderedDict()
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._start()

    async def submit(self, item: Item, caller: Hashable, deadline: float | None = None) -> Outcome:
        """Return the outcome of `item`.

        Callers take turns, so one that submits many items does not hold up the others. If the caller is cancelled
        before the device takes the item, or its deadline passes (Refusal DEADLINE_IN_QUEUE), the device never sees it.
        """
        if self._worker.done():
            raise shutting_down()
        entry: _Entry[Item, Outcome] = _Entry(item, self._loop.create_future(), deadline, self._loop.time())
        self._queues.setdefault(caller, deque()).append(entry)
        self._arrived.set()
        return await entry.outcome

    async def close(self) -> None:
        """Stop. What still waits is refused; a batch on the device is not waited for."""
        self._worker.cancel()
        await asyncio.wait([self._worker])
        self._device.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        self._worker = self._loop.create_task(self._work())
        self._worker.add_done_callback(self._ended)

    def _ended(self, worker: asyncio.Task[None]) -> None:
        """Fail what waits: nobody would ever take it. Then, unless it was stopped, start a new worker."""
        error = None if worker.cancelled() else worker.exception()
        for queue in self._queues.values():
            for entry in queue:
                _fail(entry, error or shutting_down())
        self._queues.clear()
        if error is not None:
            self._arrived.clear()
            self._start()

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            if self._max_delay:
                await self._wait_for_company()
            batch = self._take()
            try:
                await self._finish(batch)
            except BaseException as error:
                for entry in batch:
                    _fail(entry, shutting_down() if isinstance(error, asyncio.CancelledError) else error)
                raise

    async def _wait_for_company(self) -> None:
        while self._queues and sum(map(len, self._queues.values())) < self._max_batch:
            oldest = min(queue[0].arrived for queue in self._queues.values())
            patience = oldest + self._max_delay - self._loop.time()
            if patience <= 0:
                return
            self._arrived.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _take(self) -> list[_Entry[Item, Outcome]]:
        """Take the next batch from the queues, one item of each caller in turn."""
        batch: list[_Entry[Item, Outcome]] = []
        while self._queues and len(batch) < self._max_batch:
            caller, queue = self._queues.popitem(last=False)
            entry = queue.popleft()
            if queue:
                self._queues[caller] = queue
            if self._is_wanted(entry):
                batch.append(entry)
        if not self._queues:
            self._arrived.clear()
        return batch

    def _is_wanted(self, entry: _Entry[Item, Outcome]) -> bool:
        if entry.outcome.done():
            return False
        waited = self._loop.time() - entry.arrived
        if entry.deadline is not None and entry.arrived + waited >= entry.deadline:
            _fail(
                entry,
                Refusal(
                    "DEADLINE_IN_QUEUE",
                    f"The photo waited {waited:.3f} s and its deadline passed before its turn came. Allow more time.",
                    metadata={"waited_seconds": f"{waited:.3f}"},
                ),
            )
            return False
        return True

    async def _finish(self, batch: Sequence[_Entry[Item, Outcome]]) -> None:
        if not batch:
            return
        try:
            outcomes = await self._loop.run_in_executor(self._device, self._run, [entry.item for entry in batch])
            pairs = list(zip(batch, outcomes, strict=True))
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0], error)
            else:
                for entry in batch:
                    if self._is_wanted(entry):
                        await self._finish([entry])
            return
        for entry, outcome in pairs:
            if not entry.outcome.done():
                entry.outcome.set_result(outcome)


def _fail(entry: _Entry[Item, Outcome], error: BaseException) -> None:
    if not entry.outcome.done():
        entry.outcome.set_exception(error)
        entry.outcome.exception()  # marks it as seen: the caller may leave before it looks
