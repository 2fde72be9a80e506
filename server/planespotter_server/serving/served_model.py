"""Served model: decode, batch, run and predict with one bundle, until it is drained and unloaded."""

import asyncio
import functools
import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from planespotter_models import (
    Bundle,
    Engine,
    PhotoError,
    Prediction,
    PredictionOptions,
    decode_photo,
    decode_prediction,
)
from planespotter_server.serving.batcher import Batcher, BatchObserver, Counters
from planespotter_server.serving.decoder_pool import DecoderPool, Pixels
from planespotter_server.serving.heat_maps import HeatMaps
from planespotter_server.settings import Settings


@dataclass(frozen=True, eq=False)
class Caller:
    """One call or stream: decoders and device serve callers round robin.

    Args:
        deadline: Time on the clock of the event loop; None for no deadline.
    """

    deadline: float | None = None


def no_tracing() -> AbstractContextManager[Callable[[str], None]]:
    """Trace nothing: the replacement for Tracing.photo when tracing is off."""
    return nullcontext(lambda _: None)


class ServedModel:
    """Predicts photos with the network of a bundle. Create it inside a running event loop.

    Args:
        bundle: The bundle.
        engine: Runs the bundle's network.
        settings: Limits and timeouts.
        max_in_flight: Maximum number of batches on the device at a time.
        on_device_failed: Called once when the device counts as failed.
        observer: Is notified of queue waits and batches.
        trace_photo: Makes the context of one photo; its value is called with "decode", "queue" and "inference" as each
            of these steps ends.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        settings: Settings,
        *,
        max_in_flight: int = 1,
        on_device_failed: Callable[[], None] = lambda: None,
        observer: BatchObserver | None = None,
        trace_photo: Callable[[], AbstractContextManager[Callable[[str], None]]] = no_tracing,
    ) -> None:
        self.bundle = bundle
        self.engine = engine
        self._settings = settings
        self._trace_photo = trace_photo
        self._heat_maps = HeatMaps(bundle, settings.engine_cache)
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._batcher = Batcher(
            self._run,
            engine.batch_sizes[-1],
            settings.max_delay_ms / 1000,
            max_in_flight=max_in_flight,
            max_consecutive_failures=settings.max_consecutive_failures,
            timeout=settings.inference_timeout,
            on_device_failed=on_device_failed,
            observer=observer,
        )

    @property
    def counters(self) -> Counters:
        """What its batcher has done so far."""
        return self._batcher.counters

    @property
    def queue_depth(self) -> int:
        """Number of decoded photos that wait for the device."""
        return self._batcher.queue_depth

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the model loaded while the block runs."""
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def classify(
        self,
        photo: bytes,
        options: PredictionOptions,
        caller: Caller,
        decoders: DecoderPool,
        *,
        heat_map: bool = False,
    ) -> Prediction:
        """Predict one photo, which admission control has admitted.

        Args:
            photo: Content of a JPEG, PNG or WebP file.
            options: What is asked for it.
            caller: Whose photo it is, with the deadline.
            decoders: Threads for decoding.
            heat_map: Whether to compute a heat map too.

        Raises:
            RequestRejected: PHOTO_DECODE_TIMEOUT, DEADLINE_EXCEEDED_IN_QUEUE, SHUTTING_DOWN or DEVICE_FAILED.
            PhotoError: The photo is too large or cannot be decoded.
        """
        limit = self._settings.max_photo_bytes
        if len(photo) > limit:
            raise PhotoError(
                "PHOTO_TOO_LARGE",
                f"The photo file is too large: {len(photo):,} bytes; the limit is {limit:,}. Scale it down.",
                bytes=len(photo),
                limit=limit,
            )
        with self.in_use(), self._trace_photo() as end_step:
            decoding = decoders.decode(functools.partial(self._decode, photo), caller)
            del photo  # the pool drops its content once it is decoded
            pixels = await decoding
            end_step("decode")
            item = (pixels, options)
            prediction = await self._batcher.submit(item, caller, caller.deadline, lambda: end_step("queue"))
            end_step("inference")
            if heat_map:
                heat = await self._heat_maps.compute(pixels, prediction.label, caller)
                prediction = replace(prediction, heat_map=heat)
            return prediction

    def warm_up(self) -> None:
        """Decode and predict a photo of each format, so that the first requests are as fast as later ones."""
        for image_format in ("JPEG", "PNG", "WEBP"):
            photo = io.BytesIO()
            Image.new("RGB", (2 * self.bundle.width, 2 * self.bundle.height)).save(photo, image_format)
            self._run([(self._decode(photo.getvalue()), PredictionOptions(top_k=1))])

    async def drain_and_close(self) -> None:
        """Wait until its photos in flight have their results, then close."""
        await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """Stop at once; photos in flight are rejected."""
        self._heat_maps.close()
        await self._batcher.close()

    def _decode(self, photo: bytes, max_seconds: float = math.inf) -> Pixels:
        limits = self._settings.max_photo_pixels, self._settings.max_decoded_bytes
        return decode_photo(photo, self.bundle.height, self.bundle.width, *limits, max_seconds)

    def _run(self, batch: Sequence[tuple[Pixels, PredictionOptions]]) -> list[Prediction]:
        outputs = self.engine.run(np.stack([pixels for pixels, _ in batch]))
        options = [options for _, options in batch]
        return decode_prediction(self.bundle.tree, self.bundle.calibration, outputs, options=options)
