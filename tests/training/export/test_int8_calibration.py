"""8 bits: ranges that fit what is seen, an honest comparison, and an export that refuses to lose too much."""

import numpy as np
import pytest

from planespotter_models import Calibration, Label, LabelTree, Thresholds
from planespotter_training.errors import TrainingError
from planespotter_training.export import int8_calibration
from planespotter_training.export.int8_calibration import check_loss, compare, describe

TREE = LabelTree({"Airbus": {"A320": [], "A380": []}, "Boeing": {"737": [], "747": []}})
CALIBRATION = Calibration(dict.fromkeys(TREE.heads, 1.0), Thresholds(0.5, 0.5, 0.5))
LABELS = [Label("Airbus", "A320", ""), Label("Airbus", "A380", ""), Label("Boeing", "737", ""), Label("Boeing", "", "")]


def outputs(*constructors: int, likely: float = 0.9) -> dict[str, np.ndarray]:
    """Log-probabilities of a network that names these constructors, and of each the first type but the second photo."""
    chosen = np.log(np.array([[likely, 1 - likely] if index == 0 else [1 - likely, likely] for index in constructors]))
    types = np.log(np.array([[likely, 1 - likely] if i != 1 else [1 - likely, likely] for i in range(4)]))
    return {"constructor": chosen, "Airbus": types, "Boeing": types}


def test_a_network_that_says_the_same_has_lost_nothing() -> None:
    found = compare(TREE, CALIBRATION, outputs(0, 0, 1, 1), outputs(0, 0, 1, 1), LABELS, ["a"] * 4)
    assert found["agreement"] == {"constructor": 1.0, "Airbus": 1.0, "Boeing": 1.0}
    assert found["constructor"] == {"photos": 4, "float32": 1.0, "int8": 1.0, "points": 0.0, "interval": [0.0, 0.0]}
    assert found["type"]["photos"] == 3
    assert found["largest_drift"] == 0
    check_loss(found, 0)


def test_what_is_lost_is_counted_in_points_with_an_interval_and_refused() -> None:
    found = compare(TREE, CALIBRATION, outputs(0, 0, 1, 1), outputs(0, 1, 1, 1, likely=0.8), LABELS, ["a"] * 4)
    assert found["agreement"] == {"constructor": 0.75, "Airbus": 1.0, "Boeing": 1.0}
    assert found["constructor"]["points"] == -25
    assert found["type"]["points"] == pytest.approx(-100 / 3)
    low, high = found["constructor"]["interval"]
    assert low < -25 < high <= 0
    assert found["largest_drift"] == pytest.approx(0.7)
    assert found["mean_drift"] == pytest.approx((0.1 + 0.7 + 0.1 + 0.1) / 4)
    assert "constructor 100.00% in float32, 75.00% in 8 bits: -25.00 points" in describe(found)
    with pytest.raises(TrainingError, match=r"loses 25\.00 points .* and may lose 0\.5 .* Nothing was written"):
        check_loss(found, 0.5)
    check_loss(found, 34)


def test_a_range_cuts_off_what_is_rare_and_holds_what_is_not() -> None:
    random = np.random.default_rng(0)
    even = random.uniform(0, 1, 10_000).astype(np.float32)
    assert int8_calibration._range(even, 1.0) == pytest.approx(1.0)
    heavy = np.abs(random.standard_t(2, 10_000)).astype(np.float32)
    assert int8_calibration._range(heavy, 10 * float(heavy.max())) < 10 * float(heavy.max())
    assert int8_calibration._range(np.zeros(10, np.float32), 0.0) == 1.0
