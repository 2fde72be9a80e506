"""What is seen of a server: metrics, and the id that a call has in its log, its answer and its error."""

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

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_models import Bundle, Engine
from planespotter_server.observability.logging import configure_logs
from planespotter_server.observability.metrics import METHODS
from planespotter_server.server import Server
from planespotter_server.settings import ServerError, Settings

Serve = Callable[..., Awaitable[grpc.aio.Channel]]
Paint = Callable[..., bytes]
Series = dict[tuple[str, ...], float]

LABELS = ("rpc", "code", "outcome", "reason", "constructor", "level")


def service(channel: grpc.aio.Channel) -> "pb_grpc.ClassifierServiceAsyncStub":
    return pb_grpc.ClassifierServiceStub(channel)


async def read(channel: grpc.aio.Channel) -> Series:
    """Return the metrics as Prometheus reads them, by name and values of labels, each without "planespotter_"."""
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
    """Read until `condition` holds: a call is counted a moment after its caller has its answer."""
    async with asyncio.timeout(60):
        while not condition(series := await read(channel)):  # noqa: ASYNC110  (counting sets no event)
            await asyncio.sleep(0.02)
    return series


async def test_calls_photos_and_answers_are_counted(serve: Serve, paint: Paint) -> None:
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
    assert len([answer async for answer in service(channel).StreamClassify(iter(requests))]) == 3
    await service(channel).GetModel(pb.GetModelRequest())
    await service(channel).ListModels(pb.ListModelsRequest())
    await service(channel).GetServerInfo(pb.GetServerInfoRequest())
    with pytest.raises(grpc.aio.AioRpcError):
        await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=b"no photo")))
    with pytest.raises(grpc.aio.AioRpcError):
        await channel.unary_unary("/planespotter.v1.ClassifierService/Guess")(b"")  # type: ignore[arg-type]
    calls = len(METHODS) + 2
    series = await until(
        channel, lambda series: calls == sum(value for key, value in series.items() if key[0] == "requests_total")
    )
    assert series["requests_total", "other", "UNIMPLEMENTED"] == 1
    for rpc in METHODS:
        assert series["requests_total", rpc, "OK"] == 1
    assert series["requests_total", "Classify", "INVALID_ARGUMENT"] == 1
    assert {key[1:]: value for key, value in series.items() if key[0] == "photos_total"} == {
        ("answered", ""): 4,
        ("refused", "PHOTO_EMPTY"): 2,
        ("refused", "PHOTO_FORMAT_UNSUPPORTED"): 2,
    }
    assert {key[1:]: value for key, value in series.items() if key[0] == "answers_total"} == {
        ("Boeing", "family"): 1,
        ("Airbus", "family"): 1,
        ("", "unknown"): 1,
        ("Boeing", "model"): 1,
    }
    assert series["device_rows_total",] == series["batch_size_sum",] == series["queue_wait_seconds_count",] == 4
    assert series["decode_seconds_count",] == series["photo_seconds_count",] == 8
    assert series["device_seconds_count",] == series["batch_size_count",] <= 4
    assert series["queue_depth",] == series["photos_in_work",] == 0


