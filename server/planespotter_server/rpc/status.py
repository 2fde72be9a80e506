"""Status mapping: a google.rpc.Status with ErrorInfo, RetryInfo and field violations for every exception."""

from typing import cast

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

from planespotter_models import PhotoError
from planespotter_server.rejections import Reason, RequestRejected, request_malformed
from planespotter_server.rpc.call_context import request_id

DOMAIN = "planespotter.v1"

CODES: dict[str, int] = {
    "REQUEST_MALFORMED": Code.INVALID_ARGUMENT,
    "PROTOCOL_VIOLATION": Code.INVALID_ARGUMENT,
    "PHOTO_EMPTY": Code.INVALID_ARGUMENT,
    "PHOTO_FORMAT_UNSUPPORTED": Code.INVALID_ARGUMENT,
    "PHOTO_UNDECODABLE": Code.INVALID_ARGUMENT,
    "PHOTO_TOO_LARGE": Code.INVALID_ARGUMENT,
    "PHOTO_DECODE_TIMEOUT": Code.INVALID_ARGUMENT,
    "PHOTO_ID_TOO_LONG": Code.INVALID_ARGUMENT,
    "BATCH_TOO_LARGE": Code.INVALID_ARGUMENT,
    "TOP_K_OUT_OF_RANGE": Code.INVALID_ARGUMENT,
    "HEAT_MAP_UNSUPPORTED": Code.INVALID_ARGUMENT,
    "MIN_PROBABILITY_OUT_OF_RANGE": Code.INVALID_ARGUMENT,
    "PRIOR_INVALID": Code.INVALID_ARGUMENT,
    "ORDERING_UNKNOWN": Code.INVALID_ARGUMENT,
    "PAGE_SIZE_NEGATIVE": Code.INVALID_ARGUMENT,
    "PAGE_TOKEN_INVALID": Code.INVALID_ARGUMENT,
    "TOKEN_MISSING": Code.UNAUTHENTICATED,
    "TOKEN_INVALID": Code.UNAUTHENTICATED,
    "METHOD_NOT_FOUND": Code.UNIMPLEMENTED,
    "MODEL_NOT_FOUND": Code.NOT_FOUND,
    "RATE_LIMITED": Code.RESOURCE_EXHAUSTED,
    "QUEUE_FULL": Code.RESOURCE_EXHAUSTED,
    "TOO_MANY_CALLS": Code.RESOURCE_EXHAUSTED,
    "TOO_MANY_STREAMS": Code.RESOURCE_EXHAUSTED,
    "DEADLINE_EXCEEDED_IN_QUEUE": Code.DEADLINE_EXCEEDED,
    "HEAT_MAP_TIMEOUT": Code.DEADLINE_EXCEEDED,
    "WARMING_UP": Code.UNAVAILABLE,
    "SHUTTING_DOWN": Code.UNAVAILABLE,
    "DEVICE_FAILED": Code.UNAVAILABLE,
    "INTERNAL": Code.INTERNAL,
    "CLIENT_TOO_SLOW": Code.UNAVAILABLE,
}
"""The gRPC code of every reason."""

log = structlog.get_logger()


def to_status(error: Exception, photo_field: str = "photo") -> Status:
    """Return the status that reports `error` to the caller.

    Any other exception than RequestRejected, PhotoError and DecodeError is a bug: it is logged, and the caller gets
    INTERNAL with the request id instead of its text.

    Args:
        error: What was raised.
        photo_field: Path of the photo in the request, such as "photos[3]".
    """
    rejection = _rejection(error, photo_field)
    code = CODES[rejection.reason]
    if code == Code.INTERNAL:
        rejection.metadata.setdefault("request_id", request_id())
    details: list[Message] = [ErrorInfo(reason=rejection.reason, domain=DOMAIN, metadata=rejection.metadata)]
    if code == Code.NOT_FOUND:
        details.append(
            ResourceInfo(
                resource_type="planespotter.v1.Model",
                resource_name=rejection.metadata["model_name"],
                description=str(rejection),
            )
        )
    elif code == Code.INTERNAL:
        details.append(RequestInfo(request_id=rejection.metadata["request_id"]))
    elif rejection.field:
        violation = BadRequest.FieldViolation(
            field=rejection.field, description=str(rejection), reason=rejection.reason
        )
        details.append(BadRequest(field_violations=[violation]))
    if rejection.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(round(rejection.retry_after * 1000))
        details.append(RetryInfo(retry_delay=delay))
    status = Status(code=code, message=str(rejection))
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _rejection(error: Exception, photo_field: str) -> RequestRejected:
    """Return `error` as a rejection, its field relative to the request."""
    if isinstance(error, PhotoError):
        reason, field = cast("Reason", error.reason), f"{photo_field}.content"
        return RequestRejected(reason, str(error), metadata=error.metadata, field=field)
    if isinstance(error, RequestRejected):
        if error.field.startswith("photo."):
            error.field = photo_field + error.field.removeprefix("photo")
        return error
    if isinstance(error, DecodeError):
        return request_malformed()
    logged_as = request_id()
    log.error("unhandled_exception", request_id=logged_as, exc_info=error)
    return RequestRejected(
        "INTERNAL",
        f"Internal error. The server's log has the details under the request id {logged_as}.",
        metadata={"request_id": logged_as},
    )


def reason_of(error: Exception) -> str:
    """Return the reason that the caller gets for `error`: a key of CODES."""
    if isinstance(error, RequestRejected | PhotoError):
        return error.reason
    return "REQUEST_MALFORMED" if isinstance(error, DecodeError) else "INTERNAL"


def unwrapped(error: Exception) -> Exception:
    """Return the one exception of an ExceptionGroup that has only one, at any depth; else `error`."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
