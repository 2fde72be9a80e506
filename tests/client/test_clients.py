"""Both clients, by one specification: what PlaneSpotter does, AsyncPlaneSpotter does."""

import asyncio
import importlib.metadata
import inspect
import io
import itertools
import queue
import random
import re
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client import (
    AsyncPlaneSpotter,
    DeadlineExceededError,
    HeatMap,
    InternalServerError,
    InvalidRequestError,
    Level,
    NotFoundError,
    OverloadedError,
    PhotoReadError,
    PhotoResult,
    PlaneSpotter,
    PlaneSpotterError,
    ProtocolError,
    UnavailableError,
)
from planespotter_client._stream_state import Ledger, Pending
from planespotter_models import load_engine, read_bundle
from planespotter_server.server import Server
from planespotter_server.settings import Settings

Paint = Callable[..., bytes]
PAINTED = (200, 128, 50)  # about what the tiny bundle takes for an A320neo


async def collect(answers: AsyncIterator[PhotoResult]) -> list[PhotoResult]:
    return sorted([answer async for answer in answers], key=lambda answer: answer.index)


def model_names(answers: list[PhotoResult]) -> list[str]:
    return [answer.result().path[2].name for answer in answers]


def test_the_twins_have_the_same_methods() -> None:
    def shape(client: type) -> dict[str, list[tuple[Any, ...]]]:
        """Of the parameters, "photos" alone may be given as more kinds of things to one of the twins."""
        return {
            name.replace("__a", "__"): [
                (one.name, one.kind, one.default, None if one.name == "photos" else one.annotation)
                for one in inspect.signature(member).parameters.values()
            ]
            for name, member in vars(client).items()
            if inspect.isfunction(member) and (not name.startswith("_") or name.startswith("__"))
        }

    assert shape(PlaneSpotter) == shape(AsyncPlaneSpotter)


def test_the_twins_are_described_in_the_same_words() -> None:
    def words(described: Any) -> list[str]:
        text = inspect.getdoc(described) or ""
        return re.sub(r"\b(async|await) |\bAsync(?=PlaneSpotter)", "", text).split()

    methods = [name for name, one in vars(PlaneSpotter).items() if inspect.isfunction(one) and not name.startswith("_")]
    assert "stream" in methods
    for name in methods:
        assert words(getattr(PlaneSpotter, name)) == words(getattr(AsyncPlaneSpotter, name)), name
    begin = words(PlaneSpotter).index("with")  # what comes before says who may use it
    assert words(PlaneSpotter)[begin:] == words(AsyncPlaneSpotter)[words(AsyncPlaneSpotter).index("with") :]


# One photo


@pytest.mark.parametrize("given", ["path", "text", "bytes", "file", "memory"])
async def test_a_photo_can_be_a_path_bytes_or_a_file(spotter: Any, paint: Paint, tmp_path: Path, given: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(paint("737-800"))
    with path.open("rb") as file:
        photo = {
            "path": path,
            "text": str(path),
            "bytes": path.read_bytes(),
            "file": file,
            "memory": io.BytesIO(path.read_bytes()),
        }[given]
        answer = await spotter.classify(photo)
    assert (answer.level, answer.name) == (Level.MODEL, "Boeing 737-800")
    assert str(answer).startswith("Boeing 737-800 (9") or str(answer).startswith("Boeing 737-800 (> 99 %")


async def test_alternatives_come_on_request(spotter: Any, paint: Paint) -> None:
    answer = await spotter.classify(paint("A320neo"), top_k=2, model="tiny")
    assert answer.candidates[0].model == "A320neo"
    assert len(answer.candidates) == 2


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "huge"])
async def test_a_bad_photo_raises_with_its_reason(
    spotter: Any, bad_photos: dict[str, tuple[bytes, str]], tmp_path: Path, kind: str
) -> None:
    photo, reason = bad_photos[kind]
    path = tmp_path / "bad.jpg"
    path.write_bytes(photo)
    with pytest.raises(InvalidRequestError) as refused:
        await spotter.classify(path)
    assert (refused.value.reason, refused.value.photo_id) == (reason, str(path))


