"""Metrics compared with scikit-learn and hiclass, on random predictions and labels."""

import warnings
from typing import Any

import hiclass.metrics
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax

from planespotter_models import Calibration, DecodeRule, Label, LabelTree, Thresholds, leaf_probabilities
from planespotter_training.evaluation.confidence_intervals import intervals, resamples, wilson
from planespotter_training.evaluation.metric_functions import reliability, risk_coverage
from planespotter_training.evaluation.metrics import METRICS, compute
from planespotter_training.evaluation.scoring import Rows, number_nodes, score

TREE = LabelTree(
    {
        "Airbus": {"A320": ["A320-200", "A320neo"], "A380": []},
        # A family and a model of the same name are two nodes.
        "Boeing": {"737": ["737-700", "737-800", "737"], "747": [], "787": ["787-8", "787-9"]},
        "ATR": {},
    }
)
NODES = number_nodes(TREE)
LABELS = [
    *NODES.names,
    Label("Airbus", "A350", "A350-900"),  # the tree has only its constructor
    Label("Boeing", "737", "737-200"),  # only its family
    Label("Boeing", "737"),
    Label("Military", "F-16"),  # not in the tree
]


@st.composite
def photos(draw: st.DrawFn, labels: list[Label] = LABELS) -> tuple[dict[str, Any], list[Label], Calibration]:
    chosen = draw(st.lists(st.sampled_from(labels), min_size=1, max_size=40))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    # Steps of one half, so that there are ties.
    outputs = {
        head: log_softmax(random.integers(0, 9, (len(chosen), classes)) / 2, axis=1)
        for head, classes in TREE.heads.items()
    }
    levels = st.sampled_from([0.0, 0.4, 0.6, 0.8, 1.01])
    thresholds = Thresholds(draw(levels), draw(levels), draw(levels))
    temperatures = dict.fromkeys(TREE.heads, draw(st.sampled_from([0.5, 1.0, 2.0])))
    return outputs, chosen, Calibration(temperatures, thresholds, draw(st.sampled_from(DecodeRule)))


def scored(outputs: dict[str, Any], labels: list[Label], calibration: Calibration) -> Rows:
    return score(TREE, calibration, outputs, labels, ["x"] * len(labels))


def value(rows: Rows, name: str) -> float | None:
    measured = compute(NODES, rows, [name])[name]
    return None if measured is None else measured.value


def ancestors(label: Label, depth: int = 3) -> list[str]:
    """Return the label for hiclass: prefixed by the path, since it puts all levels into one set."""
    return ["/".join(label[: i + 1]) if label[i] and i < depth else "" for i in range(3)]


