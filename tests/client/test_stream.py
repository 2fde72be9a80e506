"""stream, by either client: results, flow control and sources."""

import asyncio
import itertools
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.client.fake_servers import PREDICTION, FakeServer, collect, model_names, photos_of, running

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import (
    AsyncPlaneSpotter,
    InvalidRequestError,
    PhotoResult,
)

Paint = Callable[..., bytes]


async def test_every_streamed_photo_gets_its_result(spotter: Any, paint: Paint) -> None:
    names = ["737-800", "A320neo", "A320-200", "737 MAX 8"] * 30
    results = await collect(spotter.stream(paint(name) for name in names))
    assert model_names(results) == names
    assert [result.photo_id for result in results] == [str(index) for index in range(120)]


async def test_invalid_photos_never_end_the_stream(
    spotter: Any, paint: Paint, bad_photos: dict[str, tuple[bytes, str]]
) -> None:
    bad = {**bad_photos, "missing": ("/nowhere.jpg", "PHOTO_UNREADABLE"), "large": (bytes(100_001), "PHOTO_TOO_LARGE")}
    # More of them than fit into the window, without a valid photo in between.
    photos: list[Any] = [photo for photo, _ in bad.values()] * 5 + [paint("A320neo")]
    results = await collect(spotter.stream(photos, max_in_flight=3))
    assert [result.error.reason for result in results[:-1] if result.error] == [r for _, r in bad.values()] * 5
    assert results[-1].result().path[2].name == "A320neo"
    assert {result.photo_id for result in results if result.photo == "/nowhere.jpg"} == {"/nowhere.jpg"}


async def test_stream_reads_at_most_max_in_flight_photos_ahead(spotter: Any, paint: Paint) -> None:
    taken = 0

    def photos() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(40):
            taken += 1
            yield paint("747")

    answered = 0
    async for _ in spotter.stream(photos(), max_in_flight=5):
        answered += 1
        await asyncio.sleep(0.005)
        assert taken <= answered + 5 + 1  # one more was read and waits for a slot
    assert answered == 40


async def test_stream_holds_at_most_max_in_flight_bytes_but_always_one_photo(connect: Any) -> None:
    class SlowServer(FakeServer):
        """A server that reports the sizes that it received, and answers only once it is released."""

        def __init__(self) -> None:
            super().__init__()
            self.sent: queue.SimpleQueue[int] = queue.SimpleQueue()
            self.released = threading.Semaphore(0)

        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            received: queue.SimpleQueue[str] = queue.SimpleQueue()

            def receive() -> None:
                for photo in photos_of(requests):
                    self.sent.put(len(photo.content))
                    received.put(photo.id)
                received.put("")

            threading.Thread(target=receive, daemon=True).start()
            while photo_id := received.get():
                self.released.acquire(timeout=60)
                yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo_id, prediction=PREDICTION))

    servicer = SlowServer()
    taken: list[int] = []

    def photos() -> Iterator[bytes]:
        for size in (400, 500, 200, 3000, 100, 100, 100):
            taken.append(size)
            yield bytes(size)

    async def sent() -> int:
        return await asyncio.to_thread(servicer.sent.get, timeout=60)

    async def stops_reading_at(expected: int) -> None:
        """The photo that does not fit is the last one read from the source."""
        while len(taken) < expected:  # noqa: ASYNC110  (a list sets no event)
            await asyncio.sleep(0.005)
        for _ in range(20):
            await asyncio.sleep(0.005)
            assert len(taken) == expected
        assert servicer.sent.empty()

    with running(servicer) as address:
        results = (await connect(address)).stream(photos(), max_in_flight=6, max_in_flight_bytes=1000)
        first = asyncio.create_task(anext(results))
        assert [await sent(), await sent()] == [400, 500]
        await stops_reading_at(3)  # another 200 bytes do not fit
        servicer.released.release()
        await first
        assert await sent() == 200
        await stops_reading_at(4)
        servicer.released.release(2)
        await anext(results)
        await stops_reading_at(4)  # 3,000 bytes fit, but only alone
        await anext(results)
        assert await sent() == 3000
        await stops_reading_at(5)
        servicer.released.release(100)
        assert [result.index async for result in results] == [3, 4, 5, 6]


