"""What a developer meets in a notebook: tables instead of dataclasses, and photos with ids that they choose."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.client.fake_servers import collect
from tests.client.predictions import path_of

from planespotter_client import Candidate, HeatMap, Level, PhotoResult, Prediction

Paint = Callable[..., bytes]


def test_prediction_is_a_table_in_a_notebook_with_escaped_names() -> None:
    heat_map = HeatMap(((0, 255),))
    leaf = Candidate("Boeing", "737", None, 0.5)
    prediction = Prediction(path_of(("Boeing", 0.99), ("<737>", 0.5)), Level.CONSTRUCTOR, (leaf,), heat_map=heat_map)
    html = prediction._repr_html_()
    assert html.startswith("<b>Boeing (99 %)</b><table>")
    assert "<td>family</td><td>&lt;737&gt;</td><td>50 %</td><td>a guess</td>" in html
    assert "<td>candidate</td><td>Boeing 737</td>" in html
    assert html.count("background:rgb") == 2
    assert PhotoResult(0, "a<b>.jpg", b"", prediction=prediction)._repr_html_() == f"a&lt;b&gt;.jpg: {html}"


async def test_model_is_a_table_in_a_notebook(spotter: Any) -> None:
    html = (await spotter.get_model())._repr_html_()
    assert "<td>Airbus</td><td>A320</td><td>A320-200, A320neo</td>" in html
    assert "<td>constructor_accuracy</td><td>0.960</td><td>200 photos</td>" in html


async def test_bytes_from_memory_get_the_id_that_the_caller_gives(spotter: Any, paint: Paint) -> None:
    photos = [("camera-1/0815", paint("747")), paint("A380"), ("empty", b"")]
    for results in (await collect(spotter.stream(photos)), await spotter.classify_batch(photos)):
        assert [result.photo_id for result in results] == ["camera-1/0815", "1", "empty"]
        assert results[0].photo == photos[0][1]
        assert results[0].result().name == "Boeing 747"
        assert results[2].error is not None
        assert results[2].error.photo_id == "empty"


@pytest.mark.parametrize("pair", [("id",), (1, b"photo"), ("id", b"photo", 3)])
async def test_tuple_that_is_not_an_id_and_a_photo_is_a_type_error(spotter: Any, pair: Any) -> None:
    with pytest.raises(TypeError, match=r"\(id, photo\)"):
        await collect(spotter.stream([pair]))
    with pytest.raises(TypeError, match=r"\(id, photo\)"):
        await spotter.classify_batch([pair])
