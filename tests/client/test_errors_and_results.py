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

import planespotter_client
from planespotter_client import (
    Alternative,
    BadRequestError,
    Classification,
    Level,
    MissingPackageError,
    PhotoAnswer,
    PlaneSpotterError,
    ScoredLabel,
    _errors,
    frame,
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
        "alternatives": [
            {"name": "Boeing 747", "constructor": "Boeing", "family": "747", "model": "", "probability": 0.5}
        ],
        "model_name": "",
        "model_version": "",
        "heat_map": None,
    }
    assert json.loads(answer.to_json()) == answer.to_dict()
    assert answer == answer.__class__(**vars(answer))


SURE = Classification(
    Level.MODEL, ScoredLabel("Boeing", 0.99), ScoredLabel("737", 0.97), ScoredLabel("737-800", 0.94), (), "first", "1.0"
)
ANSWERS = [
    PhotoAnswer(1, "b.jpg", b"", error=BadRequestError("It is empty.", reason="PHOTO_EMPTY", photo_id="b.jpg")),
    PhotoAnswer(0, "a.jpg", b"", classification=SURE),
]


def test_an_answer_among_many_prints_with_its_photo() -> None:
    assert [str(answer) for answer in ANSWERS] == ["b.jpg: It is empty.", "a.jpg: Boeing 737-800 (94 %)"]
    assert str(Alternative("Airbus", "A380", "", 0.001)) == "Airbus A380 (< 1 %)"


def test_an_answer_among_many_turns_into_json_without_the_photo_itself() -> None:
    failed, sure = (json.loads(answer.to_json()) for answer in ANSWERS)
    assert failed["error"] == {
        "message": "It is empty.",
        "reason": "PHOTO_EMPTY",
        "metadata": {},
        "photo_id": "b.jpg",
        "retry_after": None,
    }
    assert sure == {"index": 0, "photo_id": "a.jpg", "classification": SURE.to_dict(), "error": None}


def test_answers_compare_by_what_they_say() -> None:
    assert PhotoAnswer(0, "a.jpg", b"", classification=SURE) == PhotoAnswer(0, "a.jpg", b"other", classification=SURE)
    assert dataclasses.replace(SURE, model_version="1.1") != SURE
    assert len({SURE, dataclasses.replace(SURE)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        SURE.level = Level.UNKNOWN  # type: ignore[misc]


def test_answers_make_a_table() -> None:
    table = frame(iter(ANSWERS))
    assert list(table.index) == [0, 1]
    sure, failed = table.to_dict("records")
    assert (sure["photo_id"], sure["level"], sure["name"]) == ("a.jpg", "model", "Boeing 737-800")
    assert (sure["model_probability"], sure["model_version"]) == (0.94, "1.0")
    assert (failed["error"], failed["reason"]) == ("It is empty.", "PHOTO_EMPTY")
    assert list(frame([]).columns) == list(table.columns), "no answers make a table without rows"


def test_in_a_table_a_level_that_the_tree_does_not_have_is_empty_and_alternatives_are_lists() -> None:
    leaf = Alternative("Boeing", "747", "", 0.5)
    ends_at_family = dataclasses.replace(SURE, level=Level.FAMILY, model=ScoredLabel("", 0.0), alternatives=(leaf,))
    table = frame([PhotoAnswer(0, "a.jpg", b"", classification=ends_at_family), *ANSWERS[:1]])
    assert list(table["model"].isna()) == [True, True]
    assert list(table["model_probability"].isna()) == [True, True]
    assert table["family_probability"][0] == 0.97
    assert table["alternatives"][0] == [leaf.to_dict()]


def test_answers_of_single_photos_make_a_table_too() -> None:
    table = frame([SURE, dataclasses.replace(SURE, level=Level.FAMILY)])
    assert list(table.index) == [0, 1]
    assert list(table["name"]) == ["Boeing 737-800", "Boeing 737"]
    assert table["photo_id"].isna().all()


def test_without_pandas_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match="pip install pandas"):
        frame(ANSWERS)


def test_importing_the_client_imports_nothing_heavy() -> None:
    heavy = {"jax", "pandas", "numpy", "PIL", "playwright", "rich", "typer"}
    code = f"import sys, planespotter_client; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "set()\n"
