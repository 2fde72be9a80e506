"""Stream processing: backpressure by a window of in-flight requests, responses as completed or in order."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True)
class StreamHandlers(Generic[Request, Response]):
    """The functions that a stream consists of."""

    read: Callable[[], Awaitable[Request | None]]
    """Returns the next request; None at the end of the stream."""
    process: Callable[[Request], Awaitable[Response]]
    """Returns the response to a request."""
    write: Callable[[Response], Awaitable[None]]
    """Sends a response."""
    size: Callable[[Request], int]
    """Returns the bytes that a request occupies until its response is sent."""
    in_order: Callable[[], bool]
    """Returns whether responses keep the order of the requests; called once the first request is read."""
    drain_notice: Callable[[int], Response]
    """Returns the notice that reading has ended, given the number of accepted requests."""
    abandon: Callable[[Request], None]
    """Called with each request whose processing was cancelled, because the stream was."""


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


async def serve_stream(handlers: StreamHandlers[Request, Response], window: Window, stream: OpenStream) -> None:
    """Process all requests of a stream.

    A request is read only while the window is open: a client that does not read its responses cannot make the server
    buffer more, and HTTP/2 flow control makes it wait.

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
    read_error: Exception | None = None

    async def respond(request: Request, predecessor_sent: asyncio.Event, sent: asyncio.Event) -> None:
        response = await handlers.process(request)
        await predecessor_sent.wait()
        await write(response)
        sent.set()
        stream.in_flight -= 1
        window.remove(handlers.size(request))

    async def write(response: Response) -> None:
        async with writing:
            stream.sending_since = _now()
            await handlers.write(response)
            stream.sending_since = None

    async def read_all() -> None:
        nonlocal accepted_count
        in_order, no_predecessor = False, asyncio.Event()
        no_predecessor.set()
        last_sent = no_predecessor
        while True:
            await window.wait_until_open()
            request = await handlers.read()
            if request is None:
                return
            if not accepted_count:
                in_order = handlers.in_order()
            accepted_count += 1
            stream.in_flight += 1
            window.add(handlers.size(request))
            sent = asyncio.Event()
            task = responses.create_task(respond(request, last_sent if in_order else no_predecessor, sent))
            task.add_done_callback(functools.partial(abandon_if_cancelled, request))
            last_sent = sent

    async def read_until_error() -> None:
        nonlocal read_error
        try:
            await read_all()
        except Exception as error:
            read_error = error

    def abandon_if_cancelled(request: Request, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # perhaps before its first step, where a `finally` in the task would not run
            handlers.abandon(request)

    stream._handler = asyncio.current_task()
    try:
        async with asyncio.TaskGroup() as responses:
            stream._reader = responses.create_task(read_until_error())
            await asyncio.wait([stream._reader])
            if stream._reader.cancelled() and stream._error is None:
                await write(handlers.drain_notice(accepted_count))
    except asyncio.CancelledError:
        if stream._error is None or stream._handler is None or stream._handler.uncancel():  # the client cancelled
            raise
    finally:
        stream._handler = None
    if error := read_error or stream._error:
        raise error
