"""Dynamic batching: every item gets exactly its own result, and the device never runs a cancelled or expired item."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tasks import start

from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.batcher import Batcher, Entry


class Device:
    """Doubles numbers, fails a batch that contains a bad one; can be blocked to let a queue build up."""

    def __init__(self, bad: Sequence[int] = ()) -> None:
        self.bad = set(bad)
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()

    def run(self, items: Sequence[int]) -> list[int]:
        self.open.wait(300)
        self.batches.append(list(items))
        if self.bad & set(items):
            raise ValueError("a bad item")
        return [2 * item for item in items]

    @property
    def items(self) -> list[int]:
        return [item for batch in self.batches for item in batch]


async def start_on_device(batcher: Batcher[int, int], item: int, caller: str) -> list[asyncio.Task[int]]:
    """Submit `item`, and return once the device has it."""
    taken = batcher.counters.examples
    tasks = await start(batcher.submit(item, caller))
    await until(lambda: batcher.counters.examples > taken)
    return tasks


async def until(condition: Callable[[], bool]) -> None:
    """Wait for threads of the device."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  (the threads set no event)
            await asyncio.sleep(0.001)


async def test_single_item_runs_at_once() -> None:
    batcher = Batcher(Device().run, max_batch=4)
    assert await batcher.submit(21, "me") == 42
    batcher.close()


async def test_items_that_wait_while_the_device_runs_form_one_batch() -> None:
    device = Device()
    batcher = Batcher(device.run, max_batch=4)
    device.open.clear()
    tasks = await start_on_device(batcher, 0, "me")
    tasks += await start(*(batcher.submit(n, "me") for n in range(1, 8)))
    device.open.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert [len(batch) for batch in device.batches] == [1, 4, 3]
    batcher.close()


async def test_callers_are_served_round_robin() -> None:
    device = Device()
    batcher = Batcher(device.run, max_batch=2)
    device.open.clear()
    [first] = await start_on_device(batcher, 0, "warm")
    bulk = await start(*(batcher.submit(n, "bulk") for n in range(1, 7)))
    [single] = await start(batcher.submit(100, "single"))
    device.open.set()
    await asyncio.gather(first, *bulk, single)
    assert device.batches[1] == [1, 100]
    batcher.close()


async def test_device_never_runs_a_cancelled_item() -> None:
    device = Device()
    batcher = Batcher(device.run, max_batch=1)
    device.open.clear()
    [running] = await start_on_device(batcher, 1, "a")
    cancelled, other = await start(batcher.submit(2, "b"), batcher.submit(3, "c"))
    cancelled.cancel()
    device.open.set()
    assert list(await asyncio.gather(running, other)) == [2, 6]
    assert device.items == [1, 3]
    batcher.close()


async def test_device_never_runs_an_expired_item() -> None:
    device = Device()
    batcher = Batcher(device.run, max_batch=4)
    with pytest.raises(RequestRejected) as rejected:
        await batcher.submit(1, "late", deadline=asyncio.get_running_loop().time() - 1)
    assert rejected.value.reason == "DEADLINE_EXCEEDED_IN_QUEUE"
    assert device.items == []
    batcher.close()


async def test_device_never_runs_an_item_whose_deadline_is_shorter_than_the_fastest_batch() -> None:
    device = Device()
    batcher = Batcher(device.run, max_batch=1)
    device.open.clear()
    [first] = await start_on_device(batcher, 1, "me")
    asyncio.get_running_loop().call_later(0.2, device.open.set)
    await first  # takes at least 0.2 s
    with pytest.raises(RequestRejected, match="The deadline is too short") as rejected:
        await batcher.submit(2, "me", deadline=asyncio.get_running_loop().time() + 0.1)
    assert rejected.value.reason == "DEADLINE_EXCEEDED_IN_QUEUE"
    assert device.items == [1]
    batcher.close()


