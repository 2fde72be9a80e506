"""Open streams: end those that are idle, too old, stalled by their client, or whose token was revoked."""

import asyncio
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.stream import OpenStream

CHECK_SECONDS = 1.0
AGE_JITTER = 0.2
"""Share by which the maximum age of a stream varies, so that streams that were opened together do not end together."""


class OpenStreams:
    """The open streams of a server.

    Args:
        idle_timeout: Seconds after which a stream without a photo in flight is drained, and one whose client does not
            read a response is aborted.
        max_age: Mean seconds after which a stream is drained, +- AGE_JITTER; 0 for never.
    """

    def __init__(self, idle_timeout: float, max_age: float) -> None:
        self._idle_timeout = idle_timeout
        self._max_age = max_age
        self._checks: dict[OpenStream, Callable[[], None]] = {}
        self._ends: dict[OpenStream, float] = {}

    @contextmanager
    def add(self, check_client: Callable[[], None]) -> Iterator[OpenStream]:
        """Keep a stream open while the block runs, or until `check_client` raises RequestRejected."""
        stream = OpenStream()
        self._checks[stream] = check_client
        self._ends[stream] = stream.opened_at + self._draw_age()
        try:
            yield stream
        finally:
            del self._checks[stream], self._ends[stream]

    def drain(self) -> None:
        """Drain all streams."""
        for stream in self._checks:
            stream.drain()

    async def watch(self) -> None:
        """Enforce the limits until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.enforce(asyncio.get_running_loop().time())

    def enforce(self, now: float) -> None:
        """End the streams that exceed a limit at the time `now` of the event loop."""
        for stream, check_client in self._checks.items():
            idle_since = now if stream.in_flight or stream.receiving_since is None else stream.receiving_since
            try:
                check_client()
            except RequestRejected as error:
                stream.reject(error)
            if now - idle_since >= self._idle_timeout or now >= self._ends[stream]:
                stream.drain()
            if stream.sending_since is not None and now - stream.sending_since >= self._idle_timeout:
                stream.abort(_not_reading(self._idle_timeout))

    def _draw_age(self) -> float:
        """Return the maximum age of a new stream in seconds."""
        return self._max_age * random.uniform(1 - AGE_JITTER, 1 + AGE_JITTER) if self._max_age else math.inf


def _not_reading(seconds: float) -> RequestRejected:
    return RequestRejected(
        "CLIENT_TOO_SLOW",
        f"The client has read no response for {seconds:g} s. Read the responses while you send photos.",
        metadata={"seconds": f"{seconds:g}"},
    )
