"""Server lifecycle: listen, load and warm up models, serve, drain and stop without losing a photo."""

import asyncio
import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

import planespotter_models
from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_models import Bundle, Engine, EngineChoice, EngineMode, load_engine, read_bundle
from planespotter_server.auth.authentication import Authenticator
from planespotter_server.auth.tls import server_credentials
from planespotter_server.auth.tokens import TokenFile
from planespotter_server.auth.transport_policy import check_transport_policy
from planespotter_server.banner import startup_banner
from planespotter_server.models.repository import ModelRepository, load_in_time
from planespotter_server.observability.logging import flush_logs
from planespotter_server.observability.metrics import Metrics, MetricsServer
from planespotter_server.rpc.interceptor import CallInterceptor, ReceiveLimits
from planespotter_server.rpc.service import ClassifierService
from planespotter_server.serving.concurrency import ConcurrencyLimiter
from planespotter_server.serving.open_streams import AGE_JITTER
from planespotter_server.serving.served_model import ServedModel
from planespotter_server.serving.thread_priority import lower_priority
from planespotter_server.settings import ServerError, Settings

if TYPE_CHECKING:
    from planespotter_server.observability.tracing import Tracing

UNIX_SOCKET = "unix:"
SERVICE = pb.DESCRIPTOR.services_by_name["ClassifierService"].full_name

# If a connection is closed while its client still sends, it is reset, and the client loses the last responses that it
# has not read yet. So clients get this long to read them and to stop sending.
LINGER_SECONDS = 0.5
# Minimum time to send the last responses, even if the grace period is over.
MIN_FLUSH_SECONDS = 1.0
# Maximum time that a change of health waits for clients that watch it.
HEALTH_WATCH_SECONDS = 1.0

# Objects that are created before the youngest are collected; Python's default is 700. A photo leaves a dozen.
GC_THRESHOLD = 10_000

# RPCs that may be open at a time in addition to streams and photos, such as health checks.
SPARE_RPCS = 512
# Maximum age of a connection, as a share of that of a stream. It is less than the shortest age of a stream (gRPC varies
# it by 10 %), so that a client has already looked up its servers again when its stream is drained.
CONNECTION_AGE = 0.7
# Time for the photos of a drained stream, before its connection is closed because of its age.
AGE_GRACE_MS = 600_000
# A vanished client is noticed by pings, and a connection without calls is closed.
CONNECTION_OPTIONS = [
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),  # without it, gRPC waits for a minute despite the line above
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_connection_idle_ms", 600_000),
    # A compressed message of a few kilobytes could expand to max_message_bytes: let the interceptor reject it.
    ("grpc.per_message_decompression", 0),
]

# Exit codes. EXIT_FAILED is EX_TEMPFAIL of sysexits.h: restart the server, on this machine or another.
EXIT_DRAINED, EXIT_DROPPED, EXIT_FAILED = 0, 1, 75

log = structlog.get_logger()


@dataclass(frozen=True)
class SharedPort:
    """How a server shares its port with other processes.

    Args:
        total: Settings of all processes together, for the banner; those of the server are its share.
        on_start: Called with the metrics as soon as there are any.
    """

    total: Settings
    on_start: Callable[[CollectorRegistry], None]


