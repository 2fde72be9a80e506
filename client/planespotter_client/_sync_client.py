"""PlaneSpotter: the synchronous client."""

import contextlib
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
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


class PlaneSpotter(ClientBase):
    """A client of a planespotter server, or of several. Thread-safe.

    with PlaneSpotter("127.0.0.1:50051") as spotter:
        print(spotter.classify("photo.jpg"))  # Boeing 737 (91 %)
    """

    _insecure_channel = staticmethod(grpc.insecure_channel)
    _secure_channel = staticmethod(grpc.secure_channel)

    def classify(
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
            limits = self._limits()
            options = _converters.options(model, model_version, top_k, heat_map, min_probability, evidence, limits)
            downscale_to = self._downscale_to(downscale, model, model_version)
            content = _image_inputs.read_photo(photo, limits, name, downscale_to)
            request = _converters.classify_request(content, options)
            response = self._call("Classify", request, timeout, retries=self._retries, hedge=hedge)
        return _converters.prediction(response.prediction).with_min_probability(min_probability)

    def classify_batch(
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
        limits = self._limits()
        options = _converters.options(model, model_version, top_k, heat_map, min_probability, evidence, limits)
        results: list[PhotoResult] = []
        for batch in _batching.batches(photos, limits, self._downscale_to(downscale, model, model_version)):
            if isinstance(batch, PhotoResult):
                results.append(batch)
                continue
            results += self._classify_batch(batch, options, timeout)
        in_order = sorted(results, key=lambda result: result.index)
        return [result.with_min_probability(min_probability) for result in in_order]

    def stream(
        self,
        photos: Iterable[Photo | PhotoWithId],
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
    ) -> Iterator[PhotoResult]:
        _validation.check_optional_share("min_probability", min_probability)
        check_window(max_in_flight, max_in_flight_bytes)
        limits = self._limits()
        options = _converters.options(model, model_version, top_k, heat_map, min_probability, evidence, limits)
        downscale_to = self._downscale_to(downscale, model, model_version)
        plan = plan_stream(options, limits, downscale_to, max_in_flight, max_in_flight_bytes)
        stream = _Stream(self, _image_inputs.check_is_collection(photos), plan)
        return _with_min_probability(stream.results(preserve_order), min_probability)

    def get_model(self, name: str = "", *, model_version: str = "", timeout: float | None = None) -> Model:
        _validation.check_optional_seconds(timeout=timeout)
        request = pb.GetModelRequest(model_name=name or None, model_version=model_version or None)
        response = self._call("GetModel", request, timeout)
        return _converters.model(response.model)

    def list_models(self, *, timeout: float | None = None) -> list[Model]:
        _validation.check_optional_seconds(timeout=timeout)
        models: list[Model] = []
        page_token = ""
        while True:
            response = self._call("ListModels", pb.ListModelsRequest(page_token=page_token), timeout)
            models += map(_converters.model, response.models)
            page_token = response.next_page_token
            if not page_token:
                return models

    def get_server_info(self, *, timeout: float | None = None) -> ServerInfo:
        _validation.check_optional_seconds(timeout=timeout)
        return self._cache(self._call("GetServerInfo", pb.GetServerInfoRequest(), timeout))

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        _validation.check_seconds("timeout", timeout)
        end = self._end(timeout)
        while True:
            try:
                self.get_server_info(timeout=ready_timeout(end))
                return
            except PlaneSpotterError as error:
                self._check_ready_error(error, timeout, end)
            time.sleep(READY_POLL_SECONDS)

    def close(self) -> None:
        self._closed = True
        for server in self._servers.servers:
            server.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare_channels(self) -> None:
        self._round_robin = self._open_all()

    @property
    def _servers(self) -> _channels.RoundRobin:
        return self._round_robin

    def _limits(self) -> Limits:
        return self._cached_limits or self.get_server_info().limits

    def _downscale_to(self, downscale: bool, model: str, model_version: str) -> tuple[int, int] | None:
        """Return the (height, width) to downscale photos to; None to send them unchanged."""
        if not downscale:
            return None
        _image_inputs.import_pillow("Photos are downscaled before they are sent")
        key = (model, model_version)
        if key not in self._cached_input_sizes:
            self._cached_input_sizes[key] = self.get_model(model, model_version=model_version).input_size
        return _image_inputs.downscale_target(self._cached_input_sizes[key])

    def _classify_batch(
        self, batch: _batching.Batch, options: pb.ClassifyOptions, timeout: float | None
    ) -> list[PhotoResult]:
        call = self._batch_call(batch, timeout)
        try:
            while True:
                time_left = call.time_left(time.monotonic())
                response = self._call("BatchClassify", call.request(options), time_left, retries=call.retries)
                pause = call.handle_response(response, time.monotonic())
                if pause is None:
                    return call.results
                time.sleep(pause)
        except PlaneSpotterError as error:
            call.handle_failure(error)
        return call.results

    def _call(
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
                    return self._attempt(self._servers.pick(time.monotonic()), method, request, end)
                return self._hedged(method, request, end, hedge)
            except PlaneSpotterError as error:
                pause = self._pause_before_retry(policy, error)
            time.sleep(pause)

    def _attempt(self, server: _channels.Server, method: str, request: Any, end: float) -> Any:
        call, options = self._start(server, method, end)
        try:
            return call(request, **options)
        except grpc.RpcError as error:
            raise self._map_error(error, server) from error

    def _hedged(self, method: str, request: Any, end: float, hedge: float) -> Any:
        """Call a server, and another one if there is no response after `hedge` seconds; return the first response."""
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        calls: dict[Any, _channels.Server] = {}

        def start() -> None:
            server = self._servers.pick(time.monotonic())
            stub_method, options = self._start(server, method, end)
            call = stub_method.future(request, **options)
            calls[call] = server
            call.add_done_callback(ended.put)

        start()
        try:
            try:
                call = ended.get(timeout=hedge)
            except queue.Empty:
                start()
                call = ended.get()
            if len(calls) > 1 and not call.cancelled() and call.exception() is not None:
                call = ended.get()  # the other call may succeed
            return call.result()
        except grpc.FutureCancelledError:  # by close()
            raise client_closed(self.address) from None
        except grpc.RpcError as error:
            raise self._map_error(error, calls[call]) from error
        finally:
            for call in calls:
                call.cancel()


def _with_min_probability(
    results: Generator[PhotoResult, None, None], min_probability: float | None
) -> Iterator[PhotoResult]:
    with contextlib.closing(results):
        for result in results:
            yield result.with_min_probability(min_probability)


class _Stream:
    """A stream over as many connections as it takes.

    One thread reads photos, gRPC's own thread sends them, and one thread receives results.
    """

    def __init__(self, client: PlaneSpotter, photos: Iterable[Photo | PhotoWithId], plan: StreamPlan) -> None:
        self._client = client
        self._photos = photos
        self._plan = plan
        self._window_changed = threading.Condition()  # guards the window
        self._state = _stream_state.StreamState(client.address, client._retries, plan.limits)
        self._reconnect = _retry.StreamReconnect(client.timeout, client._retries > 0)
        self._changed = threading.Condition()  # guards the state and what follows
        self._call: Any = None
        self._abandoned = False  # whether the consumer has left
        self._source_error: Exception | None = None  # what `photos` raised
        # Results, at most as many as the window has slots; then why the stream ended, None if all is well.
        self._results: queue.SimpleQueue[PhotoResult | Exception | None] = queue.SimpleQueue()

    def results(self, preserve_order: bool) -> Generator[PhotoResult, None, None]:
        for target in (self._read_photos, self._run):
            threading.Thread(target=target, daemon=True).start()
        order = InOrder()
        try:
            while (result := self._results.get()) is not None:
                if isinstance(result, Exception):
                    yield from order.drain()
                    raise result
                for due in order.add(result) if preserve_order else (result,):
                    with self._window_changed:
                        self._plan.window.release(due.index)
                        self._window_changed.notify_all()
                    yield due
        finally:
            with self._changed:
                self._abandoned = True
                self._changed.notify_all()
                call = self._call
            with self._window_changed:
                self._window_changed.notify_all()
            if call is not None:
                call.cancel()

    def _read_photos(self) -> None:
        """Read photos from the source, as far ahead as the window allows."""
        try:
            for index, photo in enumerate(self._photos):
                if not self._acquire(index):
                    return
                pending = _stream_state.pending(photo, index)
                try:
                    content = _image_inputs.read_photo(
                        pending.photo, self._plan.limits, pending.photo_id, self._plan.downscale_to
                    )
                except PlaneSpotterError as error:
                    self._results.put(pending.to_result(error))
                    continue
                if not self._acquire(index, len(content)):
                    return
                with self._changed:
                    self._state.add(pending, content)
                    self._changed.notify_all()
        except Exception as error:  # of the source: raised to the consumer after the results of the photos before
            self._source_error = error
        with self._changed:
            self._state.source_exhausted = True
            self._changed.notify_all()

    def _acquire(self, index: int, size: int = 0) -> bool:
        """Wait for capacity in the window and acquire it; return False if the consumer has left."""
        with self._window_changed:
            self._window_changed.wait_for(lambda: self._abandoned or self._plan.window.try_acquire(index, size))
        return not self._abandoned

    def _run(self) -> None:
        """Open one connection after another until all photos are answered."""
        try:
            while self._wait_for_photos():
                try:
                    self._exchange(self._pick_server())
                    with self._changed:
                        self._reconnect.handle_end(time.monotonic())
                except PlaneSpotterError as error:
                    with self._changed:
                        poison = self._state.handle_failure(error)
                    for result in poison:
                        self._results.put(result)
                    if self._client._closed:
                        raise client_closed(self._client.address) from error
                    self._reconnect.handle_end(time.monotonic(), error)
            self._results.put(self._source_error)
        except Exception as error:
            self._results.put(self._source_error or error)

    def _wait_for_photos(self) -> bool:
        """Return True once there are photos to send and a connection may be opened, False when all is done."""
        with self._changed:
            while not (self._state.done or self._abandoned):
                now = time.monotonic()
                if not self._state.has_unanswered:
                    self._reconnect.idle()
                if now < self._reconnect.opens_at:
                    self._changed.wait(self._reconnect.opens_at - now)
                elif self._state.can_send(now):
                    return True
                else:
                    self._wait_for_change(now)
        return False

    def _wait_for_change(self, now: float) -> None:
        """Wait until the state changes, or a delayed photo is due."""
        due = self._state.next_due()
        self._changed.wait(None if due is None else max(0.0, due - now))

    def _pick_server(self) -> _channels.Server:
        """Return a server for the next connection; after a connection that ended, a random one, and probe it first.

        So a photo that is sent on a stream that then breaks has reached a server.
        """
        servers, now = self._client._servers, time.monotonic()
        server = servers.pick_any(now) if self._reconnect.reconnecting else servers.pick(now)
        if self._reconnect.reconnecting:
            self._client._attempt(server, "GetServerInfo", pb.GetServerInfoRequest(), self._client._end(None))
        return server

    def _requests(self, ended: threading.Event) -> Iterator[pb.StreamClassifyRequest]:
        """Yield the messages to send, until nothing more will come or the connection has ended."""
        yield _converters.stream_config(self._plan.options)
        while True:
            with self._changed:
                while not (ended.is_set() or self._abandoned or self._state.all_sent):
                    now = time.monotonic()
                    if self._state.can_send(now):
                        break
                    self._wait_for_change(now)
                if ended.is_set() or self._abandoned or self._state.all_sent:
                    return
                request = self._state.next_request()
            yield request

    def _exchange(self, server: _channels.Server) -> None:
        """Open a connection to `server` and receive results until it ends."""
        ended = threading.Event()
        with self._changed:
            if self._abandoned:
                return
            if self._client._closed:
                raise client_closed(self._client.address)
            self._call = server.stub.StreamClassify(self._requests(ended), metadata=self._client._metadata)
        try:
            for response in self._call:
                with self._changed:
                    results = self._state.handle_response(response, time.monotonic())
                    self._changed.notify_all()
                if results:
                    self._reconnect.reset()
                for result in results:
                    self._results.put(result)
        except grpc.RpcError as error:
            if self._abandoned:  # cancelled by `results`: the server has not failed
                return
            raise self._client._map_error(error, server) from error
        finally:
            with self._changed:
                ended.set()
                self._changed.notify_all()
        with self._changed:
            self._state.handle_end()
