"""Faults of the caller, such as a revoked token, are never reported as the failure of a photo."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from tests.client.classify.command import run
from tests.client.fake_servers import PREDICTION, FakeServer, photos_of, running

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import AuthenticationError, MissingDependencyError, PhotoResult, PlaneSpotterError

Paint = Callable[..., bytes]


class RevokingServer(FakeServer):
    """Answers the first photo of a stream or a batch, and rejects the caller from the second on."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__()
        self.status = status_pb2.Status(code=code, message="Not you.")
        self.status.details.add().Pack(ErrorInfo(reason=reason))

    def outcome(self, position: int, photo_id: str) -> pb.PhotoResult:
        if position == 0:
            return pb.PhotoResult(id=photo_id, prediction=PREDICTION)
        return pb.PhotoResult(id=photo_id, error=self.status)

    def BatchClassify(self, request: Any, context: Any) -> pb.BatchClassifyResponse:  # noqa: N802
        return pb.BatchClassifyResponse(results=[self.outcome(i, "") for i, _ in enumerate(request.photos)])

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        for position, photo in enumerate(photos_of(requests)):
            yield pb.StreamClassifyResponse(result=self.outcome(position, photo.id))


FAULTS = pytest.mark.parametrize(
    ("code", "reason"),
    [
        (code_pb2.UNAUTHENTICATED, "TOKEN_INVALID"),
        (code_pb2.PERMISSION_DENIED, ""),
        (code_pb2.NOT_FOUND, "MODEL_NOT_FOUND"),
        (code_pb2.INVALID_ARGUMENT, "HEAT_MAP_UNSUPPORTED"),
    ],
)


@FAULTS
async def test_stream_ends_with_the_error_after_the_results_that_have_arrived(
    connect: Any, code: int, reason: str
) -> None:
    with running(RevokingServer(code, reason)) as address:
        spotter = await connect(address)
        results: list[PhotoResult] = []

        async def gather() -> None:
            async for result in spotter.stream([b"a", b"b", b"c"]):
                results.append(result)  # noqa: PERF401  (keeps what arrived before the error)

        with pytest.raises(PlaneSpotterError, match=r"Not you\."):
            await gather()
        assert [(result.index, result.error) for result in results] == [(0, None)]


@FAULTS
async def test_batch_raises_the_error(connect: Any, code: int, reason: str) -> None:
    with running(RevokingServer(code, reason)) as address:
        spotter = await connect(address)
        with pytest.raises(PlaneSpotterError, match=r"Not you\."):
            await spotter.classify_batch([b"a", b"b"])


async def test_missing_package_is_not_the_failure_of_each_photo(spotter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setitem(sys.modules, "PIL", None)
    photos = [np.zeros((60, 90, 3), np.uint8)]
    with pytest.raises(MissingDependencyError):
        await spotter.classify_batch(photos)
    with pytest.raises(MissingDependencyError):
        [result async for result in spotter.stream(photos)]


@pytest.mark.parametrize("name", ["seen.csv", "seen.jsonl", "seen.parquet"])
def test_token_that_expires_during_an_archive_run_fails_no_photo(
    tmp_path: Path, paint: Paint, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_bytes(paint("747"))
    out = tmp_path / name
    with running(RevokingServer(code_pb2.UNAUTHENTICATED, "TOKEN_INVALID")) as address:
        assert run(tmp_path, "--server", address, "--out", out) == 1
        message = capsys.readouterr().err
        assert "2 of 3 photos have no result, because the stream was aborted. Not you." in message
        assert run(tmp_path / "0.jpg", "--server", address, "--out", out) == 0
        assert "has a result for the photo" in capsys.readouterr().err


async def test_authentication_error_is_what_a_program_catches(connect: Any) -> None:
    with running(RevokingServer(code_pb2.PERMISSION_DENIED, "")) as address:
        spotter = await connect(address)
        with pytest.raises(AuthenticationError):
            [result async for result in spotter.stream([b"a", b"b"])]
