"""Accuracy: which predictions are correct, and which photos are counted."""

from pathlib import Path

import pytest
from tests.client.predictions import path_of

from planespotter_client import Level, PhotoResult, Prediction
from planespotter_client.classify.accuracy import (
    AccuracyCounts,
    Comparison,
    GroundTruth,
    GroundTruthError,
    clip_to_tree,
    read_ground_truth,
)

TREE = {"Airbus": {"A320": ("A320-200", "A320neo"), "A380": ()}, "Boeing": {"737": ("737-800",), "747": ()}}


def predicted(constructor: str, family: str = "", model: str = "", level: Level = Level.MODEL) -> Prediction:
    labels = [(name, probability) for name, probability in ((constructor, 0.9), (family, 0.8), (model, 0.7)) if name]
    return Prediction(path_of(*labels), level)


def count(labels: tuple[str, str, str], prediction: Prediction | None) -> AccuracyCounts:
    counts = AccuracyCounts()
    counts.add(GroundTruth("photo.jpg", *labels, source=""), prediction, TREE)
    return counts


@pytest.mark.parametrize(
    ("labels", "prediction", "constructors", "types"),
    [
        (("Boeing", "737", "737-800"), predicted("Boeing", "737", "737-800"), (1, 1), (1, 1)),
        (("Boeing", "737", "737-800"), predicted("Boeing", "747"), (1, 1), (0, 1)),
        (("Boeing", "737", "737-800"), predicted("Airbus", "A380"), (0, 1), (0, 1)),
        # Not labelled down to a leaf of the tree: no type to compare.
        (("Boeing", "737", ""), predicted("Boeing", "737", "737-800"), (1, 1), (0, 0)),
        (("Boeing", "", ""), predicted("Boeing", "737", "737-800"), (1, 1), (0, 0)),
        # Rare types are not in the tree.
        (("Boeing", "737", "737-600"), predicted("Boeing", "737", "737-800"), (1, 1), (0, 0)),
        (("Boeing", "707", "707-300"), predicted("Boeing", "747"), (1, 1), (0, 0)),
        # The confidence level does not change which path is the most probable.
        (("Boeing", "747", ""), predicted("Boeing", "747", level=Level.UNKNOWN), (1, 1), (1, 1)),
    ],
)
def test_constructor_and_type_are_scored_separately(
    labels: tuple[str, str, str], prediction: Prediction, constructors: tuple[int, int], types: tuple[int, int]
) -> None:
    counts = count(labels, prediction)
    assert (counts.constructors_correct, counts.constructors) == constructors
    assert (counts.types_correct, counts.types) == types
    assert counts.out_of_taxonomy == 0


@pytest.mark.parametrize(("level", "recall"), [(Level.UNKNOWN, 1.0), (Level.CONSTRUCTOR, 0.0)])
def test_out_of_taxonomy_photos_are_counted_separately(level: Level, recall: float) -> None:
    counts = count(("ATR", "72", ""), predicted("Airbus", level=level))
    assert (counts.constructors, counts.types, counts.out_of_taxonomy_recall) == (0, 0, recall)
    assert counts.constructor_accuracy is None


def test_failed_and_unlabelled_photos_are_counted_separately() -> None:
    assert count(("Boeing", "", ""), None) == AccuracyCounts(photos=1, failed=1)
    assert count(("", "", ""), predicted("Boeing")) == AccuracyCounts(photos=1, unlabelled=1)


def test_path_is_clipped_to_the_tree() -> None:
    assert clip_to_tree(GroundTruth("", "Airbus", "A320", "A320neo", ""), TREE) == ("Airbus", "A320", "A320neo")
    assert clip_to_tree(GroundTruth("", "Airbus", "A320", "A320-100", ""), TREE) == ("Airbus", "A320")


def test_accuracy_is_reported_by_source() -> None:
    comparison = Comparison(TREE)
    for index, (source, name) in enumerate([("a", "Boeing"), ("a", "Airbus"), ("b", "Boeing")]):
        comparison.add(GroundTruth("p", "Boeing", "", "", source), PhotoResult(index, "p", "p", predicted(name)))
    assert comparison.by_source["a"].constructor_accuracy == 0.5
    assert comparison.by_source["b"].constructor_accuracy == 1.0
    assert comparison.total.photos == 3


def test_paths_of_the_ground_truth_are_relative_to_its_folder_or_the_root(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("source,file,constructor,family,model,extra\nx,images/a.jpg,Boeing,737,,1\n", encoding="utf-8")
    assert read_ground_truth(table) == [GroundTruth(str(tmp_path / "images/a.jpg"), "Boeing", "737", "", "x")]
    assert read_ground_truth(table, Path("/photos"))[0].photo == "/photos/images/a.jpg"
    table.write_text("file,constructor\na.jpg,Boeing\n", encoding="utf-8")
    assert read_ground_truth(table) == [GroundTruth(str(tmp_path / "a.jpg"), "Boeing", "", "", "")]


def test_types_of_a_catalog_are_read_with_the_label_rules(tmp_path: Path) -> None:
    table = tmp_path / "catalog.csv"
    rows = [
        "a.jpg,Boeing,737-8AS",
        "b.jpg,,A321-271NX",
        "c.jpg,AIRBUS INDUSTRIE,",
        "d.jpg,no aircraft,",
        "e.jpg,,holiday",
    ]
    table.write_text("\n".join(["file,constructor,aircraft_type", *rows]), encoding="utf-8")
    labels = [(row.constructor, row.family, row.model, row.unresolved) for row in read_ground_truth(table)]
    assert labels == [
        ("Boeing", "737", "737-800", ""),
        ("Airbus", "A321", "A321neo", ""),
        ("Airbus", "", "", ""),
        ("No aircraft", "", "", ""),
        ("", "", "", "holiday"),
    ]


def test_a_type_alone_is_enough_and_a_given_family_wins(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("file,aircraft_type\na.jpg,77W\n", encoding="utf-8")
    assert read_ground_truth(table)[0].model == "777-300ER"
    table.write_text("file,constructor,family,aircraft_type\na.jpg,Boeing,737,747-400\n", encoding="utf-8")
    assert (read_ground_truth(table)[0].family, read_ground_truth(table)[0].model) == ("737", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "file,family\n",
            r"has no column constructor or aircraft_type\. Its header must name file and constructor, and may",
        ),
        ("file,constructor,family,model,source\n", "has no rows"),
        (
            "file,constructor,family,model,source\na.jpg,Boeing,,,\n ,Airbus,,,\n",
            r"Row 2 of .* \(line 3\) names no photo",
        ),
        ("", "has no column file and no column constructor or aircraft_type"),
    ],
)
def test_invalid_ground_truth_is_reported(tmp_path: Path, content: str, message: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(content, encoding="utf-8")
    with pytest.raises(GroundTruthError, match=message):
        read_ground_truth(table)


def test_binary_ground_truth_is_reported(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(GroundTruthError, match="cannot be read"):
        read_ground_truth(table)
