"""Model description: what a decision needs besides the probabilities of the leaves, as JSON next to them.

It is in the run manifest of a Parquet output, and in the metadata of the file itself: so `planespotter decide` needs no
server, and the file can be moved.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planespotter_client import Model


def describe(model: "Model") -> dict[str, Any]:
    """Return the leaves, thresholds and decode rule of `model`."""
    thresholds = model.thresholds
    return {
        "model": f"{model.name} {model.version}",
        "leaves": [list(path) for path in model.leaves],
        "thresholds": [thresholds.constructor, thresholds.family, thresholds.model],
        "decode_rule": model.decode_rule.value if model.decode_rule else None,
    }


def tree_of(description: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Return the label tree of a description: constructor, families, models."""
    tree: dict[str, dict[str, list[str]]] = {}
    for constructor, *below in description["leaves"]:
        families = tree.setdefault(constructor, {})
        if below:
            families.setdefault(below[0], []).extend(below[1:])
    return tree
