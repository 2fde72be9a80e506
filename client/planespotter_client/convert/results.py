"""Read results of `classify` from any of its formats."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planespotter_client.classify import serialization
from planespotter_client.classify.answer_log import AnswerLogError, read_csv_rows, read_json_rows

REQUIRED = ("file", "level", "name", "constructor", "best_guess_constructor", "error")
JSON_SUFFIXES = (".jsonl", ".ndjson")


class ConvertError(Exception):
    """The results cannot be converted; the text says why and how to fix it."""


@dataclass(frozen=True)
class Row:
    """The result of a photo.

    Attributes:
        file: Path of the photo as the results have it.
        values: All columns.
        confident: Names down to the confidence level, constructor first; empty if unknown or failed.
        guess: Names of the whole path; empty if failed.
        probability: Of the last name of `guess`, 0 to 1; 0 if failed.
    """

    file: str
    values: Mapping[str, Any]
    confident: tuple[str, ...]
    guess: tuple[str, ...]
    probability: float

    @property
    def network(self) -> str:
        """Name and version of the model."""
        return str(self.values.get("network") or "")


def read_results(source: Path) -> Iterator[Row]:
    """Yield the results in a CSV, JSON lines or Parquet file of `classify`.

    Raises:
        ConvertError: The file is not one of these, or lacks a column.
    """
    try:
        for values in _values(source):
            yield _row(values)
    except AnswerLogError as error:
        raise ConvertError(
            f"{source} does not have results of `planespotter classify`, which have the columns {', '.join(REQUIRED)}."
        ) from error


def _values(source: Path) -> Iterator[Mapping[str, Any]]:
    suffix = source.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_values(source)
        return
    if suffix not in (".csv", *JSON_SUFFIXES):
        raise ConvertError(
            f"{source} ends in none of .csv, .jsonl, .ndjson and .parquet: name a file of `classify --out`."
        )
    with source.open("rb") as file:
        if suffix == ".csv":
            rows = read_csv_rows(source, file, REQUIRED)
        else:
            is_video = b'"seconds":' in file.readline()
            file.seek(0)
            rows = read_json_rows(source, file, ("seconds",) if is_video else ())
        for row in rows:
            if row.values is not None:
                yield row.values


def _parquet_values(source: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(source) as file:
            if missing := [name for name in REQUIRED if name not in file.schema_arrow.names]:
                raise ConvertError(
                    f"{source} has no column {missing[0]}: name a file of `planespotter classify --out`."
                )
            names = [name for name in file.schema_arrow.names if name != serialization.LEAF_PROBABILITIES]
            for batch in file.iter_batches(columns=names):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise _unreadable(source, error) from error


def _row(values: Mapping[str, Any]) -> Row:
    guess = tuple(
        str(values[f"best_guess_{level}"]) for level in serialization.LEVELS if values.get(f"best_guess_{level}")
    )
    probability = 0.0
    if guess:
        with contextlib.suppress(ValueError):
            probability = float(values.get(f"best_guess_{serialization.LEVELS[len(guess) - 1]}_probability") or 0)
    return Row(str(values["file"]), values, serialization.confident_names(values) or (), guess, probability)


def leaves_of(source: Path) -> list[list[str]]:
    """Return the paths of all types of the model, if the results have them: only Parquet does. Raises ConvertError."""
    if source.suffix.lower() != ".parquet":
        return []
    import pyarrow
    import pyarrow.parquet

    from planespotter_client.classify.parquet import METADATA

    try:
        text = (pyarrow.parquet.read_schema(source).metadata or {}).get(METADATA)
    except pyarrow.ArrowException as error:
        raise _unreadable(source, error) from error
    return list(json.loads(text)["leaves"]) if text else []


def _unreadable(source: Path, error: Exception) -> ConvertError:
    return ConvertError(f"{source} cannot be read as a Parquet file: {str(error).rstrip('.')}.")


def check_photos(row: Row, source: Path) -> None:
    """Raise ConvertError if `row` is a frame of a video, for a format that describes photos."""
    if "seconds" in row.values:
        raise ConvertError(f"{source} has frames of a video, and this format is for photos. Use --to excel, or CSV.")


def locate(row: Row, root: Path) -> Path:
    """Return where the photo of `row` is: its path in the results is relative to `root`."""
    return Path(os.path.normpath(root / row.file))
