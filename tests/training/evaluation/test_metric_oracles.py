"""Metrics against scikit-learn and hiclass, on trees, answers and labels of all kinds."""

import warnings
from typing import Any

import hiclass.metrics
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from planespotter_models import Calibration, DecodeRule, Label, LabelTree, Thresholds, leaf_probabilities
from planespotter_training.evaluation.confidence_intervals import intervals, resamples, wilson
from planespotter_training.evaluation.metrics import FIGURES, figures, reliability, risk_coverage
from planespotter_training.evaluation.scoring import Rows, judge, number

TREE = LabelTree(
    {
        "Airbus": {"A320": ["A320-200", "A320neo"], "A380": []},
        # A family and a model of the same name are two nodes.
        "Boeing": {"737": ["737-700", "737-800", "737"], "747": [], "787": ["787-8", "787-9"]},
        "ATR": {},
    }
)
NODES = number(TREE)
LABELS = [
    *NODES.names,
    Label("Airbus", "A350", "A350-900"),  # the tree goes only to the constructor
    Label("Boeing", "737", "737-200"),  # to the family
    Label("Boeing", "737"),
    Label("Military", "F-16"),  # not in the tree
]


@st.composite
def photos(draw: st.DrawFn, labels: list[Label] = LABELS) -> tuple[dict[str, Any], list[Label], Calibration]:
    chosen = draw(st.lists(st.sampled_from(labels), min_size=1, max_size=40))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    # Steps of a half, so that ties come about.
    outputs = {
        head: log_softmax(random.integers(0, 9, (len(chosen), classes)) / 2, axis=1)
        for head, classes in TREE.heads.items()
    }
    levels = st.sampled_from([0.0, 0.4, 0.6, 0.8, 1.01])
    thresholds = Thresholds(draw(levels), draw(levels), draw(levels))
    temperatures = dict.fromkeys(TREE.heads, draw(st.sampled_from([0.5, 1.0, 2.0])))
    return outputs, chosen, Calibration(temperatures, thresholds, draw(st.sampled_from(DecodeRule)))


def judged(outputs: dict[str, Any], labels: list[Label], calibration: Calibration) -> Rows:
    return judge(TREE, calibration, outputs, labels, ["x"] * len(labels))


def value(rows: Rows, name: str) -> float | None:
    figure = figures(NODES, rows, [name])[name]
    return None if figure is None else figure.value


def ancestors(label: Label, depth: int = 3) -> list[str]:
    """Return the label as hiclass takes it: prefixed by the path, since it puts all levels into one set."""
    return ["/".join(label[: i + 1]) if label[i] and i < depth else "" for i in range(3)]


