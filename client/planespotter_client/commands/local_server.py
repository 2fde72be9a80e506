"""Local server: start a server on this machine for the duration of a command."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from planespotter_client._addresses import DEFAULT_ADDRESS, default_server

SERVE = ("serve", "--port", "0")
PREFIX = "PLANESPOTTER_"
# Settings that also apply to a local server: how it computes, and which photos it accepts. The others are about access
# from other machines, and most of them would lock this command out.
INHERITED_SETTINGS = frozenset(
    PREFIX + name
    for name in (
        "ENGINE",
        "ENGINE_MODE",
        "ENGINE_THREADS",
        "ENGINE_CACHE",
        "BATCH_SIZES",
        "DECODE_THREADS",
        "MAX_PHOTO_BYTES",
        "MAX_PHOTO_PIXELS",
        "MAX_MESSAGE_BYTES",
    )
)


class LocalServerError(Exception):
    """The server did not start. The text says why, and how to fix it."""


@contextmanager
def local_server(log: Path, model: Path | None = None, *flags: str) -> Iterator[tuple[str, int]]:
    """Start a server on a free port, yield its address and process id, and stop it at the end.

    Args:
        log: File for its log (stderr).
        model: Bundle to serve; None serves the installed model.
        flags: More options of `planespotter serve`.

    Raises:
        LocalServerError: It does not start.
    """
    command = [sys.executable, "-m", "planespotter_client.commands.main", *SERVE]
    command += [*(["--model", str(model)] if model else []), *flags]
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=_environment(os.environ)
        ) as process,
    ):
        try:
            assert process.stdout is not None
            ready = process.stdout.readline().strip()  # ends with the address; empty if the server has exited
            if not ready:
                lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
                why = lines[-1].removeprefix("error: ").rstrip(".") if lines else "Its log is empty"
                raise LocalServerError(f"The server did not start. {why}.")
            yield ready.rsplit(" ", 1)[1], process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return `variables` without the settings of a server that other machines call."""
    return {
        name: value for name, value in variables.items() if not name.startswith(PREFIX) or name in INHERITED_SETTINGS
    }


@contextmanager
def connect_or_start(server: str | None, model: Path | None) -> Iterator[tuple[str, bool]]:
    """Yield the address of a server, and whether it was started for this command; then it ends with the context.

    A server is started if `model` names a bundle, or if neither `server` nor the variable PLANESPOTTER_SERVER names a
    server and none listens at the default address.

    Raises:
        LocalServerError: The server does not start.
    """
    from rich.console import Console

    if server is None and model is None:
        server = default_server()
    if server is not None or (model is None and is_listening(DEFAULT_ADDRESS)):
        yield DEFAULT_ADDRESS if server is None else server, False
        return
    with TemporaryDirectory() as folder, ExitStack() as running:
        with Console(stderr=True).status("Starting a server for this command"):
            try:
                address, _ = running.enter_context(local_server(Path(folder, "server.log"), model))
            except LocalServerError as error:
                raise LocalServerError(f"{error} Or name a server with --server HOST:PORT.") from error
        yield address, True


def is_listening(address: str) -> bool:
    """Return whether a process on this machine listens at `address`, "host:port"."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
