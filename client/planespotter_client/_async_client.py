"""The client for asyncio. Its twin is _sync.py."""

# ruff: noqa: ASYNC109  (timeouts are parameters, as in the twin)

import asyncio
import contextlib
import contextvars
import itertools
import queue
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any, Self

import grpc

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client import _batching, _channels, _converters, _image_inputs, _retry, _stream_state, _validation
from planespotter_client._credentials import File, security
from planespotter_client._errors import (
    DeadlineExceededError,
    PlaneSpotterError,
    UnavailableError,
    about,
    closed,
    from_call,
    none_answers,
    not_ready,
)
from planespotter_client._image_inputs import Photo
from planespotter_client._types import Limits, Model, PhotoResult, Prediction, ServerInfo

_END: Any = object()  # of photos


class AsyncPlaneSpotter:
    """A connection to a planespotter server, or to several, for asyncio. Make and use it inside one event loop.

        async with AsyncPlaneSpotter("127.0.0.1:50051") as spotter:
            print(await spotter.classify("photo.jpg"))  # Boeing 737-800 (94 %)

    `address` is HOST:PORT, or a gRPC target such as dns:///planes.example:50051, behind which there may be several
    servers; or several addresses, in a sequence or in one text with commas between. Calls go to all servers by turns.
    One that is not well, by its own health checks, or does not answer is left out until it is, and what it could not
    answer goes to another.

    `timeout` is how many seconds a call may take, and how long a stream waits for a server to come back.
    `retries` is how often a photo is sent again that a busy server asks to send again later, after as long as the
    server says and within the time of the call; 0 raises OverloadedError at once. Every method raises
    PlaneSpotterError, of which _errors.py draws the tree, and TypeError or ValueError for a number that makes no sense.

    `token` says who calls, if the server asks for that; None takes the variable PLANESPOTTER_TOKEN, "" none. `tls` uses
    TLS and trusts the authorities that everybody trusts; `tls_ca`, a PEM file, does so and trusts that authority
    alone; `tls_cert` and `tls_key` are PEM files for a server that wants to see a certificate; `tls_name` is the name
    that the server's own must show, if that is not the one in `address`. A token goes to other machines over TLS only,
    unless `insecure` says that nobody can listen in.

        AsyncPlaneSpotter(["planes-1.example:50051", "planes-2.example:50051"], tls=True, token=token)
    """

    def __init__(
        self,
        address: str | Sequence[str] = _channels.DEFAULT_ADDRESS,
        *,
        timeout: float = 60.0,
        retries: int = 3,
        token: str | None = None,
        tls: bool = False,
        tls_ca: File | None = None,
        tls_cert: File | None = None,
        tls_key: File | None = None,
        tls_name: str | None = None,
        insecure: bool = False,
    ) -> None:
        addresses = _channels.addresses(address)
        _validation.seconds("timeout", timeout)
        _validation.count("retries", retries, least=0)
        self.address = ",".join(addresses)
        self.timeout = timeout
        self._retries = retries
        secured = security(
            *addresses,
            token=token,
            tls=tls,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_name=tls_name,
            insecure=insecure,
        )
        self._secured = secured
        self._metadata = secured.metadata
        self._closed = False
        servers = []
        for one in addresses:
            options = [*_channels.options_of(one, addresses), *secured.options]
            if secured.credentials is None:
                channel = grpc.aio.insecure_channel(one, options)
            else:
                channel = grpc.aio.secure_channel(one, secured.credentials, options)
            servers.append(_channels.Server(one, channel, pb_grpc.ClassifierServiceStub(channel)))
        self._rotation = _channels.Rotation(servers)
        self._known_limits: Limits | None = None
        self._known_sizes: dict[tuple[str, str], tuple[int, int]] = {}

    async def classify(
        self,
        photo: Photo,
        *,
        top_k: int = 0,
        model: str = "",
        model_version: str = "",
        heat_map: bool = False,
        timeout: float | None = None,
        hedge: float | None = None,
        downscale: bool = False,
    ) -> Prediction:
        """Classify one photo: a path, bytes, a file opened in binary mode, a PIL image or a NumPy array.

            answer = await spotter.classify("photo.jpg", top_k=3)
            print(answer)              # Boeing 737-800 (94 %)
            print(answer.to_json())

        `alternatives` is how many of the most probable aircraft to name. `model` and `version` say which network
        answers; without them the server's default does, in its highest version. `explain` asks for a heat map of where
        in the photo the network looked, which takes it longer, and which not every network can make: Model.can_explain.

        `hedge` sends the photo a second time, to another server if there are several, where no answer came within so
        many seconds; the first answer counts, and the other call is cancelled. It cuts the longest waits at the price
        of some calls more: take a time that few calls need.

        `shrink` scales a photo that is much larger down before it is sent, to twice the size that the network looks at:
        of one of 12 megapixels and 3 MB about 100 kB are left for a network that looks at 224 x 224. The network then
        sees nearly, but not quite, what it would have seen, and the answer may differ a little. It needs Pillow: pip
        install "planespotter[images]".
        """
        _validation.seconds_if_given(timeout=timeout, hedge=hedge)
        name = _image_inputs.photo_id(photo)
        with about(name):
            limits = await self._limits()
            options = _converters.options(model, model_version, top_k, heat_map, limits)
            shrink_to = await self._shrink_to(downscale, model, model_version)
            data = await _read(photo, limits, name, shrink_to)
            request = _converters.classify_request(data, options)
            response = await self._call("Classify", request, timeout, retries=self._retries, hedge=hedge)
        return _converters.prediction(response.prediction)

    async def classify_batch(
        self,
        photos: Sequence[Photo],
        *,
        top_k: int = 0,
        model: str = "",
        model_version: str = "",
        heat_map: bool = False,
        timeout: float | None = None,
        downscale: bool = False,
    ) -> list[PhotoResult]:
        """Classify photos in batches; the answers come in their order, each a classification or an error.

            for answer in await spotter.classify_batch(["one.jpg", "two.jpg"]):
                print(answer)  # one.jpg: Boeing 737-800 (94 %)

        For more photos than fit into memory use `stream`. `timeout` is for each batch. A batch that fails, because the
        server went away, say, leaves its error in the answer of each of its photos and the other batches alone; only
        a server that cannot even be asked for its limits, which the first call does, raises. Photos for which a busy
        server has no room are sent again. The other parameters are those of `classify`.
        """
        _validation.seconds_if_given(timeout=timeout)
        limits = await self._limits()
        options = _converters.options(model, model_version, top_k, heat_map, limits)
        answers: list[PhotoResult] = []
        batches = _batching.batches(photos, limits, await self._shrink_to(downscale, model, model_version))
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            if isinstance(batch, PhotoResult):
                answers.append(batch)
                continue
            answers += await self._classify_batch(batch, options, timeout)
        return sorted(answers, key=lambda answer: answer.index)

    async def stream(
        self,
        photos: Iterable[Photo] | AsyncIterable[Photo],
        *,
        top_k: int = 0,
        model: str = "",
        model_version: str = "",
        heat_map: bool = False,
        max_in_flight: int | None = None,
        max_in_flight_bytes: int = _stream_state.WINDOW_BYTES,
        preserve_order: bool = False,
        downscale: bool = False,
    ) -> AsyncIterator[PhotoResult]:
        """Classify any number of photos over one stream; answers come as they are ready, or as the photos were given.

            async for answer in spotter.stream(Path("archive").rglob("*.jpg")):
                print(answer)  # archive/one.jpg: Boeing 737-800 (94 %)

        Each photo gets exactly one answer: a classification or an error. At most `window` photos (default: twice what
        the server works on at a time), and of these no more than `window_bytes` bytes (64 MiB) as they are sent, are
        held ahead of the answers that you took, so memory is bounded; one photo is always let through. A plain iterable
        is read in a thread of its own, so it may block. With `ordered` the answers come in the order of the photos, for
        which those that are ready sooner wait. The other parameters are those of `classify`.

        If the server shuts down or the connection breaks, what has no answer is sent again, to whichever server
        answers, for as long as no `timeout` seconds (that of the client) go by without an answer. Then the iteration
        raises UnavailableError, after every answer that had arrived. The answers that you have stay good; send the
        photos whose `index` is in none of them again, in a new stream. A photo that was with the server each time when
        three connections broke gets an error for an answer: perhaps it was the cause. If `photos` itself raises, the
        answers to what it gave before still come, and then its exception.
        """
        if max_in_flight is not None:
            _validation.count("max_in_flight", max_in_flight, least=1)
        _validation.count("max_in_flight_bytes", max_in_flight_bytes, least=1)
        limits = await self._limits()
        options = _converters.options(model, model_version, top_k, heat_map, limits)
        shrink_to = await self._shrink_to(downscale, model, model_version)
        room = _stream_state.Window(max_in_flight or 2 * limits.max_in_flight_per_stream, max_in_flight_bytes)
        stream = _Stream(self, _image_inputs.several(photos), options, limits, room, shrink_to)
        async with contextlib.aclosing(stream.answers(preserve_order)) as answers:
            async for answer in answers:
                yield answer

    async def get_model(self, name: str = "", *, model_version: str = "", timeout: float | None = None) -> Model:
        """Describe the model that answers.

            model = await spotter.get_model()
            print(model)                      # first 1.0: tells 24 kinds of aircraft apart, in photos of 288 x 192
            print(model.tree["Boeing"]["737"])

        It holds the label tree and how well it was measured to do.
        """
        _validation.seconds_if_given(timeout=timeout)
        request = pb.GetModelRequest(model_name=name or None, model_version=model_version or None)
        response = await self._call("GetModel", request, timeout)
        return _converters.model(response.model)

    async def list_models(self, *, timeout: float | None = None) -> list[Model]:
        """List the models that the server has.

            [model.name for model in await spotter.list_models() if model.is_default]

        They come by name, and of each name the highest version first.
        """
        _validation.seconds_if_given(timeout=timeout)
        found: list[Model] = []
        page_token = ""
        while True:
            response = await self._call("ListModels", pb.ListModelsRequest(page_token=page_token), timeout)
            found += [_converters.model(one) for one in response.models]
            page_token = response.next_page_token
            if not page_token:
                return found

    async def get_server_info(self, *, timeout: float | None = None) -> ServerInfo:
        """Get the version of the server and its limits for this caller.

        info = await spotter.get_server_info()
        print(info.version, info.limits.max_photo_bytes)
        """
        _validation.seconds_if_given(timeout=timeout)
        response = await self._call("GetServerInfo", pb.GetServerInfoRequest(), timeout)
        info = _converters.server_info(response)
        self._known_limits = info.limits
        return info

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Return as soon as the server answers; raise UnavailableError if it does not within `timeout` seconds."""
        _validation.seconds("timeout", timeout)
        end = time.monotonic() + timeout
        while True:
            try:
                await self.get_server_info(timeout=max(0.1, min(5.0, end - time.monotonic())))
                return
            except PlaneSpotterError as error:
                if not isinstance(error, UnavailableError | DeadlineExceededError) or self._closed:
                    raise
                if time.monotonic() >= end:
                    raise not_ready(self.address, timeout, error) from error
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        """Close the connection; what is under way is cancelled."""
        self._closed = True
        for server in self._rotation.servers:
            await server.channel.close()

    def __repr__(self) -> str:
        closed = ", closed" if self._closed else ""
        return f"<{type(self).__name__} of {self.address} {self._secured}{closed}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _limits(self) -> Limits:
        return self._known_limits or (await self.get_server_info()).limits

    async def _shrink_to(self, shrink: bool, model: str, version: str) -> tuple[int, int] | None:
        """Return the size to scale photos down to, as (height, width); None to send them as they are."""
        if not shrink:
            return None
        await asyncio.to_thread(_image_inputs.pillow, "Photos are to be scaled down before they are sent")
        if (model, version) not in self._known_sizes:
            self._known_sizes[model, version] = (await self.get_model(model, model_version=version)).input_size
        return _image_inputs.size_to_send(self._known_sizes[model, version])

    async def _classify_batch(
        self, batch: _batching.Batch, options: pb.ClassifyOptions, timeout: float | None
    ) -> list[PhotoResult]:
        """Return the answers to a batch; what a busy server refuses of it is sent again."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        retries = self._retries
        settled: list[PhotoResult] = []
        while True:
            request = _converters.batch_request(batch.photos, options)
            try:
                response = await self._call("BatchClassify", request, end - time.monotonic(), retries=retries)
                answers = _batching.batch_answers(batch, response, self.address)
            except PlaneSpotterError as error:
                return settled + _batching.batch_failed(batch, error)
            again = _batching.to_send_again(batch, answers, retries, end, time.monotonic())
            if again is None:
                return settled + answers
            batch, pause = again
            waiting = {one.index for one in batch.waiting}
            settled += [answer for answer in answers if answer.index not in waiting]
            retries -= 1
            await asyncio.sleep(pause)

    async def _call(
        self,
        method: str,
        request: Any,
        timeout: float | None,
        *,
        retries: int = 0,
        hedge: float | None = None,
    ) -> Any:
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        attempts = _retry.Attempts(len(self._rotation.servers), retries, end)
        while True:
            try:
                if hedge is None:
                    return await self._ask(self._rotation.next(time.monotonic()), method, request, end)
                return await self._hedged(method, request, end, hedge)
            except PlaneSpotterError as error:
                pause = attempts.pause(error, time.monotonic())
                if pause is None or self._closed:
                    if len(self._rotation.servers) > 1 and isinstance(error, UnavailableError) and not self._closed:
                        raise none_answers(self.address, error) from error
                    raise
            await asyncio.sleep(pause)

    async def _ask(self, server: _channels.Server, method: str, request: Any, end: float) -> Any:
        if self._closed:
            raise closed(self.address)
        timeout = max(0.0, end - time.monotonic())
        call = getattr(server.stub, method)(request, timeout=timeout, metadata=self._metadata)
        try:
            return await call
        except asyncio.CancelledError:
            if self._closed and not _is_cancelled():
                raise closed(self.address) from None
            raise
        except grpc.RpcError as error:
            raise self._failed(error, server) from error

    def _failed(self, error: Any, server: _channels.Server) -> PlaneSpotterError:
        if self._closed:
            return closed(self.address)
        failed = from_call(error, server.address)
        if isinstance(failed, UnavailableError):
            self._rotation.failed(server, time.monotonic())
        return failed

    async def _hedged(self, method: str, request: Any, end: float, hedge: float) -> Any:
        """Ask one server, and another if that one is slow; return the first answer."""

        def ask() -> asyncio.Task[Any]:
            server = self._rotation.next(time.monotonic())
            return asyncio.create_task(self._ask(server, method, request, end))

        asked = [ask()]
        try:
            ended, _ = await asyncio.wait(asked, timeout=hedge)
            if not ended:
                asked.append(ask())
                ended, others = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
                if others and all(call.exception() for call in ended):
                    ended, _ = await asyncio.wait(others)  # the other one may do better
            return min(ended, key=lambda call: call.exception() is not None).result()
        finally:
            for call in asked:
                call.cancel()
            await asyncio.gather(*asked, return_exceptions=True)


