"""Fixtures of bulk classification: the command in this process, an S3 server on loopback, and photos."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pyarrow.fs
import pytest

from planespotter_bulk import classifier, storage
from planespotter_client.commands.main import main
from planespotter_models import load_engine

Bulk = Callable[..., int]


@pytest.fixture
def bulk() -> Bulk:
    """Run `planespotter bulk` in this process; returns its exit code."""

    def bulk(*arguments: object) -> int:
        with pytest.raises(SystemExit) as done:
            main(["bulk", *map(str, arguments)])
        assert isinstance(done.value.code, int)
        return done.value.code

    return bulk


@pytest.fixture(autouse=True, scope="session")
def compile_once() -> Iterator[None]:
    """Share the engine among the workers of a test process: compiling takes longer than the tests."""
    engines: dict[str, Any] = {}

    def load_once(bundle: Any, *arguments: Any, **options: Any) -> Any:
        if bundle.name not in engines:
            engines[bundle.name] = load_engine(bundle, *arguments, **options)
        return engines[bundle.name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "load_engine", load_once)
        yield


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """An S3 server on loopback with the bucket `airport`; returns a filesystem that may create buckets."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setattr(storage, "_filesystems", {})
        admin = pyarrow.fs.S3FileSystem(
            endpoint_override=os.environ["AWS_ENDPOINT_URL"], region="us-east-1", allow_bucket_creation=True
        )
        urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()  # of the module that ran first
        admin.create_dir("airport")
        yield admin
    server.stop()


@pytest.fixture
def photos(tmp_path: Path, paint: Callable[..., bytes]) -> Path:
    """Photos in nested folders, named for what they show, and files that are not listed."""
    folder = tmp_path / "photos"
    for name in ("A320neo", "737-800", "gate/747", "gate/north/A380", "gate.old/737-800"):
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(paint(path.stem))
    (folder / "notes.txt").write_text("not a photo")
    (folder / ".hidden.jpg").write_bytes(b"")
    return folder
