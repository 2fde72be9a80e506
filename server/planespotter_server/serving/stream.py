"""Stream processing: backpressure by a window of in-flight requests, responses as completed or in order."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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


async def serve_stream(
    handlers: StreamHandlers[Request, Response], window: Window, readers: set[asyncio.Task[None]]
) -> None:
    """Process all requests of a stream.

    A request is read only while the window is open: a client that does not read its responses cannot make the server
    buffer more, and HTTP/2 flow control makes it wait.

    Args:
        handlers: The functions that the stream consists of.
        window: Limits the requests in flight.
        readers: Contains the reading task while it reads. Cancel that task to drain the stream: the client gets a drain
            notice, and the accepted requests finish.

    Raises:
        Exception: What `read` raised, after the accepted requests have finished: if a stream ended during a write, gRPC
            would leave the client waiting forever.
    """
    writing = asyncio.Lock()
    accepted_count = 0
    read_error: Exception | None = None

    async def respond(request: Request, predecessor_sent: asyncio.Event, sent: asyncio.Event) -> None:
        response = await handlers.process(request)
        await predecessor_sent.wait()
        async with writing:
            await handlers.write(response)
        sent.set()
        window.remove(handlers.size(request))

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

    async with asyncio.TaskGroup() as responses:
        reader = responses.create_task(read_until_error())
        readers.add(reader)
        reader.add_done_callback(readers.discard)
        await asyncio.wait([reader])
        if reader.cancelled():
            async with writing:
                await handlers.write(handlers.drain_notice(accepted_count))
    if read_error is not None:
        raise read_error
