"""Exceptions, and the mapping from gRPC statuses to them.

    PlaneSpotterError
    ├── PhotoReadError          the photo could not be read from disk
    ├── InvalidRequestError     the photo, an option or the address is invalid; `reason` and `metadata` have the details
    ├── NotFoundError           the server has no such model
    ├── AuthenticationError     the token is missing or invalid, or the caller lacks permission
    ├── OverloadedError         the server is full; retry after `retry_after` seconds
    ├── UnavailableError        no server responds, or it is starting or shutting down; retry
    ├── DeadlineExceededError   no response within the timeout
    ├── MissingDependencyError  an optional package is not installed
    ├── CertificateError        the server's TLS certificate is not trusted, has expired, or is for another name
    ├── ProtocolError           the server does not speak this protocol, or violates it
    └── InternalServerError     a bug or failure of the server; `metadata` may have the request id for its log

The text of each is for people. CODES maps gRPC status codes to these classes.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from planespotter_client._proxy import proxy_of

Detail = TypeVar("Detail")


class PlaneSpotterError(Exception):
    """Base class of all errors of a call.

        try:
            prediction = spotter.classify("photo.jpg")
        except OverloadedError as busy:
            time.sleep(busy.retry_after or 1)
        except PlaneSpotterError as error:
            print(error, error.reason, error.metadata)

    Args:
        message: What is wrong, and the fix.
        reason: A constant such as PHOTO_UNDECODABLE; the name of the gRPC code if the server sent no reason.
        metadata: The value and the limit, by name.
        photo_id: The photo that the error is about; empty if there is none.
        retry_after: Seconds to wait before a retry; None if a retry is useless or the delay is unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        photo_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.photo_id = photo_id
        self.retry_after = retry_after

    def to_dict(self) -> dict[str, Any]:
        """Return the error as plain values."""
        return {
            "message": str(self),
            "reason": self.reason,
            "metadata": self.metadata,
            "photo_id": self.photo_id,
            "retry_after": self.retry_after,
        }

    def about(self, photo_id: str) -> Self:
        """Return a copy of the error that is about one photo."""
        copy = self.with_message(str(self))
        copy.photo_id = photo_id
        return copy

    def with_message(self, message: str) -> Self:
        """Return a copy of the error with another text."""
        return type(self)(
            message,
            reason=self.reason,
            metadata=self.metadata,
            photo_id=self.photo_id,
            retry_after=self.retry_after,
        )


class PhotoReadError(PlaneSpotterError):
    """The photo could not be read from disk, or the image could not be encoded."""


class InvalidRequestError(PlaneSpotterError):
    """The photo, an option or the address is invalid."""


class NotFoundError(PlaneSpotterError):
    """The server has no such model."""


class AuthenticationError(PlaneSpotterError):
    """The token is missing or invalid, or the caller lacks permission."""


class OverloadedError(PlaneSpotterError):
    """The server is full."""


class UnavailableError(PlaneSpotterError):
    """No server responds, or it is starting or shutting down."""


class DeadlineExceededError(PlaneSpotterError):
    """No response within the timeout."""


class MissingDependencyError(PlaneSpotterError):
    """An optional package is not installed."""


class CertificateError(PlaneSpotterError):
    """The server's TLS certificate is not trusted, has expired, or is for another name."""


class ProtocolError(PlaneSpotterError):
    """The server does not speak this protocol, or violates it."""


class InternalServerError(PlaneSpotterError):
    """A bug or failure of the server."""


CALLER_FAULTS = (AuthenticationError, NotFoundError, CertificateError, MissingDependencyError)
"""Errors that sending another photo cannot avoid: credentials, the model and the installation concern every photo."""
CALLER_FAULT_REASONS = frozenset({"TOP_K_OUT_OF_RANGE", "HEAT_MAP_UNSUPPORTED", "ORDERING_UNKNOWN", "METHOD_NOT_FOUND"})
"""Reasons of other errors that concern every photo: invalid options, and a server of another version."""

CODES: Mapping[grpc.StatusCode, type[PlaneSpotterError]] = {
    grpc.StatusCode.OK: InternalServerError,  # an error status must not be OK
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.UNKNOWN: InternalServerError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: InvalidRequestError,
    grpc.StatusCode.PERMISSION_DENIED: AuthenticationError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidRequestError,
    grpc.StatusCode.ABORTED: UnavailableError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.UNIMPLEMENTED: ProtocolError,
    grpc.StatusCode.INTERNAL: InternalServerError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DATA_LOSS: InternalServerError,
}
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}

