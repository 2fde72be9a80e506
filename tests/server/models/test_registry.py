"""Model registry: lookup by name and version, with defaults."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_models import Bundle, Engine
from planespotter_server.models.registry import ModelRegistry, natural_order
from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.served_model import ServedModel
from planespotter_server.settings import Settings


@pytest.fixture
async def create(loaded: tuple[Bundle, Engine]) -> Any:
    def create(name: str, version: str) -> ServedModel:
        return ServedModel(replace(loaded[0], name=name, version=version), loaded[1], Settings())

    return create


def test_versions_sort_in_natural_order() -> None:
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
def test_any_texts_are_sortable(texts: list[str]) -> None:
    assert len(sorted(set(texts), key=natural_order)) == len(set(texts))


async def test_default_version_is_the_highest(create: Any) -> None:
    models = ModelRegistry()
    old, new = create("small", "9"), create("small", "10")
    models.put("small", {"9": old, "10": new})
    assert models.find() is models.find("small") is models.find("", "10") is new
    assert models.find("small", "9") is old
    assert models.all() == [new, old]


async def test_default_model_is_the_first_by_name_or_the_configured_one(create: Any) -> None:
    for default, expected in (("", "a"), ("b", "b"), ("gone", "a")):
        models = ModelRegistry(default)
        for name in "ba":
            models.put(name, {"1": create(name, "1")})
        assert models.find().bundle.name == models.default == expected
        assert [models.is_default(model) for model in models.all()] == [expected == "a", expected == "b"]


async def test_unknown_model_is_rejected_with_the_known_names(create: Any) -> None:
    models = ModelRegistry()
    models.put("small", {"1": create("small", "1")})
    with pytest.raises(
        RequestRejected, match=r"The model 'small' has no version '2'; this server has '1'\."
    ) as rejected:
        models.find("small", "2")
    assert (rejected.value.reason, rejected.value.metadata["model_version"]) == ("MODEL_NOT_FOUND", "2")
    with pytest.raises(RequestRejected, match=r"The model is unknown: 'large'; this server has 'small'\."):
        models.find("large", "1")


async def test_put_returns_the_models_that_are_no_longer_served(create: Any) -> None:
    models = ModelRegistry()
    first, second = create("small", "1"), create("small", "2")
    assert models.put("small", {"1": first}) == []
    assert models.put("small", {"1": first, "2": second}) == []
    assert models.put("small", {"2": second}) == [first]
    assert models.put("small", {}) == [second]
    assert not models
