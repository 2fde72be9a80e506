"""Exceptions and results: the table is complete, the values print well."""

import inspect
import json
import types

import grpc
import pytest

import planespotter_client
from planespotter_client import Alternative, Classification, Level, PlaneSpotterError, ScoredLabel, _errors


def test_the_package_exports_just_what_it_lists() -> None:
    public = {
        name
        for name, value in vars(planespotter_client).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(planespotter_client.__all__)


def test_every_status_code_has_its_exception() -> None:
    assert set(_errors.CODES) == set(grpc.StatusCode)


def test_every_exception_is_drawn_in_the_tree_and_exported() -> None:
    classes = {
        name for name, value in vars(_errors).items() if inspect.isclass(value) and issubclass(value, PlaneSpotterError)
    }
    assert _errors.__doc__ is not None
    assert all(name in _errors.__doc__ for name in classes)
    assert classes <= set(planespotter_client.__all__)


@pytest.mark.parametrize(
    ("level", "printed"),
    [
        (Level.MODEL, "Boeing 737-800 (94 %)"),
        (Level.FAMILY, "Boeing 737 (97 %)"),
        (Level.CONSTRUCTOR, "Boeing (> 99 %)"),
        (Level.UNKNOWN, "unknown (perhaps Boeing, > 99 %)"),
    ],
)
def test_an_answer_prints_as_what_is_sure(level: Level, printed: str) -> None:
    answer = Classification(
        level, ScoredLabel("Boeing", 0.9991), ScoredLabel("737", 0.97), ScoredLabel("737-800", 0.94)
    )
    assert str(answer) == printed


def test_an_answer_turns_into_plain_values() -> None:
    nothing = ScoredLabel("", 0.0)
    answer = Classification(
        Level.FAMILY,
        ScoredLabel("Boeing", 1.0),
        ScoredLabel("747", 0.5),
        nothing,
        (Alternative("Boeing", "747", "", 0.5),),
    )
    assert answer.to_dict() == {
        "level": "family",
        "constructor": {"name": "Boeing", "probability": 1.0},
        "family": {"name": "747", "probability": 0.5},
        "model": {"name": "", "probability": 0.0},
        "alternatives": [{"constructor": "Boeing", "family": "747", "model": "", "probability": 0.5}],
        "model_name": "",
        "model_version": "",
    }
    assert json.loads(answer.to_json()) == answer.to_dict()
    assert answer == answer.__class__(**vars(answer))
