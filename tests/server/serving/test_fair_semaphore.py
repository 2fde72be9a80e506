"""Fair semaphore: bounded concurrency, round robin over callers, and no permit is lost to a cancelled caller."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from tests.tasks import start

from planespotter_server.serving.fair_semaphore import FairSemaphore


async def test_caller_with_many_waiters_does_not_delay_a_caller_with_few() -> None:
    semaphore, order, gate = FairSemaphore(1), [], asyncio.Event()

    async def hold(caller: str, number: int) -> None:
        async with semaphore.acquire(caller):
            order.append((caller, number))
            await gate.wait()

    tasks = await start(*(hold("bulk", number) for number in range(5)))
    tasks += await start(hold("single", 0))
    gate.set()
    await asyncio.gather(*tasks)
    assert order[:3] == [("bulk", 0), ("bulk", 1), ("single", 0)]


@given(
    permits=st.integers(1, 3),
    arrivals=st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 4)), max_size=25),
)
def test_permits_are_never_exceeded_and_never_lost(permits: int, arrivals: list[tuple[int, bool, int]]) -> None:
    """Each arrival holds its permit until a number of others have arrived, or is cancelled right after it arrives."""

    async def scenario() -> None:
        semaphore, holders, max_holders = FairSemaphore(permits), 0, 0

        async def hold(caller: int, gate: asyncio.Event) -> None:
            nonlocal holders, max_holders
            async with semaphore.acquire(caller):
                holders += 1
                max_holders = max(max_holders, holders)
                try:
                    await gate.wait()
                finally:
                    holders -= 1

        tasks = []
        gates = [asyncio.Event() for _ in arrivals]
        open_gate = asyncio.Event()
        open_gate.set()
        for number, (caller, cancelled, _) in enumerate(arrivals):
            tasks += await start(hold(caller, gates[number]))
            for earlier, (_, _, stay) in enumerate(arrivals[: number + 1]):
                if earlier + stay == number:
                    gates[earlier].set()
            if cancelled:
                # Perhaps in the same iteration of the event loop in which it is granted a permit.
                asyncio.get_running_loop().call_soon(tasks[-1].cancel)
        for gate in gates:
            gate.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks, return_exceptions=True)
            assert max_holders <= permits
            await asyncio.gather(*(hold(0, open_gate) for _ in range(permits)))  # all permits are free again
        assert max_holders <= permits

    asyncio.run(scenario())
