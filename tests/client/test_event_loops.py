"""AsyncPlaneSpotter and event loops: created at import, used in one loop after another, and in several at once."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from planespotter_client import AsyncPlaneSpotter, UnavailableError

Paint = Callable[..., bytes]


def test_client_created_at_import_works_in_each_event_loop(address: str, paint: Paint) -> None:
    spotter = AsyncPlaneSpotter(address)  # as a global of a web application, before its loop runs

    async def use() -> list[str]:
        single = await spotter.classify(paint("747"))
        batch = await spotter.classify_batch([paint("747")])
        streamed = [result async for result in spotter.stream([paint("747")])]
        return [prediction.name for prediction in (single, batch[0].result(), streamed[0].result())]

    assert asyncio.run(use()) == 3 * ["Boeing 747"]
    assert asyncio.run(use()) == 3 * ["Boeing 747"]
    assert len(spotter._by_loop) == 1, "connections of a loop that has ended are dropped"
    asyncio.run(spotter.close())
    with pytest.raises(UnavailableError, match="was closed"):
        asyncio.run(use())


def test_event_loops_in_several_threads_share_a_client(address: str, paint: Paint) -> None:
    spotter = AsyncPlaneSpotter(address)
    names: list[str] = []

    async def use() -> None:
        names.extend([(await spotter.classify(paint("A380"))).name for _ in range(5)])

    threads = [threading.Thread(target=asyncio.run, args=(use(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == 15 * ["Airbus A380"]


async def test_close_also_closes_the_connections_of_a_loop_in_another_thread(address: str, paint: Paint) -> None:
    spotter = AsyncPlaneSpotter(address)
    await spotter.classify(paint("747"))
    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    used = asyncio.run_coroutine_threadsafe(spotter.classify(paint("747")), other)
    await asyncio.wrap_future(used)
    await spotter.close()
    with pytest.raises(UnavailableError, match="was closed"):
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(spotter.classify(paint("747")), other))
    other.call_soon_threadsafe(other.stop)
    await asyncio.to_thread(thread.join)
    other.close()


def test_client_can_be_created_and_dropped_without_an_event_loop() -> None:
    AsyncPlaneSpotter("127.0.0.1:1")
    asyncio.run(asyncio.sleep(0))
    AsyncPlaneSpotter("127.0.0.1:1")  # "There is no current event loop", if it needed one