class HeldUp:
    """An engine that waits for leave before it runs."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.batch_sizes, self.leave = engine, engine.batch_sizes, threading.Event()

    def run(self, photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        self.leave.wait(300)
        return self.engine.run(photos)


@pytest.fixture
async def held_up(loaded: tuple[Bundle, Engine]) -> AsyncIterator[HeldUp]:
    engine = HeldUp(loaded[1])
    yield engine
    engine.leave.set()


@pytest.mark.slow
async def test_a_caller_that_has_left_costs_no_row_of_the_device(serve: Serve, paint: Paint, held_up: HeldUp) -> None:
    channel = await serve(engine=held_up, metrics_port=0)
    first = service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))))
    await until(channel, lambda series: series["queue_wait_seconds_count",] == 1)  # the device has taken it
    unary = service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))))
    stream = service(channel).StreamClassify()
    await stream.write(pb.StreamClassifyRequest(photo=pb.Photo(content=paint("747"))))
    await until(channel, lambda series: series["queue_depth",] == series["photos_in_work",] - 1 == 2)
    unary.cancel()
    stream.cancel()
    await until(channel, lambda series: series.get(("photos_total", "cancelled", "")) == 2)
    for seconds in (1, 5, 25):  # a call that has not even arrived when its time is up is no call to the server
        with pytest.raises(grpc.aio.AioRpcError):
            await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))), timeout=seconds)
        series = await until(channel, lambda series: series["photos_in_work",] == 1)
        if series["photos_total", "cancelled", ""] > 2:
            break
    held_up.leave.set()
    await first
    # Whether a call whose time is up is late or was cancelled is a matter of who notices first, it or its caller.
    ends = [("requests_total", "Classify", code) for code in ("CANCELLED", "DEADLINE_EXCEEDED")]
    await until(channel, lambda series: sum(series.get(end, 0) for end in ends) >= 2)
    series = await until(channel, lambda series: series.get(("requests_total", "Classify", "OK")) == 1)
    assert series["photos_total", "cancelled", ""] >= 3
    assert series["device_rows_total",] == 1
    assert series["queue_depth",] == 0
    assert series["requests_total", "StreamClassify", "CANCELLED"] == 1


async def test_no_caller_can_make_new_series(serve: Serve, paint: Paint) -> None:
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
    series = await until(channel, lambda series: series.get(("requests_total", "Classify", "NOT_FOUND")) == 5)
    assert {key for key in series if key[0] == "requests_total"} == {
        ("requests_total", "other", "UNIMPLEMENTED"),
        ("requests_total", "Classify", "NOT_FOUND"),
    }
    assert series["photos_total", "refused", "MODEL_NOT_FOUND"] == 5


async def test_metrics_are_off_unless_asked_for_and_their_port_must_be_free(serve: Serve) -> None:
    assert (await serve()).server.metrics_address == ""  # type: ignore[attr-defined]
    taken = (await serve(metrics_port=0)).server.metrics_address.rpartition(":")[2]  # type: ignore[attr-defined]
    server = Server(Settings(port=0, metrics_port=int(taken)))
    with pytest.raises(ServerError, match=f"The metrics cannot be shown on 127.0.0.1:{taken}: Address already in use"):
        await server.start()
    await server.stop()


# The id of a call


class Broken:
    batch_sizes = (4,)

    def run(self, photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        raise RuntimeError("/etc/secret is not where it was")


@pytest.fixture
def logs(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what was logged; `configure_logs` must be called in the test, where what it writes to is captured."""
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    structlog.reset_defaults()


def named(request_id: str) -> dict[str, Any]:
    return {"metadata": (("x-request-id", request_id),)}


def id_of(trailing: Any) -> str:
    [found] = [value for key, value in trailing if key == "x-request-id"]
    return str(found)


async def test_the_id_of_a_call_comes_back_with_its_answer(serve: Serve) -> None:
    channel = await serve()
    call = service(channel).GetModel(pb.GetModelRequest(), **named("my-call.7"))
    await call
    assert id_of(await call.trailing_metadata()) == "my-call.7"
    for given in ({}, named("x" * 65), named('"} forged')):
        call = service(channel).GetModel(pb.GetModelRequest(), **given)
        await call
        assert len(id_of(await call.trailing_metadata())) == 32, "one that is missing or unfit is replaced"


async def test_a_bug_has_the_id_of_its_call_in_the_error_and_in_the_log(serve: Serve, paint: Paint, logs: Any) -> None:
    configure_logs()
    channel = await serve(engine=Broken(), access_log=True)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))), **named("my-call"))
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.RequestInfo()
    assert status.details[1].Unpack(info)
    assert info.request_id == id_of(caught.value.trailing_metadata()) == "my-call"
    assert "under the request id my-call" in status.message
    assert "secret" not in str(status)
    mine: dict[str, Any] = {}
    async with asyncio.timeout(60):
        while "call" not in mine:  # it is logged once the call is over, which its caller may hear before
            mine |= {line["event"]: line for line in logs() if line.get("request_id") == "my-call"}
            await asyncio.sleep(0.01)
    assert "secret" in str(mine["bug"]["exception"])
    call = mine["call"]
    assert (call["rpc"], call["code"], call["photos"], call["client"]) == ("Classify", "INTERNAL", 1, "ipv4:127.0.0.1")


async def test_calls_are_logged_only_on_request(serve: Serve, logs: Any) -> None:
    configure_logs()
    channel = await serve()
    for _ in range(5):
        await service(channel).GetModel(pb.GetModelRequest())
        await asyncio.sleep(0.02)
    assert logs() == []


class Closed:
    """A stderr whose reader has gone."""

    def isatty(self) -> bool:
        return False

    def write(self, _: str) -> int:
        raise BrokenPipeError("nobody reads /var/log/secret")

    def flush(self) -> None:
        raise BrokenPipeError


async def test_a_log_that_cannot_be_written_to_changes_no_answer(
    serve: Serve, paint: Paint, logs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", Closed())
    configure_logs()
    channel = await serve(engine=Broken(), access_log=True)
    await service(channel).GetModel(pb.GetModelRequest())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(caught.value)
