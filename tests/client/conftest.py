"""Fixtures of the client: server processes, and the sync and the async client behind one interface."""

import asyncio
import functools
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.client.processes import Process, serving

from planespotter_client import AsyncPlaneSpotter, Model, PhotoResult, PlaneSpotter, Prediction, ServerInfo


@pytest.fixture
async def server_process(tiny_bundle: Path) -> AsyncIterator[Callable[[int], Awaitable[tuple[str, Process]]]]:
    """Start servers of the tiny bundle at a port, 0 for any free one; stop them at the end."""
    with ExitStack() as running:

        async def start(port: int = 0) -> tuple[str, Process]:
            return await asyncio.to_thread(running.enter_context, serving(tiny_bundle, port))

        yield start


@pytest.fixture(scope="session")
def address(tiny_bundle: Path) -> Iterator[str]:
    """The address of a server process of the tiny bundle with small limits."""
    limits = {
        "max_photo_bytes": 100_000,
        "max_batch_photos": 5,
        "max_message_bytes": 120_000,
        "max_in_flight_per_stream": 4,
    }
    with serving(tiny_bundle, batch_sizes="1,4", **limits) as (server_address, _):
        yield server_address


class Client:
    """Either client behind the same async methods, so that one test suite covers both."""

    def __init__(self, client: PlaneSpotter | AsyncPlaneSpotter) -> None:
        self.client = client

    async def classify(self, photo: Any, **options: Any) -> Prediction:
        if isinstance(self.client, AsyncPlaneSpotter):
            return await self.client.classify(photo, **options)
        return await asyncio.to_thread(self.client.classify, photo, **options)

    async def classify_batch(self, photos: Any, **options: Any) -> list[PhotoResult]:
        if isinstance(self.client, AsyncPlaneSpotter):
            return await self.client.classify_batch(photos, **options)
        return await asyncio.to_thread(self.client.classify_batch, photos, **options)

    async def stream(self, photos: Iterable[Any] | AsyncIterable[Any], **options: Any) -> AsyncIterator[PhotoResult]:
        if isinstance(self.client, AsyncPlaneSpotter):
            async for result in self.client.stream(photos, **options):
                yield result
            return
        assert isinstance(photos, Iterable)
        results = self.client.stream(photos, **options)
        following = functools.partial(next, results, None)
        while (result := await asyncio.to_thread(following)) is not None:
            yield result

    async def get_model(self, name: str = "", **options: Any) -> Model:
        if isinstance(self.client, AsyncPlaneSpotter):
            return await self.client.get_model(name, **options)
        return await asyncio.to_thread(self.client.get_model, name, **options)

    async def list_models(self) -> list[Model]:
        if isinstance(self.client, AsyncPlaneSpotter):
            return await self.client.list_models()
        return await asyncio.to_thread(self.client.list_models)

    async def get_server_info(self) -> ServerInfo:
        if isinstance(self.client, AsyncPlaneSpotter):
            return await self.client.get_server_info()
        return await asyncio.to_thread(self.client.get_server_info)

    async def wait_until_ready(self, timeout: float) -> None:  # noqa: ASYNC109
        if isinstance(self.client, AsyncPlaneSpotter):
            await self.client.wait_until_ready(timeout)
        else:
            await asyncio.to_thread(self.client.wait_until_ready, timeout)

    async def close(self) -> None:
        if isinstance(self.client, AsyncPlaneSpotter):
            await self.client.close()
        else:
            self.client.close()


@pytest.fixture(params=[PlaneSpotter, AsyncPlaneSpotter])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Create a client of either kind for an address."""
    clients: list[Client] = []

    async def connect(address: str, **options: Any) -> Client:
        clients.append(Client(request.param(address, **options)))
        return clients[-1]

    yield connect
    for client in clients:
        await client.close()


@pytest.fixture
async def spotter(connect: Any, address: str) -> Client:
    """A client of either kind of the server of the tiny bundle."""
    client: Client = await connect(address)
    return client


@pytest.fixture
def both_clients() -> Callable[[str], list[Client]]:
    """Create a client of each kind for an address."""
    timeout = 600.0  # a server may start slowly
    return lambda address: [Client(kind(address, timeout=timeout)) for kind in (PlaneSpotter, AsyncPlaneSpotter)]