@given(photos())
def test_hierarchical_precision_and_recall_are_those_of_hiclass(
    example: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    rows = scored(*example)
    rows = rows[rows["true_leaf"] >= 0]
    true = np.array([ancestors(NODES.leaves[leaf]) for leaf in rows["true_leaf"]]).reshape(-1, 3)
    for prefix, depths in (("", [3] * len(rows)), ("confident_", rows["level"])):
        predicted = [ancestors(NODES.leaves[leaf], depth) for leaf, depth in zip(rows["leaf"], depths, strict=True)]
        if not len(rows) or not any(map(any, predicted)):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = {
                "precision": hiclass.metrics.precision(true, np.array(predicted)),
                "recall": hiclass.metrics.recall(true, np.array(predicted)),
                "f1": hiclass.metrics.f1(true, np.array(predicted)),
            }
        if expected["precision"] + expected["recall"] == 0:
            expected["f1"] = 0  # where hiclass divides by nothing
        measured = {name: value(rows, f"{prefix}hierarchical_{name}") for name in expected}
        assert measured == pytest.approx(expected)


@given(photos())
def test_accuracy_and_macro_f1_are_those_of_scikit_learn(
    example: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    rows = scored(*example)
    named = rows[rows["true_leaf"] >= 0]
    if len(named):
        assert value(rows, "path_accuracy") == sklearn.metrics.accuracy_score(named["true_leaf"], named["leaf"])
        expected = sklearn.metrics.f1_score(named["true_leaf"], named["leaf"], average="macro")
        assert value(rows, "path_macro_f1") == pytest.approx(expected)
    known = rows[rows["true_nodes"][:, 0] >= 0]
    if len(known):
        true, predicted = known["true_nodes"][:, 0], NODES.paths[known["leaf"]][:, 0]
        expected = sklearn.metrics.f1_score(true, predicted, average="macro")
        assert value(rows, "constructor_macro_f1") == pytest.approx(expected)


@given(photos())
def test_log_loss_and_brier_score_are_those_of_scikit_learn(
    example: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    outputs, _, calibration = example
    rows = scored(*example)
    typed = rows["true_leaf"] >= 0
    if not typed.any():
        return
    parts = leaf_probabilities(TREE, calibration.temperatures, outputs)
    table = np.concatenate([parts[name] for name in TREE.constructors], axis=1)[typed]
    columns = list(range(len(NODES.leaves)))
    true = rows["true_leaf"][typed]
    assert value(rows, "path_nll") == pytest.approx(sklearn.metrics.log_loss(true, table, labels=columns))
    expected = sklearn.metrics.brier_score_loss(true, table, labels=columns, scale_by_half=False)
    assert value(rows, "path_brier") == pytest.approx(expected)


@given(photos())
def test_auroc_and_fpr95_are_those_of_scikit_learn(
    example: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    rows = scored(*example)
    known = rows["true_nodes"][:, 0] >= 0
    for prefix, level in (("", "constructor"), ("path_", "path")):
        if known.all() or not known.any():
            assert value(rows, f"{prefix}auroc") is None
            continue
        score = rows[f"{level}_probability"]
        assert value(rows, f"{prefix}auroc") == pytest.approx(sklearn.metrics.roc_auc_score(known, score))
        false, true, _ = sklearn.metrics.roc_curve(known, score, drop_intermediate=False)
        assert value(rows, f"{prefix}fpr95") == pytest.approx(false[true >= 0.95 - 1e-12].min())


@given(photos())
def test_constructor_auroc_is_that_of_scikit_learn_for_the_share_of_the_first_constructor(
    example: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    outputs, labels, calibration = example
    rows = scored(outputs, labels, calibration)
    probabilities = np.exp(outputs["constructor"])
    assert expit(rows["first_constructor_log_odds"]) == pytest.approx(probabilities[:, 0] / probabilities.sum(axis=1))
    inside = rows[rows["true_nodes"][:, 0] >= 0]
    first = np.array([label.constructor == TREE.constructors[0] for label in labels])[rows["true_nodes"][:, 0] >= 0]
    if first.all() or not first.any():
        assert value(rows, "constructor_auroc") is None
    else:
        expected = sklearn.metrics.roc_auc_score(first, inside["first_constructor_log_odds"])
        assert value(rows, "constructor_auroc") == pytest.approx(expected)


def test_a_tilted_prior_changes_constructor_accuracy_but_not_constructor_auroc() -> None:
    tree = LabelTree({"Airbus": {}, "Boeing": {}}, other=True)
    logits = np.array([[60, 0, -9], [50, 0, 9], [40, 0, 0], [45, 0, 50]], float)  # all but certain that it is an Airbus
    outputs = {"constructor": log_softmax(logits, axis=1).astype(np.float32)}
    outputs |= dict.fromkeys(tree.constructors, np.zeros((4, 1), np.float32))
    labels = [Label("Airbus"), Label("Airbus"), Label("Boeing"), Label("Boeing")]
    for temperature in (1.0, 3.0):
        calibration = Calibration(dict.fromkeys(tree.heads, temperature), Thresholds(0, 0, 0))
        rows = score(tree, calibration, outputs, labels, ["x"] * 4)
        measured = compute(number_nodes(tree), rows, ["constructor_accuracy", "constructor_auroc"])
        assert measured == {"constructor_accuracy": (0.5, 4), "constructor_auroc": (1, 4)}


@given(photos())
def test_a_path_is_never_correct_where_a_level_above_it_is_wrong(
    example: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    rows = scored(*example)
    rows = rows[rows["true_leaf"] >= 0]
    if len(rows):
        constructor, path, best = (
            value(rows, name) or 0
            for name in ("constructor_accuracy", "path_accuracy", "model_accuracy_given_constructor")
        )
        assert path <= constructor
        # Greedy decoding takes the best leaf of its constructor, so it is correct if both heads are.
        assert value(rows, "greedy_path_accuracy") <= best  # type: ignore[operator]


@given(photos(), st.randoms())
def test_metrics_do_not_depend_on_order_and_batching(
    example: tuple[dict[str, Any], list[Label], Calibration], random: Any
) -> None:
    outputs, labels, calibration = example
    together = scored(*example)
    cut = random.randrange(len(labels) + 1)
    parts = [
        scored({head: array[part] for head, array in outputs.items()}, labels[part], calibration)
        for part in (slice(0, cut), slice(cut, None))
    ]
    merged = np.concatenate(parts[::-1])
    expected, measured = (
        {name: result and result.value for name, result in compute(NODES, rows).items() if "ece" not in name}
        for rows in (together, merged)
    )
    assert measured == pytest.approx(expected)


def test_hierarchical_distance_is_the_height_at_which_the_paths_meet() -> None:
    leaf = {name: index for index, label in enumerate(NODES.leaves) for name in [label.model or label.family]}
    rows = scored(*outputs_for(["A320-200"] * 4))
    rows["leaf"] = [leaf["A320-200"], leaf["A320neo"], leaf["A380"], leaf["747"]]
    assert value(rows, "hierarchical_distance") == (0 + 1 + 2 + 3) / 4
    assert value(rows, "mistake_severity") == 2


def outputs_for(names: list[str]) -> tuple[dict[str, Any], list[Label], Calibration]:
    labels = [next(label for label in NODES.leaves if name in label) for name in names]
    outputs = {head: np.zeros((len(names), classes)) for head, classes in TREE.heads.items()}
    return outputs, labels, Calibration(dict.fromkeys(TREE.heads, 1.0), Thresholds(0, 0, 0))


def test_reliability_shows_overconfidence() -> None:
    random = np.random.default_rng(0)
    true = random.uniform(0.5, 1, 30_000)
    correct = random.uniform(size=30_000) < true
    confidence, accuracy, photos_ = reliability(true, correct)
    assert len(confidence) == 15
    assert set(photos_) == {2000}
    assert np.abs(confidence - accuracy).max() < 0.04
    confidence, accuracy, _ = reliability(np.sqrt(true), correct)
    assert np.average(confidence - accuracy) == pytest.approx(np.sqrt(true).mean() - true.mean(), abs=0.01)


def test_risk_coverage_starts_with_the_most_confident_predictions() -> None:
    risks = risk_coverage(np.array([0.9, 0.6, 0.8, 0.7]), np.array([True, False, True, False]))
    assert risks == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert risk_coverage(np.array([0.9, 0.9]), np.array([True, False])) == pytest.approx([0.5, 0.5])


def test_wilson_intervals_are_those_of_newcombe() -> None:
    # Newcombe (1998), table I: 81 of 263, and 0 of 20.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_the_bootstrap_draws_an_airframe_with_all_its_photos() -> None:
    rows = scored(*outputs_for(["747"] * 6))
    rows["airframe"] = ["a", "b", "a", "b", "a", "c"]
    for index in resamples(rows)[:50]:
        drawn = np.bincount(index, minlength=6)
        assert drawn[0] == drawn[2] == drawn[4]
        assert drawn[1] == drawn[3]
        assert drawn[0] + drawn[1] + drawn[5] == 3


@settings(max_examples=2)
@given(photos())
def test_every_metric_lies_in_its_interval_and_intervals_are_deterministic(
    example: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    rows = scored(*example)
    few = [name for name in METRICS if "uncalibrated" not in name]
    values = compute(NODES, rows, few)
    ends = intervals(NODES, rows, values)
    for name, measured in values.items():
        if measured is None:
            assert ends[name] is None
        else:
            low, high = ends[name] or (1, 0)
            assert low - 1e-9 <= measured.value <= high + 1e-9, name
    assert intervals(NODES, rows, values) == ends