# What grpc.aio reports if the server ends a stream while a photo is being written to it; the server's status is lost.
_WRITE_FAILED = "Internal error from Core"
# Prefixes of the details of a call that never left this machine, and parts of those of a lost connection.
_NOT_CONNECTED = (
    "failed to connect",
    "connections to all backends failing",
    "DNS resolution failed",
    "errors resolving",
    "empty address list",
)
# What the operating system and the resolver report, in the details of a call, and how to say it.
_CONNECTION_FAILURES = (
    ("Connection refused", "connection refused"),
    ("No route to host", "no route to the host"),
    ("Network is unreachable", "the network is unreachable"),
    ("No such file or directory", "no such socket"),
    ("Permission denied", "no permission to use the socket"),
    ("DNS resolution failed", "no such host"),
    ("Domain name not found", "no such host"),
    ("empty address list", "no such host"),
    ("timed out", "no response"),
    ("Timeout", "no response"),
)
_LOST = ("Socket closed", "Connection reset", "Broken pipe", "Stream removed", "GOAWAY", "keepalive", "ping timeout")

DOWNSCALE_HINT = "or let the client do so: downscale=True"
"""How to send a photo that is too large, in the words of the SDK. Commands and the page replace it with their own."""

STREAM_ABORTED = "STREAM_ABORTED"
CONNECTION_LOST_REASONS = ("CONNECTION_LOST", "UNAVAILABLE", STREAM_ABORTED)
"""Reasons of an UnavailableError whose call may have reached a server, without a status that says why it ended."""


@contextmanager
def about(photo_id: str) -> Iterator[None]:
    """Set the photo of every PlaneSpotterError that the block raises."""
    try:
        yield
    except PlaneSpotterError as error:
        error.photo_id = photo_id
        raise


def is_caller_fault(error: PlaneSpotterError) -> bool:
    """Return whether `error` is the fault of the caller and not of a photo: every other photo would fail too."""
    return isinstance(error, CALLER_FAULTS) or error.reason in CALLER_FAULT_REASONS


def from_status(status: Status, photo_id: str = "") -> PlaneSpotterError:
    """Return the exception for a google.rpc.Status."""
    info = _detail(status, ErrorInfo) or ErrorInfo()
    retry = _detail(status, RetryInfo)
    error = CODES[_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)]
    return error(
        status.message.replace("Scale it down.", f"Scale it down, {DOWNSCALE_HINT}."),
        reason=info.reason,
        metadata=info.metadata,
        photo_id=photo_id,
        retry_after=retry.retry_delay.ToMilliseconds() / 1000 if retry else None,
    )


def from_call(call: Any, address: str) -> PlaneSpotterError:
    """Return the exception for a failed call (a grpc.RpcError) to `address`."""
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # the details contradict the code: another kind of server
        status = None
    if status is not None and status.details:
        return from_status(status)
    details = call.details() or "no details"
    if call.code() is grpc.StatusCode.UNAVAILABLE:
        return _tls_failure(address, details) or _unavailable(address, details)
    return _without_status(call.code(), details, address)


def _tls_failure(address: str, details: str) -> PlaneSpotterError | None:
    """Return the exception for a TLS handshake that failed; None for any other failure."""
    lower = details.lower()
    if "certificate has expired" in lower:
        return CertificateError(
            f"The certificate of the server at {address} has expired. Renew it on the server, or correct the clock of "
            "this machine.",
            reason="CERTIFICATE_EXPIRED",
        )
    if "certificate is not yet valid" in lower:
        return CertificateError(
            f"The certificate of the server at {address} is not valid yet. Correct the clock of this machine, or use "
            "a certificate that is already valid.",
            reason="CERTIFICATE_NOT_YET_VALID",
        )
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return CertificateError(
            f"The certificate of the server at {address} is not signed by a trusted authority: it may be another "
            "server. Give the certificate of the right authority as tls_ca (--tls-ca).",
            reason="CERTIFICATE_NOT_TRUSTED",
        )
    if "Hostname Verification Check failed" in details:
        return CertificateError(
            f"The certificate of the server at {address} is for another name. Use a name that is in the certificate "
            "as the address, or as tls_name (--tls-name).",
            reason="CERTIFICATE_FOR_ANOTHER_NAME",
        )
    if "WRONG_VERSION_NUMBER" in details:
        return ProtocolError(
            f"The server at {address} does not speak TLS. Omit tls and tls_ca (--tls, --tls-ca), or use another "
            "address.",
            reason="NOT_TLS",
        )
    return None