async def test_whatever_is_wrong_with_one_photo_names_it(spotter: Any, paint: Paint, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(paint("747"))
    for options in ({"top_k": 21}, {"model": "other"}, {"model": "other", "downscale": True}):
        with pytest.raises(PlaneSpotterError) as refused:
            await spotter.classify(path, **options)
        assert refused.value.photo_id == str(path), options


async def test_the_photo_is_named_where_no_server_answers(connect: Any, kept_port: int) -> None:
    with pytest.raises(UnavailableError) as refused:
        await (await connect(f"127.0.0.1:{kept_port}")).classify("photo.jpg")
    assert refused.value.photo_id == "photo.jpg"


@pytest.mark.parametrize(
    ("kind", "sentence", "options"),
    [
        (ValueError, "timeout is -1, but must be a finite number of seconds, 0 or more.", {"timeout": -1}),
        (ValueError, "timeout is nan, ", {"timeout": float("nan")}),
        (ValueError, "timeout is inf, ", {"timeout": float("inf")}),
        (TypeError, "timeout is None, but must be a finite number of seconds", {"timeout": None}),
        (ValueError, "retries is -1, but must be 0 or more.", {"retries": -1}),
        (TypeError, "retries is 1.5, but must be a whole number.", {"retries": 1.5}),
        (TypeError, "address is 5, but must be HOST:PORT as a text, or several in a list.", {"address": 5}),
        (TypeError, r"address is \[5\], ", {"address": [5]}),
    ],
)
async def test_a_client_cannot_be_made_with_numbers_that_make_no_sense(
    connect: Any, kind: type[Exception], sentence: str, options: dict[str, Any]
) -> None:
    with pytest.raises(kind, match=sentence):
        await connect(**{"address": "127.0.0.1:1", **options})


async def test_numbers_that_make_no_sense_are_told_before_anything_is_sent(connect: Any, paint: Paint) -> None:
    with scripted(Scripted()) as address:
        spotter = await connect(address)
        for method in (spotter.classify, spotter.classify_batch, spotter.get_model):
            for kind, timeout in ((ValueError, -1), (TypeError, "a")):
                with pytest.raises(kind, match=rf"timeout is {timeout!r}, but must be a finite number of seconds"):
                    await method("photo.jpg", timeout=timeout)
        with pytest.raises(ValueError, match="hedge is -1, "):
            await spotter.classify(b"photo", hedge=-1)
        with pytest.raises(ValueError, match="timeout is -1, "):
            await spotter.wait_until_ready(-1)
        with pytest.raises(TypeError, match="top_k is 'x', but must be a whole number"):
            await spotter.classify(b"photo", top_k="x")


@pytest.mark.parametrize("window", [{"max_in_flight": 0}, {"max_in_flight": -1}, {"max_in_flight_bytes": 0}])
async def test_a_stream_without_room_is_refused(spotter: Any, paint: Paint, window: dict[str, int]) -> None:
    [(name, size)] = window.items()
    with pytest.raises(ValueError, match=f"{name} is {size}, but must be 1 or more"):
        await collect(spotter.stream([paint("747")], **window))


async def test_what_is_no_photo_is_told_at_once(spotter: Any) -> None:
    with pytest.raises(TypeError, match="not int"):
        await spotter.classify(7)
    with pytest.raises(TypeError, match="binary mode"):
        await spotter.classify(io.StringIO("text"))


async def test_a_missing_file_raises_with_its_path(spotter: Any, tmp_path: Path) -> None:
    with pytest.raises(PhotoReadError, match=r"nowhere\.jpg cannot be read: No such file"):
        await spotter.classify(tmp_path / "nowhere.jpg")


async def test_a_photo_beyond_the_limit_is_not_even_sent(spotter: Any) -> None:
    with pytest.raises(InvalidRequestError, match="100,000") as refused:
        await spotter.classify(bytes(100_001))
    assert refused.value.reason == "PHOTO_TOO_LARGE"
    assert refused.value.metadata["limit"] == "100000"


async def test_an_unknown_model_is_not_found(spotter: Any, paint: Paint) -> None:
    with pytest.raises(NotFoundError, match="The model is unknown: 'other'"):
        await spotter.classify(paint("747"), model="other")


async def test_too_many_alternatives_are_refused(spotter: Any, paint: Paint) -> None:
    with pytest.raises(InvalidRequestError, match="from 0 to 20"):
        await spotter.classify(paint("747"), top_k=21)


async def test_the_model_describes_itself(spotter: Any) -> None:
    model = await spotter.get_model()
    assert model.tree["Boeing"] == {"737": ("737-800", "737 MAX 8"), "747": ()}
    assert (model.name, model.version, model.input_size) == ("tiny", "1", (32, 48))
    assert (model.metrics[0].name, model.metrics[0].source) == ("constructor_accuracy", None)


async def test_the_server_reports_its_version_and_its_limits(spotter: Any) -> None:
    info = await spotter.get_server_info()
    assert info.version == importlib.metadata.version("planespotter")
    assert (info.limits.max_in_flight_per_stream, info.limits.max_photo_bytes) == (4, 100_000)
    assert (info.limits.max_queue_wait, info.limits.max_photos_per_second) == (10.0, None)


async def test_a_model_can_be_asked_for_by_name_and_version(spotter: Any, paint: Paint) -> None:
    [model] = await spotter.list_models()
    assert (model.name, model.version, model.is_default) == ("tiny", "1", True)
    assert model == await spotter.get_model("tiny", model_version="1")
    photo = paint("747")
    answer = await spotter.classify(photo, model="tiny", model_version="1")
    assert (answer.model_name, answer.model_version) == ("tiny", "1")
    for refused in (spotter.classify(photo, model_version="9"), spotter.get_model(model_version="9")):
        with pytest.raises(NotFoundError):
            await refused
    [answer] = await spotter.classify_batch([photo], model_version="9")
    assert isinstance(answer.error, NotFoundError)
    with pytest.raises(NotFoundError):  # the options of a stream hold for all its photos
        await collect(spotter.stream([photo], model_version="9"))


async def test_a_network_can_be_asked_where_it_looked(connect: Any) -> None:
    class Explaining(Scripted):
        def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
            heat_map = pb.HeatMap(rows=2, columns=3, values=bytes(range(0, 120, 20)))
            return pb.ClassifyResponse(
                prediction=pb.Prediction(heat_map=heat_map if request.options.heat_map else None)
            )

    with scripted(Explaining()) as address:
        spotter = await connect(address)
        assert (await spotter.classify(b"photo")).heat_map is None
        answer = await spotter.classify(b"photo", heat_map=True)
    assert answer.heat_map == HeatMap(((0, 20, 40), (60, 80, 100)))
    assert answer.heat_map.size == (2, 3)
    assert answer.to_dict()["heat_map"] == {"cells": [[0, 20, 40], [60, 80, 100]]}


async def test_images_and_arrays_are_photos_too(spotter: Any, paint: Paint) -> None:
    image = Image.open(io.BytesIO(paint("A320neo")))
    photos = [image, np.asarray(image)]
    for photo in photos:
        assert (await spotter.classify(photo)).path[2].name == "A320neo"
    assert model_names(await spotter.classify_batch(photos)) == ["A320neo"] * 2
    assert model_names(await collect(spotter.stream(photos))) == ["A320neo"] * 2


async def test_large_photos_can_be_scaled_down_before_they_are_sent(spotter: Any) -> None:
    """Noise around a colour: as a file it is larger than the server takes, its mean names the aircraft."""
    noise = np.random.default_rng(0).integers(-40, 40, (300, 450, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(noise + PAINTED, 0, 255).astype(np.uint8)).save(file, "PNG")
    photos = [file.getvalue()] * 2
    assert (await spotter.classify(photos[0], downscale=True)).path[2].name == "A320neo"
    assert model_names(await spotter.classify_batch(photos, downscale=True)) == ["A320neo"] * 2
    assert model_names(await collect(spotter.stream(photos, downscale=True))) == ["A320neo"] * 2
    with pytest.raises(InvalidRequestError, match="downscale=True"):
        await spotter.classify(photos[0])


# Many photos


async def test_many_photos_are_answered_in_their_order_however_many(spotter: Any, paint: Paint) -> None:
    names = ["737-800", "A320neo", "A320-200"] * 6  # more than one batch may hold
    assert model_names(await spotter.classify_batch([paint(name) for name in names])) == names


async def test_bad_ones_among_many_leave_the_others_alone(
    spotter: Any, paint: Paint, bad_photos: dict[str, tuple[bytes, str]]
) -> None:
    photos = [*(photo for photo, _ in bad_photos.values()), "/nowhere.jpg", bytes(100_001), paint("A320neo")]
    answers = await spotter.classify_batch(photos)
    assert [answer.error.reason for answer in answers[:-1]] == [
        *(reason for _, reason in bad_photos.values()),
        "PHOTO_UNREADABLE",
        "PHOTO_TOO_LARGE",
    ]
    assert answers[-1].result().path[2].name == "A320neo"
    with pytest.raises(InvalidRequestError):
        answers[0].result()


async def test_batches_stay_below_the_message_limit(spotter: Any, paint: Paint) -> None:
    photo = paint("A320neo") + bytes(50_000)  # what follows a JPEG's end is ignored
    assert model_names(await spotter.classify_batch([photo] * 5)) == ["A320neo"] * 5


async def test_no_photos_are_no_trouble(spotter: Any) -> None:
    assert await spotter.classify_batch([]) == []
    assert await collect(spotter.stream([])) == []


# Streams


async def test_every_streamed_photo_gets_its_own_answer(spotter: Any, paint: Paint) -> None:
    names = ["737-800", "A320neo", "A320-200", "737 MAX 8"] * 30
    answers = await collect(spotter.stream(paint(name) for name in names))
    assert model_names(answers) == names
    assert [answer.photo_id for answer in answers] == [str(index) for index in range(120)]


async def test_bad_photos_never_end_the_stream(
    spotter: Any, paint: Paint, bad_photos: dict[str, tuple[bytes, str]]
) -> None:
    bad = {**bad_photos, "missing": ("/nowhere.jpg", "PHOTO_UNREADABLE"), "large": (bytes(100_001), "PHOTO_TOO_LARGE")}
    # More of them than the window holds, and nothing but them for a while.
    photos: list[Any] = [photo for photo, _ in bad.values()] * 5 + [paint("A320neo")]
    answers = await collect(spotter.stream(photos, max_in_flight=3))
    assert [answer.error.reason for answer in answers[:-1] if answer.error] == [r for _, r in bad.values()] * 5
    assert answers[-1].result().path[2].name == "A320neo"
    assert {answer.photo_id for answer in answers if answer.photo == "/nowhere.jpg"} == {"/nowhere.jpg"}


async def test_a_stream_takes_photos_only_a_window_ahead(spotter: Any, paint: Paint) -> None:
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
        assert taken <= answered + 5 + 1  # the one beyond has been taken and waits for its place
    assert answered == 40


async def test_a_stream_holds_only_so_many_bytes_of_photos_and_always_one_photo(connect: Any) -> None:
    class Holding(Scripted):
        """A server that says what it was sent, and answers only once it is let."""

        def __init__(self) -> None:
            super().__init__()
            self.sent: queue.SimpleQueue[int] = queue.SimpleQueue()
            self.let = threading.Semaphore(0)

        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            received: queue.SimpleQueue[str] = queue.SimpleQueue()

            def receive() -> None:
                for photo in photos_of(requests):
                    self.sent.put(len(photo.content))
                    received.put(photo.id)
                received.put("")

            threading.Thread(target=receive, daemon=True).start()
            while photo_id := received.get():
                self.let.acquire(timeout=60)
                yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo_id))

    servicer = Holding()
    taken: list[int] = []

    def photos() -> Iterator[bytes]:
        for size in (400, 500, 200, 3000, 100, 100, 100):
            taken.append(size)
            yield bytes(size)

    async def sent() -> int:
        return await asyncio.to_thread(servicer.sent.get, timeout=60)

    async def sees_no_more(expected: int) -> None:
        """The photo that has no room is the last that the source was asked for."""
        while len(taken) < expected:  # noqa: ASYNC110  (a list sets no event)
            await asyncio.sleep(0.005)
        for _ in range(20):
            await asyncio.sleep(0.005)
            assert len(taken) == expected
        assert servicer.sent.empty()

    with scripted(servicer) as address:
        answers = (await connect(address)).stream(photos(), max_in_flight=6, max_in_flight_bytes=1000)
        first = asyncio.create_task(anext(answers))
        assert [await sent(), await sent()] == [400, 500]
        await sees_no_more(3)  # 200 bytes more would be too many
        servicer.let.release()
        await first
        assert await sent() == 200
        await sees_no_more(4)
        servicer.let.release(2)
        await anext(answers)
        await sees_no_more(4)  # 3,000 bytes go, but alone
        await anext(answers)
        assert await sent() == 3000
        await sees_no_more(5)
        servicer.let.release(100)
        assert [answer.index async for answer in answers] == [3, 4, 5, 6]


