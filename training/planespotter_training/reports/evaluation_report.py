"""The page that shows an evaluation: one file that needs nothing else, in light and in dark."""

import base64
import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from planespotter_models import Label, decode_photo
from planespotter_training.evaluation import output_files
from planespotter_training.evaluation.baseline import answer_again
from planespotter_training.evaluation.confidence_intervals import wilson
from planespotter_training.evaluation.evaluate import Evaluation
from planespotter_training.evaluation.metric_definitions import DEFINITIONS, shown, shown_interval
from planespotter_training.evaluation.metrics import judged, reliability, risk_coverage
from planespotter_training.evaluation.scoring import Rows
from planespotter_training.network.gradcam import heat, overlay
from planespotter_training.reports.charts import reliability_chart, risk_coverage_chart

# Of the figures by source: what fits beside each other.
COLUMNS = (
    "constructor_accuracy",
    "family_accuracy",
    "model_accuracy_given_constructor",
    "path_accuracy",
    "sure_share",
    "sure_accuracy",
    "unknown_share",
    "ece",
)

PHOTO_WIDTH = 336
SHOWN = 6
"""Photos in each part of the gallery."""
CONFUSIONS = 15


def write(evaluation: Evaluation, controls: Sequence[Path], out: Path, console: Console) -> None:
    """Write report.html, metrics.json and answers.csv to `out`; `controls` are runs or bundles to hold beside it."""
    rows = dict(answer_again(path, evaluation, console) for path in controls)
    with console.status("Drawing airframes again for the intervals"):
        content = output_files.metrics(evaluation, rows)
    with console.status("Drawing charts, and looking at what the network looked at"):
        text = render(evaluation, content)
    answers = output_files.answers(evaluation.nodes, evaluation.rows, evaluation.photos)
    files = {
        output_files.METRICS: output_files.as_json(content),
        output_files.ANSWERS: answers.to_csv(index=False),
        output_files.REPORT: text,
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
    """Return what the bundle says of its training; what an older one does not say is empty."""
    said = evaluation.bundle.training
    names = ("recipe", "steps", "start", "sources", "notes", "control")
    sides = said["photos"] if isinstance(said.get("photos"), dict) else {}
    return {name: said.get(name) for name in names} | {"sides": sides}


def page(template: str, **values: Any) -> str:
    """Return the page made from the template of that name; all text in it is escaped."""
    return _templates().get_template(template).render(definitions=DEFINITIONS, **values)


@cache
def _templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"shown": lambda value, name: shown(name, value)}
    environment.globals |= {"interval": shown_interval}
    return environment


def spoken(label: Label) -> str:
    """Return the name of a node as people say it: "Airbus A320-200", "Boeing 747", "Airbus"."""
    return " ".join(part for part in (label.constructor, label.model or label.family) if part)


def _charts(evaluation: Evaluation) -> list[tuple[str, str]]:
    nodes, rows = evaluation.nodes, evaluation.rows
    made, risks = [], {}
    for level, what in (("constructor", "constructor"), ("path", "whole path")):
        probabilities, right = judged(nodes, rows, level)
        if not len(right):
            continue
        before = reliability(*judged(nodes, rows, level, "uncalibrated_"))
        curves = {"before temperature": before, "calibrated": reliability(probabilities, right)}
        made.append((f"Reliability of the {what}", reliability_chart(curves, what)))
        risks[what] = risk_coverage(probabilities, right)
    return [*made, ("Risk and coverage", risk_coverage_chart(risks))] if risks else []


# ---------------------------------------------------------------- what is taken for what