def _unavailable(address: str, details: str) -> UnavailableError:
    """Return the exception for a call that reached no server or lost its connection."""
    if "Socket closed" in details or "Connection reset" in details:
        return UnavailableError(
            f"The server at {address} closed the connection. It may require TLS (tls_ca, --tls-ca) or a client "
            "certificate (tls_cert and tls_key), or it is shutting down: then retry.",
            reason="CONNECTION_LOST",
        )
    reason = "UNAVAILABLE"
    if details.startswith(_NOT_CONNECTED):
        reason = "NO_SERVER"
    elif any(part in details for part in _LOST):
        reason = "CONNECTION_LOST"
    why = f": {cause}" if (cause := _connection_failure(details)) else ""
    if proxy := proxy_of(address):
        return UnavailableError(
            f"No planespotter server responds at {address} through the proxy {proxy.address}{why}. The variable "
            f"{proxy.variable} names this proxy: correct it, or add the host to NO_PROXY to connect directly.",
            reason=reason,
        )
    return UnavailableError(
        f"No planespotter server responds at {address}{why}. Start one with `planespotter serve`, or use another "
        "address.",
        reason=reason,
    )


def _connection_failure(details: str) -> str:
    """Return why a connection failed, in a few words; empty if the details of gRPC do not say."""
    if status := re.search(r"HTTP proxy returned response code (\d+)", details):
        return f"the proxy rejects the connection with status {status[1]}"
    return next((why for part, why in _CONNECTION_FAILURES if part.lower() in details.lower()), "")


def _without_status(code: grpc.StatusCode, details: str, address: str) -> PlaneSpotterError:
    """Return the exception for a call that ended with a bare code."""
    reason = code.name
    match code:
        case grpc.StatusCode.INTERNAL if details == _WRITE_FAILED or "RST_STREAM" in details:
            code = grpc.StatusCode.UNAVAILABLE
            reason = STREAM_ABORTED if details == _WRITE_FAILED else "CONNECTION_LOST"
            message = f"The server at {address} aborted the call. Send the photos again."
        case grpc.StatusCode.CANCELLED:
            message = f"The call to {address} was cancelled. Retry."
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            message = f"The server at {address} did not respond within the timeout. Use a longer one, or retry later."
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            reason = "MESSAGE_TOO_LARGE"
            sizes = re.search(r"\((\d+) vs\. (\d+)\)", details)
            shown = f": {int(sizes[1]):,} bytes; the limit is {int(sizes[2]):,}" if sizes else ""
            message = f"The message is too large for the server at {address}{shown}. Send a smaller photo."
        case grpc.StatusCode.UNIMPLEMENTED:
            message = f"The server at {address} is not a planespotter server of this version."
        case _:
            message = f"The server at {address} failed with {code.name} ({truncated(details)})."
    return CODES[code](message, reason=reason)


def truncated(text: str, limit: int = 200) -> str:
    """Truncate `text`, which comes from a server or a caller, to `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def not_ready(address: str, timeout: float, last: PlaneSpotterError) -> UnavailableError:
    """Return the exception for a server that was not ready in time; `last` is the error of the last attempt."""
    return UnavailableError(
        f"No planespotter server was ready at {address} within {timeout:g} s. Start one with `planespotter "
        f"serve`, or wait longer. The last attempt failed: {last}",
        reason=last.reason,
    )


def no_server_responds(addresses: str, last: UnavailableError) -> UnavailableError:
    """Return the exception for several servers that are all unavailable; `last` is the error of the last attempt."""
    return UnavailableError(
        f"None of the servers at {addresses} responds. The last attempt failed: {last}",
        reason=last.reason,
        metadata=last.metadata,
        photo_id=last.photo_id,
        retry_after=last.retry_after,
    )


def client_closed(address: str) -> UnavailableError:
    """Return the exception for calls of a closed client."""
    return UnavailableError(f"The client of {address} was closed. Create another.", reason="CLIENT_CLOSED")


def _detail(status: Status, kind: type[Detail]) -> Detail | None:
    for packed in status.details:
        detail = kind()
        if packed.Unpack(detail):
            return detail
    return None