async def test_a_source_that_blocks_when_the_stream_is_left_is_asked_for_no_more(spotter: Any, paint: Paint) -> None:
    go_on = threading.Event()
    readers: list[threading.Thread] = []

    def camera() -> Iterator[bytes]:
        readers.append(threading.current_thread())
        yield paint("747")
        assert go_on.wait(60)
        yield paint("747")
        raise AssertionError("nobody waits for this photo")

    answers = spotter.stream(camera())
    assert (await anext(answers)).error is None
    await answers.aclose()
    [reader] = readers
    assert reader.is_alive()
    assert reader.daemon, "a program can end while a source blocks"
    go_on.set()
    await asyncio.to_thread(reader.join, 60)
    assert not reader.is_alive()


async def test_sources_that_block_take_no_thread_from_others(address: str, paint: Paint, tmp_path: Path) -> None:
    asyncio.get_running_loop().set_default_executor(futures.ThreadPoolExecutor(1))
    path = tmp_path / "photo.jpg"
    path.write_bytes(paint("747"))
    go_on = threading.Event()

    def camera() -> Iterator[bytes]:
        assert go_on.wait(60)
        yield paint("747")

    async with AsyncPlaneSpotter(address) as spotter:
        cameras = [asyncio.create_task(collect(spotter.stream(camera()))) for _ in range(3)]
        [answer] = await collect(spotter.stream([path]))
        assert answer.result().path[1].name == "747"
        go_on.set()
        assert [len(answers) for answers in await asyncio.gather(*cameras)] == [1, 1, 1]


