"""Tell where the network looked, for the few photos of which somebody asks that."""

import asyncio
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planespotter_server.threads import give_way
from planespotter_server.turns import Turns
from planespotter_training.bundle import Bundle, Label

if TYPE_CHECKING:
    from planespotter_training.bundle.explain import Explainer


class Explaining:
    """Runs the second function of `bundle`, one photo at a time and beside the batches; callers take turns at it.

    It is loaded when it is first asked for, which takes a second or more: most servers never are.
    """

    def __init__(self, bundle: Bundle, cache: Path | None) -> None:
        self._bundle = bundle
        self._cache = cache
        self._turns = Turns(1)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explain", initializer=give_way)

    async def heat(self, pixels: NDArray[np.uint8], leaf: Label, caller: Hashable) -> NDArray[np.uint8]:
        """Return where the network looked in `pixels` [height, width, 3] for `leaf`: uint8 [rows, columns]."""
        async with self._turns.take(caller):
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, pixels, leaf)

    def close(self) -> None:
        """Stop; what has not begun is cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, pixels: NDArray[np.uint8], leaf: Label) -> NDArray[np.uint8]:
        return self._explainer.run(pixels, leaf)

    @cached_property
    def _explainer(self) -> "Explainer":
        from planespotter_training.bundle.explain import Explainer  # which brings JAX

        return Explainer(self._bundle, self._cache)
