"""Served model: decode, batch, run and predict with one bundle, until it is drained and unloaded.

A photo goes from the event loop to a decode thread, from there to a thread of the device, and back to the event loop
with the results of its whole batch.
"""

import asyncio
import functools
import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

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
from planespotter_server.serving.batcher import Batcher, BatchObserver, Counters, Entry
from planespotter_server.serving.decoder_pool import DecodeJob, DecoderPool, Pixels
from planespotter_server.serving.heat_maps import HeatMaps
from planespotter_server.settings import Settings

OnPrediction = Callable[[Prediction | None, Exception | None], None]
"""Called once in the event loop, with the prediction of a photo or its error."""


@dataclass(frozen=True, eq=False)
class Caller:
    """One call or stream: decoders and device serve callers round robin.

    Args:
        deadline: Time of `time.monotonic`, which is the clock of the event loop too; None for no deadline.
    """

    deadline: float | None = None


class PhotoTrace(Protocol):
    """The trace of one photo. Its methods may be called in any thread."""

    def end_step(self, name: str) -> None:
        """Record that a step has ended: "decode", "queue" or "inference"."""

    def end(self) -> None:
        """Record that the photo has its outcome."""


class PhotoInFlight:
    """A photo that a model works on, from `ServedModel.submit` to its outcome.

    Its methods are called in the event loop, except `_decoded` and `_dequeued`.
    """

    __slots__ = ("_decoders", "_entry", "_heat_map", "_heat_map_task", "_job", "_model", "_on_prediction", "_trace")

    def __init__(
        self, model: "ServedModel", decoders: DecoderPool, on_prediction: OnPrediction, trace: PhotoTrace | None
    ) -> None:
        self._model = model
        self._decoders = decoders
        self._on_prediction: OnPrediction | None = on_prediction
        self._trace = trace
        self._heat_map_task: asyncio.Task[None] | None = None
        # Both refer back to this object: they are dropped at the end, as only the collector would end the cycle.
        self._entry: Entry[Row, Prediction] | None = None
        self._job: DecodeJob | None = None

    def start(
        self, decode: Callable[[float], Pixels], options: PredictionOptions, caller: Caller, *, heat_map: bool
    ) -> None:
        """Queue the photo for the decoders."""
        self._heat_map = heat_map
        self._model.begin()
        on_dequeue = None if self._trace is None else functools.partial(self._trace.end_step, "queue")
        self._entry = Entry[Row, Prediction](Row(options), caller, caller.deadline, self._predicted, on_dequeue)
        self._job = DecodeJob(decode, caller, self._decoded, self._failed)
        self._decoders.submit(self._job)

    def cancel(self) -> None:
        """Drop the photo: its caller has left. It gets no outcome anymore."""
        if self._on_prediction is not None:
            if self._job is not None and self._entry is not None:
                self._decoders.discard(self._job)
                self._model.discard(self._entry)
            if self._heat_map_task is not None:
                self._heat_map_task.cancel()
            self._end()

    def _decoded(self, pixels: Pixels) -> None:
        if self._trace is not None:
            self._trace.end_step("decode")
        entry = self._entry
        if entry is not None:  # the photo has not been cancelled
            entry.item.pixels = pixels
            self._model.enqueue(entry)

    def _failed(self, error: Exception) -> None:
        self._predicted(None, error)

    def _predicted(self, prediction: Prediction | None, error: Exception | None) -> None:
        if self._on_prediction is None:  # cancelled
            return
        if prediction is not None and self._heat_map_task is None:
            if self._trace is not None:
                self._trace.end_step("inference")
            if self._heat_map:
                self._heat_map_task = asyncio.create_task(self._add_heat_map(prediction))
                return
        on_prediction = self._on_prediction
        self._end()
        on_prediction(prediction, error)

    async def _add_heat_map(self, prediction: Prediction) -> None:
        entry = self._entry
        assert entry is not None
        assert entry.item.pixels is not None
        try:
            heat = await self._model.heat_maps.compute(entry.item.pixels, prediction.label, entry.caller)
        except Exception as error:
            self._predicted(None, error)
        else:
            self._predicted(replace(prediction, heat_map=heat), None)

    def _end(self) -> None:
        self._on_prediction = self._entry = self._job = self._heat_map_task = None
        self._model.end()
        if self._trace is not None:
            self._trace.end()


@dataclass(eq=False, slots=True)
class Row:
    """A row of a batch: the pixels of a photo, and what to return for it."""

    options: PredictionOptions
    pixels: Pixels | None = None