async def test_what_is_no_photo_in_a_stream_is_told(spotter: Any, paint: Paint) -> None:
    with pytest.raises(TypeError, match="not NoneType"):
        await collect(spotter.stream([paint("747"), None, paint("747")]))


async def test_an_answer_comes_before_the_next_photo_is_there(spotter: Any, paint: Paint) -> None:
    answered = threading.Event()

    def camera() -> Iterator[bytes]:
        for _ in range(3):
            yield paint("747")
            assert answered.wait(60), "the answer did not come while the stream was waiting for photos"
            answered.clear()

    async for _ in spotter.stream(camera()):
        answered.set()


async def test_an_error_of_the_photos_own_source_comes_through(spotter: Any, paint: Paint) -> None:
    def photos() -> Iterator[bytes]:
        for _ in range(3):
            yield paint("A320neo")
        raise LookupError("the camera fell off")

    answers: list[PhotoResult] = []

    async def gather() -> None:
        async for answer in spotter.stream(photos()):
            answers.append(answer)  # noqa: PERF401  (what came before the end counts)

    with pytest.raises(LookupError, match="fell off"):
        await gather()
    assert model_names(answers) == ["A320neo"] * 3, "what was given before is answered first"
    assert (await spotter.classify(paint("747"))).path[1].name == "747"


async def test_a_stream_can_be_left_early(spotter: Any, paint: Paint) -> None:
    async for _ in spotter.stream(paint("747") for _ in range(10_000)):
        break
    assert (await spotter.classify(paint("747"))).path[1].name == "747"


async def test_asynchronous_sources_are_welcome(address: str, paint: Paint) -> None:
    async def photos() -> AsyncIterator[bytes]:
        for name in ("A320neo", "737-800"):
            await asyncio.sleep(0)
            yield paint(name)

    async with AsyncPlaneSpotter(address) as spotter:
        assert model_names(await collect(spotter.stream(photos()))) == ["A320neo", "737-800"]


# Trouble with the server


def photos_of(requests: Iterator[pb.StreamClassifyRequest]) -> Iterator[pb.Photo]:
    """Yield the photos of a stream, whose first message is its config."""
    assert next(requests).HasField("config")
    for request in requests:
        assert request.HasField("photo")
        yield request.photo


class Scripted(pb_grpc.ClassifierServiceServicer):
    """A server that says what a test wants it to say."""

    def __init__(self) -> None:
        self.failures = 0
        self.calls = 0
        self.over = threading.Event()

    def GetServerInfo(self, request: Any, context: Any) -> pb.GetServerInfoResponse:  # noqa: N802
        limits = pb.Limits(
            max_photo_bytes=10**6,
            max_batch_photos=9,
            max_message_bytes=2 * 10**6,
            max_in_flight_per_stream=2,
            max_top_k=5,
        )
        return pb.GetServerInfoResponse(limits=limits)

    def GetModel(self, request: Any, context: Any) -> pb.GetModelResponse:  # noqa: N802
        return pb.GetModelResponse()

    def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
        self.calls += 1
        if request.photo.content == b"slow":
            self.over.wait(60)
        if self.calls <= self.failures:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return pb.ClassifyResponse()

    def BatchClassify(self, request: Any, context: Any) -> pb.BatchClassifyResponse:  # noqa: N802
        error = status_pb2.Status(code=code_pb2.DATA_LOSS, message="Gone.")
        return pb.BatchClassifyResponse(results=[pb.PhotoResult(error=error)] * len(request.photos))

    def ListModels(self, request: Any, context: Any) -> pb.ListModelsResponse:  # noqa: N802
        return pb.ListModelsResponse()

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=next(photos_of(requests)).id))
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone away")


@contextmanager
def scripted(servicer: Scripted, checks: health.HealthServicer | None = None) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    pb_grpc.add_ClassifierServiceServicer_to_server(servicer, server)
    if checks is not None:
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        servicer.over.set()
        server.stop(None).wait()


@pytest.mark.slow
async def test_no_server_gets_a_sentence(connect: Any, paint: Paint) -> None:
    spotter = await connect("127.0.0.1:1")
    with pytest.raises(UnavailableError, match="No planespotter server answers at 127"):
        await spotter.classify(paint("747"))
    with pytest.raises(UnavailableError, match="was ready at"):
        await spotter.wait_until_ready(0.3)


async def test_a_server_that_comes_later_is_waited_for(connect: Any, kept_port: int) -> None:
    spotter = await connect(f"127.0.0.1:{kept_port}")
    waiting = asyncio.create_task(spotter.wait_until_ready(60))
    await asyncio.sleep(0.5)
    server = grpc.server(futures.ThreadPoolExecutor(1))
    pb_grpc.add_ClassifierServiceServicer_to_server(Scripted(), server)
    server.add_insecure_port(f"127.0.0.1:{kept_port}")
    server.start()
    await waiting
    server.stop(None).wait()


async def test_a_short_absence_of_the_server_is_not_noticed(connect: Any) -> None:
    servicer = Scripted()
    servicer.failures = 2
    with scripted(servicer) as address:
        spotter = await connect(address)
        await spotter.classify(bytes(500_000))  # larger than what gRPC retries by default
    assert servicer.calls == 3


async def test_a_deadline_that_passes_gets_a_sentence(connect: Any) -> None:
    with scripted(Scripted()) as address:
        spotter = await connect(address)
        await spotter.get_server_info()
        with pytest.raises(DeadlineExceededError, match="did not answer in the time allowed"):
            await spotter.classify(b"slow", timeout=0.5)


async def test_a_stream_that_breaks_goes_on_in_another(connect: Any) -> None:
    with scripted(Scripted()) as address:  # which answers one photo of each stream
        answers = await collect((await connect(address)).stream(b"photo" for _ in range(5)))
    assert [(answer.index, answer.error) for answer in answers] == [(index, None) for index in range(5)]


