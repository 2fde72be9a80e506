"""Tell where the network looked, for the few photos of which somebody asks that."""

import asyncio
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray

from planespotter_models import Bundle, Label
from planespotter_server.rejections import RequestRejected
from planespotter_server.rpc.call_context import request_id
from planespotter_server.serving.fair_semaphore import Turns
from planespotter_server.serving.thread_priority import give_way

if TYPE_CHECKING:
    from planespotter_models.engines.explainer import HeatMapExplainer

log = structlog.get_logger()


class Explaining:
    """Runs the second function of `bundle`, one photo at a time and beside the batches; callers take turns at it.

    It is loaded when it is first asked for, which takes a second or more: most servers never are. One that does not
    load is not tried again, as neither the bundle nor the machine changes.
    """

    def __init__(self, bundle: Bundle, cache: Path | None) -> None:
        self._bundle = bundle
        self._cache = cache
        self._explainer: HeatMapExplainer | None = None
        self._failed = False
        self._turns = Turns(1)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explain", initializer=give_way)

    async def heat(self, pixels: NDArray[np.uint8], leaf: Label, caller: Hashable) -> NDArray[np.uint8]:
        """Return where the network looked in `pixels` [height, width, 3] for `leaf`: uint8 [rows, columns].

        Raises RequestRejected INTERNAL where the function does not load.
        """
        async with self._turns.take(caller):
            heat = None
            if not self._failed:
                heat = await asyncio.get_running_loop().run_in_executor(self._pool, self._run, pixels, leaf)
        if heat is None:
            raise self._refusal()
        return heat

    def close(self) -> None:
        """Stop; what has not begun is cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, pixels: NDArray[np.uint8], leaf: Label) -> NDArray[np.uint8] | None:
        """Return the map; None if the function does not load."""
        if self._explainer is None and not self._failed:
            try:
                from planespotter_models.engines.explainer import HeatMapExplainer  # which brings JAX

                self._explainer = HeatMapExplainer(self._bundle, self._cache)
            except Exception as error:  # whatever it is, it would be the same the next time
                self._failed = True
                log.error("explain_unusable", model=self._bundle.name, version=self._bundle.version, exc_info=error)
        return None if self._explainer is None else self._explainer.run(pixels, leaf)

    def _refusal(self) -> RequestRejected:
        name, version, known_as = self._bundle.name, self._bundle.version, request_id()
        log.error("explain_failed", model=name, version=version, request_id=known_as)
        return RequestRejected(
            "INTERNAL",
            f"The model {name} {version} cannot tell where in a photo it looked, as its function for that does not run "
            f"on this server; its log knows more under the id {known_as}. Leave explain out.",
            metadata={"request_id": known_as},
        )
