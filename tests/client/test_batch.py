"""classify_batch, by either client."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tests.client.fake_servers import PREDICTION, FakeServer, collect, model_names, running

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import (
    InvalidRequestError,
    PlaneSpotterError,
)

Paint = Callable[..., bytes]


async def test_batch_results_keep_the_order_of_the_photos(spotter: Any, paint: Paint) -> None:
    names = ["737-800", "A320neo", "A320-200"] * 6  # more than one batch
    assert model_names(await spotter.classify_batch([paint(name) for name in names])) == names


async def test_invalid_photos_do_not_affect_the_rest_of_a_batch(
    spotter: Any, paint: Paint, bad_photos: dict[str, tuple[bytes, str]]
) -> None:
    photos = [*(photo for photo, _ in bad_photos.values()), "/nowhere.jpg", bytes(100_001), paint("A320neo")]
    results = await spotter.classify_batch(photos)
    assert [result.error.reason for result in results[:-1]] == [
        *(reason for _, reason in bad_photos.values()),
        "PHOTO_UNREADABLE",
        "PHOTO_TOO_LARGE",
    ]
    assert results[-1].result().path[2].name == "A320neo"
    with pytest.raises(InvalidRequestError):
        results[0].result()


async def test_batches_stay_below_the_message_limit(spotter: Any, paint: Paint) -> None:
    photo = paint("A320neo") + bytes(50_000)  # trailing bytes of a JPEG are ignored
    assert model_names(await spotter.classify_batch([photo] * 5)) == ["A320neo"] * 5


async def test_no_photos_give_no_results(spotter: Any) -> None:
    assert await spotter.classify_batch([]) == []
    assert await collect(spotter.stream([])) == []


async def test_failed_batch_does_not_affect_the_rest(connect: Any) -> None:
    class Flaky(FakeServer):
        def BatchClassify(self, request: Any, context: Any) -> pb.BatchClassifyResponse:  # noqa: N802
            self.calls += 1
            if self.calls == 2:
                context.abort(grpc.StatusCode.INTERNAL, "oh")
            return pb.BatchClassifyResponse(results=[pb.PhotoResult(prediction=PREDICTION)] * len(request.photos))

    with running(Flaky()) as address:
        results = await (await connect(address)).classify_batch([b"photo"] * 20)
    assert [result.error is None for result in results] == [True] * 9 + [False] * 9 + [True] * 2
    assert [result.index for result in results] == list(range(20))


async def test_error_status_without_details_is_an_error(connect: Any) -> None:
    with running(FakeServer()) as address:
        [result] = await (await connect(address)).classify_batch([b"photo"])
    assert isinstance(result.error, PlaneSpotterError)
    assert str(result.error) == "Gone."
