"""Servers that violate the protocol are reported as such."""

from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from tests.client.fake_servers import PREDICTION, FakeServer, collect, photos_of, running

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import (
    ProtocolError,
)

Paint = Callable[..., bytes]


async def test_drained_server_must_answer_the_accepted_photos(connect: Any) -> None:
    class Forgetful(FakeServer):
        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            next(photos_of(requests))
            yield pb.StreamClassifyResponse(drain_notice=pb.DrainNotice(accepted_count=1))

    with running(Forgetful()) as address, pytest.raises(ProtocolError, match="before it had answered all"):
        await collect((await connect(address)).stream([b"photo"]))


class ForeignServer(FakeServer):
    """A server that violates the protocol."""

    def __init__(self, results: list[pb.StreamClassifyResponse]) -> None:
        super().__init__()
        self.results = results

    def BatchClassify(self, request: Any, context: Any) -> pb.BatchClassifyResponse:  # noqa: N802
        return pb.BatchClassifyResponse()

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        next(photos_of(requests))
        yield from self.results


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        (
            [pb.StreamClassifyResponse(result=pb.PhotoResult(id="of another", prediction=PREDICTION))],
            "a result for the photo 'of another', which was not sent",
        ),
        ([pb.StreamClassifyResponse(result=pb.PhotoResult(id="0", prediction=PREDICTION))] * 2, "was already answered"),
        ([], "ended the stream before it had answered all photos"),
    ],
)
async def test_unexpected_results_of_a_stream_are_protocol_errors(
    connect: Any, results: list[pb.StreamClassifyResponse], sentence: str
) -> None:
    with running(ForeignServer(results)) as address, pytest.raises(ProtocolError, match=sentence):
        await collect((await connect(address)).stream([b"photo"]))


async def test_batch_with_too_few_results_is_a_protocol_error(connect: Any) -> None:
    with running(ForeignServer([])) as address:
        [result] = await (await connect(address)).classify_batch([b"photo"])
    assert isinstance(result.error, ProtocolError)
    assert "0 results for 1 photo." in str(result.error)


async def test_another_kind_of_server_is_a_protocol_error(connect: Any) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    spotter = await connect(f"127.0.0.1:{port}")
    with pytest.raises(ProtocolError, match="not a planespotter server"):
        await spotter.wait_until_ready(60)
    server.stop(None).wait()


async def test_prediction_without_a_path_is_a_protocol_error(connect: Any) -> None:
    class PathlessServer(FakeServer):
        def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
            return pb.ClassifyResponse()

        def BatchClassify(self, request: Any, context: Any) -> pb.BatchClassifyResponse:  # noqa: N802
            return pb.BatchClassifyResponse(results=[pb.PhotoResult()])

    with running(PathlessServer()) as address:
        client = await connect(address)
        with pytest.raises(ProtocolError, match="a prediction without a path"):
            await client.classify(b"photo")
        [result] = await client.classify_batch([b"photo"])
    assert isinstance(result.error, ProtocolError)
    assert result.error.photo_id == "0"
