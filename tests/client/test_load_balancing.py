"""Several servers: round robin, health checks and failover."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health, health_pb2
from tests.client.fake_servers import FakeServer, model_names, running

from planespotter_client import (
    PhotoResult,
    UnavailableError,
)
from planespotter_models import load_engine, read_bundle
from planespotter_server.server import Server
from planespotter_server.settings import Settings

Paint = Callable[..., bytes]


async def test_calls_are_distributed_round_robin(connect: Any) -> None:
    servicers = [FakeServer(), FakeServer()]
    with running(servicers[0]) as first, running(servicers[1]) as second:
        for address in ([first, second], f"{first}, {second}"):
            spotter = await connect(address)
            for _ in range(6):
                await spotter.classify(b"photo")
    assert [servicer.calls for servicer in servicers] == [6, 6]


@pytest.mark.slow
async def test_unhealthy_server_is_skipped_until_it_recovers(connect: Any) -> None:
    unhealthy, healthy = FakeServer(), FakeServer()
    checks = health.HealthServicer()
    checks.set("planespotter.v1.ClassifierService", health_pb2.HealthCheckResponse.NOT_SERVING)
    with running(unhealthy, checks) as first, running(healthy) as second:
        spotter = await connect([first, second])
        for _ in range(6):
            await spotter.classify(b"photo")
        assert (unhealthy.calls, healthy.calls) == (0, 6)
        checks.set("planespotter.v1.ClassifierService", health_pb2.HealthCheckResponse.SERVING)
        async with asyncio.timeout(60):
            while not unhealthy.calls:
                await spotter.classify(b"photo")
                await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_calls_and_streams_fail_over_to_another_server(
    connect: Any, tiny_bundle: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_bundle(tiny_bundle)
    engine = load_engine(read, (1, 4))
    servers, addresses = [], []
    monkeypatch.setattr(random, "randrange", lambda _: 0)
    for _ in range(2):
        server = Server(Settings(port=0))
        addresses.append(f"127.0.0.1:{await server.start()}")
        server.service.models.put("tiny", {"1": server.create_model(read, engine)})
        await server.serve()
        servers.append(server)
    spotter = await connect(addresses)
    await spotter.get_server_info()
    names = ["737-800", "A320neo"] * 60
    results: list[PhotoResult] = []

    async def gather() -> None:
        async for result in spotter.stream(paint(name) for name in names):
            results.append(result)  # noqa: PERF401  (the test watches it grow)

    gathering = asyncio.create_task(gather())
    while len(results) < 20 and not gathering.done():  # noqa: ASYNC110  (a list sets no event)
        await asyncio.sleep(0.01)
    await servers[1].stop()  # the stream was the second call, so it is here
    await gathering
    assert model_names(sorted(results, key=lambda result: result.index)) == names
    for _ in range(4):
        assert (await spotter.classify(paint("747"))).path[1].name == "747"
    await servers[0].stop()
    with pytest.raises(UnavailableError, match="None of the servers at"):
        await spotter.classify(paint("747"))


async def test_dns_target_is_resolved(connect: Any) -> None:
    with running(FakeServer()) as address:
        await (await connect(f"dns:///localhost:{address.rpartition(':')[2]}")).classify(b"photo")