class Poisoned(Scripted):
    """A server that a certain photo breaks."""

    def __init__(self) -> None:
        super().__init__()
        self.breaks = 0

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        for photo in photos_of(requests):
            if photo.content == b"poison":
                self.breaks += 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo.id))


async def test_a_photo_that_breaks_every_server_is_given_up_and_the_others_are_not(connect: Any) -> None:
    servicer = Poisoned()
    photos = [b"poison" if index == 3 else b"photo" for index in range(12)]
    with scripted(servicer) as address:
        answers = await collect((await connect(address)).stream(photos, max_in_flight=6))
    assert [answer.index for answer in answers] == list(range(12))
    assert [answer.index for answer in answers if answer.error] == [3]
    error = answers[3].error
    assert isinstance(error, InternalServerError)
    assert (error.reason, error.photo_id) == ("POISON_PHOTO", "3")
    assert servicer.breaks >= 3


class Restless(Scripted):
    """A server that goes away again and again: of each stream it reads so many photos, and answers just those."""

    def __init__(self, read_counts: list[int]) -> None:
        super().__init__()
        self.read_counts = read_counts
        self.answered: list[str] = []

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        read_count = self.read_counts.pop(0) if self.read_counts else 10**9
        held_back: list[str] = []
        for number, photo in enumerate(itertools.islice(photos_of(requests), read_count)):
            if read_count - number <= 2:
                held_back.append(photo.id)  # answered only after the word
            else:
                self.answered.append(photo.id)
                yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo.id))
        if read_count < 10**9:
            yield pb.StreamClassifyResponse(drain_notice=pb.DrainNotice(accepted_count=read_count))
        for photo_id in held_back:
            self.answered.append(photo_id)
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo_id))


@pytest.mark.parametrize("read_counts", [[3], [0], [1, 0, 4, 2], [19, 1]])
async def test_a_stream_moves_on_when_the_server_goes_away(connect: Any, read_counts: list[int]) -> None:
    servicer = Restless(list(read_counts))
    with scripted(servicer) as address:
        answers = await collect((await connect(address)).stream(b"photo" for _ in range(20)))
    assert [answer.index for answer in answers] == list(range(20))
    assert all(answer.error is None for answer in answers)
    assert {int(photo_id) for photo_id in servicer.answered} == set(range(20))
    assert servicer.read_counts == []


@pytest.mark.slow
async def test_a_stream_whose_server_goes_away_for_good_gives_what_it_has_and_then_raises(connect: Any) -> None:
    class Leaving(Restless):
        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            if not self.read_counts:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone away")
            return super().StreamClassify(requests, context)

        def GetServerInfo(self, request: Any, context: Any) -> pb.GetServerInfoResponse:  # noqa: N802
            if not self.read_counts:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone away")
            return super().GetServerInfo(request, context)

    answers: list[PhotoResult] = []

    async def gather(spotter: Any) -> None:
        async for answer in spotter.stream(b"photo" for _ in range(20)):
            answers.append(answer)  # noqa: PERF401  (what came before the end counts)

    with scripted(Leaving([5])) as address:
        spotter = await connect(address)
        await spotter.get_server_info()
        spotter.client.timeout = 1.0  # so long it looks for another server
        with pytest.raises(UnavailableError):
            await gather(spotter)
    assert sorted(answer.index for answer in answers) == list(range(5))


async def test_a_server_that_leaves_without_what_it_promised_is_told_apart(connect: Any) -> None:
    class Forgetful(Scripted):
        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            next(photos_of(requests))
            yield pb.StreamClassifyResponse(drain_notice=pb.DrainNotice(accepted_count=1))

    with scripted(Forgetful()) as address, pytest.raises(ProtocolError, match="before it had answered all"):
        await collect((await connect(address)).stream([b"photo"]))


@pytest.mark.slow
async def test_a_stream_outlives_its_server(connect: Any, tiny_bundle: Path, paint: Paint, kept_port: int) -> None:
    """The real server goes under load, and another takes its place."""
    read = read_bundle(tiny_bundle)
    engine = load_engine(read, (1, 4))

    async def start(port: int) -> tuple[Server, int]:
        server = Server(Settings(port=port))
        port = await server.start()
        server.service.models.put("tiny", {"1": server.create_model(read, engine)})
        await server.serve()
        return server, port

    port = kept_port
    first, _ = await start(port)
    spotter = await connect(f"127.0.0.1:{port}")
    await spotter.get_server_info()  # the sync client would ask for limits in this thread, which is the server's
    names = ["737-800", "A320neo", "A320-200"] * 100
    answers: list[PhotoResult] = []

    async def gather() -> None:
        async for answer in spotter.stream(paint(name) for name in names):
            answers.append(answer)  # noqa: PERF401  (the test watches it grow)

    gathering = asyncio.create_task(gather())
    while len(answers) < 50 and not gathering.done():  # noqa: ASYNC110  (a list sets no event)
        await asyncio.sleep(0.01)
    await first.drain()
    await first.stop(5)
    second, _ = await start(port)
    await gathering
    await second.stop()
    assert model_names(sorted(answers, key=lambda answer: answer.index)) == names


@pytest.mark.slow
async def test_no_photo_is_lost_or_answered_twice_when_the_server_is_killed(
    server_process: Any, both_twins: Any, paint: Paint, kept_port: int
) -> None:
    """A server process is killed with photos of both clients in work, and another takes its place."""
    names = ["737-800", "A320neo", "A320-200"] * 40
    stopped = threading.Event()

    def photos() -> Iterator[bytes]:
        for index, name in enumerate(names):
            if index == 60:
                stopped.wait(60)
            yield paint(name)

    async def gather(twin: Any, answers: list[PhotoResult]) -> None:
        async for answer in twin.stream(photos()):
            answers.append(answer)  # noqa: PERF401  (the test watches it grow)

    address, process = await server_process(kept_port)
    twins = both_twins(address)
    found: list[list[PhotoResult]] = [[], []]
    gathering = [asyncio.create_task(gather(*pair)) for pair in zip(twins, found, strict=True)]
    while min(map(len, found)) < 30 and not any(task.done() for task in gathering):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGSTOP)  # from now on it answers nothing, but photos are still sent to it
    stopped.set()
    process.kill()
    process.wait()
    await server_process(kept_port)
    await asyncio.gather(*gathering)
    for twin, answers in zip(twins, found, strict=True):
        await twin.close()
        assert sorted(answer.index for answer in answers) == list(range(len(names)))
        assert model_names(sorted(answers, key=lambda answer: answer.index)) == names


