"""How well answers match labels, for each source of photos on its own and for all together."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from planespotter_training.bundle import (
    Answer,
    Calibration,
    Label,
    LabelTree,
    Level,
    Metric,
    answer,
    leaf_probabilities,
)

DEPTH = {Level.UNKNOWN: 0, Level.CONSTRUCTOR: 1, Level.FAMILY: 2, Level.MODEL: 3}


def measure(
    tree: LabelTree,
    calibration: Calibration,
    outputs: Mapping[str, NDArray[np.floating]],
    labels: Sequence[Label],
    sources: Sequence[str],
) -> list[Metric]:
    """Return the metrics of n photos: `outputs` are log-probabilities [n, classes] per head.

    Those of all photos come first, with the source ""; then those of each source, "(none)" where it is not known.

    constructor_accuracy             the path's constructor is right, of photos whose constructor is in the tree
    family_accuracy                  constructor and family are right, of photos whose family is in the tree
    type_accuracy                    the whole path is right, of photos that are labelled down to a leaf of the tree
    type_accuracy_given_constructor  the same if the first stage were always right
    sure_share                       answered at least with a constructor, of photos whose constructor is in the tree
    sure_accuracy                    no level that the answer is sure of is wrong, of those
    unknown_share                    answered with unknown, of photos whose constructor is not in the tree
    """
    answers = answer(tree, calibration, outputs)
    given = _best_leaf_given_constructor(tree, calibration, outputs, labels)
    by_source: dict[str, list[int]] = {}
    for index, source in enumerate(sources):
        by_source.setdefault(source or "(none)", []).append(index)
    places = {"": list(range(len(labels))), **dict(sorted(by_source.items()))}
    return [
        Metric(source, name, sum(hits) / len(hits), len(hits))
        for source, indices in places.items()
        for name, hits in _hits(
            tree, [answers[i] for i in indices], [given[i] for i in indices], [labels[i] for i in indices]
        )
        if hits
    ]


def _hits(
    tree: LabelTree, answers: Sequence[Answer], given: Sequence[Label], labels: Sequence[Label]
) -> Iterator[tuple[str, list[bool]]]:
    leaves = {leaf for of_one in tree.leaves.values() for leaf in of_one}
    rows = [(answer, best, tree.clip(label), label) for answer, best, label in zip(answers, given, labels, strict=True)]
    inside = [(answer, truth, label) for answer, _, truth, label in rows if truth.constructor]
    # What is sure must not contradict what the label says, also where the tree does not go as deep as the label.
    sure = [(answer, label) for answer, _, label in inside if answer.level is not Level.UNKNOWN]
    at_leaf = [(answer, best, truth) for answer, best, truth, _ in rows if truth in leaves and truth.family]
    yield "constructor_accuracy", [answer.label.constructor == truth.constructor for answer, truth, _ in inside]
    yield "family_accuracy", [answer.label[:2] == truth[:2] for answer, truth, _ in inside if truth.family]
    yield "type_accuracy", [answer.label == truth for answer, _, truth in at_leaf]
    yield "type_accuracy_given_constructor", [best == truth for _, best, truth in at_leaf]
    yield "sure_share", [answer.level is not Level.UNKNOWN for answer, _, _ in inside]
    yield "sure_accuracy", [not contradicts(answer, label) for answer, label in sure]
    yield "unknown_share", [answer.level is Level.UNKNOWN for answer, _, truth, _ in rows if not truth.constructor]


def contradicts(answer: Answer, truth: Label) -> bool:
    """Return whether a level that `answer` is sure of differs from `truth`, where `truth` says anything."""
    depth = DEPTH[answer.level]
    return any(mine != theirs for mine, theirs in zip(answer.label[:depth], truth[:depth], strict=True) if theirs)


def _best_leaf_given_constructor(
    tree: LabelTree, calibration: Calibration, outputs: Mapping[str, NDArray[np.floating]], labels: Sequence[Label]
) -> list[Label]:
    probabilities = leaf_probabilities(tree, calibration.temperatures, outputs)
    return [
        tree.leaves[label.constructor][int(probabilities[label.constructor][index].argmax())]
        if label.constructor in tree.constructors
        else Label()
        for index, label in enumerate(labels)
    ]
