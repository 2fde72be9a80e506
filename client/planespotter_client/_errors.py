"""What can go wrong, as exceptions.

    PlaneSpotterError
    ├── PhotoReadError          the photo could not be read from disk
    ├── InvalidRequestError     the photo, an option or the address is invalid; `reason` and `metadata` have the details
    ├── NotFoundError           the server has no such model
    ├── AuthenticationError     the token is missing or invalid, or the caller lacks permission
    ├── OverloadedError         the server is full; retry after `retry_after` seconds
    ├── UnavailableError        no server responds, or it is starting or shutting down; retry
    ├── DeadlineExceededError   no response within the timeout
    ├── MissingDependencyError  an optional package is not installed
    ├── CertificateError        the server's TLS certificate is not trusted, or is for another name
    ├── ProtocolError           the server does not speak this protocol, or violates it
    └── InternalServerError     a bug or failure of the server; `metadata` may have the request id for its log

The text of each is a sentence for people. The one table from gRPC's codes to these classes is CODES.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

Detail = TypeVar("Detail")


class PlaneSpotterError(Exception):
    """Anything that can go wrong with a call.

    `reason` is a fixed word such as PHOTO_UNDECODABLE, or the name of gRPC's code where the server gave none;
    `metadata` holds the figures (the value found, the limit); `photo_id` names the photo where the error is about one,
    else ""; `retry_after` is how many seconds to wait before trying again, None where that would not help or is not
    known.

        try:
            answer = spotter.classify("photo.jpg")
        except OverloadedError as busy:
            time.sleep(busy.retry_after or 1)
        except PlaneSpotterError as error:
            print(error, error.reason, error.metadata)
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
        """Return what is known of the error as plain values."""
        return {
            "message": str(self),
            "reason": self.reason,
            "metadata": self.metadata,
            "photo_id": self.photo_id,
            "retry_after": self.retry_after,
        }

    def about(self, photo_id: str) -> Self:
        """Return the same error as that of one photo."""
        return type(self)(
            str(self),
            reason=self.reason,
            metadata=self.metadata,
            photo_id=photo_id,
            retry_after=self.retry_after,
        )


class PhotoReadError(PlaneSpotterError):
    """The photo could not be read from this machine's disk."""


class InvalidRequestError(PlaneSpotterError):
    """The photo, an option or the address is not acceptable."""


class NotFoundError(PlaneSpotterError):
    """The server has no such model."""


class AuthenticationError(PlaneSpotterError):
    """The server does not know the caller, or does not let it."""


class OverloadedError(PlaneSpotterError):
    """The server is full."""


class UnavailableError(PlaneSpotterError):
    """No server answers, or it is starting or stopping."""


class DeadlineExceededError(PlaneSpotterError):
    """No answer in the time allowed."""


class CertificateError(PlaneSpotterError):
    """The server's TLS certificate is not trusted, or is for another name."""


class ProtocolError(PlaneSpotterError):
    """The server does not speak this protocol, or violates it."""


class MissingDependencyError(PlaneSpotterError):
    """What was asked for needs a package that is not installed."""


class InternalServerError(PlaneSpotterError):
    """A fault of the server."""


CODES: Mapping[grpc.StatusCode, type[PlaneSpotterError]] = {
    grpc.StatusCode.OK: InternalServerError,  # an "error" without an error
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

# What grpc.aio reports when the server ends a stream while a photo is being written to it: how it ended is not told.
_STREAM_ABORTED = "Internal error from Core"
# How the details begin of a call that never left, and what stands in those of one whose connection was lost.
_NOT_REACHED = (
    "failed to connect",
    "connections to all backends failing",
    "DNS resolution failed",
    "errors resolving",
    "empty address list",
)
_LOST = ("Socket closed", "Connection reset", "Broken pipe", "Stream removed", "GOAWAY", "keepalive", "ping timeout")

STREAM_ABORTED = "STREAM_ABORTED"
LOST_ON_THE_WAY = ("CONNECTION_LOST", "UNAVAILABLE", STREAM_ABORTED)
"""Reasons of the UnavailableErrors of calls that may have reached a server, which then did not say why it ends them."""


@contextmanager
def about(photo_id: str) -> Iterator[None]:
    """Let every PlaneSpotterError that is raised inside say that it is about the photo `photo_id`."""
    try:
        yield
    except PlaneSpotterError as error:
        error.photo_id = photo_id
        raise


def from_status(status: Status, photo_id: str = "") -> PlaneSpotterError:
    """Return the exception for a google.rpc.Status."""
    info = _detail(status, ErrorInfo) or ErrorInfo()
    retry = _detail(status, RetryInfo)
    error = CODES[_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)]
    return error(
        status.message,
        reason=info.reason,
        metadata=info.metadata,
        photo_id=photo_id,
        retry_after=retry.retry_delay.ToMilliseconds() / 1000 if retry else None,
    )


