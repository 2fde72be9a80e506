"""Busy and slow servers: retries after the server's delay, and hedged requests."""

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status
from tests.client.fake_servers import PREDICTION, FakeServer, collect, photos_of, retry_later, running

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import (
    OverloadedError,
    UnavailableError,
)

Paint = Callable[..., bytes]


class BusyServer(FakeServer):
    """A server that rejects each call, stream and photo a number of times, with a retry delay."""

    def __init__(self, rejections: int, seconds: float = 0.001) -> None:
        super().__init__()
        self.rejections = rejections
        self.status = retry_later(seconds)
        self.streams = 0
        self.attempts: Counter[str] = Counter()

    def reject(self, context: Any) -> None:
        context.abort_with_status(rpc_status.to_status(self.status))

    def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
        self.calls += 1
        if self.calls <= self.rejections:
            self.reject(context)
        return pb.ClassifyResponse(prediction=PREDICTION)

    def BatchClassify(self, request: Any, context: Any) -> pb.BatchClassifyResponse:  # noqa: N802
        """Accept one photo of each batch, the last."""
        *rejected, _ = request.photos
        self.calls += 1
        return pb.BatchClassifyResponse(
            results=[pb.PhotoResult(error=self.status) for _ in rejected] + [pb.PhotoResult(prediction=PREDICTION)]
        )

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        self.streams += 1
        if self.streams <= self.rejections:
            self.reject(context)
        for photo in photos_of(requests):
            self.attempts[photo.id] += 1
            busy = self.attempts[photo.id] <= self.rejections
            result = pb.PhotoResult(id=photo.id, prediction=PREDICTION)
            if busy:
                result.error.CopyFrom(self.status)
            yield pb.StreamClassifyResponse(result=result)


async def test_short_outage_is_retried(connect: Any) -> None:
    servicer = FakeServer()
    servicer.failures = 2
    with running(servicer) as address:
        spotter = await connect(address)
        await spotter.classify(bytes(500_000))  # larger than what gRPC retries by default
    assert servicer.calls == 3


async def test_rejected_call_is_retried_after_the_retry_delay(connect: Any) -> None:
    with running(servicer := BusyServer(3)) as address:
        await (await connect(address)).classify(b"photo")
        assert servicer.calls == 4


async def test_rejected_call_is_not_retried_without_retries(connect: Any, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    with running(servicer := BusyServer(9, seconds=0.25)) as address:
        with pytest.raises(OverloadedError) as raised:
            await (await connect(address, retries=0)).classify(tmp_path / "photo.jpg")
        assert (raised.value.reason, raised.value.retry_after) == ("QUEUE_FULL", 0.25)
        assert raised.value.photo_id == str(tmp_path / "photo.jpg")
        assert servicer.calls == 1


async def test_rejected_call_is_not_retried_beyond_its_deadline(connect: Any) -> None:
    with running(servicer := BusyServer(9, seconds=3600)) as address:
        with pytest.raises(OverloadedError):
            await (await connect(address)).classify(b"photo", timeout=60)
        assert servicer.calls == 1


async def test_rejected_photos_of_a_batch_are_retried(connect: Any) -> None:
    with running(servicer := BusyServer(0)) as address:
        results = await (await connect(address, retries=3)).classify_batch([b"photo"] * 5)
        assert [(result.index, type(result.error)) for result in results] == [
            (0, OverloadedError),
            *((index, type(None)) for index in range(1, 5)),
        ]
        assert servicer.calls == 4
        errors = [result.error for result in await (await connect(address, retries=0)).classify_batch([b"photo"] * 5)]
    assert [error.photo_id for error in errors[:-1] if error] == ["0", "1", "2", "3"]
    assert servicer.calls == 5


async def test_rejected_photos_of_a_stream_are_retried(connect: Any) -> None:
    with running(servicer := BusyServer(2)) as address:
        results = await collect((await connect(address)).stream(b"photo" for _ in range(20)))
    assert [(result.index, result.error) for result in results] == [(index, None) for index in range(20)]
    assert set(servicer.attempts.values()) == {3}


async def test_stream_retries_a_photo_at_most_retries_times(connect: Any) -> None:
    class Full(BusyServer):
        def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
            self.streams = 10**6
            return super().StreamClassify(requests, context)

    with running(servicer := Full(10**6 - 1)) as address:
        results = await collect((await connect(address, retries=2)).stream(b"photo" for _ in range(5)))
    assert [(result.index, type(result.error)) for result in results] == [(n, OverloadedError) for n in range(5)]
    assert set(servicer.attempts.values()) == {3}


class SlowOnceServer(FakeServer):
    """A server whose first call lasts until it is cancelled, or until the second has ended."""

    def __init__(self, second: grpc.StatusCode | None = None) -> None:
        super().__init__()
        self.second = second
        self.numbers = itertools.count(1)
        self.second_ended = threading.Event()
        self.first_cancelled = threading.Event()

    def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
        number = next(self.numbers)
        self.calls = max(self.calls, number)
        if number == 1:
            context.add_callback(self.first_cancelled.set)
            (self.second_ended if self.second else self.first_cancelled).wait(60)
        elif self.second:
            self.second_ended.set()
            context.abort(self.second, "no")
        return pb.ClassifyResponse(prediction=PREDICTION)


async def test_hedged_request_is_sent_after_the_hedge_delay(connect: Any) -> None:
    with running(servicer := SlowOnceServer()) as address:
        await (await connect(address)).classify(b"photo", hedge=0.01)
        assert await asyncio.to_thread(servicer.first_cancelled.wait, 60), "the slower call is cancelled"
    assert servicer.calls == 2


async def test_failed_hedge_waits_for_the_first_call(connect: Any) -> None:
    with running(servicer := SlowOnceServer(grpc.StatusCode.INTERNAL)) as address:
        await (await connect(address)).classify(b"photo", hedge=0.01)
    assert servicer.calls == 2


async def test_fast_call_is_not_hedged(connect: Any) -> None:
    with running(servicer := FakeServer()) as address:
        await (await connect(address)).classify(b"photo", hedge=60)
        assert servicer.calls == 1
        servicer.failures = 99
        with pytest.raises(UnavailableError):
            await (await connect(address)).classify(b"photo", hedge=60)
