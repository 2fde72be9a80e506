"""Calibration: temperatures and thresholds, fitted on photos with known ground truth."""

import numpy as np
import pytest
from scipy.special import log_softmax

from planespotter_models import Label, LabelTree, Level, decode_prediction
from planespotter_training.evaluation.calibrate import NEVER, TARGET_PRECISION, calibrate

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
def test_the_temperature_that_made_the_network_overconfident_is_recovered(temperature: float) -> None:
    outputs, labels = overconfident(4000, temperature)
    temperatures = calibrate(TREE, outputs, labels, np.ones(4000)).temperatures
    assert temperatures == pytest.approx(dict.fromkeys(TREE.heads, temperature), rel=0.15)


@pytest.mark.parametrize("precision", [0.9, TARGET_PRECISION])
def test_each_confidence_level_reaches_the_target_precision(precision: float) -> None:
    outputs, labels = overconfident(6000, 2.0)
    fitted, fresh = slice(0, 3000), slice(3000, None)
    calibration = calibrate(
        TREE, {head: array[fitted] for head, array in outputs.items()}, labels[fitted], np.ones(3000), precision
    )
    for part, tolerance in ((fitted, 0.0), (fresh, 0.04)):
        predictions = decode_prediction(TREE, calibration, {head: array[part] for head, array in outputs.items()})
        for depth, level in ((1, Level.CONSTRUCTOR), (2, Level.FAMILY)):
            correct = [
                prediction.label[:depth] == label[:depth]
                for prediction, label in zip(predictions, labels[part], strict=True)
                if prediction.level is level
            ]
            assert len(correct) > 150
            assert precision - tolerance <= np.mean(correct) <= precision + 0.04


def a320s(probabilities: list[float], correct: list[bool]) -> tuple[dict[str, np.ndarray], list[Label]]:
    """Return outputs that predict A320s with these constructor probabilities and a certain family, and their labels."""
    constructor = np.log([[probability, 1 - probability] for probability in probabilities])
    family = np.log(np.full((len(probabilities), 2), [1 - 1e-9, 1e-9]))
    labels = [Label("Airbus", "A320") if mark else Label("Boeing", "737") for mark in correct]
    return {"constructor": constructor, "Airbus": family, "Boeing": family}, labels


def test_a_level_needs_19_photos_without_a_mistake() -> None:
    for photos, enough in ((18, False), (19, True)):
        outputs, labels = a320s([0.999] * photos, [True] * photos)
        assert (calibrate(TREE, outputs, labels, np.ones(photos)).thresholds.family < NEVER) is enough


def test_photos_that_do_not_reach_the_deeper_level_must_reach_the_target_on_their_own() -> None:
    # Confident of constructor and family: 200 correct. Of the constructor only: 40 photos, half of them wrong, which
    # the 200 would outweigh.
    confident, labels = a320s([0.99] * 200, [True] * 200)
    unconfident, more_labels = a320s([0.7] * 40, [True, False] * 20)
    unconfident["Airbus"] = np.log(np.full((40, 2), 0.5))
    outputs = {head: np.concatenate([confident[head], unconfident[head]]) for head in confident}
    calibration = calibrate(TREE, outputs, labels + more_labels, np.ones(240))
    levels = {prediction.level for prediction in decode_prediction(TREE, calibration, unconfident)}
    assert levels == {Level.UNKNOWN}
    assert {prediction.level for prediction in decode_prediction(TREE, calibration, confident)} == {Level.FAMILY}


def test_a_level_below_the_target_precision_is_never_confident() -> None:
    outputs, labels = overconfident(400, 1.0)
    wrong = [Label("Airbus", "A320") if label.constructor == "Boeing" else Label("Boeing", "737") for label in labels]
    assert calibrate(TREE, outputs, wrong, np.ones(400)).thresholds.family == NEVER


def test_photos_without_weight_do_not_calibrate_the_constructor() -> None:
    outputs, labels = overconfident(400, 3.0)
    calibration = calibrate(TREE, outputs, labels, np.zeros(400))
    assert calibration.temperatures["constructor"] == 1
    assert calibration.thresholds.constructor == NEVER
    assert calibration.temperatures["Boeing"] > 2


def test_equally_probable_predictions_pass_a_threshold_together_or_not_at_all() -> None:
    certain = {head: np.log(np.array([[1 - 1e-9, 1e-9]] * 60)) for head in TREE.heads}
    labels = [Label("Airbus", "A320")] * 30 + [Label("Boeing", "737")] * 30
    assert calibrate(TREE, certain, labels, np.ones(60)).thresholds.constructor == NEVER


def test_without_photos_all_temperatures_are_1() -> None:
    nothing = {head: np.zeros((0, classes)) for head, classes in TREE.heads.items()}
    calibration = calibrate(TREE, nothing, [], np.zeros(0))
    assert calibration.temperatures == dict.fromkeys(TREE.heads, 1.0)


def with_other_output(share: float) -> tuple[LabelTree, dict[str, np.ndarray], list[Label]]:
    """Return a tree with an `other` output, and 400 confident predictions; `share` of them are of military aircraft."""
    tree = LabelTree(TREE.branches, other=True)
    random = np.random.default_rng(1)
    outputs = {head: log_softmax(random.normal(0, 0.1, (400, n)), axis=1) for head, n in tree.heads.items()}
    outputs["constructor"] = np.log(np.tile([0.97, 0.02, 0.01], (400, 1)))
    labels = [Label("Military") if i < 400 * share else Label("Airbus", "A320") for i in range(400)]
    return tree, outputs, labels


def test_the_temperature_fits_the_other_output_as_well() -> None:
    tree, outputs, labels = with_other_output(0.5)
    assert calibrate(tree, outputs, labels, np.ones(400)).temperatures["constructor"] > 3
    assert (
        calibrate(TREE, {**outputs, "constructor": outputs["constructor"][:, :2]}, labels, np.ones(400)).temperatures[
            "constructor"
        ]
        < 1
    )


def test_a_confident_answer_for_what_is_outside_the_tree_is_a_mistake_of_a_network_with_an_other_output() -> None:
    for share, confident in ((0.5, False), (0.0, True)):
        tree, outputs, labels = with_other_output(share)
        thresholds = calibrate(tree, outputs, labels, np.ones(400)).thresholds
        assert (thresholds.constructor < NEVER) is confident
