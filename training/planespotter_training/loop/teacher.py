"""Teacher: the soft labels of a larger network, which a small one is trained on (distillation: Hinton et al. 2015).

They say more than a label: how likely each type is for this photo, also where the source named the constructor only.
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from planespotter_models import load_engine, read_bundle
from planespotter_training import run_folder
from planespotter_training.atomic_write import write_bytes
from planespotter_training.data import dataset
from planespotter_training.data.dataset import Examples
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.predict import BATCH
from planespotter_training.loop.job import TrainJob
from planespotter_training.network.loss import joint_log_probabilities

SOFT_LABELS = "soft_labels.npy"
"""File in the run folder: float16 log-probabilities [photos, leaves (+ 1)]."""

PARTIAL = "soft_labels.partial"
"""File in the run folder: the rows computed so far, which the same command continues."""

LOWEST = -6e4
"""Lower log-probabilities, which float16 does not hold, are stored as this."""


def add_soft_labels(
    job: TrainJob, run: run_folder.Run, training: Examples, photos: Sequence[dict[str, Any]], console: Console
) -> Examples:
    """Add the teacher's soft labels to the training photos, if the job has a teacher.

    They are computed once and kept in the run folder; an interrupted run keeps the batches computed so far.

    Args:
        job: The training.
        run: Its run.
        training: The training photos.
        photos: The same, from `dataset.reopen`: the teacher may see them larger.
        console: For progress.

    Raises:
        TrainingError: The teacher distinguishes other types.
        BundleError: The teacher cannot be read.
    """
    if job.teacher is None:
        return training
    path = job.out / SOFT_LABELS
    if not path.is_file():
        buffer = io.BytesIO()
        np.save(buffer, _predict(job, run, photos, console))
        write_bytes(path, buffer.getvalue())
        (job.out / PARTIAL).unlink()
    return replace(training, soft_labels=np.load(path).astype(np.float32))


def _predict(
    job: TrainJob, run: run_folder.Run, photos: Sequence[dict[str, Any]], console: Console
) -> NDArray[np.float16]:
    assert job.teacher is not None
    bundle = read_bundle(job.teacher)
    if not bundle.tree.same_outputs(run.tree):
        differing = set(bundle.tree.all_leaves) ^ set(run.tree.all_leaves)
        raise TrainingError(
            f"The teacher {bundle.name} {bundle.version} distinguishes other types than this run: they differ in "
            f"{len(differing)}. Train the teacher on the same photos, with the same min_photos and other_output."
        )
    seen = dataset.load(photos, run.tree, replace(job.recipe, height=bundle.height, width=bundle.width), {}, 0)
    engine = load_engine(bundle, (BATCH,))
    width = len(run.tree.all_leaves) + int(run.tree.other)
    partial = job.out / PARTIAL
    if not console.is_terminal:
        what = f"Computing the soft labels of the training photos with {bundle.name} {bundle.version} ..."
        console.print(what, highlight=False, soft_wrap=True)
    with (
        partial.open("ab") as file,
        Progress(console=console, disable=not console.is_terminal) as progress,
    ):
        # A kill may leave part of a row, and of a batch: both are computed again.
        done = file.tell() // (2 * width) // BATCH * BATCH
        file.truncate(done * 2 * width)
        bar = progress.add_task("soft labels", total=len(seen), completed=done)
        for start in range(done, len(seen), BATCH):
            batch = np.stack([seen.pixels(index) for index in range(start, min(start + BATCH, len(seen)))])
            # Averaging over the photo and its flip makes the teacher better and costs the student nothing.
            both = (engine.run(views) for views in (batch, batch[:, :, ::-1]))
            soft = np.logaddexp(*(np.asarray(joint_log_probabilities(bundle.tree, outputs)) for outputs in both))
            soft -= np.log(2)
            file.write(soft.clip(min=LOWEST).astype(np.float16).tobytes())
            file.flush()
            progress.advance(bar, len(batch))
    return np.fromfile(partial, np.float16).reshape(len(seen), width)
