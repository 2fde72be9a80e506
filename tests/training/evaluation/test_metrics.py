"""Metrics: each photo counted once, by source, at the levels that its label names."""

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import planespotter_models
from planespotter_models import Calibration, Label, LabelTree, Thresholds
from planespotter_training.evaluation.metrics import METRICS, legend, measure

TREE = LabelTree({"Airbus": {"A320": ["A320-200", "A320neo"], "A380": []}, "Boeing": {"737": ["737-700", "737-800"]}})
A320, NEO, A380 = Label("Airbus", "A320", "A320-200"), Label("Airbus", "A320", "A320neo"), Label("Airbus", "A380")
B738 = Label("Boeing", "737", "737-800")


def outputs(*predictions: Label, confidence: float = 0.97) -> dict[str, Any]:
    """Return log-probabilities that predict these labels with this confidence."""
    heads: dict[str, list[list[float]]] = {head: [] for head in TREE.heads}
    for label in predictions:
        for head, classes in TREE.heads.items():
            names = TREE.constructors if head == "constructor" else TREE.leaves[head]
            name = label.constructor if head == "constructor" else label
            chosen = names.index(name) if name in names else 0
            heads[head].append(
                [confidence if i == chosen else (1 - confidence) / (classes - 1) for i in range(classes)]
            )
    return {head: np.log(np.array(rows)) for head, rows in heads.items()}


def measured(
    predicted: dict[str, Any], labels: list[Label], sources: list[str]
) -> dict[tuple[str, str], tuple[float, int]]:
    calibration = Calibration(dict.fromkeys(TREE.heads, 1.0), Thresholds(0.9, 0.9, 0.9))
    metrics = measure(TREE, calibration, predicted, labels, sources)
    return {(metric.source, metric.name): (metric.value, metric.photos) for metric in metrics}


def test_a_label_counts_at_the_levels_that_it_names() -> None:
    labels = [A320, NEO, Label("Airbus", "A320"), Label("Airbus"), B738]
    metrics = measured(outputs(A320, A320, NEO, A380, A320), labels, ["x"] * 5)
    assert metrics["x", "constructor_accuracy"] == (4 / 5, 5)
    assert metrics["x", "family_accuracy"] == (3 / 4, 4)
    assert metrics["x", "path_accuracy"] == (1 / 3, 3)


def test_the_heads_of_the_constructors_are_measured_given_the_constructor() -> None:
    confused = outputs(B738)
    confused["constructor"] = confused["constructor"][:, ::-1]  # a 737-800 in every head but the first
    metrics = measured(confused, [B738], ["x"])
    assert metrics["x", "path_accuracy"] == (0, 1)
    assert metrics["x", "model_accuracy_given_constructor"] == (1, 1)


def test_a_model_outside_the_tree_counts_as_its_family() -> None:
    metrics = measured(outputs(A320), [Label("Airbus", "A320", "A320-100")], ["x"])
    assert metrics["x", "family_accuracy"] == (1, 1)
    assert ("x", "path_accuracy") not in metrics


def test_metrics_are_computed_by_source_and_overall() -> None:
    metrics = measured(outputs(A320, A320, B738), [A320, NEO, B738], ["x", "y", "y"])
    assert metrics["", "path_accuracy"] == (2 / 3, 3)
    assert metrics["x", "path_accuracy"] == (1, 1)
    assert metrics["y", "path_accuracy"] == (1 / 2, 2)


def test_confident_accuracy_counts_only_levels_down_to_the_confidence_level() -> None:
    predicted = outputs(A320, A320)
    predicted["Airbus"][1] = np.log([0.5, 0.49, 0.01])  # confident of the A320, not of the model
    metrics = measured(predicted, [A320, NEO], ["x", "x"])
    assert metrics["x", "confident_share"] == (1, 2)
    assert metrics["x", "confident_accuracy"] == (1, 2)


def test_out_of_taxonomy_aircraft_should_be_predicted_as_unknown() -> None:
    metrics = measured(outputs(A320, A320, confidence=0.6), [Label("ATR", "72"), Label("Fokker")], ["x", "x"])
    assert metrics == {("", "unknown_share"): (1.0, 2), ("x", "unknown_share"): (1.0, 2)}


def test_a_photo_without_a_source_is_counted_once() -> None:
    metrics = measured(outputs(A320, A320, B738), [A320, NEO, B738], ["", "", "x"])
    assert metrics["", "path_accuracy"] == (2 / 3, 3)
    assert metrics["(none)", "path_accuracy"] == (1 / 2, 2)
    assert metrics["x", "path_accuracy"] == (1, 1)


def test_a_confident_model_that_contradicts_a_rare_label_counts_as_wrong() -> None:
    metrics = measured(outputs(A320), [Label("Airbus", "A320", "A320-100")], ["x"])
    assert metrics["x", "confident_accuracy"] == (0, 1)


@pytest.mark.parametrize(
    "name", ["constructor_accuracy", "family_accuracy", "path_accuracy", "model_accuracy_given_constructor"]
)
def test_an_accuracy_has_the_same_words_in_files_tables_and_model_cards(name: str) -> None:
    title = METRICS[name].title
    assert title.replace(" the ", " ").replace(" ", "_") == name
    cards = list(planespotter_models.FOLDER.glob("*/*/MODEL_CARD.md"))
    assert cards
    for card in cards:
        assert f"| {title}" in card.read_text(encoding="utf-8")


def test_the_metrics_of_a_table_are_explained_once_below_it() -> None:
    console = Console(width=80, record=True, quiet=False, file=io.StringIO())
    console.print(legend(["mistake_severity", "path_accuracy", "mistake_severity", "a metric of another version"]))
    words = " ".join(console.export_text().split())
    assert words.count("mistake severity") == 1
    assert "Lower is better." in words
    assert "another version" not in words
