"""The methods of ClassifierService. Whatever they raise becomes a status in interceptor.py."""

import asyncio
import base64
import binascii
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc.status_pb2 import Status

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_server.models.registry import Models, natural_order
from planespotter_server.observability.metrics import Metrics, Photo
from planespotter_server.rejections import RequestRejected, shutting_down, warming_up
from planespotter_server.rpc import call_context, converters
from planespotter_server.rpc.converters import Answered
from planespotter_server.rpc.status import reason_of, to_status
from planespotter_server.serving.admission import AdmissionController, Permit
from planespotter_server.serving.served_model import Caller, DecoderPool, ServedModel
from planespotter_server.serving.stream import Parts, Window, answer_stream
from planespotter_server.settings import Settings

MAX_PHOTO_ID_BYTES = 256
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 1000

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Taken:
    """A photo that was read from a stream, and the room it takes."""

    request: pb.StreamClassifyRequest
    photo: Photo
    permit: Permit

    def abandon(self) -> None:
        """Give its room back: its stream has broken."""
        self.permit.release()
        self.photo.left()


class ClassifierService(pb_grpc.ClassifierServiceServicer):
    """Answers with `models` once `ready` is set; until then every call is refused with WARMING_UP.

    Make it inside a running event loop.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.ready = False
        self.models = Models(settings.default_model)
        self.admission = AdmissionController(
            settings.max_in_flight_photos,
            settings.max_in_flight_bytes,
            settings.max_queue_wait,
            burst=settings.max_batch_photos,
        )
        self._settings = settings
        self._metrics = metrics
        self._decoders = DecoderPool(settings.decode_threads, metrics.decoded)
        self._stream_readers: set[asyncio.Task[None]] = set()
        metrics.watch(lambda: sum(model.queue_depth for model in self.models.all()), lambda: self.admission.in_flight)

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:  # noqa: N802
        """Classify one photo."""
        with self._photo() as photo:
            self._check_open()
            self._choose(request.options)
            call_context.current.get().client.take_photo()
            with self._enter(request.photo, request.options, context):
                answered = await self._classify(request.photo, request.options, _caller(context))
            photo.answered(answered.answer)
        return pb.ClassifyResponse(classification=converters.classification(answered))

    async def BatchClassify(self, request: pb.BatchClassifyRequest, context: Context) -> pb.BatchClassifyResponse:  # noqa: N802
        """Classify several photos; each that fails has its status in its place."""
        self._check_open()
        self._choose(request.options)
        self._check_batch(len(request.photos))
        caller = _caller(context)

        async def outcome(index: int, data: bytes) -> Answered | Status:
            try:
                with self._photo() as photo:
                    call_context.current.get().client.take_photo()
                    with self._enter(data, request.options, context):
                        answered = await self._classify(data, request.options, caller)
                    photo.answered(answered.answer)
                    return answered
            except Exception as error:
                return to_status(error, f"photos[{index}]")

        async with asyncio.TaskGroup() as photos:
            tasks = [photos.create_task(outcome(index, photo)) for index, photo in enumerate(request.photos)]
        return pb.BatchClassifyResponse(results=[converters.batch_result(task.result()) for task in tasks])

    async def StreamClassify(self, request_iterator: Any, context: Context) -> None:  # type: ignore[override]  # noqa: N802
        """Classify photos as they come; each gets an answer or a status."""
        self._check_open()
        caller = _caller(context)

        pace = call_context.current.get().client.pace

        async def read() -> Taken | None:
            await self.admission.wait_for_capacity()
            if pace is not None:
                await pace.until_next()
            request = await context.read()
            if request is grpc.aio.EOF:
                return None
            if pace is not None:
                pace.spend()
            with self._photo() as photo:
                return Taken(request, photo, await self.admission.admit(len(request.photo)))

        async def answer(taken: Taken) -> pb.StreamClassifyResponse:
            request = taken.request
            outcome: Answered | Status
            try:
                with taken.permit, self._photo(taken.photo):
                    _check_photo_id(request.photo_id)
                    outcome = await self._classify(request.photo, request.options, caller)
                    taken.photo.answered(outcome.answer)
            except Exception as error:
                outcome = to_status(error)
            return converters.stream_response(request.photo_id, outcome)

        parts = Parts(
            read=read,
            answer=answer,
            write=context.write,
            size=lambda taken: len(taken.request.photo),
            in_order=lambda taken: _is_in_order(taken.request),
            going_away=lambda count: pb.StreamClassifyResponse(going_away=pb.GoingAway(read_count=count)),
            abandon=lambda taken: taken.abandon(),
        )
        window = Window(self._settings.max_in_flight_per_stream, self._settings.max_in_flight_per_stream_bytes)
        await answer_stream(parts, window, self._stream_readers)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802
        """Describe a model."""
        self._check_open()
        model = self._describe(self.models.find(request.model_name, request.model_version))
        return pb.GetModelResponse(
            model=model, limits=converters.limits(self._settings, call_context.current.get().client)
        )

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:  # noqa: N802
        """List the models, a page at a time."""
        self._check_open()
        page, token = _page(self.models.all(), request.page_size, request.page_token)
        return pb.ListModelsResponse(models=[self._describe(model) for model in page], next_page_token=token)

    def stop_reading(self) -> None:
        """Take no more photos, and let every stream end once those that were taken are answered."""
        self.admission.close()
        for reader in self._stream_readers:
            reader.cancel()

    async def close(self) -> None:
        """Stop at once; what is still in work is refused."""
        self.stop_reading()
        for classifier in self.models.all():
            await classifier.close()
        self._decoders.close()

    def _enter(self, photo: bytes, options: pb.ClassifyOptions, context: Context) -> Permit:
        return self.admission.try_admit(len(photo), context.time_remaining(), measured=not options.explain)

    async def _classify(self, photo: bytes, options: pb.ClassifyOptions, caller: Caller) -> Answered:
        call_context.current.get().client.check()
        classifier = self._choose(options)
        answer = await classifier.classify(
            photo, options.alternatives, caller, self._decoders, heat_map=options.explain
        )
        return Answered(answer, classifier.bundle)

    @contextmanager
    def _photo(self, photo: Photo | None = None) -> Iterator[Photo]:
        """Take note of what becomes of one photo that has just come, or goes on to be `photo`, while the block runs."""
        if photo is None:
            photo = self._metrics.photo()
            call_context.current.get().photos += 1
        try:
            yield photo
        except asyncio.CancelledError:
            photo.left()
            raise
        except Exception as error:
            photo.refused(reason_of(error))
            raise

    def _describe(self, classifier: ServedModel) -> pb.Model:
        return converters.model(classifier.bundle, self.models.is_default(classifier))

    def _check_open(self) -> None:
        if self.admission.closed:
            raise shutting_down()
        if not self.ready:
            raise warming_up()

    def _choose(self, options: pb.ClassifyOptions) -> ServedModel:
        """Return the model that shall answer. Raises RequestRejected, such as MODEL_NOT_FOUND."""
        if not 0 <= options.alternatives <= self._settings.max_top_k:
            raise RequestRejected(
                "TOP_K_OUT_OF_RANGE",
                f"alternatives is {options.alternatives}, but must lie between 0 and {self._settings.max_top_k}.",
                metadata={"alternatives": options.alternatives, "limit": self._settings.max_top_k},
                field="options.alternatives",
            )
        chosen = self.models.find(options.model_name, options.model_version)
        if options.explain and chosen.bundle.heat_map is None:
            raise RequestRejected(
                "HEAT_MAP_UNSUPPORTED",
                f"The model {chosen.bundle.name} {chosen.bundle.version} cannot tell where in a photo it looked. Leave "
                "explain out, or choose a model whose description says can_explain.",
                metadata={"model_name": chosen.bundle.name, "model_version": chosen.bundle.version},
                field="options.explain",
            )
        return chosen

    def _check_batch(self, photos: int) -> None:
        if photos > self._settings.max_batch_photos:
            raise RequestRejected(
                "BATCH_TOO_LARGE",
                f"The batch has {photos:,} photos; the limit is {self._settings.max_batch_photos:,}. Send smaller "
                "batches, or use StreamClassify.",
                metadata={"photos": photos, "limit": self._settings.max_batch_photos},
                field="photos",
            )


def _check_photo_id(photo_id: str) -> None:
    size = len(photo_id.encode())
    if size > MAX_PHOTO_ID_BYTES:
        raise RequestRejected(
            "PHOTO_ID_TOO_LONG",
            f"The photo_id has {size:,} bytes; the limit is {MAX_PHOTO_ID_BYTES}. Send a shorter one.",
            metadata={"bytes": size, "limit": MAX_PHOTO_ID_BYTES},
            field="photo_id",
        )


def _is_in_order(first: pb.StreamClassifyRequest) -> bool:
    if first.ordering not in pb.Ordering.values():
        raise RequestRejected(
            "ORDERING_UNKNOWN",
            f"This server does not know the ordering {first.ordering}. Send ORDERING_AS_COMPLETED or "
            "ORDERING_IN_ORDER with the first photo, or leave it out.",
            metadata={"ordering": first.ordering},
            field="ordering",
        )
    return first.ordering == pb.ORDERING_IN_ORDER


def _page(models: list[ServedModel], size: int, token: str) -> tuple[list[ServedModel], str]:
    """Return the page of `models` that follows what `token` stands for, and the token of the next page."""
    if size < 0:
        raise RequestRejected(
            "PAGE_SIZE_NEGATIVE",
            f"page_size is {size}, but cannot be negative. Leave it out to get {DEFAULT_PAGE_SIZE} models.",
            metadata={"page_size": size},
            field="page_size",
        )
    # A token names the last model of its page, so that models which come and go in between shift nothing.
    start = 0
    if token:
        name, version = _read_token(token)
        while start < len(models) and not _is_after(models[start], name, version):
            start += 1
    end = start + min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    return models[start:end], _token(models[end - 1]) if end < len(models) else ""


def _is_after(model: ServedModel, name: str, version: str) -> bool:
    bundle = model.bundle
    if bundle.name == name:
        return natural_order(bundle.version) < natural_order(version)  # the highest version comes first
    return natural_order(bundle.name) > natural_order(name)


def _token(last: ServedModel) -> str:
    return base64.urlsafe_b64encode(json.dumps([last.bundle.name, last.bundle.version]).encode()).decode()


def _read_token(token: str) -> tuple[str, str]:
    try:
        name, version = json.loads(base64.urlsafe_b64decode(token))
        if isinstance(name, str) and isinstance(version, str):
            return name, version
    except (binascii.Error, ValueError, TypeError):
        pass
    raise RequestRejected(
        "PAGE_TOKEN_INVALID",
        "page_token is none that this server gave. Send next_page_token of the page before, or none to start.",
        field="page_token",
    )


def _caller(context: Context) -> Caller:
    remaining = context.time_remaining()
    if remaining is None or math.isinf(remaining):
        return Caller()
    return Caller(deadline=asyncio.get_running_loop().time() + remaining)
