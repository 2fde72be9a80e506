"""Training log: steps.jsonl, log.jsonl, the progress bar and the lines on the console."""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TextIO

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from planespotter_scraping.catalog import count_noun
from planespotter_training import run_folder
from planespotter_training.atomic_write import write_text
from planespotter_training.errors import TrainingError
from planespotter_training.loop import devices
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.optimizer import Plan

MAX_PENDING = 2
"""Steps whose results are not awaited before the next one starts, so that the device never waits."""


class TrainLog:
    """Logs the steps and epochs of a training; a context manager that holds its files.

    Args:
        job: The training.
        plan: Its length and learning rate.
        step: Number of completed steps. Later lines, which a kill may have left, are removed from the logs.
        photo_ids: Ids of the training photos, to name those of a diverged step.
        peak_rate: Photos per second at the peak performance of all devices.
        console: For the progress bar and messages.
        called: When `train` was called, as of time.perf_counter.
        latest_checkpoint: Returns the step of the latest checkpoint.
    """

    def __init__(
        self,
        job: TrainJob,
        plan: Plan,
        step: int,
        photo_ids: Sequence[str],
        peak_rate: float,
        console: Console,
        called: float,
        latest_checkpoint: Callable[[], int | None],
    ) -> None:
        self._job, self._plan, self._photo_ids, self._peak_rate = job, plan, photo_ids, peak_rate
        self._console, self._first, self._called = console, step + 1, called
        self._latest_checkpoint = latest_checkpoint
        self._pending: deque[tuple[int, Sequence[int], Any]] = deque()
        self._files = ExitStack()
        self._epochs = self._files.enter_context(_open_log(job.out / run_folder.LOG, step))
        self._steps = self._files.enter_context(_open_log(job.out / "steps.jsonl", step))
        self._progress = self._files.enter_context(_progress(console))
        self._bar = self._progress.add_task("training", total=plan.total, completed=step, speed="")
        epoch_start = step - step % plan.steps_per_epoch
        self._rows = [row for row in run_folder.read_lines(job.out / "steps.jsonl") if row["step"] > epoch_start]
        self._since = time.perf_counter()
        self._timed = 0

    def __enter__(self) -> Self:
        self._console.print("Compiling the network: the first step takes longer.", style="dim", highlight=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, step: int, index: Sequence[int], results: Any) -> None:
        """Add the results of a step, on the device, of the training photos at `index`; log those of earlier steps."""
        self._pending.append((step, index, results))
        self.settle(MAX_PENDING)

    def settle(self, pending: int = 0) -> None:
        """Await and log the results of all but the last `pending` steps; with 0, write the lines to disk.

        Raises:
            TrainingError: Training has diverged.
        """
        while len(self._pending) > pending:
            step, index, results = self._pending.popleft()
            values = jax.device_get(results)
            # The weights too: no later step would reveal them before the checkpoint.
            if not all(np.isfinite(values[name]).all() for name in ("losses", "gradient_norm", "weight_norm")):
                photo_ids = [self._photo_ids[int(number)] for number in index]
                bad = [name for name, loss in zip(photo_ids, values["losses"], strict=True) if not np.isfinite(loss)]
                raise self._diverged(step, bad or photo_ids)
            self._log_step(step, values)
        if not pending:
            self._steps.flush()

    def check_outputs(self, step: int, outputs: dict[str, Any]) -> None:
        """Raise TrainingError if validation outputs are not finite."""
        if not np.isfinite([output.sum() for output in outputs.values()]).all():
            raise self._diverged(step, [])

    def end_epoch(self, step: int, validation: dict[str, float], baseline: dict[str, float]) -> None:
        """Write the line of an epoch, with the validation metrics of the heads and of the flat baseline."""
        speed = self._speed()
        row: dict[str, Any] = {
            "step": step,
            "epoch": step / self._plan.steps_per_epoch,
            **{name: float(np.mean([row[name] for row in self._rows])) for name in ("loss", "constructor_accuracy")},
            "learning_rate": float(self._plan.rate(step - 1)),
            "photos_per_second": round(speed, 1),
            "share_of_peak": round(speed / self._peak_rate, 3),
            "validation": validation,
            "baseline": baseline,
        }
        self._epochs.write(json.dumps(row) + "\n")
        self._epochs.flush()
        self._console.print(
            f"epoch {round(row['epoch'])} of {self._job.recipe.epochs}: {_epoch_note(row)}, "
            f"{speed:.0f} photos/s{self._time_left(step, speed)}",
            highlight=False,
            soft_wrap=True,
        )

    def restart_clock(self) -> None:
        """Start the next epoch: validation and checkpoint do not count as training time."""
        self._rows, self._timed, self._since = [], 0, time.perf_counter()

    def _log_step(self, step: int, values: dict[str, Any]) -> None:
        if step == self._first:  # it includes compilation, so it says nothing about speed
            self._since, speed = time.perf_counter(), 0.0
            waited = self._since - self._called
            self._console.print(f"First step after {waited:.0f} s.", style="dim", highlight=False)
        else:
            self._timed += 1
            speed = self._speed()
        row = {
            "step": step,
            "loss": float(values["losses"].mean()),
            "constructor_accuracy": float(values["correct"].mean()),
            "gradient_norm": float(values["gradient_norm"]),
            "learning_rate": float(self._plan.rate(step - 1)),
            "photos_per_second": round(speed, 1),
        }
        self._rows.append(row)
        self._steps.write(json.dumps(row) + "\n")
        self._progress.update(self._bar, completed=step, speed=f"{speed:.0f} photos/s")

    def _speed(self) -> float:
        """Return the photos per second of this epoch."""
        return self._timed * self._job.recipe.batch_size / (time.perf_counter() - self._since)

    def _time_left(self, step: int, speed: float) -> str:
        """Return the duration of the remaining steps as a clause, without validation; "" if there are none."""
        seconds = (self._plan.total - step) * self._job.recipe.batch_size / speed if speed else 0.0
        if not seconds:
            return ""
        return f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"

    def _diverged(self, step: int, photo_ids: Sequence[str]) -> TrainingError:
        shown = ", ".join(photo_ids[:8]) + (f" and {len(photo_ids) - 8} more" if len(photo_ids) > 8 else "")
        latest = self._latest_checkpoint()
        last = f"The last checkpoint is of step {latest}" if latest else "There is no checkpoint yet"
        return TrainingError(
            f"Training has diverged: loss, gradient or weights are not finite at step {step}"
            f"{f', at the photos {shown}' if shown else ''}. {last}. Train into another folder with a lower learning "
            f"rate than {self._job.recipe.learning_rate:g}: --set learning_rate=..."
        )


