"""ClassifierService: the RPC methods. interceptor.py maps what they raise to a status."""

import asyncio
import functools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_models import Prediction, PredictionOptions
from planespotter_server.auth.authentication import Client
from planespotter_server.models.registry import ModelRegistry
from planespotter_server.observability.metrics import Metrics, PhotoRecord
from planespotter_server.rejections import RequestRejected, shutting_down, warming_up
from planespotter_server.rpc import call_context, converters, pagination
from planespotter_server.rpc.converters import Classified
from planespotter_server.rpc.options import CallOptions
from planespotter_server.rpc.outcomes import BatchOutcomes, Outcome, or_status, record_outcome
from planespotter_server.rpc.status import reason_of
from planespotter_server.serving.admission import AdmissionController, Permit
from planespotter_server.serving.decoder_pool import DecoderPool
from planespotter_server.serving.memory_limiter import MemoryLimiter
from planespotter_server.serving.open_streams import OpenStreams
from planespotter_server.serving.served_model import Caller, PhotoInFlight, ServedModel
from planespotter_server.serving.stream import OpenStream, StreamHandlers, Window, serve_stream
from planespotter_server.settings import Settings

MAX_PHOTO_ID_BYTES = 256

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(eq=False)
class AdmittedPhoto:
    """A photo of a stream and its admission permit.

    It holds no message: that would keep the content in memory until the client reads the result.
    """

    photo_id: str
    content: bytes
    record: PhotoRecord
    permit: Permit
    in_flight: PhotoInFlight | None = None

    def __post_init__(self) -> None:
        self.size = len(self.content)

    def take_content(self) -> bytes:
        """Return the content, and drop it here."""
        content, self.content = self.content, b""
        return content

    def abandon(self) -> None:
        """Drop the photo and release its permit: the stream was cancelled."""
        if self.in_flight is not None:
            self.in_flight.cancel()
        self.permit.release()
        self.record.cancelled()


class StreamReader:
    """Reads a stream: an optional StreamConfig first, then photos, at the rate that admission and rate limit allow."""

    def __init__(self, service: "ClassifierService", context: Context, stream: OpenStream) -> None:
        self.config = pb.StreamConfig()
        self.options = CallOptions(self.config.options)
        self.sends_lists = False
        """Whether the client has sent a PhotoList, so that it understands lists of results."""
        self._unread: deque[tuple[str, bytes]] = deque()  # of the last PhotoList: ids and contents
        self._service = service
        self._context = context
        self._stream = stream
        self._client = call_context.current.get().client
        self._rate_limit = self._client.rate_limit
        self._started = False

    async def next_photo(self) -> AdmittedPhoto | None:
        """Return the next photo, None at the end of the stream.

        Raises:
            RequestRejected: PROTOCOL_VIOLATION, TOKEN_INVALID, or why the config is invalid; these end the stream.
        """
        admission = self._service.admission
        await admission.wait_for_capacity()
        if self._rate_limit is not None:
            await self._rate_limit.wait()
        while not self._unread:
            if not await self._receive_photos():
                return None
        if self._rate_limit is not None:
            self._rate_limit.take()
        photo_id, content = self._unread.popleft()
        with self._service.record_photo() as record:
            return AdmittedPhoto(photo_id, content, record, await admission.admit(len(content)))

    async def _receive_photos(self) -> bool:
        """Receive the next message with photos; return whether there is one."""
        message = await self._receive()
        if not self._started:
            self._started = True
            if message is not grpc.aio.EOF and message.HasField("config"):
                self.config, self.options = message.config, CallOptions(message.config.options)
                self._service.check_config(self.config, self.options)
                message = await self._receive()
        if message is grpc.aio.EOF:
            return False
        if message.HasField("photo"):
            self._unread.append((message.photo.id, message.photo.content))
        elif message.HasField("photos"):
            self._service.check_photo_list(len(message.photos.photos))
            self.sends_lists = True
            self._unread.extend((photo.id, photo.content) for photo in message.photos.photos)
        else:
            raise _protocol_violation(message)
        return True

    async def _receive(self) -> Any:
        """Return the next message, grpc.aio.EOF at the end."""
        stream = self._stream
        with self._service.memory.receiving(self._client.key, stream.drain):
            stream.receiving_since = asyncio.get_running_loop().time()
            message = await self._context.read()
            stream.receiving_since = None
        self._client.check_token()
        return message


