"""Prior: what is known about the aircraft besides the photo, combined with the network's probabilities by Bayes' rule.

A prior is a mix of types, such as the fleet of an airline. It moves probability and excludes nothing: before the photo
is seen, its most common type is `odds` times as probable as one that it does not list, and the others lie between.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planespotter_models.label_tree import Label, LabelTree

DEFAULT_ODDS = 2.0
MAX_ODDS = 1000.0


class PriorError(Exception):
    """A mix or odds that make no prior; the text says why and how to fix it."""


@dataclass(frozen=True, eq=False)
class Prior:
    """Factors by which evidence other than the photo multiplies the probabilities of the network.

    Attributes:
        name: What the evidence is called, such as "fleet".
        factors: One [leaves + 1] per leaf of the tree, then that of everything outside of the tree; 1 or more.
    """

    name: str
    factors: NDArray[np.float64]

    def apply(self, table: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the posterior [..., leaves] for probabilities [..., leaves] of the network."""
        outside = np.maximum(0.0, 1.0 - table.sum(axis=-1, keepdims=True, dtype=np.float64))
        joint = np.concatenate([table, outside], axis=-1) * self.factors
        posterior: NDArray[np.float64] = joint[..., :-1] / joint.sum(axis=-1, keepdims=True)
        return posterior


def make_prior(tree: LabelTree, name: str, mix: Mapping[Label, float], odds: float = DEFAULT_ODDS) -> Prior:
    """Return the prior of a mix of types.

    A label above a leaf counts for every leaf below it, and a model that the tree lacks for its family: the network
    tells these apart. A family or a constructor that the tree lacks counts as an aircraft outside of the tree.

    Args:
        tree: Label tree of the network.
        name: What the evidence is called, such as "fleet".
        mix: Weight by label, relative, 0 or more.
        odds: How many times as probable the most common type of the mix is as one that it does not list, 1 to MAX_ODDS.

    Raises:
        PriorError: The odds or a weight is out of range, or no label of the tree has a weight.
    """
    if not 1 <= odds <= MAX_ODDS:
        raise PriorError(f"The odds of the prior are out of range: {odds:g}. Give a number from 1 to {MAX_ODDS:,.0f}.")
    starts = dict(zip(tree.constructors, np.cumsum([0, *map(len, tree.leaves.values())]), strict=False))
    weights = np.zeros(len(tree.all_leaves) + 1)
    for label, weight in mix.items():
        if not (np.isfinite(weight) and weight >= 0):
            raise PriorError(f"A weight of the prior is invalid: {weight}. Give numbers of 0 or more.")
        node = tree.clip(label)
        is_outside = not node.constructor or bool(label.family and not node.family)
        weights[[-1] if is_outside else [starts[node.constructor] + leaf for leaf in tree.leaves_below(node)]] += weight
    if not weights[:-1].any():
        raise PriorError("The prior lists no type of the model with a weight above 0. Name types that the model knows.")
    return Prior(name, 1 + (odds - 1) * weights / weights.max())
