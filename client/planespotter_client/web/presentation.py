"""What the network says, in words for the page: short sentences, and the same as values for its table."""

from typing import Any

from planespotter_client import Classification, Level, Model
from planespotter_client._types import percent

CERTAINTY = {
    Level.MODEL: "Sure of the model",
    Level.FAMILY: "Sure of the family",
    Level.CONSTRUCTOR: "Sure only of the constructor",
    Level.UNKNOWN: "Not even sure of the constructor",
}


def sentence(said: Classification) -> tuple[str, str]:
    """Return the answer as a short sentence in two parts: what it is, and the rest, which begins with its comma.

    "Boeing 737-800" and ", 94 %; surely a Boeing", for example.
    """
    maker = said.constructor.name
    sure = f", {_percent(said.probability)}"
    guess = f", perhaps {_guess(said)}"
    match said.level:
        case Level.MODEL:
            return said.name, f"{sure}; surely {_a(maker)}"
        case Level.FAMILY:
            return said.name, f"{sure}; surely {_a(maker)}{guess if said.model.name else ''}"
        case Level.CONSTRUCTOR:
            return said.name, f"{sure}; which type is not sure{guess if said.family.name else ''}"
        case Level.UNKNOWN:
            return "Unknown", f"; the best guess is {maker}, {_percent(said.probability)}"


def answer(said: Classification, tree: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of one answer. `tree` is that of the model: constructor → family → models."""
    name, rest = sentence(said)
    families = tree.get(said.constructor.name, {})
    deepest = said.level is Level.FAMILY and not families.get(said.family.name, ("?",))
    return {
        "name": name,
        "rest": rest,
        "level": said.level.value,
        "certainty": "Sure of the type" if deepest else CERTAINTY[said.level],
        "path": [
            [label.name, label.probability, _percent(label.probability)]
            for label in (said.constructor, said.family, said.model)
        ],
        "heat": said.heat_map and said.heat_map.cells,
        "alternatives": [
            {"name": leaf.name, "probability": leaf.probability, "words": _percent(leaf.probability)}
            for leaf in said.alternatives
        ],
    }


def accuracy(model: Model) -> list[str]:
    """Return in sentences how well `model` was measured to do; nothing where it does not say."""
    of_all = {metric.name: metric for metric in model.metrics if not metric.source}

    def share(name: str) -> str:
        # Not as a probability: a figure from a few hundred photos deserves no decimals and no "> 99 %".
        metric = of_all[name]
        if metric.photos < 100:
            return f"{metric.value * metric.photos:.0f} of {metric.photos}"
        return f"{100 * metric.value:.0f} of 100 ({metric.photos:,})"

    right = [
        f"{words} in {share(name)}"
        for name, words in (
            ("constructor_accuracy", "the constructor"),
            ("family_accuracy", "the family"),
            ("path_accuracy", "the exact type"),
        )
        if name in of_all
    ]
    said = []
    if right:
        said.append(f"It names {_listed(right)} photos right.")
    if {"sure_share", "sure_accuracy"} <= of_all.keys():
        said.append(f"It is sure of {share('sure_share')}, and then right in {share('sure_accuracy')}.")
    if "unknown_share" in of_all:
        said.append(f"Of aircraft by other constructors it calls {share('unknown_share')} unknown.")
    if said:
        how_many = "; in brackets, on how many" if any("(" in sentence for sentence in said) else ""
        said.append(f"Measured on photos that it was not trained on{how_many}.")
    return said


def knows(model: Model) -> str:
    """Return in a sentence what `model` can tell apart."""
    types = sum(len(models) or 1 for families in model.tree.values() for models in families.values())
    makers = _listed([str(name) for name in model.tree])
    return f"It knows {types:,} {'type' if types == 1 else 'types'} of {makers}."


def _percent(probability: float) -> str:
    return percent(probability).replace(" ", "\N{NO-BREAK SPACE}")


def _guess(said: Classification) -> str:
    label = said.model if said.model.name else said.family
    return f"{label.name}, {_percent(label.probability)}"


def _a(name: str) -> str:
    return f"{'an' if name[:1].upper() in set('AEIOU') else 'a'} {name}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
