"""Spans for OpenTelemetry: one for each call, in it one for each photo, and in that one for each step of its way.

Which calls are traced, and with which headers and certificates spans are sent, is said with OpenTelemetry's own
variables, such as OTEL_TRACES_SAMPLER. This module is imported only if traces are asked for.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import grpc
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

# How long a server that stops waits for its last spans to be sent.
FLUSH_SECONDS = 2.0

# Codes for which the server is to blame; the others are the caller's doing, as OpenTelemetry's conventions have it.
FAULTS = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}

_from_caller = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans and sends them to the collector at `endpoint`, by OTLP over gRPC."""

    def __init__(self, endpoint: str) -> None:
        named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "planespotter"}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter(endpoint=endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("planespotter")

    def begin_call(self, method: str, metadata: Mapping[str, str | bytes], request_id: str) -> trace.Span:
        """Return the span of the call that this task answers, a child of the one in its metadata (traceparent)."""
        service, _, rpc = method.removeprefix("/").rpartition("/")
        texts = {name: value for name, value in metadata.items() if isinstance(value, str)}
        span = self._tracer.start_span(
            f"{service}/{rpc}",
            context=_from_caller.extract(texts),
            kind=trace.SpanKind.SERVER,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": rpc,
                "planespotter.request_id": request_id,
            },
        )
        context.attach(trace.set_span_in_context(span))  # the task ends with the call, so nobody takes it off
        return span

    def end_call(self, span: trace.Span, code: grpc.StatusCode) -> None:
        """End the span of a call."""
        span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code in FAULTS:
            span.set_status(trace.StatusCode.ERROR, code.name)
        span.end()

    @contextmanager
    def photo(self) -> Iterator[Callable[[str], None]]:
        """Make a span of one photo. Call what this yields at the end of each step of its way, with the step's name."""
        with self._tracer.start_as_current_span("photo", record_exception=False) as span:
            inside = trace.set_span_in_context(span)
            begun = time.time_ns()

            def end_step(name: str) -> None:
                nonlocal begun
                now = time.time_ns()
                self._tracer.start_span(name, context=inside, start_time=begun).end(end_time=now)
                begun = now

            yield end_step

    def close(self) -> None:
        """Send what is left, but wait only so long for it."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)
        if sending.is_alive():
            self._exporter.shutdown()  # which ends its attempts to reach a collector that is not there
            sending.join(FLUSH_SECONDS)