class Server:
    """A gRPC server: `start`, then `serve` models, then `drain`, then `stop`. Create it inside a running event loop.

    The health service reports SERVING between `serve` and `drain`, while a decode thread is available and the device
    works. `device_failed` is set when the device has failed: the server must be stopped. `listener_failed` is set when
    gRPC ended without `stop`: nobody can connect anymore, and the process must end.

    Args:
        settings: Its settings.
        shares_port: Whether other processes listen on the same port.

    Raises:
        ServerError: The token file or the TLS files are invalid.
    """

    def __init__(self, settings: Settings, *, shares_port: bool = False) -> None:
        self.device_failed = asyncio.Event()
        self.listener_failed = asyncio.Event()
        self.metrics = Metrics()
        self.service = ClassifierService(settings, self.metrics, self._set_decoders_available, self._fail_device)
        self._settings = settings
        self._shares_port = shares_port
        self._stopping = False
        self._accepting = False
        self._decoders_available = True
        self._background: set[asyncio.Task[None]] = set()
        self._watches: list[asyncio.Task[None]] = []
        self._health = health.aio.HealthServicer()
        self._health_lock = asyncio.Lock()
        self._metrics_server: MetricsServer | None = None
        self._tls: grpc.ServerCredentials | None = None
        if settings.tls_cert is not None and settings.tls_key is not None:
            self._tls = server_credentials(
                settings.tls_cert, settings.tls_key, settings.tls_client_ca, self.metrics.set_certificate_expiry
            )
        self._tracing: Tracing | None = None
        if settings.otlp_endpoint:
            from planespotter_server.observability import tracing  # its dependencies are an extra

            self._tracing = tracing.Tracing(settings.otlp_endpoint)
        self._interceptor = CallInterceptor(
            Authenticator(
                None if settings.tokens is None else TokenFile(settings.tokens), settings.workers if shares_port else 1
            ),
            ConcurrencyLimiter(
                settings.max_streams, settings.max_concurrent_calls_per_client, settings.max_streams_per_client
            ),
            ReceiveLimits(self.service.check_capacity, self.service.memory, settings.idle_timeout),
            self.metrics,
            access_log=settings.access_log,
            tracing=self._tracing,
        )
        self._server = grpc.aio.server(
            interceptors=[self._interceptor],
            maximum_concurrent_rpcs=settings.max_streams + settings.max_in_flight_photos + SPARE_RPCS,
            options=[
                *CONNECTION_OPTIONS,
                # Of each connection, above the limit of its client: calls between the two are rejected with a reason.
                ("grpc.max_concurrent_streams", settings.max_concurrent_calls_per_client + SPARE_RPCS),
                *_connection_age(settings.max_stream_age),
                ("grpc.so_reuseport", int(shares_port)),  # otherwise a second server would silently share the port
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", -1),  # a response is as long as its photo id and the model's names
                # The default closes the connection of a client that pings more than once in five minutes while it
                # receives nothing. Ours send keepalive pings twice a minute, and gRPC itself pings to measure the
                # bandwidth-delay product: those pings of a slow client arrive in bursts.
                ("grpc.http2.max_ping_strikes", 0),
            ],
        )
        pb_grpc.add_ClassifierServiceServicer_to_server(self.service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self) -> int:
        """Listen, and reject RPCs with WARMING_UP until `serve`.

        Returns:
            The port.

        Raises:
            ServerError: The address cannot be listened on, or the transport policy forbids it.
        """
        await asyncio.to_thread(check_transport_policy, self._settings)
        address = join_address(self._settings.host, self._settings.port)
        try:
            # Try the port first: the system's error is better than gRPC's, which also writes its own log lines.
            if not self._shares_port:
                await asyncio.to_thread(try_port, self._settings.host, self._settings.port)
            if self._tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, self._tls)
        except (OSError, RuntimeError, UnicodeError) as error:  # UnicodeError: the host is not a valid name
            raise ServerError(
                f"The server cannot listen on {address}: {getattr(error, 'strerror', None) or error}. Choose a free "
                "port and an address of this machine with --host and --port (0 picks a free port)."
            ) from error
        if self._settings.metrics_port is not None:
            self._metrics_server = MetricsServer(
                self.metrics.registry, self._settings.metrics_host, self._settings.metrics_port
            )
        await self._update_health()
        await self._server.start()
        self._run_in_background(self._watch_listener())
        for watch in (self.service.streams.watch(), self.service.memory.watch()):
            self._watches.append(asyncio.create_task(watch))
        return bound

    @property
    def metrics_address(self) -> str:
        """HOST:PORT of the metrics; empty if they are off."""
        if self._metrics_server is None:
            return ""
        return join_address(self._settings.metrics_host, self._metrics_server.port)

    def create_model(self, bundle: Bundle, engine: Engine, max_in_flight: int = 1) -> ServedModel:
        """Create a served model whose failed device makes this server fail.

        Args:
            bundle: The bundle.
            engine: Runs the bundle's network.
            max_in_flight: Maximum number of batches on the device at a time.
        """
        return ServedModel(
            bundle,
            engine,
            self._settings,
            max_in_flight=max_in_flight,
            on_device_failed=self._fail_device,
            observer=self.metrics,
            trace_photo=None if self._tracing is None else self._tracing.photo,
        )

    async def serve(self) -> None:
        """Accept photos from now on: the models are loaded."""
        self.service.ready = self._accepting = True
        await self._update_health()

    async def drain(self, delay: float = 0.0) -> None:
        """Stop accepting photos, and wait until those in flight have their results.

        In this order: health reports NOT_SERVING; the server still accepts photos for `delay` seconds, so that load
        balancers can react; each stream gets a drain notice with its number of accepted photos; new RPCs are rejected;
        the photos in flight finish.
        """
        self._accepting = False
        await self._update_health()
        await asyncio.sleep(delay)
        self.service.stop_reading()
        await self.service.admission.wait_until_idle()
        await asyncio.sleep(LINGER_SECONDS)

    async def stop(self, grace: float | None = None) -> None:
        """Stop; RPCs that are still open have `grace` seconds to finish, None for none."""
        self._stopping = True
        for watch in self._watches:
            watch.cancel()
        stopping = asyncio.create_task(self._server.stop(grace))
        await asyncio.sleep(0)  # first it sends GOAWAY, so that clients do not call again
        self._interceptor.end_watches()
        await stopping
        await self.service.close()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        if self._metrics_server is not None:
            await asyncio.to_thread(self._metrics_server.close)

    def _fail_device(self) -> None:
        self.device_failed.set()
        self._run_in_background(self._update_health())

    def _set_decoders_available(self, available: bool) -> None:
        self._decoders_available = available
        self._run_in_background(self._update_health())

    async def _watch_listener(self) -> None:
        """Notice that gRPC's accept loop has ended: an exception in it closes the port, but not the process."""
        error: BaseException | None = None
        try:
            await self._server.wait_for_termination()
        except Exception as caught:
            error = caught
        if not self._stopping:
            log.error("listener_failed", exc_info=error)
            self.listener_failed.set()

    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _update_health(self) -> None:
        """Report SERVING if a photo that arrives now would be classified."""
        async with self._health_lock:
            serving = self._accepting and self._decoders_available and not self.device_failed.is_set()
            status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
            for service in ("", SERVICE):
                try:
                    async with asyncio.timeout(HEALTH_WATCH_SECONDS):
                        await self._health.set(service, status)
                except TimeoutError:  # a client watches health and reads nothing, which blocks the health service
                    self._interceptor.end_watches()
                    await self._health.set(service, status)


