"""Evaluation report: a self-contained HTML page with metrics, charts, confusion matrices and the worst mistakes."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from planespotter_models import Label, decode_photo
from planespotter_training.evaluation import output_files
from planespotter_training.evaluation.baseline import evaluate_baseline
from planespotter_training.evaluation.confidence_intervals import wilson
from planespotter_training.evaluation.evaluate import Evaluation
from planespotter_training.evaluation.metric_functions import confidences, reliability, risk_coverage
from planespotter_training.evaluation.scoring import Rows
from planespotter_training.phases import phase
from planespotter_training.reports.charts import reliability_chart, risk_coverage_chart
from planespotter_training.reports.heat_maps import heat_maps, overlay
from planespotter_training.reports.pages import page

COLUMNS = (
    "constructor_accuracy",
    "family_accuracy",
    "model_accuracy_given_constructor",
    "path_accuracy",
    "confident_share",
    "confident_accuracy",
    "unknown_share",
    "ece",
)
"""Metrics in the table by source."""

OUT_OF_TAXONOMY = "out of taxonomy"
"""Row of a confusion matrix."""

PHOTO_WIDTH = 336
GALLERY_PHOTOS = 6
"""Photos in each part of the gallery."""
CONFUSIONS = 15


def write(evaluation: Evaluation, baselines: Sequence[Path], out: Path, console: Console) -> None:
    """Write report.html, metrics.json and predictions.csv to `out`; `baselines` are runs or bundles to compare with."""
    rows = dict(evaluate_baseline(path, evaluation, console) for path in baselines)
    with phase(console, "Bootstrapping confidence intervals"):
        content = output_files.metrics_content(evaluation, rows)
    with phase(console, "Drawing charts and heat maps"):
        text = render(evaluation, content)
    predictions = output_files.predictions(evaluation.nodes, evaluation.rows, evaluation.photos)
    files = {
        output_files.METRICS_FILE: output_files.as_json(content),
        output_files.PREDICTIONS_FILE: predictions.to_csv(index=False),
        output_files.REPORT_FILE: text,
    }
    output_files.write(out, files)


def render(evaluation: Evaluation, content: Mapping[str, Any]) -> str:
    """Return the page for `evaluation` and its metrics.json, `content`."""
    return page(
        "evaluation.html",
        title=f"{evaluation.bundle.name} {evaluation.bundle.version}",
        content=content,
        columns=COLUMNS,
        catalog=evaluation.folder.resolve().name,
        training=_training(evaluation),
        charts=_charts(evaluation),
        matrices=_matrices(evaluation),
        confusions=_confusions(evaluation),
        classes=_classes(evaluation),
        airlines=_airlines(evaluation),
        photo_width=PHOTO_WIDTH,
        photo_height=_photo_height(evaluation),
        **_gallery(evaluation),
    )


def _training(evaluation: Evaluation) -> dict[str, Any]:
    """Return the bundle's training record; missing parts are None."""
    record = evaluation.bundle.training
    names = ("recipe", "steps", "initial_weights", "sources", "notes", "baseline")
    photos = record["photos"] if isinstance(record.get("photos"), dict) else {}
    return {name: record.get(name) for name in names} | {"photos": photos}


def display_name(label: Label) -> str:
    """Return the name of a node as people use it: "Airbus A320-200", "Boeing 747", "Airbus"."""
    return " ".join(part for part in (label.constructor, label.model or label.family) if part)


def _charts(evaluation: Evaluation) -> list[tuple[str, str]]:
    nodes, rows = evaluation.nodes, evaluation.rows
    charts, risks = [], {}
    for level, what in (("constructor", "constructor"), ("path", "whole path")):
        probabilities, correct = confidences(nodes, rows, level)
        if not len(correct):
            continue
        curves = {
            "uncalibrated": reliability(*confidences(nodes, rows, level, "uncalibrated_")),
            "calibrated": reliability(probabilities, correct),
        }
        charts.append((f"Reliability of the {what}", reliability_chart(curves, what)))
        risks[what] = risk_coverage(probabilities, correct)
    return [*charts, ("Risk and coverage", risk_coverage_chart(risks))] if risks else []


# ---------------------------------------------------------------- confusion


