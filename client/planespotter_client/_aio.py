"""The client for asyncio. Its twin is _sync.py."""

# ruff: noqa: ASYNC109  (timeouts are parameters, as in the twin)

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Any, Self

import grpc

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client import _shared
from planespotter_client._errors import DeadlineError, PlaneSpotterError, UnavailableError, from_call, not_ready
from planespotter_client._results import Classification, Limits, Model, PhotoAnswer
from planespotter_client._security import File, security
from planespotter_client._shared import Photo


class AsyncPlaneSpotter:
    """A connection to a planespotter server, for asyncio. Make and use it inside one event loop.

    `address` is HOST:PORT; `timeout` is how many seconds a call may take (a stream may take any time). Every method
    raises PlaneSpotterError, of which _errors.py draws the tree.

    `token` says who calls, if the server asks for that; None takes the variable PLANESPOTTER_TOKEN, "" none. `tls` uses
    TLS and trusts the authorities that everybody trusts; `tls_ca`, a PEM file, does so and trusts that authority
    alone; `tls_cert` and `tls_key` are PEM files for a server that wants to see a certificate. A token goes to other
    machines over TLS only, unless `insecure` says that nobody can listen in.

        async with AsyncPlaneSpotter("127.0.0.1:50051") as spotter:
            print(await spotter.classify("photo.jpg"))
    """

    def __init__(
        self,
        address: str = _shared.DEFAULT_ADDRESS,
        *,
        timeout: float = 60.0,
        token: str | None = None,
        tls: bool = False,
        tls_ca: File | None = None,
        tls_cert: File | None = None,
        tls_key: File | None = None,
        insecure: bool = False,
    ) -> None:
        self.address = _shared.check_address(address)
        self.timeout = timeout
        secured = security(
            address, token=token, tls=tls, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key, insecure=insecure
        )
        self._metadata = secured.metadata
        options = _shared.channel_options()
        if secured.credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options)
        else:
            self._channel = grpc.aio.secure_channel(address, secured.credentials, options)
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

        If the server shuts down in good order, what it has not answered is sent again to whichever server takes its
        place within `timeout` seconds (that of the client). If none does, or the connection breaks, the iteration
        raises PlaneSpotterError, after every answer that had arrived. The answers that you have stay good; send the
        photos whose `index` is in none of them again, in a new stream. If `photos` itself raises, the answers to what
        it gave before still come, and then its exception.
        """
        limits = await self._limits()
        options = _shared.options(model, alternatives, limits)
        stream = _Stream(self, photos, options, limits, window or 2 * limits.stream_window)
        async for answer in stream.answers():
            yield answer

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
            return await method(request, timeout=self.timeout if timeout is None else timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_call(error, self.address, name) from error


class _Stream:
    """Photos on one stream after another: one task takes the photos, one sends them, and one collects answers."""

    def __init__(
        self,
        client: AsyncPlaneSpotter,
        photos: Iterable[Photo] | AsyncIterable[Photo],
        options: pb.ClassifyOptions,
        limits: Limits,
        window: int,
    ) -> None:
        self._client = client
        self._photos = photos
        self._options = options
        self._limits = limits
        self._places = asyncio.Semaphore(window)
        self._ledger = _shared.Ledger(client.address)
        self._changed = asyncio.Event()
        self._source_error: Exception | None = None  # what `photos` raised
        # Answers, at most `window` of them; then what ended the stream: None if all is well.
        self._answers: asyncio.Queue[PhotoAnswer | Exception | None] = asyncio.Queue()

    async def answers(self) -> AsyncIterator[PhotoAnswer]:
        tasks = [asyncio.create_task(self._take()), asyncio.create_task(self._collect())]
        try:
            while (answer := await self._answers.get()) is not None:
                if isinstance(answer, Exception):
                    raise answer
                self._places.release()
                yield answer
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self) -> None:
        """Take photos from their source, as far ahead as the window allows."""
        try:
            index = 0
            async for photo in _asynchronous(self._photos):
                await self._places.acquire()
                waiting = _shared.pending(photo, index)
                index += 1
                try:
                    data = await asyncio.to_thread(_shared.read_photo, photo, self._limits, waiting.photo_id)
                except PlaneSpotterError as error:
                    self._answers.put_nowait(waiting.answered(error))
                    continue
                self._ledger.add(waiting, data, self._options)
                self._changed.set()
        except Exception as error:  # from `photos`: it belongs to whoever iterates, after the answers under way
            self._source_error = error
        self._ledger.all_given = True
        self._changed.set()

    async def _send(self, call: Any) -> None:
        """Send what the ledger has, until nothing more will come or the stream is over."""
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):  # it is over; `_run_stream` knows why
            while not self._ledger.all_sent:
                self._changed.clear()
                if self._ledger.has_more:
                    await call.write(self._ledger.next_request())
                else:
                    await self._changed.wait()
            await call.done_writing()

    async def _collect(self) -> None:
        reopening = _shared.Reopening(self._client.timeout)
        try:
            while not await self._run_stream(reopening):
                reopening.moved(time.monotonic())
                await asyncio.sleep(reopening.delay())
            self._answers.put_nowait(self._source_error)
        except Exception as error:
            self._answers.put_nowait(error)

    async def _run_stream(self, reopening: _shared.Reopening) -> bool:
        """Open a stream and collect its answers; return whether all photos are answered, else another is needed."""
        self._ledger.begin()
        call = self._client._stub.StreamClassify(metadata=self._client._metadata)
        sending = asyncio.create_task(self._send(call))
        try:
            async for response in call:
                answer = self._ledger.note(response)
                self._changed.set()
                if answer is not None:
                    reopening.answered()
                    self._answers.put_nowait(answer)
            return self._ledger.end()
        except grpc.RpcError as error:
            if self._source_error is not None:
                raise self._source_error from error
            failed = from_call(error, self._client.address)
            if not reopening.may_follow(failed, time.monotonic()):
                raise failed from error
            return False
        finally:
            call.cancel()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _asynchronous(photos: Iterable[Photo] | AsyncIterable[Photo]) -> AsyncIterator[Photo]:
    if isinstance(photos, AsyncIterable):
        async for photo in photos:
            yield photo
        return
    source = iter(photos)
    following = functools.partial(next, source, None)  # a photo is never None
    while (photo := await asyncio.to_thread(following)) is not None:
        yield photo