def _connection_age(max_stream_age: float) -> list[tuple[str, int]]:
    """Return the options that end old connections once their streams have ended, too; none if streams do not age."""
    if not max_stream_age:
        return []
    longest = round(max_stream_age * (1 + AGE_JITTER) * 1000)
    return [
        ("grpc.max_connection_age_ms", max(1, round(max_stream_age * CONNECTION_AGE * 1000))),
        ("grpc.max_connection_age_grace_ms", longest + AGE_GRACE_MS),
    ]


def event_loop() -> asyncio.AbstractEventLoop:
    """Create the event loop for `serve`: uvloop's where available, which spends less on each RPC than asyncio's."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


async def serve(settings: Settings, announce: Callable[[str], None], shared: SharedPort | None = None) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP.

    The first signal drains: photos in flight finish. A second one, or the end of the grace period, drops them. A signal
    during startup stops at once. If the device fails, streams get a drain notice and the server stops. If gRPC's accept
    loop fails, which has closed all connections, the server stops at once.

    Args:
        settings: What to serve, and how.
        announce: Called with the startup banner once the server is ready.
        shared: Set if other processes serve on the same port. Such a server listens only once it can classify: the
            others are there before.

    Returns:
        The exit code: 0 drained, 1 photos dropped, 75 device or listener failed. End the process with `exit_process`:
        threads may still decode or compile.

    Raises:
        ServerError: The server cannot start.
        BundleError: The bundle of --model is invalid.
    """
    signals = signal_queue()
    first_signal = asyncio.ensure_future(signals.get())
    if settings.model is not None and settings.model_repository is not None:
        raise ServerError(
            "Both --model and --model-repository are set. Choose one: --model serves a single bundle, "
            "--model-repository a folder of them."
        )
    if settings.model is None and settings.model_repository is None:
        settings = settings.model_copy(update={"model_repository": planespotter_models.FOLDER})
    bundle = None if settings.model is None else read_bundle(settings.model)
    server = Server(settings, shares_port=shared is not None)
    if shared is not None:
        shared.on_start(server.metrics.registry)
    try:
        port = settings.port if shared is not None else await server.start()
    except BaseException:
        await server.stop()
        raise
    source = str(settings.model or settings.model_repository)
    log.info("warming_up", model=source, batch_sizes=settings.batch_sizes, port=port)
    loading = asyncio.ensure_future(_load_models(server, settings, bundle))
    listener_failed = asyncio.ensure_future(server.listener_failed.wait())
    await asyncio.wait([loading, first_signal, listener_failed], return_when=asyncio.FIRST_COMPLETED)
    if listener_failed.done():
        return EXIT_FAILED
    if not loading.done():
        await server.stop()
        log.info("stopped", signal=first_signal.result(), drained=True)
        return EXIT_DRAINED
    try:
        repository = await loading
        if shared is not None:
            await server.start()
    except BaseException:
        await server.stop()
        raise
    _spare_garbage_collector()
    await server.serve()
    models = server.service.models.all()
    address, default = join_address(settings.host, port), server.service.models.default
    total, metrics_address = settings, server.metrics_address
    if shared is not None:
        total = shared.total
        if total.metrics_port is not None:
            metrics_address = join_address(total.metrics_host, total.metrics_port)
    announce(startup_banner(address, models, default, total, metrics_address))
    for model in models:
        log.info("serving", model=model.bundle.name, version=model.bundle.version, port=port)

    watching = None if repository is None else asyncio.create_task(repository.watch(settings.poll_seconds))
    device_failed = asyncio.ensure_future(server.device_failed.wait())
    await asyncio.wait([first_signal, device_failed, listener_failed], return_when=asyncio.FIRST_COMPLETED)
    if watching is not None:
        watching.cancel()
    if listener_failed.done():
        return EXIT_FAILED  # the event is logged, and no client is connected
    failed = device_failed.done()
    if failed:
        log.error("device_failed", then="stop the server", exit_code=EXIT_FAILED)
    else:
        log.info("draining", signal=first_signal.result())
    drained = await _drain_and_stop(server, settings, signals, 0.0 if failed else settings.drain_seconds)
    log.info("stopped", drained=drained and not failed)
    for task in (first_signal, device_failed, listener_failed):
        task.cancel()
    return EXIT_FAILED if failed else EXIT_DRAINED if drained else EXIT_DROPPED


