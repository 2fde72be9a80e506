"""Decoder pool: photos that take too long to decode get an error, and the others are decoded."""

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from planespotter_photos import ExpensivePhotoError
from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.decoder_pool import DecodeJob, DecoderPool

PIXELS = np.zeros((2, 3, 3), np.uint8)


def decoder(release: threading.Event, seconds: float = 60) -> Callable[[float], np.ndarray]:
    """Return what decodes a photo once `release` is set, or after `seconds`."""

    def wait_and_decode(_: float) -> np.ndarray:
        release.wait(seconds)
        return PIXELS

    return wait_and_decode


async def decode(pool: DecoderPool, decode: Callable[[float], np.ndarray], caller: object) -> np.ndarray:
    """Decode one photo; discard it if this is cancelled."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[np.ndarray] = loop.create_future()

    def resolve(pixels: np.ndarray) -> None:
        if not future.cancelled():
            future.set_result(pixels)

    job = DecodeJob(decode, caller, lambda pixels: loop.call_soon_threadsafe(resolve, pixels), future.set_exception)
    pool.submit(job)
    try:
        return await future
    except asyncio.CancelledError:
        pool.discard(job)
        raise


async def test_photo_that_takes_too_long_gets_an_error_while_others_are_decoded() -> None:
    pool, release = DecoderPool(2, timeout=0.2), threading.Event()

    with capture_logs() as logs:
        slow = asyncio.create_task(decode(pool, decoder(release), "attacker"))
        for _ in range(20):
            assert (await decode(pool, lambda _: PIXELS, "user")).shape == PIXELS.shape
        with pytest.raises(RequestRejected, match=r"within 0\.2 seconds") as caught:
            await slow
    assert caught.value.reason == "PHOTO_DECODE_TIMEOUT"
    assert [line["event"] for line in logs] == ["decode_timeout"]
    assert (await decode(pool, lambda _: PIXELS, "user")).shape == PIXELS.shape  # with the other thread
    release.set()
    pool.close()


async def test_time_in_the_queue_does_not_count() -> None:
    pool, release = DecoderPool(1, timeout=0.3), threading.Event()

    results = await asyncio.gather(*(decode(pool, decoder(release, 0.2), caller) for caller in range(4)))
    assert len(results) == 4
    pool.close()


async def test_pool_whose_threads_are_all_stuck_is_reported_once() -> None:
    stuck, release = asyncio.Event(), threading.Event()
    pool = DecoderPool(2, timeout=0.1, on_stuck=stuck.set)

    with capture_logs() as logs:
        hanging = [asyncio.create_task(decode(pool, decoder(release), caller)) for caller in range(2)]
        await asyncio.wait_for(stuck.wait(), 60)
        await asyncio.sleep(0.3)
    assert [line["event"] for line in logs[:2]] == ["decode_timeout"] * 2
    outcomes = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(outcome, RequestRejected) for outcome in outcomes)
    assert [line["event"] for line in logs].count("decoders_stuck") == 1
    release.set()
    pool.close()


async def test_caller_that_leaves_is_cancelled_and_not_rejected() -> None:
    pool, release = DecoderPool(2, timeout=0.1), threading.Event()

    leaving = asyncio.create_task(decode(pool, decoder(release), "user"))
    await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await asyncio.sleep(0.3)
    assert (await decode(pool, lambda _: PIXELS, "user")).shape == PIXELS.shape
    release.set()
    pool.close()


async def test_expensive_photos_leave_threads_for_others() -> None:
    pool, release, running = DecoderPool(2), threading.Event(), []

    def expensive(max_seconds: float) -> np.ndarray:
        if max_seconds < 1:
            raise ExpensivePhotoError(1)
        running.append(1)
        release.wait(60)
        return PIXELS

    attacks = [asyncio.create_task(decode(pool, expensive, caller)) for caller in range(8)]
    for _ in range(20):
        assert (await decode(pool, lambda _: PIXELS, "user")).shape == PIXELS.shape
    assert len(running) == 1
    release.set()
    assert len(await asyncio.gather(*attacks)) == 8
    pool.close()


FATES = st.sampled_from(["good", "good", "bad", "expensive", "bad and expensive", "discarded", "discarded later"])


@settings(max_examples=60, deadline=None)
@given(jobs=st.lists(st.tuples(FATES, st.integers(0, 2)), max_size=20), threads=st.integers(1, 4))
def test_every_photo_is_decoded_or_fails_once_unless_it_is_discarded(jobs: list[tuple[str, int]], threads: int) -> None:
    async def scenario() -> None:
        pool, loop, all_known = DecoderPool(threads), asyncio.get_running_loop(), asyncio.Event()
        outcomes: list[tuple[int, str]] = []

        def end(number: int, outcome: str) -> None:
            outcomes.append((number, outcome))
            if {number for number, _ in outcomes} >= expected.keys():
                all_known.set()

        def submit(number: int, fate: str, caller: int) -> DecodeJob:
            def decode_it(max_seconds: float) -> np.ndarray:
                if "expensive" in fate and max_seconds < 1:
                    raise ExpensivePhotoError(1)
                if "bad" in fate:
                    raise ValueError
                return PIXELS

            job = DecodeJob(
                decode_it,
                caller,
                lambda _: loop.call_soon_threadsafe(end, number, "decoded"),
                lambda _: end(number, "failed"),
            )
            pool.submit(job)
            return job

        expected = {
            number: "failed" if "bad" in fate else "decoded"
            for number, (fate, _) in enumerate(jobs)
            if "discarded" not in fate
        }
        for number, (fate, caller) in enumerate(jobs):
            job = submit(number, fate, caller)
            if fate == "discarded":
                pool.discard(job)
            elif fate == "discarded later":
                loop.call_soon(pool.discard, job)
        if expected:
            async with asyncio.timeout(60):
                await all_known.wait()
        pool.close()
        known = [(number, outcome) for number, outcome in outcomes if number in expected]
        assert sorted(known) == sorted(expected.items())
        assert len(outcomes) == len({number for number, _ in outcomes})

    asyncio.run(scenario())
