"""AsyncPlaneSpotter: the asyncio client."""

# ruff: noqa: ASYNC109  (timeouts are parameters, as in the sync client)

import asyncio
import contextlib
import contextvars
import itertools
import queue
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any, Self, Unpack

import grpc

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import _batching, _channels, _converters, _image_inputs, _retry, _stream_state, _validation
from planespotter_client._client_base import (
    READY_POLL_SECONDS,
    ClientBase,
    StreamPlan,
    check_window,
    plan_stream,
    ready_timeout,
)
from planespotter_client._errors import PlaneSpotterError, about, client_closed
from planespotter_client._image_inputs import Photo, PhotoWithId
from planespotter_client._prior import Evidence
from planespotter_client._types import Limits, Model, PhotoResult, Prediction, ServerInfo
from planespotter_client._window import MAX_IN_FLIGHT_BYTES, InOrder

_END: Any = object()  # of the photos


class AsyncPlaneSpotter(ClientBase):
    """A client of a planespotter server, or of several, for asyncio.

    async with AsyncPlaneSpotter("127.0.0.1:50051") as spotter:
        print(await spotter.classify("photo.jpg"))  # Boeing 737 (91 %)

    It has the methods of PlaneSpotter: await them, and iterate over `stream` with `async for`. The photos of a stream
    may be an asynchronous iterable.

    Create it anywhere, also at import, before any event loop runs. Each event loop that calls it gets its own
    connections, on its first call; `close` closes all of them.
    """

    _insecure_channel = staticmethod(grpc.aio.insecure_channel)
    _secure_channel = staticmethod(grpc.aio.secure_channel)

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
        min_probability: float | None = None,
        **evidence: Unpack[Evidence],
    ) -> Prediction:
        _validation.check_optional_share("min_probability", min_probability)
        _validation.check_optional_seconds(timeout=timeout, hedge=hedge)
        name = _image_inputs.photo_id(photo)
        with about(name):
            limits = await self._limits()
            options = _converters.options(model, model_version, top_k, heat_map, min_probability, evidence, limits)
            downscale_to = await self._downscale_to(downscale, model, model_version)
            content = await _read(photo, limits, name, downscale_to)
            request = _converters.classify_request(content, options)
            response = await self._call("Classify", request, timeout, retries=self._retries, hedge=hedge)
        return _converters.prediction(response.prediction).with_min_probability(min_probability)

    async def classify_batch(
        self,
        photos: Sequence[Photo | PhotoWithId],
        *,
        top_k: int = 0,
        model: str = "",
        model_version: str = "",
        heat_map: bool = False,
        timeout: float | None = None,
        downscale: bool = False,
        min_probability: float | None = None,
        **evidence: Unpack[Evidence],
    ) -> list[PhotoResult]:
        _validation.check_optional_share("min_probability", min_probability)
        _validation.check_optional_seconds(timeout=timeout)
        limits = await self._limits()
        options = _converters.options(model, model_version, top_k, heat_map, min_probability, evidence, limits)
        results: list[PhotoResult] = []
        batches = _batching.batches(photos, limits, await self._downscale_to(downscale, model, model_version))
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            if isinstance(batch, PhotoResult):
                results.append(batch)
                continue
            results += await self._classify_batch(batch, options, timeout)
        in_order = sorted(results, key=lambda result: result.index)
        return [result.with_min_probability(min_probability) for result in in_order]

    async def stream(
        self,
        photos: Iterable[Photo | PhotoWithId] | AsyncIterable[Photo | PhotoWithId],
        *,
        top_k: int = 0,
        model: str = "",
        model_version: str = "",
        heat_map: bool = False,
        max_in_flight: int | None = None,
        max_in_flight_bytes: int = MAX_IN_FLIGHT_BYTES,
        preserve_order: bool = False,
        downscale: bool = False,
        min_probability: float | None = None,
        **evidence: Unpack[Evidence],
    ) -> AsyncIterator[PhotoResult]:
        _validation.check_optional_share("min_probability", min_probability)
        check_window(max_in_flight, max_in_flight_bytes)
        limits = await self._limits()
        options = _converters.options(model, model_version, top_k, heat_map, min_probability, evidence, limits)
        downscale_to = await self._downscale_to(downscale, model, model_version)
        plan = plan_stream(options, limits, downscale_to, max_in_flight, max_in_flight_bytes)
        stream = _Stream(self, _image_inputs.check_is_collection(photos), plan)
        async with contextlib.aclosing(stream.results(preserve_order)) as results:
            async for result in results:
                yield result.with_min_probability(min_probability)

    async def get_model(self, name: str = "", *, model_version: str = "", timeout: float | None = None) -> Model:
        _validation.check_optional_seconds(timeout=timeout)
        request = pb.GetModelRequest(model_name=name or None, model_version=model_version or None)
        response = await self._call("GetModel", request, timeout)
        return _converters.model(response.model)

    async def list_models(self, *, timeout: float | None = None) -> list[Model]:
        _validation.check_optional_seconds(timeout=timeout)
        models: list[Model] = []
        page_token = ""
        while True:
            response = await self._call("ListModels", pb.ListModelsRequest(page_token=page_token), timeout)
            models += map(_converters.model, response.models)
            page_token = response.next_page_token
            if not page_token:
                return models

    async def get_server_info(self, *, timeout: float | None = None) -> ServerInfo:
        _validation.check_optional_seconds(timeout=timeout)
        return self._cache(await self._call("GetServerInfo", pb.GetServerInfoRequest(), timeout))

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        _validation.check_seconds("timeout", timeout)
        end = self._end(timeout)
        while True:
            try:
                await self.get_server_info(timeout=ready_timeout(end))
                return
            except PlaneSpotterError as error:
                self._check_ready_error(error, timeout, end)
            await asyncio.sleep(READY_POLL_SECONDS)

    async def close(self) -> None:
        self._closed = True
        while self._by_loop:
            loop, servers = self._by_loop.popitem()
            if loop is asyncio.get_running_loop():
                await _close_channels(servers)
            elif loop.is_running():  # in another thread
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_close_channels(servers), loop))
            # The channels of a loop that has ended close when they are collected.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _prepare_channels(self) -> None:
        self._by_loop: dict[asyncio.AbstractEventLoop, _channels.RoundRobin] = {}

    @property
    def _servers(self) -> _channels.RoundRobin:
        """The servers, with channels of the running event loop: a channel of gRPC works in a single loop only."""
        loop = asyncio.get_running_loop()
        servers = self._by_loop.get(loop)
        if servers is None:
            if self._closed:
                raise client_closed(self.address)
            for ended in [other for other in list(self._by_loop) if other.is_closed()]:
                self._by_loop.pop(ended, None)
            servers = self._by_loop[loop] = self._open_all()
        return servers

    async def _limits(self) -> Limits:
        return self._cached_limits or (await self.get_server_info()).limits

    async def _downscale_to(self, downscale: bool, model: str, model_version: str) -> tuple[int, int] | None:
        """Return the (height, width) to downscale photos to; None to send them unchanged."""
        if not downscale:
            return None
        await asyncio.to_thread(_image_inputs.import_pillow, "Photos are downscaled before they are sent")
        key = (model, model_version)
        if key not in self._cached_input_sizes:
            self._cached_input_sizes[key] = (await self.get_model(model, model_version=model_version)).input_size
        return _image_inputs.downscale_target(self._cached_input_sizes[key])

    async def _classify_batch(
        self, batch: _batching.Batch, options: pb.ClassifyOptions, timeout: float | None
    ) -> list[PhotoResult]:
        call = self._batch_call(batch, timeout)
        try:
            while True:
                time_left = call.time_left(time.monotonic())
                response = await self._call("BatchClassify", call.request(options), time_left, retries=call.retries)
                pause = call.handle_response(response, time.monotonic())
                if pause is None:
                    return call.results
                await asyncio.sleep(pause)
        except PlaneSpotterError as error:
            call.handle_failure(error)
        return call.results

    async def _call(
        self,
        method: str,
        request: Any,
        timeout: float | None,
        *,
        retries: int = 0,
        hedge: float | None = None,
    ) -> Any:
        end = self._end(timeout)
        policy = self._call_retries(retries, end)
        while True:
            try:
                if hedge is None:
                    return await self._attempt(self._servers.pick(time.monotonic()), method, request, end)
                return await self._hedged(method, request, end, hedge)
            except PlaneSpotterError as error:
                pause = self._pause_before_retry(policy, error)
            await asyncio.sleep(pause)

    async def _attempt(self, server: _channels.Server, method: str, request: Any, end: float) -> Any:
        call, options = self._start(server, method, end)
        try:
            return await call(request, **options)
        except asyncio.CancelledError:
            if self._closed and not _is_cancelled():
                raise client_closed(self.address) from None
            raise
        except grpc.RpcError as error:
            raise self._map_error(error, server) from error

    async def _hedged(self, method: str, request: Any, end: float, hedge: float) -> Any:
        """Call a server, and another one if there is no response after `hedge` seconds; return the first response."""

        def start() -> asyncio.Task[Any]:
            server = self._servers.pick(time.monotonic())
            return asyncio.create_task(self._attempt(server, method, request, end))

        calls = [start()]
        try:
            ended, _ = await asyncio.wait(calls, timeout=hedge)
            if not ended:
                calls.append(start())
                ended, running = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                if running and all(call.exception() for call in ended):
                    ended, _ = await asyncio.wait(running)  # the other call may succeed
            return min(ended, key=lambda call: call.exception() is not None).result()
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


