"""The stream's own logic: reads ahead only so far, answers everything that it read, says what it read when it ends."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tasks import start

from planespotter_server.serving.stream import Parts, Window, answer_stream

Answer = Callable[[int], Awaitable[Any]]


class Caller:
    """A client that sends numbers, then either ends or goes idle; records every response."""

    def __init__(self, numbers: list[int], stays: bool = False) -> None:
        self.numbers = iter(numbers)
        self.stays = stays
        self.read_count = 0
        self.idle = asyncio.Event()
        self.got: list[Any] = []
        self.abandoned: list[int] = []
        self._changed = asyncio.Event()

    async def read(self) -> int | None:
        number = next(self.numbers, None)
        if number is None and self.stays:
            self.idle.set()
            self.change()
            await asyncio.Event().wait()
        self.read_count += number is not None
        self.change()
        return number

    async def write(self, response: Any) -> None:
        await asyncio.sleep(0)  # as writing to a connection may suspend
        self.got.append(response)
        self.change()

    def change(self) -> None:
        """Let all who wait in `until` check their condition again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; it is checked at each read, write and `change`."""
        async with asyncio.timeout(60):
            while not condition():
                await self._changed.wait()

    def parts(self, answer: Answer, in_order: bool = False) -> Parts[int, Any]:
        return Parts(
            read=self.read,
            answer=answer,
            write=self.write,
            size=lambda number: number,
            in_order=lambda: in_order,
            drain_notice=lambda count: f"read {count}",
            abandon=self.abandoned.append,
        )


class WatchedWindow(Window):
    """A window that tells when the reader waits for it to open."""

    def __init__(self, requests: int, size: int) -> None:
        super().__init__(requests, size)
        self.full = asyncio.Event()

    async def until_open(self) -> None:
        if self._requests <= 0 or self._size <= 0:
            self.full.set()
        await super().until_open()


async def test_it_never_holds_more_than_its_window() -> None:
    caller, most = Caller([1] * 50), 0

    async def answer(request: int) -> int:
        nonlocal most
        held = caller.read_count - len(caller.got)
        most = max(most, held)
        await caller.until(lambda: caller.read_count - len(caller.got) == 5 or caller.read_count == 50)
        return request

    await answer_stream(caller.parts(answer), Window(5, 10**6), set())
    assert len(caller.got) == 50
    assert most == 5


async def test_it_holds_only_so_many_bytes_and_the_one_that_goes_over() -> None:
    gate = asyncio.Event()
    caller = Caller([400, 700, 1, 1])

    async def answer(request: int) -> int:
        await gate.wait()
        return request

    window = WatchedWindow(100, 1000)
    stream = asyncio.create_task(answer_stream(caller.parts(answer), window, set()))
    async with asyncio.timeout(60):
        await window.full.wait()
    assert caller.read_count == 2
    gate.set()
    await stream
    assert sorted(caller.got) == [1, 1, 400, 700]


async def test_a_quick_answer_overtakes_a_slow_one() -> None:
    caller = Caller([50, 1])

    async def answer(request: int) -> int:
        await caller.until(lambda: request == 1 or caller.got == [1])
        return request

    await answer_stream(caller.parts(answer), Window(5, 10**6), set())
    assert caller.got == [1, 50]


async def test_in_order_it_does_not() -> None:
    caller, numbers = Caller([50, 1, 20, 1]), itertools.count()
    answered: list[int] = []

    async def answer(request: int) -> int:
        number = next(numbers)
        await caller.until(lambda: len(answered) == 3 - number)  # the last one is answered first
        answered.append(number)
        caller.change()
        return request

    await answer_stream(caller.parts(answer, in_order=True), Window(5, 10**6), set())
    assert answered == [3, 2, 1, 0]
    assert caller.got == [50, 1, 20, 1]


@pytest.mark.parametrize("in_order", [False, True])
async def test_when_reading_is_ended_it_says_what_was_read_and_answers_it(in_order: bool) -> None:
    readers: set[asyncio.Task[None]] = set()
    caller, gate = Caller([1, 2], stays=True), asyncio.Event()

    async def answer(request: int) -> int:
        await gate.wait()
        return request

    stream = asyncio.create_task(answer_stream(caller.parts(answer, in_order), Window(5, 10**6), readers))
    await caller.until(caller.idle.is_set)
    for reader in readers:
        reader.cancel()
    await caller.until(lambda: bool(caller.got))
    assert caller.got == ["read 2"], "the word does not wait for the answers"
    gate.set()
    await stream
    assert caller.got == ["read 2", 1, 2]
    assert not readers


async def test_a_stream_that_breaks_abandons_what_it_had_read() -> None:
    caller = Caller([1, 2, 3], stays=True)

    started: list[int] = []

    async def answer(request: int) -> int:
        started.append(request)
        caller.change()
        await asyncio.Event().wait()
        return request

    stream = asyncio.create_task(answer_stream(caller.parts(answer), Window(5, 10**6), set()))
    await caller.until(lambda: started == [1, 2, 3])
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
    assert sorted(caller.abandoned) == [1, 2, 3]
    assert caller.got == []


async def test_requests_before_a_failed_read_are_answered_before_the_failure_is_raised() -> None:
    caller = Caller([3, 1])

    async def answer(request: int) -> int:
        return request

    parts = caller.parts(answer)

    async def read() -> int:
        number = await caller.read()
        if number is None:
            raise LookupError("a config after the first message")
        return number

    with pytest.raises(LookupError):
        await answer_stream(replace(parts, read=read), Window(5, 10**6), set())
    assert sorted(caller.got) == [1, 3]
    assert caller.abandoned == []


@given(
    numbers=st.lists(st.integers(0, 8), max_size=25),
    window=st.integers(1, 6),
    window_bytes=st.integers(1, 30),
    in_order=st.booleans(),
    steps=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30),
    ends_at=st.integers(0, 30),
)
def test_whenever_it_is_ended_exactly_what_was_read_is_answered(
    numbers: list[int],
    window: int,
    window_bytes: int,
    in_order: bool,
    steps: list[tuple[int, bool]],
    ends_at: int,
) -> None:
    """Each step completes one of the open requests, and may wait until it is about to be written."""

    async def scenario() -> None:
        caller, readers = Caller(numbers, stays=True), set[asyncio.Task[None]]()
        open_requests: list[tuple[asyncio.Event, asyncio.Event]] = []

        async def answer(request: int) -> int:
            gate, passed = asyncio.Event(), asyncio.Event()
            open_requests.append((gate, passed))
            caller.change()
            await gate.wait()
            passed.set()
            return request

        [stream] = await start(answer_stream(caller.parts(answer, in_order), Window(window, window_bytes), readers))
        stream.add_done_callback(lambda _: caller.change())
        for number, (index, waits) in enumerate(steps):
            if number == ends_at:
                break
            await caller.until(lambda: bool(open_requests) or caller.idle.is_set())
            if open_requests:
                gate, passed = open_requests.pop(index % len(open_requests))
                gate.set()
                if waits:
                    await passed.wait()
        for reader in readers:
            reader.cancel()
        while not stream.done():
            for gate, _ in open_requests:
                gate.set()
            open_requests.clear()
            await caller.until(lambda: bool(open_requests) or stream.done())
        await stream
        [word] = [response for response in caller.got if isinstance(response, str)]
        answered = [response for response in caller.got if not isinstance(response, str)]
        assert word == f"read {len(answered)}"
        if in_order:
            assert answered == numbers[: len(answered)]
        else:
            assert sorted(answered) == sorted(numbers[: len(answered)])

    asyncio.run(scenario())
