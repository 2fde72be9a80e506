"""Answer a stream: read ahead only so far, write answers as they are ready. Knows nothing of gRPC."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


async def answer_stream(
    read: Callable[[], Awaitable[Request | None]],
    answer: Callable[[Request], Awaitable[Response]],
    write: Callable[[Response], Awaitable[None]],
    window: int,
    readers: set[asyncio.Task[None]],
    abandon: Callable[[Request], None],
) -> bool:
    """Answer requests until `read` returns None; return True if that is how it ended.

    A request is read only while fewer than `window` are without a written answer, so a caller who does not take its
    answers cannot make the server hold more. While it reads, the reading task is in `readers`: whoever cancels it
    ends the reading; what was read is still answered, and False returned. A stream that breaks calls `abandon` with
    each request whose answering it cut off.
    """
    places = asyncio.Semaphore(window)
    writing = asyncio.Lock()

    async def answer_one(request: Request) -> None:
        response = await answer(request)
        async with writing:
            await write(response)
        places.release()

    async def read_all() -> None:
        while True:
            await places.acquire()
            request = await read()
            if request is None:
                return
            task = answers.create_task(answer_one(request))
            task.add_done_callback(functools.partial(end, request))

    def end(request: Request, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # perhaps before its first step, so no `finally` of its own could have seen to it
            abandon(request)

    async with asyncio.TaskGroup() as answers:
        reader = answers.create_task(read_all())
        readers.add(reader)
        reader.add_done_callback(readers.discard)
    return not reader.cancelled()
