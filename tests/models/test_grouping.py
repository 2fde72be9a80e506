"""Groups: several photos of one aircraft, from their summed evidence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_models import (
    Calibration,
    LabelTree,
    Thresholds,
    combine_evidence,
    decide,
    log_evidence,
)

TREE = LabelTree({"Airbus": {"A320": ["A320-200", "A320neo"], "A380": []}, "Boeing": {"737": ["737-700", "737-800"]}})
leaf_values = st.lists(st.floats(0.001, 1), min_size=6, max_size=6)


def combine(rows: list[list[float]]) -> list[float]:
    table = np.array(rows)
    return list(combine_evidence(log_evidence(table).sum(axis=0), len(table)))


def test_a_single_photo_keeps_its_probabilities() -> None:
    assert combine([[0.5, 0.2, 0.1, 0.1, 0.05]]) == pytest.approx([0.5, 0.2, 0.1, 0.1, 0.05])


def test_photos_that_agree_are_more_confident_than_each_and_less_than_independent_ones() -> None:
    row = [0.5, 0.25, 0.1, 0.1, 0.05]
    first, second, *_ = combine([row, row])
    assert 2 < first / second < 4


def test_two_clear_photos_outvote_a_blurred_one() -> None:
    clear, blurred = [0.05, 0.85, 0.05, 0.03, 0.02], [0.3, 0.2, 0.1, 0.2, 0.2]
    assert int(np.argmax(combine([clear, blurred, clear]))) == 1


def test_one_photo_cannot_rule_out_what_all_others_show() -> None:
    right, wrong = [0.0, 0.999, 0.001, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]
    assert int(np.argmax(combine([right, right, right, wrong]))) == 1


@given(st.lists(leaf_values, min_size=1, max_size=9))
def test_a_parent_never_contradicts_its_child(rows: list[list[float]]) -> None:
    table = np.array(rows)
    table = (table / table.sum(axis=1, keepdims=True))[:, :5]
    combined = combine_evidence(log_evidence(table).sum(axis=0), len(table))
    assert 0 < combined.sum() <= 1
    decisions = decide(TREE, Calibration({}, Thresholds(0.5, 0.5, 0.5)), combined[None])
    constructor, family, model = decisions.probabilities[0]
    assert constructor >= family - 1e-12
    assert family >= model - 1e-12
