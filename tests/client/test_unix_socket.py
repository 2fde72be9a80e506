"""A server on a Unix socket, next to a program on the same machine."""

import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.client.processes import PLANESPOTTER, serve

from planespotter_client import PlaneSpotter

Paint = Callable[..., bytes]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short path: that of a socket has at most 107 characters."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_server_listens_on_a_unix_socket(tiny_bundle: Path, short_path: Path, paint: Paint) -> None:
    address = f"unix:{short_path}/planes.sock"
    with serve("--model", tiny_bundle, "--host", address) as (printed, _), PlaneSpotter(address) as spotter:
        assert printed == address
        assert spotter.classify(paint("747")).name == "Boeing 747"
        [result] = spotter.stream([paint("747")])
        assert result.result().name == "Boeing 747"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing/planes.sock", "No such file or directory"),
        ("file", "File exists"),
        ("used.sock", "Address already in use"),
    ],
)
def test_unix_socket_that_cannot_be_made_is_reported(tiny_bundle: Path, short_path: Path, name: str, why: str) -> None:
    (short_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(f"{short_path}/used.sock")
        used.listen()
        command = [*PLANESPOTTER, "serve", "--model", str(tiny_bundle), "--host", f"unix:{short_path}/{name}"]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"cannot listen on unix:{short_path}/{name}: {why}." in done.stderr
    assert (short_path / "file").is_file()
