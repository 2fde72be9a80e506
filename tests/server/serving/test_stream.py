"""Stream processing: a bounded window, a response to every accepted request, and a drain notice."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tasks import start

from planespotter_server.serving.stream import OpenStream, StreamHandlers, Window, serve_stream

Process = Callable[[int], Awaitable[Any]]


class Client:
    """Sends numbers, then either ends the stream or stays_open idle; records every response."""

    def __init__(self, numbers: list[int], stays_open: bool = False) -> None:
        self.numbers = iter(numbers)
        self.stays_open = stays_open
        self.read_count = 0
        self.idle = asyncio.Event()
        self.responses: list[Any] = []
        self.abandoned: list[int] = []
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Future[Any]] = set()

    async def read(self) -> int | None:
        number = next(self.numbers, None)
        if number is None and self.stays_open:
            self.idle.set()
            self.change()
            await asyncio.Event().wait()
        self.read_count += number is not None
        self.change()
        return number

    async def write(self, response: Any) -> None:
        await asyncio.sleep(0)  # as writing to a connection may suspend
        self.responses.append(response)
        self.change()

    def change(self) -> None:
        """Make `until` check its condition again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; it is checked at each read, write and `change`."""
        async with asyncio.timeout(60):
            while not condition():
                await self._changed.wait()

    async def write_all(self, responses: Sequence[tuple[int, Any]]) -> None:
        for _, response in responses:
            await self.write(response)

    def handlers(self, process: Process, in_order: bool = False) -> StreamHandlers[int, Any]:
        def start(request: int, respond: Callable[[Any], None]) -> None:
            def end(task: asyncio.Future[Any]) -> None:
                if not task.cancelled():
                    respond(task.result())

            task = asyncio.ensure_future(process(request))
            self._tasks.add(task)
            task.add_done_callback(end)

        return StreamHandlers(
            read=self.read,
            start=start,
            write=self.write_all,
            size=lambda number: number,
            in_order=lambda: in_order,
            send_drain_notice=lambda count: self.write(f"accepted {count}"),
            abandon=self.abandoned.append,
        )


class ObservedWindow(Window):
    """A window that sets `full` when the reader waits for it."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        super().__init__(max_requests, max_bytes)
        self.full = asyncio.Event()

    async def wait_until_open(self) -> None:
        if self._requests_left <= 0 or self._bytes_left <= 0:
            self.full.set()
        await super().wait_until_open()


async def test_requests_in_flight_never_exceed_the_window() -> None:
    client, max_in_flight = Client([1] * 50), 0

    async def process(request: int) -> int:
        nonlocal max_in_flight
        max_in_flight = max(max_in_flight, client.read_count - len(client.responses))
        await client.until(lambda: client.read_count - len(client.responses) == 5 or client.read_count == 50)
        return request

    await serve_stream(client.handlers(process), Window(5, 10**6), OpenStream())
    assert len(client.responses) == 50
    assert max_in_flight == 5


async def test_bytes_in_flight_exceed_the_window_by_at_most_one_request() -> None:
    gate = asyncio.Event()
    client = Client([400, 700, 1, 1])

    async def process(request: int) -> int:
        await gate.wait()
        return request

    window = ObservedWindow(100, 1000)
    stream = asyncio.create_task(serve_stream(client.handlers(process), window, OpenStream()))
    async with asyncio.timeout(60):
        await window.full.wait()
    assert client.read_count == 2
    gate.set()
    await stream
    assert sorted(client.responses) == [1, 1, 400, 700]


async def test_fast_response_overtakes_a_slow_one() -> None:
    client = Client([50, 1])

    async def process(request: int) -> int:
        await client.until(lambda: request == 1 or client.responses == [1])
        return request

    await serve_stream(client.handlers(process), Window(5, 10**6), OpenStream())
    assert client.responses == [1, 50]


async def test_responses_in_order_do_not_overtake() -> None:
    client, numbers = Client([50, 1, 20, 1]), itertools.count()
    finished: list[int] = []

    async def process(request: int) -> int:
        number = next(numbers)
        await client.until(lambda: len(finished) == 3 - number)  # the last finishes first
        finished.append(number)
        client.change()
        return request

    await serve_stream(client.handlers(process, in_order=True), Window(5, 10**6), OpenStream())
    assert finished == [3, 2, 1, 0]
    assert client.responses == [50, 1, 20, 1]


@pytest.mark.parametrize("in_order", [False, True])
async def test_drained_stream_sends_a_notice_and_finishes_accepted_requests(in_order: bool) -> None:
    open_stream = OpenStream()
    client, gate = Client([1, 2], stays_open=True), asyncio.Event()

    async def process(request: int) -> int:
        await gate.wait()
        return request

    stream = asyncio.create_task(serve_stream(client.handlers(process, in_order), Window(5, 10**6), open_stream))
    await client.until(client.idle.is_set)
    open_stream.drain()
    await client.until(lambda: bool(client.responses))
    assert client.responses == ["accepted 2"], "the notice does not wait for responses"
    gate.set()
    await stream
    assert client.responses == ["accepted 2", 1, 2]