def _spare_garbage_collector() -> None:
    """Exempt all objects that exist now from garbage collection, and collect less often.

    The modules and models stay for good, but each full collection would visit them all: under load, that takes the
    event loop a fifth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def exit_process(code: int) -> NoReturn:
    """End the process at once, once the log is written.

    Python would wait for each thread that still decodes a photo, compiles a network or is stuck in the device: nobody
    needs their results, and they cannot be interrupted.
    """
    flush_logs()
    os._exit(code)


async def _load_models(server: Server, settings: Settings, bundle: Bundle | None) -> ModelRepository | None:
    """Load, compile and warm up `bundle`, or the model repository if that is None."""

    async def load(folder: Path) -> ServedModel:
        with _loader(server.metrics) as run:
            return await prepare(await run(read_bundle, folder), run)

    async def prepare(bundle: Bundle, run: Callable[..., Awaitable[Any]]) -> ServedModel:
        engine = await run(
            load_engine,
            bundle,
            settings.batch_sizes,
            EngineChoice(settings.engine),
            EngineMode(settings.engine_mode),
            settings.engine_threads,
            settings.engine_cache,
        )
        model = server.create_model(bundle, engine, settings.max_batches_in_flight or engine.in_flight)
        await run(model.warm_up)
        return model

    registry = server.service.models
    repository = None
    if settings.model_repository is not None:
        repository = ModelRepository(
            settings.model_repository, registry, load, settings.max_versions_per_model, settings.load_timeout
        )
        await repository.start()
    elif settings.model is not None and bundle is not None:
        with _loader(server.metrics) as run:
            model = await load_in_time(prepare(bundle, run), settings.model, settings.load_timeout)
        registry.put(bundle.name, {bundle.version: model})
    if settings.default_model not in ("", registry.default):
        names = ", ".join(dict.fromkeys(repr(model.bundle.name) for model in registry.all()))
        raise ServerError(
            f"default_model is unknown: {settings.default_model!r}; the server has {names}. Choose one of these, or "
            "omit it."
        )
    return repository


@contextmanager
def _loader(metrics: Metrics) -> Iterator[Callable[..., Awaitable[Any]]]:
    """Yield a function that runs others in a thread of this block: a network that never ends blocks no other.

    A thread cannot be interrupted: one that is still busy when the block ends is counted in `metrics` until it ends.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="load", initializer=lower_priority)
    busy: list[Future[Any]] = []

    def run(function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        busy[:] = [thread.submit(function, *arguments)]
        return asyncio.wrap_future(busy[0])

    try:
        yield run
    finally:
        thread.shutdown(wait=False)
        for work in busy:
            if not work.done():
                metrics.bundle_loads_stuck.inc()
                work.add_done_callback(lambda _: metrics.bundle_loads_stuck.dec())


async def _drain_and_stop(server: Server, settings: Settings, signals: asyncio.Queue[str], delay: float) -> bool:
    """Drain and stop within the grace period, or at once on a second signal; return whether every photo finished."""
    end = asyncio.get_running_loop().time() + settings.grace_seconds
    draining = asyncio.ensure_future(server.drain(delay))
    second_signal = asyncio.ensure_future(signals.get())
    await asyncio.wait([draining, second_signal], timeout=settings.grace_seconds, return_when=asyncio.FIRST_COMPLETED)
    drained = draining.done()
    # The results are ready, but the last of them may still be on their way to the clients.
    time_left = max(MIN_FLUSH_SECONDS, end - asyncio.get_running_loop().time())
    stopping = asyncio.ensure_future(server.stop(time_left if drained else None))
    await asyncio.wait([stopping, second_signal], return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        drained = False
        await server.stop(None)
    await stopping
    for task in (draining, second_signal):
        task.cancel()
    return drained


def join_address(host: str, port: int) -> str:
    """Return HOST:PORT, with brackets around an IPv6 address; a Unix socket, unix:/PATH, has no port."""
    if host.startswith(UNIX_SOCKET):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _try_unix_socket(path: Path) -> None:
    """Raise OSError if a socket cannot be made at `path`, or a program listens there: gRPC would replace its socket."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if not path.exists():
        return
    if not path.is_socket():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    with socket.socket(socket.AF_UNIX) as probe, suppress(ConnectionRefusedError):
        probe.connect(str(path))
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), str(path))


def try_port(host: str, port: int) -> None:
    """Raise OSError if no address of `host` can be listened on at `port`."""
    if host.startswith(UNIX_SOCKET):
        _try_unix_socket(Path(host.removeprefix(UNIX_SOCKET)))
        return
    failure: OSError | None = None
    for family, kind, _, _, address in socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM):
        try:
            with socket.socket(family, kind) as probe:
                # As gRPC does: sockets in TIME_WAIT do not block the port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen(1)
            return
        except OSError as error:
            failure = error
    if failure is not None:
        raise failure


def signal_queue() -> asyncio.Queue[str]:
    """Return a queue that receives the names of SIGTERM, SIGINT and SIGHUP as they arrive.

    A closed terminal sends SIGHUP. It stays ignored in a process that was started with it ignored, by nohup.
    """
    signals: asyncio.Queue[str] = asyncio.Queue()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number.name)
    return signals
