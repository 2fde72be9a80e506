"""Channels: their options, and client-side load balancing (round robin with failover)."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planespotter_client._addresses import is_single_server
from planespotter_client._proxy import bypasses_proxy

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
SERVICE = "planespotter.v1.ClassifierService"

RETRIED_METHODS = ("Classify", "BatchClassify", "GetModel", "ListModels", "GetServerInfo")
"""Unary methods; gRPC cannot resume a broken stream."""

COOLDOWN_SECONDS = 1.0
"""How long a server that did not respond is skipped; probing it again costs a call a moment, not more."""


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
        ("grpc.http2.ping_timeout_ms", 10_000),  # without it, gRPC waits for a minute despite the line above
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def options_for(address: str, addresses: Sequence[str]) -> list[tuple[str, Any]]:
    """Return the options of the channel to `address`, one of `addresses`."""
    if len(addresses) > 1:  # a failed call is retried on another server, not by gRPC on the same
        options = channel_options(health=True, retry=False)
    else:
        options = channel_options(health=not is_single_server(address))
    return [*options, *proxy_options(address)]


def proxy_options(address: str) -> list[tuple[str, Any]]:
    """Return the channel options that keep calls to `address` away from an HTTP proxy; none if they may use one."""
    return [("grpc.enable_http_proxy", 0)] if bypasses_proxy(address) else []


@dataclass
class Server:
    """An address, its channel and its stub."""

    address: str
    channel: Any
    stub: Any
    available_at: float = 0.0


class RoundRobin:
    """Picks servers round robin from a random one on; one that did not respond is skipped for COOLDOWN_SECONDS.

    A server may be a name with several backends, which its channel balances itself. Used by several threads without a
    lock: at worst, one server is picked twice in a row.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = tuple(servers)
        self._next = random.randrange(len(self.servers))  # many clients with one stream each use all servers

    def pick(self, now: float) -> Server:
        """Return the next server at the time `now`, in seconds."""
        start, self._next = self._next % len(self.servers), self._next + 1
        return _first_available([*self.servers[start:], *self.servers[:start]], now)

    def pick_any(self, now: float) -> Server:
        """Return a random server at the time `now`, in seconds.

        Streams that a server drains spread evenly in this way; round robin would move all of them to the next server.
        """
        return _first_available(random.sample(self.servers, len(self.servers)), now)

    def mark_failed(self, server: Server, now: float) -> None:
        """Skip `server` for COOLDOWN_SECONDS."""
        server.available_at = now + COOLDOWN_SECONDS


def _first_available(servers: Sequence[Server], now: float) -> Server:
    """Return the first of `servers` that is not skipped; if all are, the one that is available again first."""
    return min(servers, key=lambda server: max(0.0, server.available_at - now))  # min() takes the first of equals