def _matrices(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a confusion matrix per head: of constructors, and of each constructor's types given the constructor."""
    nodes, rows, tree = evaluation.nodes, evaluation.rows, evaluation.bundle.tree
    names = [*tree.constructors, OUT_OF_TAXONOMY]
    named = rows[rows["named"][:, 0]]
    leaf_constructor = np.array([tree.constructors.index(leaf.constructor) for leaf in nodes.leaves])
    of_node = {nodes.names.index(Label(name)): index for index, name in enumerate(tree.constructors)}
    true = np.array([of_node.get(node, len(names) - 1) for node in named["true_nodes"][:, 0]], int)
    matrices = [_matrix("Constructor", names, true, leaf_constructor[named["leaf"]])]
    for constructor, leaves in tree.leaves.items():
        first = nodes.leaves.index(leaves[0])
        of_constructor = (rows["true_leaf"] >= first) & (rows["true_leaf"] < first + len(leaves))
        if of_constructor.any() and len(leaves) > 1:
            types = [leaf.model or leaf.family for leaf in leaves]
            true = rows["true_leaf"][of_constructor] - first
            predicted = rows["leaf_given_constructor"][of_constructor] - first
            matrices.append(_matrix(f"Types of {constructor}", types, true, predicted))
    return [matrix for matrix in matrices if matrix["rows"]]


def _matrix(title: str, names: Sequence[str], true: NDArray[Any], predicted: NDArray[Any]) -> dict[str, Any]:
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (true, predicted), 1)
    used = [index for index in range(len(names)) if counts[index].any() or counts[:, index].any()]
    columns = [index for index in used if names[index] != OUT_OF_TAXONOMY]
    return {
        "title": title,
        "columns": [names[index] for index in columns],
        "rows": [
            {
                "name": names[index],
                "n": int(counts[index].sum()),
                "cells": [
                    {
                        "count": int(counts[index, column]),
                        "share": float(counts[index, column] / max(1, counts[index].sum())),
                        "correct": index == column,
                    }
                    for column in columns
                ],
            }
            for index in used
        ],
    }


