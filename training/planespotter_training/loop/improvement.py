"""Improvement: compare the trained network with the one that it continued from, on photos of neither's training.

Both predict the same photos, so their difference is measured in pairs: only photos that just one of them predicts
correctly count. The interval is that of Agresti and Min (2005), which holds for a few dozen photos too.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from rich.console import Console

from planespotter_models import Calibration, Label, LabelTree, Thresholds, decode_prediction
from planespotter_scraping.catalog import count_noun
from planespotter_training.atomic_write import write_text
from planespotter_training.data.dataset import Examples
from planespotter_training.data.training_fingerprint import match_splits
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.validate import Outputs, Predict

FILE = "improvement.json"
Z = 1.959963984540054


@dataclass(frozen=True)
class Improvement:
    """Accuracy of two networks on the same photos.

    Attributes:
        photos: Photos whose label reaches the level.
        initial: Of these, how many the initial network predicts correctly.
        trained: How many the trained network does.
        gained: Photos that only the trained network predicts correctly.
        lost: Photos that only the initial network does.
    """

    photos: int
    initial: int
    trained: int
    gained: int
    lost: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference of the accuracies, -1 to 1."""
        size = self.photos + 2
        gained, lost = (self.gained + 0.5) / size, (self.lost + 0.5) / size
        half = Z * math.sqrt((gained + lost - (gained - lost) ** 2) / size)
        return max(-1.0, gained - lost - half), min(1.0, gained - lost + half)

    @property
    def verdict(self) -> str:
        """Whether training helped, as far as these photos can show."""
        low, high = self.interval
        if low > 0:
            return "It helped."
        return "It made the network worse." if high < 0 else "These photos are too few to say whether it helped."


def exclude_seen(job: TrainJob, examples: Examples) -> Examples:
    """Return the examples of a run that the bundle it continues from was not trained on, by its fingerprint."""
    if job.initial is None or not job.initial.fingerprint:
        return examples
    photos = pd.read_csv(job.out / "split.csv", dtype=str, keep_default_na=False)
    splits = match_splits(job.initial.fingerprint, photos, job.catalog)
    seen = set(photos["photo_id"][splits != "test"])
    return examples.select([photo_id not in seen for photo_id in examples.photo_ids])


def compare(
    tree: LabelTree, predict: Predict, states: Sequence[Any], splits: Sequence[Examples]
) -> dict[str, Improvement]:
    """Compare two states of a network on the photos of splits that it was not trained on.

    Args:
        tree: Label tree of both.
        predict: Predicts with a state.
        states: The initial state and the trained one.
        splits: The photos.

    Returns:
        The improvement of "constructor" and "path" accuracy, of photos with a label at that level.
    """
    labels: list[Label] = []
    predictions: list[list[Label]] = [[], []]
    for examples in splits:
        if len(examples):
            labels += [tree.clip(label) for label in examples.labels]
            for predicted, state in zip(predictions, states, strict=True):
                predicted += _labels(tree, predict(state, examples)[0])
    leaves = set(tree.all_leaves)
    pairs = list(zip(labels, *predictions, strict=True))
    constructor = [(a[:1] == label[:1], b[:1] == label[:1]) for label, a, b in pairs if label.constructor]
    path = [(a == label, b == label) for label, a, b in pairs if label in leaves]
    return {"constructor": _improvement(constructor), "path": _improvement(path)}


def show_improvement(
    job: TrainJob,
    tree: LabelTree,
    predict: Predict,
    states: Sequence[Any],
    splits: Sequence[Examples],
    console: Console,
) -> None:
    """Print the improvement on photos that were held out, and write it to the run folder; see `compare`."""
    improvements = compare(tree, predict, states, [exclude_seen(job, examples) for examples in splits])
    for level, item in improvements.items():
        if not item.photos:
            console.print(f"No photo was held out to measure the {level} accuracy on.", highlight=False)
        else:
            low, high = item.interval
            console.print(
                f"{level} accuracy on {count_noun(item.photos, 'photo')} that were not trained on: "
                f"{item.initial / item.photos:.1%} before, {item.trained / item.photos:.1%} after "
                f"({100 * low:+.0f} to {100 * high:+.0f} points, 95 % interval). {item.verdict}",
                highlight=False,
                soft_wrap=True,
            )
    values = {level: {**asdict(item), "interval": item.interval} for level, item in improvements.items()}
    write_text(job.out / FILE, json.dumps(values, indent=2) + "\n")


def _labels(tree: LabelTree, outputs: Outputs) -> list[Label]:
    """Return the most probable leaf of each photo."""
    uncalibrated = Calibration(dict.fromkeys(tree.heads, 1.0), Thresholds(0, 0, 0))
    return [prediction.label for prediction in decode_prediction(tree, uncalibrated, outputs)]


def _improvement(pairs: Sequence[tuple[bool, bool]]) -> Improvement:
    return Improvement(
        photos=len(pairs),
        initial=sum(first for first, _ in pairs),
        trained=sum(second for _, second in pairs),
        gained=sum(second and not first for first, second in pairs),
        lost=sum(first and not second for first, second in pairs),
    )
