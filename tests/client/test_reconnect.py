"""Streams survive drained, lost and killed servers: exactly one result per photo."""

import asyncio
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.client.fake_servers import PREDICTION, FakeServer, collect, model_names, photos_of, running

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client import (
    InternalServerError,
    PhotoResult,
    UnavailableError,
)
from planespotter_client._channels import channel_options
from planespotter_models import load_engine, read_bundle
from planespotter_server.server import Server
from planespotter_server.settings import Settings

Paint = Callable[..., bytes]


async def test_broken_stream_continues_on_a_new_connection(connect: Any) -> None:
    with running(FakeServer()) as address:  # it answers one photo per stream
        results = await collect((await connect(address)).stream(b"photo" for _ in range(5)))
    assert [(result.index, result.error) for result in results] == [(index, None) for index in range(5)]


class CrashingServer(FakeServer):
    """A server that one photo crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.breaks = 0

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        for photo in photos_of(requests):
            if photo.content == b"poison":
                self.breaks += 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo.id, prediction=PREDICTION))


async def test_poison_photo_gets_an_error_and_the_rest_get_predictions(connect: Any) -> None:
    servicer = CrashingServer()
    photos = [b"poison" if index == 3 else b"photo" for index in range(12)]
    with running(servicer) as address:
        results = await collect((await connect(address)).stream(photos, max_in_flight=6))
    assert [result.index for result in results] == list(range(12))
    assert [result.index for result in results if result.error] == [3]
    error = results[3].error
    assert isinstance(error, InternalServerError)
    assert (error.reason, error.photo_id) == ("POISON_PHOTO", "3")
    assert servicer.breaks >= 3


class DrainingServer(FakeServer):
    """A server that drains again and again: it accepts and answers a number of photos of each stream."""

    def __init__(self, accepted_counts: list[int]) -> None:
        super().__init__()
        self.accepted_counts = accepted_counts
        self.answered: list[str] = []

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        accepted_count = self.accepted_counts.pop(0) if self.accepted_counts else 10**9
        held_back: list[str] = []
        for number, photo in enumerate(itertools.islice(photos_of(requests), accepted_count)):
            if accepted_count - number <= 2:
                held_back.append(photo.id)  # answered only after the drain notice
            else:
                self.answered.append(photo.id)
                yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo.id, prediction=PREDICTION))
        if accepted_count < 10**9:
            yield pb.StreamClassifyResponse(drain_notice=pb.DrainNotice(accepted_count=accepted_count))
        for photo_id in held_back:
            self.answered.append(photo_id)
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo_id, prediction=PREDICTION))


@pytest.mark.parametrize("accepted_counts", [[3], [0], [1, 0, 4, 2], [19, 1]])
async def test_stream_continues_after_a_drain_notice(connect: Any, accepted_counts: list[int]) -> None:
    servicer = DrainingServer(list(accepted_counts))
    with running(servicer) as address:
        results = await collect((await connect(address)).stream(b"photo" for _ in range(20)))
    assert [result.index for result in results] == list(range(20))
    assert all(result.error is None for result in results)
    assert {int(photo_id) for photo_id in servicer.answered} == set(range(20))
    assert servicer.accepted_counts == []


@pytest.mark.slow
async def test_stream_without_a_server_raises_after_its_results(connect: Any) -> None:
    class LeavingServer(DrainingServer):
        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            if not self.accepted_counts:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone away")
            return super().StreamClassify(requests, context)

        def GetServerInfo(self, request: Any, context: Any) -> pb.GetServerInfoResponse:  # noqa: N802
            if not self.accepted_counts:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone away")
            return super().GetServerInfo(request, context)

    results: list[PhotoResult] = []

    async def gather(spotter: Any) -> None:
        async for result in spotter.stream(b"photo" for _ in range(20)):
            results.append(result)  # noqa: PERF401  (keeps what arrived before the error)

    with running(LeavingServer([5])) as address:
        spotter = await connect(address)
        await spotter.get_server_info()
        spotter.client.timeout = 1.0  # how long it tries to reconnect
        with pytest.raises(UnavailableError):
            await gather(spotter)
    assert sorted(result.index for result in results) == list(range(5))


@pytest.mark.slow
async def test_stream_survives_a_restarted_server(
    connect: Any, tiny_bundle: Path, paint: Paint, reserved_port: int
) -> None:
    """A real server drains under load, and another replaces it."""
    read = read_bundle(tiny_bundle)
    engine = load_engine(read, (1, 4))

    async def start(port: int) -> tuple[Server, int]:
        server = Server(Settings(port=port))
        port = await server.start()
        server.service.models.put("tiny", {"1": server.create_model(read, engine)})
        await server.serve()
        return server, port

    port = reserved_port
    first, _ = await start(port)
    spotter = await connect(f"127.0.0.1:{port}")
    await spotter.get_server_info()  # the sync client would ask for limits in this thread, which is the server's
    names = ["737-800", "A320neo", "A320-200"] * 100
    results: list[PhotoResult] = []

    async def gather() -> None:
        async for result in spotter.stream(paint(name) for name in names):
            results.append(result)  # noqa: PERF401  (the test watches it grow)

    gathering = asyncio.create_task(gather())
    while len(results) < 50 and not gathering.done():  # noqa: ASYNC110  (a list sets no event)
        await asyncio.sleep(0.01)
    await first.drain()
    await first.stop(5)
    second, _ = await start(port)
    await gathering
    await second.stop()
    assert model_names(sorted(results, key=lambda result: result.index)) == names


@pytest.mark.slow
async def test_stream_that_reaches_its_maximum_age_moves_without_losing_or_repeating_a_photo(
    connect: Any, tiny_bundle: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two real servers drain it several times a second; connections reach their maximum age, too."""
    monkeypatch.setattr("planespotter_server.serving.open_streams.CHECK_SECONDS", 0.02)
    read = read_bundle(tiny_bundle)
    engine = load_engine(read, (1, 4))
    servers, addresses = [], []
    for _ in range(2):
        server = Server(Settings(port=0, max_stream_age=0.2))
        addresses.append(f"127.0.0.1:{await server.start()}")
        server.service.models.put("tiny", {"1": server.create_model(read, engine)})
        await server.serve()
        servers.append(server)
    spotter = await connect(addresses)
    await spotter.get_server_info()
    names = ["737-800", "A320neo", "A320-200"] * 100

    def camera() -> Iterator[bytes]:
        for name in names:
            time.sleep(0.007)
            yield paint(name)

    results = await collect(spotter.stream(camera()))
    assert model_names(sorted(results, key=lambda result: result.index)) == names
    photos = [sum(total(server, "planespotter_photos_total").values()) for server in servers]
    assert sum(photos) == len(names), "the servers classified each photo once"
    assert all(photos)
    opened = [total(server, "grpc_server_handled_total").get(("StreamClassify", "OK"), 0) for server in servers]
    assert sum(opened) >= 4
    for server in servers:
        await server.stop()


