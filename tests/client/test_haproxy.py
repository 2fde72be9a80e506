"""Streams of many cameras behind HAProxy: they spread over a new server, and survive a killed and a drained one."""

import asyncio
import logging
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests import haproxy
from tests.client.processes import serving

from planespotter_client import AsyncPlaneSpotter

pytestmark = [pytest.mark.chaos, pytest.mark.e2e]

CAMERAS = 100
AGE = 12.0
SETTLE_SECONDS = 4.0
log = logging.getLogger(__name__)


class Cameras:
    """Cameras with a stream each, of one to two photos a second."""

    def __init__(self, address: str, photo: bytes) -> None:
        self._address, self._photo = address, photo
        self._ended = asyncio.Event()
        self.sent: Counter[int] = Counter()
        self.answers: Counter[tuple[int, int]] = Counter()
        self.errors: list[str] = []

    async def run(self) -> None:
        """Stream until `end`; then wait for the last results."""
        async with asyncio.TaskGroup() as cameras:
            for camera in range(CAMERAS):
                cameras.create_task(self._stream(camera))

    def end(self) -> None:
        self._ended.set()

    async def _stream(self, camera: int) -> None:
        async with AsyncPlaneSpotter(self._address) as spotter:
            async for result in spotter.stream(self._photos(camera)):
                self.answers[camera, result.index] += 1
                if result.error is not None:
                    self.errors.append(f"{result.error}")

    async def _photos(self, camera: int) -> AsyncIterator[bytes]:
        interval = random.uniform(0.5, 1.0)
        await asyncio.sleep(random.uniform(0, interval))
        while not self._ended.is_set():
            self.sent[camera] += 1
            yield self._photo
            await asyncio.sleep(interval)


async def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> float:
    """Wait until a condition holds; return for how long, in seconds."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (it is about other processes)
            await asyncio.sleep(0.1)
    return loop.time() - since


async def test_streams_spread_over_a_new_server_and_survive_a_killed_and_a_drained_one(
    tiny_bundle: Path, tmp_path: Path, paint: Callable[..., bytes], reserve_port: Callable[[], int]
) -> None:
    port, *ports = (reserve_port() for _ in range(4))
    addresses = [f"127.0.0.1:{each}" for each in ports]
    with ExitStack() as stack:

        async def start(number: int) -> Any:
            settings = {"max_stream_age": AGE, "drain_seconds": 5, "max_streams_per_client": 256, "batch_sizes": "1,4"}
            return await asyncio.to_thread(stack.enter_context, serving(tiny_bundle, ports[number], **settings))

        processes = [(await start(number))[1] for number in (0, 1)]
        proxy = stack.enter_context(haproxy.balancing(tmp_path, port, addresses))

        def up() -> list[bool]:
            return [status.startswith("UP") for status, _ in proxy.servers()]

        def streams() -> list[int]:
            return [count for _, count in proxy.servers()]

        await wait_until(lambda: up() == [True, True, False])
        cameras = Cameras(f"127.0.0.1:{port}", paint("737-800"))
        running = asyncio.create_task(cameras.run())
        await wait_until(lambda: sum(streams()) == CAMERAS)
        log.info("two servers: %s streams", streams())
        await asyncio.sleep(SETTLE_SECONDS)

        processes.append((await start(2))[1])
        await wait_until(lambda: up() == [True, True, True])
        await asyncio.sleep(1.2 * AGE)
        counts = streams()
        shares = [count / sum(counts) for count in counts]  # a few streams have ended and wait for their next photo
        log.info("after 1.2 times the age: %s streams, shares %s", counts, [round(share, 2) for share in shares])
        assert sum(counts) > 0.8 * CAMERAS
        assert all(0.26 <= share <= 0.40 for share in shares), shares

        processes[0].kill()
        took = await wait_until(lambda: sum(streams()[1:]) >= CAMERAS and not up()[0])
        log.info("one server killed; all streams were open again within %.1f s: %s", took, streams())
        await asyncio.sleep(SETTLE_SECONDS)
        processes[1].send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(processes[1].wait, 60) == 0, "it answered all photos that it had accepted"
        log.info("another server drained: %s streams", streams())
        await asyncio.sleep(SETTLE_SECONDS)
        cameras.end()
        await asyncio.wait_for(running, 60)

    sent = sum(cameras.sent.values())
    lost = [(camera, index) for camera, count in cameras.sent.items() for index in range(count)]
    lost = [photo for photo in lost if photo not in cameras.answers]
    twice = [photo for photo, count in cameras.answers.items() if count > 1]
    log.info("%d photos: %d lost, %d answered twice, %d errors", sent, len(lost), len(twice), len(cameras.errors))
    assert not lost
    assert not twice
    assert not cameras.errors
