"""Decision log: an append-only file of what reviewers decided, one JSON object and one fsync for each decision.

A kill at any moment loses none of the acknowledged decisions; a partial last line is removed when the log is opened
again. An undo is appended too, so the log shows who changed their mind, and when.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from planespotter_scraping.catalog import NO_AIRCRAFT
from planespotter_scraping.labels.parser import label_path
from planespotter_scraping.reviewing.photos import ReviewError

FILE = "review.jsonl"
ACCEPT, CORRECT, UNKNOWN, NONE, SKIP, UNDO = "accept", "correct", "unknown", "no-aircraft", "skip", "undo"
DECISIONS = (ACCEPT, CORRECT, UNKNOWN, NONE, SKIP)


@dataclass(frozen=True)
class Decision:
    """What a reviewer decided about a photo.

    Attributes:
        photo: Key of the photo.
        decision: accept, correct, unknown (the photo does not show what it is), no-aircraft, skip or undo.
        by: Name of the reviewer.
        at: When, in ISO 8601, UTC.
        shown: The path that was proposed.
        is_label: Whether the proposal was a label.
        confident: How many levels of the predicted path were confident; None without a prediction.
        constructor: Constructor of a correction.
        aircraft_type: Type of a correction.
    """

    photo: str
    decision: str
    by: str
    at: str
    shown: tuple[str, ...] = ()
    is_label: bool = False
    confident: int | None = None
    constructor: str = ""
    aircraft_type: str = ""

    @property
    def label(self) -> tuple[str, ...]:
        """The path that the reviewer confirmed or gave; empty for unknown and skipped photos."""
        if self.decision == ACCEPT:
            return self.shown
        if self.decision == NONE:
            return (NO_AIRCRAFT,)
        path = label_path(self.constructor, self.aircraft_type) if self.decision == CORRECT else ()
        return tuple(name for name in path if name)


class DecisionLog:
    """The open log of a review.

    Args:
        folder: Folder of the catalog in which the review ends; it must exist, and its lock be held.

    Raises:
        ReviewError: The log cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.decisions: dict[str, Decision] = {}
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise ReviewError(f"{self.path} cannot be written: {error.strerror}. Check its permissions.") from None
        content = self.path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        if complete != content:
            os.ftruncate(self._file, len(complete))
        for number, line in enumerate(complete.splitlines(), start=1):
            self._count(_decision(self.path, number, line))

    def append(self, decision: Decision) -> None:
        """Write a decision to the disk.

        Raises:
            ReviewError: It cannot be written, such as on a full disk; then the log is as it was.
        """
        line = json.dumps({name: value for name, value in asdict(decision).items() if value not in ("", None, ())})
        size = os.fstat(self._file).st_size
        try:
            data = f"{line}\n".encode()
            if os.write(self._file, data) != len(data):
                raise OSError(0, "the disk is full")
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, size)
            raise ReviewError(f"The decision was not saved in {self.path.name}: {error.strerror}.") from None
        self._count(decision)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _count(self, decision: Decision) -> None:
        self.decisions.pop(decision.photo, None)  # the latest comes last
        if decision.decision != UNDO:
            self.decisions[decision.photo] = decision


def now() -> str:
    """Return the current time as the log writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _decision(path: Path, number: int, line: bytes) -> Decision:
    """Parse a line of the log. Raises ReviewError if it is invalid."""
    try:
        values: Mapping[str, Any] = json.loads(line)
        decision = Decision(**{**values, "shown": tuple(values.get("shown", ()))})
        if decision.decision not in (*DECISIONS, UNDO):
            raise ValueError(decision.decision)
    except (ValueError, TypeError):
        raise ReviewError(
            f"Line {number} of {path} is not a decision: {line[:80]!r}. Remove the line; the others stay valid."
        ) from None
    return decision
