"""The comparison with the truth: what counts as right, and what is counted at all."""

from pathlib import Path

import pytest

from planespotter_client import Classification, Level, PhotoAnswer, ScoredLabel
from planespotter_client.classify.accuracy import Comparison, Tally, Truth, TruthError, clip, read_truth

TREE = {"Airbus": {"A320": ("A320-200", "A320neo"), "A380": ()}, "Boeing": {"737": ("737-800",), "747": ()}}


def said(constructor: str, family: str = "", model: str = "", level: Level = Level.MODEL) -> Classification:
    return Classification(level, ScoredLabel(constructor, 0.9), ScoredLabel(family, 0.8), ScoredLabel(model, 0.7))


def tally(truth: tuple[str, str, str], answer: Classification | None) -> Tally:
    counted = Tally()
    counted.add(Truth("photo.jpg", *truth, source=""), answer, TREE)
    return counted


@pytest.mark.parametrize(
    ("truth", "answer", "constructors", "types"),
    [
        (("Boeing", "737", "737-800"), said("Boeing", "737", "737-800"), (1, 1), (1, 1)),
        (("Boeing", "737", "737-800"), said("Boeing", "747"), (1, 1), (0, 1)),
        (("Boeing", "737", "737-800"), said("Airbus", "A380"), (0, 1), (0, 1)),
        # Not labelled down to a type that the tree tells apart: nothing to compare there.
        (("Boeing", "737", ""), said("Boeing", "737", "737-800"), (1, 1), (0, 0)),
        (("Boeing", "", ""), said("Boeing", "737", "737-800"), (1, 1), (0, 0)),
        # The tree does not know the rare ones.
        (("Boeing", "737", "737-600"), said("Boeing", "737", "737-800"), (1, 1), (0, 0)),
        (("Boeing", "707", "707-300"), said("Boeing", "747"), (1, 1), (0, 0)),
        # Being unsure does not change which path was best.
        (("Boeing", "747", ""), said("Boeing", "747", level=Level.UNKNOWN), (1, 1), (1, 1)),
    ],
)
def test_what_counts_as_right(
    truth: tuple[str, str, str], answer: Classification, constructors: tuple[int, int], types: tuple[int, int]
) -> None:
    counted = tally(truth, answer)
    assert (counted.constructors_right, counted.constructors) == constructors
    assert (counted.types_right, counted.types) == types
    assert counted.strangers == 0


@pytest.mark.parametrize(("level", "share"), [(Level.UNKNOWN, 1.0), (Level.CONSTRUCTOR, 0.0)])
def test_strangers_are_counted_apart(level: Level, share: float) -> None:
    counted = tally(("ATR", "72", ""), said("Airbus", level=level))
    assert (counted.constructors, counted.types, counted.strangers_unknown_share) == (0, 0, share)
    assert counted.constructor_accuracy is None


def test_photos_that_failed_or_have_no_label_are_counted_apart() -> None:
    assert tally(("Boeing", "", ""), None) == Tally(photos=1, failed=1)
    assert tally(("", "", ""), said("Boeing")) == Tally(photos=1, unlabelled=1)


def test_clipping_stops_where_the_tree_does() -> None:
    assert clip(Truth("", "Airbus", "A320", "A320neo", ""), TREE) == ("Airbus", "A320", "A320neo")
    assert clip(Truth("", "Airbus", "A320", "A320-100", ""), TREE) == ("Airbus", "A320")


def test_sources_are_told_apart() -> None:
    comparison = Comparison(TREE)
    for index, (source, answer) in enumerate([("a", said("Boeing")), ("a", said("Airbus")), ("b", said("Boeing"))]):
        comparison.add(Truth("p", "Boeing", "", "", source), PhotoAnswer(index, "p", "p", answer))
    assert comparison.by_source["a"].constructor_accuracy == 0.5
    assert comparison.by_source["b"].constructor_accuracy == 1.0
    assert comparison.total.photos == 3


def test_truth_is_read_relative_to_its_own_folder_or_another(tmp_path: Path) -> None:
    table = tmp_path / "truth.csv"
    table.write_text("source,file,constructor,family,model,extra\nx,images/a.jpg,Boeing,737,,1\n", encoding="utf-8")
    assert read_truth(table) == [Truth(str(tmp_path / "images/a.jpg"), "Boeing", "737", "", "x")]
    assert read_truth(table, Path("/photos"))[0].photo == "/photos/images/a.jpg"
    table.write_text("file,constructor\na.jpg,Boeing\n", encoding="utf-8")
    assert read_truth(table) == [Truth(str(tmp_path / "a.jpg"), "Boeing", "", "", "")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "file,family\n",
            "has no column constructor; its first line must name file and constructor, and may name family",
        ),
        ("file,constructor,family,model,source\n", "has no rows"),
        (
            "file,constructor,family,model,source\na.jpg,Boeing,,,\n ,Airbus,,,\n",
            r"Row 2 of .* \(line 3\) names no photo",
        ),
        ("", "has no column file and no column constructor"),
    ],
)
def test_a_truth_that_cannot_be_used_gets_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    table = tmp_path / "truth.csv"
    table.write_text(content, encoding="utf-8")
    with pytest.raises(TruthError, match=sentence):
        read_truth(table)


def test_a_truth_that_is_no_text_gets_a_sentence(tmp_path: Path) -> None:
    table = tmp_path / "truth.csv"
    table.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(TruthError, match="cannot be read"):
        read_truth(table)