async def test_bad_item_fails_without_its_batch() -> None:
    device = Device(bad=[2])
    batcher = Batcher(device.run, max_batch=8)
    device.open.clear()
    tasks = await start_on_device(batcher, 0, "me")
    tasks += await start(*(batcher.submit(n, "me") for n in range(1, 4)))
    device.open.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, int, ValueError, int]
    assert outcomes[3] == 6
    assert device.batches[1] == [1, 2, 3]
    batcher.close()


async def test_idle_device_waits_up_to_max_delay_for_a_full_batch() -> None:
    device = Device()
    batcher = Batcher(device.run, max_batch=3, max_delay=5.0)
    assert await asyncio.gather(*(batcher.submit(n, n) for n in range(3))) == [0, 2, 4]
    assert device.batches == [[0, 1, 2]]
    batcher.close()


async def test_single_item_runs_after_max_delay() -> None:
    batcher = Batcher(Device().run, max_batch=3, max_delay=0.01)
    assert await batcher.submit(1, "me") == 2
    batcher.close()


async def test_close_rejects_waiting_and_further_items() -> None:
    device = Device()
    batcher = Batcher(device.run, max_batch=1)
    device.open.clear()
    tasks = await start_on_device(batcher, 0, "me")
    tasks += await start(*(batcher.submit(n, "me") for n in (1, 2)))
    batcher.close()
    device.open.set()
    outcomes = await asyncio.gather(*tasks, batcher.submit(4, "me"), return_exceptions=True)
    assert [getattr(outcome, "reason", None) for outcome in outcomes] == ["SHUTTING_DOWN"] * 4


