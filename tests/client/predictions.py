"""Predictions as the client returns them."""

from planespotter_client import Level, PathNode

LEVELS = (Level.CONSTRUCTOR, Level.FAMILY, Level.MODEL)


def path_of(*labels: tuple[str, float]) -> tuple[PathNode, ...]:
    """Return a path of names with their probabilities, constructor first."""
    return tuple(PathNode(level, *label) for level, label in zip(LEVELS, labels, strict=False))