def _confusions(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the most frequent confusions of types."""
    nodes, rows = evaluation.nodes, evaluation.rows
    rows = rows[rows["true_leaf"] >= 0]
    totals = np.bincount(rows["true_leaf"], minlength=len(nodes.leaves))
    wrong = rows[rows["leaf"] != rows["true_leaf"]]
    pairs, counts = np.unique(np.stack([wrong["true_leaf"], wrong["leaf"]], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:CONFUSIONS]
    return [
        {
            "true": display_name(nodes.leaves[true]),
            "predicted": display_name(nodes.leaves[predicted]),
            "photos": int(count),
            "share": float(count / totals[true]),
        }
        for (true, predicted), count in zip(pairs[order], counts[order], strict=True)
    ]


def _classes(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return recall and precision of each constructor and of each type."""
    nodes, rows, tree = evaluation.nodes, evaluation.rows, evaluation.bundle.tree
    known = rows[rows["true_nodes"][:, 0] >= 0]
    classes = [
        _class(name, known["true_nodes"][:, 0] == node, nodes.paths[known["leaf"]][:, 0] == node)
        for name in tree.constructors
        for node in [nodes.names.index(Label(name))]
    ]
    typed = rows[rows["true_leaf"] >= 0]
    classes += [
        _class(display_name(leaf), typed["true_leaf"] == index, typed["leaf"] == index)
        for index, leaf in enumerate(nodes.leaves)
        if leaf.family
    ]
    return [row for row in classes if row["n"] or row["predicted"]]


def _class(name: str, true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> dict[str, Any]:
    both, n, n_predicted = int((true & predicted).sum()), int(true.sum()), int(predicted.sum())
    return {
        "name": name,
        "n": n,
        "predicted": n_predicted,
        "recall": both / n if n else None,
        "recall_interval": wilson(both / n, n) if n else None,
        "precision": both / n_predicted if n_predicted else None,
        "precision_interval": wilson(both / n_predicted, n_predicted) if n_predicted else None,
    }


def _airlines(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return accuracies of the airlines with the most photos, and their number of training photos if it is recorded."""
    photos, rows, nodes = evaluation.photos, evaluation.rows, evaluation.nodes
    trained_on = (evaluation.bundle.training.get("training_fingerprint") or {}).get("airlines")
    airlines = []
    for name, n in photos["airline"][photos["airline"] != ""].value_counts().head(20).items():
        part = rows[(photos["airline"] == name).to_numpy()]
        known, typed = part[part["true_nodes"][:, 0] >= 0], part[part["true_leaf"] >= 0]
        correct = nodes.paths[known["leaf"]][:, 0] == known["true_nodes"][:, 0]
        airlines.append(
            {
                "name": str(name),
                "n": int(n),
                "trained_on": None if trained_on is None else trained_on.get(str(name), 0),
                "constructor": float(correct.mean()) if len(known) else None,
                "path": float((typed["leaf"] == typed["true_leaf"]).mean()) if len(typed) else None,
            }
        )
    return airlines


# ---------------------------------------------------------------- photos


def _gallery(evaluation: Evaluation) -> dict[str, Any]:
    """Return the parts of the gallery, and the method of its heat maps."""
    nodes, rows, model = evaluation.nodes, evaluation.rows, evaluation.bundle
    path = nodes.paths[rows["leaf"]]
    known = rows["true_nodes"][:, 0] >= 0
    wrong_constructor = known & (path[:, 0] != rows["true_nodes"][:, 0])
    wrong_type = (rows["true_leaf"] >= 0) & ~wrong_constructor & (rows["leaf"] != rows["true_leaf"])
    outside = rows["named"][:, 0] & ~known
    correct = np.where(rows["true_leaf"] >= 0, rows["leaf"] == rows["true_leaf"], known & ~wrong_constructor)
    random = np.random.default_rng(0)
    parts = {
        "Wrong constructor, the most confident": _most_confident(wrong_constructor, rows, "constructor"),
        "Correct constructor, wrong type, the most confident": _most_confident(wrong_type, rows, "path"),
        "Out of taxonomy, the most confident": _most_confident(outside, rows, "constructor"),
        "Correct, a random sample": random.permutation(np.flatnonzero(correct.astype(bool)))[:GALLERY_PHOTOS],
    }
    chosen = np.concatenate(list(parts.values())).astype(int)
    if not len(chosen):
        return {"gallery": {}, "method": ""}
    files = [(evaluation.folder / file).read_bytes() for file in evaluation.photos["file"].iloc[chosen]]
    pixels = np.stack([decode_photo(file, model.height, model.width) for file in files])
    maps, method = heat_maps(model, evaluation.engine, pixels, rows["leaf"][chosen])
    entries = {
        index: _entry(evaluation, index, file, heat_map)
        for index, file, heat_map in zip(chosen.tolist(), files, maps, strict=True)
    }
    return {"gallery": {title: [entries[i] for i in part.tolist()] for title, part in parts.items()}, "method": method}


def _photo_height(evaluation: Evaluation) -> int:
    return round(PHOTO_WIDTH * evaluation.bundle.height / evaluation.bundle.width)


def _most_confident(mask: NDArray[np.bool_], rows: Rows, level: str) -> NDArray[np.int64]:
    indices = np.flatnonzero(mask)
    order = np.argsort(-rows[f"{level}_probability"][indices], kind="stable")
    return np.asarray(indices[order][:GALLERY_PHOTOS])


def _entry(evaluation: Evaluation, index: int, file: bytes, heat_map: NDArray[np.floating]) -> dict[str, str]:
    row, photo = evaluation.rows[index], evaluation.photos.iloc[index]
    height = _photo_height(evaluation)
    picture = Image.fromarray(decode_photo(file, height, PHOTO_WIDTH))
    leaf = evaluation.nodes.leaves[row["leaf"]]
    has_type = row["true_leaf"] >= 0
    level = "path" if has_type else "constructor"
    return {
        "photo": _data_uri(picture, "JPEG", quality=72),
        "heat_map": _data_uri(overlay(heat_map, height // 2, PHOTO_WIDTH // 2), "PNG"),
        "predicted": display_name(leaf if has_type else Label(leaf.constructor)),
        "probability": f"{row[f'{level}_probability']:.0%}",
        "true": display_name(Label(photo["constructor"], photo["family"], photo["model"])),
        "photo_id": photo["photo_id"],
        "source": photo["source"],
        "credit": ", ".join(text for text in (photo["photographer"], photo["licence"]) if text),
    }


def _data_uri(image: Image.Image, file_format: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return f"data:image/{file_format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
