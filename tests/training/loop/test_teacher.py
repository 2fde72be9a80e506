"""Distillation: a small network learns the predictions of a large one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from planespotter_models import DEFAULT_BATCH_SIZES, LabelTree, decode_photo, load_engine
from planespotter_training import recipes, run_folder
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.predict import BATCH
from planespotter_training.export.export import export
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.teacher import PARTIAL, SOFT_LABELS
from planespotter_training.loop.train import train
from planespotter_training.network.loss import distillation_loss, joint_log_probabilities

QUIET = Console(quiet=True)
TREE = LabelTree({"Airbus": {"A320": [], "A380": []}, "Boeing": {}}, other=True)
SMALL = ("channel_multiplier=0.03125", "batch_size=8", "min_photos=5", "warmup_epochs=0", "train_from=heads")


def outputs(*joint: float) -> dict[str, Any]:
    """Return the outputs of the network with these probabilities of A320, A380, Boeing and other."""
    a320, a380, boeing, other = joint
    return {
        "constructor": jnp.log(jnp.array([[a320 + a380, boeing, other]])),
        "Airbus": jnp.log(jnp.array([[a320, a380]]) / (a320 + a380)),
        "Boeing": jnp.zeros((1, 1)),
    }


def test_soft_labels_are_the_probabilities_of_the_leaves_and_of_the_other_output() -> None:
    arrays = {head: np.asarray(output) for head, output in outputs(0.4, 0.3, 0.2, 0.1).items()}
    soft = np.asarray(joint_log_probabilities(TREE, arrays))
    np.testing.assert_allclose(np.exp(soft), np.array([[0.4, 0.3, 0.2, 0.1]]), rtol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_loss_is_least_where_student_and_teacher_agree(temperature: float) -> None:
    teacher = jnp.log(jnp.array([[0.4, 0.3, 0.2, 0.1]]))
    agreeing = float(distillation_loss(TREE, outputs(0.4, 0.3, 0.2, 0.1), teacher, temperature)[0])
    for probabilities in ((0.3, 0.4, 0.2, 0.1), (0.4, 0.3, 0.1, 0.2), (0.7, 0.1, 0.1, 0.1)):
        assert float(distillation_loss(TREE, outputs(*probabilities), teacher, temperature)[0]) > agreeing
    if temperature == 1:
        assert agreeing == pytest.approx(
            -(0.4 * np.log(0.4) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1))
        )


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory, paint_catalog: Callable[[Path, int], Path]) -> Path:
    return paint_catalog(tmp_path_factory.mktemp("painted") / "catalog", 80)


def job(catalog: Path, out: Path, *settings: str, **more: Any) -> TrainJob:
    return TrainJob(catalog, "small", recipes.load("small", [*SMALL, *settings]), out, ("Airbus", "Boeing"), **more)


@pytest.fixture(scope="module")
def teacher(painted: Path) -> Path:
    """Return a bundle that sees photos larger than the student."""
    run, bundle = painted.parent / "teacher", painted.parent / "bundle"
    assert train(job(painted, run, "height=64", "width=96", "epochs=2"), QUIET)
    export(run, bundle, "teacher", "1", QUIET)
    return bundle


@pytest.mark.slow
def test_a_run_keeps_the_soft_labels_of_its_teacher(painted: Path, teacher: Path, tmp_path: Path) -> None:
    settings = ("height=32", "width=48", "epochs=1", "distillation_weight=1")
    assert train(job(painted, tmp_path / "run", *settings, teacher=teacher), QUIET)
    assert run_folder.read(tmp_path / "run").teacher.startswith("teacher 1 (sha256 ")
    split = pd.read_csv(tmp_path / "run" / "split.csv", dtype=str, keep_default_na=False)
    soft = np.load(tmp_path / "run" / SOFT_LABELS)
    assert len(soft) == (split["split"] == "train").sum()
    np.testing.assert_allclose(np.exp(soft.astype(np.float32)).sum(axis=1), 1, atol=0.01)


@pytest.mark.slow
def test_soft_labels_are_those_of_the_photo_and_its_flip_at_the_size_of_the_teacher(
    painted: Path, teacher: Path, tmp_path: Path
) -> None:
    from planespotter_models import read_bundle
    from planespotter_training.data import dataset

    assert train(job(painted, tmp_path / "run", "height=32", "width=48", "epochs=1", teacher=teacher), QUIET)
    first = dataset.reopen(tmp_path / "run" / "dataset")["train"][0]
    photo = decode_photo(first["photo"], 64, 96)[None]
    bundle = read_bundle(teacher)
    engine = load_engine(bundle, DEFAULT_BATCH_SIZES)
    first_view, second_view = (
        np.exp(joint_log_probabilities(bundle.tree, engine.run(views))) for views in (photo, photo[:, :, ::-1])
    )
    soft = np.exp(np.load(tmp_path / "run" / SOFT_LABELS)[0].astype(np.float32))
    np.testing.assert_allclose(soft, (first_view + second_view)[0] / 2, atol=0.01)


@pytest.mark.slow
def test_an_interrupted_computation_of_soft_labels_continues_where_it_stopped(
    painted: Path, teacher: Path, tmp_path: Path
) -> None:
    out, settings = tmp_path / "run", ("height=32", "width=48", "epochs=1")
    assert train(job(painted, out, *settings, teacher=teacher), QUIET)
    uninterrupted = np.load(out / SOFT_LABELS)
    assert len(uninterrupted) > BATCH, "one batch would not show a resumption"
    # A kill in the middle of a row of the second batch. The rows of the first are marked, to see that they are kept.
    marked = uninterrupted.copy()
    marked[:BATCH] = -1
    (out / PARTIAL).write_bytes(marked.tobytes()[: (BATCH + 1) * uninterrupted[0].nbytes + 1])
    (out / SOFT_LABELS).unlink()
    shutil.rmtree(out / "checkpoints")
    assert train(job(painted, out, *settings, teacher=teacher), QUIET)
    np.testing.assert_array_equal(np.load(out / SOFT_LABELS), marked)
    assert not (out / PARTIAL).exists()


@pytest.mark.slow
def test_a_teacher_of_other_types_or_another_teacher_is_rejected(painted: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"The teacher teacher 1 distinguishes other types than this run"):
        train(job(painted, tmp_path / "coarse", "min_photos=1000", "epochs=1", teacher=teacher), QUIET)
    with pytest.raises(TrainingError, match=r"holds another run, distilled from teacher 1"):
        train(job(painted, tmp_path / "coarse", "min_photos=1000", "epochs=1"), QUIET)
