"""Tracing: the spans that an OpenTelemetry collector receives."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client.commands import main

Serve = Callable[..., Awaitable[grpc.aio.Channel]]
Paint = Callable[..., bytes]

CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector that stores the spans it receives at `address`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.address = ""

    async def Export(  # noqa: N802
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            self.services |= {
                attribute.value.string_value
                for attribute in resource.resource.attributes
                if attribute.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def below(self, parent: Span) -> list[Span]:
        children = [span for span in self.spans if span.parent_span_id == parent.span_id]
        return sorted(children, key=lambda span: span.start_time_unix_nano)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield collector
    await server.stop(None)


def attributes(span: Span) -> dict[str, str | int]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


async def test_rpc_continues_the_trace_of_its_client_with_a_span_per_step_of_its_photo(
    serve: Serve, paint: Paint, collector: Collector
) -> None:
    channel = await serve(otlp_endpoint=collector.address)
    metadata = (("traceparent", f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"), ("x-request-id", "job-7"))
    await pb_grpc.ClassifierServiceStub(channel).Classify(
        pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))), metadata=metadata
    )
    await channel.server.stop()  # type: ignore[attr-defined]  # it sends the remaining spans

    [rpc] = collector.named("planespotter.v1.ClassifierService/Classify")
    assert (rpc.trace_id.hex(), rpc.parent_span_id.hex()) == (CALLER_TRACE, CALLER_SPAN)
    assert attributes(rpc)["planespotter.request_id"] == "job-7"
    assert attributes(rpc)["rpc.grpc.status_code"] == 0
    [photo] = collector.below(rpc)
    assert photo.name == "photo"
    steps = collector.below(photo)
    assert [step.name for step in steps] == ["decode", "queue", "inference"]
    assert all(step.trace_id == rpc.trace_id for step in steps)
    times = [time for step in steps for time in (step.start_time_unix_nano, step.end_time_unix_nano)]
    assert times == sorted(times)
    assert collector.services == {"planespotter"}


async def test_each_photo_of_a_stream_has_a_span_even_if_it_fails(
    serve: Serve, paint: Paint, collector: Collector
) -> None:
    channel = await serve(otlp_endpoint=collector.address)
    requests = [
        pb.StreamClassifyRequest(photo=pb.Photo(content=photo)) for photo in (paint("747"), b"no photo", paint("A380"))
    ]
    stub = pb_grpc.ClassifierServiceStub(channel)
    assert len([response async for response in stub.StreamClassify(iter(requests))]) == 3
    await channel.server.stop()  # type: ignore[attr-defined]

    [rpc] = collector.named("planespotter.v1.ClassifierService/StreamClassify")
    photos = collector.below(rpc)
    assert [photo.name for photo in photos] == ["photo"] * 3
    assert sorted(len(collector.below(photo)) for photo in photos) == [0, 3, 3]
    [failed] = [photo for photo in photos if not collector.below(photo)]
    assert "no photo" not in str(failed), "errors are not exported"


@pytest.mark.slow
async def test_unreachable_collector_fails_no_request(serve: Serve, paint: Paint) -> None:
    channel = await serve(otlp_endpoint="http://127.0.0.1:1")
    stub = pb_grpc.ClassifierServiceStub(channel)
    assert (await stub.Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))))).HasField("prediction")
    async with asyncio.timeout(60):
        await channel.server.stop()  # type: ignore[attr-defined]
    assert not [thread.name for thread in threading.enumerate() if "Otel" in thread.name]


def test_missing_extra_is_named_in_the_error() -> None:
    code = compile("import not_installed", "tracing.py", "exec")
    with pytest.raises(ModuleNotFoundError) as missing:
        exec(code, {"__name__": "planespotter_server.observability.tracing"})
    assert "[tracing]'" in str(main.user_message(missing.value))
