"""Metrics, logs, and the request id of an RPC in its log lines, its trailing metadata and its error."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import numpy as np
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from tests.server.calls import service

from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import Bundle, Engine
from planespotter_server.observability.logging import LogWriter, configure_logging, flush_logs
from planespotter_server.observability.metrics import RPCS
from planespotter_server.server import Server
from planespotter_server.settings import ServerError, Settings

Serve = Callable[..., Awaitable[grpc.aio.Channel]]
Paint = Callable[..., bytes]
Series = dict[tuple[str, ...], float]

LABELS = ("grpc_method", "grpc_code", "outcome", "reason", "constructor", "level")
HANDLED = "grpc_server_handled_total"
METHODS = {method for _, service, method in RPCS.values() if service.startswith("planespotter")}


async def read(channel: grpc.aio.Channel) -> Series:
    """Scrape the metrics; return the values by name, without "planespotter_", and the values of LABELS."""
    address = channel.server.metrics_address  # type: ignore[attr-defined]

    def fetch() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as page:
            return str(page.read().decode())

    return {
        (
            sample.name.removeprefix("planespotter_"),
            *(sample.labels[name] for name in LABELS if name in sample.labels),
            *([sample.labels["le"]] if "le" in sample.labels else []),
        ): sample.value
        for family in text_string_to_metric_families(await asyncio.to_thread(fetch))
        for sample in family.samples
    }


async def until(channel: grpc.aio.Channel, condition: Callable[[Series], bool]) -> Series:
    """Scrape until `condition` holds: an RPC is counted a moment after its client has the response."""
    async with asyncio.timeout(60):
        while not condition(series := await read(channel)):  # noqa: ASYNC110  (counters set no event)
            await asyncio.sleep(0.02)
    return series


async def test_rpcs_photos_and_predictions_are_counted(serve: Serve, paint: Paint) -> None:
    channel = await serve(metrics_port=0)
    await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))))
    await service(channel).BatchClassify(
        pb.BatchClassifyRequest(
            photos=[pb.Photo(content=paint("A380")), pb.Photo(content=b"no photo"), pb.Photo(content=b"")]
        )
    )
    requests = [
        pb.StreamClassifyRequest(photo=pb.Photo(content=photo))
        for photo in (paint("nothing known"), b"", paint("737-800"))
    ]
    assert len([response async for response in service(channel).StreamClassify(iter(requests))]) == 3
    await service(channel).GetModel(pb.GetModelRequest())
    await service(channel).ListModels(pb.ListModelsRequest())
    await service(channel).GetServerInfo(pb.GetServerInfoRequest())
    with pytest.raises(grpc.aio.AioRpcError):
        await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=b"no photo")))
    with pytest.raises(grpc.aio.AioRpcError):
        await channel.unary_unary("/planespotter.v1.ClassifierService/Guess")(b"")  # type: ignore[arg-type]
    rpcs = len(METHODS) + 2
    series = await until(
        channel, lambda series: rpcs == sum(value for key, value in series.items() if key[0] == HANDLED)
    )
    assert series[HANDLED, "unknown", "UNIMPLEMENTED"] == series["grpc_server_started_total", "unknown"] == 1
    for method in METHODS:
        assert series[HANDLED, method, "OK"] == 1
    assert series[HANDLED, "Classify", "INVALID_ARGUMENT"] == 1
    assert (
        series["grpc_server_started_total", "Classify"] == series["grpc_server_handling_seconds_count", "Classify"] == 2
    )
    assert {key[1:]: value for key, value in series.items() if key[0] == "photos_total"} == {
        ("predicted", ""): 4,
        ("rejected", "PHOTO_EMPTY"): 2,
        ("rejected", "PHOTO_FORMAT_UNSUPPORTED"): 2,
    }
    assert {key[1:]: value for key, value in series.items() if key[0] == "predictions_total"} == {
        ("Boeing", "family"): 1,
        ("Airbus", "family"): 1,
        ("", "unknown"): 1,
        ("Boeing", "model"): 1,
    }
    assert series["inference_examples_total",] == series["inference_batch_size_sum",] == 4
    assert series["queue_wait_seconds_count",] == 4
    assert series["decode_duration_seconds_count",] == series["photo_duration_seconds_count",] == 8
    assert series["inference_duration_seconds_count",] == series["inference_batch_size_count",] <= 4
    assert series["queue_depth",] == series["photos_in_flight",] == 0


class BlockedEngine:
    """An engine that blocks until it is released."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.batch_sizes, self.released = engine, engine.batch_sizes, threading.Event()

    def run(self, photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        self.released.wait(300)
        return self.engine.run(photos)


@pytest.fixture
async def blocked_engine(loaded: tuple[Bundle, Engine]) -> AsyncIterator[BlockedEngine]:
    engine = BlockedEngine(loaded[1])
    yield engine
    engine.released.set()


@pytest.mark.slow
async def test_cancelled_photo_costs_no_inference(serve: Serve, paint: Paint, blocked_engine: BlockedEngine) -> None:
    channel = await serve(engine=blocked_engine, metrics_port=0)
    first = service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))))
    await until(channel, lambda series: series["queue_wait_seconds_count",] == 1)  # the device has it
    unary = service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))))
    stream = service(channel).StreamClassify()
    await stream.write(pb.StreamClassifyRequest(photo=pb.Photo(content=paint("747"))))
    await until(channel, lambda series: series["queue_depth",] == series["photos_in_flight",] - 1 == 2)
    unary.cancel()
    stream.cancel()
    await until(channel, lambda series: series.get(("photos_total", "cancelled", "")) == 2)
    for seconds in (1, 5, 25):  # an RPC whose deadline passes before it arrives is not counted
        with pytest.raises(grpc.aio.AioRpcError):
            await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))), timeout=seconds)
        series = await until(channel, lambda series: series["photos_in_flight",] == 1)
        if series["photos_total", "cancelled", ""] > 2:
            break
    blocked_engine.released.set()
    await first
    # Whether an expired RPC ends with a deadline or a cancellation depends on who notices first, server or client.
    ends = [(HANDLED, "Classify", code) for code in ("CANCELLED", "DEADLINE_EXCEEDED")]
    await until(channel, lambda series: sum(series.get(end, 0) for end in ends) >= 2)
    series = await until(channel, lambda series: series.get((HANDLED, "Classify", "OK")) == 1)
    assert series["photos_total", "cancelled", ""] >= 3
    assert series["inference_examples_total",] == 1
    assert series["queue_depth",] == 0
    assert series[HANDLED, "StreamClassify", "CANCELLED"] == 1