# A stream that a server leaves: how many photos are given and sent meanwhile, how many of them it reads, in which order
# it answers them, and when it says that it goes away.
LEAVINGS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8), st.randoms(), st.integers(0, 8)), max_size=6)


@given(photos=st.integers(0, 20), leavings=LEAVINGS)
def test_the_ledger_gives_each_photo_one_answer_however_often_servers_leave(
    photos: int, leavings: list[tuple[int, int, random.Random, int]]
) -> None:
    ledger = Ledger("somewhere")
    given_ = 0
    answered: list[int] = []

    def give(count: int) -> None:
        nonlocal given_
        for _ in range(min(count, photos - given_)):
            ledger.add(Pending(given_, "", b""), b"")
            given_ += 1
        ledger.all_given = given_ == photos

    def answer(photo_id: str) -> None:
        response = ledger.note(pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo_id)), 0.0)
        assert response is not None
        answered.append(response.index)

    for new, read_count, chance, word_comes in leavings:
        give(new)
        sent = [ledger.next_request().photo.id for _ in range(read_count + 2) if ledger.has_more(0.0)]
        read = sent[:read_count]
        word = pb.StreamClassifyResponse(drain_notice=pb.DrainNotice(accepted_count=len(read)))
        for place, photo_id in enumerate(chance.sample(read, len(read))):
            if place == word_comes:
                assert ledger.note(word, 0.0) is None
                assert not ledger.has_more(0.0), "nothing is sent to a server that will not read it"
            answer(photo_id)
        if word_comes >= len(read):
            ledger.note(word, 0.0)
        ledger.ended()
        if ledger.done:
            break
    else:
        give(photos)
        while ledger.has_more(0.0):
            answer(ledger.next_request().photo.id)
        assert ledger.all_sent
        ledger.ended()
        assert ledger.done
    assert sorted(answered) == list(range(photos))


# A stream that breaks: how many photos are given, how many are sent, which of those are heard of, and whether that is
# that they shall be sent again later.
BROKEN = st.tuples(st.integers(0, 5), st.integers(0, 8), st.sets(st.integers(0, 8)), st.booleans())


@given(photos=st.integers(0, 20), breaks=st.lists(BROKEN, max_size=9))
def test_the_ledger_gives_each_photo_one_answer_however_often_streams_break(
    photos: int, breaks: list[tuple[int, int, set[int], bool]]
) -> None:
    ledger = Ledger("somewhere", retries=2)
    lost = UnavailableError("gone", reason="CONNECTION_LOST")
    given_ = 0
    answered: list[int] = []
    given_up: list[PhotoResult] = []
    firsts: Counter[str] = Counter()  # how often a stream broke that began with this photo

    def give(count: int) -> None:
        nonlocal given_
        for _ in range(min(count, photos - given_)):
            ledger.add(Pending(given_, "", b""), b"")
            given_ += 1
        ledger.all_given = given_ == photos

    def answer(photo_id: str, later: bool = False) -> None:
        response = pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo_id))
        if later:
            response.result.error.code = code_pb2.RESOURCE_EXHAUSTED
            response.result.error.details.add().Pack(RetryInfo())
        said = ledger.note(response, 0.0)
        if said is not None:
            answered.append(said.index)

    for new, to_send, to_answer, later in breaks:
        give(new)
        sent = [ledger.next_request().photo.id for _ in range(to_send) if ledger.has_more(0.0)]
        for place, photo_id in enumerate(sent):
            if place in to_answer:
                answer(photo_id, later)
        firsts.update(sent[:1])
        given_up += ledger.broke(lost)
    give(photos)
    while ledger.has_more(1.0):
        answer(ledger.next_request().photo.id)
    assert ledger.done
    assert sorted([*answered, *(one.index for one in given_up)]) == list(range(photos))
    assert len(given_up) <= max(0, len(breaks) - 2)
    assert all(firsts[str(one.index)] for one in given_up), "only a photo that was alone with the server is given up"


async def test_a_batch_that_fails_leaves_the_others_alone(connect: Any) -> None:
    class Flaky(Scripted):
        def BatchClassify(self, request: Any, context: Any) -> pb.BatchClassifyResponse:  # noqa: N802
            self.calls += 1
            if self.calls == 2:
                context.abort(grpc.StatusCode.INTERNAL, "oh")
            return pb.BatchClassifyResponse(results=[pb.PhotoResult()] * len(request.photos))

    with scripted(Flaky()) as address:
        answers = await (await connect(address)).classify_batch([b"photo"] * 20)
    assert [answer.error is None for answer in answers] == [True] * 9 + [False] * 9 + [True] * 2
    assert [answer.index for answer in answers] == list(range(20))


# Busy and slow servers


def later(seconds: float) -> status_pb2.Status:
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="Full.")
    status.details.add().Pack(ErrorInfo(reason="QUEUE_FULL"))
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(round(1000 * seconds))
    status.details.add().Pack(retry)
    return status


class Busy(Scripted):
    """A server that asks to come back later, so many times for each call, stream and photo."""

    def __init__(self, refusals: int, seconds: float = 0.001) -> None:
        super().__init__()
        self.refusals = refusals
        self.word = later(seconds)
        self.streams = 0
        self.heard: Counter[str] = Counter()

    def refuse(self, context: Any) -> None:
        context.abort_with_status(rpc_status.to_status(self.word))

    def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
        self.calls += 1
        if self.calls <= self.refusals:
            self.refuse(context)
        return pb.ClassifyResponse()

    def BatchClassify(self, request: Any, context: Any) -> pb.BatchClassifyResponse:  # noqa: N802
        """Have room for one photo of each batch, the last."""
        *refused, _ = request.photos
        self.calls += 1
        return pb.BatchClassifyResponse(results=[pb.PhotoResult(error=self.word) for _ in refused] + [pb.PhotoResult()])

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        self.streams += 1
        if self.streams <= self.refusals:
            self.refuse(context)
        for photo in photos_of(requests):
            self.heard[photo.id] += 1
            busy = self.heard[photo.id] <= self.refusals
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo.id, error=self.word if busy else None))


