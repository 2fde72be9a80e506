"""classify, get_model, list_models and get_server_info, by either client."""

import importlib.metadata
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from tests.client.fake_servers import PAINTED_A320NEO, PREDICTION, FakeServer, collect, model_names, running

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import (
    HeatMap,
    InvalidRequestError,
    Level,
    NotFoundError,
    PhotoReadError,
    PlaneSpotterError,
    UnavailableError,
)

Paint = Callable[..., bytes]


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "file", "memory"])
async def test_photo_is_a_path_bytes_or_a_file(spotter: Any, paint: Paint, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(paint("737-800"))
    with path.open("rb") as file:
        photo = {
            "path": path,
            "text": str(path),
            "bytes": path.read_bytes(),
            "file": file,
            "memory": io.BytesIO(path.read_bytes()),
        }[kind]
        prediction = await spotter.classify(photo)
    assert (prediction.level, prediction.name) == (Level.MODEL, "Boeing 737-800")
    assert str(prediction).startswith("Boeing 737-800 (9") or str(prediction).startswith("Boeing 737-800 (> 99 %")


async def test_top_k_candidates_are_returned(spotter: Any, paint: Paint) -> None:
    prediction = await spotter.classify(paint("A320neo"), top_k=2, model="tiny")
    assert prediction.candidates[0].model == "A320neo"
    assert len(prediction.candidates) == 2


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "huge"])
async def test_invalid_photo_raises_with_its_reason(
    spotter: Any, bad_photos: dict[str, tuple[bytes, str]], tmp_path: Path, kind: str
) -> None:
    photo, reason = bad_photos[kind]
    path = tmp_path / "bad.jpg"
    path.write_bytes(photo)
    with pytest.raises(InvalidRequestError) as raised:
        await spotter.classify(path)
    assert (raised.value.reason, raised.value.photo_id) == (reason, str(path))


