"""Fair semaphore: limit concurrency, and serve waiting callers round robin."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from planespotter_server.serving.fair_queue import FairQueue


class FairSemaphore:
    """A semaphore whose waiters are served round robin over callers.

    Args:
        permits: Maximum number of holders at a time.
    """

    def __init__(self, permits: int) -> None:
        self._free = permits
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()

    @asynccontextmanager
    async def acquire(self, caller: Hashable) -> AsyncIterator[None]:
        """Wait for a permit for `caller`, and hold it while the block runs."""
        if self._free:
            self._free -= 1
        else:
            granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.push(caller, granted)
            try:
                await granted
            except asyncio.CancelledError:
                if granted.done() and not granted.cancelled():
                    self._release()  # granted in the same iteration of the event loop
                raise
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        while self._waiting:
            granted = self._waiting.pop()
            if not granted.done():
                granted.set_result(None)
                return
        self._free += 1
