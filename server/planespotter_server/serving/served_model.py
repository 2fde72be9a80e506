"""Classify photos with one bundle: check, decode, batch, run, answer. Knows nothing of gRPC."""

import asyncio
import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from planespotter_models import Bundle, Engine, PhotoError, Prediction, decode_photo, decode_prediction
from planespotter_server.serving.batcher import Batcher, Counters, Watcher
from planespotter_server.serving.fair_semaphore import Turns
from planespotter_server.serving.heat_maps import Explaining
from planespotter_server.serving.thread_priority import give_way
from planespotter_server.settings import Settings

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Caller:
    """One call or stream. Callers take turns at the device; `deadline` is a time of the event loop's clock."""

    deadline: float | None = None


class Decoders:
    """Threads that decode photos for all models; callers take turns at them. `took` hears how long each photo took."""

    def __init__(self, threads: int, took: Callable[[float], None] = lambda _: None) -> None:
        self._took = took
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode", initializer=give_way)
        # One more for each thread, so that it finds its next photo without waiting for the event loop.
        self._turns = Turns(2 * threads)

    async def decode(self, decode: Callable[[], Pixels], caller: Caller) -> Pixels:
        """Return what `decode` returns in one of the threads. A caller who leaves before its turn costs nothing."""
        async with self._turns.take(caller):
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._timed, decode)

    def _timed(self, decode: Callable[[], Pixels]) -> Pixels:
        started = time.perf_counter()
        try:
            return decode()
        finally:
            self._took(time.perf_counter() - started)

    def close(self) -> None:
        """Stop; what has not begun is cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def untraced() -> AbstractContextManager[Callable[[str], None]]:
    """Take note of nothing: what Tracing.photo does where nobody asked for traces."""
    return nullcontext(lambda _: None)


class Classifier:
    """Answers photos with the network of `bundle`. Make it inside a running event loop.

    `on_broken` is called once if the device fails again and again. What `traced` returns hears of each photo when
    its decoding, its time in the queue and that on the device are over.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        settings: Settings,
        *,
        max_in_flight: int = 1,
        on_broken: Callable[[], None] = lambda: None,
        watcher: Watcher | None = None,
        traced: Callable[[], AbstractContextManager[Callable[[str], None]]] = untraced,
    ) -> None:
        self.bundle = bundle
        self._traced = traced
        self._settings = settings
        self.engine = engine
        self._explaining = Explaining(bundle, settings.engine_cache)
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._batcher = Batcher(
            self._run,
            engine.batch_sizes[-1],
            settings.max_delay_ms / 1000,
            max_in_flight=max_in_flight,
            max_failures=settings.max_consecutive_failures,
            timeout=settings.inference_timeout,
            on_broken=on_broken,
            watcher=watcher,
        )

    @property
    def counters(self) -> Counters:
        """What became of its photos so far."""
        return self._batcher.counters

    @property
    def waiting(self) -> int:
        """How many photos wait for the device."""
        return self._batcher.waiting

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep it from being retired while the block runs."""
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def classify(
        self, photo: bytes, alternatives: int, caller: Caller, decoders: Decoders, *, explain: bool = False
    ) -> Prediction:
        """Return the answer for a JPEG, PNG or WebP file; with `explain`, also where the network looked.

        The caller has taken room for it before.

        Raises RequestRejected (DEADLINE_EXCEEDED_IN_QUEUE, SHUTTING_DOWN, DEVICE_FAILED) and bundle.PhotoError.
        """
        limit = self._settings.max_photo_bytes
        if len(photo) > limit:
            raise PhotoError(
                "PHOTO_TOO_LARGE",
                f"The photo file has {len(photo):,} bytes; the limit is {limit:,}. Scale it down: "
                f"{self.bundle.width} x {self.bundle.height} pixels are all that the network sees.",
                bytes=len(photo),
                limit=limit,
            )
        with self.in_use(), self._traced() as finished:
            pixels = await decoders.decode(lambda: self._decode(photo), caller)
            finished("decode")
            item = (pixels, alternatives)
            answer = await self._batcher.submit(item, caller, caller.deadline, lambda: finished("queue"))
            finished("device")
            if explain:
                answer = replace(answer, heat_map=await self._explaining.heat(pixels, answer.label, caller))
            return answer

    def rehearse(self) -> None:
        """Do, for nobody, what is done to a photo of each format: the first time of anything takes longer."""
        for kind in ("JPEG", "PNG", "WEBP"):
            photo = io.BytesIO()
            Image.new("RGB", (2 * self.bundle.width, 2 * self.bundle.height)).save(photo, kind)
            self._run([(self._decode(photo.getvalue()), 1)])

    async def retire(self) -> None:
        """Stop once the photos that it has in work are answered."""
        await self._unused.wait()
        await self.close()

    async def close(self) -> None:
        """Stop at once; what is still in work is refused."""
        self._explaining.close()
        await self._batcher.close()

    def _decode(self, photo: bytes) -> Pixels:
        return decode_photo(photo, self.bundle.height, self.bundle.width, self._settings.max_photo_pixels)

    def _run(self, batch: Sequence[tuple[Pixels, int]]) -> list[Prediction]:
        outputs = self.engine.run(np.stack([pixels for pixels, _ in batch]))
        alternatives = [count for _, count in batch]
        return decode_prediction(self.bundle.tree, self.bundle.calibration, outputs, alternatives)
