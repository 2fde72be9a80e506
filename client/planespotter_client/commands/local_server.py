"""A server of one's own on this machine, for as long as a command takes."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from planespotter_client._channels import DEFAULT_ADDRESS

SERVE = ("serve", "--port", "0")
PREFIX = "PLANESPOTTER_"
# The settings that hold for a server of one's own too: how it computes, and which photos it takes. The others are about
# who may call a server and where, and most of them would keep this command from its own.
KEPT = frozenset(
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
    """The server did not start. The text says why, and what to do."""


@contextmanager
def local_server(log: Path, model: Path | None = None, *flags: str) -> Iterator[tuple[str, int]]:
    """Serve the bundle in `model` (None: the network that is installed) on a free port; yield address and process id.

    `flags` are further options of `planespotter serve`. What the server says goes to the file `log`. It is stopped at
    the end. Raises LocalServerError if it does not start.
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
            ready = process.stdout.readline().strip()  # it ends with the address; empty if the server has ended
            if not ready:
                said = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
                why = said[-1].removeprefix("error: ").rstrip(".") if said else "It said nothing"
                raise LocalServerError(f"The server did not start. {why}.")
            yield ready.rsplit(" ", 1)[1], process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return `variables` without the settings of a server that others call."""
    return {name: value for name, value in variables.items() if not name.startswith(PREFIX) or name in KEPT}


@contextmanager
def server_or_own(server: str | None, model: Path | None) -> Iterator[tuple[str, bool]]:
    """Yield the address of the server to ask, and whether it is one of our own, which ends with the context.

    It is our own if `model` names its bundle, or if no `server` is named and none answers at the default address.
    """
    from rich.console import Console

    if server is not None or (model is None and answers(DEFAULT_ADDRESS)):
        yield DEFAULT_ADDRESS if server is None else server, False
        return
    with TemporaryDirectory() as folder, ExitStack() as running:
        with Console(stderr=True).status("Starting a server for this command"):
            try:
                address, _ = running.enter_context(local_server(Path(folder, "server.log"), model))
            except LocalServerError as error:
                raise LocalServerError(f"{error} Or name a server with --server HOST:PORT.") from error
        yield address, True


def answers(address: str) -> bool:
    """Return whether anything listens at `address`, "host:port", on this machine."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
