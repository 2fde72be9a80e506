"""Channels: addresses of servers, channel options, and client-side load balancing (round robin with failover)."""

import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planespotter_client._errors import InvalidRequestError, truncated

DEFAULT_ADDRESS = "127.0.0.1:50051"
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
SERVICE = "planespotter.v1.ClassifierService"

# HOST:PORT, or a gRPC target: a scheme and what it needs.
_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\],]+):(?P<port>[0-9]{1,5})")
_TARGET = re.compile(r"(?:dns|unix|unix-abstract|vsock|xds):\S+|(?:ipv4|ipv6):\S+:[0-9]{1,5}")
_TARGETS_WITH_COMMAS = ("ipv4:", "ipv6:")

RETRIED_METHODS = ("Classify", "BatchClassify", "GetModel", "ListModels", "GetServerInfo")
"""Unary methods; gRPC cannot resume a broken stream."""

COOLDOWN_SECONDS = 1.0
"""How long a server that did not respond is skipped; probing it again costs a call a moment, not more."""


def parse_addresses(address: str | Sequence[str]) -> tuple[str, ...]:
    """Return the addresses in `address`: one, several separated by commas, or a sequence.

    Raises:
        InvalidRequestError: An address is invalid.
        TypeError: `address` is not a string or a sequence of strings.
    """
    if isinstance(address, str):
        is_single = address.startswith(_TARGETS_WITH_COMMAS)
        address = [address] if is_single else [part.strip() for part in address.split(",")]
    if not isinstance(address, Sequence) or not all(isinstance(part, str) for part in address):
        raise TypeError(f"address is invalid: {truncated(repr(address))}. Give HOST:PORT as a string, or a list.")
    if not address:
        raise InvalidRequestError("address is empty. Give HOST:PORT, or several.", reason="ADDRESS_MALFORMED")
    return tuple(check_address(part) for part in address)


def check_address(address: str) -> str:
    """Return `address` if it is valid.

    gRPC itself accepts anything, adds port 443 where there is none, and reports only that nothing responds.

    Raises:
        InvalidRequestError: `address` is neither HOST:PORT nor a gRPC target.
    """
    match = _HOST_AND_PORT.fullmatch(address)
    if _TARGET.fullmatch(address) or (match and 0 < int(match["port"]) < 2**16):
        return address
    raise InvalidRequestError(
        f"The address is invalid: {truncated(repr(address))}. Give HOST:PORT, such as {DEFAULT_ADDRESS} or "
        "[::1]:50051, or a gRPC target such as dns:///planes.example:50051 or unix:/run/planes.sock.",
        reason="ADDRESS_MALFORMED",
    )


def channel_options(health: bool = False, retry: bool = True) -> list[tuple[str, Any]]:
    """Return the options of a channel.

    Args:
        health: Whether to health-check the servers and avoid unhealthy ones. One without a health service counts as
            healthy.
        retry: Whether gRPC retries calls that reach no server, for about a second.
    """
    policy = {
        "name": [{"service": SERVICE, "method": method} for method in RETRIED_METHODS],
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
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),  # larger calls (default: 256 KiB) are never retried
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", -1),  # the server's limits apply; they are checked before sending
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def options_for(address: str, addresses: Sequence[str]) -> list[tuple[str, Any]]:
    """Return the options of the channel to `address`, one of `addresses`."""
    if len(addresses) > 1:  # a failed call is retried on another server, not by gRPC on the same
        return channel_options(health=True, retry=False)
    return channel_options(health=not is_single_server(address))


def is_single_server(address: str) -> bool:
    """Return whether `address` is one server: then even an unhealthy one is better than no call at all."""
    match = _HOST_AND_PORT.fullmatch(address)
    if not match:
        return address.startswith(("unix:", "unix-abstract:", "vsock:"))
    try:
        ipaddress.ip_address(match["host"].strip("[]"))
    except ValueError:
        return match["host"] == "localhost"
    return True


@dataclass
class Server:
    """An address, its channel and its stub."""

    address: str
    channel: Any
    stub: Any
    available_at: float = 0.0


class RoundRobin:
    """Picks servers round robin; one that did not respond is skipped for COOLDOWN_SECONDS.

    A server may be a name with several backends, which its channel balances itself. Used by several threads without a
    lock: at worst, one server is picked twice in a row.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = tuple(servers)
        self._next = 0

    def pick(self, now: float) -> Server:
        """Return the next server at the time `now`, in seconds."""
        count = len(self.servers)
        start, self._next = self._next, self._next + 1
        rotated = [self.servers[(start + step) % count] for step in range(count)]
        # If all are cooling down, the first that is available again: min() takes the first of equals.
        return min(rotated, key=lambda server: max(0.0, server.available_at - now))

    def mark_failed(self, server: Server, now: float) -> None:
        """Skip `server` for COOLDOWN_SECONDS."""
        server.available_at = now + COOLDOWN_SECONDS
