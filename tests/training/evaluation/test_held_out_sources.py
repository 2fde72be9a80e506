"""Held-out sources: a calibration that holds for photos from elsewhere."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.special import log_softmax

from planespotter_models import Label, LabelTree
from planespotter_training import recipes
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.held_out_sources import HeldOut, calibrate_on, cross_fit, predict_held_out
from planespotter_training.export.export import ExportOptions, export
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.train import train

TREE = LabelTree({"Airbus": {}, "Boeing": {}})
QUIET = Console(quiet=True)


def photos(source: str, n: int, temperature: float, seed: int) -> HeldOut:
    """Return predictions that are `temperature` times too sharp, with labels drawn from the true probabilities."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, 2))
    is_boeing = random.random(n) < np.exp(log_softmax(logits, axis=1))[:, 1]
    outputs = {
        "constructor": log_softmax(logits * temperature, axis=1),
        "Airbus": np.zeros((n, 1)),
        "Boeing": np.zeros((n, 1)),
    }
    return HeldOut(outputs, [Label(TREE.constructors[int(boeing)]) for boeing in is_boeing], [source] * n)


def join(*parts: HeldOut) -> HeldOut:
    return HeldOut(
        {head: np.concatenate([part.outputs[head] for part in parts]) for head in TREE.heads},
        [label for part in parts for label in part.labels],
        [source for part in parts for source in part.sources],
    )


def test_a_small_source_counts_more_per_photo_than_a_large_one() -> None:
    large, small = photos("large", 3600, 1.0, 1), photos("small", 400, 4.0, 2)
    together = calibrate_on(join(large, small), TREE, 0.95).temperatures["constructor"]
    by_photo = calibrate_on(join(large, HeldOut(small.outputs, small.labels, ["large"] * 400)), TREE, 0.95)
    assert by_photo.temperatures["constructor"] < together < 4


def test_each_source_is_measured_with_the_calibration_of_the_others() -> None:
    sharp, right = photos("sharp", 2000, 4.0, 1), photos("right", 2000, 1.0, 2)
    measured = cross_fit(join(sharp, right), TREE, 0.9)
    assert set(measured) == {"", "sharp", "right"}
    assert measured["sharp"]["ece"]["value"] > 0.1  # calibrated on the other, it stays too sharp
    alone = calibrate_on(sharp, TREE, 0.9)
    assert alone.temperatures["constructor"] == pytest.approx(4, rel=0.2)
    assert measured[""]["confident_share"]["photos"] == 4000


def test_one_source_cannot_be_cross_fitted() -> None:
    assert cross_fit(photos("only", 100, 1.0, 1), TREE, 0.9) == {}


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory, paint_catalog: Callable[[Path, int], Path]) -> dict[str, Path]:
    """Return a run without the source "right", one with both, and one with fewer types."""
    folder = tmp_path_factory.mktemp("runs")
    catalog = paint_catalog(folder / "catalog", 80)
    settings = ("height=32", "width=48", "channel_multiplier=0.03125", "batch_size=8", "epochs=1", "train_from=heads")
    runs = {"without": (["right"], 2), "all": ([], 2), "coarse": (["right"], 1000)}
    for name, (sources, min_photos) in runs.items():
        recipe = recipes.load("small", [*settings, f"min_photos={min_photos}"])
        job = TrainJob(catalog, "small", recipe, folder / name, ("Airbus", "Boeing"), held_out={"sources": sources})
        assert train(job, QUIET)
    return {name: folder / name for name in runs}


@pytest.mark.slow
def test_a_bundle_is_calibrated_on_what_a_run_held_out_and_not_measured_on_it(
    held_out: dict[str, Path], tmp_path: Path
) -> None:
    bundles = [
        export(held_out["without"], tmp_path / name, name, "1", QUIET, ExportOptions(calibration_runs=runs))
        for name, runs in (("validation", ()), ("sources", (held_out["without"],)))
    ]
    assert bundles[0].calibration != bundles[1].calibration
    assert {metric.source for metric in bundles[0].metrics} == {"", "left", "right"}
    assert {metric.source for metric in bundles[1].metrics} == {"", "left"}


@pytest.mark.slow
def test_a_run_that_cannot_calibrate_says_why(held_out: dict[str, Path]) -> None:
    with pytest.raises(TrainingError, match="held out no source"):
        predict_held_out([held_out["all"]], TREE)
    with pytest.raises(TrainingError, match="another label tree: it differs in"):
        predict_held_out([held_out["coarse"]], LabelTree({"Airbus": {"A320": []}, "Boeing": {}}))
