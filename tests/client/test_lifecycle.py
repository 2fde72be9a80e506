"""Connecting, deadlines and closing, by either client."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from tests.client.fake_servers import PREDICTION, FakeServer, photos_of, running

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client import (
    DeadlineExceededError,
    UnavailableError,
)

Paint = Callable[..., bytes]


@pytest.mark.slow
async def test_missing_server_has_a_readable_error(connect: Any, paint: Paint) -> None:
    spotter = await connect("127.0.0.1:1")
    with pytest.raises(UnavailableError, match="No planespotter server responds at 127"):
        await spotter.classify(paint("747"))
    with pytest.raises(UnavailableError, match="was ready at"):
        await spotter.wait_until_ready(0.3)


async def test_wait_until_ready_waits_for_a_late_server(connect: Any, reserved_port: int) -> None:
    spotter = await connect(f"127.0.0.1:{reserved_port}")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", reserved_port))
        listener.listen()
        listener.setblocking(False)
        waiting = asyncio.create_task(spotter.wait_until_ready(60))
        attempt, _ = await asyncio.get_running_loop().sock_accept(listener)
        attempt.close()
    assert not waiting.done()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    pb_grpc.add_ClassifierServiceServicer_to_server(FakeServer(), server)
    server.add_insecure_port(f"127.0.0.1:{reserved_port}")
    server.start()
    await waiting
    server.stop(None).wait()


async def test_exceeded_deadline_has_a_readable_error(connect: Any) -> None:
    with running(FakeServer()) as address:
        spotter = await connect(address)
        await spotter.get_server_info()
        with pytest.raises(DeadlineExceededError, match="did not respond within the timeout"):
            await spotter.classify(b"slow", timeout=0.5)


async def test_closed_client_ends_its_calls_with_an_error(connect: Any) -> None:
    class Silent(FakeServer):
        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            yield pb.StreamClassifyResponse(
                result=pb.PhotoResult(id=next(photos_of(requests)).id, prediction=PREDICTION)
            )
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait(60)

    with running(Silent()) as address:
        client = await connect(address)
        results = client.stream([b"photo"] * 3)
        await anext(results)
        await client.close()
        with pytest.raises(UnavailableError, match="was closed"):
            await anext(results)
        with pytest.raises(UnavailableError, match="was closed"):
            await client.classify(b"photo")
