"""What an evaluation leaves in its folder, for people and programs.

metrics.json   every figure with its 95 % interval: in all, by source, by airline; null where the labels do not allow it
answers.csv    one row for each photo: its label, the answer, and which levels of it are right
report.html    the same to look at: see `report`
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.confidence_intervals import intervals
from planespotter_training.evaluation.evaluate import Evaluation, left_out_of_training
from planespotter_training.evaluation.metrics import by_source, figures
from planespotter_training.evaluation.scoring import Nodes, Rows

METRICS, ANSWERS, REPORT = "metrics.json", "answers.csv", "report.html"
LEVEL_NAMES = ("unknown", "constructor", "family", "model")
RIGHTS = ("constructor_right", "family_right", "path_right")


def check_free(out: Path) -> None:
    """Raise TrainingError unless `out` is not there, is empty, or holds an earlier evaluation."""
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is a file. Name a folder with --out.")
    if out.exists() and any(out.iterdir()) and not (out / METRICS).is_file():
        raise TrainingError(f"{out} holds what is no evaluation, so it is left alone. Name another folder with --out.")


def group(nodes: Nodes, rows: Rows) -> dict[str, Any]:
    """Return every figure of `rows` by name, with `n`; below "intervals" and "photos" what each is worth."""
    found = figures(nodes, rows)
    ends = intervals(nodes, rows, found)
    return {
        "n": len(rows),
        **{name: None if figure is None else figure.value for name, figure in found.items()},
        "intervals": ends,
        "photos": {name: 0 if figure is None else figure.photos for name, figure in found.items()},
    }


def metrics(evaluation: Evaluation, controls: Mapping[str, Rows]) -> dict[str, Any]:
    """Return the content of metrics.json; `controls` are rows of the same photos, answered by others, by name."""
    nodes, rows, model = evaluation.nodes, evaluation.rows, evaluation.bundle
    return {
        "bundle": {
            "name": model.name,
            "version": model.version,
            "decode": model.calibration.decode_rule.value,
            "thresholds": vars(model.calibration.thresholds),
            "temperatures": dict(model.calibration.temperatures),
            "precision": model.training.get("target_precision"),
            "recipe": model.training.get("recipe"),
            "settings": model.training.get("settings"),
            "left_out": model.training.get("held_out"),
        },
        "photos": {
            "side": evaluation.split,
            "answered": len(rows),
            "sides_of_the_catalog": evaluation.sides,
            "trained_on": int((evaluation.photos["split"] == "train").sum()),
            "calibrated_on": int((evaluation.photos["split"] == "validation").sum()),
            "unlabelled": evaluation.unlabelled,
            "left_out": [{"file": file, "reason": reason} for file, reason in evaluation.left_out],
        },
        "overall": group(nodes, rows),
        "by_source": {source: group(nodes, part) for source, part in by_source(rows).items()},
        "left_out_of_training": {name: group(nodes, part) for name, part in left_out_of_training(evaluation).items()}
        or None,
        "by_airline": {name: group(nodes, part) for name, part in by_airline(evaluation).items()} or None,
        "control": {name: group(nodes, part) for name, part in controls.items()} or None,
    }


def by_airline(evaluation: Evaluation) -> dict[str, Rows]:
    """Return the rows of airlines that the bundle was trained on and of others; nothing where one cannot know."""
    trained_on = (evaluation.bundle.training.get("training_fingerprint") or {}).get("airlines")
    if not trained_on:
        return {}
    airlines = evaluation.photos["airline"]
    masks = {
        "in_training": airlines.isin(trained_on),
        "not_in_training": (airlines != "") & ~airlines.isin(trained_on),
    }
    return {name: evaluation.rows[mask.to_numpy()] for name, mask in masks.items() if mask.any()}


def answers(nodes: Nodes, rows: Rows, photos: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each of `photos`, which are the photos of `rows`: "" where a label does not say."""
    table = photos[["photo_id", "file", "source", "airline", "constructor", "family", "model"]].reset_index(drop=True)
    table["airframe"] = rows["airframe"]
    for depth, level in enumerate(LEVEL_NAMES[1:]):
        table[f"answer_{level}"] = [nodes.leaves[leaf][depth] for leaf in rows["leaf"]]
    table["answer_level"] = [LEVEL_NAMES[level] for level in rows["level"]]
    for level in ("constructor", "path"):
        table[f"{level}_probability"] = rows[f"{level}_probability"].round(5)
    for name, right in rights(nodes, rows).items():
        table[name] = right
    return table


def rights(nodes: Nodes, rows: Rows) -> dict[str, list[int | str]]:
    """Return for each of RIGHTS whether the path that decoding takes is right there: 1, 0, or "" if nobody can say."""
    path, found = nodes.paths[rows["leaf"]], {}
    for depth, name in enumerate(RIGHTS[:2]):
        truth = rows["truth"][:, depth]
        found[name] = _marks(truth >= 0, path[:, depth] == truth)
    found[RIGHTS[2]] = _marks(rows["true_leaf"] >= 0, rows["leaf"] == rows["true_leaf"])
    return found


def _marks(known: NDArray[np.bool_], right: NDArray[np.bool_]) -> list[int | str]:
    return [int(mark) if sure else "" for sure, mark in zip(known, right, strict=True)]


def write(out: Path, files: Mapping[str, str]) -> None:
    """Write text `files` by name to the folder `out`, each all at once or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        temporary = out / f".{name}.{os.getpid()}"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out / name)


def as_json(content: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return `content` as JSON for people to read; a figure that is no number is refused, not written."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