def from_call(call: Any, address: str) -> PlaneSpotterError:
    """Return the exception for a failed gRPC call (a grpc.RpcError) to `address`."""
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # the details contradict the code: whoever answered is no planespotter server
        status = None
    if status is not None and status.details:
        return from_status(status)
    code, whole = call.code(), call.details() or "no details"
    details = shortened(whole)
    reason = code.name
    match code:
        case grpc.StatusCode.UNAVAILABLE if "CERTIFICATE_VERIFY_FAILED" in whole:
            return CertificateError(
                f"The certificate of the server at {address} is not signed by an authority that is trusted here, so it "
                "may be another server. Give the right authority's certificate as tls_ca (--tls-ca).",
                reason="CERTIFICATE_NOT_TRUSTED",
            )
        case grpc.StatusCode.UNAVAILABLE if "Hostname Verification Check failed" in whole:
            return CertificateError(
                f"The certificate of the server at {address} is for another name. Call the server by a name that "
                "stands in its certificate, or say which one does with tls_name (--tls-name).",
                reason="CERTIFICATE_FOR_ANOTHER_NAME",
            )
        case grpc.StatusCode.UNAVAILABLE if "WRONG_VERSION_NUMBER" in whole:
            return ProtocolError(
                f"What answers at {address} does not speak TLS. Leave TLS out (tls, tls_ca; --tls, --tls-ca), or give "
                "the address of a server that does.",
                reason="NOT_TLS",
            )
        case grpc.StatusCode.UNAVAILABLE if "Socket closed" in whole or "Connection reset" in whole:
            reason = "CONNECTION_LOST"
            message = (
                f"What answers at {address} hung up ({details}). Perhaps it wants TLS (tls_ca, --tls-ca) or a "
                "certificate (tls_cert and tls_key), or it is just stopping: then try again."
            )
        case grpc.StatusCode.UNAVAILABLE:
            if whole.startswith(_NOT_REACHED):
                reason = "NO_SERVER"
            elif any(words in whole for words in _LOST):
                reason = "CONNECTION_LOST"
            message = (
                f"No planespotter server answers at {address} ({details}). Start one with "
                "`planespotter serve`, or give the address of another."
            )
        case grpc.StatusCode.INTERNAL if whole == _STREAM_ABORTED or "RST_STREAM" in whole:
            code, reason = (
                grpc.StatusCode.UNAVAILABLE,
                STREAM_ABORTED if whole == _STREAM_ABORTED else "CONNECTION_LOST",
            )
            message = f"The server at {address} broke off the call ({details}). Send the photos again."
        case grpc.StatusCode.CANCELLED:
            message = f"The call to {address} was cancelled ({details}). Try again."
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            message = f"The server at {address} did not answer in the time allowed. Allow more, or try again later."
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            reason = "MESSAGE_TOO_LARGE"
            message = f"The message is too large for the server at {address} ({details}). Send a smaller photo."
        case grpc.StatusCode.UNIMPLEMENTED:
            message = f"What answers at {address} is no planespotter server of this version ({details})."
        case _:
            message = f"The server at {address} failed with {code.name} ({details})."
    return CODES[code](message, reason=reason)


def shortened(text: str, limit: int = 200) -> str:
    """Return `text` with at most `limit` characters: what others chose may be of any length."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def not_ready(address: str, timeout: float, last: PlaneSpotterError) -> UnavailableError:
    """Return the exception for a server that was waited for in vain; `last` is how the last attempt ended."""
    return UnavailableError(
        f"No planespotter server was ready at {address} within {timeout:g} s. Start one with `planespotter "
        f"serve`, or wait longer. The last attempt ended so: {last}",
        reason=last.reason,
    )


def none_answers(addresses: str, last: UnavailableError) -> UnavailableError:
    """Return the exception for several servers of which none answered; `last` is how the last attempt ended."""
    return UnavailableError(
        f"None of the servers at {addresses} answers. The last attempt ended so: {last}",
        reason=last.reason,
        metadata=last.metadata,
        photo_id=last.photo_id,
        retry_after=last.retry_after,
    )


def closed(address: str) -> UnavailableError:
    """Return the exception for a client of the server at `address` that was closed with calls under way."""
    return UnavailableError(f"The client of {address} was closed. Make another.", reason="CLIENT_CLOSED")


def _detail(status: Status, kind: type[Detail]) -> Detail | None:
    for packed in status.details:
        detail = kind()
        if packed.Unpack(detail):
            return detail
    return None