async def test_clients_cannot_create_time_series(serve: Serve, paint: Paint) -> None:
    channel = await serve(metrics_port=0)
    for number in range(5):
        options = pb.ClassifyOptions(model_name=f"model {number}")
        for method, request in (
            (f"/planespotter.v1.ClassifierService/M{number}", b""),
            (f"/other.v{number}.Service/Classify", b""),
            ("/planespotter.v1.ClassifierService/Classify", pb.ClassifyRequest(options=options).SerializeToString()),
        ):
            untyped: Any = channel
            with pytest.raises(grpc.aio.AioRpcError):
                await untyped.unary_unary(method)(request, metadata=(("x-request-id", f"id-{number}"),))
    series = await until(channel, lambda series: series.get((HANDLED, "Classify", "NOT_FOUND")) == 5)
    assert {key for key in series if key[0] == HANDLED} == {
        (HANDLED, "unknown", "UNIMPLEMENTED"),
        (HANDLED, "Classify", "NOT_FOUND"),
    }
    assert series["photos_total", "rejected", "MODEL_NOT_FOUND"] == 5


async def test_metrics_are_off_by_default_and_their_port_must_be_free(serve: Serve) -> None:
    assert (await serve()).server.metrics_address == ""  # type: ignore[attr-defined]
    port = (await serve(metrics_port=0)).server.metrics_address.rpartition(":")[2]  # type: ignore[attr-defined]
    server = Server(Settings(port=0, metrics_port=int(port)))
    with pytest.raises(ServerError, match=f"The metrics cannot be served on 127.0.0.1:{port}: Address already in use"):
        await server.start()
    await server.stop()


