"""Heat maps over a real connection: on request, for one model only, and without harm if they fail."""

import io
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_models import Bundle, Engine, read_bundle
from planespotter_models.engines import explainer
from planespotter_models.engines.jax import deserialize

Paint = Callable[..., bytes]
Serve = Callable[..., Awaitable[Any]]
WITH_HEAT_MAP = pb.ClassifyOptions(heat_map=True)


@pytest.fixture
async def channel(serve: Serve, heat_map_bundle: Path, loaded: tuple[Bundle, Engine]) -> Any:
    """A channel to a server with a model that supports heat maps, its default, and one that does not."""
    channel = await serve()
    server = channel.server
    bundle = read_bundle(heat_map_bundle)
    server.service.models.put(bundle.name, {bundle.version: server.create_model(bundle, loaded[1])})
    return channel


def service(channel: Any) -> Any:
    return pb_grpc.ClassifierServiceStub(channel)


def left_red() -> bytes:
    """A photo of the bundle's own size whose left third is red, on Airbus green."""
    pixels = np.full((32, 48, 3), (0, 245, 10), np.uint8)
    pixels[:, :16] = (240, 10, 10)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


async def test_prediction_has_a_heat_map_on_request(channel: Any) -> None:
    request = pb.ClassifyRequest(photo=pb.Photo(content=left_red()), options=WITH_HEAT_MAP)
    prediction = (await service(channel).Classify(request)).prediction
    heat = np.frombuffer(prediction.heat_map.values, np.uint8)
    heat = heat.reshape(prediction.heat_map.rows, prediction.heat_map.columns)
    assert heat.shape == (2, 3)
    assert heat[1].tolist() == [240, 0, 0]
    leaves = [["Airbus", "A320", "A320-200"], ["Airbus", "A320", "A320neo"], ["Airbus", "A380"]]
    assert leaves[heat[0, 0]] == [node.name for node in prediction.path]


async def test_prediction_has_no_heat_map_by_default(channel: Any) -> None:
    prediction = (await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=left_red())))).prediction
    assert not prediction.HasField("heat_map")


async def test_photos_of_batches_and_streams_have_heat_maps(channel: Any) -> None:
    batch = await service(channel).BatchClassify(
        pb.BatchClassifyRequest(photos=[pb.Photo(content=left_red())] * 3, options=WITH_HEAT_MAP)
    )
    assert [result.prediction.heat_map.rows for result in batch.results] == [2, 2, 2]
    call = service(channel).StreamClassify()
    await call.write(pb.StreamClassifyRequest(config=pb.StreamConfig(options=WITH_HEAT_MAP)))
    for number in range(3):
        await call.write(pb.StreamClassifyRequest(photo=pb.Photo(id=str(number), content=left_red())))
    await call.done_writing()
    rows = {response.result.id: response.result.prediction.heat_map.rows async for response in call}
    assert rows == {"0": 2, "1": 2, "2": 2}


async def test_model_without_heat_maps_rejects_the_request(channel: Any) -> None:
    models = (await service(channel).ListModels(pb.ListModelsRequest())).models
    assert {model.name: model.heat_map_supported for model in models} == {"heat-map": True, "tiny": False}
    options = pb.ClassifyOptions(model_name="tiny", heat_map=True)
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=left_red()), options=options))
    status = rpc_status.from_call(rejected.value)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info.reason == "HEAT_MAP_UNSUPPORTED"
    assert "The model tiny 1 cannot compute heat maps" in status.message


async def test_invalid_heat_map_function_is_loaded_once_and_affects_no_other_request(
    channel: Any,
    heat_map_bundle: Path,
    loaded: tuple[Bundle, Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, bundle = channel.server, read_bundle(heat_map_bundle)
    broken = replace(bundle, heat_map=b"nothing that JAX exported")
    server.service.models.put(bundle.name, {bundle.version: server.create_model(broken, loaded[1])})
    calls = []

    def load(*arguments: Any) -> Any:
        calls.append(arguments)
        return deserialize(*arguments)

    monkeypatch.setattr(explainer, "deserialize", load)
    for _ in range(3):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await service(channel).Classify(
                pb.ClassifyRequest(photo=pb.Photo(content=left_red()), options=WITH_HEAT_MAP)
            )
        assert failed.value.code() is grpc.StatusCode.INTERNAL
        assert "its log has the details" in (failed.value.details() or "")
    assert len(calls) == 1
    assert (
        (await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=left_red()))))
        .prediction.path[0]
        .name
    )