def _matrices(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a confusion matrix for each head: the constructor's, and each constructor's types if it is known."""
    nodes, rows, tree = evaluation.nodes, evaluation.rows, evaluation.bundle.tree
    names = [*tree.constructors, "others"]
    named = rows[rows["named"][:, 0]]
    leaf_constructor = np.array([tree.constructors.index(leaf.constructor) for leaf in nodes.leaves])
    of_node = {nodes.names.index(Label(name)): index for index, name in enumerate(tree.constructors)}
    true = np.array([of_node.get(node, len(names) - 1) for node in named["truth"][:, 0]], int)
    made = [_matrix("Constructor", names, true, leaf_constructor[named["leaf"]])]
    for constructor, leaves in tree.leaves.items():
        first = nodes.leaves.index(leaves[0])
        mine = (rows["true_leaf"] >= first) & (rows["true_leaf"] < first + len(leaves))
        if mine.any() and len(leaves) > 1:
            types = [leaf.model or leaf.family for leaf in leaves]
            said = rows["leaf_given_constructor"][mine] - first
            made.append(_matrix(f"Types of {constructor}", types, rows["true_leaf"][mine] - first, said))
    return [matrix for matrix in made if matrix["rows"]]


def _matrix(title: str, names: Sequence[str], true: NDArray[Any], said: NDArray[Any]) -> dict[str, Any]:
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (true, said), 1)
    used = [index for index in range(len(names)) if counts[index].any() or counts[:, index].any()]
    columns = [index for index in used if names[index] != "others"]
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
                        "right": index == column,
                    }
                    for column in columns
                ],
            }
            for index in used
        ],
    }


def _confusions(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the most frequent mistakes of the chain."""
    nodes, rows = evaluation.nodes, evaluation.rows
    rows = rows[rows["true_leaf"] >= 0]
    totals = np.bincount(rows["true_leaf"], minlength=len(nodes.leaves))
    wrong = rows[rows["leaf"] != rows["true_leaf"]]
    pairs, counts = np.unique(np.stack([wrong["true_leaf"], wrong["leaf"]], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:CONFUSIONS]
    return [
        {
            "true": spoken(nodes.leaves[true]),
            "said": spoken(nodes.leaves[said]),
            "photos": int(count),
            "share": float(count / totals[true]),
        }
        for (true, said), count in zip(pairs[order], counts[order], strict=True)
    ]


def _classes(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return recall and precision of each constructor and of each type."""
    nodes, rows, tree = evaluation.nodes, evaluation.rows, evaluation.bundle.tree
    known = rows[rows["truth"][:, 0] >= 0]
    made = [
        _class(name, known["truth"][:, 0] == node, nodes.paths[known["leaf"]][:, 0] == node)
        for name in tree.constructors
        for node in [nodes.names.index(Label(name))]
    ]
    typed = rows[rows["true_leaf"] >= 0]
    made += [
        _class(spoken(leaf), typed["true_leaf"] == index, typed["leaf"] == index)
        for index, leaf in enumerate(nodes.leaves)
        if leaf.family
    ]
    return [one for one in made if one["n"] or one["said"]]


def _class(name: str, true: NDArray[np.bool_], said: NDArray[np.bool_]) -> dict[str, Any]:
    both = int((true & said).sum())
    n, answered = int(true.sum()), int(said.sum())
    return {
        "name": name,
        "n": n,
        "said": answered,
        "recall": both / n if n else None,
        "recall_interval": wilson(both / n, n) if n else None,
        "precision": both / answered if answered else None,
        "precision_interval": wilson(both / answered, answered) if answered else None,
    }


def _airlines(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return accuracies by airline, of those with the most photos; with how often each was trained on, if known."""
    photos, rows, nodes = evaluation.photos, evaluation.rows, evaluation.nodes
    trained_on = (evaluation.bundle.training.get("training_fingerprint") or {}).get("airlines")
    made = []
    for name, n in photos["airline"][photos["airline"] != ""].value_counts().head(20).items():
        part = rows[(photos["airline"] == name).to_numpy()]
        known, typed = part[part["truth"][:, 0] >= 0], part[part["true_leaf"] >= 0]
        right = nodes.paths[known["leaf"]][:, 0] == known["truth"][:, 0]
        made.append(
            {
                "name": str(name),
                "n": int(n),
                "trained_on": None if trained_on is None else trained_on.get(str(name), 0),
                "constructor": float(right.mean()) if len(known) else None,
                "path": float((typed["leaf"] == typed["true_leaf"]).mean()) if len(typed) else None,
            }
        )
    return made


# ---------------------------------------------------------------- photos


def _gallery(evaluation: Evaluation) -> dict[str, Any]:
    """Return the parts of the gallery, and how the network's attention was found."""
    nodes, rows, model = evaluation.nodes, evaluation.rows, evaluation.bundle
    path = nodes.paths[rows["leaf"]]
    known = rows["truth"][:, 0] >= 0
    wrong_constructor = known & (path[:, 0] != rows["truth"][:, 0])
    wrong_type = (rows["true_leaf"] >= 0) & ~wrong_constructor & (rows["leaf"] != rows["true_leaf"])
    others = rows["named"][:, 0] & ~known
    right = np.where(rows["true_leaf"] >= 0, rows["leaf"] == rows["true_leaf"], known & ~wrong_constructor)
    parts = {
        "The wrong constructor, and surest of it": _surest(wrong_constructor, rows, "constructor"),
        "The right constructor, the wrong type, and surest of it": _surest(wrong_type, rows, "path"),
        "Built by others, and surest of one that it knows": _surest(others, rows, "constructor"),
        "Right, drawn at random": np.random.default_rng(0).permutation(np.flatnonzero(right.astype(bool)))[:SHOWN],
    }
    chosen = np.concatenate(list(parts.values())).astype(int)
    if not len(chosen):
        return {"gallery": {}, "how": ""}
    files = [(evaluation.folder / file).read_bytes() for file in evaluation.photos["file"].iloc[chosen]]
    pixels = np.stack([decode_photo(file, model.height, model.width) for file in files])
    heats, how = heat(model, evaluation.engine, pixels, rows["leaf"][chosen])
    figures = {
        index: _figure(evaluation, index, file, heat_)
        for index, file, heat_ in zip(chosen.tolist(), files, heats, strict=True)
    }
    return {"gallery": {title: [figures[i] for i in part.tolist()] for title, part in parts.items()}, "how": how}


def _photo_height(evaluation: Evaluation) -> int:
    return round(PHOTO_WIDTH * evaluation.bundle.height / evaluation.bundle.width)


def _surest(which: NDArray[np.bool_], rows: Rows, level: str) -> NDArray[np.int64]:
    found = np.flatnonzero(which)
    return np.asarray(found[np.argsort(-rows[f"{level}_probability"][found], kind="stable")][:SHOWN])


def _figure(evaluation: Evaluation, index: int, file: bytes, heat_: NDArray[np.floating]) -> dict[str, str]:
    row, photo = evaluation.rows[index], evaluation.photos.iloc[index]
    height = _photo_height(evaluation)
    picture = Image.fromarray(decode_photo(file, height, PHOTO_WIDTH))
    leaf = evaluation.nodes.leaves[row["leaf"]]
    names_type = row["true_leaf"] >= 0
    level = "path" if names_type else "constructor"
    return {
        "photo": _data_uri(picture, "JPEG", quality=72),
        "heat": _data_uri(overlay(heat_, height // 2, PHOTO_WIDTH // 2), "PNG"),
        "said": spoken(leaf if names_type else Label(leaf.constructor)),
        "probability": f"{row[f'{level}_probability']:.0%}",
        "true": spoken(Label(photo["constructor"], photo["family"], photo["model"])),
        "photo_id": photo["photo_id"],
        "source": photo["source"],
        "credit": ", ".join(text for text in (photo["photographer"], photo["licence"]) if text),
    }


def _data_uri(image: Image.Image, file_format: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return f"data:image/{file_format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
