"""Temperatures and thresholds, chosen on photos whose right answers are known."""

import numpy as np
import pytest
from scipy.special import log_softmax

from planespotter_training.bundle import Label, LabelTree, answer
from planespotter_training.calibrate import NEVER, TARGET, calibrate

TREE = LabelTree({"Airbus": {"A320": [], "A380": []}, "Boeing": {"737": [], "747": []}})
LEAVES = [leaf for leaves in TREE.leaves.values() for leaf in leaves]


def overconfident(n: int, temperature: float) -> tuple[dict[str, np.ndarray], list[Label]]:
    """Return outputs `temperature` times too sharp, and labels drawn from the true probabilities."""
    random = np.random.default_rng(3)
    logits = {head: random.normal(0, 2, (n, classes)) for head, classes in TREE.heads.items()}
    true = {head: np.exp(log_softmax(array, axis=1)) for head, array in logits.items()}
    labels = []
    for row in range(n):
        constructor = TREE.constructors[random.choice(2, p=true["constructor"][row])]
        labels.append(TREE.leaves[constructor][random.choice(2, p=true[constructor][row])])
    return {head: log_softmax(array * temperature, axis=1) for head, array in logits.items()}, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_network_overconfident_is_found_again(temperature: float) -> None:
    outputs, labels = overconfident(4000, temperature)
    found = calibrate(TREE, outputs, labels, np.ones(4000)).temperatures
    assert found == pytest.approx(dict.fromkeys(TREE.heads, temperature), rel=0.15)


def test_at_each_level_the_answers_above_its_threshold_are_right_as_often_as_aimed_for() -> None:
    outputs, labels = overconfident(4000, 2.0)
    calibration = calibrate(TREE, outputs, labels, np.ones(4000))
    answers = answer(TREE, calibration, outputs)
    for depth, threshold in ((0, calibration.thresholds.constructor), (1, calibration.thresholds.family)):
        sure = [
            found.label[: depth + 1] == label[: depth + 1]
            for found, label in zip(answers, labels, strict=True)
            if found.probabilities[depth] >= threshold
        ]
        assert np.mean(sure) == pytest.approx(TARGET, abs=0.005)


def test_a_level_at_which_nothing_is_right_often_enough_is_never_sure() -> None:
    outputs, labels = overconfident(400, 1.0)
    wrong = [Label("Airbus", "A320") if label.constructor == "Boeing" else Label("Boeing", "737") for label in labels]
    assert calibrate(TREE, outputs, wrong, np.ones(400)).thresholds.family == NEVER


def test_photos_without_weight_do_not_speak_for_the_constructor() -> None:
    outputs, labels = overconfident(400, 3.0)
    found = calibrate(TREE, outputs, labels, np.zeros(400))
    assert found.temperatures["constructor"] == 1
    assert found.thresholds.constructor == NEVER
    assert found.temperatures["Boeing"] > 2


def test_equally_probable_answers_are_sure_together_or_not_at_all() -> None:
    certain = {head: np.log(np.array([[1 - 1e-9, 1e-9]] * 60)) for head in TREE.heads}
    labels = [Label("Airbus", "A320")] * 30 + [Label("Boeing", "737")] * 30
    assert calibrate(TREE, certain, labels, np.ones(60)).thresholds.constructor == NEVER


def test_without_photos_everything_stays_as_it_is() -> None:
    nothing = {head: np.zeros((0, classes)) for head, classes in TREE.heads.items()}
    found = calibrate(TREE, nothing, [], np.zeros(0))
    assert found.temperatures == dict.fromkeys(TREE.heads, 1.0)
