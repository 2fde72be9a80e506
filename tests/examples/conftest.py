"""Fixtures of the examples: a server process, and a folder of photos with a file that is not a photo."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def address(tiny_bundle: Path) -> Iterator[str]:
    """The address of a server process of the tiny bundle."""
    command = [
        sys.executable,
        "-m",
        "planespotter_client.commands.main",
        "serve",
        "--model",
        str(tiny_bundle),
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip().rsplit(" ", 1)[1]
        server.terminate()


@pytest.fixture
def photos(paint: Callable[..., bytes], tmp_path: Path) -> Path:
    """A folder with a Boeing, an Airbus and a file that is not a photo."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "boeing.jpg").write_bytes(paint("737-800"))
    (folder / "airbus.jpg").write_bytes(paint("A320neo"))
    (folder / "no photo.jpg").write_bytes(b"This is not a photo.")
    return folder
