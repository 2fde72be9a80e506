"""Admission control: photos in flight are bounded; unary requests are rejected, streams wait."""

import asyncio
from typing import Any

import pytest
from tests.tasks import start

from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.admission import AdmissionController


def test_unary_request_is_rejected_when_queue_is_full() -> None:
    admission = AdmissionController(max_photos=2, max_bytes=1000)
    permits = [admission.try_admit(10), admission.try_admit(10)]
    with pytest.raises(RequestRejected, match=r"2 photos \(20 bytes\) in flight") as rejected:
        admission.try_admit(10)
    assert rejected.value.reason == "QUEUE_FULL"
    assert rejected.value.retry_after is not None
    assert rejected.value.metadata["max_photos"] == "2"
    permits[0].release()
    admission.try_admit(10)


def test_bytes_in_flight_are_bounded() -> None:
    admission = AdmissionController(max_photos=100, max_bytes=1000)
    admission.try_admit(900)
    with pytest.raises(RequestRejected):
        admission.try_admit(200)


def test_releasing_a_permit_twice_counts_once() -> None:
    admission = AdmissionController(max_photos=1, max_bytes=10)
    permit = admission.try_admit(1)
    permit.release()
    permit.release()
    admission.try_admit(1)
    with pytest.raises(RequestRejected):
        admission.try_admit(1)


async def test_stream_waits_for_capacity() -> None:
    admission = AdmissionController(max_photos=4, max_bytes=1000)
    permits = [await admission.admit(1) for _ in range(3)]
    [waiting] = await start(admission.admit(1))
    assert not waiting.done()
    admission.try_admit(1)  # the last quarter is reserved for unary requests
    permits[0].release()
    [behind] = await start(admission.admit(1))  # starts only after the first could have been admitted
    assert not waiting.done()
    permits[1].release()
    await waiting
    assert not behind.done()
    permits[2].release()
    await behind


async def test_cancelled_stream_takes_no_capacity() -> None:
    admission = AdmissionController(max_photos=1, max_bytes=1000)
    permit = await admission.admit(1)
    [waiting] = await start(admission.admit(1))
    permit.release()  # grants the permit in the iteration in which the task is cancelled
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(60):
        await admission.wait_until_idle()


async def test_closed_controller_rejects_everyone() -> None:
    admission = AdmissionController(max_photos=1, max_bytes=1000)
    await admission.admit(1)
    [waiting] = await start(admission.admit(1))
    admission.close()
    for attempt in (waiting, admission.admit(1)):
        with pytest.raises(RequestRejected, match="shutting down"):
            await attempt
    with pytest.raises(RequestRejected, match="shutting down"):
        admission.try_admit(1)