class ServedModel:
    """Predicts photos with the network of a bundle. Create it inside a running event loop.

    Args:
        bundle: The bundle.
        engine: Runs the bundle's network.
        settings: Limits and timeouts.
        max_in_flight: Maximum number of batches on the device at a time.
        on_device_failed: Called once when the device counts as failed.
        observer: Is notified of queue waits and batches.
        trace_photo: Starts the trace of one photo; None if tracing is off.
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
        trace_photo: Callable[[], PhotoTrace] | None = None,
    ) -> None:
        self.bundle = bundle
        self.engine = engine
        self._settings = settings
        self._trace_photo = trace_photo
        self.heat_maps = HeatMaps(bundle, settings.engine_cache)
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._batcher = Batcher(
            functools.partial(_predict, bundle, engine),
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

    def begin(self) -> None:
        """Count a photo in flight: the model stays loaded until `end`."""
        self._in_flight += 1
        self._idle.clear()

    def end(self) -> None:
        """Count a photo that has its outcome."""
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the model loaded while the block runs."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def submit(
        self,
        photo: bytes,
        options: PredictionOptions,
        caller: Caller,
        decoders: DecoderPool,
        on_prediction: OnPrediction,
        *,
        heat_map: bool = False,
    ) -> PhotoInFlight:
        """Start to predict one photo, which admission control has admitted.

        Args:
            photo: Content of a JPEG, PNG or WebP file.
            options: What is asked for it.
            caller: Whose photo it is, with the deadline.
            decoders: Threads for decoding.
            on_prediction: Called with the prediction or the error, unless the photo is cancelled; never from within
                this method. Errors are PhotoError, if the photo is too large or cannot be decoded, and RequestRejected
                with PHOTO_DECODE_TIMEOUT, DEADLINE_EXCEEDED_IN_QUEUE, SHUTTING_DOWN or DEVICE_FAILED.
            heat_map: Whether to compute a heat map too.

        Raises:
            PhotoError: The file is too large.
        """
        limit = self._settings.max_photo_bytes
        if len(photo) > limit:
            raise PhotoError(
                "PHOTO_TOO_LARGE",
                f"The photo file is too large: {len(photo):,} bytes; the limit is {limit:,}. Scale it down.",
                bytes=len(photo),
                limit=limit,
            )
        trace = None if self._trace_photo is None else self._trace_photo()
        in_flight = PhotoInFlight(self, decoders, on_prediction, trace)
        in_flight.start(functools.partial(self._decode, photo), options, caller, heat_map=heat_map)
        return in_flight

    async def classify(
        self,
        photo: bytes,
        options: PredictionOptions,
        caller: Caller,
        decoders: DecoderPool,
        *,
        heat_map: bool = False,
    ) -> Prediction:
        """Predict one photo; see `submit` for the arguments, and for what it raises."""
        future: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()

        def resolve(prediction: Prediction | None, error: Exception | None) -> None:
            if future.cancelled():
                return
            if prediction is None:
                future.set_exception(error or RuntimeError("The photo has no outcome."))
            else:
                future.set_result(prediction)

        in_flight = self.submit(photo, options, caller, decoders, resolve, heat_map=heat_map)
        del photo  # a decode thread drops the other reference
        try:
            return await future
        except asyncio.CancelledError:
            in_flight.cancel()
            raise

    def enqueue(self, entry: Entry[Row, Prediction]) -> None:
        """Queue a decoded photo for the device, from any thread."""
        self._batcher.push(entry)

    def discard(self, entry: Entry[Row, Prediction]) -> None:
        """Drop a photo whose caller has left."""
        self._batcher.discard(entry)

    def warm_up(self) -> None:
        """Decode and predict a photo of each format, so that the first requests are as fast as later ones."""
        for image_format in ("JPEG", "PNG", "WEBP"):
            photo = io.BytesIO()
            Image.new("RGB", (2 * self.bundle.width, 2 * self.bundle.height)).save(photo, image_format)
            _predict(self.bundle, self.engine, [Row(PredictionOptions(top_k=1), self._decode(photo.getvalue()))])

    async def drain_and_close(self) -> None:
        """Wait until its photos in flight have their results, then close."""
        await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """Stop at once; photos in flight are rejected."""
        self.heat_maps.close()
        self._batcher.close()

    def _decode(self, photo: bytes, max_seconds: float = math.inf) -> Pixels:
        limits = self._settings.max_photo_pixels, self._settings.max_decoded_bytes
        return decode_photo(photo, self.bundle.height, self.bundle.width, *limits, max_seconds)


def _predict(bundle: Bundle, engine: Engine, batch: Sequence[Row]) -> list[Prediction]:
    """Predict a batch. No method: as a cycle, an unloaded model would wait for the collector."""
    outputs = engine.run(np.stack([row.pixels for row in batch if row.pixels is not None]))
    return decode_prediction(bundle.tree, bundle.calibration, outputs, options=[row.options for row in batch])
