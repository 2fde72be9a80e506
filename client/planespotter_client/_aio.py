"""The client for asyncio. Its twin is _sync.py."""

# ruff: noqa: ASYNC109  (timeouts are parameters, as in the twin)

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Any, Self

import grpc

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client import _shared
from planespotter_client._errors import DeadlineError, PlaneSpotterError, UnavailableError, from_call, not_ready
from planespotter_client._results import Classification, Limits, Model, PhotoAnswer
from planespotter_client._shared import Pending, Photo


class AsyncPlaneSpotter:
    """A connection to a planespotter server, for asyncio. Make and use it inside one event loop.

    `address` is HOST:PORT; `timeout` is how many seconds a call may take (a stream may take any time). Every method
    raises PlaneSpotterError, of which _errors.py draws the tree.

        async with AsyncPlaneSpotter("127.0.0.1:50051") as spotter:
            print(await spotter.classify("photo.jpg"))
    """

    def __init__(self, address: str = _shared.DEFAULT_ADDRESS, *, timeout: float = 60.0) -> None:
        self.address = _shared.check_address(address)
        self.timeout = timeout
        self._channel = grpc.aio.insecure_channel(address, options=_shared.channel_options())
        self._stub = pb_grpc.ClassifierServiceStub(self._channel)
        self._known_limits: Limits | None = None

    async def classify(
        self, photo: Photo, *, alternatives: int = 0, model: str = "", timeout: float | None = None
    ) -> Classification:
        """Classify one photo: a path, bytes, or a file opened in binary mode."""
        name = _shared.photo_id(photo)
        limits = await self._limits()
        options = _shared.options(model, alternatives, limits)
        data = await asyncio.to_thread(_shared.read_photo, photo, limits, name)
        request = pb.ClassifyRequest(photo=data, options=options)
        return _shared.classification((await self._call(self._stub.Classify, request, timeout, name)).classification)

    async def classify_many(
        self, photos: Sequence[Photo], *, alternatives: int = 0, model: str = "", timeout: float | None = None
    ) -> list[PhotoAnswer]:
        """Classify photos in batches; the answers come in their order, each a classification or an error.

        For more photos than fit into memory use `stream`. `timeout` is for each batch. A batch that fails, because the
        server went away, say, leaves its error in the answer of each of its photos and the other batches alone; only
        a server that cannot even be asked for its limits, which the first call does, raises.
        """
        limits = await self._limits()
        options = _shared.options(model, alternatives, limits)
        answers: list[PhotoAnswer] = []
        batches = _shared.batches(photos, limits)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            if isinstance(batch, PhotoAnswer):
                answers.append(batch)
                continue
            request = pb.BatchClassifyRequest(photos=batch.photos, options=options)
            try:
                response = await self._call(self._stub.BatchClassify, request, timeout)
                answers += _shared.batch_answers(batch, response, self.address)
            except PlaneSpotterError as error:
                answers += _shared.batch_failed(batch, error)
        return sorted(answers, key=lambda answer: answer.index)

    async def stream(
        self,
        photos: Iterable[Photo] | AsyncIterable[Photo],
        *,
        alternatives: int = 0,
        model: str = "",
        window: int | None = None,
    ) -> AsyncIterator[PhotoAnswer]:
        """Classify any number of photos over one stream; answers come as they are ready, in any order.

        Each photo gets exactly one answer: a classification or an error. At most `window` photos (default: twice what
        the server works on at a time) are taken from `photos` ahead of the answers that you took, so memory is
        bounded. A plain iterable is read in another thread.

        If the server goes away or the connection breaks, the iteration raises PlaneSpotterError, after every answer
        that had arrived. The answers that you have stay good; send the photos whose `index` is in none of them again,
        in a new stream. If `photos` itself raises, the answers to what it gave before still come, and then its
        exception.
        """
        limits = await self._limits()
        options = _shared.options(model, alternatives, limits)
        places = asyncio.Semaphore(window or 2 * limits.stream_window)
        waiting: dict[str, Pending] = {}
        # Answers, at most `window` of them; then what ended the stream: None if all is well.
        answers: asyncio.Queue[PhotoAnswer | Exception | None] = asyncio.Queue()
        call = self._stub.StreamClassify()
        all_sent = False
        source_error: Exception | None = None  # what `photos` raised

        async def send() -> None:
            nonlocal all_sent, source_error
            source = _asynchronous(photos)
            try:
                index = 0
                async for photo in source:
                    await places.acquire()
                    one = _shared.pending(photo, index)
                    index += 1
                    try:
                        data = await asyncio.to_thread(_shared.read_photo, photo, limits, one.photo_id)
                    except PlaneSpotterError as error:
                        answers.put_nowait(one.answered(error))
                        continue
                    waiting[str(one.index)] = one
                    request = pb.StreamClassifyRequest(photo_id=str(one.index), photo=data, options=options)
                    try:
                        await call.write(request)
                    except (grpc.RpcError, asyncio.InvalidStateError):
                        return  # the stream has ended; `collect` knows why
            except Exception as error:  # from `photos`: it belongs to whoever iterates, after the answers under way
                source_error = error
            all_sent = True
            with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
                await call.done_writing()

        async def collect() -> None:
            try:
                async for response in call:
                    one = _shared.take(waiting, response.photo_id, self.address)
                    answers.put_nowait(one.answered(_shared.outcome(response, one.photo_id)))
                if waiting or not all_sent:
                    raise _shared.ended_early(self.address)
                answers.put_nowait(source_error)
            except grpc.RpcError as error:
                answers.put_nowait(source_error or from_call(error, self.address))
            except Exception as error:
                answers.put_nowait(error)

        tasks = [asyncio.create_task(send()), asyncio.create_task(collect())]
        try:
            while (answer := await answers.get()) is not None:
                if isinstance(answer, Exception):
                    raise answer
                places.release()
                yield answer
        finally:
            call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def model(self, name: str = "", *, timeout: float | None = None) -> Model:
        """Describe the model that answers: its label tree, metrics and limits."""
        model = _shared.model(await self._call(self._stub.GetModel, pb.GetModelRequest(model_name=name), timeout))
        self._known_limits = model.limits
        return model

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Return as soon as the server answers; raise UnavailableError if it does not within `timeout` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            try:
                await self.model(timeout=max(0.1, min(5.0, end - loop.time())))
                return
            except PlaneSpotterError as error:
                if not isinstance(error, UnavailableError | DeadlineError):
                    raise
                if loop.time() >= end:
                    raise not_ready(self.address, timeout, error) from error
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        """Close the connection; what is under way is cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _limits(self) -> Limits:
        return self._known_limits or (await self.model()).limits

    async def _call(self, method: Any, request: Any, timeout: float | None, name: str = "") -> Any:
        try:
            return await method(request, timeout=self.timeout if timeout is None else timeout)
        except grpc.RpcError as error:
            raise from_call(error, self.address, name) from error


async def _asynchronous(photos: Iterable[Photo] | AsyncIterable[Photo]) -> AsyncIterator[Photo]:
    if isinstance(photos, AsyncIterable):
        async for photo in photos:
            yield photo
        return
    source = iter(photos)
    following = functools.partial(next, source, None)  # a photo is never None
    while (photo := await asyncio.to_thread(following)) is not None:
        yield photo