async def _close_channels(servers: _channels.RoundRobin) -> None:
    for server in servers.servers:
        await server.channel.close()


def _is_cancelled() -> bool:
    """Return whether the current task is being cancelled, rather than a call that it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Stream:
    """A stream over as many connections as it takes: one task reads photos, one sends them, one receives results."""

    def __init__(
        self,
        client: AsyncPlaneSpotter,
        photos: Iterable[Photo | PhotoWithId] | AsyncIterable[Photo | PhotoWithId],
        plan: StreamPlan,
    ) -> None:
        self._client = client
        self._photos = photos
        self._plan = plan
        self._window_changed = asyncio.Event()
        self._state = _stream_state.StreamState(client.address, client._retries, plan.limits)
        self._reconnect = _retry.StreamReconnect(client.timeout, client._retries > 0)
        self._changed = asyncio.Event()
        self._source_error: Exception | None = None  # what `photos` raised
        # Results, at most as many as the window has slots; then why the stream ended, None if all is well.
        self._results: asyncio.Queue[PhotoResult | Exception | None] = asyncio.Queue()

    async def results(self, preserve_order: bool) -> AsyncGenerator[PhotoResult, None]:
        tasks = [asyncio.create_task(self._read_photos()), asyncio.create_task(self._run())]
        order = InOrder()
        try:
            while (result := await self._results.get()) is not None:
                if isinstance(result, Exception):
                    for held in order.drain():
                        yield held
                    raise result
                for due in order.add(result) if preserve_order else (result,):
                    self._plan.window.release(due.index)
                    self._window_changed.set()
                    yield due
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_photos(self) -> None:
        """Read photos from the source, as far ahead as the window allows."""
        try:
            indices = itertools.count()
            async with contextlib.aclosing(_to_async(self._photos)) as photos:
                async for photo in photos:
                    await self._read_photo(photo, next(indices))
        except Exception as error:  # of the source: raised to the consumer after the results of the photos before
            self._source_error = error
        self._state.source_exhausted = True
        self._changed.set()

    async def _read_photo(self, photo: Photo | PhotoWithId, index: int) -> None:
        await self._acquire(index)
        pending = _stream_state.pending(photo, index)
        try:
            content = await _read(pending.photo, self._plan.limits, pending.photo_id, self._plan.downscale_to)
        except PlaneSpotterError as error:
            self._results.put_nowait(pending.to_result(error))
            return
        await self._acquire(index, len(content))
        self._state.add(pending, content)
        self._changed.set()

    async def _acquire(self, index: int, size: int = 0) -> None:
        """Wait for capacity in the window and acquire it."""
        while not self._plan.window.try_acquire(index, size):
            self._window_changed.clear()
            await self._window_changed.wait()

    async def _run(self) -> None:
        """Open one connection after another until all photos are answered."""
        try:
            while await self._wait_for_photos():
                try:
                    await self._exchange(await self._pick_server())
                    self._reconnect.handle_end(time.monotonic())
                except PlaneSpotterError as error:
                    for result in self._state.handle_failure(error):
                        self._results.put_nowait(result)
                    if self._client._closed:
                        raise client_closed(self._client.address) from error
                    self._reconnect.handle_end(time.monotonic(), error)
            self._results.put_nowait(self._source_error)
        except Exception as error:
            self._results.put_nowait(self._source_error or error)

    async def _wait_for_photos(self) -> bool:
        """Return True once there are photos to send and a connection may be opened, False when all is done."""
        while not self._state.done:
            self._changed.clear()
            now = time.monotonic()
            if not self._state.has_unanswered:
                self._reconnect.idle()
            if now < self._reconnect.opens_at:
                await asyncio.sleep(self._reconnect.opens_at - now)
            elif self._state.can_send(now):
                return True
            else:
                await self._wait_for_change(now)
        return False

    async def _wait_for_change(self, now: float) -> None:
        """Wait until the state changes, or a delayed photo is due."""
        due = self._state.next_due()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - now)):
                await self._changed.wait()

    async def _pick_server(self) -> _channels.Server:
        """Return a server for the next connection; after a connection that ended, a random one, and probe it first.

        So a photo that is sent on a stream that then breaks has reached a server.
        """
        servers, now = self._client._servers, time.monotonic()
        server = servers.pick_any(now) if self._reconnect.reconnecting else servers.pick(now)
        if self._reconnect.reconnecting:
            await self._client._attempt(server, "GetServerInfo", pb.GetServerInfoRequest(), self._client._end(None))
        return server

    async def _send(self, call: Any) -> None:
        """Send messages until nothing more will come or the connection has ended."""
        # If it has ended, `_exchange` knows why.
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            await call.write(_converters.stream_config(self._plan.options))
            while not self._state.all_sent:
                self._changed.clear()
                now = time.monotonic()
                if self._state.can_send(now):
                    await call.write(self._state.next_request())
                else:
                    await self._wait_for_change(now)
            await call.done_writing()

    async def _exchange(self, server: _channels.Server) -> None:
        """Open a connection to `server` and receive results until it ends."""
        if self._client._closed:
            raise client_closed(self._client.address)
        call = server.stub.StreamClassify(metadata=self._client._metadata)
        sending = asyncio.create_task(self._send(call))
        try:
            async for response in call:
                results = self._state.handle_response(response, time.monotonic())
                self._changed.set()
                if results:
                    self._reconnect.reset()
                for result in results:
                    self._results.put_nowait(result)
        except asyncio.CancelledError:
            if self._client._closed and not _is_cancelled():
                raise client_closed(self._client.address) from None
            raise
        except grpc.RpcError as error:
            raise self._client._map_error(error, server) from error
        finally:
            call.cancel()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        self._state.handle_end()


async def _read(photo: Photo, limits: Limits, name: str, downscale_to: tuple[int, int] | None) -> bytes:
    # Of these bytes nothing blocks, and a thread would take longer.
    if isinstance(photo, bytes) and downscale_to is None and not _image_inputs.is_convertible(photo, name):
        return _image_inputs.read_photo(photo, limits, name)
    return await asyncio.to_thread(_image_inputs.read_photo, photo, limits, name, downscale_to)


async def _to_async(
    photos: Iterable[Photo | PhotoWithId] | AsyncIterable[Photo | PhotoWithId],
) -> AsyncGenerator[Photo | PhotoWithId, None]:
    if isinstance(photos, AsyncIterable):
        async for photo in photos:
            yield photo
        return
    async with contextlib.aclosing(_read_in_thread(iter(photos))) as read:
        async for photo in read:
            yield photo


async def _read_in_thread(photos: Iterator[Photo | PhotoWithId]) -> AsyncGenerator[Photo | PhotoWithId, None]:
    """Yield `photos`; a dedicated thread reads each on demand.

    A source may block indefinitely: in the loop's thread pool it would starve other work, and keep the program from
    exiting.
    """
    requested: queue.SimpleQueue[futures.Future[Any] | None] = queue.SimpleQueue()

    def read() -> None:
        while (future := requested.get()) is not None:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(next(photos, _END))
            except BaseException as error:
                future.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(read,), daemon=True).start()
    try:
        while True:
            future: futures.Future[Any] = futures.Future()
            requested.put(future)
            if (photo := await asyncio.wrap_future(future)) is _END:
                return
            yield photo
    finally:
        requested.put(None)
