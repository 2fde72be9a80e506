"""The four methods of ClassifierService."""

import asyncio
import math
from typing import Any

import grpc
from google.rpc.status_pb2 import Status

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_server import messages
from planespotter_server.classifier import Caller, Classifier
from planespotter_server.errors import telling_callers, to_status
from planespotter_server.refusals import Refusal, shutting_down
from planespotter_server.room import Place
from planespotter_server.settings import Settings
from planespotter_server.stream import answer_stream
from planespotter_training.bundle import Answer

MAX_PHOTO_ID_BYTES = 256

Context = grpc.aio.ServicerContext[Any, Any]


class ClassifierService(pb_grpc.ClassifierServiceServicer):
    """Answers with `classifier` once it is set; until then every call is refused with WARMING_UP."""

    def __init__(self, settings: Settings) -> None:
        self.classifier: Classifier | None = None
        self._settings = settings
        self._stream_readers: set[asyncio.Task[None]] = set()

    @telling_callers
    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:  # noqa: N802
        """Classify one photo."""
        classifier = self._ready(request.options)
        with classifier.room.enter(len(request.photo)):
            answer = await classifier.classify(request.photo, request.options.alternatives, _caller(context))
        return pb.ClassifyResponse(classification=messages.classification(answer))

    @telling_callers
    async def BatchClassify(self, request: pb.BatchClassifyRequest, context: Context) -> pb.BatchClassifyResponse:  # noqa: N802
        """Classify several photos; each that fails has its status in its place."""
        classifier = self._ready(request.options)
        self._check_batch(len(request.photos))
        caller = _caller(context)

        async def outcome(index: int, photo: bytes) -> Answer | Status:
            try:
                with classifier.room.enter(len(photo)):
                    return await classifier.classify(photo, request.options.alternatives, caller)
            except Exception as error:
                return to_status(error, f"photos[{index}]")

        async with asyncio.TaskGroup() as photos:
            tasks = [photos.create_task(outcome(index, photo)) for index, photo in enumerate(request.photos)]
        return pb.BatchClassifyResponse(results=[messages.batch_result(task.result()) for task in tasks])

    @telling_callers
    async def StreamClassify(self, request_iterator: Any, context: Context) -> None:  # type: ignore[override]  # noqa: N802
        """Classify photos as they come; each gets an answer or a status."""
        classifier = self._ready(pb.ClassifyOptions())
        caller = _caller(context)

        async def read() -> tuple[pb.StreamClassifyRequest, Place] | None:
            request = await context.read()
            if request is grpc.aio.EOF:
                return None
            return request, await classifier.room.wait(len(request.photo))

        async def answer(read: tuple[pb.StreamClassifyRequest, Place]) -> pb.StreamClassifyResponse:
            request, place = read
            outcome: Answer | Status
            try:
                with place:
                    _check_photo_id(request.photo_id)
                    classifier.check(request.options.model_name, request.options.alternatives)
                    outcome = await classifier.classify(request.photo, request.options.alternatives, caller)
            except Exception as error:
                outcome = to_status(error)
            return messages.stream_response(request.photo_id, outcome)

        def abandon(read: tuple[pb.StreamClassifyRequest, Place]) -> None:
            read[1].leave()

        window, readers = self._settings.stream_window, self._stream_readers
        if not await answer_stream(read, answer, context.write, window, readers, abandon):
            raise shutting_down()

    @telling_callers
    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802
        """Describe the model."""
        classifier = self._ready(pb.ClassifyOptions(model_name=request.model_name))
        return pb.GetModelResponse(model=messages.model(classifier.bundle), limits=messages.limits(self._settings))

    def stop_reading(self) -> None:
        """Let every stream end, once the photos that it has sent are answered."""
        for reader in self._stream_readers:
            reader.cancel()

    def _ready(self, options: pb.ClassifyOptions) -> Classifier:
        if self.classifier is None:
            raise Refusal(
                "WARMING_UP",
                "The server is still loading its model and answers in a moment. Try again in 1 s.",
                retry_after=1.0,
            )
        if self.classifier.room.closed:
            raise shutting_down()
        self.classifier.check(options.model_name, options.alternatives)
        return self.classifier

    def _check_batch(self, photos: int) -> None:
        if photos > self._settings.max_batch_photos:
            raise Refusal(
                "BATCH_TOO_LARGE",
                f"The batch has {photos:,} photos; the limit is {self._settings.max_batch_photos:,}. Send smaller "
                "batches, or use StreamClassify.",
                metadata={"photos": photos, "limit": self._settings.max_batch_photos},
                field="photos",
            )


def _check_photo_id(photo_id: str) -> None:
    size = len(photo_id.encode())
    if size > MAX_PHOTO_ID_BYTES:
        raise Refusal(
            "PHOTO_ID_TOO_LONG",
            f"The photo_id has {size:,} bytes; the limit is {MAX_PHOTO_ID_BYTES}. Send a shorter one.",
            metadata={"bytes": size, "limit": MAX_PHOTO_ID_BYTES},
            field="photo_id",
        )


def _caller(context: Context) -> Caller:
    remaining = context.time_remaining()
    if remaining is None or math.isinf(remaining):
        return Caller()
    return Caller(deadline=asyncio.get_running_loop().time() + remaining)
