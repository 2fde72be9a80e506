"""Turns: so many at a time, callers in turn, and nobody who left holds a place."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from planespotter_server.serving.fair_semaphore import Turns


async def let_things_settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_with_many_does_not_hold_up_one_with_few() -> None:
    turns, came, gate = Turns(1), [], asyncio.Event()

    async def come(caller: str, number: int) -> None:
        async with turns.take(caller):
            came.append((caller, number))
            await gate.wait()

    tasks = [asyncio.create_task(come("bulk", number)) for number in range(5)]
    await let_things_settle()
    tasks.append(asyncio.create_task(come("single", 0)))
    await let_things_settle()
    gate.set()
    await asyncio.gather(*tasks)
    assert came[:3] == [("bulk", 0), ("bulk", 1), ("single", 0)]


@given(
    places=st.integers(1, 3),
    comers=st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 4)), max_size=25),
)
def test_never_too_many_and_every_place_comes_back(places: int, comers: list[tuple[int, bool, int]]) -> None:
    async def scenario() -> None:
        turns, inside, most = Turns(places), 0, 0

        async def come(caller: int, stay: int) -> None:
            nonlocal inside, most
            async with turns.take(caller):
                inside += 1
                most = max(most, inside)
                try:
                    for _ in range(stay):
                        await asyncio.sleep(0)
                finally:
                    inside -= 1

        tasks = []
        for caller, leaves, stay in comers:
            tasks.append(asyncio.create_task(come(caller, stay)))
            await asyncio.sleep(0)
            if leaves:
                asyncio.get_running_loop().call_soon(tasks[-1].cancel)
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks, return_exceptions=True)
            assert most <= places
            await asyncio.gather(*(come(0, 1) for _ in range(places)))  # all places are free again
        assert most <= places

    asyncio.run(scenario())
