"""The life of the server: listen, warm up, serve, and stop without losing a photo."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

import planespotter_models
from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_models import Bundle, Engine, EngineChoice, EngineMode, load_engine, read_bundle
from planespotter_server.auth.authentication import Clients
from planespotter_server.auth.tls import credentials
from planespotter_server.auth.tokens import Tokens
from planespotter_server.auth.transport_policy import check_exposure
from planespotter_server.banner import screen
from planespotter_server.models.repository import Library
from planespotter_server.observability.metrics import Metrics, Page
from planespotter_server.rpc.interceptor import Outermost
from planespotter_server.rpc.service import ClassifierService
from planespotter_server.serving.concurrency import ConcurrencyLimiter
from planespotter_server.serving.served_model import ServedModel, no_tracing
from planespotter_server.serving.thread_priority import lower_priority
from planespotter_server.settings import ServerError, Settings

if TYPE_CHECKING:
    from planespotter_server.observability.tracing import Tracing

SERVICE = pb.DESCRIPTOR.services_by_name["ClassifierService"].full_name

# A connection that is closed while its client still sends is reset, and what the client has not read yet is gone: the
# last answers. So leave clients this long to read them and to stop sending.
LINGER_SECONDS = 0.5
# However late it is, what is answered already gets this long to reach its caller.
LAST_ANSWERS_SECONDS = 1.0

# How long a change of health waits for those who watch it.
WATCHERS_SECONDS = 1.0

# Exit codes. That of a failed device is EX_TEMPFAIL of sysexits.h: start the server again, on this machine or another.
EXIT_DONE, EXIT_DROPPED, EXIT_DEVICE_FAILED = 0, 1, 75

log = structlog.get_logger()


class Server:
    """One gRPC server: `start`, then `serve` models, then `drain`, then `stop`. Health says where it stands.

    Make it inside a running event loop. `broken` is set if the device fails again and again; health then says
    NOT_SERVING, and all that is left to do is to stop. Raises ServerError for files of tokens and TLS that are no good.
    """

    def __init__(self, settings: Settings) -> None:
        self.broken = asyncio.Event()
        self.metrics = Metrics()
        self.service = ClassifierService(settings, self.metrics)
        self._settings = settings
        self._stopping = False
        self._background: set[asyncio.Task[None]] = set()
        self._health = health.aio.HealthServicer()
        self._page: Page | None = None
        self._tls: grpc.ServerCredentials | None = None
        if settings.tls_cert is not None and settings.tls_key is not None:
            self._tls = credentials(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        self._tracing: Tracing | None = None
        if settings.otlp_endpoint:
            from planespotter_server.observability import tracing  # what it needs is an extra

            self._tracing = tracing.Tracing(settings.otlp_endpoint)
        self._outermost = Outermost(
            Clients(None if settings.tokens is None else Tokens(settings.tokens)),
            ConcurrencyLimiter(settings.max_streams, settings.max_concurrent_calls_per_client),
            self.metrics,
            access_log=settings.access_log,
            tracing=self._tracing,
        )
        self._server = grpc.aio.server(
            interceptors=[self._outermost],
            options=[
                ("grpc.so_reuseport", 0),  # else a second server would share the port without a word
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", -1),  # an answer is as long as its photo_id and the model's names
                # The default closes the connection of a client that pings more often than once in five minutes while
                # nothing is sent to it. Ours ask twice a minute whether the server is still there, and gRPC itself
                # pings to find out how much the network holds: those pings of a slow client come in a bunch.
                ("grpc.http2.max_ping_strikes", 0),
            ],
        )
        pb_grpc.add_ClassifierServiceServicer_to_server(self.service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self) -> int:
        """Listen, and answer that it is not ready yet. Returns the port. Raises ServerError."""
        await asyncio.to_thread(check_exposure, self._settings)
        address = join_address(self._settings.host, self._settings.port)
        try:
            # First by ourselves: the system says why not, and gRPC would log lines of its own.
            await asyncio.to_thread(_try_port, self._settings.host, self._settings.port)
            if self._tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, self._tls)
        except (OSError, RuntimeError, UnicodeError) as error:  # UnicodeError: of a host that is no name at all
            raise ServerError(
                f"The server cannot listen on {address}: {getattr(error, 'strerror', None) or error}. The port must be "
                "free and the host an address of this machine. Choose others with --host and --port (0 takes any free "
                "port)."
            ) from error
        if self._settings.metrics_port is not None:
            self._page = Page(self.metrics, self._settings.metrics_host, self._settings.metrics_port)
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.start()
        return bound

    @property
    def metrics_address(self) -> str:
        """Where the metrics are shown; "" if they are not."""
        return "" if self._page is None else join_address(self._settings.metrics_host, self._page.port)

    def classifier(self, bundle: Bundle, engine: Engine, max_in_flight: int = 1) -> ServedModel:
        """Return a classifier whose broken device is this server's end."""
        return ServedModel(
            bundle,
            engine,
            self._settings,
            max_in_flight=max_in_flight,
            on_device_failed=self._fail_device,
            observer=self.metrics,
            trace_photo=no_tracing if self._tracing is None else self._tracing.photo,
        )

    async def serve(self) -> None:
        """Answer from now on: all models are there."""
        self.service.ready = True
        if not self.broken.is_set():
            await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def drain(self, pause: float = 0.0) -> None:
        """Take no more photos, and return when those that were taken are answered.

        In this order: health says NOT_SERVING; for `pause` seconds all goes on, so that those who watch health can turn
        away; streams hear that the server goes away and what it has read of each; new calls are refused; the queue is
        worked off.
        """
        self._stopping = True
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await asyncio.sleep(pause)
        self.service.stop_reading()
        await self.service.admission.wait_until_idle()
        await asyncio.sleep(LINGER_SECONDS)

    async def stop(self, grace: float | None = None) -> None:
        """End: calls that are still open have `grace` seconds to finish, None for none."""
        stopping = asyncio.create_task(self._server.stop(grace))
        await asyncio.sleep(0)  # first it tells its clients that it goes, so that they do not call again
        self._outermost.dismiss()
        await stopping
        await self.service.close()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        if self._page is not None:
            await asyncio.to_thread(self._page.close)

    def _fail_device(self) -> None:
        self.broken.set()
        task = asyncio.create_task(self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _set_health(self, status: int) -> None:
        for service in ("", SERVICE):
            try:
                async with asyncio.timeout(WATCHERS_SECONDS):
                    await self._health.set(service, status)
            except TimeoutError:  # somebody watches and takes nothing, and health waits for that
                self._outermost.dismiss()
                await self._health.set(service, status)


def event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop for `serve`: uvloop's, which spends less on each call than asyncio's own, where there is one."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


async def serve(settings: Settings, announce: Callable[[str], None]) -> int:
    """Serve what `settings` name until SIGTERM or SIGINT; return the exit code of the process.

    `announce` is called once the server is ready, with what to show. The first signal lets photos in work finish, 0; a
    second one, or the end of the grace period, drops them, 1. A signal before it is ready ends the process, with 0. If
    the device fails, clients are sent away and the process ends with 75. Raises ServerError and bundle.BundleError.
    """
    signals = _listen_to_signals()
    first = asyncio.ensure_future(signals.get())
    if settings.model is not None and settings.model_repository is not None:
        raise ServerError(
            "Both --model and --model-repository are set. Choose one: --model serves a single bundle, "
            "--model-repository a folder of them."
        )
    if settings.model is None and settings.model_repository is None:
        settings = settings.model_copy(update={"model_repository": planespotter_models.FOLDER})
    bundle = None if settings.model is None else read_bundle(settings.model)
    server = Server(settings)
    try:
        port = await server.start()
    except BaseException:
        await server.stop()
        raise
    log.info(
        "warming_up",
        model=str(settings.model or settings.model_repository),
        batch_sizes=settings.batch_sizes,
        port=port,
    )
    warming = asyncio.ensure_future(_load(server, settings, bundle))
    await asyncio.wait([warming, first], return_when=asyncio.FIRST_COMPLETED)
    if not warming.done():
        await server.stop()
        log.info("stopped", signal=first.result(), all_answered=True)
        # The compiler cannot be interrupted: Python would wait for it, minutes perhaps, before it ended the process.
        os._exit(EXIT_DONE)
    try:
        library = await warming
    except BaseException:
        await server.stop()
        raise
    await server.serve()
    served = server.service.models.all()
    address, default = join_address(settings.host, port), server.service.models.default
    announce(screen(address, served, default, settings, server.metrics_address))
    for classifier in served:
        log.info("serving", model=classifier.bundle.name, version=classifier.bundle.version, port=port)

    watching = None if library is None else asyncio.create_task(library.watch(settings.poll_seconds))
    broken = asyncio.ensure_future(server.broken.wait())
    await asyncio.wait([first, broken], return_when=asyncio.FIRST_COMPLETED)
    if watching is not None:
        watching.cancel()
    device_failed = broken.done()
    if device_failed:
        log.error("device_failed", then="the server ends", exit_code=EXIT_DEVICE_FAILED)
    else:
        log.info("draining", signal=first.result())
    all_answered = await _stop(server, settings, signals, 0.0 if device_failed else settings.drain_seconds)
    log.info("stopped", all_answered=all_answered and not device_failed)
    code = EXIT_DEVICE_FAILED if device_failed else EXIT_DONE if all_answered else EXIT_DROPPED
    if code != EXIT_DONE or (library is not None and library.loading):
        sys.stdout.flush()
        os._exit(code)  # Python would wait for a thread that is stuck in the device, or that compiles
    for task in (first, broken):
        task.cancel()
    return code


async def _load(server: Server, settings: Settings, bundle: Bundle | None) -> Library | None:
    """Compile and warm what shall be served."""
    loading = ThreadPoolExecutor(1, thread_name_prefix="load", initializer=lower_priority)

    async def load(folder: Path) -> ServedModel:
        return await prepare(await asyncio.to_thread(read_bundle, folder))

    async def prepare(bundle: Bundle) -> ServedModel:
        engine = await asyncio.get_running_loop().run_in_executor(
            loading,
            load_engine,
            bundle,
            settings.batch_sizes,
            EngineChoice(settings.engine),
            EngineMode(settings.engine_mode),
            settings.engine_threads,
            settings.engine_cache,
        )
        classifier = server.classifier(bundle, engine, settings.max_batches_in_flight or engine.in_flight)
        await asyncio.get_running_loop().run_in_executor(loading, classifier.warm_up)
        return classifier

    models = server.service.models
    library = None
    if settings.model_repository is not None:
        library = Library(settings.model_repository, models, load, settings.max_versions_per_model)
        await library.start()
    elif bundle is not None:
        models.put(bundle.name, {bundle.version: await prepare(bundle)})
    if settings.default_model not in ("", models.default):
        served = ", ".join(dict.fromkeys(repr(model.bundle.name) for model in models.all()))
        raise ServerError(
            f"The setting default_model names {settings.default_model!r}, but what can be served is {served}. Name one "
            "of these, or leave it out."
        )
    return library


async def _stop(server: Server, settings: Settings, signals: asyncio.Queue[str], pause: float) -> bool:
    """Drain and stop within the grace period, or at once upon one more signal; return whether all was answered."""
    end = asyncio.get_running_loop().time() + settings.grace_seconds
    draining = asyncio.ensure_future(server.drain(pause))
    second = asyncio.ensure_future(signals.get())
    await asyncio.wait([draining, second], timeout=settings.grace_seconds, return_when=asyncio.FIRST_COMPLETED)
    finished = draining.done()
    # The answers are ready, but the last of them may still be on their way through the connection.
    left = max(LAST_ANSWERS_SECONDS, end - asyncio.get_running_loop().time())
    stopping = asyncio.ensure_future(server.stop(left if finished else None))
    await asyncio.wait([stopping, second], return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        finished = False
        await server.stop(None)
    await stopping
    for task in (draining, second):
        task.cancel()
    return finished


def join_address(host: str, port: int) -> str:
    """Return HOST:PORT, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _try_port(host: str, port: int) -> None:
    """Raise OSError if no address of `host` can be listened on at `port`."""
    refused: OSError | None = None
    for family, kind, _, _, address in socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM):
        try:
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does: closed connections linger
                probe.bind(address)
                probe.listen(1)
            return
        except OSError as error:
            refused = error
    if refused is not None:
        raise refused


def _listen_to_signals() -> asyncio.Queue[str]:
    signals: asyncio.Queue[str] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number.name)
    return signals