class Clock:
    """A clock that moves only when a test moves it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_retry_delay_is_half_of_the_estimated_wait() -> None:
    clock = Clock()
    admission = AdmissionController(max_photos=20, max_bytes=1000, clock=clock)
    permits = [admission.try_admit(1) for _ in range(20)]
    assert admission.retry_after() == 1.0, "throughput is unknown"
    for permit in permits[:10]:
        clock.now += 0.2  # five photos per second
        permit.release()
    for _ in range(10):
        admission.try_admit(1)
    with pytest.raises(RequestRejected, match=r"Retry in 2 s\.") as rejected:
        admission.try_admit(1)
    assert rejected.value.retry_after == pytest.approx(2.0)  # half of 20 photos in flight, at 5 per second


def test_idle_time_does_not_increase_the_estimate_but_a_stall_does() -> None:
    clock = Clock()
    admission = AdmissionController(max_photos=10, max_bytes=1000, clock=clock)
    for _ in range(10):
        permit = admission.try_admit(1)
        clock.now += 0.1
        permit.release()
    clock.now += 3600
    permits = [admission.try_admit(1) for _ in range(10)]
    for permit in permits[:5]:
        clock.now += 0.1
        permit.release()
    assert admission.retry_after() == pytest.approx(5 / 2 / 10)
    clock.now += 10
    assert admission.retry_after() > 5
    clock.now += 10**6
    assert admission.retry_after() == 30.0, "the maximum"


def test_unmeasured_photos_do_not_lower_the_throughput() -> None:
    clock = Clock()
    admission = AdmissionController(max_photos=1000, max_bytes=1000, max_wait=10, clock=clock)
    slow = [admission.try_admit(1, measured=False) for _ in range(300)]
    for permit in slow[:100]:
        clock.now += 0.1
        permit.release()
    admission.try_admit(1, time_left=1.0)
    assert admission.in_flight == 201, "they take capacity"


async def test_stream_reads_only_when_there_is_capacity() -> None:
    admission = AdmissionController(max_photos=4, max_bytes=1000)
    permits = [admission.try_admit(1) for _ in range(3)]
    [waiting] = await start(admission.wait_for_capacity())
    assert not waiting.done()
    permits[0].release()
    await waiting
    admission.try_admit(1)
    admission.try_admit(1)  # waiting took no capacity
    admission.close()
    with pytest.raises(RequestRejected, match="shutting down"):
        await admission.wait_for_capacity()


def loaded(clock: Clock, **limits: Any) -> AdmissionController:
    """Return a controller with 20 unary photos in flight and a throughput of 10 per second."""
    admission = AdmissionController(max_photos=1000, max_bytes=10**6, clock=clock, **limits)
    permits = [admission.try_admit(1) for _ in range(20)]
    for _ in range(20):
        clock.now += 0.1
        permits.pop(0).release()
        permits.append(admission.try_admit(1))
    return admission


def test_unary_request_is_rejected_if_estimated_wait_is_too_long() -> None:
    admission = loaded(Clock(), max_wait=3)
    for _ in range(11):
        admission.try_admit(1)
    with pytest.raises(
        RequestRejected, match=r"the estimated queueing delay is 3\.1 s, and the limit is 3 s\. Retry in"
    ) as rejected:
        admission.try_admit(1)
    assert rejected.value.reason == "QUEUE_FULL"
    assert rejected.value.metadata["max_wait_seconds"] == "3"
    assert rejected.value.retry_after == pytest.approx(1.55)


def test_unary_request_is_rejected_if_estimated_wait_exceeds_its_deadline() -> None:
    admission = loaded(Clock())
    admission.try_admit(1, time_left=2.5)
    with pytest.raises(RequestRejected, match=r"delay is 2\.1 s, and the deadline leaves 1 s") as rejected:
        admission.try_admit(1, time_left=1)
    assert rejected.value.reason == "QUEUE_FULL"


def test_largest_batch_is_admitted_regardless_of_the_estimate() -> None:
    admission = loaded(Clock(), max_wait=0.001, burst=64)
    for _ in range(44):
        admission.try_admit(1)
    with pytest.raises(RequestRejected):
        admission.try_admit(1)


def test_unknown_throughput_rejects_nobody() -> None:
    clock = Clock()
    admission = AdmissionController(max_photos=1000, max_bytes=10**6, max_wait=0.001, clock=clock)
    permits = [admission.try_admit(1) for _ in range(100)]
    for permit in permits[:10]:
        clock.now += 1
        permit.release()
    admission.try_admit(1, time_left=0.001)


def test_few_requests_after_an_idle_hour_are_admitted() -> None:
    clock = Clock()
    admission = AdmissionController(max_photos=1000, max_bytes=10**6, max_wait=10, clock=clock)
    for permit in [admission.try_admit(1) for _ in range(20)]:
        clock.now += 0.1
        permit.release()
    clock.now += 3600
    for _ in range(7):
        admission.try_admit(1, time_left=0.5)


async def test_stream_photos_do_not_increase_the_estimate_for_unary_requests() -> None:
    admission = loaded(Clock(), max_wait=3)
    for _ in range(500):
        await admission.admit(1)
    admission.try_admit(1)  # served round robin, so it does not wait for these
