"""Temperatures and thresholds, chosen on photos whose right answers are known."""

import numpy as np
import pytest
from scipy.special import log_softmax

from planespotter_models import Label, LabelTree, Level, decode_prediction
from planespotter_training.evaluation.calibrate import NEVER, PRECISION, calibrate

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


@pytest.mark.parametrize("precision", [0.9, PRECISION])
def test_of_the_answers_given_at_a_level_as_many_are_right_as_promised(precision: float) -> None:
    outputs, labels = overconfident(6000, 2.0)
    fitted, fresh = slice(0, 3000), slice(3000, None)
    calibration = calibrate(
        TREE, {head: array[fitted] for head, array in outputs.items()}, labels[fitted], np.ones(3000), precision
    )
    for part, tolerance in ((fitted, 0.0), (fresh, 0.04)):
        answers = decode_prediction(TREE, calibration, {head: array[part] for head, array in outputs.items()})
        for depth, level in ((1, Level.CONSTRUCTOR), (2, Level.FAMILY)):
            right = [
                found.label[:depth] == label[:depth]
                for found, label in zip(answers, labels[part], strict=True)
                if found.level is level
            ]
            assert len(right) > 150
            assert precision - tolerance <= np.mean(right) <= precision + 0.04


def certain_of(shares: list[float], rights: list[bool]) -> tuple[dict[str, np.ndarray], list[Label]]:
    """Return outputs for A320s, sure of the constructor by `shares` and certain of the family, and what they were."""
    constructor = np.log([[share, 1 - share] for share in shares])
    family = np.log(np.full((len(shares), 2), [1 - 1e-9, 1e-9]))
    labels = [Label("Airbus", "A320") if right else Label("Boeing", "737") for right in rights]
    return {"constructor": constructor, "Airbus": family, "Boeing": family}, labels


def test_a_few_photos_without_a_mistake_are_not_enough() -> None:
    for photos, enough in ((18, False), (19, True)):
        outputs, labels = certain_of([0.999] * photos, [True] * photos)
        assert (calibrate(TREE, outputs, labels, np.ones(photos)).thresholds.family < NEVER) is enough


def test_what_is_left_over_for_a_level_must_keep_the_promise_by_itself() -> None:
    # Sure of the constructor and of the family: 200 right. The constructor alone: 40 photos, half of them wrong, which
    # would be lost among the 200.
    sure, labels = certain_of([0.99] * 200, [True] * 200)
    unsure, others = certain_of([0.7] * 40, [True, False] * 20)
    unsure["Airbus"] = np.log(np.full((40, 2), 0.5))
    outputs = {head: np.concatenate([sure[head], unsure[head]]) for head in sure}
    calibration = calibrate(TREE, outputs, labels + others, np.ones(240))
    levels = {found.level for found in decode_prediction(TREE, calibration, unsure)}
    assert levels == {Level.UNKNOWN}
    assert {found.level for found in decode_prediction(TREE, calibration, sure)} == {Level.FAMILY}


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