async def test_every_error_of_a_photo_has_its_photo_id(spotter: Any, paint: Paint, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(paint("747"))
    for options in ({"top_k": 21}, {"model": "other"}, {"model": "other", "downscale": True}):
        with pytest.raises(PlaneSpotterError) as raised:
            await spotter.classify(path, **options)
        assert raised.value.photo_id == str(path), options


async def test_unavailable_server_error_has_the_photo_id(connect: Any, reserved_port: int) -> None:
    with pytest.raises(UnavailableError) as raised:
        await (await connect(f"127.0.0.1:{reserved_port}")).classify("photo.jpg")
    assert raised.value.photo_id == "photo.jpg"


async def test_object_that_is_not_a_photo_is_a_type_error(spotter: Any) -> None:
    with pytest.raises(TypeError, match="not int"):
        await spotter.classify(7)
    with pytest.raises(TypeError, match="binary mode"):
        await spotter.classify(io.StringIO("text"))


async def test_missing_file_raises_with_its_path(spotter: Any, tmp_path: Path) -> None:
    with pytest.raises(PhotoReadError, match=r"nowhere\.jpg cannot be read: No such file"):
        await spotter.classify(tmp_path / "nowhere.jpg")


async def test_photo_above_the_limit_is_not_sent(spotter: Any) -> None:
    with pytest.raises(InvalidRequestError, match="100,000") as raised:
        await spotter.classify(bytes(100_001))
    assert raised.value.reason == "PHOTO_TOO_LARGE"
    assert raised.value.metadata["limit"] == "100000"


async def test_unknown_model_is_not_found(spotter: Any, paint: Paint) -> None:
    with pytest.raises(NotFoundError, match="The model is unknown: 'other'"):
        await spotter.classify(paint("747"), model="other")


async def test_top_k_above_the_limit_is_invalid(spotter: Any, paint: Paint) -> None:
    with pytest.raises(InvalidRequestError, match="from 0 to 20"):
        await spotter.classify(paint("747"), top_k=21)


async def test_model_has_its_label_tree_and_metrics(spotter: Any) -> None:
    model = await spotter.get_model()
    assert model.tree["Boeing"] == {"737": ("737-800", "737 MAX 8"), "747": ()}
    assert (model.name, model.version, model.input_size) == ("tiny", "1", (32, 48))
    assert (model.metrics[0].name, model.metrics[0].source) == ("constructor_accuracy", None)


async def test_server_info_has_version_and_limits(spotter: Any) -> None:
    info = await spotter.get_server_info()
    assert info.version == importlib.metadata.version("planespotter")
    assert (info.limits.max_in_flight_per_stream, info.limits.max_photo_bytes) == (4, 100_000)
    assert (info.limits.max_queue_wait, info.limits.max_photos_per_second) == (10.0, None)


async def test_model_is_selected_by_name_and_version(spotter: Any, paint: Paint) -> None:
    [model] = await spotter.list_models()
    assert (model.name, model.version, model.is_default) == ("tiny", "1", True)
    assert model == await spotter.get_model("tiny", model_version="1")
    photo = paint("747")
    prediction = await spotter.classify(photo, model="tiny", model_version="1")
    assert (prediction.model_name, prediction.model_version) == ("tiny", "1")
    for call in (spotter.classify(photo, model_version="9"), spotter.get_model(model_version="9")):
        with pytest.raises(NotFoundError):
            await call
    with pytest.raises(NotFoundError):  # the options of a batch or a stream apply to all its photos
        await spotter.classify_batch([photo], model_version="9")
    with pytest.raises(NotFoundError):
        await collect(spotter.stream([photo], model_version="9"))


async def test_heat_map_is_returned_on_request(connect: Any) -> None:
    class HeatMapServer(FakeServer):
        def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
            heat_map = pb.HeatMap(rows=2, columns=3, values=bytes(range(0, 120, 20)))
            return pb.ClassifyResponse(
                prediction=pb.Prediction(path=PREDICTION.path, heat_map=heat_map if request.options.heat_map else None)
            )

    with running(HeatMapServer()) as address:
        spotter = await connect(address)
        assert (await spotter.classify(b"photo")).heat_map is None
        prediction = await spotter.classify(b"photo", heat_map=True)
    assert prediction.heat_map == HeatMap(((0, 20, 40), (60, 80, 100)))
    assert prediction.heat_map.size == (2, 3)
    assert prediction.to_dict()["heat_map"] == {"cells": [[0, 20, 40], [60, 80, 100]]}


async def test_pil_images_and_arrays_are_photos(spotter: Any, paint: Paint) -> None:
    image = Image.open(io.BytesIO(paint("A320neo")))
    photos = [image, np.asarray(image)]
    for photo in photos:
        assert (await spotter.classify(photo)).path[2].name == "A320neo"
    assert model_names(await spotter.classify_batch(photos)) == ["A320neo"] * 2
    assert model_names(await collect(spotter.stream(photos))) == ["A320neo"] * 2


async def test_large_photos_are_downscaled_before_sending(spotter: Any) -> None:
    """Noise around a color: the file exceeds the server's limit, its mean is an A320neo."""
    noise = np.random.default_rng(0).integers(-40, 40, (300, 450, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(noise + PAINTED_A320NEO, 0, 255).astype(np.uint8)).save(file, "PNG")
    photos = [file.getvalue()] * 2
    assert (await spotter.classify(photos[0], downscale=True)).path[2].name == "A320neo"
    assert model_names(await spotter.classify_batch(photos, downscale=True)) == ["A320neo"] * 2
    assert model_names(await collect(spotter.stream(photos, downscale=True))) == ["A320neo"] * 2
    with pytest.raises(InvalidRequestError, match="downscale=True"):
        await spotter.classify(photos[0])


async def test_error_details_of_a_server_are_truncated(connect: Any) -> None:
    class VerboseServer(FakeServer):
        def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
            raise context.abort(grpc.StatusCode.UNKNOWN, "x" * 3000)

    with running(VerboseServer()) as address, pytest.raises(PlaneSpotterError) as failed:
        await (await connect(address)).classify(b"photo")
    assert len(str(failed.value)) < 400
