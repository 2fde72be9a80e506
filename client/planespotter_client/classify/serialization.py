"""Serialization of results: the columns and values that CSV, JSON lines and Parquet share."""

import csv
import io
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planespotter_client import PathNode, PhotoResult

LEVELS = ("constructor", "family", "model")


def _with_probability(columns: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for column in columns for name in (column, f"{column}_probability"))


COLUMNS = (
    "file",
    "time",
    "level",
    "name",
    "probability",
    *_with_probability(LEVELS),
    *_with_probability(f"best_guess_{level}" for level in LEVELS),
    "candidates",
    "network",
    "error",
)
# The id of a video frame is a media fragment, "clip.mp4#t=12.500"; its time has a separate column. A frame of a live
# stream has no time in a video, but a time of day: "rtsp://camera#t=clock:2026-11-30T08:49:40.120+00:00".
FRAME_COLUMNS = ("file", "seconds", *COLUMNS[1:])
# Columns of a run with a prior: what it used, and the path that the network predicts without it.
PRIOR_COLUMNS = ("evidence", *_with_probability(f"unadjusted_{level}" for level in LEVELS))
# Column of a Parquet file: the probability of every leaf by the network alone, from which `planespotter decide` decides
# again. As text it would be longer than the rest of the row.
LEAF_PROBABILITIES = "leaf_probabilities"
TIME_FRAGMENT = "#t="
CLOCK = "clock:"


def frame_id(video: str, time: float | str) -> str:
    """Return the id of a frame of `video`: at a time in seconds, or at an ISO 8601 time of day of a live stream."""
    return f"{video}{TIME_FRAGMENT}" + (f"{CLOCK}{time}" if isinstance(time, str) else f"{time:.3f}")


def now() -> str:
    """Return the current local time with its UTC offset, in ISO 8601 with milliseconds."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def to_row(result: "PhotoResult", columns: tuple[str, ...] = COLUMNS, time: str = "") -> dict[str, Any]:
    """Return `result` as values by column.

    Constructor, family and model are filled down to the confidence level, and `best_guess_...` along the whole path; a
    level below the end of the label tree is None. A failed photo has only its file (and time) and the error.

    Args:
        result: The result of a photo or a frame.
        columns: COLUMNS or FRAME_COLUMNS, and more of the columns above.
        time: When the result arrived, in ISO 8601; a frame of a live stream has its own time.
    """
    values: dict[str, Any] = {"file": result.photo_id, "time": time}
    if "seconds" in columns:
        video, _, at = result.photo_id.rpartition(TIME_FRAGMENT)
        if at.startswith(CLOCK):
            values = {"file": video, "seconds": None, "time": at.removeprefix(CLOCK)}
        else:
            values = {"file": video, "seconds": float(at), "time": time}
    prediction = result.prediction
    if prediction is None:
        return {**values, "error": str(result.error)}
    values |= {
        "level": prediction.level.value,
        "name": prediction.name,
        "probability": round(prediction.probability, 6),
    }
    nodes = _by_level(prediction.path)
    for prefix in ("", "best_guess_"):
        for level, node in nodes.items():
            shown = node if node and (prefix or node.level <= prediction.level) else None
            values[f"{prefix}{level}"] = shown and shown.name
            values[f"{prefix}{level}_probability"] = shown and round(shown.probability, 6)
    values["candidates"] = [
        {**candidate.to_dict(), "probability": round(candidate.probability, 6)} for candidate in prediction.candidates
    ]
    values["network"] = f"{prediction.model_name} {prediction.model_version}".strip()
    if "evidence" in columns:
        values["evidence"] = prediction.evidence
        for level, node in _by_level(prediction.network_path).items():
            values[f"unadjusted_{level}"] = node and node.name
            values[f"unadjusted_{level}_probability"] = node and round(node.probability, 6)
    if LEAF_PROBABILITIES in columns and prediction.leaf_probabilities is not None:
        values[LEAF_PROBABILITIES] = [float(f"{leaf:.4g}") for leaf in prediction.leaf_probabilities]
    return values


def _by_level(path: "Iterable[PathNode]") -> "dict[str, PathNode | None]":
    nodes = {node.level.value: node for node in path}
    return {level: nodes.get(level) for level in LEVELS}


def confident_names(row: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the confident names in `row`, constructor first; None if the photo failed."""
    return tuple(str(row[level]) for level in LEVELS if row.get(level)) if row.get("level") else None


def photo_key(row: Mapping[str, Any], folder: str = "") -> str:
    """Return the key of the photo or frame that `row` describes: the same for each path of the photo's folder.

    Args:
        row: Its file and, for a frame, seconds or time.
        folder: Folder that a relative path is relative to; the current one if empty.
    """
    folder = folder or os.getcwd()  # noqa: PTH109  (a Path takes ten times as long)
    name = str(row["file"])
    if "://" not in name:
        parent, base = os.path.split(os.path.normpath(name))
        name = os.path.join(_real_folder(os.path.join(folder, parent)), base)  # noqa: PTH118
    if "seconds" not in row:
        return name
    seconds = row["seconds"]
    return frame_id(name, str(row.get("time", "")) if seconds in (None, "") else float(seconds))


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def csv_cells(row: dict[str, Any], columns: tuple[str, ...]) -> list[str]:
    """Return the cells of `row` in the order of `columns`. Probabilities have six decimals, never 7.1e-05."""
    cells = {name: f"{value:.6f}" if isinstance(value, float) else value for name, value in row.items()}
    if row.get("seconds") is not None:
        cells["seconds"] = f"{row['seconds']:.3f}"
    cells["candidates"] = "; ".join(f"{leaf['name']} {leaf['probability']:.6f}" for leaf in row.get("candidates", ()))
    return [cells.get(column) or "" for column in columns]


def csv_line(cells: Iterable[str], delimiter: str = ",", line_end: str = "\n") -> str:
    """Return `cells` as a CSV row with its line end."""
    cells = list(cells)
    # QUOTE_MINIMAL leaves a carriage return unquoted, and the row cannot be read again.
    has_return = any("\r" in cell for cell in cells)
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=delimiter,
        lineterminator=line_end,
        quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL,
    )
    writer.writerow(cells)
    return text.getvalue()
