"""The room: what the server works on is bounded; single calls are refused, streams wait."""

import asyncio

import pytest
from tests.tasks import start

from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.admission import Room


def test_a_full_room_refuses_with_the_figures() -> None:
    room = Room(photos=2, size=1000)
    places = [room.enter(10), room.enter(10)]
    with pytest.raises(RequestRejected, match="already works on 2 photos") as refused:
        room.enter(10)
    assert refused.value.reason == "QUEUE_FULL"
    assert refused.value.retry_after is not None
    assert refused.value.metadata["photos_limit"] == "2"
    places[0].leave()
    room.enter(10)


def test_bytes_are_bounded_too() -> None:
    room = Room(photos=100, size=1000)
    room.enter(900)
    with pytest.raises(RequestRejected):
        room.enter(200)


def test_leaving_twice_counts_once() -> None:
    room = Room(photos=1, size=10)
    place = room.enter(1)
    place.leave()
    place.leave()
    room.enter(1)
    with pytest.raises(RequestRejected):
        room.enter(1)


async def test_a_stream_waits_until_there_is_room() -> None:
    room = Room(photos=4, size=1000)
    places = [await room.wait(1) for _ in range(3)]
    [waiting] = await start(room.wait(1))
    assert not waiting.done()
    room.enter(1)  # the last quarter is for single calls
    places[0].leave()
    [behind] = await start(room.wait(1))  # by then the first would have been let in
    assert not waiting.done()
    places[1].leave()
    await waiting
    assert not behind.done()
    places[2].leave()
    await behind


async def test_a_stream_that_ends_while_it_waits_takes_no_room() -> None:
    room = Room(photos=1, size=1000)
    place = await room.wait(1)
    [waiting] = await start(room.wait(1))
    place.leave()  # grants it in the same moment in which it is cancelled
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(60):
        await room.wait_until_empty()


async def test_a_closed_room_refuses_everyone() -> None:
    room = Room(photos=1, size=1000)
    await room.wait(1)
    [waiting] = await start(room.wait(1))
    room.close()
    for attempt in (waiting, room.wait(1)):
        with pytest.raises(RequestRejected, match="shutting down"):
            await attempt
    with pytest.raises(RequestRejected, match="shutting down"):
        room.enter(1)


class Clock:
    """A clock that stands until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_who_is_refused_comes_back_when_half_of_the_work_is_done() -> None:
    clock = Clock()
    room = Room(photos=20, size=1000, clock=clock)
    places = [room.enter(1) for _ in range(20)]
    assert room.retry_after() == 1.0, "nothing has left yet, so nobody knows"
    for place in places[:10]:
        clock.now += 0.2  # five photos in a second
        place.leave()
    for _ in range(10):
        room.enter(1)
    with pytest.raises(RequestRejected, match=r"Try again in 2 s\.") as refused:
        room.enter(1)
    assert refused.value.retry_after == pytest.approx(2.0)  # 20 photos in work, half of them at 5/s


def test_a_quiet_time_does_not_slow_the_estimate_down_and_a_stall_does() -> None:
    clock = Clock()
    room = Room(photos=10, size=1000, clock=clock)
    for _ in range(10):
        place = room.enter(1)
        clock.now += 0.1
        place.leave()
    clock.now += 3600
    places = [room.enter(1) for _ in range(10)]
    for place in places[:5]:
        clock.now += 0.1
        place.leave()
    assert room.retry_after() == pytest.approx(5 / 2 / 10)
    clock.now += 10
    assert room.retry_after() > 5
    clock.now += 10**6
    assert room.retry_after() == 30.0, "but never for ever"


def test_photos_that_take_longer_by_their_own_wish_do_not_make_others_look_late() -> None:
    clock = Clock()
    room = Room(photos=1000, size=1000, seconds=10, clock=clock)
    slow = [room.enter(1, paced=False) for _ in range(300)]
    for place in slow[:100]:
        clock.now += 0.1
        place.leave()
    room.enter(1, time_left=1.0)
    assert room.photos == 201, "they take room as others do"


async def test_a_stream_reads_only_when_there_is_likely_to_be_room() -> None:
    room = Room(photos=4, size=1000)
    places = [room.enter(1) for _ in range(3)]
    [waiting] = await start(room.until_open())
    assert not waiting.done()
    places[0].leave()
    await waiting
    room.enter(1)
    room.enter(1)  # waiting took no room
    room.close()
    with pytest.raises(RequestRejected, match="shutting down"):
        await room.until_open()


def crowded(clock: Clock, **limits: float) -> Room:
    """Return a room in which 20 photos of single calls are in work, at a pace of 10 per second."""
    room = Room(photos=1000, size=10**6, clock=clock, **limits)  # type: ignore[arg-type]
    places = [room.enter(1) for _ in range(20)]
    for _ in range(20):
        clock.now += 0.1
        places.pop(0).leave()
        places.append(room.enter(1))
    return room


def test_who_would_wait_for_too_long_is_refused_at_once() -> None:
    room = crowded(Clock(), seconds=3)
    for _ in range(11):
        room.enter(1)
    with pytest.raises(
        RequestRejected, match=r"would come in about 3\.1 s, and its limit is 3 s\. Try again"
    ) as refused:
        room.enter(1)
    assert refused.value.reason == "QUEUE_FULL"
    assert refused.value.metadata["wait_limit_seconds"] == "3"
    assert refused.value.retry_after == pytest.approx(1.55)


def test_who_could_not_be_answered_before_its_deadline_is_refused_at_once() -> None:
    room = crowded(Clock())
    room.enter(1, time_left=2.5)
    with pytest.raises(RequestRejected, match=r"in about 2\.1 s, and the call's deadline leaves 1 s") as refused:
        room.enter(1, time_left=1)
    assert refused.value.reason == "QUEUE_FULL"


def test_a_call_with_as_many_photos_as_are_allowed_is_let_in_however_slow_the_network() -> None:
    room = crowded(Clock(), seconds=0.001, at_once=64)
    for _ in range(44):
        room.enter(1)
    with pytest.raises(RequestRejected):
        room.enter(1)


def test_nobody_is_refused_for_a_pace_that_is_not_known_yet() -> None:
    clock = Clock()
    room = Room(photos=1000, size=10**6, seconds=0.001, clock=clock)
    places = [room.enter(1) for _ in range(100)]
    for place in places[:10]:
        clock.now += 1
        place.leave()
    room.enter(1, time_left=0.001)


def test_a_few_callers_after_a_quiet_hour_are_not_taken_for_late_ones() -> None:
    clock = Clock()
    room = Room(photos=1000, size=10**6, seconds=10, clock=clock)
    for place in [room.enter(1) for _ in range(20)]:
        clock.now += 0.1
        place.leave()
    clock.now += 3600
    for _ in range(7):
        room.enter(1, time_left=0.5)


async def test_photos_of_streams_keep_no_single_call_out() -> None:
    room = crowded(Clock(), seconds=3)
    for _ in range(500):
        await room.wait(1)
    room.enter(1)  # they take turns, so it does not wait for all these
