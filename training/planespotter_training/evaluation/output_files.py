"""Output files of an evaluation: their names, their content and atomic writing.

metrics.json      every metric with its 95 % confidence interval: overall, by source, by airline; null where the labels
                  do not determine it
predictions.csv   one row per photo: its label, the prediction, and which of its levels are correct
report.html       the same for people: see `evaluation_report`
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from planespotter_training.atomic_write import write_text
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.confidence_intervals import intervals
from planespotter_training.evaluation.evaluate import Evaluation, held_out_groups
from planespotter_training.evaluation.metrics import by_source, compute
from planespotter_training.evaluation.scoring import Nodes, Rows

METRICS_FILE, PREDICTIONS_FILE, REPORT_FILE = "metrics.json", "predictions.csv", "report.html"
LEVEL_NAMES = ("unknown", "constructor", "family", "model")
CORRECT = ("constructor_correct", "family_correct", "path_correct")


def check_free(out: Path) -> None:
    """Raise TrainingError unless `out` does not exist, is empty, or holds an earlier evaluation."""
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is a file. Name a folder with --out.")
    if out.exists() and any(out.iterdir()) and not (out / METRICS_FILE).is_file():
        raise TrainingError(f"{out} holds other files than an evaluation. Name another folder with --out.")


def group(nodes: Nodes, rows: Rows) -> dict[str, Any]:
    """Return every metric of `rows` by name, with `n`, "intervals" and "photos", the photos each is measured on."""
    values = compute(nodes, rows)
    return {
        "n": len(rows),
        **{name: None if measured is None else measured.value for name, measured in values.items()},
        "intervals": intervals(nodes, rows, values),
        "photos": {name: 0 if measured is None else measured.photos for name, measured in values.items()},
    }


def metrics_content(evaluation: Evaluation, baselines: Mapping[str, Rows]) -> dict[str, Any]:
    """Return the content of metrics.json; `baselines` holds rows of the same photos by the name of the baseline."""
    nodes, rows, model = evaluation.nodes, evaluation.rows, evaluation.bundle
    return {
        "bundle": {
            "name": model.name,
            "version": model.version,
            "decode_rule": model.calibration.decode_rule.value,
            "thresholds": vars(model.calibration.thresholds),
            "temperatures": dict(model.calibration.temperatures),
            "target_precision": model.training.get("target_precision"),
            "recipe": model.training.get("recipe"),
            "settings": model.training.get("settings"),
            "held_out": model.training.get("held_out"),
        },
        "photos": {
            "split": evaluation.split,
            "evaluated": len(rows),
            "catalog_splits": evaluation.split_sizes,
            "trained_on": int((evaluation.photos["split"] == "train").sum()),
            "calibrated_on": int((evaluation.photos["split"] == "validation").sum()),
            "unlabelled": evaluation.unlabelled,
            "skipped": [{"file": file, "reason": reason} for file, reason in evaluation.skipped],
        },
        "overall": group(nodes, rows),
        "by_source": {source: group(nodes, part) for source, part in by_source(rows).items()},
        "held_out": {name: group(nodes, part) for name, part in held_out_groups(evaluation).items()} or None,
        "by_airline": {name: group(nodes, part) for name, part in by_airline(evaluation).items()} or None,
        "baselines": {name: group(nodes, part) for name, part in baselines.items()} or None,
    }


def by_airline(evaluation: Evaluation) -> dict[str, Rows]:
    """Group the rows by whether their airline was in training; {} if the bundle does not record airlines."""
    trained_on = (evaluation.bundle.training.get("training_fingerprint") or {}).get("airlines")
    if not trained_on:
        return {}
    airlines = evaluation.photos["airline"]
    masks = {
        "in_training": airlines.isin(trained_on),
        "not_in_training": (airlines != "") & ~airlines.isin(trained_on),
    }
    return {name: evaluation.rows[mask.to_numpy()] for name, mask in masks.items() if mask.any()}


def predictions(nodes: Nodes, rows: Rows, photos: pd.DataFrame) -> pd.DataFrame:
    """Return the content of predictions.csv: one row for each of `photos`, the photos of `rows`."""
    table = photos[["photo_id", "file", "source", "airline", "constructor", "family", "model"]].reset_index(drop=True)
    table["airframe"] = rows["airframe"]
    for depth, level in enumerate(LEVEL_NAMES[1:]):
        table[f"predicted_{level}"] = [nodes.leaves[leaf][depth] for leaf in rows["leaf"]]
    table["confidence_level"] = [LEVEL_NAMES[level] for level in rows["level"]]
    for level in ("constructor", "path"):
        table[f"{level}_probability"] = rows[f"{level}_probability"].round(5)
    for name, marks in correct(nodes, rows).items():
        table[name] = marks
    return table


def correct(nodes: Nodes, rows: Rows) -> dict[str, list[int | str]]:
    """Return for each of CORRECT whether the predicted path is: 1, 0, or "" where the label does not determine it."""
    path = nodes.paths[rows["leaf"]]
    marks = {
        name: _marks(rows["true_nodes"][:, depth] >= 0, path[:, depth] == rows["true_nodes"][:, depth])
        for depth, name in enumerate(CORRECT[:2])
    }
    return marks | {CORRECT[2]: _marks(rows["true_leaf"] >= 0, rows["leaf"] == rows["true_leaf"])}


def _marks(known: NDArray[np.bool_], right: NDArray[np.bool_]) -> list[int | str]:
    return [int(mark) if is_known else "" for is_known, mark in zip(known, right, strict=True)]


def write(out: Path, files: Mapping[str, str]) -> None:
    """Write text files by name to the folder `out`, each atomically."""
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_text(out / name, text)


def as_json(content: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return `content` as indented JSON; raise ValueError for NaN and infinity."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
