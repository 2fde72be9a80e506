"""Prediction files: read what `planespotter classify --out` and the page write, as CSV, JSON lines or Parquet."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planespotter_scraping.catalog.label_files import decode_text, delimiter_of
from planespotter_scraping.catalog.store import LABEL_PATH, CatalogError

NEEDED = ("file", *LABEL_PATH, "probability")
BEST_GUESS = "best_guess_"
UNKNOWN = "unknown"
CANDIDATE = re.compile(r"(.+?) ([01](?:[.,]\d+)?(?:e-\d+)?)")
FORMULA = re.compile(r"'(?=[=+\-@\t\r])")  # how the page's CSV marks a name that a spreadsheet would evaluate


@dataclass(frozen=True)
class PredictionRow:
    """The prediction of a photo.

    Attributes:
        file: Path of the photo, as the file of predictions names it.
        confident: Path down to the confidence level, constructor first; empty if the prediction is unknown.
        probability: Probability of the confident path, from 0 to 1; None if the cell is not a probability.
        best_guess: The whole path, at any confidence; the confident one if the file has no best guess.
        best_probability: Probability of the whole path; None if the file does not have it.
        constructor_probability: Probability of the constructor of the whole path; None if the file does not have it.
        candidates: Probable types with their probabilities, the most probable first.
        correction: What a user wrote in the column `correction`, "" if nothing.
        error: Why the photo failed, "" if it did not.
    """

    file: str
    confident: tuple[str, ...]
    probability: float | None
    best_guess: tuple[str, ...]
    best_probability: float | None
    constructor_probability: float | None = None
    candidates: tuple[tuple[str, float], ...] = ()
    correction: str = ""
    error: str = ""

    @property
    def confidence(self) -> float:
        """Probability of the deepest name that the file has; 0 without any."""
        return self.best_probability if self.best_probability is not None else self.probability or 0.0


def read_prediction_file(path: Path) -> list[PredictionRow]:
    """Read a file of predictions.

    Args:
        path: File that ends in .jsonl or .parquet; any other is CSV, in any encoding and with any separator in which a
            spreadsheet saves it.

    Returns:
        The predictions in the order of the file, failed photos included.

    Raises:
        CatalogError: The file cannot be read, or is not a file of predictions.
    """
    try:
        names, rows = _READERS.get(path.suffix.lower(), _read_csv)(path)
    except OSError as error:
        raise CatalogError(f"The predictions in {path} cannot be read: {error.strerror}. Check the path.") from None
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise CatalogError(
            f"{path} is not a CSV file of predictions: it has no column {missing[0]!r}. Make it with: planespotter "
            "classify CATALOG --out predictions.csv"
        )
    return [_prediction(row) for row in rows if row.get("file")]


def contradict(path: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return whether two paths differ at a level that both name."""
    return any(name != different for name, different in zip(path, other, strict=False) if name and different)


def _read_csv(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    text = decode_text(path.read_bytes())
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter_of(text))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise CatalogError(f"{path} is not CSV: {error}. Classify the photos again, or export it as CSV.") from None
    return [name.strip() for name in reader.fieldnames or ()], rows


def _read_json_lines(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise CatalogError(
                f"Line {number} of {path} is not a JSON object. Remove it, or classify the photos again."
            )
        rows.append(row)
    # A row of a failed photo has only its error.
    return [*NEEDED] if any("level" in row or "error" in row for row in rows) else [], rows


def _read_parquet(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    import pandas as pd

    path.open("rb").close()  # a file that cannot be opened is reported as such
    try:
        frame = pd.read_parquet(path)
    except ImportError:
        raise CatalogError(
            f"Reading {path} needs the package 'pyarrow', which comes with the 'parquet' extra. Install it, or "
            "classify the photos to a file that ends in .csv."
        ) from None
    except Exception as error:  # pyarrow has several classes for it
        raise CatalogError(f"{path} is not a Parquet file: {error}. Classify the photos again.") from None
    return [str(name) for name in frame.columns], [
        {str(name): value for name, value in row.items()} for row in frame.to_dict("records")
    ]


_READERS = {".jsonl": _read_json_lines, ".parquet": _read_parquet}


def _prediction(row: Mapping[str, Any]) -> PredictionRow:
    confident = _path(row, "")
    best_guess = _path(row, BEST_GUESS) or confident
    deepest = f"{BEST_GUESS}{LABEL_PATH[len(best_guess) - 1]}_probability" if best_guess else ""
    return PredictionRow(
        file=FORMULA.sub("", _text(row.get("file")), count=1),
        confident=confident,
        probability=_number(row.get("probability")),
        best_guess=best_guess,
        best_probability=_number(row.get(deepest)),
        constructor_probability=_number(row.get(f"{BEST_GUESS}constructor_probability")),
        candidates=tuple(_candidates(row.get("candidates"))),
        correction=_text(row.get("correction")),
        error=_text(row.get("error")),
    )


def _path(row: Mapping[str, Any], prefix: str) -> tuple[str, ...]:
    """Return the names of a path down to the first level without one."""
    names = [_text(row.get(f"{prefix}{level}")) for level in LABEL_PATH]
    return tuple(names[: names.index("")] if "" in names else names)


def _candidates(value: Any) -> Iterator[tuple[str, float]]:
    """Yield the candidates of a cell: "Boeing 737-800 0.91; Boeing 737-700 0.05", or objects with a name."""
    if isinstance(value, str):
        for text in value.split("; "):
            if match := CANDIDATE.fullmatch(text.strip()):
                yield match[1], _number(match[2]) or 0.0
        return
    for item in value if hasattr(value, "__iter__") else ():
        if isinstance(item, Mapping) and item.get("name"):
            yield _text(item["name"]), _number(item.get("probability")) or 0.0


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    """Return a probability; None if the cell is empty or not one. A spreadsheet may write a decimal comma."""
    try:
        number = float(value.replace(",", ".")) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and 0 <= number <= 1 else None
