"""Bound how many calls are open at a time: of each client, and streams of all clients together."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from planespotter_server.rejections import RequestRejected

# How soon somebody's call or stream ends is not known here.
RETRY_AFTER_SECONDS = 1.0


class Admission:
    """Counts the calls that are open."""

    def __init__(self, max_streams: int, max_concurrent_calls_per_client: int) -> None:
        self._max_streams = max_streams
        self._max_client_calls = max_concurrent_calls_per_client
        self._calls: Counter[str] = Counter()
        self._streams = 0

    @contextmanager
    def admit(self, client: str, stream: bool, max_calls: int | None = None) -> Iterator[None]:
        """Count one call of `client` while the block runs; `max_calls` is its own limit, if it has one.

        Raises RequestRejected: TOO_MANY_CALLS or TOO_MANY_STREAMS.
        """
        limit = self._max_client_calls if max_calls is None else max_calls
        if self._calls[client] >= limit:
            raise RequestRejected(
                "TOO_MANY_CALLS",
                f"This client has {self._calls[client]:,} calls open; the limit is {limit:,}. Wait "
                "for some of them to end, or send the photos over one stream.",
                metadata={"calls": self._calls[client], "limit": limit},
                retry_after=RETRY_AFTER_SECONDS,
            )
        if stream and self._streams >= self._max_streams:
            raise RequestRejected(
                "TOO_MANY_STREAMS",
                f"The server has {self._streams:,} streams open; the limit is {self._max_streams:,}. Try again in "
                f"{RETRY_AFTER_SECONDS:g} s, or use Classify and BatchClassify.",
                metadata={"streams": self._streams, "limit": self._max_streams},
                retry_after=RETRY_AFTER_SECONDS,
            )
        self._calls[client] += 1
        self._streams += stream
        try:
            yield
        finally:
            self._streams -= stream
            self._calls[client] -= 1
            if not self._calls[client]:
                del self._calls[client]


def client_of(peer: str) -> str:
    """Return the address of a gRPC peer without its port: "ipv4:10.0.0.7:51234" is the client "ipv4:10.0.0.7"."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer
