"""Which model answers whom: by name and version, and who stands in where a request gives none."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_models import Bundle, Engine
from planespotter_server.models.registry import Models, natural_order
from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.served_model import ServedModel
from planespotter_server.settings import Settings


@pytest.fixture
async def made(loaded: tuple[Bundle, Engine]) -> Any:
    def make(name: str, version: str) -> ServedModel:
        return ServedModel(replace(loaded[0], name=name, version=version), loaded[1], Settings())

    return make


def test_versions_are_ordered_as_people_do() -> None:
    versions = ["10", "2", "1.10", "1.9", "2024-12-01", "2024-9-30", "v2", "v10", "1.9-rc1"]
    assert sorted(versions, key=natural_order) == [
        "1.9",
        "1.9-rc1",
        "1.10",
        "2",
        "10",
        "2024-9-30",
        "2024-12-01",
        "v2",
        "v10",
    ]


@given(st.lists(st.text(max_size=6)))
def test_any_texts_have_an_order(texts: list[str]) -> None:
    assert len(sorted(set(texts), key=natural_order)) == len(set(texts))


async def test_the_highest_version_answers_unless_another_is_asked_for(made: Any) -> None:
    models = Models()
    old, new = made("small", "9"), made("small", "10")
    models.put("small", {"9": old, "10": new})
    assert models.find() is models.find("small") is models.find("", "10") is new
    assert models.find("small", "9") is old
    assert models.all() == [new, old]


async def test_the_default_is_the_first_by_name_or_the_one_that_is_set(made: Any) -> None:
    for default, expected in (("", "a"), ("b", "b"), ("gone", "a")):
        models = Models(default)
        for name in "ba":
            models.put(name, {"1": made(name, "1")})
        assert models.find().bundle.name == models.default == expected
        assert [models.is_default(model) for model in models.all()] == [expected == "a", expected == "b"]


async def test_what_is_not_there_is_refused_with_what_is(made: Any) -> None:
    models = Models()
    models.put("small", {"1": made("small", "1")})
    with pytest.raises(
        RequestRejected, match=r"no version '2' of the model 'small' here; this server serves '1'\."
    ) as refused:
        models.find("small", "2")
    assert (refused.value.reason, refused.value.metadata["model_version"]) == ("MODEL_NOT_FOUND", "2")
    with pytest.raises(RequestRejected, match=r"no model 'large' here; this server serves 'small'\."):
        models.find("large", "1")


async def test_putting_returns_what_is_no_longer_served(made: Any) -> None:
    models = Models()
    first, second = made("small", "1"), made("small", "2")
    assert models.put("small", {"1": first}) == []
    assert models.put("small", {"1": first, "2": second}) == []
    assert models.put("small", {"2": second}) == [first]
    assert models.put("small", {}) == [second]
    assert not models
