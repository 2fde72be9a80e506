"""Exceptions and results: the table is complete, the values print well."""

import dataclasses
import inspect
import itertools
import json
import operator
import subprocess
import sys
import types

import grpc
import pytest
from tests.client.predictions import path_of

import planespotter_client
from planespotter_client import (
    Candidate,
    InvalidRequestError,
    Level,
    MissingDependencyError,
    PhotoResult,
    PlaneSpotterError,
    Prediction,
    _errors,
    to_dataframe,
)


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


def test_levels_that_the_label_tree_does_not_have_are_none() -> None:
    prediction = Prediction(path_of(("Airbus", 0.9), ("A380", 0.8)), Level.FAMILY)
    assert (prediction.constructor.name, prediction.family, prediction.model) == ("Airbus", prediction.path[1], None)
    assert [node.name for node in prediction.confident_path] == ["Airbus", "A380"]
    assert not dataclasses.replace(prediction, level=Level.UNKNOWN).confident_path


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
    answer = Prediction(path_of(("Boeing", 0.9991), ("737", 0.97), ("737-800", 0.94)), level)
    assert str(answer) == printed


def test_levels_compare_by_their_depth() -> None:
    by_depth = [Level.UNKNOWN, Level.CONSTRUCTOR, Level.FAMILY, Level.MODEL]
    for one, other in itertools.product(by_depth, repeat=2):
        places = by_depth.index(one), by_depth.index(other)
        for compare in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq):
            for text in (other, other.value):
                assert compare(one, text) is compare(*places)
                assert compare(text, one) is compare(*reversed(places))
    assert max(Level.FAMILY, Level.UNKNOWN) is Level.FAMILY


def test_an_answer_turns_into_plain_values() -> None:
    leaf = Candidate("Boeing", "747", None, 0.5)
    answer = Prediction(path_of(("Boeing", 1.0), ("747", 0.5)), Level.FAMILY, (leaf,))
    assert answer.to_dict() == {
        "path": [
            {"level": "constructor", "name": "Boeing", "probability": 1.0},
            {"level": "family", "name": "747", "probability": 0.5},
        ],
        "level": "family",
        "candidates": [
            {"name": "Boeing 747", "constructor": "Boeing", "family": "747", "model": None, "probability": 0.5}
        ],
        "model_name": "",
        "model_version": "",
        "heat_map": None,
    }
    assert json.loads(answer.to_json()) == answer.to_dict()
    assert answer == answer.__class__(**vars(answer))


SURE = Prediction(path_of(("Boeing", 0.99), ("737", 0.97), ("737-800", 0.94)), Level.MODEL, (), "first", "1.0")
ANSWERS = [
    PhotoResult(1, "b.jpg", b"", error=InvalidRequestError("It is empty.", reason="PHOTO_EMPTY", photo_id="b.jpg")),
    PhotoResult(0, "a.jpg", b"", prediction=SURE),
]


def test_an_answer_among_many_prints_with_its_photo() -> None:
    assert [str(answer) for answer in ANSWERS] == ["b.jpg: It is empty.", "a.jpg: Boeing 737-800 (94 %)"]
    assert str(Candidate("Airbus", "A380", None, 0.001)) == "Airbus A380 (< 1 %)"


def test_an_answer_among_many_turns_into_json_without_the_photo_itself() -> None:
    failed, sure = (json.loads(answer.to_json()) for answer in ANSWERS)
    assert failed["error"] == {
        "message": "It is empty.",
        "reason": "PHOTO_EMPTY",
        "metadata": {},
        "photo_id": "b.jpg",
        "retry_after": None,
    }
    assert sure == {"index": 0, "photo_id": "a.jpg", "prediction": SURE.to_dict(), "error": None}


def test_answers_compare_by_what_they_say() -> None:
    assert PhotoResult(0, "a.jpg", b"", prediction=SURE) == PhotoResult(0, "a.jpg", b"other", prediction=SURE)
    assert dataclasses.replace(SURE, model_version="1.1") != SURE
    assert len({SURE, dataclasses.replace(SURE)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        SURE.level = Level.UNKNOWN  # type: ignore[misc]


def test_answers_make_a_table() -> None:
    table = to_dataframe(iter(ANSWERS))
    assert list(table.index) == [0, 1]
    sure, failed = table.to_dict("records")
    assert (sure["photo_id"], sure["level"], sure["name"]) == ("a.jpg", "model", "Boeing 737-800")
    assert (sure["model_probability"], sure["model_version"]) == (0.94, "1.0")
    assert (failed["error"], failed["reason"]) == ("It is empty.", "PHOTO_EMPTY")
    assert list(to_dataframe([]).columns) == list(table.columns), "no answers make a table without rows"


def test_in_a_table_a_level_that_the_tree_does_not_have_is_empty_and_alternatives_are_lists() -> None:
    leaf = Candidate("Boeing", "747", None, 0.5)
    ends_at_family = dataclasses.replace(SURE, path=SURE.path[:2], level=Level.FAMILY, candidates=(leaf,))
    table = to_dataframe([PhotoResult(0, "a.jpg", b"", prediction=ends_at_family), *ANSWERS[:1]])
    assert list(table["model"].isna()) == [True, True]
    assert list(table["model_probability"].isna()) == [True, True]
    assert table["family_probability"][0] == 0.97
    assert table["candidates"][0] == [leaf.to_dict()]


def test_answers_of_single_photos_make_a_table_too() -> None:
    table = to_dataframe([SURE, dataclasses.replace(SURE, level=Level.FAMILY)])
    assert list(table.index) == [0, 1]
    assert list(table["name"]) == ["Boeing 737-800", "Boeing 737"]
    assert table["photo_id"].isna().all()


def test_without_pandas_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="pip install pandas"):
        to_dataframe(ANSWERS)


def test_importing_the_client_imports_nothing_heavy() -> None:
    heavy = {"jax", "pandas", "numpy", "PIL", "playwright", "rich", "typer"}
    code = f"import sys, planespotter_client; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "set()\n"