@pytest.mark.parametrize("method", ["_take", "_process"])
async def test_bug_in_a_thread_of_the_device_fails_its_items_and_is_survived(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = Batcher(Device().run, max_batch=2)

    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(batcher, method, broken)
        async with asyncio.timeout(60):
            outcomes = await asyncio.gather(*(batcher.submit(n, "me") for n in range(5)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["a bug"] * 5
    assert await batcher.submit(21, "me") == 42
    batcher.close()


async def test_bug_of_one_caller_takes_no_result_of_others() -> None:
    batcher = Batcher(Device().run, max_batch=2)

    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    batcher.push(Entry(1, "buggy", None, broken))
    assert await batcher.submit(21, "me") == 42
    batcher.close()


async def test_second_batch_in_flight_must_be_full() -> None:
    device = Device()
    batcher = Batcher(device.run, max_batch=2, max_in_flight=2)
    device.open.clear()
    tasks = await start_on_device(batcher, 1, "me")
    tasks += await start(batcher.submit(2, "me"))
    await asyncio.sleep(0.05)
    assert batcher.counters.batches == 1, "the batch can grow while the device is busy"
    tasks += await start_on_device(batcher, 3, "me")
    tasks += await start(batcher.submit(4, "me"))
    assert batcher.counters.batches == 2
    device.open.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert sorted(device.batches) == [[1], [2, 3], [4]]
    batcher.close()


async def test_device_fails_after_max_consecutive_failures() -> None:
    device = Device(bad=range(100))
    failures: list[str] = []
    batcher = Batcher(
        device.run, max_batch=2, max_consecutive_failures=3, on_device_failed=lambda: failures.append("failed")
    )
    device.open.clear()
    tasks = await start_on_device(batcher, 0, "me")
    tasks += await start(*(batcher.submit(n, "me") for n in range(1, 10)))
    device.open.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[:5]] == [ValueError] * 5
    assert [getattr(outcome, "reason", None) for outcome in outcomes[5:]] == ["DEVICE_FAILED"] * 5
    await until(lambda: failures == ["failed"])
    with pytest.raises(RequestRejected, match="has failed"):
        await batcher.submit(1, "me")
    assert len(device.batches) == 3 + 4
    batcher.close()


async def test_success_resets_the_count_of_consecutive_failures() -> None:
    device = Device(bad=[1, 2, 4, 5])
    failures: list[str] = []
    batcher = Batcher(
        device.run, max_batch=1, max_consecutive_failures=3, on_device_failed=lambda: failures.append("failed")
    )
    await asyncio.gather(*(batcher.submit(n, "me") for n in range(7)), return_exceptions=True)
    assert not failures
    assert await batcher.submit(6, "me") == 12
    batcher.close()


async def test_device_fails_after_the_inference_timeout() -> None:
    device = Device()
    failed = asyncio.Event()
    batcher = Batcher(device.run, max_batch=1, timeout=0.05, on_device_failed=failed.set)
    device.open.clear()
    outcomes = await asyncio.gather(*(batcher.submit(n, "me") for n in range(3)), return_exceptions=True)
    device.open.set()
    assert [getattr(outcome, "reason", None) for outcome in outcomes] == ["DEVICE_FAILED"] * 3
    assert failed.is_set()
    batcher.close()


# A step: a caller, the fates of the items it submits, and what is awaited before the next step. "cancelled" is
# cancelled at once, "cancelled later" at some time, perhaps on the device; the deadline of "expiring" passes at some
# time.
FATES = ["good", "good", "good", "good", "bad", "expired", "cancelled", "cancelled later", "expiring"]
STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.lists(st.sampled_from(FATES), min_size=1, max_size=6),
        st.sampled_from(["nothing", "nothing", "submitted", "finished"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(
    steps=STEPS,
    max_batch=st.integers(1, 5),
    max_delay=st.sampled_from([0.0, 0.0, 0.001]),
    max_in_flight=st.integers(1, 3),
)
def test_every_item_gets_exactly_its_own_result(
    steps: list[tuple[int, list[str], str]], max_batch: int, max_delay: float, max_in_flight: int
) -> None:
    async def submit(
        batcher: Batcher[int, int], item: int, caller: int, deadline: float | None, submitted: asyncio.Event
    ) -> int:
        submitted.set()
        return await batcher.submit(item, caller, deadline)

    async def scenario() -> None:
        fates = [fate for _, items, _ in steps for fate in items]
        device = Device(bad=[number for number, fate in enumerate(fates) if fate == "bad"])
        batcher = Batcher(device.run, max_batch, max_delay, max_in_flight=max_in_flight, max_consecutive_failures=10**6)
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[int]] = []
        for caller, items, awaited in steps:
            submitted = asyncio.Event()
            for fate in items:
                deadline = {"expired": loop.time() - 1, "expiring": loop.time() + 0.0005}.get(fate)
                task = asyncio.create_task(submit(batcher, len(tasks), caller, deadline, submitted))
                tasks.append(task)
                if fate == "cancelled":
                    loop.call_soon(task.cancel)
                elif fate == "cancelled later":
                    loop.call_later(0.0005, task.cancel)
            if awaited == "submitted":
                await submitted.wait()
            elif awaited == "finished":
                await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        async with asyncio.timeout(60):
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            await until(lambda: not batcher._in_flight)  # batches with items of cancelled callers
        batcher.close()

        for number, (fate, outcome) in enumerate(zip(fates, outcomes, strict=True)):
            match fate:
                case "good":
                    assert outcome == 2 * number
                case "bad":
                    assert isinstance(outcome, ValueError)
                case "expired":
                    assert isinstance(outcome, RequestRejected)
                    assert number not in device.items
                case "cancelled":
                    assert isinstance(outcome, asyncio.CancelledError)
                case "cancelled later":
                    assert isinstance(outcome, asyncio.CancelledError) or outcome == 2 * number
                case "expiring":
                    assert isinstance(outcome, RequestRejected) or outcome == 2 * number
        assert all(len(batch) <= max_batch for batch in device.batches)
        successful = [batch for batch in device.batches if not device.bad & set(batch)]
        succeeded = [item for batch in successful for item in batch]
        assert len(succeeded) == len(set(succeeded)), "no item succeeds twice"
        counters = batcher.counters
        assert (counters.batches, counters.examples) == (len(device.batches), len(device.items))
        assert counters.failed == fates.count("bad")
        received = sum(isinstance(outcome, int) for outcome in outcomes)  # a caller may be cancelled just before
        assert received <= counters.succeeded <= received + fates.count("cancelled later")
        assert counters.expired == sum(isinstance(outcome, RequestRejected) for outcome in outcomes)

    asyncio.run(scenario())
