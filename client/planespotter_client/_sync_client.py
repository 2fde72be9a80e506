"""The client for code that does not use asyncio. Its twin is _aio.py."""

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
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


class PlaneSpotter:
    """A connection to a planespotter server, or to several. May be used by several threads.

        with PlaneSpotter("127.0.0.1:50051") as spotter:
            print(spotter.classify("photo.jpg"))  # Boeing 737-800 (94 %)

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

        PlaneSpotter(["planes-1.example:50051", "planes-2.example:50051"], tls=True, token=token)
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
                channel = grpc.insecure_channel(one, options)
            else:
                channel = grpc.secure_channel(one, secured.credentials, options)
            servers.append(_channels.Server(one, channel, pb_grpc.ClassifierServiceStub(channel)))
        self._rotation = _channels.Rotation(servers)
        self._known_limits: Limits | None = None
        self._known_sizes: dict[tuple[str, str], tuple[int, int]] = {}

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
    ) -> Prediction:
        """Classify one photo: a path, bytes, a file opened in binary mode, a PIL image or a NumPy array.

            answer = spotter.classify("photo.jpg", top_k=3)
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
            limits = self._limits()
            options = _converters.options(model, model_version, top_k, heat_map, limits)
            shrink_to = self._shrink_to(downscale, model, model_version)
            data = _image_inputs.read_photo(photo, limits, name, shrink_to)
            request = _converters.classify_request(data, options)
            response = self._call("Classify", request, timeout, retries=self._retries, hedge=hedge)
        return _converters.prediction(response.prediction)

    def classify_batch(
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

            for answer in spotter.classify_batch(["one.jpg", "two.jpg"]):
                print(answer)  # one.jpg: Boeing 737-800 (94 %)

        For more photos than fit into memory use `stream`. `timeout` is for each batch. A batch that fails, because the
        server went away, say, leaves its error in the answer of each of its photos and the other batches alone; only
        a server that cannot even be asked for its limits, which the first call does, raises. Photos for which a busy
        server has no room are sent again. The other parameters are those of `classify`.
        """
        _validation.seconds_if_given(timeout=timeout)
        limits = self._limits()
        options = _converters.options(model, model_version, top_k, heat_map, limits)
        answers: list[PhotoResult] = []
        for batch in _batching.batches(photos, limits, self._shrink_to(downscale, model, model_version)):
            if isinstance(batch, PhotoResult):
                answers.append(batch)
                continue
            answers += self._classify_batch(batch, options, timeout)
        return sorted(answers, key=lambda answer: answer.index)

    def stream(
        self,
        photos: Iterable[Photo],
        *,
        top_k: int = 0,
        model: str = "",
        model_version: str = "",
        heat_map: bool = False,
        max_in_flight: int | None = None,
        max_in_flight_bytes: int = _stream_state.WINDOW_BYTES,
        preserve_order: bool = False,
        downscale: bool = False,
    ) -> Iterator[PhotoResult]:
        """Classify any number of photos over one stream; answers come as they are ready, or as the photos were given.

            for answer in spotter.stream(Path("archive").rglob("*.jpg")):
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
        limits = self._limits()
        options = _converters.options(model, model_version, top_k, heat_map, limits)
        shrink_to = self._shrink_to(downscale, model, model_version)
        room = _stream_state.Window(max_in_flight or 2 * limits.max_in_flight_per_stream, max_in_flight_bytes)
        stream = _Stream(self, _image_inputs.several(photos), options, limits, room, shrink_to)
        return stream.answers(preserve_order)

    def get_model(self, name: str = "", *, model_version: str = "", timeout: float | None = None) -> Model:
        """Describe the model that answers.

            model = spotter.get_model()
            print(model)                      # first 1.0: tells 24 kinds of aircraft apart, in photos of 288 x 192
            print(model.tree["Boeing"]["737"])

        It holds the label tree and how well it was measured to do.
        """
        _validation.seconds_if_given(timeout=timeout)
        request = pb.GetModelRequest(model_name=name or None, model_version=model_version or None)
        response = self._call("GetModel", request, timeout)
        return _converters.model(response.model)

    def list_models(self, *, timeout: float | None = None) -> list[Model]:
        """List the models that the server has.

            [model.name for model in spotter.list_models() if model.is_default]

        They come by name, and of each name the highest version first.
        """
        _validation.seconds_if_given(timeout=timeout)
        found: list[Model] = []
        page_token = ""
        while True:
            response = self._call("ListModels", pb.ListModelsRequest(page_token=page_token), timeout)
            found += [_converters.model(one) for one in response.models]
            page_token = response.next_page_token
            if not page_token:
                return found

    def get_server_info(self, *, timeout: float | None = None) -> ServerInfo:
        """Get the version of the server and its limits for this caller.

        info = spotter.get_server_info()
        print(info.version, info.limits.max_photo_bytes)
        """
        _validation.seconds_if_given(timeout=timeout)
        response = self._call("GetServerInfo", pb.GetServerInfoRequest(), timeout)
        info = _converters.server_info(response)
        self._known_limits = info.limits
        return info

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Return as soon as the server answers; raise UnavailableError if it does not within `timeout` seconds."""
        _validation.seconds("timeout", timeout)
        end = time.monotonic() + timeout
        while True:
            try:
                self.get_server_info(timeout=max(0.1, min(5.0, end - time.monotonic())))
                return
            except PlaneSpotterError as error:
                if not isinstance(error, UnavailableError | DeadlineExceededError) or self._closed:
                    raise
                if time.monotonic() >= end:
                    raise not_ready(self.address, timeout, error) from error
            time.sleep(0.1)

    def close(self) -> None:
        """Close the connection; what is under way is cancelled."""
        self._closed = True
        for server in self._rotation.servers:
            server.channel.close()

    def __repr__(self) -> str:
        closed = ", closed" if self._closed else ""
        return f"<{type(self).__name__} of {self.address} {self._secured}{closed}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _limits(self) -> Limits:
        return self._known_limits or self.get_server_info().limits

    def _shrink_to(self, shrink: bool, model: str, version: str) -> tuple[int, int] | None:
        """Return the size to scale photos down to, as (height, width); None to send them as they are."""
        if not shrink:
            return None
        _image_inputs.pillow("Photos are to be scaled down before they are sent")
        if (model, version) not in self._known_sizes:
            self._known_sizes[model, version] = self.get_model(model, model_version=version).input_size
        return _image_inputs.size_to_send(self._known_sizes[model, version])

    def _classify_batch(
        self, batch: _batching.Batch, options: pb.ClassifyOptions, timeout: float | None
    ) -> list[PhotoResult]:
        """Return the answers to a batch; what a busy server refuses of it is sent again."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        retries = self._retries
        settled: list[PhotoResult] = []
        while True:
            request = _converters.batch_request(batch.photos, options)
            try:
                response = self._call("BatchClassify", request, end - time.monotonic(), retries=retries)
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
            time.sleep(pause)

    def _call(
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
                    return self._ask(self._rotation.next(time.monotonic()), method, request, end)
                return self._hedged(method, request, end, hedge)
            except PlaneSpotterError as error:
                pause = attempts.pause(error, time.monotonic())
                if pause is None or self._closed:
                    if len(self._rotation.servers) > 1 and isinstance(error, UnavailableError) and not self._closed:
                        raise none_answers(self.address, error) from error
                    raise
            time.sleep(pause)

    def _ask(self, server: _channels.Server, method: str, request: Any, end: float) -> Any:
        if self._closed:
            raise closed(self.address)
        timeout = max(0.0, end - time.monotonic())
        try:
            return getattr(server.stub, method)(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._failed(error, server) from error

    def _failed(self, error: Any, server: _channels.Server) -> PlaneSpotterError:
        if self._closed:
            return closed(self.address)
        failed = from_call(error, server.address)
        if isinstance(failed, UnavailableError):
            self._rotation.failed(server, time.monotonic())
        return failed

    def _hedged(self, method: str, request: Any, end: float, hedge: float) -> Any:
        """Ask one server, and another if that one is slow; return the first answer."""
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        asked: dict[Any, _channels.Server] = {}

        def ask() -> None:
            if self._closed:
                raise closed(self.address)
            now = time.monotonic()
            server = self._rotation.next(now)
            call = getattr(server.stub, method).future(request, timeout=max(0.0, end - now), metadata=self._metadata)
            asked[call] = server
            call.add_done_callback(ended.put)

        ask()
        try:
            try:
                call = ended.get(timeout=hedge)
            except queue.Empty:
                ask()
                call = ended.get()
            if len(asked) > 1 and not call.cancelled() and call.exception() is not None:
                call = ended.get()  # the other one may do better
            return call.result()
        except grpc.FutureCancelledError:  # by close()
            raise closed(self.address) from None
        except grpc.RpcError as error:
            raise self._failed(error, asked[call]) from error
        finally:
            for call in asked:
                call.cancel()


class _Stream:
    """Photos on one stream after another: a thread takes the photos, gRPC's sends them, and one collects answers."""

    def __init__(
        self,
        client: PlaneSpotter,
        photos: Iterable[Photo],
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
        self._room = threading.Condition()  # guards the window
        self._ledger = _stream_state.Ledger(client.address, client._retries)
        self._reopening = _retry.Reopening(client.timeout, client._retries > 0)
        self._changed = threading.Condition()  # guards the ledger and what follows
        self._call: Any = None
        self._left = False  # whether nobody waits for answers any more
        self._source_error: Exception | None = None  # what `photos` raised
        # Answers, as many as the window has places; then what ended the stream: None if all is well.
        self._answers: queue.SimpleQueue[PhotoResult | Exception | None] = queue.SimpleQueue()

    def answers(self, ordered: bool) -> Iterator[PhotoResult]:
        for work in (self._take, self._collect):
            threading.Thread(target=work, daemon=True).start()
        order = _stream_state.InOrder()
        try:
            while (answer := self._answers.get()) is not None:
                if isinstance(answer, Exception):
                    yield from order.rest()
                    raise answer
                for ready in order.add(answer) if ordered else (answer,):
                    with self._room:
                        self._window.free(ready.index)
                        self._room.notify_all()
                    yield ready
        finally:
            with self._changed:
                self._left = True
                self._changed.notify_all()
                call = self._call
            with self._room:
                self._room.notify_all()
            if call is not None:
                call.cancel()

    def _take(self) -> None:
        """Take photos from their source, as far ahead as the window allows."""
        try:
            for index, photo in enumerate(self._photos):
                if not self._has_room(index):
                    return
                waiting = _stream_state.pending(photo, index)
                try:
                    data = _image_inputs.read_photo(photo, self._limits, waiting.photo_id, self._shrink_to)
                except PlaneSpotterError as error:
                    self._answers.put(waiting.answered(error))
                    continue
                if not self._has_room(index, len(data)):
                    return
                with self._changed:
                    self._ledger.add(waiting, data)
                    self._changed.notify_all()
        except Exception as error:  # from `photos`: it belongs to whoever iterates, after the answers under way
            self._source_error = error
        with self._changed:
            self._ledger.all_given = True
            self._changed.notify_all()

    def _has_room(self, index: int, size: int = 0) -> bool:
        """Wait for room in the window, and take it; return False if nobody waits for answers any more."""
        with self._room:
            self._room.wait_for(lambda: self._left or self._window.take(index, size))
        return not self._left

    def _collect(self) -> None:
        """Open one stream after another until all photos have their answers."""
        try:
            while self._until_photos_wait():
                try:
                    self._exchange(self._reach())
                    with self._changed:
                        self._reopening.ended(time.monotonic())
                except PlaneSpotterError as error:
                    with self._changed:
                        given_up = self._ledger.broke(error)
                    for answer in given_up:
                        self._answers.put(answer)
                    if self._client._closed:
                        raise closed(self._client.address) from error
                    self._reopening.ended(time.monotonic(), error)
            self._answers.put(self._source_error)
        except Exception as error:
            self._answers.put(self._source_error or error)

    def _until_photos_wait(self) -> bool:
        """Return True as soon as there are photos to send and a stream may be opened, False when all is done."""
        with self._changed:
            while not (self._ledger.done or self._left):
                now = time.monotonic()
                if not self._ledger.waits:
                    self._reopening.idle()
                if now < self._reopening.opens_at:
                    self._changed.wait(self._reopening.opens_at - now)
                elif self._ledger.has_more(now):
                    return True
                else:
                    self._wait(now)
        return False

    def _wait(self, now: float) -> None:
        """Wait until something changes, or a photo is due that had to wait."""
        next_time = self._ledger.next_time()
        self._changed.wait(None if next_time is None else max(0.0, next_time - now))

    def _reach(self) -> _channels.Server:
        """Return a server to open a stream on: after one that ended, a server that answers a smaller question.

        So a photo that was sent on a stream which then broke was with a server.
        """
        now = time.monotonic()
        server = self._client._rotation.next(now)
        if self._reopening.again:
            self._client._ask(server, "GetServerInfo", pb.GetServerInfoRequest(), now + self._client.timeout)
        return server

    def _requests(self, over: threading.Event) -> Iterator[pb.StreamClassifyRequest]:
        """Send what the ledger has, until nothing more will come or the stream is over."""
        yield _converters.stream_config(self._options)
        while True:
            with self._changed:
                while not (over.is_set() or self._left or self._ledger.all_sent):
                    now = time.monotonic()
                    if self._ledger.has_more(now):
                        break
                    self._wait(now)
                if over.is_set() or self._left or self._ledger.all_sent:
                    return
                request = self._ledger.next_request()
            yield request

    def _exchange(self, server: _channels.Server) -> None:
        """Open a stream to `server` and collect its answers, until it ends."""
        over = threading.Event()
        with self._changed:
            if self._left:
                return
            if self._client._closed:
                raise closed(self._client.address)
            self._call = server.stub.StreamClassify(self._requests(over), metadata=self._client._metadata)
        try:
            for response in self._call:
                with self._changed:
                    answer = self._ledger.note(response, time.monotonic())
                    self._changed.notify_all()
                if answer is not None:
                    self._reopening.answered()
                    self._answers.put(answer)
        except grpc.RpcError as error:
            if self._left:  # cancelled by ourselves, for which the server must not be left out of the next calls
                return
            raise self._client._failed(error, server) from error
        finally:
            with self._changed:
                over.set()
                self._changed.notify_all()
        with self._changed:
            if not self._ledger.done:
                self._client._rotation.failed(server, time.monotonic())
            self._ledger.ended()
