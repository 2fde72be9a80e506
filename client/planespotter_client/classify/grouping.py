"""Grouping: one prediction for several photos of one aircraft, such as a burst, a track of a camera, or a folder.

The photos of a group share one path through the label tree, from their summed evidence, so that a parent never
contradicts its child. The predictions of the single photos stay as they are.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from planespotter_client.classify import model_description, serialization
from planespotter_client.commands.atomic_write import atomic_write
from planespotter_models import (
    Calibration,
    DecodeRule,
    Label,
    LabelTree,
    PredictionOptions,
    Thresholds,
    combine_evidence,
    decode_leaves,
    log_evidence,
    make_prior,
)
from planespotter_models import Prior as TreePrior

if TYPE_CHECKING:
    from planespotter_client import PhotoResult, Prior
    from planespotter_client.classify.group_by import GroupBy

COLUMNS = ("group", "photos", "first", "last", *serialization.COLUMNS[2:-3], "evidence", "network")
NEVER = 1.01
EXIF_FOLDER, DATE_TIME_ORIGINAL = 0x8769, 0x9003
COUNTER = re.compile(r"[\s_.\-(]*\d+\)?$")


@dataclass(frozen=True)
class DecisionModel:
    """What a decision needs besides probabilities: see `model_description`."""

    name: str
    tree: LabelTree
    calibration: Calibration

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "DecisionModel":
        """Return the model that a description is of."""
        thresholds = [NEVER if value is None else float(value) for value in description["thresholds"]]
        rule = DecodeRule(description["decode_rule"] or DecodeRule.GREEDY.value)
        tree = LabelTree(model_description.tree_of(description))
        return cls(description["model"], tree, Calibration({}, Thresholds(*thresholds), rule))

    def prior(self, prior: "Prior | None") -> TreePrior | None:
        """Return `prior` for the leaves of this model, as the server does. Raises PriorError."""
        if prior is None:
            return None
        mix = {Label(*path): weight for path, weight in prior.weights.items()}
        return make_prior(self.tree, prior.name, mix, *(() if prior.odds is None else (prior.odds,)))


@dataclass
class Group:
    """The photos of a group so far."""

    name: str
    first: str
    last: str
    evidence: NDArray[np.float64]
    photos: int = 1
    time: float = 0.0
    """Of the last photo, in seconds; 0 unless groups are made by time."""

    def row(self, model: DecisionModel, min_probability: float | None, prior: TreePrior | None) -> dict[str, Any]:
        """Return the prediction of the group as values by COLUMNS."""
        probabilities = combine_evidence(self.evidence, self.photos)[None]
        options = PredictionOptions(min_probability=min_probability, prior=prior)
        (prediction,) = decode_leaves(model.tree, model.calibration, probabilities, [options])
        depth = ("unknown", *serialization.LEVELS).index(prediction.level.value)
        names = prediction.label[:depth]
        row: dict[str, Any] = {
            "group": self.name,
            "photos": self.photos,
            "first": self.first,
            "last": self.last,
            "level": prediction.level.value,
            "name": " ".join([*names[:1], *names[1:][-1:]]) or "unknown",
            "probability": round(prediction.probabilities[max(depth - 1, 0)], 6),
            "evidence": prediction.evidence,
            "network": model.name,
        }
        for index, level in enumerate(serialization.LEVELS):
            for prefix, shown in (("", index < depth), ("best_guess_", True)):
                exists = shown and prediction.label[index]
                row[f"{prefix}{level}"] = prediction.label[index] if exists else None
                row[f"{prefix}{level}_probability"] = round(prediction.probabilities[index], 6) if exists else None
        return row


class Groups:
    """Groups of the photos so far, of one model.

    Args:
        by: What the photos of a group share.
        model: The model of their probabilities.
        min_probability: Minimum probability of the confidence level; None keeps the thresholds.
        prior: What is known besides the photos: it applies once per group.
        root: Folder that paths of photos are relative to; the current one if empty.
    """

    def __init__(
        self,
        by: "GroupBy",
        model: DecisionModel,
        min_probability: float | None = None,
        prior: "Prior | None" = None,
        root: str = "",
    ) -> None:
        self._by = by
        self._model = model
        self._min_probability = min_probability
        self._prior = model.prior(prior)
        self._root = root
        self._open: dict[str, Group] = {}

    def in_order(
        self, rows: Iterable[tuple[Mapping[str, Any], NDArray[np.float64]]]
    ) -> Iterable[tuple[Mapping[str, Any], NDArray[np.float64]]]:
        """Return photos in the order in which they must be added: by time if groups are made by time."""
        if self._by.seconds is None:
            return rows
        return sorted(rows, key=lambda pair: self._place(pair[0])[::2])

    def add(self, row: Mapping[str, Any], evidence: NDArray[np.float64]) -> dict[str, Any] | None:
        """Add a photo; return the row of the group that it ended, if any.

        Args:
            row: The file of the photo; of a frame also seconds or time.
            evidence: `log_evidence` [leaves + 1] of its probabilities.
        """
        key, name, time = self._place(row)
        group = self._open.get(key)
        if group is not None and self._by.seconds is not None and abs(time - group.time) > self._by.seconds:
            ended = self._row(self._open.pop(key))
            self._open[key] = Group(name, name, name, evidence, time=time)
            return ended
        if group is None:
            self._open[key] = Group(key if self._by.seconds is None else name, name, name, evidence, time=time)
            return None
        group.evidence = group.evidence + evidence
        group.photos += 1
        group.last, group.time = name, time
        return None

    def close(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the groups that have not ended."""
        while self._open:
            yield self._row(self._open.pop(next(iter(self._open))))

    def _row(self, group: Group) -> dict[str, Any]:
        return group.row(self._model, self._min_probability, self._prior)

    def _place(self, row: Mapping[str, Any]) -> tuple[str, str, float]:
        """Return the key of the group that a photo may belong to, its name, and its time in seconds."""
        file = str(row["file"])
        if "seconds" in row:  # a frame
            seconds = row["seconds"]
            when = str(row.get("time", "")) if seconds in (None, "") else float(seconds)
            time = datetime.fromisoformat(when).timestamp() if isinstance(when, str) else when
            return file, serialization.frame_id(file, when), time
        if self._by.seconds is not None:
            return os.path.dirname(file), file, capture_time(os.path.join(self._root, file))  # noqa: PTH118, PTH120  (a Path takes ten times as long)
        if self._by.kind == "folder":
            return os.path.dirname(file) or ".", file, 0.0  # noqa: PTH120
        stem = os.path.splitext(file)[0]  # noqa: PTH122
        return COUNTER.sub("", stem) or stem, file, 0.0


