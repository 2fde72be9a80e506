"""Fixtures of the server: one compiled engine, servers in this process, and a wait for a condition."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from planespotter_models import Bundle, Engine, load_engine, read_bundle
from planespotter_server.server import Server
from planespotter_server.settings import Settings

Serve = Callable[..., Awaitable[grpc.aio.Channel]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture(scope="session")
def loaded(tiny_bundle: Path) -> tuple[Bundle, Engine]:
    """The tiny bundle and its engine, compiled once for all tests of the server."""
    bundle = read_bundle(tiny_bundle)
    return bundle, load_engine(bundle, (1, 2, 4, 8))


@pytest.fixture
async def serve(loaded: tuple[Bundle, Engine]) -> AsyncIterator[Serve]:
    """Start a server with the given settings; returns a channel to it (its server is at `channel.server`)."""
    async with AsyncExitStack() as stack:

        async def serve(engine: Engine | None = None, ready: bool = True, **settings: object) -> grpc.aio.Channel:
            server = Server(Settings(port=0, **settings))  # type: ignore[arg-type]
            port = await server.start()
            stack.push_async_callback(server.stop)
            if ready:
                bundle = loaded[0]
                server.service.models.put(
                    bundle.name, {bundle.version: server.create_model(bundle, engine or loaded[1])}
                )
                await server.serve()
            channel = grpc.aio.insecure_channel(
                f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]
            )
            stack.push_async_callback(channel.close)
            channel.server, channel.port = server, port  # type: ignore[attr-defined]
            return channel

        yield serve


@pytest.fixture
def until() -> Until:
    """Wait until a condition holds, for a long time: machines may be slow."""

    async def until(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110  (conditions of the tests set no event)
                await asyncio.sleep(0.01)

    return until