class ClassifierService(pb_grpc.ClassifierServiceServicer):
    """Serves `models` once `ready` is set; until then every call is rejected with WARMING_UP.

    Create it inside a running event loop.

    Args:
        settings: Limits and timeouts.
        metrics: Where outcomes are recorded.
        on_decoders_available: Called with False when no thread can decode, with True once one can again.
        on_decoders_stuck: Called once when every decode thread is stuck.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        on_decoders_available: Callable[[bool], None] = lambda _: None,
        on_decoders_stuck: Callable[[], None] = lambda: None,
    ) -> None:
        self.ready = False
        self.models = ModelRegistry(settings.default_model)
        self.admission = AdmissionController(
            settings.max_in_flight_photos,
            settings.max_in_flight_bytes,
            settings.max_queue_wait,
            burst=settings.max_batch_photos,
        )
        self._settings = settings
        self._metrics = metrics
        self.memory = MemoryLimiter(settings.max_memory_bytes)
        self.streams = OpenStreams(settings.idle_timeout, settings.max_stream_age)
        self._decoders = DecoderPool(
            settings.decode_threads,
            settings.decode_timeout,
            metrics.observe_decode,
            on_decoders_available,
            on_decoders_stuck,
        )
        metrics.add_gauges(
            lambda: sum(model.queue_depth for model in self.models.all()), lambda: self.admission.in_flight
        )

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:  # noqa: N802
        """Classify one photo."""
        photo_id, content, options = request.photo.id, request.photo.content, CallOptions(request.options)
        del request  # with another copy of the content
        with self.record_photo() as record:
            self._check_open()
            self._choose(options)
            _check_photo_id(photo_id)
            call_context.current.get().client.take_photo()
            with self._admit(len(content), options, context):
                classifying = self._classify(content, options, _caller(context))
                del content
                classified = await classifying
            record.predicted(classified.prediction)
        return pb.ClassifyResponse(prediction=converters.prediction(classified))

    async def BatchClassify(self, request: pb.BatchClassifyRequest, context: Context) -> pb.BatchClassifyResponse:  # noqa: N802
        """Classify several photos; one that fails has its status in its result."""
        self._check_open()
        options = CallOptions(request.options)
        self._choose(options)
        self._check_batch(len(request.photos))
        caller, client = _caller(context), call_context.current.get().client
        ids = [photo.id for photo in request.photos]
        batch = BatchOutcomes(len(ids))
        for index, photo in enumerate(request.photos):
            content = photo.content

            def admit(photo_id: str = ids[index], size: int = len(content)) -> Permit:
                _check_photo_id(photo_id)
                client.take_photo()
                return self._admit(size, options, context)

            batch.start(index, self._start_record(), admit, functools.partial(self._submit, content, options, caller))
        del content
        await batch.wait()
        return pb.BatchClassifyResponse(
            results=[
                converters.photo_result(photo_id, or_status(outcome, f"photos[{index}]"))
                for index, (photo_id, outcome) in enumerate(zip(ids, batch.outcomes, strict=True))
            ]
        )

    async def StreamClassify(self, request_iterator: Any, context: Context) -> None:  # type: ignore[override]  # noqa: N802
        """Classify a stream of photos; each gets a prediction or a status."""
        self._check_open()
        caller = _caller(context)

        def start(admitted: AdmittedPhoto, respond: Callable[[Outcome], None]) -> None:
            def end(outcome: Outcome) -> None:
                admitted.permit.release()
                record_outcome(admitted.record, outcome)
                respond(outcome)

            try:
                _check_photo_id(admitted.photo_id)
                admitted.in_flight = self._submit(admitted.take_content(), reader.options, caller, end)
            except Exception as error:
                end(error)

        async def write(responses: Sequence[tuple[AdmittedPhoto, Outcome]]) -> None:
            results = [converters.photo_result(each.photo_id, or_status(outcome)) for each, outcome in responses]
            if reader.sends_lists:
                await context.write(pb.StreamClassifyResponse(results=pb.PhotoResultList(results=results)))
            else:
                for result in results:
                    await context.write(pb.StreamClassifyResponse(result=result))

        async def send_drain_notice(count: int) -> None:
            await context.write(pb.StreamClassifyResponse(drain_notice=pb.DrainNotice(accepted_count=count)))

        window = Window(self._settings.max_in_flight_per_stream, self._settings.max_in_flight_per_stream_bytes)
        with self.streams.add(call_context.current.get().client.check_token) as stream:
            reader = StreamReader(self, context, stream)
            handlers = StreamHandlers(
                read=reader.next_photo,
                start=start,
                write=write,
                size=lambda admitted: admitted.size,
                in_order=lambda: reader.config.ordering == pb.ORDERING_IN_ORDER,
                send_drain_notice=send_drain_notice,
                abandon=lambda admitted: admitted.abandon(),
            )
            await serve_stream(handlers, window, stream)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802
        """Describe a model."""
        self._check_open()
        return pb.GetModelResponse(model=self._describe(self.models.find(request.model_name, request.model_version)))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:  # noqa: N802
        """List the models, a page at a time."""
        self._check_open()
        page, token = pagination.page_of(self.models.all(), request.page_size, request.page_token)
        return pb.ListModelsResponse(models=[self._describe(model) for model in page], next_page_token=token)

    async def GetServerInfo(self, request: pb.GetServerInfoRequest, context: Context) -> pb.GetServerInfoResponse:  # noqa: N802
        """Return the version and the limits of the caller."""
        self._check_open()
        return converters.server_info(self._settings, call_context.current.get().client)

    def stop_reading(self) -> None:
        """Admit no more photos; every stream ends once its photos in flight are answered."""
        self.admission.close()
        self.streams.drain()

    async def close(self) -> None:
        """Stop at once; photos in flight are rejected."""
        self.stop_reading()
        for model in self.models.all():
            await model.close()
        self._decoders.close()

    @contextmanager
    def record_photo(self) -> Iterator[PhotoRecord]:
        """Record that a photo has arrived, and its outcome if the block raises one."""
        record = self._start_record()
        try:
            yield record
        except asyncio.CancelledError:
            record.cancelled()
            raise
        except Exception as error:
            record.rejected(reason_of(error))
            raise

    def _start_record(self) -> PhotoRecord:
        call_context.current.get().photos += 1
        return self._metrics.start_photo()

    def check_config(self, config: pb.StreamConfig, options: CallOptions) -> None:
        """Check the config of a stream, and its options.

        Raises:
            RequestRejected: ORDERING_UNKNOWN, MODEL_NOT_FOUND, or what is wrong with the options.
        """
        if config.ordering not in pb.Ordering.values():
            raise RequestRejected(
                "ORDERING_UNKNOWN",
                f"ordering is unknown: {config.ordering}. Send ORDERING_AS_COMPLETED or ORDERING_IN_ORDER, or omit it.",
                metadata={"ordering": config.ordering},
                field="config.ordering",
            )
        self._choose(options, "config.options")

    def check_photo_list(self, photos: int) -> None:
        """Check the number of photos in a message of a stream.

        Raises:
            RequestRejected: PROTOCOL_VIOLATION.
        """
        limit = self._settings.max_batch_photos
        if photos > limit:
            raise RequestRejected(
                "PROTOCOL_VIOLATION",
                f"The message has too many photos: {photos:,}; the limit is {limit:,}. Send shorter lists.",
                metadata={"photos": photos, "limit": limit},
                field="photos",
            )

    def check_capacity(self, method: str, client: Client) -> None:
        """Check, before the request of a unary call is received, whether it would be rejected anyway.

        Args:
            method: Name of the method.
            client: Who calls it.

        Raises:
            RequestRejected: SHUTTING_DOWN, WARMING_UP, QUEUE_FULL or RATE_LIMITED.
        """
        if method not in ("Classify", "BatchClassify"):
            return
        try:
            self._check_open()
            self.memory.check_capacity(client.key)
            if method == "Classify":
                self.admission.check_capacity()
                client.check_rate()
        except RequestRejected:
            with self.record_photo():
                raise

    def _admit(self, size: int, options: CallOptions, context: Context) -> Permit:
        return self.admission.try_admit(size, context.time_remaining(), measured=not options.message.heat_map)

    def _submit(
        self, content: bytes, options: CallOptions, caller: Caller, on_outcome: Callable[[Outcome], None]
    ) -> PhotoInFlight:
        """Start to predict an admitted photo; `on_outcome` is called later, unless it is cancelled.

        Raises:
            Exception: An outcome that is known already.
        """
        call_context.current.get().client.check_token()
        model, prepared = self._choose(options)

        def end(prediction: Prediction | None, error: Exception | None) -> None:
            if prediction is None:
                on_outcome(error or RuntimeError("The photo has no outcome."))
            else:
                on_outcome(Classified(prediction, model.bundle))

        return model.submit(content, prepared, caller, self._decoders, end, heat_map=options.message.heat_map)

    async def _classify(self, content: bytes, options: CallOptions, caller: Caller) -> Classified:
        call_context.current.get().client.check_token()
        model, prepared = self._choose(options)
        classifying = model.classify(content, prepared, caller, self._decoders, heat_map=options.message.heat_map)
        del content  # it is decoded long before there is a prediction
        return Classified(await classifying, model.bundle)

    def _describe(self, model: ServedModel) -> pb.Model:
        return converters.model(model.bundle, self.models.is_default(model))

    def _check_open(self) -> None:
        if self.admission.closed:
            raise shutting_down()
        if not self.ready:
            raise warming_up()

    def _choose(self, options: CallOptions, field: str = "options") -> tuple[ServedModel, PredictionOptions]:
        """Return the model that `options` ask for, and the options for it; `field` is where they are in the request.

        Raises:
            RequestRejected: MODEL_NOT_FOUND, or what is wrong with the options.
        """
        chosen = self.models.find(options.message.model_name, options.message.model_version)
        return chosen, options.prepare(chosen.bundle, self._settings.max_top_k, field)

    def _check_batch(self, photos: int) -> None:
        limit = self._settings.max_batch_photos
        if photos > limit:
            raise RequestRejected(
                "BATCH_TOO_LARGE",
                f"The batch has too many photos: {photos:,}; the limit is {limit:,}. Send smaller batches, or use "
                "StreamClassify.",
                metadata={"photos": photos, "limit": limit},
                field="photos",
            )


def _check_photo_id(photo_id: str) -> None:
    size = len(photo_id.encode())
    if size > MAX_PHOTO_ID_BYTES:
        raise RequestRejected(
            "PHOTO_ID_TOO_LONG",
            f"The photo's id is too long: {size:,} bytes; the limit is {MAX_PHOTO_ID_BYTES}. Send a shorter one.",
            metadata={"bytes": size, "limit": MAX_PHOTO_ID_BYTES},
            field="photo.id",
        )


def _protocol_violation(message: pb.StreamClassifyRequest) -> RequestRejected:
    if message.HasField("config"):
        what = "The stream has a config after its first message. Send it first, or open another stream."
    else:
        what = "The message has neither a config nor photos. Send a photo."
    return RequestRejected("PROTOCOL_VIOLATION", what, field=message.WhichOneof("request") or "")


def _caller(context: Context) -> Caller:
    remaining = context.time_remaining()
    if remaining is None or math.isinf(remaining):
        return Caller()
    return Caller(deadline=asyncio.get_running_loop().time() + remaining)
