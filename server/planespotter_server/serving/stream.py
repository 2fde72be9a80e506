"""Answer a stream: read ahead only so far, write answers as they are ready or in order. Knows nothing of gRPC."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True)
class Parts(Generic[Request, Response]):
    """What a stream is made of."""

    read: Callable[[], Awaitable[Request | None]]
    """Returns the next request, None when there are no more."""
    answer: Callable[[Request], Awaitable[Response]]
    write: Callable[[Response], Awaitable[None]]
    size: Callable[[Request], int]
    """Bytes that a request holds until it is answered."""
    in_order: Callable[[], bool]
    """Whether responses keep the order of the requests; called once the first request is read."""
    drain_notice: Callable[[int], Response]
    """Makes the notice that reading has ended, with the number of requests that were read."""
    abandon: Callable[[Request], None]
    """Called with each request whose answering was cut off, because the stream broke."""


class Window:
    """How many requests of one stream, and of how many bytes together, may be without a written answer."""

    def __init__(self, requests: int, size: int) -> None:
        self._requests = requests
        self._size = size
        self._changed = asyncio.Event()

    async def until_open(self) -> None:
        """Return once another request may be read. What it holds is not known before, so it may go over the bytes."""
        while self._requests <= 0 or self._size <= 0:
            self._changed.clear()
            await self._changed.wait()

    def enter(self, size: int) -> None:
        """Take note of a request that was read."""
        self._requests -= 1
        self._size -= size

    def leave(self, size: int) -> None:
        """Take note that its answer was written."""
        self._requests += 1
        self._size += size
        self._changed.set()


async def answer_stream(parts: Parts[Request, Response], window: Window, readers: set[asyncio.Task[None]]) -> None:
    """Answer every request that is read, until there are no more.

    A request is read only while `window` is open, so a caller who does not take its answers cannot make the server
    hold more. While it reads, the reading task is in `readers`: whoever cancels it ends the reading; the caller is told
    by a drain notice, and what was read is still answered. So it is if reading fails, before that is raised: a stream
    must not end while one of its answers is being written, which would leave gRPC's caller waiting for ever.
    """
    writing = asyncio.Lock()
    read_count = 0
    failure: Exception | None = None

    async def answer_one(request: Request, before: asyncio.Event, written: asyncio.Event) -> None:
        response = await parts.answer(request)
        await before.wait()
        async with writing:
            await parts.write(response)
        written.set()
        window.leave(parts.size(request))

    async def read_all() -> None:
        nonlocal read_count
        in_order, free = False, asyncio.Event()
        free.set()
        last = free
        while True:
            await window.until_open()
            request = await parts.read()
            if request is None:
                return
            if not read_count:
                in_order = parts.in_order()
            read_count += 1
            window.enter(parts.size(request))
            written = asyncio.Event()
            task = answers.create_task(answer_one(request, last if in_order else free, written))
            task.add_done_callback(functools.partial(end, request))
            last = written

    async def read_while_it_goes_well() -> None:
        nonlocal failure
        try:
            await read_all()
        except Exception as error:
            failure = error

    def end(request: Request, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # perhaps before its first step, so no `finally` of its own could have seen to it
            parts.abandon(request)

    async with asyncio.TaskGroup() as answers:
        reader = answers.create_task(read_while_it_goes_well())
        readers.add(reader)
        reader.add_done_callback(readers.discard)
        await asyncio.wait([reader])
        if reader.cancelled():
            async with writing:
                await parts.write(parts.drain_notice(read_count))
    if failure is not None:
        raise failure
