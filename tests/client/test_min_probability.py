"""The minimum probability: a user decides how confident a prediction must be, for a call, a run or the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.client.classify.command import csv_rows, run
from tests.client.fake_servers import FakeServer, collect, photos_of, running
from tests.client.predictions import path_of

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import Level, Prediction

Paint = Callable[..., bytes]

PATH = [
    pb.PathNode(level=pb.LEVEL_CONSTRUCTOR, name="Boeing", probability=0.9),
    pb.PathNode(level=pb.LEVEL_FAMILY, name="737", probability=0.6),
    pb.PathNode(level=pb.LEVEL_MODEL, name="737-800", probability=0.4),
]
UNCERTAIN = pb.Prediction(path=PATH, level=pb.LEVEL_CONSTRUCTOR)
EXPECTED = {
    None: "Boeing",
    0: "Boeing 737-800",
    0.4: "Boeing 737-800",
    0.5: "Boeing 737",
    0.7: "Boeing",
    0.95: "unknown",
}


class UncertainServer(FakeServer):
    def GetModel(self, request: Any, context: Any) -> pb.GetModelResponse:  # noqa: N802
        return pb.GetModelResponse(model=pb.Model(name="uncertain", version="1"))

    def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:  # noqa: N802
        return pb.ClassifyResponse(prediction=UNCERTAIN)

    def BatchClassify(self, request: Any, context: Any) -> pb.BatchClassifyResponse:  # noqa: N802
        return pb.BatchClassifyResponse(results=[pb.PhotoResult(prediction=UNCERTAIN) for _ in request.photos])

    def StreamClassify(self, requests: Any, context: Any) -> Any:  # noqa: N802
        for photo in photos_of(requests):
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo.id, prediction=UNCERTAIN))


@pytest.mark.parametrize(("minimum", "name"), EXPECTED.items())
async def test_user_chooses_how_probable_a_level_must_be(connect: Any, minimum: float | None, name: str) -> None:
    with running(UncertainServer()) as address:
        spotter = await connect(address)
        single = await spotter.classify(b"photo", min_probability=minimum)
        [batch] = await spotter.classify_batch([b"photo"], min_probability=minimum)
        streams = [
            await collect(spotter.stream([b"photo"], min_probability=minimum, preserve_order=order))
            for order in (False, True)
        ]
    predictions = [single, batch.result(), *(results[0].result() for results in streams)]
    assert [prediction.name for prediction in predictions] == 4 * [name]


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
async def test_probability_out_of_range_is_a_value_error(connect: Any, value: float) -> None:
    spotter = await connect("127.0.0.1:1")
    with pytest.raises(ValueError, match="min_probability is invalid"):
        await spotter.classify(b"photo", min_probability=value)


def test_run_with_another_minimum_does_not_append_to_the_same_file(
    tmp_path: Path, paint: Paint, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(paint("747"))
    with running(UncertainServer()) as address:
        arguments = (tmp_path, "--server", address, "--out", tmp_path / "a.csv")
        assert run(*arguments, "--min-probability", "0.5", "--sort-into", tmp_path / "sorted") == 0
        [row] = csv_rows((tmp_path / "a.csv").read_text())
        assert (row["level"], row["name"], row["family"], row["model"]) == ("family", "Boeing 737", "737", "")
        assert (tmp_path / "sorted/Boeing/737/photo.jpg").exists()
        assert run(*arguments) == 1
    message = capsys.readouterr().err
    assert "was started with --min-probability 0.5, and this run would append the thresholds of the model" in message


def test_levels_are_confident_only_if_all_above_are() -> None:
    prediction = Prediction(path_of(("Boeing", 0.5), ("737", 0.9)), Level.FAMILY)
    assert prediction.with_min_probability(0.7).level is Level.UNKNOWN
    assert prediction.with_min_probability(None) is prediction
