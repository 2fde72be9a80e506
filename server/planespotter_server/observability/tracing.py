"""OpenTelemetry traces: a span per RPC, in it a span per photo, in that a span per step (decode, queue, inference).

OpenTelemetry's environment variables configure sampling, headers and certificates, such as OTEL_TRACES_SAMPLER. This
module is imported only if tracing is on.
"""

import os
import threading
import time
from collections.abc import Mapping

import grpc
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

# How long a stopping server waits until its last spans are sent.
FLUSH_SECONDS = 2.0

# Codes that OpenTelemetry's conventions count as errors of the server; the others are errors of the client.
SERVER_ERRORS = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}

_propagator = TraceContextTextMapPropagator()


class PhotoSpans:
    """The span of one photo, and one span per step. Its methods may be called in any thread."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._parent = trace.set_span_in_context(span)
        self._started_at = time.time_ns()

    def end_step(self, name: str) -> None:
        """Record that a step has ended; it began when the one before it ended."""
        now = time.time_ns()
        self._tracer.start_span(name, context=self._parent, start_time=self._started_at).end(end_time=now)
        self._started_at = now

    def end(self) -> None:
        """End the span of the photo."""
        self._span.end()


class Tracing:
    """Makes spans and exports them.

    Args:
        endpoint: Address of the collector, for OTLP over gRPC.
    """

    def __init__(self, endpoint: str) -> None:
        attributes = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "planespotter"}
        self._provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter(endpoint=endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("planespotter")

    def start_rpc(self, method: str, metadata: Mapping[str, str | bytes], request_id: str) -> trace.Span:
        """Start the span of the RPC that the current task handles.

        Args:
            method: Path of the method: /SERVICE/METHOD.
            metadata: Metadata of the RPC; the span is a child of the one in its `traceparent`.
            request_id: Attribute of the span.
        """
        service, _, rpc = method.removeprefix("/").rpartition("/")
        texts = {name: value for name, value in metadata.items() if isinstance(value, str)}
        span = self._tracer.start_span(
            f"{service}/{rpc}",
            context=_propagator.extract(texts),
            kind=trace.SpanKind.SERVER,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": rpc,
                "planespotter.request_id": request_id,
            },
        )
        context.attach(trace.set_span_in_context(span))  # never detached: the task ends with the RPC
        return span

    def end_rpc(self, span: trace.Span, code: grpc.StatusCode) -> None:
        """End the span of an RPC with its status code."""
        span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code in SERVER_ERRORS:
            span.set_status(trace.StatusCode.ERROR, code.name)
        span.end()

    def photo(self) -> "PhotoSpans":
        """Start the span of one photo, within that of the current RPC."""
        return PhotoSpans(self._tracer, self._tracer.start_span("photo"))

    def close(self) -> None:
        """Send the remaining spans, for at most twice FLUSH_SECONDS."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)
        if sending.is_alive():
            self._exporter.shutdown()  # stops its retries to reach an absent collector
            sending.join(FLUSH_SECONDS)
