"""Exceptions and result types."""

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


def test_package_exports_exactly_its_public_names() -> None:
    public = {
        name
        for name, value in vars(planespotter_client).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(planespotter_client.__all__)


def test_every_status_code_has_an_exception() -> None:
    assert set(_errors.CODES) == set(grpc.StatusCode)


def test_every_exception_is_documented_and_exported() -> None:
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
def test_prediction_prints_as_its_confident_part(level: Level, printed: str) -> None:
    result = Prediction(path_of(("Boeing", 0.9991), ("737", 0.97), ("737-800", 0.94)), level)
    assert str(result) == printed


def test_levels_compare_by_depth() -> None:
    by_depth = [Level.UNKNOWN, Level.CONSTRUCTOR, Level.FAMILY, Level.MODEL]
    for first, second in itertools.product(by_depth, repeat=2):
        depths = by_depth.index(first), by_depth.index(second)
        for compare in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq):
            for text in (second, second.value):
                assert compare(first, text) is compare(*depths)
                assert compare(text, first) is compare(*reversed(depths))
    assert max(Level.FAMILY, Level.UNKNOWN) is Level.FAMILY


def test_prediction_converts_to_plain_values() -> None:
    leaf = Candidate("Boeing", "747", None, 0.5)
    result = Prediction(path_of(("Boeing", 1.0), ("747", 0.5)), Level.FAMILY, (leaf,))
    assert result.to_dict() == {
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
        "evidence": "network",
        "network_path": [],
    }
    assert json.loads(result.to_json()) == result.to_dict()
    assert result == result.__class__(**vars(result))


PREDICTION = Prediction(path_of(("Boeing", 0.99), ("737", 0.97), ("737-800", 0.94)), Level.MODEL, (), "first", "1.0")
RESULTS = [
    PhotoResult(1, "b.jpg", b"", error=InvalidRequestError("It is empty.", reason="PHOTO_EMPTY", photo_id="b.jpg")),
    PhotoResult(0, "a.jpg", b"", prediction=PREDICTION),
]


def test_photo_result_prints_with_its_photo_id() -> None:
    assert [str(result) for result in RESULTS] == ["b.jpg: It is empty.", "a.jpg: Boeing 737-800 (94 %)"]
    assert str(Candidate("Airbus", "A380", None, 0.001)) == "Airbus A380 (< 1 %)"


def test_photo_result_converts_to_json_without_the_photo() -> None:
    failed, succeeded = (json.loads(result.to_json()) for result in RESULTS)
    assert failed["error"] == {
        "message": "It is empty.",
        "reason": "PHOTO_EMPTY",
        "metadata": {},
        "photo_id": "b.jpg",
        "retry_after": None,
    }
    assert succeeded == {"index": 0, "photo_id": "a.jpg", "prediction": PREDICTION.to_dict(), "error": None}


def test_results_compare_by_value() -> None:
    assert PhotoResult(0, "a.jpg", b"", prediction=PREDICTION) == PhotoResult(
        0, "a.jpg", b"other", prediction=PREDICTION
    )
    assert dataclasses.replace(PREDICTION, model_version="1.1") != PREDICTION
    assert len({PREDICTION, dataclasses.replace(PREDICTION)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        PREDICTION.level = Level.UNKNOWN  # type: ignore[misc]


def test_to_dataframe_has_one_row_per_photo() -> None:
    table = to_dataframe(iter(RESULTS))
    assert list(table.index) == [0, 1]
    succeeded, failed = table.to_dict("records")
    assert (succeeded["photo_id"], succeeded["level"], succeeded["name"]) == ("a.jpg", "model", "Boeing 737-800")
    assert (succeeded["model_probability"], succeeded["model_version"]) == (0.94, "1.0")
    assert (failed["error"], failed["reason"]) == ("It is empty.", "PHOTO_EMPTY")
    assert list(to_dataframe([]).columns) == list(table.columns), "no results make a table without rows"


def test_to_dataframe_leaves_levels_below_a_leaf_empty_and_lists_candidates() -> None:
    leaf = Candidate("Boeing", "747", None, 0.5)
    ends_at_family = dataclasses.replace(PREDICTION, path=PREDICTION.path[:2], level=Level.FAMILY, candidates=(leaf,))
    table = to_dataframe([PhotoResult(0, "a.jpg", b"", prediction=ends_at_family), *RESULTS[:1]])
    assert list(table["model"].isna()) == [True, True]
    assert list(table["model_probability"].isna()) == [True, True]
    assert table["family_probability"][0] == 0.97
    assert table["candidates"][0] == [leaf.to_dict()]


def test_to_dataframe_accepts_predictions() -> None:
    table = to_dataframe([PREDICTION, dataclasses.replace(PREDICTION, level=Level.FAMILY)])
    assert list(table.index) == [0, 1]
    assert list(table["name"]) == ["Boeing 737-800", "Boeing 737"]
    assert table["photo_id"].isna().all()


def test_missing_pandas_is_a_missing_dependency_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="pip install pandas"):
        to_dataframe(RESULTS)


def test_import_of_the_client_loads_no_heavy_package() -> None:
    heavy = {"jax", "pandas", "numpy", "PIL", "playwright", "rich", "typer", "urllib.request", "importlib.metadata"}
    code = f"import sys, planespotter_client; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "set()\n"
