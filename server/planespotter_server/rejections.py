"""Why a photo or a call gets no answer, in words of this project; what that means in gRPC is in errors.py."""

from collections.abc import Mapping


class RequestRejected(Exception):  # noqa: N818  (it is an answer, not an error of the program)
    """A sentence for the caller, a fixed reason, and the figures in `metadata`.

    `field` names the part of the request that is at fault, if one is; `retry_after` (seconds) is set where trying again
    later can help.
    """

    def __init__(
        self,
        reason: str,
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
    """Return the refusal of bytes that are no message of the contract."""
    return RequestRejected(
        "REQUEST_MALFORMED",
        "The request cannot be parsed as the message that this method takes. Make it with code generated from "
        "planespotter/v1/classifier.proto.",
    )


def shortened(text: str, limit: int = 200) -> str:
    """Return `text` with at most `limit` characters: what callers chose may be of any length."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def warming_up() -> RequestRejected:
    """Return the refusal of a server that has no model ready yet."""
    return RequestRejected(
        "WARMING_UP",
        "The server is still loading its model and answers in a moment. Try again in 1 s.",
        retry_after=1.0,
    )


def device_failed() -> RequestRejected:
    """Return the refusal of a server whose device no longer works, so that it is about to end."""
    return RequestRejected(
        "DEVICE_FAILED",
        "The device that runs the network has failed, and the server is about to end. Send the photo again, to another "
        "server or later.",
        retry_after=5.0,
    )


def shutting_down() -> RequestRejected:
    """Return the refusal of a server that is about to stop."""
    return RequestRejected(
        "SHUTTING_DOWN",
        "The server is shutting down and takes no more photos. Send the photo again, to another server or later.",
        retry_after=1.0,
    )
