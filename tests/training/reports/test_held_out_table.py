"""Table of held-out sources: only their photos count, and each source counts the same in the mean."""

import io

import numpy as np
import pytest
from rich.console import Console

from planespotter_models import Calibration, Label, LabelTree, Thresholds
from planespotter_training.evaluation.metrics import compute
from planespotter_training.evaluation.scoring import Rows, number_nodes, score
from planespotter_training.reports.compare_runs import Subject, held_out_groups
from planespotter_training.reports.held_out_table import (
    COLUMNS,
    HeldOutSource,
    held_out_table,
    mean_over_sources,
    measure_sources,
)

TREE = LabelTree({"Airbus": {"A320": []}, "Boeing": {"737": []}}, other=True)
NODES = number_nodes(TREE)


def scored(sources: list[str], seed: int = 0) -> Rows:
    """Return random predictions for photos of these sources, with labels in the tree and outside."""
    random = np.random.default_rng(seed)
    constructor = np.log(random.dirichlet((1, 1, 1), len(sources)))
    outputs = {"constructor": constructor, **dict.fromkeys(TREE.constructors, np.zeros((len(sources), 1)))}
    labels = [(Label("Airbus", "A320"), Label("Boeing", "737"), Label("ATR"))[i % 3] for i in range(len(sources))]
    return score(TREE, Calibration(dict.fromkeys(TREE.heads, 1.0), Thresholds(0, 0, 0)), outputs, labels, sources)


def measured(run: str, source: str, value: float | None, half: float = 0.0) -> HeldOutSource:
    """Return a row in which every metric has the same value and interval."""
    ends = None if value is None else (value - half, value + half)
    return HeldOutSource(run, source, 10, dict.fromkeys(COLUMNS, value), dict.fromkeys(COLUMNS, ends))


def test_only_photos_of_the_held_out_source_count() -> None:
    rows = scored(["Hangar"] * 30 + ["airport"] * 60)
    row, *further = measure_sources("run", ["hangar", "without photos"], NODES, rows)
    assert not further
    assert (row.run, row.source, row.photos) == ("run", "Hangar", 30)
    expected = compute(NODES, rows[:30], COLUMNS)
    for name in COLUMNS:
        value, ends = expected[name], row.intervals[name]
        assert value is not None
        assert ends is not None
        assert row.metrics[name] == value.value
        assert ends[0] < value.value < ends[1]


def test_a_source_with_one_constructor_has_an_accuracy_but_no_constructor_auroc() -> None:
    rows = scored(["hangar"] * 30)[1::3]
    row = measure_sources("run", ["hangar"], NODES, rows)[0]
    assert row.metrics["constructor_accuracy"] is not None
    assert row.metrics["constructor_auroc"] is None
    assert row.intervals["constructor_auroc"] is None


def test_each_source_counts_the_same_in_the_mean_however_many_runs_held_it_out() -> None:
    rows = [measured("a", "x", 0.9, 0.03), measured("b", "X", 0.7, 0.03), measured("c", "y", 0.4, 0.04)]
    mean = mean_over_sources("small", rows)
    assert (mean.run, mean.source, mean.photos) == ("small", "mean of 2", 20)
    assert mean.metrics["auroc"] == pytest.approx((0.8 + 0.4) / 2)
    assert mean.intervals["auroc"] == pytest.approx((0.6 - 0.05 / 2, 0.6 + 0.05 / 2))  # 0.05 = hypot(0.03, 0.04)


def test_the_mean_is_over_the_sources_that_have_the_metric() -> None:
    mean = mean_over_sources("small", [measured("a", "x", 0.9), measured("b", "y", None)])
    assert mean.metrics["auroc"] == pytest.approx(0.9)
    assert mean_over_sources("small", [measured("b", "y", None)]).metrics["auroc"] is None


def test_recipes_have_separate_means_and_seeds_a_common_one() -> None:
    def subject(name: str, seed: int, rate: float, value: float) -> Subject:
        settings = {"seed": seed, "learning_rate": rate}
        return Subject(name, settings, {"recipe": "small"}, {}, held_out=[measured(name, "x", value)])

    subjects = [subject("a", 0, 0.1, 0.5), subject("b", 1, 0.1, 0.7), subject("c", 0, 0.2, 0.9)]
    groups = held_out_groups([*subjects, Subject("all sources", {"learning_rate": 0.1}, {"recipe": "small"}, {})])
    assert [[row.run for row in rows] for rows in groups] == [
        ["a", "b", "small, learning_rate=0.1"],
        ["c", "small, learning_rate=0.2"],
    ]
    assert [rows[-1].metrics["auroc"] for rows in groups] == pytest.approx([0.6, 0.9])
    printed = io.StringIO()
    Console(file=printed, width=160).print(held_out_table(groups))
    assert printed.getvalue().count("mean of 1") == 2
