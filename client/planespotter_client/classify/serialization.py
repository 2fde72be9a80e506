"""An answer as values: what every format writes."""

import csv
import io
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planespotter_client import PhotoAnswer

COLUMNS = (
    "file",
    "level",
    "constructor",
    "constructor_probability",
    "family",
    "family_probability",
    "model",
    "model_probability",
    "alternatives",
    "error",
)
# A frame is named as a fragment of its video, "clip.mp4#t=12.500", and has its time in a column of its own.
FRAME_COLUMNS = ("file", "seconds", *COLUMNS[1:])
TIME = "#t="


def frame_id(video: str, seconds: float) -> str:
    """Return the name of the frame of `video` at `seconds`."""
    return f"{video}{TIME}{seconds:.3f}"


def row(answer: "PhotoAnswer", columns: tuple[str, ...] = COLUMNS) -> dict[str, Any]:
    """Return `answer` as values for programs: None where the label tree goes no deeper, nothing where it failed."""
    cells: dict[str, Any] = {"file": answer.photo_id}
    if columns is FRAME_COLUMNS:
        video, _, seconds = answer.photo_id.rpartition(TIME)
        cells = {"file": video, "seconds": float(seconds)}
    said = answer.classification
    if said is None:
        return {**cells, "error": str(answer.error)}
    cells["level"] = said.level.value
    for level, label in (("constructor", said.constructor), ("family", said.family), ("model", said.model)):
        cells[level] = label.name or None
        cells[f"{level}_probability"] = round(label.probability, 6) if label.name else None
    cells["alternatives"] = [
        {**leaf.to_dict(), "model": leaf.model or None, "probability": round(leaf.probability, 6)}
        for leaf in said.alternatives
    ]
    return cells


def identity(written: dict[str, Any]) -> str:
    """Return which photo or frame a row that was written is about, by the same text for "a.jpg" and "./a.jpg"."""
    name = os.path.normpath(written["file"])
    return name if written.get("seconds") in (None, "") else frame_id(name, float(written["seconds"]))


def csv_cells(values: dict[str, Any], columns: tuple[str, ...]) -> list[str]:
    """Return the cells of a row in the order of `columns`."""
    cells = {name: f"{cell:.6f}" if isinstance(cell, float) else cell for name, cell in values.items()}
    if "seconds" in values:
        cells["seconds"] = f"{values['seconds']:.3f}"
    # Never as 7.1e-05.
    cells["alternatives"] = "; ".join(
        f"{leaf['name']} {leaf['probability']:.6f}" for leaf in values.get("alternatives", ())
    )
    return [cells.get(column) or "" for column in columns]


def csv_line(cells: Iterable[str]) -> str:
    """Return `cells` as a row of CSV with its line end."""
    cells = list(cells)
    # The minimum leaves a carriage return without quotes, and cannot be read again.
    returns = any("\r" in cell for cell in cells)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL)
    writer.writerow(cells)
    return text.getvalue()