@given(photos())
def test_hierarchical_precision_and_recall_are_those_of_hiclass(
    given_: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    rows = judged(*given_)
    rows = rows[rows["true_leaf"] >= 0]
    true = np.array([ancestors(NODES.leaves[leaf]) for leaf in rows["true_leaf"]]).reshape(-1, 3)
    for prefix, depths in (("", [3] * len(rows)), ("sure_", rows["level"])):
        said = [ancestors(NODES.leaves[leaf], depth) for leaf, depth in zip(rows["leaf"], depths, strict=True)]
        if not len(rows) or not any(map(any, said)):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = {
                "precision": hiclass.metrics.precision(true, np.array(said)),
                "recall": hiclass.metrics.recall(true, np.array(said)),
                "f": hiclass.metrics.f1(true, np.array(said)),
            }
        if expected["precision"] + expected["recall"] == 0:
            expected["f"] = 0  # where hiclass divides by nothing
        found = {name: value(rows, f"{prefix}hierarchical_{name}") for name in expected}
        assert found == pytest.approx(expected)


@given(photos())
def test_accuracy_and_macro_f1_are_those_of_scikit_learn(
    given_: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    rows = judged(*given_)
    named = rows[rows["true_leaf"] >= 0]
    if len(named):
        assert value(rows, "path_accuracy") == sklearn.metrics.accuracy_score(named["true_leaf"], named["leaf"])
        expected = sklearn.metrics.f1_score(named["true_leaf"], named["leaf"], average="macro")
        assert value(rows, "path_macro_f1") == pytest.approx(expected)
    known = rows[rows["truth"][:, 0] >= 0]
    if len(known):
        true, said = known["truth"][:, 0], NODES.paths[known["leaf"]][:, 0]
        expected = sklearn.metrics.f1_score(true, said, average="macro")
        assert value(rows, "constructor_macro_f1") == pytest.approx(expected)


@given(photos())
def test_log_loss_and_brier_score_are_those_of_scikit_learn(
    given_: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    outputs, _, calibration = given_
    rows = judged(*given_)
    which = rows["true_leaf"] >= 0
    if not which.any():
        return
    parts = leaf_probabilities(TREE, calibration.temperatures, outputs)
    table = np.concatenate([parts[name] for name in TREE.constructors], axis=1)[which]
    columns = list(range(len(NODES.leaves)))
    true = rows["true_leaf"][which]
    assert value(rows, "path_nll") == pytest.approx(sklearn.metrics.log_loss(true, table, labels=columns))
    expected = sklearn.metrics.brier_score_loss(true, table, labels=columns, scale_by_half=False)
    assert value(rows, "path_brier") == pytest.approx(expected)


@given(photos())
def test_telling_known_aircraft_from_others_is_measured_as_in_scikit_learn(
    given_: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    rows = judged(*given_)
    known = rows["truth"][:, 0] >= 0
    for prefix, level in (("", "constructor"), ("path_", "path")):
        if known.all() or not known.any():
            assert value(rows, f"{prefix}auroc") is None
            continue
        score = rows[f"{level}_probability"]
        assert value(rows, f"{prefix}auroc") == pytest.approx(sklearn.metrics.roc_auc_score(known, score))
        false, true, _ = sklearn.metrics.roc_curve(known, score, drop_intermediate=False)
        assert value(rows, f"{prefix}fpr95") == pytest.approx(false[true >= 0.95 - 1e-12].min())


@given(photos())
def test_a_path_is_never_right_where_a_level_above_it_is_wrong(
    given_: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    rows = judged(*given_)
    rows = rows[rows["true_leaf"] >= 0]
    if len(rows):
        constructor, path, best = (
            value(rows, name) or 0
            for name in ("constructor_accuracy", "path_accuracy", "model_accuracy_given_constructor")
        )
        assert path <= constructor
        # Greedy decoding takes the best leaf of its constructor, so it is right when both stages are.
        assert value(rows, "greedy_path_accuracy") <= best  # type: ignore[operator]


@given(photos(), st.randoms())
def test_the_order_of_photos_and_how_they_were_batched_changes_nothing(
    given_: tuple[dict[str, Any], list[Label], Calibration], random: Any
) -> None:
    outputs, labels, calibration = given_
    whole = judged(*given_)
    cut = random.randrange(len(labels) + 1)
    parts = [
        judged({head: array[part] for head, array in outputs.items()}, labels[part], calibration)
        for part in (slice(0, cut), slice(cut, None))
    ]
    merged = np.concatenate(parts[::-1])
    expected = {name: figure and figure.value for name, figure in figures(NODES, whole).items() if "ece" not in name}
    found = {name: figure and figure.value for name, figure in figures(NODES, merged).items() if "ece" not in name}
    assert found == pytest.approx(expected)


def test_severity_is_the_height_at_which_the_two_paths_meet() -> None:
    leaf = {name: index for index, label in enumerate(NODES.leaves) for name in [label.model or label.family]}
    rows = judged(*outputs_for(["A320-200"] * 4))
    rows["leaf"] = [leaf["A320-200"], leaf["A320neo"], leaf["A380"], leaf["747"]]
    assert value(rows, "severity") == (0 + 1 + 2 + 3) / 4
    assert value(rows, "severity_of_mistakes") == 2


def outputs_for(names: list[str]) -> tuple[dict[str, Any], list[Label], Calibration]:
    labels = [next(label for label in NODES.leaves if name in label) for name in names]
    outputs = {head: np.zeros((len(names), classes)) for head, classes in TREE.heads.items()}
    return outputs, labels, Calibration(dict.fromkeys(TREE.heads, 1.0), Thresholds(0, 0, 0))


def test_a_calibrated_network_has_hardly_any_calibration_error_and_an_overconfident_one_has_it() -> None:
    random = np.random.default_rng(0)
    true = random.uniform(0.5, 1, 30_000)
    right = random.uniform(size=30_000) < true
    said, share, photos_ = reliability(true, right)
    assert len(said) == 15
    assert set(photos_) == {2000}
    assert np.abs(said - share).max() < 0.04
    said, share, _ = reliability(np.sqrt(true), right)
    assert np.average(said - share) == pytest.approx(np.sqrt(true).mean() - true.mean(), abs=0.01)


def test_the_surest_answers_are_answered_first() -> None:
    risks = risk_coverage(np.array([0.9, 0.6, 0.8, 0.7]), np.array([True, False, True, False]))
    assert risks == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert risk_coverage(np.array([0.9, 0.9]), np.array([True, False])) == pytest.approx([0.5, 0.5])


def test_wilsons_interval_is_that_of_the_textbook() -> None:
    # Newcombe (1998), table I: 81 of 263, and 0 of 20.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_an_airframe_is_drawn_with_all_its_photos() -> None:
    rows = judged(*outputs_for(["747"] * 6))
    rows["airframe"] = ["a", "b", "a", "b", "a", "c"]
    for index in resamples(rows)[:50]:
        drawn = np.bincount(index, minlength=6)
        assert drawn[0] == drawn[2] == drawn[4]
        assert drawn[1] == drawn[3]
        assert drawn[0] + drawn[1] + drawn[5] == 3


@settings(max_examples=2)
@given(photos())
def test_every_figure_lies_in_its_interval_and_the_same_photos_have_the_same(
    given_: tuple[dict[str, Any], list[Label], Calibration],
) -> None:
    rows = judged(*given_)
    few = [name for name in FIGURES if "before" not in name]
    found = figures(NODES, rows, few)
    ends = intervals(NODES, rows, found)
    for name, figure in found.items():
        if figure is None:
            assert ends[name] is None
        else:
            low, high = ends[name] or (1, 0)
            assert low - 1e-9 <= figure.value <= high + 1e-9, name
    assert intervals(NODES, rows, found) == ends