def _is_cancelled() -> bool:
    """Return whether somebody cancels the task that runs, rather than a call that it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Stream:
    """Photos on one stream after another: one task takes the photos, one sends them, and one collects answers."""

    def __init__(
        self,
        client: AsyncPlaneSpotter,
        photos: Iterable[Photo] | AsyncIterable[Photo],
        options: pb.ClassifyOptions,
        limits: Limits,
        window: _stream_state.Window,
        shrink_to: tuple[int, int] | None,
    ) -> None:
        self._client = client
        self._photos = photos
        self._options = options
        self._limits = limits
        self._shrink_to = shrink_to
        self._window = window
        self._room = asyncio.Event()  # set when the window has more of it
        self._ledger = _stream_state.Ledger(client.address, client._retries)
        self._reopening = _retry.Reopening(client.timeout, client._retries > 0)
        self._changed = asyncio.Event()
        self._source_error: Exception | None = None  # what `photos` raised
        # Answers, as many as the window has places; then what ended the stream: None if all is well.
        self._answers: asyncio.Queue[PhotoResult | Exception | None] = asyncio.Queue()

    async def answers(self, ordered: bool) -> AsyncGenerator[PhotoResult, None]:
        tasks = [asyncio.create_task(self._take()), asyncio.create_task(self._collect())]
        order = _stream_state.InOrder()
        try:
            while (answer := await self._answers.get()) is not None:
                if isinstance(answer, Exception):
                    for held_back in order.rest():
                        yield held_back
                    raise answer
                for ready in order.add(answer) if ordered else (answer,):
                    self._window.free(ready.index)
                    self._room.set()
                    yield ready
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self) -> None:
        """Take photos from their source, as far ahead as the window allows."""
        try:
            indices = itertools.count()
            async with contextlib.aclosing(_asynchronous(self._photos)) as photos:
                async for photo in photos:
                    await self._take_one(photo, next(indices))
        except Exception as error:  # from `photos`: it belongs to whoever iterates, after the answers under way
            self._source_error = error
        self._ledger.all_given = True
        self._changed.set()

    async def _take_one(self, photo: Photo, index: int) -> None:
        await self._take_room(index)
        waiting = _stream_state.pending(photo, index)
        try:
            data = await _read(photo, self._limits, waiting.photo_id, self._shrink_to)
        except PlaneSpotterError as error:
            self._answers.put_nowait(waiting.answered(error))
            return
        await self._take_room(index, len(data))
        self._ledger.add(waiting, data)
        self._changed.set()

    async def _take_room(self, index: int, size: int = 0) -> None:
        """Wait for room in the window, and take it."""
        while not self._window.take(index, size):
            self._room.clear()
            await self._room.wait()

    async def _collect(self) -> None:
        """Open one stream after another until all photos have their answers."""
        try:
            while await self._until_photos_wait():
                try:
                    await self._exchange(await self._reach())
                    self._reopening.ended(time.monotonic())
                except PlaneSpotterError as error:
                    for answer in self._ledger.broke(error):
                        self._answers.put_nowait(answer)
                    if self._client._closed:
                        raise closed(self._client.address) from error
                    self._reopening.ended(time.monotonic(), error)
            self._answers.put_nowait(self._source_error)
        except Exception as error:
            self._answers.put_nowait(self._source_error or error)

    async def _until_photos_wait(self) -> bool:
        """Return True as soon as there are photos to send and a stream may be opened, False when all is done."""
        while not self._ledger.done:
            self._changed.clear()
            now = time.monotonic()
            if not self._ledger.waits:
                self._reopening.idle()
            if now < self._reopening.opens_at:
                await asyncio.sleep(self._reopening.opens_at - now)
            elif self._ledger.has_more(now):
                return True
            else:
                await self._wait(now)
        return False

    async def _wait(self, now: float) -> None:
        """Wait until something changes, or a photo is due that had to wait."""
        next_time = self._ledger.next_time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if next_time is None else max(0.0, next_time - now)):
                await self._changed.wait()

    async def _reach(self) -> _channels.Server:
        """Return a server to open a stream on: after one that ended, a server that answers a smaller question.

        So a photo that was sent on a stream which then broke was with a server.
        """
        now = time.monotonic()
        server = self._client._rotation.next(now)
        if self._reopening.again:
            await self._client._ask(server, "GetServerInfo", pb.GetServerInfoRequest(), now + self._client.timeout)
        return server

    async def _send(self, call: Any) -> None:
        """Send what the ledger has, until nothing more will come or the stream is over."""
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):  # it is over; `_exchange` knows why
            await call.write(_converters.stream_config(self._options))
            while not self._ledger.all_sent:
                self._changed.clear()
                now = time.monotonic()
                if self._ledger.has_more(now):
                    await call.write(self._ledger.next_request())
                else:
                    await self._wait(now)
            await call.done_writing()

    async def _exchange(self, server: _channels.Server) -> None:
        """Open a stream to `server` and collect its answers, until it ends."""
        if self._client._closed:
            raise closed(self._client.address)
        call = server.stub.StreamClassify(metadata=self._client._metadata)
        sending = asyncio.create_task(self._send(call))
        try:
            async for response in call:
                answer = self._ledger.note(response, time.monotonic())
                self._changed.set()
                if answer is not None:
                    self._reopening.answered()
                    self._answers.put_nowait(answer)
        except asyncio.CancelledError:
            if self._client._closed and not _is_cancelled():
                raise closed(self._client.address) from None
            raise
        except grpc.RpcError as error:
            raise self._client._failed(error, server) from error
        finally:
            call.cancel()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        if not self._ledger.done:
            self._client._rotation.failed(server, time.monotonic())
        self._ledger.ended()


async def _read(photo: Photo, limits: Limits, name: str, shrink_to: tuple[int, int] | None) -> bytes:
    if isinstance(photo, bytes) and shrink_to is None:  # nothing to wait for, and a thread would take longer
        return _image_inputs.read_photo(photo, limits, name)
    return await asyncio.to_thread(_image_inputs.read_photo, photo, limits, name, shrink_to)


async def _asynchronous(photos: Iterable[Photo] | AsyncIterable[Photo]) -> AsyncGenerator[Photo, None]:
    if isinstance(photos, AsyncIterable):
        async for photo in photos:
            yield photo
        return
    async with contextlib.aclosing(_read_aside(iter(photos))) as read:
        async for photo in read:
            yield photo


async def _read_aside(photos: Iterator[Photo]) -> AsyncGenerator[Photo, None]:
    """Yield `photos`, each read when it is asked for, by a thread of their own.

    A source may block for as long as it likes: with a thread of the loop's pool it would keep others from theirs, and
    the program from ending.
    """
    asked: queue.SimpleQueue[futures.Future[Any] | None] = queue.SimpleQueue()

    def read() -> None:
        while (wanted := asked.get()) is not None:
            if not wanted.set_running_or_notify_cancel():
                continue
            try:
                wanted.set_result(next(photos, _END))
            except BaseException as error:
                wanted.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(read,), daemon=True).start()
    try:
        while True:
            wanted: futures.Future[Any] = futures.Future()
            asked.put(wanted)
            if (photo := await asyncio.wrap_future(wanted)) is _END:
                return
            yield photo
    finally:
        asked.put(None)
