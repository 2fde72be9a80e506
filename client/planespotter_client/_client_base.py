"""The base of both clients: parameters, documentation, retries and error mapping. Subclasses add what awaits."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client import _addresses, _batching, _channels, _converters, _retry, _validation, _window
from planespotter_client._credentials import File, security
from planespotter_client._errors import (
    DeadlineExceededError,
    PlaneSpotterError,
    UnavailableError,
    client_closed,
    from_call,
    no_server_responds,
    not_ready,
)
from planespotter_client._types import Limits, ServerInfo

READY_POLL_SECONDS = 0.1
"""Pause between two attempts to reach a server that is not ready."""


class ClientBase(ABC):
    """What PlaneSpotter and AsyncPlaneSpotter share."""

    _insecure_channel: ClassVar[Any]
    _secure_channel: ClassVar[Any]

    def __init__(
        self,
        address: str | Sequence[str] | None = None,
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
        """Create a client; it connects on the first call.

            PlaneSpotter(["planes-1.example:50051", "planes-2.example:50051"], tls=True, token=token)

        Args:
            address: HOST:PORT, HOST with the default port 50051, a URL such as https://planes.example:50051, which
                implies `tls`, or a gRPC target such as dns:///planes.example:50051 with one or several backends; or
                several addresses, as a sequence or separated by commas. Calls are distributed round robin; a server
                that is unhealthy or does not respond is skipped until it recovers, and its calls fail over. None reads
                the variable PLANESPOTTER_SERVER, and is 127.0.0.1:50051 without it.
            timeout: Seconds for a call with all its retries; for a stream, seconds without a result while it
                reconnects.
            retries: How often a photo that a busy server rejects is retried, after the server's retry delay and within
                the timeout; 0 raises OverloadedError at once.
            token: Bearer token; None reads the variable PLANESPOTTER_TOKEN, "" sends none.
            tls: Use TLS and trust the system's certificate authorities.
            tls_ca: PEM file of the only certificate authority to trust; implies `tls`.
            tls_cert: PEM file of the client certificate, for servers that require one.
            tls_key: PEM file of its private key.
            tls_name: Name to expect in the server's certificate, if it differs from the address.
            insecure: Allow sending the token to another machine without TLS, on a trusted network.

        Raises:
            InvalidRequestError: An address or a TLS parameter is invalid.
            ValueError: A number is out of range.
            TypeError: A parameter has the wrong type.
        """
        addresses = _addresses.parse_addresses(address)
        _validation.check_seconds("timeout", timeout)
        _validation.check_count("retries", retries, minimum=0)
        self.address = ",".join(addresses)
        self.timeout = timeout
        self._retries = retries
        self._security = security(
            *addresses,
            token=token,
            tls=tls or _addresses.names_tls(address),
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_name=tls_name,
            insecure=insecure,
        )
        self._metadata = self._security.metadata
        self._closed = False
        self._addresses = addresses
        self._prepare_channels()
        self._cached_limits: Limits | None = None
        self._cached_input_sizes: dict[tuple[str, str], tuple[int, int]] = {}

    @abstractmethod
    def classify(self, *args: Any, **kwargs: Any) -> Any:
        """Classify one photo.

            prediction = spotter.classify("photo.jpg", top_k=3)
            print(prediction)              # Boeing 737 (91 %)
            print(prediction.to_json())

        Args:
            photo: A path, bytes, a file opened in binary mode, a PIL image or a NumPy array.
            top_k: Number of candidates to return.
            model: Name of the model; the server's default if empty.
            model_version: Version of the model; the highest if empty.
            heat_map: Whether to return a Grad-CAM heat map. It costs a second inference, and not every model supports
                it: Model.heat_map_supported.
            timeout: Seconds for the call with all its retries; the client's if None.
            hedge: Send a second request, to another server if there are several, after this many seconds without a
                response; the first response wins and the other call is cancelled. Reduces tail latency at the cost of
                extra requests: choose a high percentile of the latency.
            downscale: Downscale a photo that is much larger than the network's input before sending it: of 12
                megapixels in 3 MB, about 100 kB remain for an input of 224 x 224. The prediction may differ slightly.
                Needs Pillow: the images extra.
            min_probability: Minimum probability, 0 to 1, of the confidence level; None keeps the model's thresholds.
            evidence: `prior`, what is known about the aircraft besides the photo (a `Prior`), and
                `leaf_probabilities=True` for the probability of every leaf.

        Returns:
            The prediction.

        Raises:
            PlaneSpotterError: The call failed; each cause has a subclass.
            ValueError: A number is out of range.
            TypeError: A parameter has the wrong type.
        """

    @abstractmethod
    def classify_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Classify photos in batches.

            for result in spotter.classify_batch(["one.jpg", "two.jpg"]):
                print(result)  # one.jpg: Boeing 737 (91 %)

        Photos that a busy server rejects are retried. A batch that fails does not affect the others: each of its photos
        has the error. For more photos than fit into memory use `stream`.

        Args:
            photos: The photos; a pair (id, photo) gives one an id of your choice, which its result has.
            top_k: Number of candidates to return per photo.
            model: Name of the model; the server's default if empty.
            model_version: Version of the model; the highest if empty.
            heat_map: Whether to return heat maps.
            timeout: Seconds for each batch with all its retries; the client's if None.
            downscale: Downscale large photos before sending them, as in `classify`.
            min_probability: Minimum probability of the confidence level, as in `classify`.
            evidence: `prior` and `leaf_probabilities`, as in `classify`.

        Returns:
            One result per photo, in order.

        Raises:
            PlaneSpotterError: The server does not report its limits, which the first call of a client asks for; or the
                caller is at fault, not a photo: the token, the model or an option is invalid.
        """

    @abstractmethod
    def stream(self, *args: Any, **kwargs: Any) -> Any:
        """Classify any number of photos over one stream.

            for result in spotter.stream(Path("archive").rglob("*.jpg")):
                print(result)  # archive/one.jpg: Boeing 737 (91 %)

        Exactly one result per photo. If the server shuts down or the connection breaks, unanswered photos are sent
        again, to any server that responds. A photo that was in flight when three connections broke may be the cause:
        it gets an error (POISON_PHOTO). If `photos` raises, the results of earlier photos still come, then its
        exception.

        Args:
            photos: Any iterable of photos or pairs (id, photo). It is read in its own thread, so it may block.
            top_k: Number of candidates to return per photo.
            model: Name of the model; the server's default if empty.
            model_version: Version of the model; the highest if empty.
            heat_map: Whether to return heat maps.
            max_in_flight: Maximum number of photos that are read ahead of the results that you consume (backpressure);
                twice the server's limit per stream if None.
            max_in_flight_bytes: Maximum size of these photos in bytes. One photo always fits.
            preserve_order: Whether results come in the order of the photos, instead of as they arrive.
            downscale: Downscale large photos before sending them, as in `classify`.
            min_probability: Minimum probability of the confidence level, as in `classify`.
            evidence: `prior` and `leaf_probabilities`, as in `classify`.

        Returns:
            An iterator of results.

        Raises:
            UnavailableError: No server responds within the client's timeout. It comes after all results that have
                arrived; send the photos whose `index` is missing in a new stream.
            PlaneSpotterError: The caller is at fault, not a photo: the token, the model or an option is invalid; or the
                call failed for another reason. It comes after all results that have arrived.
        """

    @abstractmethod
    def get_model(self, *args: Any, **kwargs: Any) -> Any:
        """Get a served model: its label tree, its input size and its metrics.

            model = spotter.get_model()
            print(model)                      # first 1.0: 24 types of aircraft, input 288 x 192
            print(model.tree["Boeing"]["737"])

        Args:
            name: Name of the model; the server's default if empty.
            model_version: Version of the model; the highest if empty.
            timeout: Seconds for the call; the client's if None.
        """

    @abstractmethod
    def list_models(self, *args: Any, **kwargs: Any) -> Any:
        """List the served models, by name and then the highest version first.

            [model.name for model in spotter.list_models() if model.is_default]

        Args:
            timeout: Seconds for each call; the client's if None.
        """

    @abstractmethod
    def get_server_info(self, *args: Any, **kwargs: Any) -> Any:
        """Get the version of the server and its limits for this caller.

            info = spotter.get_server_info()
            print(info.version, info.limits.max_photo_bytes)

        Args:
            timeout: Seconds for the call; the client's if None.
        """

    @abstractmethod
    def wait_until_ready(self, *args: Any, **kwargs: Any) -> Any:
        """Wait until the server responds.

        Args:
            timeout: Maximum wait in seconds.

        Raises:
            UnavailableError: The server is not ready within `timeout`.
        """

    @abstractmethod
    def close(self) -> Any:
        """Close the connection and cancel calls in flight."""

    def __repr__(self) -> str:
        closed = ", closed" if self._closed else ""
        return f"<{type(self).__name__} of {self.address} {self._security}{closed}>"

    # Shared steps of the calls

    @abstractmethod
    def _prepare_channels(self) -> None:
        """Open the channels, or prepare to open them later; part of the constructor."""

    @property
    @abstractmethod
    def _servers(self) -> _channels.RoundRobin:
        """The servers, with their channels."""

    def _open_all(self) -> _channels.RoundRobin:
        return _channels.RoundRobin([self._open(address) for address in self._addresses])

    def _open(self, address: str) -> _channels.Server:
        options = [*_channels.options_for(address, self._addresses), *self._security.options]
        if self._security.credentials is None:
            channel = type(self)._insecure_channel(address, options)
        else:
            channel = type(self)._secure_channel(address, self._security.credentials, options)
        return _channels.Server(address, channel, pb_grpc.ClassifierServiceStub(channel))

    def _end(self, timeout: float | None) -> float:
        """Return the deadline of a call that starts now."""
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _call_retries(self, retries: int, end: float) -> _retry.CallRetries:
        return _retry.CallRetries(len(self._servers.servers), retries, end)

    def _pause_before_retry(self, retries: _retry.CallRetries, error: PlaneSpotterError) -> float:
        """Return the seconds to wait before the next attempt of a call that failed with `error`; raise it if none."""
        pause = retries.pause(error, time.monotonic())
        if pause is not None and not self._closed:
            return pause
        if len(self._servers.servers) > 1 and isinstance(error, UnavailableError) and not self._closed:
            raise no_server_responds(self.address, error) from error
        raise error

    def _start(self, server: _channels.Server, method: str, end: float) -> tuple[Any, dict[str, Any]]:
        """Return the stub's method and its keyword arguments. Raises UnavailableError if the client is closed."""
        if self._closed:
            raise client_closed(self.address)
        timeout = max(0.0, end - time.monotonic())
        return getattr(server.stub, method), {"timeout": timeout, "metadata": self._metadata}

    def _map_error(self, error: Any, server: _channels.Server) -> PlaneSpotterError:
        """Return the exception for a grpc.RpcError of `server`, which is skipped for a moment if it is unavailable."""
        if self._closed:
            return client_closed(self.address)
        mapped = from_call(error, server.address)
        if isinstance(mapped, UnavailableError):
            self._servers.mark_failed(server, time.monotonic())
        return mapped

    def _cache(self, response: pb.GetServerInfoResponse) -> ServerInfo:
        info = _converters.server_info(response)
        self._cached_limits = info.limits
        return info

    def _batch_call(self, batch: _batching.Batch, timeout: float | None) -> _batching.BatchCall:
        return _batching.BatchCall(batch, self.address, self._retries, self._end(timeout))

    def _check_ready_error(self, error: PlaneSpotterError, timeout: float, end: float) -> None:
        """Raise unless another attempt to reach the server can succeed before `end`."""
        if not isinstance(error, UnavailableError | DeadlineExceededError) or self._closed:
            raise error
        if time.monotonic() >= end:
            raise not_ready(self.address, timeout, error) from error


def ready_timeout(end: float) -> float:
    """Return the timeout in seconds of one attempt to reach a server that must be ready by `end`."""
    return max(0.1, min(5.0, end - time.monotonic()))


def check_window(max_in_flight: int | None, max_in_flight_bytes: int) -> None:
    """Raise TypeError or ValueError for invalid bounds of a stream."""
    if max_in_flight is not None:
        _validation.check_count("max_in_flight", max_in_flight, minimum=1)
    _validation.check_count("max_in_flight_bytes", max_in_flight_bytes, minimum=1)


@dataclass(frozen=True)
class StreamPlan:
    """What a stream sends, and how far ahead."""

    options: pb.ClassifyOptions
    limits: Limits
    window: _window.Window
    downscale_to: tuple[int, int] | None


def plan_stream(
    options: pb.ClassifyOptions,
    limits: Limits,
    downscale_to: tuple[int, int] | None,
    max_in_flight: int | None,
    max_in_flight_bytes: int,
) -> StreamPlan:
    """Return the plan of a stream; `max_in_flight` is twice the server's limit if None."""
    window = _window.Window(max_in_flight or 2 * limits.max_in_flight_per_stream, max_in_flight_bytes)
    return StreamPlan(options, limits, window, downscale_to)