async def test_a_busy_server_is_asked_again_when_it_says(connect: Any) -> None:
    with scripted(servicer := Busy(3)) as address:
        await (await connect(address)).classify(b"photo")
        assert servicer.calls == 4


async def test_a_busy_server_is_not_asked_again_by_who_does_not_want_that(connect: Any, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    with scripted(servicer := Busy(9, seconds=0.25)) as address:
        with pytest.raises(OverloadedError) as refused:
            await (await connect(address, retries=0)).classify(tmp_path / "photo.jpg")
        assert (refused.value.reason, refused.value.retry_after) == ("QUEUE_FULL", 0.25)
        assert refused.value.photo_id == str(tmp_path / "photo.jpg")
        assert servicer.calls == 1


async def test_nobody_waits_for_a_busy_server_beyond_the_deadline(connect: Any) -> None:
    with scripted(servicer := Busy(9, seconds=3600)) as address:
        with pytest.raises(OverloadedError):
            await (await connect(address)).classify(b"photo", timeout=60)
        assert servicer.calls == 1


async def test_what_a_busy_server_refuses_of_a_batch_is_sent_again(connect: Any) -> None:
    with scripted(servicer := Busy(0)) as address:
        answers = await (await connect(address, retries=3)).classify_batch([b"photo"] * 5)
        assert [(answer.index, type(answer.error)) for answer in answers] == [
            (0, OverloadedError),
            *((index, type(None)) for index in range(1, 5)),
        ]
        assert servicer.calls == 4
        refused = [answer.error for answer in await (await connect(address, retries=0)).classify_batch([b"photo"] * 5)]
    assert [error.photo_id for error in refused[:-1] if error] == ["0", "1", "2", "3"]
    assert servicer.calls == 5


async def test_a_stream_sends_again_what_a_busy_server_refused(connect: Any) -> None:
    with scripted(servicer := Busy(2)) as address:
        answers = await collect((await connect(address)).stream(b"photo" for _ in range(20)))
    assert [(answer.index, answer.error) for answer in answers] == [(index, None) for index in range(20)]
    assert set(servicer.heard.values()) == {3}


async def test_a_stream_does_not_ask_a_busy_server_for_ever(connect: Any) -> None:
    class Full(Busy):
        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            self.streams = 10**6
            return super().StreamClassify(requests, context)

    with scripted(servicer := Full(10**6 - 1)) as address:
        answers = await collect((await connect(address, retries=2)).stream(b"photo" for _ in range(5)))
    assert [(answer.index, type(answer.error)) for answer in answers] == [(n, OverloadedError) for n in range(5)]
    assert set(servicer.heard.values()) == {3}


class SlowOnce(Scripted):
    """A server whose first call takes until somebody gives up, or the second has ended."""

    def __init__(self, second: grpc.StatusCode | None = None) -> None:
        super().__init__()
        self.second = second
        self.numbers = itertools.count(1)
        self.second_ended = threading.Event()
        self.first_cancelled = threading.Event()

    def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
        number = next(self.numbers)
        self.calls = max(self.calls, number)
        if number == 1:
            context.add_callback(self.first_cancelled.set)
            (self.second_ended if self.second else self.first_cancelled).wait(60)
        elif self.second:
            self.second_ended.set()
            context.abort(self.second, "no")
        return pb.ClassifyResponse()


async def test_a_slow_call_is_made_a_second_time_on_request(connect: Any) -> None:
    with scripted(servicer := SlowOnce()) as address:
        await (await connect(address)).classify(b"photo", hedge=0.01)
        assert await asyncio.to_thread(servicer.first_cancelled.wait, 60), "the slower call is cancelled"
    assert servicer.calls == 2


async def test_a_second_call_that_fails_leaves_the_first_its_chance(connect: Any) -> None:
    with scripted(servicer := SlowOnce(grpc.StatusCode.INTERNAL)) as address:
        await (await connect(address)).classify(b"photo", hedge=0.01)
    assert servicer.calls == 2


async def test_a_quick_call_is_made_once(connect: Any) -> None:
    with scripted(servicer := Scripted()) as address:
        await (await connect(address)).classify(b"photo", hedge=60)
        assert servicer.calls == 1
        servicer.failures = 99
        with pytest.raises(UnavailableError):
            await (await connect(address)).classify(b"photo", hedge=60)


# In order


class Reversing(Scripted):
    """A server that answers two photos at a time, the second one first."""

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        photos = photos_of(requests)
        for one, other in zip(photos, photos, strict=False):
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=other.id))
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=one.id))


async def test_answers_come_in_the_order_of_the_photos_on_request(connect: Any) -> None:
    photos = [b"photo"] * 4 + ["/nowhere.jpg"] + [b"photo"] * 4
    with scripted(Reversing()) as address:
        twin = await connect(address)
        assert [answer.index async for answer in twin.stream(photos, preserve_order=True)] == list(range(9))
        assert [answer.index async for answer in twin.stream(photos, max_in_flight=4)] != list(range(9))


async def test_what_was_held_back_for_the_order_comes_before_the_error(connect: Any) -> None:
    class Half(Reversing):
        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            _, one, *_ = itertools.islice(photos_of(requests), 4)  # all: no photo is on its way when the stream ends
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=one.id))
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no more")

    answers: list[PhotoResult] = []

    async def gather(twin: Any) -> None:
        async for answer in twin.stream([b"photo"] * 4, preserve_order=True):
            answers.append(answer)  # noqa: PERF401  (what came before the end counts)

    with scripted(Half()) as address, pytest.raises(InvalidRequestError):
        await gather(await connect(address))
    assert [answer.index for answer in answers] == [1]


# Several servers


