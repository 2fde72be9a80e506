"""What Prometheus reads: counts and times of calls and photos.

Labels take only values that this server knows (methods, codes, reasons, constructors of its models), never what a
caller sent, so the number of series is bounded.
"""

import threading
import time
from collections.abc import Callable
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, start_http_server

from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import Level, Prediction
from planespotter_server.serving.batcher import BatchObserver
from planespotter_server.settings import ServerError

disable_created_metrics()  # type: ignore[no-untyped-call]  # else each series has a twin that says since when it is counted

METHODS = {method.name for method in pb.DESCRIPTOR.services_by_name["ClassifierService"].methods}

# From one photo on a GPU to a queue that is full, in seconds.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics(BatchObserver):
    """The metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # How often which method ended with which code.
        self._requests = self._counter("requests", "Calls that ended, by method and gRPC code.", "rpc", "code")
        self._photos = self._counter("photos", "Photos, by what became of them and why.", "outcome", "reason")
        self._answers = self._counter(
            "answers",
            "Answers, by constructor (empty if unknown) and by how deep they are sure.",
            "constructor",
            "level",
        )
        self._rows = self._counter("device_rows", "Photos that the device was given, each as often as it was.")
        self._wait = self._histogram("queue_wait_seconds", "From decoded to given to the device.", SECONDS)
        self._batch = self._histogram("batch_size", "Photos given to the device at a time.", SIZES)
        self._decode = self._histogram("decode_seconds", "Decoding of one photo.", SECONDS)
        self._device = self._histogram("device_seconds", "One batch on the device.", SECONDS)
        self._photo = self._histogram("photo_seconds", "From a photo's arrival to its answer or refusal.", SECONDS)

    def watch(self, queue_depth: Callable[[], int], photos_in_work: Callable[[], int]) -> None:
        """Read these two whenever Prometheus asks."""
        for name, text, read in (
            ("queue_depth", "Decoded photos that wait for the device.", queue_depth),
            ("photos_in_work", "Photos between arrival and answer.", photos_in_work),
        ):
            Gauge(f"planespotter_{name}", text, registry=self.registry).set_function(read)

    def observe_queue_wait(self, seconds: float) -> None:
        """Take note of how long a photo waited for the device."""
        self._wait.observe(seconds)

    def observe_batch(self, size: int, seconds: float) -> None:
        """Take note of a batch on the device."""
        self._rows.inc(size)
        self._batch.observe(size)
        self._device.observe(seconds)

    def decoded(self, seconds: float) -> None:
        """Take note of how long the decoding of a photo took."""
        self._decode.observe(seconds)

    def called(self, rpc: str, code: str) -> None:
        """Take note of a call that ended with a gRPC code; a method that is not of this contract counts as other."""
        self._requests.labels(rpc if rpc in METHODS else "other", code).inc()

    def photo(self) -> "Photo":
        """Take note that a photo has come; say what became of it when that is known."""
        return Photo(self)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"planespotter_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"planespotter_{name}", text, registry=self.registry, buckets=buckets)


class Photo:
    """A photo from its arrival on. The first that is said of its end counts."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._arrived = time.perf_counter()
        self._ended = False

    def answered(self, answer: Prediction) -> None:
        """Take note of its answer."""
        if self._end("answered", ""):
            constructor = "" if answer.level is Level.UNKNOWN else answer.label.constructor
            self._metrics._answers.labels(constructor, answer.level.value).inc()

    def refused(self, reason: str) -> None:
        """Take note that it has a status with this reason instead."""
        self._end("refused", reason)

    def left(self) -> None:
        """Take note that its caller has gone."""
        self._end("cancelled", "")

    def _end(self, outcome: str, reason: str) -> bool:
        if self._ended:
            return False
        self._ended = True
        self._metrics._photos.labels(outcome, reason).inc()
        self._metrics._photo.observe(time.perf_counter() - self._arrived)
        return True


class Page:
    """A page of metrics over HTTP, in a thread of its own. Raises ServerError if it cannot listen there."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        self._server: WSGIServer
        self._thread: threading.Thread
        try:
            self._server, self._thread = start_http_server(port, host, metrics.registry)
        except OSError as error:
            raise ServerError(
                f"The metrics cannot be shown on {host}:{port}: {error.strerror}. The port must be free and the host "
                "an address of this machine. Choose others with --metrics-host and --metrics-port."
            ) from error
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Show it no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
