"""Heat maps (Grad-CAM): compute where the network looked, for the few requests that ask."""

import asyncio
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray

from planespotter_models import Bundle, Label
from planespotter_server.rejections import RequestRejected, heat_map_timed_out
from planespotter_server.serving.fair_semaphore import FairSemaphore
from planespotter_server.serving.thread_priority import lower_priority

if TYPE_CHECKING:
    from planespotter_models.engines.explainer import HeatMapExplainer

# For one heat map. It takes a fraction of a second, the first one with its compilation up to tens of seconds.
MAX_SECONDS = 60.0

log = structlog.get_logger()


class HeatMaps:
    """Runs the heat map function of `bundle`, one photo at a time, next to the batches; callers are served round robin.

    It loads lazily on the first request, which takes a second or more: most servers never need it. If loading fails, it
    is not retried, as neither the bundle nor the machine changes. A heat map that exceeds the time limit cannot be
    stopped: requests are rejected until it ends, so that it occupies one core at most.

    Args:
        bundle: Bundle with a heat map function.
        cache: Folder for what JAX compiles; None for the user's cache.
        max_seconds: Time limit of one heat map.
    """

    def __init__(self, bundle: Bundle, cache: Path | None, max_seconds: float = MAX_SECONDS) -> None:
        self._bundle = bundle
        self._cache = cache
        self._explainer: HeatMapExplainer | None = None
        self._failed = False
        self._max_seconds = max_seconds
        self._running: asyncio.Future[NDArray[np.uint8] | None] | None = None
        self._is_late = False  # the running one
        self._semaphore = FairSemaphore(1)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="heat-map", initializer=lower_priority)

    async def compute(self, pixels: NDArray[np.uint8], leaf: Label, caller: Hashable) -> NDArray[np.uint8]:
        """Compute the heat map of one photo.

        Args:
            pixels: uint8 [height, width, 3].
            leaf: The label whose evidence is shown.
            caller: Callers are served round robin.

        Returns:
            uint8 [rows, columns].

        Raises:
            RequestRejected: HEAT_MAP_TIMEOUT; INTERNAL, if the function does not load.
        """
        async with self._semaphore.acquire(caller):
            if self._failed:
                raise self._failure()
            heat_map = await self._run_in_time(pixels, leaf)
        if heat_map is None:
            raise self._failure()
        return heat_map

    async def _run_in_time(self, pixels: NDArray[np.uint8], leaf: Label) -> NDArray[np.uint8] | None:
        """Run the function in its thread, unless an earlier run has not ended yet."""
        if self._running is not None and not self._running.done():
            # Its caller has left, or it has exceeded the limit.
            await asyncio.wait([self._running], timeout=0 if self._is_late else self._max_seconds)
            if not self._running.done():
                raise self._timeout()
        self._is_late = False
        self._running = asyncio.get_running_loop().run_in_executor(self._pool, self._run, pixels, leaf)
        await asyncio.wait([self._running], timeout=self._max_seconds)
        if not self._running.done():
            raise self._timeout()
        return self._running.result()

    def close(self) -> None:
        """Stop; cancel what has not started."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, pixels: NDArray[np.uint8], leaf: Label) -> NDArray[np.uint8] | None:
        """Return the heat map; None if the function does not load."""
        if self._explainer is None and not self._failed:
            try:
                from planespotter_models.engines.explainer import HeatMapExplainer  # imports JAX

                self._explainer = HeatMapExplainer(self._bundle, self._cache)
            except Exception as error:  # of any kind: it would be the same the next time
                self._failed = True
                log.error("heat_map_load_failed", model=self._bundle.name, version=self._bundle.version, exc_info=error)
        return None if self._explainer is None else self._explainer.run(pixels, leaf)

    def _timeout(self) -> RequestRejected:
        if not self._is_late:
            self._is_late = True
            log.warning("heat_map_timeout", model=self._bundle.name, version=self._bundle.version)
        return heat_map_timed_out(self._max_seconds)

    def _failure(self) -> RequestRejected:
        name, version = self._bundle.name, self._bundle.version
        log.error("heat_map_failed", model=name, version=version)
        return RequestRejected(
            "INTERNAL",
            f"The heat map function of the model {name} {version} does not run on this server; its log has the "
            "details. Omit heat_map.",
        )