async def test_rejected_stream_finishes_accepted_requests_and_raises_without_a_notice() -> None:
    open_stream = OpenStream()
    client, gate = Client([1, 2], stays_open=True), asyncio.Event()

    async def process(request: int) -> int:
        await gate.wait()
        return request

    stream = asyncio.create_task(serve_stream(client.handlers(process), Window(5, 10**6), open_stream))
    await client.until(client.idle.is_set)
    open_stream.reject(LookupError("revoked"))
    gate.set()
    with pytest.raises(LookupError, match="revoked"):
        await stream
    assert client.responses == [1, 2]


async def test_aborted_stream_ends_although_its_client_reads_no_response() -> None:
    open_stream, client = OpenStream(), Client([1, 2], stays_open=True)

    async def process(request: int) -> int:
        return request

    async def write(_: object) -> None:
        await asyncio.Event().wait()

    handlers = replace(client.handlers(process), write=write)
    stream = asyncio.create_task(serve_stream(handlers, Window(5, 10**6), open_stream))
    await client.until(client.idle.is_set)
    async with asyncio.timeout(60):
        while open_stream.sending_since is None:  # noqa: ASYNC110  (it sets no event)
            await asyncio.sleep(0)
    assert open_stream.in_flight == 2
    open_stream.abort(LookupError("too slow"))
    with pytest.raises(LookupError, match="too slow"):
        await stream


async def test_cancelled_stream_stays_cancelled_when_it_is_aborted_too() -> None:
    open_stream, client = OpenStream(), Client([1], stays_open=True)

    async def process(_: int) -> int:
        await asyncio.Event().wait()
        return 0

    stream = asyncio.create_task(serve_stream(client.handlers(process), Window(5, 10**6), open_stream))
    await client.until(client.idle.is_set)
    stream.cancel()
    open_stream.abort(LookupError("too slow"))
    with pytest.raises(asyncio.CancelledError):
        await stream


async def test_cancelled_stream_abandons_accepted_requests() -> None:
    client = Client([1, 2, 3], stays_open=True)

    started: list[int] = []

    async def process(request: int) -> int:
        started.append(request)
        client.change()
        await asyncio.Event().wait()
        return request

    stream = asyncio.create_task(serve_stream(client.handlers(process), Window(5, 10**6), OpenStream()))
    await client.until(lambda: started == [1, 2, 3])
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
    assert sorted(client.abandoned) == [1, 2, 3]
    assert client.responses == []


async def test_requests_before_a_failed_read_finish_before_its_error_is_raised() -> None:
    client = Client([3, 1])

    async def process(request: int) -> int:
        return request

    handlers = client.handlers(process)

    async def read() -> int:
        number = await client.read()
        if number is None:
            raise LookupError("a config after the first message")
        return number

    with pytest.raises(LookupError):
        await serve_stream(replace(handlers, read=read), Window(5, 10**6), OpenStream())
    assert sorted(client.responses) == [1, 3]
    assert client.abandoned == []


@given(
    numbers=st.lists(st.integers(0, 8), max_size=25),
    window=st.integers(1, 6),
    window_bytes=st.integers(1, 30),
    in_order=st.booleans(),
    steps=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30),
    drained_at=st.integers(0, 30),
)
def test_accepted_requests_get_exactly_one_response_whenever_the_stream_is_drained(
    numbers: list[int],
    window: int,
    window_bytes: int,
    in_order: bool,
    steps: list[tuple[int, bool]],
    drained_at: int,
) -> None:
    """Each step finishes one of the open requests, and may wait until its response is about to be sent."""

    async def scenario() -> None:
        client, open_stream = Client(numbers, stays_open=True), OpenStream()
        open_requests: list[tuple[asyncio.Event, asyncio.Event]] = []

        async def process(request: int) -> int:
            gate, finished = asyncio.Event(), asyncio.Event()
            open_requests.append((gate, finished))
            client.change()
            await gate.wait()
            finished.set()
            return request

        handlers = client.handlers(process, in_order)
        [stream] = await start(serve_stream(handlers, Window(window, window_bytes), open_stream))
        stream.add_done_callback(lambda _: client.change())
        for number, (index, waits) in enumerate(steps):
            if number == drained_at:
                break
            await client.until(lambda: bool(open_requests) or client.idle.is_set())
            if open_requests:
                gate, finished = open_requests.pop(index % len(open_requests))
                gate.set()
                if waits:
                    await finished.wait()
        open_stream.drain()
        while not stream.done():
            for gate, _ in open_requests:
                gate.set()
            open_requests.clear()
            await client.until(lambda: bool(open_requests) or stream.done())
        await stream
        [notice] = [response for response in client.responses if isinstance(response, str)]
        results = [response for response in client.responses if not isinstance(response, str)]
        assert notice == f"accepted {len(results)}"
        if in_order:
            assert results == numbers[: len(results)]
        else:
            assert sorted(results) == sorted(numbers[: len(results)])

    asyncio.run(scenario())
