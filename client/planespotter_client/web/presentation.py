"""Presentation: predictions and metrics as short texts for the page, and as values for its CSV."""

from typing import Any

from planespotter_client import Level, Model, Prediction
from planespotter_client._types import percent

CONFIDENCE = {
    Level.MODEL: "Confident down to the model",
    Level.FAMILY: "Confident down to the family",
    Level.CONSTRUCTOR: "Confident of the constructor only",
    Level.UNKNOWN: "Not confident of the constructor",
}
# Metrics with fewer photos are shown as counts, not as shares.
MIN_PHOTOS_FOR_SHARE = 100


def headline(prediction: Prediction) -> tuple[str, str]:
    """Return a prediction as a short sentence in two parts: the name, and the rest, with its punctuation.

    "Boeing 737-800" and ", 94 %; almost certainly a Boeing", for example.
    """
    constructor = prediction.constructor.name
    probability = f", {_percent(prediction.probability)}"
    best_guess = f", perhaps {_best_guess(prediction)}"
    match prediction.level:
        case Level.MODEL:
            return prediction.name, f"{probability}; almost certainly {_with_article(constructor)}"
        case Level.FAMILY:
            guess = best_guess if prediction.model else ""
            return prediction.name, f"{probability}; almost certainly {_with_article(constructor)}{guess}"
        case Level.CONSTRUCTOR:
            guess = best_guess if prediction.family else ""
            return prediction.name, f"{probability}; the type is uncertain{guess}"
        case Level.UNKNOWN:
            return "Unknown", f"; the best guess is {constructor}, {_percent(prediction.probability)}"


def prediction_json(prediction: Prediction, tree: dict[str, Any]) -> dict[str, Any]:
    """Return a prediction as the page shows it. `tree` is the label tree: constructor → family → models."""
    name, detail = headline(prediction)
    families = tree.get(prediction.constructor.name, {})
    family = prediction.family.name if prediction.family else ""
    is_leaf = prediction.level is Level.FAMILY and not families.get(family, ("?",))
    return {
        "name": name,
        "detail": detail,
        "level": prediction.level.value,
        "confidence": "Confident down to the type" if is_leaf else CONFIDENCE[prediction.level],
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
            ("exact type", "path_accuracy"),
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


def taxonomy_sentence(model: Model) -> str:
    """Return what `model` distinguishes, as a sentence."""
    types = sum(len(models) or 1 for families in model.tree.values() for models in families.values())
    constructors = _join([str(name) for name in model.tree])
    return f"It distinguishes {types:,} {'type' if types == 1 else 'types'} by {constructors}."


def _percent(probability: float) -> str:
    return percent(probability).replace(" ", "\N{NO-BREAK SPACE}")


def _best_guess(prediction: Prediction) -> str:
    leaf = prediction.path[-1]
    return f"{leaf.name}, {_percent(leaf.probability)}"


def _with_article(name: str) -> str:
    return f"{'an' if name[:1].upper() in set('AEIOU') else 'a'} {name}"


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
