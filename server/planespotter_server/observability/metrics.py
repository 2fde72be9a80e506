"""Prometheus metrics: counters and durations of RPCs, photos and batches.

Labels only have values that this server knows (methods, codes, reasons, constructors of its models), never text that a
client sent, so that the number of time series is bounded.
"""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from wsgiref.simple_server import WSGIServer

from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import Level, Prediction
from planespotter_server.observability.logging import dropped_log_lines
from planespotter_server.serving.batcher import BatchObserver
from planespotter_server.settings import ServerError

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per series, with its creation time

RPC_LABELS = ("grpc_type", "grpc_service", "grpc_method")
UNKNOWN_RPC = ("unknown", "unknown", "unknown")

# Buckets in seconds, from one photo on a GPU to a full queue; and in photos.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


def _rpcs(*services: Any) -> dict[str, tuple[str, str, str]]:
    """Return the values of RPC_LABELS by path, for each method of the service descriptors."""
    types = {(False, False): "unary", (True, False): "client_stream", (False, True): "server_stream"}
    return {
        f"/{service.full_name}/{method.name}": (
            types.get((method.client_streaming, method.server_streaming), "bidi_stream"),
            service.full_name,
            method.name,
        )
        for service in services
        for method in service.methods
    }


RPCS = _rpcs(
    pb.DESCRIPTOR.services_by_name["ClassifierService"], reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
)


class _Children(dict[tuple[str, ...], Any]):
    """The time series of a metric by the values of its labels, which takes a tenth of the time of `metric.labels`."""

    def __init__(self, metric: Any) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, values: tuple[str, ...]) -> Any:
        child = self[values] = self._metric.labels(*values)
        return child


class LogLines(Collector):
    """Counts the log lines that were dropped, which the log itself cannot say."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Return the current count."""
        yield CounterMetricFamily(
            "planespotter_log_lines_dropped",
            "Log lines dropped because the log could not be written fast enough.",
            value=dropped_log_lines(),
        )


class Metrics(BatchObserver):
    """The metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(LogLines())
        ProcessCollector(registry=self.registry)  # memory, processor time and start of the process, on Linux
        # The names and labels that gRPC servers in other languages use too.
        self._rpcs_started = _Children(self._counter("grpc_server_started", "RPCs started.", *RPC_LABELS))
        self._rpcs_handled = _Children(
            self._counter("grpc_server_handled", "RPCs completed, by code.", *RPC_LABELS, "grpc_code")
        )
        self._rpc_seconds = _Children(
            self._histogram("grpc_server_handling_seconds", "Duration of RPCs, in seconds.", SECONDS, *RPC_LABELS)
        )
        self._photos = _Children(
            self._counter("planespotter_photos", "Photos, by outcome and reason.", "outcome", "reason")
        )
        self._predictions = _Children(
            self._counter(
                "planespotter_predictions",
                "Predictions, by constructor (empty if unknown) and confidence level.",
                "constructor",
                "level",
            )
        )
        self._examples = self._counter(
            "planespotter_inference_examples", "Photos passed to the device, each as often as it was."
        )
        self._batch_size = self._histogram("planespotter_inference_batch_size", "Photos per batch.", SIZES)
        self._queue_wait = self._histogram(
            "planespotter_queue_wait_seconds", "Time from decoded to passed to the device, in seconds.", SECONDS
        )
        self._decode_seconds = self._histogram(
            "planespotter_decode_duration_seconds", "Time to decode a photo, in seconds.", SECONDS
        )
        self._inference_seconds = self._histogram(
            "planespotter_inference_duration_seconds", "Time of a batch on the device, in seconds.", SECONDS
        )
        self._photo_seconds = self._histogram(
            "planespotter_photo_duration_seconds", "Time from a photo's arrival to its result, in seconds.", SECONDS
        )
        self.bundle_loads_stuck = Gauge(
            "planespotter_bundle_loads_stuck",
            "Abandoned loads of bundles that still occupy a core: over load_timeout, or the bundle was replaced.",
            registry=self.registry,
        )

        self._certificate_expiry: Gauge | None = None

    def set_certificate_expiry(self, expiry: datetime) -> None:
        """Set when the certificate of the server expires. A server without TLS has no such time series."""
        if self._certificate_expiry is None:
            self._certificate_expiry = Gauge(
                "planespotter_certificate_expiry_timestamp_seconds",
                "When the server's certificate expires, in seconds since 1970-01-01 UTC.",
                registry=self.registry,
            )
        self._certificate_expiry.set(expiry.timestamp())

    def add_gauges(self, queue_depth: Callable[[], int], photos_in_flight: Callable[[], int]) -> None:
        """Add gauges whose values are read at each scrape."""
        for name, text, read in (
            ("planespotter_queue_depth", "Decoded photos that wait for the device.", queue_depth),
            ("planespotter_photos_in_flight", "Photos between arrival and result.", photos_in_flight),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)

    def observe_queue_wait(self, seconds: float) -> None:
        """Record how long a photo waited for the device."""
        self._queue_wait.observe(seconds)

    def observe_batch(self, size: int, seconds: float) -> None:
        """Record a batch on the device."""
        self._examples.inc(size)
        self._batch_size.observe(size)
        self._inference_seconds.observe(seconds)

    def observe_decode(self, seconds: float) -> None:
        """Record how long it took to decode a photo."""
        self._decode_seconds.observe(seconds)

    def start_rpc(self, path: str) -> None:
        """Record that an RPC has started; `path` is /SERVICE/METHOD as the client sent it."""
        self._rpcs_started[RPCS.get(path, UNKNOWN_RPC)].inc()

    def end_rpc(self, path: str, code: str, seconds: float) -> None:
        """Record that an RPC has ended with a gRPC code, such as "OK"."""
        labels = RPCS.get(path, UNKNOWN_RPC)
        self._rpcs_handled[*labels, code].inc()
        self._rpc_seconds[labels].observe(seconds)

    def start_photo(self) -> "PhotoRecord":
        """Record that a photo has arrived; its outcome is recorded later."""
        return PhotoRecord(self)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)


class PhotoRecord:
    """Records the outcome of one photo; the first outcome counts."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._arrived_at = time.perf_counter()
        self._ended = False

    def predicted(self, prediction: Prediction) -> None:
        """Record that it has a prediction."""
        if self._end("predicted", ""):
            constructor = "" if prediction.level is Level.UNKNOWN else prediction.label.constructor
            self._metrics._predictions[constructor, prediction.level.value].inc()

    def rejected(self, reason: str) -> None:
        """Record that it has an error with this reason."""
        self._end("rejected", reason)

    def cancelled(self) -> None:
        """Record that its caller cancelled or disconnected."""
        self._end("cancelled", "")

    def _end(self, outcome: str, reason: str) -> bool:
        if self._ended:
            return False
        self._ended = True
        self._metrics._photos[outcome, reason].inc()
        self._metrics._photo_seconds.observe(time.perf_counter() - self._arrived_at)
        return True


class MetricsServer:
    """Serves the metrics of a registry over HTTP, in a separate thread.

    Raises:
        ServerError: The address cannot be listened on.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        self._server: WSGIServer
        self._thread: threading.Thread
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise ServerError(
                f"The metrics cannot be served on {host}:{port}: {error.strerror}. Choose a free port and an address "
                "of this machine with --metrics-port and --metrics-host."
            ) from error
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
