"""The stream's own logic: reads ahead only so far, answers everything that it read."""

import asyncio

import pytest

from planespotter_server.stream import answer_stream


async def test_it_never_holds_more_than_its_window() -> None:
    unanswered = most = 0
    requests = iter(range(50))
    written = []

    async def read() -> int | None:
        nonlocal unanswered, most
        request = next(requests, None)
        if request is not None:
            unanswered += 1
            most = max(most, unanswered)
        return request

    async def answer(request: int) -> int:
        await asyncio.sleep(0)
        return request

    async def write(response: int) -> None:
        nonlocal unanswered
        unanswered -= 1
        await asyncio.sleep(0)
        written.append(response)

    assert await answer_stream(read, answer, write, 5, set(), lambda _: None)
    assert sorted(written) == list(range(50))
    assert most == 5


async def test_a_quick_answer_overtakes_a_slow_one() -> None:
    requests = iter([0.05, 0.0])
    written = []

    async def read() -> float | None:
        return next(requests, None)

    async def answer(request: float) -> float:
        await asyncio.sleep(request)
        return request

    async def write(response: float) -> None:
        written.append(response)

    await answer_stream(read, answer, write, 5, set(), lambda _: None)
    assert written == [0.0, 0.05]


async def test_when_reading_is_ended_what_was_read_is_still_answered() -> None:
    readers: set[asyncio.Task[None]] = set()
    requests = iter([1, 2])
    written = []

    async def read() -> int | None:
        request = next(requests, None)
        if request is None:
            await asyncio.sleep(60)
        return request

    async def answer(request: int) -> int:
        await asyncio.sleep(0.02)
        return request

    async def write(response: int) -> None:
        written.append(response)

    stream = asyncio.create_task(answer_stream(read, answer, write, 5, readers, lambda _: None))
    await asyncio.sleep(0.01)
    for reader in readers:
        reader.cancel()
    assert await stream is False
    assert written == [1, 2]
    assert not readers


async def test_a_stream_that_breaks_abandons_what_it_had_read() -> None:
    requests = iter([1, 2, 3])
    abandoned: list[int] = []

    async def read() -> int | None:
        request = next(requests, None)
        if request is None:
            await asyncio.sleep(60)
        return request

    async def answer(request: int) -> int:
        await asyncio.sleep(60)
        return request

    async def write(response: int) -> None:
        raise AssertionError(response)

    stream = asyncio.create_task(answer_stream(read, answer, write, 5, set(), abandoned.append))
    await asyncio.sleep(0.01)
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
    assert sorted(abandoned) == [1, 2, 3]
