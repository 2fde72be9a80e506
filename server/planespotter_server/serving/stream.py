"""Stream processing: backpressure by a window of in-flight requests, responses as completed or in order."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True)
class StreamHandlers(Generic[Request, Response]):
    """The functions that a stream consists of."""

    read: Callable[[], Awaitable[Request | None]]
    """Returns the next request; None at the end of the stream."""
    start: Callable[[Request, Callable[[Response], None]], None]
    """Starts to process a request. Unless it is abandoned, its response is passed on once, in the event loop."""
    write: Callable[[Sequence[tuple[Request, Response]]], Awaitable[None]]
    """Sends responses, each with its request."""
    size: Callable[[Request], int]
    """Returns the bytes that a request occupies until its response is sent."""
    in_order: Callable[[], bool]
    """Returns whether responses keep the order of the requests; called once the first request is read."""
    send_drain_notice: Callable[[int], Awaitable[None]]
    """Sends the notice that reading has ended, given the number of accepted requests."""
    abandon: Callable[[Request], None]
    """Called with each request whose response was not sent, because the stream was cancelled."""


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(eq=False)
class OpenStream:
    """An open stream: what it waits for, and the ways to end it. Times are those of the event loop, in seconds."""

    opened_at: float = field(default_factory=_now)
    receiving_since: float | None = None
    """Since when it has waited for the next message; None if it does not."""
    sending_since: float | None = None
    """Since when a response has waited for the client to read; None if none does."""
    in_flight: int = 0
    """Number of requests that were read and have no sent response."""
    _reader: asyncio.Task[None] | None = None
    _handler: asyncio.Task[object] | None = None
    _error: Exception | None = None

    def drain(self) -> None:
        """Stop reading: the client gets a drain notice, the accepted requests finish, and the stream ends with OK."""
        if self._reader is not None:
            self._reader.cancel()

    def reject(self, error: Exception) -> None:
        """Stop reading; the accepted requests finish, and the stream ends with `error`."""
        self._error = error
        self.drain()

    def abort(self, error: Exception) -> None:
        """End the stream with `error` at once: its client reads no responses, so it cannot be drained."""
        if self._handler is not None and self._error is None:
            self._error = error
            self._handler.cancel()


class Window:
    """Limits the requests of one stream that are in flight: read, but without a sent response.

    Args:
        max_requests: Maximum number of requests in flight.
        max_bytes: Maximum total size of these requests.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._requests_left = max_requests
        self._bytes_left = max_bytes
        self._changed = asyncio.Event()

    async def wait_until_open(self) -> None:
        """Wait until another request may be read. Its size is unknown before, so it may exceed the bytes."""
        while self._requests_left <= 0 or self._bytes_left <= 0:
            self._changed.clear()
            await self._changed.wait()

    def add(self, size: int) -> None:
        """Count a request that was read."""
        self._requests_left -= 1
        self._bytes_left -= size

    def remove(self, size: int) -> None:
        """Remove a request whose response was sent."""
        self._requests_left += 1
        self._bytes_left += size
        self._changed.set()


class _Outbox(Generic[Response]):
    """The responses that are ready to be sent, by the number of their request.

    Args:
        in_order: Returns whether a response waits for those of earlier requests.
    """

    def __init__(self, in_order: Callable[[], bool]) -> None:
        self._in_order = in_order
        self._ready: list[tuple[int, Response]] = []
        self._held_back: dict[int, Response] = {}
        self._next = 0
        self._changed = asyncio.Event()
        self._last: int | None = None  # number of requests, once all are read
        self._taken = 0

    def put(self, number: int, response: Response) -> None:
        """Add the response to request `number`, counted from 0."""
        if self._in_order():
            self._held_back[number] = response
            while self._next in self._held_back:
                self._ready.append((self._next, self._held_back.pop(self._next)))
                self._next += 1
        else:
            self._ready.append((number, response))
        self._changed.set()

    def close(self, requests: int) -> None:
        """Let `take` return nothing once the responses to all `requests` have been taken."""
        self._last = requests
        self._changed.set()

    async def take(self) -> list[tuple[int, Response]]:
        """Wait for responses and return all that are ready; none after the last."""
        while not self._ready and self._taken != self._last:
            self._changed.clear()
            await self._changed.wait()
        ready, self._ready = self._ready, []
        self._taken += len(ready)
        return ready


async def serve_stream(handlers: StreamHandlers[Request, Response], window: Window, stream: OpenStream) -> None:
    """Process all requests of a stream.

    A request is read only while the window is open: a client that does not read its responses cannot make the server
    buffer more, and HTTP/2 flow control makes it wait. What gets ready during a write is sent together next.

    Args:
        handlers: The functions that the stream consists of.
        window: Limits the requests in flight.
        stream: Its state, by which others can end it.

    Raises:
        Exception: What `read` raised or what the stream was rejected with, after the accepted requests have finished:
            if a stream ended during a write, gRPC would leave the client waiting forever.
    """
    writing = asyncio.Lock()
    accepted_count = 0
    unanswered: dict[int, Request] = {}
    outbox: _Outbox[Response] = _Outbox(handlers.in_order)
    read_error: Exception | None = None

    async def write(send: Callable[[], Awaitable[None]]) -> None:
        async with writing:
            stream.sending_since = _now()
            await send()
            stream.sending_since = None

    async def read_all() -> None:
        nonlocal accepted_count
        while True:
            await window.wait_until_open()
            request = await handlers.read()
            if request is None:
                return
            number, accepted_count = accepted_count, accepted_count + 1
            unanswered[number] = request
            stream.in_flight += 1
            window.add(handlers.size(request))
            handlers.start(request, functools.partial(outbox.put, number))

    async def read_until_error() -> None:
        nonlocal read_error
        try:
            await read_all()
        except Exception as error:
            read_error = error

    async def write_all() -> None:
        while ready := await outbox.take():
            responses = [(unanswered[number], response) for number, response in ready]
            await write(functools.partial(handlers.write, responses))
            for number, _ in ready:
                window.remove(handlers.size(unanswered.pop(number)))
                stream.in_flight -= 1

    stream._handler = asyncio.current_task()
    try:
        async with asyncio.TaskGroup() as group:
            stream._reader = group.create_task(read_until_error())
            group.create_task(write_all())
            await asyncio.wait([stream._reader])
            outbox.close(accepted_count)
            if stream._reader.cancelled() and stream._error is None:
                await write(functools.partial(handlers.send_drain_notice, accepted_count))
    except asyncio.CancelledError:
        if stream._error is None or stream._handler is None or stream._handler.uncancel():  # the client cancelled
            raise
    finally:
        stream._handler = None
        for request in unanswered.values():
            handlers.abandon(request)
    if error := read_error or stream._error:
        raise error
