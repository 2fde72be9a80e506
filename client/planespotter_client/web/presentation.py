"""Presentation: predictions and metrics as short texts for the page, and as values for its CSV."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from planespotter_client import Level, Model, Prediction
from planespotter_client._types import percent
from planespotter_photos.counts import count_noun

CONFIDENCE = {
    "type": "Confident down to the type",
    "family": "Confident down to the family",
    "constructor": "Confident of the constructor only",
    "unknown": "Not confident of the constructor",
}
# Metrics with fewer photos are shown as counts, not as shares.
MIN_PHOTOS_FOR_SHARE = 100


def headline(prediction: Prediction) -> tuple[str, str]:
    """Return the confident part of a prediction and its probability, such as "Boeing 737-800" and "94 %".

    An unknown aircraft has no probability: its best guess is not confident.
    """
    if prediction.level is Level.UNKNOWN:
        return "Unknown", ""
    return prediction.name, _percent(prediction.probability)


def confident_part(prediction: Prediction, tree: Mapping[str, Any]) -> str:
    """Return down to what a prediction is confident: "type", "family", "constructor" or "unknown".

    A type is a leaf of the label tree: a model, or a family without models, such as the A380 in some trees.

    Args:
        prediction: The prediction.
        tree: The label tree: constructor → family → models.
    """
    families = tree.get(prediction.constructor.name, {})
    family = prediction.family.name if prediction.family else ""
    is_leaf = prediction.level is Level.FAMILY and not families.get(family, ("?",))
    return "type" if is_leaf or prediction.level is Level.MODEL else prediction.level.value


def prediction_json(prediction: Prediction, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a prediction as the page shows it. `tree` is the label tree: constructor → family → models.

    The page can choose another confidence level: `choices` has what it then shows, by the number of confident names.
    """
    levels = [Level.UNKNOWN, *(node.level for node in prediction.path)]
    choices = [_decision_json(dataclasses.replace(prediction, level=level), tree) for level in levels]
    depth = len(prediction.confident_path)
    return {
        **choices[depth],
        "depth": depth,
        "choices": choices,
        "path": [
            {"name": node.name, "probability": node.probability, "percent": _percent(node.probability)}
            if node
            else {"name": "", "probability": 0.0, "percent": _percent(0.0)}
            for node in (prediction.constructor, prediction.family, prediction.model)
        ],
        "heat_map": prediction.heat_map and prediction.heat_map.cells,
        "candidates": [
            {"name": leaf.name, "probability": leaf.probability, "percent": _percent(leaf.probability)}
            for leaf in prediction.candidates
        ],
    }


def _decision_json(prediction: Prediction, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a prediction that depends on its confidence level."""
    name, percentage = headline(prediction)
    group = confident_part(prediction, tree)
    return {
        "name": name,
        "percent": percentage,
        "probability": prediction.probability,
        "level": prediction.level.value,
        "group": group,
        "confidence": CONFIDENCE[group],
    }


def accuracy_sentences(model: Model) -> list[str]:
    """Return the metrics of `model` as sentences; none if it has no metrics."""
    overall = {metric.name: metric for metric in model.metrics if not metric.source}

    def share(name: str) -> str:
        # Unlike a probability: a metric over a few hundred photos has no decimals and no "> 99 %".
        metric = overall[name]
        if metric.photo_count < MIN_PHOTOS_FOR_SHARE:
            return f"{metric.value * metric.photo_count:.0f} of {metric.photo_count}"
        return f"{100 * metric.value:.0f} % ({metric.photo_count:,})"

    accuracies = [
        f"the {level} in {share(name)}"
        for level, name in (
            ("constructor", "constructor_accuracy"),
            ("family", "family_accuracy"),
            ("model", "path_accuracy"),
        )
        if name in overall
    ]
    sentences = []
    if accuracies:
        sentences.append(f"It predicts {_join(accuracies)} of photos correctly.")
    if {"confident_share", "confident_accuracy"} <= overall.keys():
        sentences.append(
            f"It is confident in {share('confident_share')}, and then correct in {share('confident_accuracy')}."
        )
    if "unknown_share" in overall:
        sentences.append(f"Of aircraft by other constructors it predicts {share('unknown_share')} as unknown.")
    if sentences:
        photo_counts = "; the number of photos is in brackets" if any("(" in each for each in sentences) else ""
        sentences.append(f"Measured on photos that it was not trained on{photo_counts}.")
    return sentences


def taxonomy_summary(model: Model) -> str:
    """Return what `model` distinguishes, such as "24 types by Airbus and Boeing"."""
    types = sum(len(models) or 1 for families in model.tree.values() for models in families.values())
    constructors = _join([str(name) for name in model.tree])
    return f"{count_noun(types, 'type')} by {constructors}"


def _percent(probability: float) -> str:
    return percent(probability).replace(" ", "\N{NO-BREAK SPACE}")


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
