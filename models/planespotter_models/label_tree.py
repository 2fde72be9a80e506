"""Label tree (taxonomy): constructor → family → model, and the heads and classes of the network that follow from it.

A leaf is the deepest node of its branch: a model, a family whose models the network does not tell apart, or a
constructor without families. Every constructor has one head, with one class per leaf. The constructor head may have one
more class, last, for everything outside the tree: out-of-taxonomy aircraft, and pictures without an aircraft.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONSTRUCTOR_HEAD = "constructor"


class Label(NamedTuple):
    """A node of the tree by its path; "" at each level below the node."""

    constructor: str = ""
    family: str = ""
    model: str = ""


class LeafGroups(NamedTuple):
    """What `LabelTree.all_leaves` share, as arrays. The leaves of a constructor, and of a family, are contiguous."""

    constructors: NDArray[np.intp]
    """Number [leaves] of the constructor of each leaf."""
    first_of_constructors: NDArray[np.intp]
    """Index [constructors] of the first leaf of each constructor."""
    families: NDArray[np.intp]
    """Number [leaves] of the family of each leaf; a constructor without families counts as one."""
    first_of_families: NDArray[np.intp]
    """Index [families] of the first leaf of each family."""
    has_level: NDArray[np.bool_]
    """Whether [leaves, 3] each leaf has a constructor, a family and a model."""


@dataclass(frozen=True)
class LabelTree:
    """Constructors, families and models, in the order of the classes of the network's heads.

    Attributes:
        branches: Constructor → family → models. A family without models is a leaf.
        other: Whether the constructor head has an output for what is outside the tree, after those of the constructors.

    Raises:
        ValueError: The tree is empty, a name is empty or occurs twice below its parent, or a constructor has the
            reserved name of the first head.
    """

    branches: Mapping[str, Mapping[str, Sequence[str]]]
    other: bool = False

    def __post_init__(self) -> None:
        if not self.branches:
            raise ValueError("The label tree is empty. Add at least one constructor.")
        if CONSTRUCTOR_HEAD in self.branches:
            raise ValueError(f"The constructor name {CONSTRUCTOR_HEAD!r} is reserved for the first head. Rename it.")
        paths = list(self._nodes())
        if len(set(paths)) != len(paths) or any("" in path for path in paths):
            raise ValueError(
                "A name in the label tree is empty or occurs twice below its parent. Make the names unique."
            )

    def _nodes(self) -> Iterator[tuple[str, ...]]:
        for constructor, families in self.branches.items():
            yield (constructor,)
            for family, models in families.items():
                yield (constructor, family)
                for model in models:
                    yield (constructor, family, model)

    @cached_property
    def constructors(self) -> tuple[str, ...]:
        """Constructors, in the order of the classes of the constructor head."""
        return tuple(self.branches)

    @cached_property
    def leaves(self) -> Mapping[str, tuple[Label, ...]]:
        """Leaves by constructor, in the order of the classes of its head; at least one."""
        return {
            constructor: tuple(
                Label(constructor, family, model) for family, models in families.items() for model in (models or [""])
            )
            or (Label(constructor),)
            for constructor, families in self.branches.items()
        }

    @cached_property
    def all_leaves(self) -> tuple[Label, ...]:
        """Leaves of all constructors, one constructor after another."""
        return tuple(leaf for leaves in self.leaves.values() for leaf in leaves)

    @cached_property
    def leaf_groups(self) -> LeafGroups:
        """What the leaves share, as arrays."""
        leaves = self.all_leaves
        constructors = _group_numbers([leaf[:1] for leaf in leaves])
        families = _group_numbers([leaf[:2] for leaf in leaves])
        return LeafGroups(
            constructors,
            np.flatnonzero(np.diff(constructors, prepend=-1)),
            families,
            np.flatnonzero(np.diff(families, prepend=-1)),
            np.array([[bool(name) for name in leaf] for leaf in leaves]),
        )

    @cached_property
    def heads(self) -> Mapping[str, int]:
        """Number of classes by head of the network: the constructor head, then one head per constructor."""
        sizes = {constructor: len(leaves) for constructor, leaves in self.leaves.items()}
        return {CONSTRUCTOR_HEAD: len(self.constructors) + self.other, **sizes}

    def same_outputs(self, tree: "LabelTree") -> bool:
        """Whether the heads of two networks have the same classes in the same order; equality ignores the order."""
        return (self.all_leaves, self.other) == (tree.all_leaves, tree.other)

    def clip(self, label: Label) -> Label:
        """Return the deepest node of the tree on the path of `label`; `Label()` if the tree lacks its constructor."""
        families = self.branches.get(label.constructor)
        if families is None:
            return Label()
        if label.family not in families:
            return Label(label.constructor)
        if label.model not in families[label.family]:
            return Label(label.constructor, label.family)
        return label

    def leaves_below(self, label: Label) -> tuple[int, ...]:
        """Return the classes, of the head of `label.constructor`, at or below the node `label`."""
        return tuple(
            index
            for index, leaf in enumerate(self.leaves[label.constructor])
            if all(not name or name == leaf_name for name, leaf_name in zip(label, leaf, strict=True))
        )


def _group_numbers(names: Sequence[tuple[str, ...]]) -> NDArray[np.intp]:
    """Assign numbers to names in order of appearance; equal names get the same number."""
    numbers: dict[tuple[str, ...], int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])
