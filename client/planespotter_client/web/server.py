"""Serve the page, from the first byte to the last."""

import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from planespotter_client import AsyncPlaneSpotter
from planespotter_client.web.app import site
from planespotter_client.web.middleware import is_this_machine

Ready = Callable[[str], None]

# How long a server that goes away in good order may take to be replaced before the page is told, in seconds.
PATIENCE = 15.0


class PageError(Exception):
    """The page cannot be served. The text says why, and what to do."""


def listen(host: str, port: int, allow_remote: bool) -> socket.socket:
    """Return a socket that listens on `host` and `port`. Raises PageError.

    `allow_remote` says whether other machines may reach it.
    """
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise PageError(f"{host!r} is no address of this machine. Give another with --host, or none.") from error
    if not allow_remote and not is_this_machine([str(place[0])]):
        raise PageError(
            f"On {host} the page can be reached from other machines: anybody there can classify photos with it, in "
            "your name, and without TLS anybody in between can see them. Omit --host, or give --allow-remote."
        )
    try:
        return socket.create_server((str(place[0]), port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PageError(
                f"Port {port} of {host} is taken. Give another with --port, or 0 for any that is free."
            ) from error
        raise PageError(f"The page cannot listen on port {port} of {host}: {error.strerror}. Give others.") from error


@contextmanager
def ending_well() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end what is done inside, as they should."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def serve(listening: socket.socket, host: str, spotting: str, secured: Mapping[str, Any], ready: Ready) -> None:
    """Serve the page on `listening` until a signal ends it, with answers of the server at `spotting`.

    `secured` are the parameters of the client that concern TLS and tokens. `ready` is called with the page's address.
    """
    place = listening.getsockname()
    shared = not is_this_machine([str(place[0])])
    async with AsyncPlaneSpotter(spotting, timeout=PATIENCE, **secured) as spotter:
        config = uvicorn.Config(
            site(spotter, host, shared),
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
        # Requests that the end cuts short are no errors; the page knows what to do. Nor are answers that nobody reads.
        logging.getLogger("uvicorn.error").addFilter(
            lambda record: not (server.should_exit or record.getMessage().endswith("without completing response."))
        )
        ready(address(host, place[1]))
        await server.serve(sockets=[listening])


def address(host: str, port: int) -> str:
    """Return where a browser on this machine finds the page."""
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
