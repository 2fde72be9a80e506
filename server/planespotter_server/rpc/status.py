"""What a refusal means in gRPC: a google.rpc.Status with ErrorInfo, and what else applies."""

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

from planespotter_models import PhotoError
from planespotter_server.rejections import RequestRejected, request_malformed
from planespotter_server.rpc.call_context import request_id

DOMAIN = "planespotter.v1"

# Every reason that a caller can meet, and its code.
CODES = {
    "REQUEST_MALFORMED": Code.INVALID_ARGUMENT,
    "PHOTO_EMPTY": Code.INVALID_ARGUMENT,
    "PHOTO_FORMAT_UNSUPPORTED": Code.INVALID_ARGUMENT,
    "PHOTO_UNDECODABLE": Code.INVALID_ARGUMENT,
    "PHOTO_TOO_LARGE": Code.INVALID_ARGUMENT,
    "PHOTO_ID_TOO_LONG": Code.INVALID_ARGUMENT,
    "BATCH_TOO_LARGE": Code.INVALID_ARGUMENT,
    "TOP_K_OUT_OF_RANGE": Code.INVALID_ARGUMENT,
    "HEAT_MAP_UNSUPPORTED": Code.INVALID_ARGUMENT,
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
    "WARMING_UP": Code.UNAVAILABLE,
    "SHUTTING_DOWN": Code.UNAVAILABLE,
    "DEVICE_FAILED": Code.UNAVAILABLE,
    "INTERNAL": Code.INTERNAL,
}

log = structlog.get_logger()


def to_status(error: Exception, photo_field: str = "photo") -> Status:
    """Return the status that tells a caller of `error`; `photo_field` is where in the request the photo stands.

    Any other exception than RequestRejected, PhotoError and DecodeError is a bug: the caller gets nothing but the
    request id, under which the log has it.
    """
    reason = reason_of(error)
    if isinstance(error, PhotoError):
        error = RequestRejected(error.reason, str(error), metadata=error.metadata, field=photo_field)
    elif reason == "REQUEST_MALFORMED":
        error = request_malformed()
    elif not isinstance(error, RequestRejected):
        known_as = request_id()
        log.error("bug", request_id=known_as, exc_info=error)
        error = RequestRejected(
            "INTERNAL",
            f"Something went wrong inside the server; its log knows more under the id {known_as}.",
            metadata={"request_id": known_as},
        )
    code = CODES[error.reason]
    if code == Code.INTERNAL:
        error.metadata.setdefault("request_id", request_id())
    details: list[Message] = [ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)]
    if code == Code.NOT_FOUND:
        details.append(
            ResourceInfo(
                resource_type="planespotter.v1.Model",
                resource_name=error.metadata["model_name"],
                description=str(error),
            )
        )
    elif code == Code.INTERNAL:
        details.append(RequestInfo(request_id=error.metadata["request_id"]))
    elif error.field:
        violation = BadRequest.FieldViolation(field=error.field, description=str(error), reason=error.reason)
        details.append(BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after * 1000))
        details.append(RetryInfo(retry_delay=delay))
    status = Status(code=code, message=str(error))
    for detail in details:
        status.details.add().Pack(detail)
    return status


def reason_of(error: Exception) -> str:
    """Return the reason that a caller hears for `error`: one of CODES."""
    if isinstance(error, RequestRejected | PhotoError):
        return error.reason
    return "REQUEST_MALFORMED" if isinstance(error, DecodeError) else "INTERNAL"


def unwrapped(error: Exception) -> Exception:
    """Return the exception that made a group of tasks fail, where one alone did."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
