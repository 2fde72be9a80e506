"""Type texts from arguments, files and standard input, and their labels as text, JSON lines and CSV."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from planespotter_scraping.catalog import CatalogError
from planespotter_scraping.labels.parser import Label, infer_constructor, parse_label
from planespotter_scraping.labels.suggestions import suggest

STDIN = "-"
COLUMNS = ("text", "constructor", "family", "model", "icao", "roles", "suggestions")


def read_types(types: Iterable[str], file: Path | None) -> Iterator[str]:
    """Yield the type texts of arguments and of a file, each as soon as it is read.

    Args:
        types: Type texts; "-" stands for the lines of standard input.
        file: File with one text per line, in UTF-8; "-" is standard input. Blank lines are skipped.

    Raises:
        CatalogError: The file cannot be read, or a line is not UTF-8.
    """
    for text in types:
        if text == STDIN:
            yield from _lines(sys.stdin.buffer, "Standard input")
        else:
            yield text
    if file is not None and str(file) == STDIN:
        yield from _lines(sys.stdin.buffer, "Standard input")
    elif file is not None:
        try:
            with file.open("rb") as lines:
                yield from _lines(lines, str(file))
        except OSError as error:
            raise CatalogError(f"{file} cannot be read: {error.strerror}. Check the path.") from None


def _lines(lines: Iterable[bytes], name: str) -> Iterator[str]:
    """Yield the lines that are not blank, without the line end and a byte-order mark."""
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise CatalogError(f"{name} is not UTF-8 text (line {number}). Save it in UTF-8.") from None
        if text.strip():
            yield text


def label_of(text: str, constructor: str | None) -> Label:
    """Return the label of a text.

    Args:
        text: A type text.
        constructor: Its constructor; None to infer it.
    """
    return parse_label(infer_constructor(text) if constructor is None else constructor, text)


def suggestions(label: Label) -> tuple[str, ...]:
    """Return the types that the text of a label without any meaning may stand for."""
    return () if label.path.family or label.icao or label.roles else suggest(label.text)


def as_text(label: Label) -> str:
    """Return a label as two lines: the path, and how the text was parsed."""
    path = " > ".join(name for name in label.path if name) or "unknown"
    marks = ", ".join([*([label.icao] if label.icao else []), *label.roles])
    close = suggestions(label)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"{label.text}: {path}{f' ({marks})' if marks else ''}\n    {' '.join(label.explanation)}{hint}"


def as_json(label: Label) -> str:
    """Return a label as a JSON object; what is unknown is null."""
    names = {level: name or None for level, name in label.path._asdict().items()}
    values = {"icao": label.icao or None, "roles": label.roles, "suggestions": suggestions(label)}
    return json.dumps({"text": label.text, **names, **values}, ensure_ascii=False)


def as_csv(label: Label) -> str:
    """Return a label as a row of a CSV file with COLUMNS; several roles or suggestions are separated by semicolons."""
    values = (*(name or "" for name in label.path), label.icao, ";".join(label.roles), ";".join(suggestions(label)))
    return csv_row((label.text, *values))


def csv_row(values: Iterable[str]) -> str:
    """Return values as a row of a CSV file, without a line end."""
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(values)
    return row.getvalue()
