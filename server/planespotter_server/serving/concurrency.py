"""Concurrency limits: maximum number of open calls and streams per client, and of open streams in total."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from planespotter_server.rejections import RequestRejected

# When a call or stream of somebody else ends cannot be estimated.
RETRY_DELAY = 1.0


class ConcurrencyLimiter:
    """Counts open calls.

    Args:
        max_streams: Maximum number of open streams of all clients.
        max_calls_per_client: Maximum number of open calls per client, streams included.
        max_streams_per_client: Maximum number of open streams per client: well below the total, so that no client can
            occupy all.
    """

    def __init__(self, max_streams: int, max_calls_per_client: int, max_streams_per_client: int) -> None:
        self._max_streams = max_streams
        self._max_calls_per_client = max_calls_per_client
        self._max_streams_per_client = max_streams_per_client
        self._calls: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()

    @contextmanager
    def acquire(self, client: str, stream: bool, max_calls: int | None = None) -> Iterator[None]:
        """Count one open call of `client` while the block runs.

        Args:
            client: Key of the client.
            stream: Whether the call is a stream.
            max_calls: The client's individual limit; None for the common one.

        Raises:
            RequestRejected: TOO_MANY_CALLS or TOO_MANY_STREAMS.
        """
        limit = self._max_calls_per_client if max_calls is None else max_calls
        if self._calls[client] >= limit:
            raise RequestRejected(
                "TOO_MANY_CALLS",
                f"This client has too many open calls: {self._calls[client]:,}; the limit is {limit:,}. Wait for some "
                "to end, or send the photos over one stream.",
                metadata={"calls": self._calls[client], "limit": limit},
                retry_after=RETRY_DELAY,
            )
        if stream:
            self._check_streams(client)
        self._calls[client] += 1
        self._streams[client] += stream
        try:
            yield
        finally:
            self._streams[client] -= stream
            self._calls[client] -= 1
            if not self._calls[client]:
                del self._calls[client], self._streams[client]

    def _check_streams(self, client: str) -> None:
        for subject, streams, limit in (
            ("This client", self._streams[client], self._max_streams_per_client),
            ("The server", self._streams.total(), self._max_streams),
        ):
            if streams >= limit:
                raise RequestRejected(
                    "TOO_MANY_STREAMS",
                    f"{subject} has too many open streams: {streams:,}; the limit is {limit:,}. Retry in "
                    f"{RETRY_DELAY:g} s, or use Classify and BatchClassify.",
                    metadata={"streams": streams, "limit": limit},
                    retry_after=RETRY_DELAY,
                )
