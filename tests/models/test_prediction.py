"""From log-probabilities to an answer."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax

from planespotter_models import (
    Calibration,
    DecodeRule,
    Label,
    LabelTree,
    Level,
    Thresholds,
    decode_prediction,
    leaf_probabilities,
)

TREE = LabelTree({"Airbus": {"A320": ["A320-200", "A320neo"], "A380": []}, "Boeing": {"737": ["737-700", "737-800"]}})
ONE = dict.fromkeys(TREE.heads, 1.0)


def outputs(constructor: list[float], airbus: list[float], boeing: list[float]) -> dict[str, Any]:
    """Return the log-probabilities of one photo from probabilities."""
    rows = {"constructor": constructor, "Airbus": airbus, "Boeing": boeing}
    return {head: np.log(np.array([row], np.float32)) for head, row in rows.items()}


def calibration(
    constructor: float = 0.5, family: float = 0.5, model: float = 0.5, decode_rule: DecodeRule = DecodeRule.GREEDY
) -> Calibration:
    return Calibration(ONE, Thresholds(constructor, family, model), decode_rule)


def test_the_probability_of_a_leaf_is_that_of_its_constructor_times_its_own_given_the_constructor() -> None:
    found = leaf_probabilities(TREE, ONE, outputs([0.6, 0.4], [0.5, 0.3, 0.2], [0.9, 0.1]))
    np.testing.assert_allclose(found["Airbus"], [[0.30, 0.18, 0.12]], rtol=1e-5)
    np.testing.assert_allclose(found["Boeing"], [[0.36, 0.04]], rtol=1e-5)


def test_the_family_has_the_probability_of_all_its_models() -> None:
    (found,) = decode_prediction(TREE, calibration(), outputs([0.9, 0.1], [0.5, 0.3, 0.2], [0.9, 0.1]))
    assert found.label == Label("Airbus", "A320", "A320-200")
    assert found.probabilities == pytest.approx((0.9, 0.72, 0.45))


def test_greedy_follows_the_constructor_and_best_path_the_leaf() -> None:
    unsure = outputs([0.6, 0.4], [0.34, 0.33, 0.33], [0.9, 0.1])
    (greedy,) = decode_prediction(TREE, calibration(), unsure)
    (best,) = decode_prediction(TREE, calibration(decode_rule=DecodeRule.BEST_PATH), unsure)
    assert greedy.label == Label("Airbus", "A320", "A320-200")
    assert best.label == Label("Boeing", "737", "737-700")


@pytest.mark.parametrize(
    ("thresholds", "level"),
    [
        ((0.95, 0.5, 0.1), Level.UNKNOWN),
        ((0.9, 0.8, 0.1), Level.CONSTRUCTOR),
        ((0.9, 0.7, 0.5), Level.FAMILY),
        ((0.9, 0.7, 0.4), Level.MODEL),
    ],
)
def test_the_level_is_the_deepest_down_to_which_every_threshold_is_reached(
    thresholds: tuple[float, float, float], level: Level
) -> None:
    (found,) = decode_prediction(TREE, calibration(*thresholds), outputs([0.91, 0.09], [0.5, 0.3, 0.2], [0.9, 0.1]))
    assert found.level is level


def test_an_answer_that_ends_at_a_family_has_no_model() -> None:
    (found,) = decode_prediction(TREE, calibration(), outputs([0.9, 0.1], [0.1, 0.1, 0.8], [0.9, 0.1]))
    assert found.label == Label("Airbus", "A380")
    assert found.level is Level.FAMILY
    assert found.probabilities == pytest.approx((0.9, 0.72, 0.0))


def test_alternatives_are_the_most_probable_leaves_of_all_constructors() -> None:
    (found,) = decode_prediction(TREE, calibration(), outputs([0.6, 0.4], [0.5, 0.3, 0.2], [0.9, 0.1]), top_k=2)
    assert [label.model for label, _ in found.candidates] == ["737-700", "A320-200"]
    assert [p for _, p in found.candidates] == pytest.approx([0.36, 0.30])


logits = {
    head: arrays(np.float32, (3, classes), elements=st.floats(-30, 30, width=32))
    for head, classes in TREE.heads.items()
}


@given(st.fixed_dictionaries(logits), st.floats(0.1, 10))
def test_probabilities_never_rise_on_the_way_down_and_all_leaves_sum_to_one(drawn: Any, temperature: float) -> None:
    given_outputs = {head: log_softmax(array, axis=1) for head, array in drawn.items()}
    softer = Calibration(dict.fromkeys(TREE.heads, temperature), Thresholds(0.5, 0.5, 0.5))
    for found in decode_prediction(TREE, softer, given_outputs, top_k=99):
        constructor, family, model = found.probabilities
        assert 0 <= model <= family + 1e-9 <= constructor + 2e-9 <= 1 + 3e-9
        assert sum(p for _, p in found.candidates) == pytest.approx(1)
        assert len(found.candidates) == 5
