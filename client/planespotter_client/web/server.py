"""The HTTP server of a page: listen, serve until a signal, shut down."""

import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from planespotter_client import AsyncPlaneSpotter
from planespotter_client.web.app import build_app
from planespotter_client.web.middleware import is_loopback

OnReady = Callable[[str], None]

# Seconds that a restart of the gRPC server may take before the page reports an error.
RECONNECT_TIMEOUT = 15.0


class PageError(Exception):
    """The page cannot be served. The text says why, and how to fix it."""


def listen(host: str, port: int, allow_remote: bool) -> socket.socket:
    """Return a socket that listens on `host` and `port`.

    Args:
        host: Address of this machine.
        port: Port; 0 picks a free one.
        allow_remote: Whether other machines may reach it.

    Raises:
        PageError: The address is invalid or in use, or other machines could reach it without `allow_remote`.
    """
    try:
        family, _, _, _, sockaddr = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise PageError(f"{host!r} is not an address of this machine. Give another --host, or none.") from error
    if not allow_remote and not is_loopback([str(sockaddr[0])]):
        raise PageError(
            f"On {host} the page can be reached from other machines: anybody there can classify photos in your name, "
            "and without TLS the network can read them. Omit --host, or give --allow-remote."
        )
    try:
        return socket.create_server((str(sockaddr[0]), port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PageError(f"Port {port} of {host} is in use. Give another --port, or 0 for a free one.") from error
        raise PageError(
            f"The page cannot listen on port {port} of {host}: {error.strerror}. Give another --host or --port."
        ) from error


@contextmanager
def exit_on_signal() -> Iterator[None]:
    """End the body without an error on Ctrl-C and SIGTERM."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, previous)


async def serve(
    listener: socket.socket,
    host: str,
    grpc_address: str,
    connection: Mapping[str, Any],
    on_ready: OnReady,
    min_probability: float | None = None,
) -> None:
    """Serve the page until a signal.

    Args:
        listener: Socket to serve on.
        host: The address it listens on, as the user gave it.
        grpc_address: Address of the gRPC server that classifies the photos.
        connection: Parameters of the client for TLS and tokens.
        on_ready: Called with the URL of the page.
        min_probability: Minimum probability of the confidence level; None keeps the thresholds of the model.
    """
    async with AsyncPlaneSpotter(grpc_address, timeout=RECONNECT_TIMEOUT, **connection) as spotter:
        app = build_app(spotter, host, allow_remote=is_remote(listener), min_probability=min_probability)
        await serve_app(app, listener, host, on_ready)


def is_remote(listener: socket.socket) -> bool:
    """Return whether other machines can reach a socket."""
    return not is_loopback([str(listener.getsockname()[0])])


async def serve_app(app: ASGIApp, listener: socket.socket, host: str, on_ready: OnReady) -> None:
    """Serve an application until a signal.

    Args:
        app: The application.
        listener: Socket to serve on.
        host: The address it listens on, as the user gave it.
        on_ready: Called with the URL of the page.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    # Requests cancelled by the shutdown are not errors, as the page resends them; nor are unread responses.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: not (server.should_exit or record.getMessage().endswith("without completing response."))
    )
    on_ready(page_url(host, listener.getsockname()[1]))
    await server.serve(sockets=[listener])


def page_url(host: str, port: int) -> str:
    """Return the URL of the page for a browser on this machine."""
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