def total(server: Server, name: str) -> dict[Any, float]:
    """Return the values of a counter of a server by outcome, or by method and status code."""
    values: dict[Any, float] = {}
    for family in server.metrics.registry.collect():
        for sample in family.samples:
            if sample.name == name:
                labels = sample.labels
                key = labels.get("outcome") or (labels["grpc_method"], labels["grpc_code"])
                values[key] = values.get(key, 0) + sample.value
    return values


@pytest.mark.slow
async def test_no_photo_is_lost_or_duplicated_when_the_server_is_killed(
    server_process: Any, both_clients: Any, paint: Paint, reserved_port: int
) -> None:
    """A server process is killed with photos of both clients in flight, and another replaces it."""
    names = ["737-800", "A320neo", "A320-200"] * 40
    stopped = threading.Event()

    def photos() -> Iterator[bytes]:
        for index, name in enumerate(names):
            if index == 60:
                stopped.wait(60)
            yield paint(name)

    async def gather(client: Any, results: list[PhotoResult]) -> None:
        async for result in client.stream(photos()):
            results.append(result)  # noqa: PERF401  (the test watches it grow)

    address, process = await server_process(reserved_port)
    clients = both_clients(address)
    collected: list[list[PhotoResult]] = [[], []]
    gathering = [asyncio.create_task(gather(*pair)) for pair in zip(clients, collected, strict=True)]
    while min(map(len, collected)) < 30 and not any(task.done() for task in gathering):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGSTOP)  # it answers no more, but photos are still sent to it
    stopped.set()
    process.kill()
    process.wait()
    await server_process(reserved_port)
    await asyncio.gather(*gathering)
    for client, results in zip(clients, collected, strict=True):
        await client.close()
        assert sorted(result.index for result in results) == list(range(len(names)))
        assert model_names(sorted(results, key=lambda result: result.index)) == names


async def test_server_that_stops_without_closing_its_connection_is_noticed_by_pings(
    server_process: Callable[..., Any],
) -> None:
    shorter = {"grpc.keepalive_time_ms": 1_000, "grpc.keepalive_timeout_ms": 1_000, "grpc.http2.ping_timeout_ms": 1_000}
    options = [(name, shorter.get(name, value)) for name, value in channel_options(retry=False)]
    address, process = await server_process()
    async with grpc.aio.insecure_channel(address, options) as channel:
        await channel.channel_ready()
        process.send_signal(signal.SIGSTOP)  # as if its machine were gone
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # gRPC's default is a minute
            await asyncio.wait_for(pb_grpc.ClassifierServiceStub(channel).GetModel(pb.GetModelRequest()), 30)
    process.kill()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
