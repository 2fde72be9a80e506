"""Writers: results on standard output, as a table for people, or CSV or JSON lines for programs.

Each writer is a context manager that yields the function to call with each result.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from planespotter_client.classify import serialization
from planespotter_photos.counts import count_noun

if TYPE_CHECKING:
    from planespotter_client import PhotoResult

# Rows per table: after this many results a table is drawn, which bounds the memory.
TABLE_ROWS = 1_000

Write = Callable[["PhotoResult"], None]


class Format(StrEnum):
    """Output formats."""

    TABLE = "table"
    CSV = "csv"
    EXCEL = "excel"
    JSONL = "jsonl"
    PARQUET = "parquet"


@contextmanager
def json_lines(columns: tuple[str, ...]) -> Iterator[Write]:
    """Write one JSON object per line."""

    def write(result: "PhotoResult") -> None:
        row = serialization.to_row(result, columns, serialization.now())
        line = json.dumps(row, ensure_ascii=False)
        try:
            line.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:  # escape what the output cannot encode
            line = json.dumps(row)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    yield write


@contextmanager
def csv_lines(columns: tuple[str, ...]) -> Iterator[Write]:
    """Write a CSV header, then one row per result."""
    sys.stdout.write(serialization.csv_line(columns))

    def write(result: "PhotoResult") -> None:
        row = serialization.to_row(result, columns, serialization.now())
        sys.stdout.write(serialization.csv_line(serialization.csv_cells(row, columns)))
        sys.stdout.flush()

    yield write


@contextmanager
def excel_lines(columns: tuple[str, ...]) -> Iterator[Write]:
    """Write CSV with a byte order mark, by which Excel recognizes UTF-8."""
    sys.stdout.write("\ufeff")
    with csv_lines(columns) as write:
        yield write


@contextmanager
def table(columns: tuple[str, ...]) -> Iterator[Write]:
    """Draw a table, sorted by photo, at the end and after every 1,000 results."""
    results: list[PhotoResult] = []

    def write(result: "PhotoResult") -> None:
        results.append(result)
        if len(results) == TABLE_ROWS:
            draw()

    def draw() -> None:
        if results:
            Console().print(_table(sorted(results, key=lambda result: result.photo_id)))
            results.clear()

    try:
        yield write
    finally:  # Ctrl-C keeps the results so far
        draw()


def _table(results: "list[PhotoResult]") -> Table:
    from planespotter_client._types import percent

    with_candidates = any(result.prediction and result.prediction.candidates for result in results)
    drawn = Table()
    drawn.add_column("photo", overflow="fold")  # a truncated name is useless
    for heading in ("prediction", "constructor", "family", "model"):
        drawn.add_column(heading)
    if with_candidates:
        drawn.add_column("candidates")
    for result in results:
        prediction = result.prediction
        if prediction is None:
            drawn.add_row(escape(result.photo_id), "failed")
            continue
        labels = [
            f"{node.name} {percent(node.probability)}" if node else ""
            for node in (prediction.constructor, prediction.family, prediction.model)
        ]
        candidates = "; ".join(f"{leaf.name} {percent(leaf.probability)}" for leaf in prediction.candidates)
        cells = (result.photo_id, str(prediction), *labels, *([candidates] if with_candidates else []))
        drawn.add_row(*map(escape, cells))
    return drawn


def group_line(group: "Mapping[str, Any]") -> str:
    """Return "group camera/0815.jpg (5 photos): Airbus A320 (93 %)"."""
    from planespotter_client._types import percent

    what = f"{group['name']} ({percent(group['probability'])})"
    return f"group {group['group']} ({count_noun(group['photos'], 'photo')}): {what}"


def draw_groups(groups: "Sequence[Mapping[str, Any]]") -> None:
    """Draw a table of groups, sorted by name."""
    from planespotter_client._types import percent

    drawn = Table()
    drawn.add_column("group", overflow="fold")
    for heading in ("photos", "prediction", "best guess"):
        drawn.add_column(heading)
    for group in sorted(groups, key=lambda group: str(group["group"])):
        level = next(level for level in reversed(serialization.LEVELS) if group[f"best_guess_{level}"])
        guess = f"{group[f'best_guess_{level}']} {percent(group[f'best_guess_{level}_probability'])}"
        cells = (group["group"], str(group["photos"]), f"{group['name']} ({percent(group['probability'])})", guess)
        drawn.add_row(*map(escape, cells))
    if groups:
        Console().print(drawn)


@contextmanager
def text_lines(columns: tuple[str, ...]) -> Iterator[Write]:
    """Write "photo.jpg: Boeing 737-800 (94 %)" at once, for people who watch photos arrive."""

    def write(result: "PhotoResult") -> None:
        typer.echo(f"{result.photo_id}: {result.prediction or 'failed'}")

    yield write


@contextmanager
def discard(columns: tuple[str, ...]) -> Iterator[Write]:
    """Write nothing: the run only files photos."""
    yield lambda result: None
