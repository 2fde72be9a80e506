"""Kept features of frozen layers: the same training as from pixels, within the precision that is kept."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from tests.training.loop.runs import steps, stop_after, weights

from planespotter_models import Label, Level, decode_photo, decode_prediction, load_engine
from planespotter_training import recipes, run_folder
from planespotter_training.data.dataset import Examples
from planespotter_training.errors import TrainingError
from planespotter_training.export.export import ExportOptions, export
from planespotter_training.loop import train as training
from planespotter_training.loop.frozen_part import open_frozen_part
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.train import train
from planespotter_training.network import checkpoint

pytestmark = pytest.mark.slow

QUIET = Console(quiet=True)
SMALL = (
    "height=32",
    "width=48",
    "channel_multiplier=0.0625",
    "batch_norm=false",
    "batch_size=8",
    "min_photos=5",
    "warmup_epochs=0",
    "epochs=2",
    "steps_per_epoch=4",
    "train_from=block5_conv1",
    "pooling=covariance",
    "other_output=true",
    "learning_rate=0.003",
    "dropout=0",
)
NO_AUGMENTATION = ("shift=0", "zoom=0", "brightness_contrast=0", "channel_mixing=0", "flip=false")


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory, paint_catalog: Callable[[Path, int], Path]) -> Path:
    """Return a catalog in which every fifth picture shows no aircraft: noise without a bar."""
    folder = paint_catalog(tmp_path_factory.mktemp("painted") / "catalog", 80)
    rows = pd.read_csv(folder / "catalog.csv", dtype=str, keep_default_na=False)
    rows.loc[::5, ["constructor", "aircraft_type"]] = "No aircraft", ""
    for file in rows["file"][::5]:
        noise = np.random.default_rng(int(Path(file).stem)).integers(90, 160, (40, 60, 3), np.uint8)
        Image.fromarray(noise).save(folder / file)
    rows.to_csv(folder / "catalog.csv", index=False)
    return folder


def job(folder: Path, out: Path, *settings: str, **more: Any) -> TrainJob:
    return TrainJob(folder, "small", recipes.load("small", [*SMALL, *settings]), out, ("Airbus", "Boeing"), **more)


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in steps(folder)]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, painted: Path) -> Path:
    """Return a run that keeps its features."""
    out = tmp_path_factory.mktemp("kept") / "run"
    assert train(job(painted, out, "frozen_views=2"), QUIET)
    return out


def examples(photos: Sequence[np.ndarray]) -> Examples:
    return Examples(
        photo_ids=[str(number) for number in range(len(photos))],
        sources=[""] * len(photos),
        labels=[Label()] * len(photos),
        masks=np.zeros((len(photos), 1), bool),
        constructor_weights=np.zeros(len(photos), np.float32),
        pixels=lambda index: photos[index],
        cache=None,
    )


def test_kept_features_are_the_computed_ones_within_half_a_step(tmp_path: Path, painted: Path, first: Path) -> None:
    run = run_folder.read(first)
    network, _ = checkpoint.load_network(first, run.recipe, run.tree)
    photos = [decode_photo((painted / f"images/{number}.png").read_bytes(), 32, 48) for number in range(20)]
    with open_frozen_part(network, job(painted, tmp_path, "frozen_views=2"), examples(photos)) as frozen:
        features = frozen.plain(examples(photos), np.arange(20)) * frozen.scale
        expected = np.asarray(network.trunk.frozen_part(np.stack(photos)))  # type: ignore[arg-type]
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(features, expected, atol=float(frozen.scale.max()) * 0.501)


def test_without_augmentation_the_training_is_that_from_pixels(tmp_path: Path, painted: Path) -> None:
    settings = (*NO_AUGMENTATION, "learning_rate=0.0001")  # a higher one amplifies the smallest difference
    for views in (0, 1):
        assert train(job(painted, tmp_path / str(views), *settings, f"frozen_views={views}"), QUIET)
    assert losses(tmp_path / "1") == pytest.approx(losses(tmp_path / "0"), rel=0.02)


def test_a_run_that_shares_the_features_of_another_or_is_resumed_is_bit_identical(
    tmp_path: Path, painted: Path, first: Path
) -> None:
    features = first / "frozen_features"
    size = (features / "features.bin").stat().st_size
    again = job(painted, tmp_path / "again", "frozen_views=2", feature_cache=features)
    with pytest.MonkeyPatch.context() as patch:
        for count in (3, 2):
            patch.setattr(training, "stop_on_signal", partial(stop_after, count))
            assert not train(again, QUIET)
    assert train(again, QUIET)
    assert losses(tmp_path / "again") == losses(first)
    assert all(np.array_equal(a, b) for a, b in zip(weights(first), weights(tmp_path / "again"), strict=True))
    assert (features / "features.bin").stat().st_size == size  # nothing had to be computed


def test_features_of_another_augmentation_are_not_shared(tmp_path: Path, painted: Path, first: Path) -> None:
    other = job(painted, tmp_path / "run", "frozen_views=2", "zoom=0.3", feature_cache=first / "frozen_features")
    with pytest.raises(TrainingError, match="another augmentation"):
        train(other, QUIET)


def test_the_network_learns_and_serves_what_is_outside_the_tree(tmp_path: Path, painted: Path) -> None:
    settings = ("frozen_views=2", "epochs=30", "schedule=constant", "shift=0", "zoom=0")
    assert train(job(painted, tmp_path / "run", *settings), QUIET)
    assert run_folder.read(tmp_path / "run").tree.heads["constructor"] == 3
    options = ExportOptions(target_precision=0.5, quantize_weights=True)
    bundle = export(tmp_path / "run", tmp_path / "bundle", "painted", "1", QUIET, options)
    labels = pd.read_csv(painted / "catalog.csv", dtype=str, keep_default_na=False)
    photos = np.stack([decode_photo((painted / file).read_bytes(), 32, 48) for file in labels["file"]])
    outside = (labels["constructor"] == "No aircraft").to_numpy()
    for engine_name in ("jax", "openvino-float32"):
        outputs = load_engine(bundle, (len(photos),), engine_name).run(photos)
        assert (outputs["constructor"].argmax(axis=1) == 2)[outside].mean() > 0.9
        levels = [prediction.level for prediction in decode_prediction(bundle.tree, bundle.calibration, outputs)]
        unknown = np.array([level is Level.UNKNOWN for level in levels])
        assert unknown[outside].mean() > 0.9
        assert unknown[~outside].mean() < unknown[outside].mean() - 0.2


def test_features_cannot_be_kept_if_no_layer_is_frozen() -> None:
    with pytest.raises(TrainingError, match="frozen_views is 2, but train_from=block1_conv1 freezes no layer"):
        recipes.load("small", ["frozen_views=2"])
