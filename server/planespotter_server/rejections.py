"""Rejections: why a photo or a call gets no prediction; status.py maps them to gRPC statuses."""

from collections.abc import Mapping
from typing import Literal

Reason = Literal[
    "REQUEST_MALFORMED",
    "PROTOCOL_VIOLATION",
    "PHOTO_EMPTY",
    "PHOTO_FORMAT_UNSUPPORTED",
    "PHOTO_UNDECODABLE",
    "PHOTO_TOO_LARGE",
    "PHOTO_ID_TOO_LONG",
    "BATCH_TOO_LARGE",
    "TOP_K_OUT_OF_RANGE",
    "HEAT_MAP_UNSUPPORTED",
    "ORDERING_UNKNOWN",
    "PAGE_SIZE_NEGATIVE",
    "PAGE_TOKEN_INVALID",
    "TOKEN_MISSING",
    "TOKEN_INVALID",
    "METHOD_NOT_FOUND",
    "MODEL_NOT_FOUND",
    "RATE_LIMITED",
    "QUEUE_FULL",
    "TOO_MANY_CALLS",
    "TOO_MANY_STREAMS",
    "DEADLINE_EXCEEDED_IN_QUEUE",
    "WARMING_UP",
    "SHUTTING_DOWN",
    "DEVICE_FAILED",
    "INTERNAL",
    "CLIENT_TOO_SLOW",
    "PHOTO_DECODE_TIMEOUT",
    "MIN_PROBABILITY_OUT_OF_RANGE",
    "PRIOR_INVALID",
    "HEAT_MAP_TIMEOUT",
]
"""The reasons of the contract: the names of its enum ErrorReason without their prefix."""


class RequestRejected(Exception):  # noqa: N818  (an outcome of a request, not a fault of the program)
    """A request or a photo that the server rejects.

    Args:
        reason: What programs read.
        message: What people read: what is wrong, and the fix.
        metadata: The value and the limit, by name.
        field: Path of the request field at fault, such as "options.top_k"; empty if there is none.
        retry_after: Seconds after which a retry can succeed; None if it cannot.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, object] | None = None,
        field: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = {name: str(value) for name, value in (metadata or {}).items()}
        self.field = field
        self.retry_after = retry_after


def request_malformed() -> RequestRejected:
    """Return the rejection of bytes that do not parse as the request message."""
    return RequestRejected(
        "REQUEST_MALFORMED",
        "The request does not parse as the message of this method. Use code generated from "
        "planespotter/v1/classifier.proto.",
    )


def request_compressed() -> RequestRejected:
    """Return the rejection of a compressed message: a few kilobytes could expand to any size."""
    return RequestRejected(
        "REQUEST_MALFORMED",
        "The request is compressed, which this server does not support: photos are compressed already. Send it without "
        "gRPC compression.",
    )


def request_incomplete(seconds: float) -> RequestRejected:
    """Return the rejection of a request that has not arrived within `seconds`."""
    return RequestRejected(
        "CLIENT_TOO_SLOW",
        f"The request has not arrived completely within {seconds:g} s. Send smaller photos or batches, or use a faster "
        "connection.",
        metadata={"seconds": f"{seconds:g}"},
    )


def shortened(text: str, limit: int = 200) -> str:
    """Truncate `text` to `limit` characters: a name that a caller sent may have any length."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def warming_up() -> RequestRejected:
    """Return the rejection by a server whose models are still loading."""
    return RequestRejected(
        "WARMING_UP",
        "The server is still loading its models. Retry in 1 s.",
        retry_after=1.0,
    )


def device_failed() -> RequestRejected:
    """Return the rejection by a server whose inference device failed and that is about to exit."""
    return RequestRejected(
        "DEVICE_FAILED",
        "The inference device has failed and the server is about to exit. Retry on another server, or later.",
        retry_after=5.0,
    )


def shutting_down() -> RequestRejected:
    """Return the rejection by a draining server."""
    return RequestRejected(
        "SHUTTING_DOWN",
        "The server is shutting down and accepts no more photos. Retry on another server, or later.",
        retry_after=1.0,
    )


def decode_timed_out(seconds: float) -> RequestRejected:
    """Return the rejection of a photo that took longer than `seconds` to decode."""
    return RequestRejected(
        "PHOTO_DECODE_TIMEOUT",
        f"The photo could not be decoded within {seconds:g} seconds. Save it again as baseline JPEG, or scale it down.",
        metadata={"limit_seconds": seconds},
        field="photo.content",
    )


def heat_map_timed_out(seconds: float) -> RequestRejected:
    """Return the rejection of a heat map that took longer than `seconds`."""
    return RequestRejected(
        "HEAT_MAP_TIMEOUT",
        f"The heat map could not be computed within {seconds:g} seconds. Omit heat_map, or retry later.",
        metadata={"limit_seconds": seconds},
        field="options.heat_map",
    )
