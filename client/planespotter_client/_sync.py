"""The client for code that does not use asyncio. Its twin is _aio.py."""

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import grpc

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client import _shared
from planespotter_client._errors import DeadlineError, PlaneSpotterError, UnavailableError, from_call, not_ready
from planespotter_client._results import Classification, Limits, Model, PhotoAnswer
from planespotter_client._security import File, security
from planespotter_client._shared import Photo


class PlaneSpotter:
    """A connection to a planespotter server. May be used by several threads.

    `address` is HOST:PORT; `timeout` is how many seconds a call may take (a stream may take any time). Every method
    raises PlaneSpotterError, of which _errors.py draws the tree.

    `token` says who calls, if the server asks for that; None takes the variable PLANESPOTTER_TOKEN, "" none. `tls` uses
    TLS and trusts the authorities that everybody trusts; `tls_ca`, a PEM file, does so and trusts that authority
    alone; `tls_cert` and `tls_key` are PEM files for a server that wants to see a certificate. A token goes to other
    machines over TLS only, unless `insecure` says that nobody can listen in.

        with PlaneSpotter("127.0.0.1:50051") as spotter:
            print(spotter.classify("photo.jpg"))
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
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, secured.credentials, options)
        self._stub = pb_grpc.ClassifierServiceStub(self._channel)
        self._known_limits: Limits | None = None

    def classify(
        self, photo: Photo, *, alternatives: int = 0, model: str = "", timeout: float | None = None
    ) -> Classification:
        """Classify one photo: a path, bytes, or a file opened in binary mode."""
        name = _shared.photo_id(photo)
        limits = self._limits()
        options = _shared.options(model, alternatives, limits)
        data = _shared.read_photo(photo, limits, name)
        request = pb.ClassifyRequest(photo=data, options=options)
        return _shared.classification(self._call(self._stub.Classify, request, timeout, name).classification)

    def classify_many(
        self, photos: Sequence[Photo], *, alternatives: int = 0, model: str = "", timeout: float | None = None
    ) -> list[PhotoAnswer]:
        """Classify photos in batches; the answers come in their order, each a classification or an error.

        For more photos than fit into memory use `stream`. `timeout` is for each batch. A batch that fails, because the
        server went away, say, leaves its error in the answer of each of its photos and the other batches alone; only
        a server that cannot even be asked for its limits, which the first call does, raises.
        """
        limits = self._limits()
        options = _shared.options(model, alternatives, limits)
        answers: list[PhotoAnswer] = []
        for batch in _shared.batches(photos, limits):
            if isinstance(batch, PhotoAnswer):
                answers.append(batch)
                continue
            request = pb.BatchClassifyRequest(photos=batch.photos, options=options)
            try:
                response = self._call(self._stub.BatchClassify, request, timeout)
                answers += _shared.batch_answers(batch, response, self.address)
            except PlaneSpotterError as error:
                answers += _shared.batch_failed(batch, error)
        return sorted(answers, key=lambda answer: answer.index)

    def stream(
        self, photos: Iterable[Photo], *, alternatives: int = 0, model: str = "", window: int | None = None
    ) -> Iterator[PhotoAnswer]:
        """Classify any number of photos over one stream; answers come as they are ready, in any order.

        Each photo gets exactly one answer: a classification or an error. At most `window` photos (default: twice what
        the server works on at a time) are taken from `photos` ahead of the answers that you took, so memory is
        bounded. `photos` is read in another thread.

        If the server shuts down in good order, what it has not answered is sent again to whichever server takes its
        place within `timeout` seconds (that of the client). If none does, or the connection breaks, the iteration
        raises PlaneSpotterError, after every answer that had arrived. The answers that you have stay good; send the
        photos whose `index` is in none of them again, in a new stream. If `photos` itself raises, the answers to what
        it gave before still come, and then its exception.
        """
        limits = self._limits()
        options = _shared.options(model, alternatives, limits)
        return _Stream(self, photos, options, limits, window or 2 * limits.stream_window).answers()

    def model(self, name: str = "", *, timeout: float | None = None) -> Model:
        """Describe the model that answers: its label tree, metrics and limits."""
        model = _shared.model(self._call(self._stub.GetModel, pb.GetModelRequest(model_name=name), timeout))
        self._known_limits = model.limits
        return model

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Return as soon as the server answers; raise UnavailableError if it does not within `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            try:
                self.model(timeout=max(0.1, min(5.0, end - time.monotonic())))
                return
            except PlaneSpotterError as error:
                if not isinstance(error, UnavailableError | DeadlineError):
                    raise
                if time.monotonic() >= end:
                    raise not_ready(self.address, timeout, error) from error
            time.sleep(0.1)

    def close(self) -> None:
        """Close the connection; what is under way is cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _limits(self) -> Limits:
        return self._known_limits or self.model().limits

    def _call(self, method: Any, request: Any, timeout: float | None, name: str = "") -> Any:
        try:
            return method(request, timeout=self.timeout if timeout is None else timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_call(error, self.address, name) from error


class _Stream:
    """Photos on one stream after another: a thread takes the photos, gRPC's sends them, and one collects answers."""

    def __init__(
        self,
        client: PlaneSpotter,
        photos: Iterable[Photo],
        options: pb.ClassifyOptions,
        limits: Limits,
        window: int,
    ) -> None:
        self._client = client
        self._photos = photos
        self._options = options
        self._limits = limits
        self._places = threading.Semaphore(window)
        self._ledger = _shared.Ledger(client.address)
        self._changed = threading.Condition()  # guards the ledger and what follows
        self._call: Any = None
        self._closed = False
        self._source_error: Exception | None = None  # what `photos` raised
        # Answers, at most `window` of them; then what ended the stream: None if all is well.
        self._answers: queue.SimpleQueue[PhotoAnswer | Exception | None] = queue.SimpleQueue()

    def answers(self) -> Iterator[PhotoAnswer]:
        for work in (self._take, self._collect):
            threading.Thread(target=work, daemon=True).start()
        try:
            while (answer := self._answers.get()) is not None:
                if isinstance(answer, Exception):
                    raise answer
                self._places.release()
                yield answer
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
                call = self._call
            self._places.release()
            if call is not None:
                call.cancel()

    def _take(self) -> None:
        """Take photos from their source, as far ahead as the window allows."""
        try:
            for index, photo in enumerate(self._photos):
                self._places.acquire()
                if self._closed:
                    return
                waiting = _shared.pending(photo, index)
                try:
                    data = _shared.read_photo(photo, self._limits, waiting.photo_id)
                except PlaneSpotterError as error:
                    self._answers.put(waiting.answered(error))
                    continue
                with self._changed:
                    self._ledger.add(waiting, data, self._options)
                    self._changed.notify_all()
        except Exception as error:  # from `photos`: it belongs to whoever iterates, after the answers under way
            self._source_error = error
        with self._changed:
            self._ledger.all_given = True
            self._changed.notify_all()

    def _requests(self, over: threading.Event) -> Iterator[pb.StreamClassifyRequest]:
        """Send what the ledger has, until nothing more will come or the stream is over."""
        while True:
            with self._changed:
                while not (self._ledger.has_more or self._ledger.all_sent or over.is_set() or self._closed):
                    self._changed.wait()
                if over.is_set() or self._closed or not self._ledger.has_more:
                    return
                request = self._ledger.next_request()
            yield request

    def _collect(self) -> None:
        reopening = _shared.Reopening(self._client.timeout)
        try:
            while not self._run_stream(reopening):
                reopening.moved(time.monotonic())
                time.sleep(reopening.delay())
            self._answers.put(self._source_error)
        except Exception as error:
            self._answers.put(error)

    def _run_stream(self, reopening: _shared.Reopening) -> bool:
        """Open a stream and collect its answers; return whether all photos are answered, else another is needed."""
        over = threading.Event()
        with self._changed:
            if self._closed:
                return True
            self._ledger.begin()
            self._call = self._client._stub.StreamClassify(self._requests(over), metadata=self._client._metadata)
        try:
            for response in self._call:
                with self._changed:
                    answer = self._ledger.note(response)
                    self._changed.notify_all()
                if answer is not None:
                    reopening.answered()
                    self._answers.put(answer)
            return self._ledger.end()
        except grpc.RpcError as error:
            if self._source_error is not None:
                raise self._source_error from error
            failed = from_call(error, self._client.address)
            if self._closed or not reopening.may_follow(failed, time.monotonic()):
                raise failed from error
            return False
        finally:
            with self._changed:
                over.set()
                self._changed.notify_all()