async def test_calls_go_to_all_servers_by_turns(connect: Any) -> None:
    servicers = [Scripted(), Scripted()]
    with scripted(servicers[0]) as one, scripted(servicers[1]) as other:
        for address in ([one, other], f"{one}, {other}"):
            spotter = await connect(address)
            for _ in range(6):
                await spotter.classify(b"photo")
    assert [servicer.calls for servicer in servicers] == [6, 6]


@pytest.mark.slow
async def test_a_server_that_is_not_well_gets_no_calls_until_it_is(connect: Any) -> None:
    sick, well = Scripted(), Scripted()
    checks = health.HealthServicer()
    checks.set("planespotter.v1.ClassifierService", health_pb2.HealthCheckResponse.NOT_SERVING)
    with scripted(sick, checks) as one, scripted(well) as other:
        spotter = await connect([one, other])
        for _ in range(6):
            await spotter.classify(b"photo")
        assert (sick.calls, well.calls) == (0, 6)
        checks.set("planespotter.v1.ClassifierService", health_pb2.HealthCheckResponse.SERVING)
        async with asyncio.timeout(60):
            while not sick.calls:
                await spotter.classify(b"photo")
                await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_when_one_of_two_servers_goes_calls_and_streams_go_on(
    connect: Any, tiny_bundle: Path, paint: Paint
) -> None:
    read = read_bundle(tiny_bundle)
    engine = load_engine(read, (1, 4))
    servers, addresses = [], []
    for _ in range(2):
        server = Server(Settings(port=0))
        addresses.append(f"127.0.0.1:{await server.start()}")
        server.service.models.put("tiny", {"1": server.create_model(read, engine)})
        await server.serve()
        servers.append(server)
    spotter = await connect(addresses)
    await spotter.get_server_info()
    names = ["737-800", "A320neo"] * 60
    answers: list[PhotoResult] = []

    async def gather() -> None:
        async for answer in spotter.stream(paint(name) for name in names):
            answers.append(answer)  # noqa: PERF401  (the test watches it grow)

    gathering = asyncio.create_task(gather())
    while len(answers) < 20 and not gathering.done():  # noqa: ASYNC110  (a list sets no event)
        await asyncio.sleep(0.01)
    await servers[1].stop()  # the stream was the second call, so it is here
    await gathering
    assert model_names(sorted(answers, key=lambda answer: answer.index)) == names
    for _ in range(4):
        assert (await spotter.classify(paint("747"))).path[1].name == "747"
    await servers[0].stop()
    with pytest.raises(UnavailableError, match="None of the servers at"):
        await spotter.classify(paint("747"))


async def test_a_name_that_is_looked_up_will_do(connect: Any) -> None:
    with scripted(Scripted()) as address:
        await (await connect(f"dns:///localhost:{address.rpartition(':')[2]}")).classify(b"photo")


@pytest.mark.parametrize("address", [[], "", "a:1,,b:2", ["a:1", "b"], "a:1;b:2", "a:1,b"])
async def test_each_address_must_be_one(connect: Any, address: Any) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await connect(address)
    assert refused.value.reason == "ADDRESS_MALFORMED"


async def test_a_client_that_is_closed_says_so_to_who_still_waits(connect: Any) -> None:
    class Silent(Scripted):
        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=next(photos_of(requests)).id))
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait(60)

    with scripted(Silent()) as address:
        twin = await connect(address)
        answers = twin.stream([b"photo"] * 3)
        await anext(answers)
        await twin.close()
        with pytest.raises(UnavailableError, match="was closed"):
            await anext(answers)
        with pytest.raises(UnavailableError, match="was closed"):
            await twin.classify(b"photo")


class Foreign(Scripted):
    """A server that keeps none of the contract's promises."""

    def __init__(self, answers: list[pb.StreamClassifyResponse]) -> None:
        super().__init__()
        self.answers = answers

    def BatchClassify(self, request: Any, context: Any) -> pb.BatchClassifyResponse:  # noqa: N802
        return pb.BatchClassifyResponse()

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        next(photos_of(requests))
        yield from self.answers


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        (
            [pb.StreamClassifyResponse(result=pb.PhotoResult(id="of another"))],
            "answered a photo 'of another' that was not sent",
        ),
        ([pb.StreamClassifyResponse(result=pb.PhotoResult(id="0"))] * 2, "answered before"),
        ([], "ended the stream before it had answered all photos"),
    ],
)
async def test_a_stream_that_breaks_its_promises_is_told_apart(
    connect: Any, answers: list[pb.StreamClassifyResponse], sentence: str
) -> None:
    with scripted(Foreign(answers)) as address, pytest.raises(ProtocolError, match=sentence):
        await collect((await connect(address)).stream([b"photo"]))


async def test_a_batch_with_too_few_results_is_told_apart(connect: Any) -> None:
    with scripted(Foreign([])) as address:
        [answer] = await (await connect(address)).classify_batch([b"photo"])
    assert isinstance(answer.error, ProtocolError)
    assert "0 results for 1 photos" in str(answer.error)


@pytest.mark.parametrize("address", ["[::1]:50051", "planes.example:1", "dns:///planes.example:50051", "unix:/run/a"])
async def test_addresses_of_every_kind_are_taken(connect: Any, address: str) -> None:
    await connect(address)


async def test_what_a_server_says_is_cut_to_a_readable_length(connect: Any) -> None:
    class Talkative(Scripted):
        def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
            raise context.abort(grpc.StatusCode.UNKNOWN, "x" * 3000)

    with scripted(Talkative()) as address, pytest.raises(PlaneSpotterError) as failed:
        await (await connect(address)).classify(b"photo")
    assert len(str(failed.value)) < 400


async def test_an_error_without_details_is_an_error_all_the_same(connect: Any) -> None:
    with scripted(Scripted()) as address:
        [answer] = await (await connect(address)).classify_batch([b"photo"])
    assert isinstance(answer.error, PlaneSpotterError)
    assert str(answer.error) == "Gone."


async def test_another_kind_of_server_is_told_apart(connect: Any) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    spotter = await connect(f"127.0.0.1:{port}")
    with pytest.raises(ProtocolError, match="no planespotter server"):
        await spotter.wait_until_ready(60)
    server.stop(None).wait()
