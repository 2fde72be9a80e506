"""Fake servers that misbehave on demand, and helpers for results."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1 import health, health_pb2_grpc

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client import (
    PhotoResult,
)

Paint = Callable[..., bytes]


PAINTED_A320NEO = (200, 128, 50)
"""A color that the tiny bundle predicts to be an A320neo."""
PREDICTION = pb.Prediction(path=[pb.PathNode(level=pb.LEVEL_CONSTRUCTOR, name="Boeing", probability=0.9)])


async def collect(results: AsyncIterator[PhotoResult]) -> list[PhotoResult]:
    return sorted([result async for result in results], key=lambda result: result.index)


def model_names(results: list[PhotoResult]) -> list[str]:
    return [result.result().path[2].name for result in results]


def photos_of(requests: Iterator[pb.StreamClassifyRequest]) -> Iterator[pb.Photo]:
    """Yield the photos of a stream, whose first message is its config."""
    assert next(requests).HasField("config")
    for request in requests:
        assert request.HasField("photo")
        yield request.photo


class FakeServer(pb_grpc.ClassifierServiceServicer):
    """A server with just enough behavior for a test; subclasses override methods."""

    def __init__(self) -> None:
        self.failures = 0
        self.calls = 0
        self.over = threading.Event()

    def GetServerInfo(self, request: Any, context: Any) -> pb.GetServerInfoResponse:  # noqa: N802
        limits = pb.Limits(
            max_photo_bytes=10**6,
            max_batch_photos=9,
            max_message_bytes=2 * 10**6,
            max_in_flight_per_stream=2,
            max_top_k=5,
        )
        return pb.GetServerInfoResponse(limits=limits)

    def GetModel(self, request: Any, context: Any) -> pb.GetModelResponse:  # noqa: N802
        return pb.GetModelResponse()

    def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
        self.calls += 1
        if request.photo.content == b"slow":
            self.over.wait(60)
        if self.calls <= self.failures:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return pb.ClassifyResponse(prediction=PREDICTION)

    def BatchClassify(self, request: Any, context: Any) -> pb.BatchClassifyResponse:  # noqa: N802
        error = status_pb2.Status(code=code_pb2.DATA_LOSS, message="Gone.")
        return pb.BatchClassifyResponse(results=[pb.PhotoResult(error=error)] * len(request.photos))

    def ListModels(self, request: Any, context: Any) -> pb.ListModelsResponse:  # noqa: N802
        return pb.ListModelsResponse()

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=next(photos_of(requests)).id, prediction=PREDICTION))
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone away")


@contextmanager
def running(servicer: FakeServer, checks: health.HealthServicer | None = None) -> Iterator[str]:
    """Run a fake server, with a health service if `checks` is given; yield its address."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    pb_grpc.add_ClassifierServiceServicer_to_server(servicer, server)
    if checks is not None:
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        servicer.over.set()
        server.stop(None).wait()


def retry_later(seconds: float) -> status_pb2.Status:
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="Full.")
    status.details.add().Pack(ErrorInfo(reason="QUEUE_FULL"))
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(round(1000 * seconds))
    status.details.add().Pack(retry)
    return status
