"""Priors: a fleet moves probability, excludes nothing, and the network's own prediction stays in the result."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_models import (
    Calibration,
    Label,
    LabelTree,
    PredictionOptions,
    PriorError,
    Thresholds,
    decode_leaves,
    make_prior,
)

TREE = LabelTree({"Airbus": {"A320": ["A320-200", "A320neo"], "A380": []}, "Boeing": {"737": ["737-700", "737-800"]}})
CALIBRATION = Calibration({}, Thresholds(0.5, 0.5, 0.5))
NEO, A380 = Label("Airbus", "A320", "A320neo"), Label("Airbus", "A380")


def factors(mix: dict[Label, float], odds: float = 2.0) -> list[float]:
    return list(make_prior(TREE, "fleet", mix, odds).factors)


def predict(row: list[float], mix: dict[Label, float], odds: float) -> Any:
    options = PredictionOptions(leaf_probabilities=True, prior=make_prior(TREE, "fleet", mix, odds))
    (prediction,) = decode_leaves(TREE, CALIBRATION, np.array([row]), [options])
    return prediction


def test_the_most_common_type_gets_the_odds_and_others_their_share() -> None:
    assert factors({NEO: 30, A380: 10}, odds=4) == [1, 4, 2, 1, 1, 1]


def test_a_family_counts_for_each_of_its_types_and_a_model_that_the_tree_lacks_for_its_family() -> None:
    assert factors({Label("Airbus", "A320"): 1}) == [2, 2, 1, 1, 1, 1]
    assert factors({Label("Boeing", "737", "737-200"): 1}) == [1, 1, 1, 2, 2, 1]


@pytest.mark.parametrize("unknown", [Label("ATR", "72"), Label("Boeing", "707")])
def test_a_type_that_the_tree_lacks_counts_as_an_aircraft_outside_of_it(unknown: Label) -> None:
    assert factors({NEO: 1, unknown: 1}) == [1, 2, 1, 1, 1, 2]


def test_a_fleet_decides_between_look_alikes_and_the_raw_prediction_stays() -> None:
    prediction = predict([0.45, 0.40, 0.05, 0.05, 0.05], {NEO: 5}, odds=2)
    assert prediction.label == NEO
    assert prediction.evidence == "network+fleet"
    assert prediction.network == (Label("Airbus", "A320", "A320-200"), pytest.approx((0.9, 0.85, 0.45)))
    assert prediction.leaf_probabilities == pytest.approx([0.45, 0.40, 0.05, 0.05, 0.05])


def test_a_clear_photo_overrules_a_wrong_fleet() -> None:
    assert predict([0.01, 0.02, 0.01, 0.01, 0.95], {NEO: 5}, odds=20).label.model == "737-800"


@given(st.lists(st.floats(0.001, 1), min_size=6, max_size=6), st.floats(1, 1000), st.floats(0, 1e9))
def test_a_posterior_is_a_distribution_that_excludes_nothing(row: list[float], odds: float, weight: float) -> None:
    probabilities = np.array(row) / sum(row)
    prior = make_prior(TREE, "fleet", {NEO: 1, Label("ATR"): weight}, odds)
    posterior = prior.apply(probabilities[:-1])
    assert posterior.min() > 0
    assert posterior.sum() < 1
    assert posterior[1] / posterior[0] >= probabilities[1] / probabilities[0] * (1 - 1e-9)


@pytest.mark.parametrize(
    ("mix", "odds", "message"),
    [
        ({}, 2, "lists no type of the model"),
        ({NEO: 0.0}, 2, "lists no type of the model"),
        ({Label("ATR", "72"): 3.0}, 2, "lists no type of the model"),
        ({NEO: -1.0}, 2, "A weight of the prior is invalid: -1.0"),
        ({NEO: float("nan")}, 2, "A weight of the prior is invalid: nan"),
        ({NEO: 1.0}, 0.5, "odds of the prior are out of range: 0.5. Give a number from 1 to 1,000"),
        ({NEO: 1.0}, float("inf"), "odds of the prior are out of range: inf"),
    ],
)
def test_a_prior_that_cannot_be_used_is_a_sentence(mix: dict[Label, float], odds: float, message: str) -> None:
    with pytest.raises(PriorError, match=message):
        make_prior(TREE, "fleet", mix, odds)
