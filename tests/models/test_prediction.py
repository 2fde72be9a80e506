"""Decoding a prediction: leaf probabilities, decode rules, confidence levels and candidates."""

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
    PredictionOptions,
    Thresholds,
    decode_prediction,
    leaf_probabilities,
)

TREE = LabelTree({"Airbus": {"A320": ["A320-200", "A320neo"], "A380": []}, "Boeing": {"737": ["737-700", "737-800"]}})
UNIT_TEMPERATURES = dict.fromkeys(TREE.heads, 1.0)


def outputs(constructor: list[float], airbus: list[float], boeing: list[float]) -> dict[str, Any]:
    """Return the log-probabilities [1, classes] by head of one photo, given its probabilities."""
    rows = {"constructor": constructor, "Airbus": airbus, "Boeing": boeing}
    return {head: np.log(np.array([row], np.float32)) for head, row in rows.items()}


def calibration(
    constructor: float = 0.5, family: float = 0.5, model: float = 0.5, decode_rule: DecodeRule = DecodeRule.GREEDY
) -> Calibration:
    return Calibration(UNIT_TEMPERATURES, Thresholds(constructor, family, model), decode_rule)


def test_leaf_probability_is_the_constructor_probability_times_the_conditional_one() -> None:
    probabilities = leaf_probabilities(TREE, UNIT_TEMPERATURES, outputs([0.6, 0.4], [0.5, 0.3, 0.2], [0.9, 0.1]))
    np.testing.assert_allclose(probabilities["Airbus"], [[0.30, 0.18, 0.12]], rtol=1e-5)
    np.testing.assert_allclose(probabilities["Boeing"], [[0.36, 0.04]], rtol=1e-5)


def test_family_probability_is_the_sum_over_its_models() -> None:
    (prediction,) = decode_prediction(TREE, calibration(), outputs([0.9, 0.1], [0.5, 0.3, 0.2], [0.9, 0.1]))
    assert prediction.label == Label("Airbus", "A320", "A320-200")
    assert prediction.probabilities == pytest.approx((0.9, 0.72, 0.45))


def test_greedy_decoding_follows_the_constructor_and_best_path_the_leaf() -> None:
    uncertain = outputs([0.6, 0.4], [0.34, 0.33, 0.33], [0.9, 0.1])
    (greedy,) = decode_prediction(TREE, calibration(), uncertain)
    (best,) = decode_prediction(TREE, calibration(decode_rule=DecodeRule.BEST_PATH), uncertain)
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
def test_confidence_level_is_the_deepest_at_which_all_thresholds_are_reached(
    thresholds: tuple[float, float, float], level: Level
) -> None:
    (prediction,) = decode_prediction(
        TREE, calibration(*thresholds), outputs([0.91, 0.09], [0.5, 0.3, 0.2], [0.9, 0.1])
    )
    assert prediction.level is level


def test_prediction_that_ends_at_a_family_has_no_model() -> None:
    (prediction,) = decode_prediction(TREE, calibration(), outputs([0.9, 0.1], [0.1, 0.1, 0.8], [0.9, 0.1]))
    assert prediction.label == Label("Airbus", "A380")
    assert prediction.level is Level.FAMILY
    assert prediction.probabilities == pytest.approx((0.9, 0.72, 0.0))


def test_candidates_are_the_most_probable_leaves_of_all_constructors() -> None:
    (prediction,) = decode_prediction(TREE, calibration(), outputs([0.6, 0.4], [0.5, 0.3, 0.2], [0.9, 0.1]), top_k=2)
    assert [label.model for label, _ in prediction.candidates] == ["737-700", "A320-200"]
    assert [p for _, p in prediction.candidates] == pytest.approx([0.36, 0.30])


logits = {
    head: arrays(np.float32, (3, classes), elements=st.floats(-30, 30, width=32))
    for head, classes in TREE.heads.items()
}


@given(st.fixed_dictionaries(logits), st.floats(0.1, 10))
def test_probabilities_never_increase_down_the_path_and_all_leaves_sum_to_one(drawn: Any, temperature: float) -> None:
    log_probabilities = {head: log_softmax(array, axis=1) for head, array in drawn.items()}
    softer = Calibration(dict.fromkeys(TREE.heads, temperature), Thresholds(0.5, 0.5, 0.5))
    for prediction in decode_prediction(TREE, softer, log_probabilities, top_k=99):
        constructor, family, model = prediction.probabilities
        assert 0 <= model <= family + 1e-9 <= constructor + 2e-9 <= 1 + 3e-9
        assert sum(p for _, p in prediction.candidates) == pytest.approx(1)
        assert len(prediction.candidates) == 5


def test_options_of_one_photo_do_not_affect_its_neighbours_in_the_batch() -> None:
    single = outputs([0.91, 0.09], [0.5, 0.3, 0.2], [0.9, 0.1])
    three = {head: np.repeat(array, 3, axis=0) for head, array in single.items()}
    options = [
        PredictionOptions(),
        PredictionOptions(top_k=1, min_probability=0.4),
        PredictionOptions(leaf_probabilities=True),
    ]
    plain, bold, verbose = decode_prediction(TREE, calibration(0.9, 0.7, 0.5), three, options=options)
    assert [each.level for each in (plain, bold, verbose)] == [Level.FAMILY, Level.MODEL, Level.FAMILY]
    assert [len(each.candidates) for each in (plain, bold, verbose)] == [0, 1, 0]
    assert plain.leaf_probabilities is None
    assert verbose.leaf_probabilities == pytest.approx([0.455, 0.273, 0.182, 0.081, 0.009], rel=1e-5)
    assert {each.evidence for each in (plain, bold, verbose)} == {"network"}
