"""int8 calibration: activation ranges, comparison with float32, and the limit on the accuracy drop."""

import numpy as np
import pytest

from planespotter_models import Calibration, Label, LabelTree, Thresholds
from planespotter_training.errors import TrainingError
from planespotter_training.export import int8_calibration
from planespotter_training.export.int8_calibration import check_accuracy_drop, compare_outputs, describe_comparison

TREE = LabelTree({"Airbus": {"A320": [], "A380": []}, "Boeing": {"737": [], "747": []}})
CALIBRATION = Calibration(dict.fromkeys(TREE.heads, 1.0), Thresholds(0.5, 0.5, 0.5))
LABELS = [Label("Airbus", "A320", ""), Label("Airbus", "A380", ""), Label("Boeing", "737", ""), Label("Boeing", "", "")]


def outputs(*constructors: int, likely: float = 0.9) -> dict[str, np.ndarray]:
    """Return log-probabilities that predict these constructors, and the first type for all but the second photo."""
    chosen = np.log(np.array([[likely, 1 - likely] if index == 0 else [1 - likely, likely] for index in constructors]))
    types = np.log(np.array([[likely, 1 - likely] if i != 1 else [1 - likely, likely] for i in range(4)]))
    return {"constructor": chosen, "Airbus": types, "Boeing": types}


def test_the_same_predictions_lose_no_accuracy() -> None:
    comparison = compare_outputs(TREE, CALIBRATION, outputs(0, 0, 1, 1), outputs(0, 0, 1, 1), LABELS, ["a"] * 4)
    assert comparison["agreement"] == {"constructor": 1.0, "Airbus": 1.0, "Boeing": 1.0}
    assert comparison["constructor"] == {
        "photos": 4,
        "float32": 1.0,
        "int8": 1.0,
        "points": 0.0,
        "interval": [0.0, 0.0],
    }
    assert comparison["type"]["photos"] == 3
    assert comparison["max_probability_change"] == 0
    check_accuracy_drop(comparison, 0)


def test_an_accuracy_drop_has_points_and_interval_and_is_rejected_above_the_limit() -> None:
    comparison = compare_outputs(
        TREE, CALIBRATION, outputs(0, 0, 1, 1), outputs(0, 1, 1, 1, likely=0.8), LABELS, ["a"] * 4
    )
    assert comparison["agreement"] == {"constructor": 0.75, "Airbus": 1.0, "Boeing": 1.0}
    assert comparison["constructor"]["points"] == -25
    assert comparison["type"]["points"] == pytest.approx(-100 / 3)
    low, high = comparison["constructor"]["interval"]
    assert low < -25 < high <= 0
    assert comparison["max_probability_change"] == pytest.approx(0.7)
    assert comparison["mean_probability_change"] == pytest.approx((0.1 + 0.7 + 0.1 + 0.1) / 4)
    assert "constructor accuracy 100.00% in float32, 75.00% in int8: -25.00 points" in describe_comparison(comparison)
    with pytest.raises(TrainingError, match=r"loses 25\.00 points .* the limit is 0\.5 .* Nothing was written"):
        check_accuracy_drop(comparison, 0.5)
    check_accuracy_drop(comparison, 34)


def test_a_range_clips_rare_outliers_only() -> None:
    random = np.random.default_rng(0)
    even = random.uniform(0, 1, 10_000).astype(np.float32)
    assert int8_calibration._range(even, 1.0) == pytest.approx(1.0)
    heavy = np.abs(random.standard_t(2, 10_000)).astype(np.float32)
    assert int8_calibration._range(heavy, 10 * float(heavy.max())) < 10 * float(heavy.max())
    assert int8_calibration._range(np.zeros(10, np.float32), 0.0) == 1.0