def describe(run: run_folder.Run, console: Console) -> None:
    """Print the splits, the label tree and the notes of a run."""
    splits = ", ".join(f"{n:,} {split}" for split, n in run.photos.items())
    console.print(
        f"Photos: {splits}; split by airframe where the registration is known.", highlight=False, soft_wrap=True
    )
    for constructor, leaves in run.tree.leaves.items():
        names = ", ".join(leaf.model or leaf.family or "all" for leaf in leaves)
        console.print(f"{constructor}: {count_noun(len(leaves), 'type')}: {names}", highlight=False, soft_wrap=True)
    for note in run.notes:
        console.print(f"Note: {note}", style="dim", highlight=False, soft_wrap=True)


def _open_log(path: Path, step: int) -> TextIO:
    """Open a log to append to, without lines after `step`, which a kill may have left there."""
    if not devices.is_first():
        return Path(os.devnull).open("w")
    write_text(path, "".join(json.dumps(row) + "\n" for row in run_folder.read_lines(path) if row["step"] <= step))
    return path.open("a", encoding="utf-8")


def _epoch_note(row: dict[str, Any]) -> str:
    validation = row["validation"]
    names = {"constructor": "all/constructor_accuracy", "path": "all/path_accuracy"}
    scores = ", ".join(f"{short} {validation[name]:.1%}" for short, name in names.items() if name in validation)
    return f"loss {row['loss']:.3f}, validation accuracy: {scores or '-'}"


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),  # so that the rest fits into 80 columns
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[speed]}"),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)