def capture_time(photo: str) -> float:
    """Return when a photo was taken, in seconds: by its EXIF data, else when its file was changed; 0 if it is gone."""
    from PIL import Image

    try:
        with Image.open(photo) as image:
            text = image.getexif().get_ifd(EXIF_FOLDER).get(DATE_TIME_ORIGINAL)
        return datetime.strptime(str(text), "%Y:%m:%d %H:%M:%S").timestamp()
    except (OSError, ValueError, SyntaxError):
        return Path(photo).stat().st_mtime if Path(photo).exists() else 0.0


def evidence_of(result: "PhotoResult") -> NDArray[np.float64] | None:
    """Return the evidence of a result; None if it has no probabilities."""
    leaves = result.prediction.leaf_probabilities if result.prediction is not None else None
    return None if leaves is None else log_evidence(np.array(leaves))


def group_rows(rows: Iterable[tuple[Mapping[str, Any], NDArray[np.float64]]], groups: Groups) -> list[dict[str, Any]]:
    """Return the rows of all groups of photos, in the order of their first photos."""
    ended = [row for pair in groups.in_order(rows) if (row := groups.add(*pair)) is not None]
    return sorted([*ended, *groups.close()], key=lambda row: str(row["first"]))


def write_groups(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write groups to a CSV file."""
    with atomic_write(path) as file:
        file.write(serialization.csv_line(COLUMNS).encode())
        for row in rows:
            cells = serialization.csv_cells({**row, "photos": str(row["photos"])}, COLUMNS)
            file.write(serialization.csv_line(cells).encode("utf-8", "backslashreplace"))


def read_groups(source: Path, groups: Groups) -> list[dict[str, Any]]:
    """Return the groups of the photos in a Parquet file with probabilities.

    Args:
        source: The file.
        groups: Empty groups of the model of the file.
    """
    import pyarrow.parquet

    def rows() -> Iterator[tuple[Mapping[str, Any], NDArray[np.float64]]]:
        with pyarrow.parquet.ParquetFile(source) as file:
            names = [name for name in ("file", "seconds", "time") if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=[*names, serialization.LEAF_PROBABILITIES]):
                lists = batch.column(serialization.LEAF_PROBABILITIES)
                flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
                if not len(flat):
                    continue
                photos = batch.filter(lists.is_valid()).select(names).to_pylist()
                yield from zip(photos, log_evidence(flat.reshape(len(photos), -1)), strict=True)

    return group_rows(rows(), groups)
