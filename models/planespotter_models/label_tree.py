"""The label tree: constructor → family → model, and where a label lies in it.

A leaf is the deepest node of its branch: a model, or a family whose models the network does not tell apart, or (if none
of its families does) a constructor. Every constructor has one head, with one class for each of its leaves.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

CONSTRUCTOR_HEAD = "constructor"


class Label(NamedTuple):
    """A node of the tree by its path; "" from the level on at which nothing is known or told apart."""

    constructor: str = ""
    family: str = ""
    model: str = ""


@dataclass(frozen=True)
class LabelTree:
    """Constructors, their families and models, in the order of the classes of the network's heads.

    `branches` maps constructor → family → models; a family without models is a leaf.
    """

    branches: Mapping[str, Mapping[str, Sequence[str]]]

    def __post_init__(self) -> None:
        if not self.branches:
            raise ValueError("A label tree needs at least one constructor.")
        if CONSTRUCTOR_HEAD in self.branches:
            raise ValueError(f"{CONSTRUCTOR_HEAD!r} is the name of the first head; no constructor can be called that.")
        paths = list(self._nodes())
        if len(set(paths)) != len(paths) or any("" in path for path in paths):
            raise ValueError("Every name in a label tree must be there once, and none may be empty.")

    def _nodes(self) -> Iterator[tuple[str, ...]]:
        for constructor, families in self.branches.items():
            yield (constructor,)
            for family, models in families.items():
                yield (constructor, family)
                for model in models:
                    yield (constructor, family, model)

    @cached_property
    def constructors(self) -> tuple[str, ...]:
        """The constructors, in the order of the classes of the constructor head."""
        return tuple(self.branches)

    @cached_property
    def leaves(self) -> Mapping[str, tuple[Label, ...]]:
        """For each constructor its leaves, in the order of the classes of its head; never empty."""
        return {
            constructor: tuple(
                Label(constructor, family, model) for family, models in families.items() for model in (models or [""])
            )
            or (Label(constructor),)
            for constructor, families in self.branches.items()
        }

    @cached_property
    def all_leaves(self) -> tuple[Label, ...]:
        """The leaves of all constructors, one constructor after another."""
        return tuple(leaf for leaves in self.leaves.values() for leaf in leaves)

    @cached_property
    def heads(self) -> Mapping[str, int]:
        """The heads of the network and how many classes each has: the constructor head, then one per constructor."""
        sizes = {constructor: len(leaves) for constructor, leaves in self.leaves.items()}
        return {CONSTRUCTOR_HEAD: len(self.constructors), **sizes}

    def clip(self, label: Label) -> Label:
        """Return the deepest node of the tree on the path of `label`: `Label()` if its constructor is not there."""
        families = self.branches.get(label.constructor)
        if families is None:
            return Label()
        if label.family not in families:
            return Label(label.constructor)
        if label.model not in families[label.family]:
            return Label(label.constructor, label.family)
        return label

    def leaves_below(self, label: Label) -> tuple[int, ...]:
        """Return which classes of the head of `label.constructor` lie at or below the node `label`."""
        return tuple(
            index
            for index, leaf in enumerate(self.leaves[label.constructor])
            if all(not mine or mine == theirs for mine, theirs in zip(label, leaf, strict=True))
        )
