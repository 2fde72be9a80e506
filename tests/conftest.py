"""Fixtures for all tests: a tiny model bundle, photos that it classifies as asked, a reserved port, and a browser."""

import atexit
import dataclasses
import io
import os
import shutil
import signal
import socket
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["JAX_PLATFORMS"] = "cpu"
# A compilation cache that all tests and their subprocesses share.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"

import hypothesis
import numpy as np
import pytest
from PIL import Image

from planespotter_models import Bundle, Calibration, LabelTree, Metric, Thresholds, read_bundle, write_bundle

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# A shell ignores SIGINT for background jobs; the commands that tests interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

# Speed is measured by the benchmarks: a busy machine must not fail a test.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

HEIGHT, WIDTH = 32, 48
TINY_TREE = {
    "Airbus": {"A320": ["A320-200", "A320neo"], "A380": []},
    "Boeing": {"737": ["737-800", "737 MAX 8"], "747": []},
}
# Red means Airbus and blue means Boeing; green separates the three leaves of each.
PAINTS = {
    "A320-200": (240, 10, 10),
    "A320neo": (240, 128, 10),
    "A380": (240, 245, 10),
    "737-800": (10, 10, 240),
    "737 MAX 8": (10, 128, 240),
    "747": (10, 245, 240),
    "nothing known": (120, 60, 120),
}


def write_tiny_bundle(folder: Path) -> None:
    import jax
    import jax.export
    import jax.numpy as jnp

    weights = {
        "constructor": np.array([[20.0, -20.0], [0.0, 0.0], [-20.0, 20.0]], np.float32),
        "greens": np.array([0.0, 0.5, 1.0], np.float32),
    }

    def network(weights: dict[str, jax.Array], photos: jax.Array) -> dict[str, jax.Array]:
        color = photos.astype(jnp.float32).mean(axis=(1, 2)) / 255
        leaves = jax.nn.log_softmax(-60 * (color[:, 1:2] - weights["greens"][None]) ** 2)
        return {
            "constructor": jax.nn.log_softmax(color @ weights["constructor"]),
            "Airbus": leaves,
            "Boeing": leaves,
        }

    photos = jax.ShapeDtypeStruct(jax.export.symbolic_shape(f"n, {HEIGHT}, {WIDTH}, 3"), np.uint8)
    shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()}
    exported = jax.export.export(jax.jit(network), platforms=("cpu", "cuda"))(shapes, photos)
    write_bundle(
        Bundle(
            name="tiny",
            version="1",
            tree=LabelTree(TINY_TREE),
            height=HEIGHT,
            width=WIDTH,
            calibration=Calibration(
                temperatures={"constructor": 1.0, "Airbus": 1.0, "Boeing": 1.0},
                thresholds=Thresholds(constructor=0.9, family=0.8, model=0.7),
            ),
            metrics=(Metric("", "constructor_accuracy", 0.96, 200),),
            training={"photos": 0},
            jax_version=jax.__version__,
            network=bytes(exported.serialize()),
            weights=weights,
        ),
        folder,
    )


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real bundle whose prediction depends on the mean color of the photo."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def heat_map_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with a heat map function: 2 by 3 cells, each with the mean red of its part of the photo.

    The first cell holds the index of the leaf instead.
    """
    import jax
    import jax.export
    import jax.numpy as jnp

    tiny = read_bundle(tiny_bundle)

    def heat(_: dict[str, jax.Array], photos: jax.Array, leaves: jax.Array) -> jax.Array:
        red = photos[..., 0].reshape(1, 2, HEIGHT // 2, 3, WIDTH // 3).mean(axis=(2, 4))
        return red.at[:, 0, 0].set(leaves).astype(jnp.uint8)

    photo = jax.ShapeDtypeStruct((1, HEIGHT, WIDTH, 3), np.uint8)
    shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in tiny.weights.items()}
    exported = jax.export.export(jax.jit(heat), platforms=("cpu", "cuda"))(
        shapes, photo, jax.ShapeDtypeStruct((1,), np.int32)
    )
    folder = tmp_path_factory.mktemp("bundles") / "heat-map"
    write_bundle(dataclasses.replace(tiny, name="heat-map", heat_map=bytes(exported.serialize())), folder)
    return folder


@pytest.fixture(scope="session")
def paint() -> Callable[..., bytes]:
    """Return a function that encodes a photo of a given type, as the tiny bundle predicts it: `paint("737-800")`."""

    def paint(name: str, file_format: str = "JPEG", size: tuple[int, int] = (3 * WIDTH, 3 * HEIGHT)) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", size, PAINTS[name]).save(file, file_format, quality=90)
        return file.getvalue()

    return paint


def huge_png(side: int = 30_000) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture(scope="session")
def bad_photos(paint: Callable[..., bytes]) -> dict[str, tuple[bytes, str]]:
    """Files that cannot be classified, each with the reason of its error."""
    return {
        "empty": (b"", "PHOTO_EMPTY"),
        "text": (b"This is not a photo.", "PHOTO_FORMAT_UNSUPPORTED"),
        "truncated": (paint("747")[:300], "PHOTO_UNDECODABLE"),
        "huge": (huge_png(), "PHOTO_TOO_LARGE"),
    }


@pytest.fixture
def reserve_port() -> Iterator[Callable[[], int]]:
    """Reserve a local port: no other program can take it during the test; servers may bind it, one at a time."""
    with ExitStack() as stack:

        def reserve() -> int:
            holder = stack.enter_context(socket.socket())  # bound, but not listening
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
            return int(holder.getsockname()[1])

        yield reserve


@pytest.fixture
def reserved_port(reserve_port: Callable[[], int]) -> int:
    """A local port that no other program can take during the test; servers of the test may bind it, one at a time."""
    return reserve_port()


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A Chromium for the tests of a file; it ends with them, as its event loop is in the way of those of others."""
    from playwright.sync_api import sync_playwright

    from planespotter_scraping.crawling import browser

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=str(browser.ensure_chromium()), args=[*browser.LAUNCH_ARGUMENTS, "--no-sandbox"]
        )
        yield started
        started.close()
