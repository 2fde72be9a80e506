"""Memory limiter: freed memory goes back, and above the limit the client with most uploads loses them."""

import asyncio
import sys

import pytest

from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.memory_limiter import (
    MIN_RECEIVE_SECONDS,
    TRIM_BYTES,
    TRIM_SECONDS,
    TRIM_SECONDS_WITHOUT_GROWTH,
    MemoryLimiter,
    resident_bytes,
    trim_heap,
)

LIMIT = 10 * TRIM_BYTES


class Process:
    """Memory that the limiter measures."""

    def __init__(self) -> None:
        self.bytes = TRIM_BYTES
        self.freeable_bytes = 0
        self.trims = 0
        self.limiter = MemoryLimiter(LIMIT, lambda: self.bytes, self.trim)

    def trim(self) -> None:
        self.trims += 1
        self.bytes -= self.freeable_bytes
        self.freeable_bytes = 0


async def test_client_with_most_unfinished_uploads_loses_half_of_them_above_the_limit() -> None:
    process, ended = Process(), list[str]()
    limiter, now = process.limiter, asyncio.get_running_loop().time()
    with (
        limiter.receiving("few", lambda: ended.append("few")),
        limiter.receiving("many", lambda: ended.append("first")),
        limiter.receiving("many", lambda: ended.append("second")),
        limiter.receiving("many", lambda: ended.append("third")),
    ):
        await limiter.enforce(now + 1)
        assert not ended
        process.bytes = LIMIT + 1
        await limiter.enforce(now)
        assert not ended, "most messages arrive at once"
        await limiter.enforce(now + 1)
        assert ended == ["first", "second"]


async def test_upload_is_rejected_above_the_limit_only_while_others_of_its_client_are_unfinished() -> None:
    process = Process()
    limiter = process.limiter
    with limiter.receiving("slow", lambda: None):
        await asyncio.sleep(MIN_RECEIVE_SECONDS + 0.01)
        limiter.check_capacity("slow")
        process.bytes = LIMIT + 1
        await limiter.enforce(asyncio.get_running_loop().time() - MIN_RECEIVE_SECONDS)
        limiter.check_capacity("other")
        with pytest.raises(RequestRejected, match=f"its limit is {LIMIT:,} bytes") as rejected:
            limiter.check_capacity("slow")
        assert rejected.value.reason == "QUEUE_FULL"
        assert rejected.value.retry_after is not None
    limiter.check_capacity("slow")


async def test_freed_memory_above_the_limit_ends_no_call() -> None:
    process, ended = Process(), list[str]()
    with process.limiter.receiving("a", lambda: ended.append("a")):
        process.bytes, process.freeable_bytes = LIMIT + 1, LIMIT
        await process.limiter.enforce(asyncio.get_running_loop().time() + 100)
    assert process.trims == 1
    assert not ended


async def test_memory_is_trimmed_rarely_and_only_after_growth() -> None:
    process = Process()
    await process.limiter.enforce(100)
    assert process.trims == 0
    process.bytes = process.freeable_bytes = 3 * TRIM_BYTES
    await process.limiter.enforce(100)
    assert process.trims == 1
    process.bytes = 3 * TRIM_BYTES
    await process.limiter.enforce(100 + TRIM_SECONDS / 2)
    assert process.trims == 1
    await process.limiter.enforce(100 + TRIM_SECONDS)
    assert process.trims == 2


async def test_memory_that_was_in_use_at_the_last_trim_goes_back_later() -> None:
    process = Process()
    process.bytes = 3 * TRIM_BYTES
    await process.limiter.enforce(100)
    assert process.trims == 1
    process.freeable_bytes = 2 * TRIM_BYTES
    await process.limiter.enforce(100 + TRIM_SECONDS)
    assert process.trims == 1
    await process.limiter.enforce(100 + TRIM_SECONDS_WITHOUT_GROWTH)
    assert process.trims == 2
    await process.limiter.enforce(100 + 3 * TRIM_SECONDS_WITHOUT_GROWTH)
    assert process.trims == 2, "it is at its minimum"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and glibc")
def test_trim_gives_the_memory_of_many_small_blocks_back() -> None:
    initial_bytes = resident_bytes()
    blocks = [bytearray(30_000) for _ in range(4000)]  # below malloc's threshold for mappings
    last = bytearray(30_000)  # keeps the heap from shrinking by itself
    assert resident_bytes() - initial_bytes > 50_000_000
    blocks.clear()
    trim_heap()
    assert resident_bytes() - initial_bytes < 50_000_000
    del last