async def test_abandoned_stream_stops_reading_a_blocked_source(spotter: Any, paint: Paint) -> None:
    resume = threading.Event()
    readers: list[threading.Thread] = []

    def camera() -> Iterator[bytes]:
        readers.append(threading.current_thread())
        yield paint("747")
        assert resume.wait(60)
        yield paint("747")
        raise AssertionError("nobody waits for this photo")

    results = spotter.stream(camera())
    assert (await anext(results)).error is None
    await results.aclose()
    [reader] = readers
    assert reader.is_alive()
    assert reader.daemon, "a program can end while a source blocks"
    resume.set()
    await asyncio.to_thread(reader.join, 60)
    assert not reader.is_alive()


async def test_blocked_sources_do_not_starve_the_thread_pool(address: str, paint: Paint, tmp_path: Path) -> None:
    asyncio.get_running_loop().set_default_executor(futures.ThreadPoolExecutor(1))
    path = tmp_path / "photo.jpg"
    path.write_bytes(paint("747"))
    resume = threading.Event()

    def camera() -> Iterator[bytes]:
        assert resume.wait(60)
        yield paint("747")

    async with AsyncPlaneSpotter(address) as spotter:
        cameras = [asyncio.create_task(collect(spotter.stream(camera()))) for _ in range(3)]
        [result] = await collect(spotter.stream([path]))
        assert result.result().path[1].name == "747"
        resume.set()
        assert [len(results) for results in await asyncio.gather(*cameras)] == [1, 1, 1]


async def test_object_in_a_stream_that_is_not_a_photo_is_a_type_error(spotter: Any, paint: Paint) -> None:
    with pytest.raises(TypeError, match="not NoneType"):
        await collect(spotter.stream([paint("747"), None, paint("747")]))


async def test_result_arrives_before_the_next_photo_is_sent(spotter: Any, paint: Paint) -> None:
    answered = threading.Event()

    def camera() -> Iterator[bytes]:
        for _ in range(3):
            yield paint("747")
            assert answered.wait(60), "the result did not arrive while the stream waited for photos"
            answered.clear()

    async for _ in spotter.stream(camera()):
        answered.set()


async def test_exception_of_the_source_is_raised_after_the_results(spotter: Any, paint: Paint) -> None:
    def photos() -> Iterator[bytes]:
        for _ in range(3):
            yield paint("A320neo")
        raise LookupError("the camera disconnected")

    results: list[PhotoResult] = []

    async def gather() -> None:
        async for result in spotter.stream(photos()):
            results.append(result)  # noqa: PERF401  (keeps what arrived before the error)

    with pytest.raises(LookupError, match="disconnected"):
        await gather()
    assert model_names(results) == ["A320neo"] * 3, "earlier photos are answered first"
    assert (await spotter.classify(paint("747"))).path[1].name == "747"


async def test_stream_is_abandoned_early(spotter: Any, paint: Paint) -> None:
    async for _ in spotter.stream(paint("747") for _ in range(10_000)):
        break
    assert (await spotter.classify(paint("747"))).path[1].name == "747"


async def test_source_is_an_async_iterable(address: str, paint: Paint) -> None:
    async def photos() -> AsyncIterator[bytes]:
        for name in ("A320neo", "737-800"):
            await asyncio.sleep(0)
            yield paint(name)

    async with AsyncPlaneSpotter(address) as spotter:
        assert model_names(await collect(spotter.stream(photos()))) == ["A320neo", "737-800"]


class ReorderingServer(FakeServer):
    """A server that answers photos in pairs, the second one first."""

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        photos = photos_of(requests)
        for first, second in zip(photos, photos, strict=False):
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=second.id, prediction=PREDICTION))
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=first.id, prediction=PREDICTION))


async def test_preserve_order_reorders_results(connect: Any) -> None:
    photos = [b"photo"] * 4 + ["/nowhere.jpg"] + [b"photo"] * 4
    with running(ReorderingServer()) as address:
        client = await connect(address)
        assert [result.index async for result in client.stream(photos, preserve_order=True)] == list(range(9))
        assert [result.index async for result in client.stream(photos, max_in_flight=4)] != list(range(9))


async def test_held_results_come_before_the_error(connect: Any) -> None:
    class HalfServer(ReorderingServer):
        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            _, second, *_ = itertools.islice(photos_of(requests), 4)  # all: nothing is in flight when the stream ends
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=second.id, prediction=PREDICTION))
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no more")

    results: list[PhotoResult] = []

    async def gather(client: Any) -> None:
        async for result in client.stream([b"photo"] * 4, preserve_order=True):
            results.append(result)  # noqa: PERF401  (keeps what arrived before the error)

    with running(HalfServer()) as address, pytest.raises(InvalidRequestError):
        await gather(await connect(address))
    assert [result.index for result in results] == [1]
