"""Metrics: each photo counted once, each source on its own, each level by what the label says."""

from typing import Any

import numpy as np

from planespotter_models import Calibration, Label, LabelTree, Thresholds
from planespotter_training.evaluation.metrics import measure

TREE = LabelTree({"Airbus": {"A320": ["A320-200", "A320neo"], "A380": []}, "Boeing": {"737": ["737-700", "737-800"]}})
A320, NEO, A380 = Label("Airbus", "A320", "A320-200"), Label("Airbus", "A320", "A320neo"), Label("Airbus", "A380")
B738 = Label("Boeing", "737", "737-800")


def outputs(*answers: Label, sure: float = 0.97) -> dict[str, Any]:
    """Return log-probabilities with which the network is `sure` of each of `answers`."""
    heads: dict[str, list[list[float]]] = {head: [] for head in TREE.heads}
    for label in answers:
        for head, classes in TREE.heads.items():
            names = TREE.constructors if head == "constructor" else TREE.leaves[head]
            mine = label.constructor if head == "constructor" else label
            chosen = names.index(mine) if mine in names else 0
            heads[head].append([sure if i == chosen else (1 - sure) / (classes - 1) for i in range(classes)])
    return {head: np.log(np.array(rows)) for head, rows in heads.items()}


def measured(
    given: dict[str, Any], labels: list[Label], sources: list[str]
) -> dict[tuple[str, str], tuple[float, int]]:
    calibration = Calibration(dict.fromkeys(TREE.heads, 1.0), Thresholds(0.9, 0.9, 0.9))
    found = measure(TREE, calibration, given, labels, sources)
    return {(metric.source, metric.name): (metric.value, metric.photos) for metric in found}


def test_a_label_counts_at_the_levels_that_it_names() -> None:
    labels = [A320, NEO, Label("Airbus", "A320"), Label("Airbus"), B738]
    found = measured(outputs(A320, A320, NEO, A380, A320), labels, ["x"] * 5)
    assert found["x", "constructor_accuracy"] == (4 / 5, 5)
    assert found["x", "family_accuracy"] == (3 / 4, 4)
    assert found["x", "path_accuracy"] == (1 / 3, 3)


def test_given_the_constructor_the_second_stage_is_measured_alone() -> None:
    confused = outputs(B738)
    confused["constructor"] = confused["constructor"][:, ::-1]  # a 737-800 in every head but the first
    found = measured(confused, [B738], ["x"])
    assert found["x", "path_accuracy"] == (0, 1)
    assert found["x", "model_accuracy_given_constructor"] == (1, 1)


def test_a_model_that_the_tree_does_not_have_counts_as_its_family() -> None:
    found = measured(outputs(A320), [Label("Airbus", "A320", "A320-100")], ["x"])
    assert found["x", "family_accuracy"] == (1, 1)
    assert ("x", "path_accuracy") not in found


def test_every_source_stands_alone_and_all_together() -> None:
    found = measured(outputs(A320, A320, B738), [A320, NEO, B738], ["x", "y", "y"])
    assert found["", "path_accuracy"] == (2 / 3, 3)
    assert found["x", "path_accuracy"] == (1, 1)
    assert found["y", "path_accuracy"] == (1 / 2, 2)


def test_being_sure_is_judged_only_by_what_it_is_sure_of() -> None:
    given = outputs(A320, A320)
    given["Airbus"][1] = np.log([0.5, 0.49, 0.01])  # sure of the A320, not of the model
    found = measured(given, [A320, NEO], ["x", "x"])
    assert found["x", "sure_share"] == (1, 2)
    assert found["x", "sure_accuracy"] == (1, 2)


def test_an_aircraft_of_no_known_constructor_should_be_answered_with_unknown() -> None:
    found = measured(outputs(A320, A320, sure=0.6), [Label("ATR", "72"), Label("Fokker")], ["x", "x"])
    assert found == {("", "unknown_share"): (1.0, 2), ("x", "unknown_share"): (1.0, 2)}


def test_a_photo_without_a_source_is_counted_once() -> None:
    found = measured(outputs(A320, A320, B738), [A320, NEO, B738], ["", "", "x"])
    assert found["", "path_accuracy"] == (2 / 3, 3)
    assert found["(none)", "path_accuracy"] == (1 / 2, 2)
    assert found["x", "path_accuracy"] == (1, 1)


def test_being_sure_of_a_model_that_a_rare_one_is_not_counts_as_wrong() -> None:
    found = measured(outputs(A320), [Label("Airbus", "A320", "A320-100")], ["x"])
    assert found["x", "sure_accuracy"] == (0, 1)
