"""The stream's own logic: reads ahead only so far, answers everything that it read, says what it read when it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_server.serving.stream import Parts, Window, answer_stream

Answer = Callable[[int], Awaitable[Any]]


class Caller:
    """Sends the numbers given and then, if asked to, stays without a word; keeps what it gets."""

    def __init__(self, numbers: list[int], stays: bool = False) -> None:
        self.numbers = iter(numbers)
        self.stays = stays
        self.read_count = 0
        self.got: list[Any] = []
        self.abandoned: list[int] = []

    async def read(self) -> int | None:
        number = next(self.numbers, None)
        if number is None and self.stays:
            await asyncio.Event().wait()
        self.read_count += number is not None
        return number

    async def write(self, response: Any) -> None:
        await asyncio.sleep(0)
        self.got.append(response)

    def parts(self, answer: Answer, in_order: bool = False) -> Parts[int, Any]:
        return Parts(
            read=self.read,
            answer=answer,
            write=self.write,
            size=lambda number: number,
            in_order=lambda _: in_order,
            going_away=lambda count: f"read {count}",
            abandon=self.abandoned.append,
        )


async def let_things_settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_it_never_holds_more_than_its_window() -> None:
    caller, most = Caller([1] * 50), 0

    async def answer(request: int) -> int:
        nonlocal most
        most = max(most, caller.read_count - len(caller.got))
        await asyncio.sleep(0)
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

    stream = asyncio.create_task(answer_stream(caller.parts(answer), Window(100, 1000), set()))
    await let_things_settle()
    assert caller.read_count == 2
    gate.set()
    await stream
    assert sorted(caller.got) == [1, 1, 400, 700]


async def slow_first(request: int) -> int:
    """Answer the larger number later."""
    for _ in range(request):
        await asyncio.sleep(0)
    return request


async def test_a_quick_answer_overtakes_a_slow_one() -> None:
    caller = Caller([50, 1])
    await answer_stream(caller.parts(slow_first), Window(5, 10**6), set())
    assert caller.got == [1, 50]


async def test_in_order_it_does_not() -> None:
    caller = Caller([50, 1, 20, 1])
    await answer_stream(caller.parts(slow_first, in_order=True), Window(5, 10**6), set())
    assert caller.got == [50, 1, 20, 1]


@pytest.mark.parametrize("in_order", [False, True])
async def test_when_reading_is_ended_it_says_what_was_read_and_answers_it(in_order: bool) -> None:
    readers: set[asyncio.Task[None]] = set()
    caller, gate = Caller([1, 2], stays=True), asyncio.Event()

    async def answer(request: int) -> int:
        await gate.wait()
        return request

    stream = asyncio.create_task(answer_stream(caller.parts(answer, in_order), Window(5, 10**6), readers))
    await let_things_settle()
    for reader in readers:
        reader.cancel()
    await let_things_settle()
    assert caller.got == ["read 2"], "the word does not wait for the answers"
    gate.set()
    await stream
    assert caller.got == ["read 2", 1, 2]
    assert not readers


async def test_a_stream_that_breaks_abandons_what_it_had_read() -> None:
    caller = Caller([1, 2, 3], stays=True)

    async def answer(request: int) -> int:
        await asyncio.Event().wait()
        return request

    stream = asyncio.create_task(answer_stream(caller.parts(answer), Window(5, 10**6), set()))
    await let_things_settle()
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
    assert sorted(caller.abandoned) == [1, 2, 3]
    assert caller.got == []


async def test_a_first_request_that_is_refused_is_abandoned_too() -> None:
    caller = Caller([1])
    parts = caller.parts(slow_first)

    def refuse(_: int) -> bool:
        raise LookupError("no such order")

    refusing = Parts(parts.read, parts.answer, parts.write, parts.size, refuse, parts.going_away, parts.abandon)
    with pytest.raises(LookupError):
        await answer_stream(refusing, Window(5, 10**6), set())
    assert caller.abandoned == [1]


@given(
    delays=st.lists(st.integers(0, 8), max_size=25),
    window=st.integers(1, 6),
    window_bytes=st.integers(1, 30),
    in_order=st.booleans(),
    ends_after=st.integers(0, 60),
)
def test_whenever_it_is_ended_exactly_what_was_read_is_answered(
    delays: list[int], window: int, window_bytes: int, in_order: bool, ends_after: int
) -> None:
    async def scenario() -> None:
        caller, readers = Caller(delays, stays=True), set[asyncio.Task[None]]()

        async def answer(request: int) -> tuple[int, int]:
            number = caller.read_count
            await slow_first(request)
            return number, request

        stream = asyncio.create_task(
            answer_stream(caller.parts(answer, in_order), Window(window, window_bytes), readers)
        )
        for _ in range(ends_after):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        for reader in readers:
            reader.cancel()
        async with asyncio.timeout(60):
            await stream
        [word] = [response for response in caller.got if isinstance(response, str)]
        answered = [response for response in caller.got if not isinstance(response, str)]
        assert word == f"read {len(answered)}"
        requests = [request for _, request in answered]
        if in_order:
            assert requests == delays[: len(answered)]
        else:
            assert sorted(requests) == sorted(delays[: len(answered)])

    asyncio.run(scenario())
