"""Workers: several server processes on one port, started, supervised, measured and stopped as one.

The kernel assigns each connection to a worker (SO_REUSEPORT), which has an equal share of the cores and of the limits.
One that ends unexpectedly is replaced; the streams of its clients resume on another worker. The supervisor makes no
gRPC object and classifies nothing: it forwards signals, and sums the metrics.

A worker starts its own session, so that Ctrl-C in a terminal reaches the supervisor alone; it drains when the
supervisor is gone.
"""

import asyncio
import contextlib
import itertools
import math
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from planespotter_models import BundleError, cores
from planespotter_models.engines.hardware import has_accelerator
from planespotter_server.observability.logging import configure_logging
from planespotter_server.observability.metrics import MetricsServer
from planespotter_server.server import (
    EXIT_DRAINED,
    EXIT_FAILED,
    UNIX_SOCKET,
    SharedPort,
    event_loop,
    exit_process,
    serve,
    signal_queue,
    try_port,
)
from planespotter_server.settings import ServerError, Settings

# Seconds before a worker that ended is replaced: doubled from the first to the last for one that ends again and again.
MIN_RESTART_SECONDS, MAX_RESTART_SECONDS = 1.0, 30.0
# A worker that has served for this long starts with the shortest pause again.
STABLE_SECONDS = 60.0
# Failures in a row, without such a time between them, after which all workers are stopped.
MAX_FAILURES = 6
# Time for a worker to report its metrics.
METRICS_SECONDS = 2.0

# Limits of which each worker has an equal share, as of those of tokens. The others are those of a photo or a stream.
SHARED_LIMITS = (
    "max_in_flight_photos",
    "max_in_flight_bytes",
    "max_memory_bytes",
    "max_streams",
    "max_streams_per_client",
    "max_concurrent_calls_per_client",
    "decode_threads",
)
# Metrics that are the same in each worker, or of which the smallest is meant.
SMALLEST = ("process_start_time_seconds", "planespotter_certificate_expiry_timestamp_seconds")

log = structlog.get_logger()


