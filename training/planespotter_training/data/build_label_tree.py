"""Build the label tree from training labels: what has too few photos falls back to its parent."""

from collections import Counter
from collections.abc import Iterable, Sequence

from planespotter_models.label_tree import Label, LabelTree
from planespotter_scraping.catalog import count_noun


def extend_label_tree(tree: LabelTree, further: LabelTree) -> LabelTree:
    """Return a tree with the further families and models of another one.

    Its constructors, its `other` output and the order of its classes stay; a family that is a leaf stays one.
    """
    branches: dict[str, dict[str, list[str]]] = {}
    for constructor, families in tree.branches.items():
        new = further.branches.get(constructor, {})
        branches[constructor] = {family: list(models) for family, models in families.items()}
        for family, models in new.items():
            known = branches[constructor].get(family)
            if known is None:
                branches[constructor][family] = list(models)
            elif known:
                known += [model for model in models if model not in known]
    return LabelTree(branches, tree.other)


def build_label_tree(
    labels: Iterable[Label], constructors: Sequence[str], min_photos: int, *, other: bool = False
) -> tuple[LabelTree, list[str]]:
    """Build the tree of the families and models with at least `min_photos` photos.

    A model that is the only one of its family with enough photos does not become a leaf if other photos of that family
    have other labels: with one model only, all 737s would be predicted as 737-800. The same holds for the only family
    of a constructor.

    Args:
        labels: The labels of the training photos; those of other constructors are ignored.
        constructors: The constructors of the tree, in the order of the head's outputs.
        min_photos: Minimum number of photos of a family or model.
        other: Whether the constructor head gets an output for everything else.

    Returns:
        The tree, and a note for each family or model that falls back to its parent.
    """
    counts = Counter(label for label in labels if label.constructor in constructors)
    branches: dict[str, dict[str, list[str]]] = {}
    notes = []
    for constructor in constructors:
        branches[constructor] = {}
        families = sorted({label.family for label in counts if label.constructor == constructor and label.family})
        for family in families:
            models = {label.model: n for label, n in counts.items() if label[:2] == (constructor, family)}
            total = sum(models.values())
            if total < min_photos:
                notes.append(
                    f"{constructor} {family}: {count_noun(total, 'photo')}, under {min_photos}; counts as {constructor}"
                )
                continue
            enough = sorted(model for model, n in models.items() if model and n >= min_photos)
            if len(enough) == 1 and len(models) > 1:
                notes.append(
                    f"{constructor} {enough[0]}: the only model of {family} with {min_photos} photos or more, while "
                    f"{total - models[enough[0]]} are of other or unnamed models; counts as {family}"
                )
                enough = []
            else:
                notes.extend(
                    f"{constructor} {model}: {count_noun(n, 'photo')}, under {min_photos}; counts as {family}"
                    for model, n in sorted(models.items())
                    if model and n < min_photos
                )
            branches[constructor][family] = enough
        (only, *more) = branches[constructor] or [""]
        elsewhere = sum(n for label, n in counts.items() if label.constructor == constructor and label.family != only)
        if only and not more and len(branches[constructor][only]) < 2 and elsewhere:
            notes.append(
                f"{constructor} {only}: the only family of {constructor} with {min_photos} photos or more, while "
                f"{elsewhere} are of other or unnamed families; counts as {constructor}"
            )
            branches[constructor] = {}
    return LabelTree(branches, other), notes
