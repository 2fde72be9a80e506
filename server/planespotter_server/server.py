"""The life of the server: listen, warm up, serve, and stop without losing a photo."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_server.classifier import Classifier
from planespotter_server.errors import ParsedHere
from planespotter_server.service import ClassifierService
from planespotter_server.settings import ServerError, Settings
from planespotter_training import bundle as bundles

SERVICE = pb.DESCRIPTOR.services_by_name["ClassifierService"].full_name

# A connection that is closed while its client still sends is reset, and what the client has not read yet is gone: the
# last answers. So leave clients this long to read them and to stop sending.
LINGER_SECONDS = 0.5

log = structlog.get_logger()


class Server:
    """One gRPC server: `start`, then `serve` a classifier, then `drain`, then `stop`. Health says where it stands."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._service = ClassifierService(settings)
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[ParsedHere()],
            options=[
                ("grpc.so_reuseport", 0),  # else a second server would share the port without a word
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", -1),  # an answer is as long as its photo_id and the model's names
                # Let clients ping twice a minute, also between calls; the default closes the connection for that.
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 15_000),
            ],
        )
        pb_grpc.add_ClassifierServiceServicer_to_server(self._service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self) -> int:
        """Listen, and answer that it is not ready yet. Returns the port. Raises ServerError."""
        address = join_address(self._settings.host, self._settings.port)
        try:
            # First by ourselves: the system says why not, and gRPC would log lines of its own.
            await asyncio.to_thread(_try_port, self._settings.host, self._settings.port)
            bound = self._server.add_insecure_port(address)
        except (OSError, RuntimeError, UnicodeError) as error:  # UnicodeError: of a host that is no name at all
            raise ServerError(
                f"The server cannot listen on {address}: {getattr(error, 'strerror', None) or error}. The port must be "
                "free and the host an address of this machine. Choose others with --host and --port (0 takes any free "
                "port)."
            ) from error
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.start()
        return bound

    async def serve(self, classifier: Classifier) -> None:
        """Answer with `classifier` from now on."""
        self._service.classifier = classifier
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Take no more photos, and return when those that were taken are answered."""
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        if self._service.classifier is not None:
            self._service.classifier.room.close()
            self._service.stop_reading()
            await self._service.classifier.room.wait_until_empty()
            await asyncio.sleep(LINGER_SECONDS)

    async def stop(self, grace: float | None = None) -> None:
        """End: calls that are still open have `grace` seconds to finish, None for none."""
        await self._server.stop(grace)
        if self._service.classifier is not None:
            await self._service.classifier.close()

    async def _set_health(self, status: int) -> None:
        await self._health.set("", status)
        await self._health.set(SERVICE, status)


async def serve(folder: Path, settings: Settings, announce: Callable[[str], None]) -> int:
    """Serve the bundle in `folder` until SIGTERM or SIGINT; return the exit code of the process.

    `announce` is called with one line once the server is ready. The first signal lets photos in work finish, 0; a
    second one, or the end of the grace period, drops them, 1. A signal before it is ready ends the process, with 0.
    Raises ServerError and bundle.BundleError.
    """
    signals = _listen_to_signals()
    first = asyncio.ensure_future(signals.get())
    bundle = bundles.read(folder)
    server = Server(settings)
    port = await server.start()
    log.info("warming_up", model=bundle.name, version=bundle.version, batch_sizes=settings.batch_sizes, port=port)
    warming = asyncio.ensure_future(asyncio.to_thread(bundles.load_engine, bundle, settings.batch_sizes))
    await asyncio.wait([warming, first], return_when=asyncio.FIRST_COMPLETED)
    if not warming.done():
        await server.stop()
        log.info("stopped", signal=first.result(), all_answered=True)
        # The compiler cannot be interrupted: Python would wait for it, minutes perhaps, before it ended the process.
        os._exit(0)
    engine = await warming
    await server.serve(Classifier(bundle, engine, settings))
    announce(f"Serving {bundle.name} {bundle.version} on {join_address(settings.host, port)}")
    log.info("serving", model=bundle.name, version=bundle.version, port=port)

    log.info("draining", signal=await first)
    draining = asyncio.ensure_future(server.drain())
    second = asyncio.ensure_future(signals.get())
    await asyncio.wait([draining, second], timeout=settings.grace_seconds, return_when=asyncio.FIRST_COMPLETED)
    finished = draining.done()
    # The answers are ready, but the last of them may still be on their way through the connection.
    stopping = asyncio.ensure_future(server.stop(5.0 if finished else None))
    await asyncio.wait([stopping, second], return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        finished = False
        await server.stop(None)
    await stopping
    for task in (draining, second):
        task.cancel()
    log.info("stopped", all_answered=finished)
    return 0 if finished else 1


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
