"""Turns: so many at a time, callers in turn, and nobody who left holds a place."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from tests.tasks import start

from planespotter_server.serving.fair_semaphore import Turns


async def test_one_with_many_does_not_hold_up_one_with_few() -> None:
    turns, came, gate = Turns(1), [], asyncio.Event()

    async def come(caller: str, number: int) -> None:
        async with turns.take(caller):
            came.append((caller, number))
            await gate.wait()

    tasks = await start(*(come("bulk", number) for number in range(5)))
    tasks += await start(come("single", 0))
    gate.set()
    await asyncio.gather(*tasks)
    assert came[:3] == [("bulk", 0), ("bulk", 1), ("single", 0)]


@given(
    places=st.integers(1, 3),
    comers=st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 4)), max_size=25),
)
def test_never_too_many_and_every_place_comes_back(places: int, comers: list[tuple[int, bool, int]]) -> None:
    """Each comer stays until so many others have come after it, or is cancelled as soon as it has come."""

    async def scenario() -> None:
        turns, inside, most = Turns(places), 0, 0

        async def come(caller: int, gate: asyncio.Event) -> None:
            nonlocal inside, most
            async with turns.take(caller):
                inside += 1
                most = max(most, inside)
                try:
                    await gate.wait()
                finally:
                    inside -= 1

        tasks = []
        gates = [asyncio.Event() for _ in comers]
        open_gate = asyncio.Event()
        open_gate.set()
        for number, (caller, leaves, _) in enumerate(comers):
            tasks += await start(come(caller, gates[number]))
            for earlier, (_, _, stay) in enumerate(comers[: number + 1]):
                if earlier + stay == number:
                    gates[earlier].set()
            if leaves:
                # Perhaps in the moment in which one that leaves has granted it the place.
                asyncio.get_running_loop().call_soon(tasks[-1].cancel)
        for gate in gates:
            gate.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks, return_exceptions=True)
            assert most <= places
            await asyncio.gather(*(come(0, open_gate) for _ in range(places)))  # all places are free again
        assert most <= places

    asyncio.run(scenario())