def share(settings: Settings) -> Settings:
    """Return the settings of each worker: its share of the limits and of the cores.

    A share is rounded up, so that no limit becomes 0.

    Raises:
        ServerError: The settings do not allow several workers.
    """
    if settings.host.startswith(UNIX_SOCKET):
        raise ServerError("workers is above 1, and the server listens on a Unix socket. Choose 1, or a port.")
    if has_accelerator():
        raise ServerError(
            "workers is above 1, and this machine has an accelerator, which one process must own. Choose 1."
        )
    values: dict[str, Any] = {name: math.ceil(getattr(settings, name) / settings.workers) for name in SHARED_LIMITS}
    values["engine_threads"] = max(1, (settings.engine_threads or cores()) // settings.workers)
    values["metrics_port"] = None  # the supervisor's
    return settings.model_copy(update=values)


async def serve_with_workers(settings: Settings, announce: Callable[[str], None]) -> int:
    """Serve with as many processes as `settings.workers` asks for; see `serve` and `supervise`."""
    workers = settings.workers or (1 if has_accelerator() else cores())
    if workers == 1:
        return await serve(settings, announce)
    return await supervise(settings.model_copy(update={"workers": workers}), announce)


async def supervise(settings: Settings, announce: Callable[[str], None]) -> int:
    """Serve with `settings.workers` processes until SIGTERM, SIGINT or SIGHUP; see `serve` for the signals.

    Args:
        settings: What to serve, and how.
        announce: Called with the startup banner once all workers are ready.

    Returns:
        The exit code: 0 all workers drained, 1 photos dropped, 75 a worker fails at each start.

    Raises:
        ServerError: The server cannot start.
    """
    signals = signal_queue()
    each = share(settings)
    with _reserved_port(settings) as port:
        supervisor = Supervisor(each.model_copy(update={"port": port}), settings)
        metrics = None
        if settings.metrics_port is not None:
            registry = CollectorRegistry()
            registry.register(SummedMetrics(supervisor.collect))
            metrics = MetricsServer(registry, settings.metrics_host, settings.metrics_port)
            supervisor.total = settings.model_copy(update={"metrics_port": metrics.port})
        try:
            return await supervisor.run(signals, announce)
        finally:
            if metrics is not None:
                await asyncio.to_thread(metrics.close)


@contextlib.contextmanager
def _reserved_port(settings: Settings) -> Iterator[int]:
    """Yield the port, which no other server can take while the block runs. Raises ServerError."""
    try:
        try_port(settings.host, settings.port)  # fails if a server without workers has it
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        reserved = socket.socket(family, kind)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(address)  # it does not listen, so it gets no connections
    except OSError as error:
        raise ServerError(
            f"The server cannot listen on {settings.host}:{settings.port}: {error.strerror or error}. Choose a free "
            "port and an address of this machine with --host and --port (0 picks a free port)."
        ) from error
    with reserved:
        yield int(reserved.getsockname()[1])


class Worker:
    """A worker process and the connection to it."""

    def __init__(self, number: int, settings: Settings, total: Settings) -> None:
        self.number = number
        self.started_at = time.monotonic()
        self.ready = asyncio.Event()
        self.banner = ""
        self.error = ""
        """Why it could not start."""
        self.ended = asyncio.Event()
        self.metrics: list[Metric] = []
        """What it has reported last."""
        self._reported = threading.Event()
        self._asking = threading.Lock()
        context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_run_worker, args=(number, settings, total, theirs), daemon=False)
        self.process.start()
        theirs.close()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._receive, name=f"worker_{number}", daemon=True).start()

    def report(self) -> list[Metric]:
        """Ask for its metrics and return them, or the last known ones if it does not respond; in any thread."""
        with self._asking:
            self._reported.clear()
            with contextlib.suppress(OSError):
                self._connection.send("metrics")
                self._reported.wait(METRICS_SECONDS)
            return self.metrics

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.process.is_alive() and self.process.pid is not None:
            os.kill(self.process.pid, number)

    def _receive(self) -> None:
        """Receive its messages until it ends."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                kind, content = self._connection.recv()
                if kind == "metrics":
                    self.metrics = content
                    self._reported.set()
                elif kind == "ready":
                    self.banner = content
                    self._loop.call_soon_threadsafe(self.ready.set)
                else:
                    self.error = content
        self.process.join()
        self._reported.set()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self.ended.set)


class Supervisor:
    """Starts workers, replaces those that end, and stops all.

    Args:
        settings: Settings of each worker.
        total: Settings of all together, for the banner.
    """

    def __init__(self, settings: Settings, total: Settings) -> None:
        self.total = total
        self._settings = settings
        self._workers: dict[int, Worker] = {}
        self._ended_metrics: list[Metric] = []  # the last metrics of workers that have ended
        self._stopping = asyncio.Event()

    async def run(self, signals: "asyncio.Queue[str]", announce: Callable[[str], None]) -> int:
        """Run until a signal arrives and all workers have ended; return the exit code. Raises ServerError."""
        for number in range(self.total.workers):
            self._start(number)
        workers = list(self._workers.values())
        forwarding = asyncio.create_task(self._forward(signals))
        keeping = [asyncio.create_task(self._keep(worker)) for worker in workers]
        all_ready: asyncio.Future[Any] = asyncio.gather(*(worker.ready.wait() for worker in workers))
        try:
            started: list[asyncio.Future[Any]] = [all_ready, *keeping]
            await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)
            if all_ready.done():
                announce(workers[0].banner)
            return max(await asyncio.gather(*keeping))
        finally:
            self._stop(signal.SIGTERM)
            tasks: list[asyncio.Future[Any]] = [forwarding, all_ready, *keeping]
            for task in tasks:
                task.cancel()
            for worker in self._workers.values():
                await worker.ended.wait()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all workers, past ones included; in any thread."""
        workers = list(self._workers.values())
        return summed([*(worker.report() for worker in workers), self._ended_metrics])

    def _start(self, number: int) -> Worker:
        worker = self._workers[number] = Worker(number, self._settings, self.total)
        return worker

    async def _keep(self, worker: Worker) -> int:
        """Replace a worker whenever it ends, until the server stops; return the exit code of the last.

        Raises:
            ServerError: It cannot start.
        """
        failures = 0
        while True:
            await worker.ended.wait()
            code = worker.process.exitcode or EXIT_DRAINED
            if self._stopping.is_set():
                return EXIT_DRAINED if code == -signal.SIGTERM else EXIT_FAILED if code < 0 else code
            if worker.error:
                raise ServerError(worker.error)
            totals = [metric for metric in worker.metrics if metric.type in ("counter", "histogram")]
            self._ended_metrics = summed([self._ended_metrics, totals])
            failures = 1 if time.monotonic() - worker.started_at > STABLE_SECONDS else failures + 1
            if failures >= MAX_FAILURES:
                log.error("workers_failed", exit_code=EXIT_FAILED)
                self._stop(signal.SIGTERM)
                return EXIT_FAILED
            pause = min(MAX_RESTART_SECONDS, MIN_RESTART_SECONDS * 2 ** (failures - 1))
            log.error("worker_ended", worker=worker.number, exit_code=code, then="replace it", seconds=pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
                return EXIT_DRAINED
            worker = self._start(worker.number)

    async def _forward(self, signals: "asyncio.Queue[str]") -> None:
        while True:
            self._stop(getattr(signal, await signals.get()))

    def _stop(self, number: int) -> None:
        self._stopping.set()
        for worker in self._workers.values():
            worker.send_signal(number)


class SummedMetrics(Collector):
    """A collector that returns what `collect` does.

    Args:
        collect: Returns the metrics.
    """

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        return self._collect()

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are known only once workers run."""
        return []


def summed(reports: Iterable[Iterable[Metric]]) -> list[Metric]:
    """Sum metrics by name and labels, those of SMALLEST excepted.

    Args:
        reports: The metrics of each worker.
    """
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for metric in itertools.chain.from_iterable(reports):
        families.setdefault(metric.name, metric)
        samples = values.setdefault(metric.name, {})
        for sample in metric.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            if metric.name in SMALLEST:
                samples[key] = min(samples.get(key, math.inf), sample.value)
            else:
                samples[key] = samples.get(key, 0.0) + sample.value
    result = []
    for name, samples in values.items():
        total = Metric(name, families[name].documentation, families[name].type, families[name].unit)
        for (sample_name, labels), value in samples.items():
            total.add_sample(sample_name, dict(labels), value)
        result.append(total)
    return result


def _run_worker(number: int, settings: Settings, total: Settings, connection: Connection) -> None:
    """Serve in this process, and report to the supervisor."""
    os.setsid()
    configure_logging()
    structlog.contextvars.bind_contextvars(worker=number)
    sending = threading.Lock()

    def send(kind: str, content: object) -> None:
        with sending, contextlib.suppress(OSError):  # the supervisor is gone
            connection.send((kind, content))

    def obey(registry: CollectorRegistry) -> None:
        with contextlib.suppress(EOFError, OSError):
            while connection.recv() == "metrics":
                send("metrics", list(registry.collect()))
        os.kill(os.getpid(), signal.SIGTERM)  # nobody supervises this worker anymore

    def on_start(registry: CollectorRegistry) -> None:
        threading.Thread(target=obey, args=(registry,), name="supervisor", daemon=True).start()

    with asyncio.Runner(loop_factory=event_loop) as runner:
        try:
            code = runner.run(serve(settings, lambda banner: send("ready", banner), SharedPort(total, on_start)))
        except (ServerError, BundleError) as error:
            send("failed", str(error))
            code = 1
        exit_process(code)