# Request ids and logs


class FailingEngine:
    batch_sizes = (4,)

    def run(self, photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        raise RuntimeError("/etc/secret is missing")


@pytest.fixture
def logs(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that reads the log lines; tests call `configure_logging` after stderr is captured."""

    def read_lines() -> list[dict[str, Any]]:
        flush_logs()
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    yield read_lines
    structlog.reset_defaults()


def named(request_id: str) -> dict[str, Any]:
    return {"metadata": (("x-request-id", request_id),)}


def id_of(trailing: Any) -> str:
    [request_id] = [value for key, value in trailing if key == "x-request-id"]
    return str(request_id)


async def test_request_id_is_returned_in_trailing_metadata(serve: Serve) -> None:
    channel = await serve()
    call = service(channel).GetModel(pb.GetModelRequest(), **named("my-call.7"))
    await call
    assert id_of(await call.trailing_metadata()) == "my-call.7"
    for metadata in ({}, named("x" * 65), named('"} forged')):
        call = service(channel).GetModel(pb.GetModelRequest(), **metadata)
        await call
        assert len(id_of(await call.trailing_metadata())) == 32, "a missing or invalid id is replaced"


async def test_unhandled_exception_has_the_request_id_in_its_status_and_in_the_log(
    serve: Serve, paint: Paint, logs: Any
) -> None:
    configure_logging()
    channel = await serve(engine=FailingEngine(), access_log=True)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))), **named("my-call"))
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.RequestInfo()
    assert status.details[1].Unpack(info)
    assert info.request_id == id_of(caught.value.trailing_metadata()) == "my-call"
    assert "under the request id my-call" in status.message
    assert "secret" not in str(status)
    events: dict[str, Any] = {}
    async with asyncio.timeout(60):
        while "rpc" not in events:  # logged at the end of the RPC, perhaps after its client has the status
            events |= {line["event"]: line for line in logs() if line.get("request_id") == "my-call"}
            await asyncio.sleep(0.01)
    assert "secret" in str(events["unhandled_exception"]["exception"])
    rpc = events["rpc"]
    assert (rpc["method"], rpc["code"], rpc["photos"], rpc["client"]) == ("Classify", "INTERNAL", 1, "ipv4:127.0.0.1")


async def test_access_log_is_off_by_default(serve: Serve, logs: Any) -> None:
    configure_logging()
    channel = await serve()
    for _ in range(5):
        await service(channel).GetModel(pb.GetModelRequest())
        await asyncio.sleep(0.02)
    assert logs() == []


class ClosedStderr:
    """A stderr whose pipe is closed."""

    def isatty(self) -> bool:
        return False

    def write(self, _: str) -> int:
        raise BrokenPipeError("/var/log/secret has no reader")

    def flush(self) -> None:
        raise BrokenPipeError


async def test_log_that_cannot_be_written_fails_no_request(
    serve: Serve, paint: Paint, logs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", ClosedStderr())
    configure_logging()
    channel = await serve(engine=FailingEngine(), access_log=True)
    await service(channel).GetModel(pb.GetModelRequest())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(caught.value)


class StuckStderr(ClosedStderr):
    """A stderr whose pipe is full, and that nobody reads."""

    def __init__(self) -> None:
        self.is_read = threading.Event()
        self.lines: list[str] = []

    def write(self, text: str) -> int:
        self.is_read.wait(60)
        self.lines.append(text)
        return len(text)

    def flush(self) -> None:
        pass


async def test_log_that_nobody_reads_blocks_no_request_and_dropped_lines_are_counted(
    serve: Serve, logs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = StuckStderr()
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setattr(LogWriter.__init__, "__defaults__", (3,))
    configure_logging()
    channel = await serve(metrics_port=0, access_log=True)
    async with asyncio.timeout(30):
        for _ in range(20):
            await service(channel).GetModel(pb.GetModelRequest())
        await until(channel, lambda series: series["log_lines_dropped_total",] >= 10)
    stderr.is_read.set()
    assert await asyncio.to_thread(flush_logs, 30)
    assert any("log_lines_dropped" in line for line in stderr.lines)
