"""Decoder pool: photos that take too long to decode get an error, and the others are decoded."""

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest
from structlog.testing import capture_logs

from planespotter_photos import ExpensivePhotoError
from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.decoder_pool import DecoderPool

PIXELS = np.zeros((2, 3, 3), np.uint8)


def decoder(release: threading.Event, seconds: float = 60) -> Callable[[float], np.ndarray]:
    """Return what decodes a photo once `release` is set, or after `seconds`."""

    def decode(_: float) -> np.ndarray:
        release.wait(seconds)
        return PIXELS

    return decode


async def test_photo_that_takes_too_long_gets_an_error_while_others_are_decoded() -> None:
    pool, release = DecoderPool(2, timeout=0.2), threading.Event()

    with capture_logs() as logs:
        slow = asyncio.create_task(pool.decode(decoder(release), "attacker"))
        for _ in range(20):
            assert (await pool.decode(lambda _: PIXELS, "user")).shape == PIXELS.shape
        with pytest.raises(RequestRejected, match=r"within 0\.2 seconds") as caught:
            await slow
    assert caught.value.reason == "PHOTO_DECODE_TIMEOUT"
    assert [line["event"] for line in logs] == ["decode_timeout"]
    assert (await pool.decode(lambda _: PIXELS, "user")).shape == PIXELS.shape  # with the other thread
    release.set()
    pool.close()


async def test_time_in_the_queue_does_not_count() -> None:
    pool, release = DecoderPool(1, timeout=0.3), threading.Event()

    results = await asyncio.gather(*(pool.decode(decoder(release, 0.2), caller) for caller in range(4)))
    assert len(results) == 4
    pool.close()


async def test_pool_whose_threads_are_all_stuck_is_reported_once() -> None:
    stuck, release = asyncio.Event(), threading.Event()
    pool = DecoderPool(2, timeout=0.1, on_stuck=stuck.set)

    with capture_logs() as logs:
        hanging = [asyncio.create_task(pool.decode(decoder(release), caller)) for caller in range(2)]
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

    leaving = asyncio.create_task(pool.decode(decoder(release), "user"))
    await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await asyncio.sleep(0.3)
    assert (await pool.decode(lambda _: PIXELS, "user")).shape == PIXELS.shape
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

    attacks = [asyncio.create_task(pool.decode(expensive, caller)) for caller in range(8)]
    for _ in range(20):
        assert (await pool.decode(lambda _: PIXELS, "user")).shape == PIXELS.shape
    assert len(running) == 1
    release.set()
    assert len(await asyncio.gather(*attacks)) == 8
    pool.close()
