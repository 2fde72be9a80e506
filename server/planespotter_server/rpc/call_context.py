"""Call context: the request id, the client and the photo count of the current call, in a ContextVar."""

import re
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from planespotter_server.auth.authentication import Client

REQUEST_ID = "x-request-id"
"""Key of the request id in the metadata of a call, and in the trailing metadata of its response."""

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(eq=False)
class Call:
    """A call; `photos` counts those that have arrived so far."""

    rpc: str
    request_id: str
    client: Client = field(default_factory=Client)
    photos: int = 0


current: ContextVar[Call] = ContextVar("current")
"""The call of the current task; asyncio passes it on to the tasks that it creates."""


def request_id() -> str:
    """Return the request id of the current call; a new one outside of a call."""
    call = current.get(None)
    return call.request_id if call is not None else uuid.uuid4().hex


def choose_request_id(metadata: Mapping[str, str | bytes]) -> str:
    """Return the caller's request id if it is safe to log, else a new one."""
    sent = metadata.get(REQUEST_ID)
    return sent if isinstance(sent, str) and _VALID_ID.fullmatch(sent) else uuid.uuid4().hex
