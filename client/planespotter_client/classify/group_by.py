"""What the photos of a group share, as the option --group names it."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GroupBy:
    """Photos of a group share a folder, the part of the name before a counter, or lie within seconds of each other.

    Attributes:
        kind: "folder", "prefix" or "seconds".
        seconds: Maximum time from one photo to the next of the same folder or video; None for the other kinds.
    """

    kind: str
    seconds: float | None = None

    def __str__(self) -> str:
        return self.kind if self.seconds is None else f"{self.kind}:{self.seconds:g}"


def parse_group(text: str) -> GroupBy:
    """Return what --group names: "folder", "prefix" or "seconds:N".

    Raises:
        ValueError: It names something else.
    """
    if text in ("folder", "prefix"):
        return GroupBy(text)
    kind, _, number = text.partition(":")
    try:
        seconds = float(number)
    except ValueError:
        seconds = math.nan
    if kind != "seconds" or not 0 < seconds < math.inf:
        raise ValueError(f"{text!r} is not a group: write folder, prefix or seconds:N, such as seconds:5.")
    return GroupBy(kind, seconds)
