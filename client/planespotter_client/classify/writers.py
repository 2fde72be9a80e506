"""Answers on standard output: a table for people, CSV and JSON lines for programs.

Each writer is a context that yields the function which takes the answers one by one.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from planespotter_client.classify import serialization

if TYPE_CHECKING:
    from planespotter_client import PhotoAnswer

# A table is drawn for so many answers at a time, so that memory is bounded.
TABLE_ROWS = 1_000

Write = Callable[["PhotoAnswer"], None]


class Format(StrEnum):
    """How answers are written."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


@contextmanager
def json_lines(columns: tuple[str, ...]) -> Iterator[Write]:
    """Write one JSON object a line."""

    def write(answer: "PhotoAnswer") -> None:
        values = serialization.row(answer, columns)
        line = json.dumps(values, ensure_ascii=False)
        try:
            line.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:  # JSON has its own way to write what the output cannot hold
            line = json.dumps(values)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    yield write


@contextmanager
def csv_lines(columns: tuple[str, ...]) -> Iterator[Write]:
    """Write a line of headings, then one for each answer."""
    sys.stdout.write(serialization.csv_line(columns))

    def write(answer: "PhotoAnswer") -> None:
        sys.stdout.write(serialization.csv_line(serialization.csv_cells(serialization.row(answer, columns), columns)))
        sys.stdout.flush()

    yield write


@contextmanager
def table(columns: tuple[str, ...]) -> Iterator[Write]:
    """Draw a table at the end, sorted; after every 1,000 answers if there are more."""
    answers: list[PhotoAnswer] = []

    def write(answer: "PhotoAnswer") -> None:
        answers.append(answer)
        if len(answers) == TABLE_ROWS:
            draw()

    def draw() -> None:
        if answers:
            Console().print(_table(sorted(answers, key=lambda answer: answer.photo_id)))
            answers.clear()

    try:
        yield write
    finally:  # Ctrl-C keeps what is done
        draw()


def _table(answers: "list[PhotoAnswer]") -> Table:
    from planespotter_client._types import percent

    with_alternatives = any(answer.classification and answer.classification.alternatives for answer in answers)
    drawn = Table()
    drawn.add_column("photo", overflow="fold")  # a name is good for something only if it is whole
    for heading in ("answer", "constructor", "family", "model"):
        drawn.add_column(heading)
    if with_alternatives:
        drawn.add_column("alternatives")
    for answer in answers:
        said = answer.classification
        if said is None:
            drawn.add_row(escape(answer.photo_id), "failed")
            continue
        labels = [
            f"{label.name} {percent(label.probability)}" if label.name else ""
            for label in (said.constructor, said.family, said.model)
        ]
        leaves = "; ".join(f"{leaf.name} {percent(leaf.probability)}" for leaf in said.alternatives)
        cells = (answer.photo_id, str(said), *labels, *([leaves] if with_alternatives else []))
        drawn.add_row(*map(escape, cells))
    return drawn


@contextmanager
def sentences(columns: tuple[str, ...]) -> Iterator[Write]:
    """Write "photo.jpg: Boeing 737-800 (94 %)" at once: what people read while photos arrive."""

    def write(answer: "PhotoAnswer") -> None:
        typer.echo(f"{answer.photo_id}: {answer.classification or 'failed'}")

    yield write


@contextmanager
def nothing(columns: tuple[str, ...]) -> Iterator[Write]:
    """Write nothing: filing the photos is all that was asked for."""
    yield lambda answer: None
