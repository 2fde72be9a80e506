"""Serialization of results: the columns and values that CSV, JSON lines and Parquet share."""

import csv
import io
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planespotter_client import PhotoResult

COLUMNS = (
    "file",
    "level",
    "constructor",
    "constructor_probability",
    "family",
    "family_probability",
    "model",
    "model_probability",
    "candidates",
    "error",
)
# The id of a video frame is a media fragment, "clip.mp4#t=12.500"; its time has a separate column.
FRAME_COLUMNS = ("file", "seconds", *COLUMNS[1:])
TIME_FRAGMENT = "#t="


def frame_id(video: str, seconds: float) -> str:
    """Return the id of the frame of `video` at `seconds`."""
    return f"{video}{TIME_FRAGMENT}{seconds:.3f}"


def to_row(result: "PhotoResult", columns: tuple[str, ...] = COLUMNS) -> dict[str, Any]:
    """Return `result` as values by column.

    A level below the end of the label tree is None. A failed photo has only its file (and time) and the error.
    """
    values: dict[str, Any] = {"file": result.photo_id}
    if columns is FRAME_COLUMNS:
        video, _, seconds = result.photo_id.rpartition(TIME_FRAGMENT)
        values = {"file": video, "seconds": float(seconds)}
    prediction = result.prediction
    if prediction is None:
        return {**values, "error": str(result.error)}
    values["level"] = prediction.level.value
    nodes = {"constructor": prediction.constructor, "family": prediction.family, "model": prediction.model}
    for level, node in nodes.items():
        values[level] = node and node.name
        values[f"{level}_probability"] = node and round(node.probability, 6)
    values["candidates"] = [
        {**candidate.to_dict(), "probability": round(candidate.probability, 6)} for candidate in prediction.candidates
    ]
    return values


def photo_key(row: dict[str, Any]) -> str:
    """Return the key of the photo or frame that `row` describes: the same for "a.jpg" and "./a.jpg"."""
    name = os.path.normpath(row["file"])
    return name if row.get("seconds") in (None, "") else frame_id(name, float(row["seconds"]))


def csv_cells(row: dict[str, Any], columns: tuple[str, ...]) -> list[str]:
    """Return the cells of `row` in the order of `columns`. Probabilities have six decimals, never 7.1e-05."""
    cells = {name: f"{value:.6f}" if isinstance(value, float) else value for name, value in row.items()}
    if "seconds" in row:
        cells["seconds"] = f"{row['seconds']:.3f}"
    cells["candidates"] = "; ".join(f"{leaf['name']} {leaf['probability']:.6f}" for leaf in row.get("candidates", ()))
    return [cells.get(column) or "" for column in columns]


def csv_line(cells: Iterable[str]) -> str:
    """Return `cells` as a CSV row with its line end."""
    cells = list(cells)
    # QUOTE_MINIMAL leaves a carriage return unquoted, and the row cannot be read again.
    has_return = any("\r" in cell for cell in cells)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL)
    writer.writerow(cells)
    return text.getvalue()
