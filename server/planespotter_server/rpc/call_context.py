"""What is known of the call that is being answered: its id, and who makes it."""

import re
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from planespotter_server.auth.authentication import Client

REQUEST_ID = "x-request-id"  # in the metadata of a call, and at its end in that of the answer

_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(eq=False)
class Call:
    """One call; `photos` counts those that it brought so far."""

    rpc: str
    request_id: str
    client: Client = field(default_factory=Client)
    photos: int = 0


current: ContextVar[Call] = ContextVar("current")
"""The call that a task works for; asyncio hands it on to the tasks that it creates."""


def request_id() -> str:
    """Return the id of the call that is being answered; a new one outside of any."""
    call = current.get(None)
    return call.request_id if call is not None else uuid.uuid4().hex


def choose_request_id(metadata: Mapping[str, str | bytes]) -> str:
    """Return the id that the caller has given, if it is one that can safely stand in a log, else a new one."""
    given = metadata.get(REQUEST_ID)
    return given if isinstance(given, str) and _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
