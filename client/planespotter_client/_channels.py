"""Which servers there are, how to reach each, and whose turn it is."""

import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planespotter_client._errors import InvalidRequestError, shortened

DEFAULT_ADDRESS = "127.0.0.1:50051"
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
SERVICE = "planespotter.v1.ClassifierService"

# HOST:PORT, or what gRPC calls a target: a scheme and what it needs.
_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\],]+):(?P<port>[0-9]{1,5})")
_TARGET = re.compile(r"(?:dns|unix|unix-abstract|vsock|xds):\S+|(?:ipv4|ipv6):\S+:[0-9]{1,5}")
_SEVERAL_IN_ONE = ("ipv4:", "ipv6:")  # these targets have commas of their own

RETRIED = (
    "Classify",
    "BatchClassify",
    "GetModel",
    "ListModels",
    "GetServerInfo",
)  # a broken stream is not resumed by gRPC

# How long a server that did not answer is left out, in seconds: its turn costs a call a moment, no more.
REST_SECONDS = 1.0


def addresses(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the addresses of servers that `given` holds: one, several with commas between, or a sequence.

    Raises InvalidRequestError, and TypeError for what is no text.
    """
    if isinstance(given, str):
        one = given.startswith(_SEVERAL_IN_ONE)
        given = [given] if one else [address.strip() for address in given.split(",")]
    if not isinstance(given, Sequence) or not all(isinstance(address, str) for address in given):
        raise TypeError(f"address is {shortened(repr(given))}, but must be HOST:PORT as a text, or several in a list.")
    if not given:
        raise InvalidRequestError(
            "There is no address of a server. Write one HOST:PORT, or several.", reason="ADDRESS_MALFORMED"
        )
    return tuple(check_address(address) for address in given)


def check_address(address: str) -> str:
    """Return `address` if a server can be looked for there. Raises InvalidRequestError.

    gRPC itself takes anything, and port 443 where none is given, and only says that nothing answers.
    """
    found = _HOST_AND_PORT.fullmatch(address)
    if _TARGET.fullmatch(address) or (found and 0 < int(found["port"]) < 2**16):
        return address
    raise InvalidRequestError(
        f"{shortened(repr(address))} is no address of a server. Write HOST:PORT, such as {DEFAULT_ADDRESS} or "
        "[::1]:50051, or a gRPC target such as dns:///planes.example:50051 or unix:/run/planes.sock.",
        reason="ADDRESS_MALFORMED",
    )


def channel_options(health: bool = False, retry: bool = True) -> list[tuple[str, Any]]:
    """Return the options of a channel.

    With `health` it asks servers whether they are well, and avoids those that are not; one that cannot say counts as
    well. With `retry` gRPC makes calls again that find no server, for about a second.
    """
    policy = {
        "name": [{"service": SERVICE, "method": method} for method in RETRIED],
        "retryPolicy": {
            "maxAttempts": 4,
            "initialBackoff": "0.1s",
            "maxBackoff": "1s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        },
    }
    service_config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        **({"methodConfig": [policy]} if retry else {}),
        **({"healthCheckConfig": {"serviceName": SERVICE}} if health else {}),
    }
    return [
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),  # calls beyond it (256 KiB) are never retried
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", -1),  # the server's limits count; they are checked before sending
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def options_of(address: str, addresses: Sequence[str]) -> list[tuple[str, Any]]:
    """Return the options of the channel to `address`, one of `addresses`."""
    if len(addresses) > 1:  # a call that fails is not for the same server again but for another one
        return channel_options(health=True, retry=False)
    return channel_options(health=not is_one_server(address))


def is_one_server(address: str) -> bool:
    """Return whether there can be but one server at `address`, so that its own word is better than no call at all."""
    found = _HOST_AND_PORT.fullmatch(address)
    if not found:
        return address.startswith(("unix:", "unix-abstract:", "vsock:"))
    try:
        ipaddress.ip_address(found["host"].strip("[]"))
    except ValueError:
        return found["host"] == "localhost"
    return True


@dataclass
class Server:
    """One address, the channel to it, and its methods."""

    address: str
    channel: Any
    stub: Any
    rests_until: float = 0.0


class Rotation:
    """Servers by turns; one that did not answer is left out for a moment.

    A server may be a name that stands for several, among which its channel changes by itself. May be used by several
    threads: the worst that they can do to each other is to ask one server twice in a row.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = tuple(servers)
        self._turn = 0

    def next(self, now: float) -> Server:
        """Return the server whose turn it is at the time `now`, in seconds."""
        count = len(self.servers)
        turn, self._turn = self._turn, self._turn + 1
        row = [self.servers[(turn + step) % count] for step in range(count)]
        # Where all rest, the first that has rested: min() takes the first of equals.
        return min(row, key=lambda server: max(0.0, server.rests_until - now))

    def failed(self, server: Server, now: float) -> None:
        """Leave `server` out for a moment."""
        server.rests_until = now + REST_SECONDS
