"""Excel workbook: a sheet with the results, and one with the number of photos by type."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import xlsxwriter

from planespotter_client.classify import serialization
from planespotter_client.commands.atomic_write import atomic_write
from planespotter_client.convert.results import ConvertError, Row

MAX_ROWS = 1_048_575
"""Rows of a sheet besides the header."""


def write_workbook(rows: Iterable[Row], source: Path, out: Path) -> int:
    """Write a workbook; return the number of rows.

    Raises:
        ConvertError: There are more results than a sheet has rows.
    """
    counts: Counter[str] = Counter()
    number = 0
    head, tail = _until_prediction(rows)
    with atomic_write(out) as file:
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        with xlsxwriter.Workbook(file, options) as book:
            bold, percent = book.add_format({"bold": True}), book.add_format({"num_format": "0.0%"})
            sheet = book.add_worksheet("Photos")
            columns: list[str] = []
            for number, row in enumerate(chain(head, tail), 1):
                if number > MAX_ROWS:
                    raise ConvertError(
                        f"{source} has more results than the {MAX_ROWS:,} rows of a sheet. Use CSV or Parquet."
                    )
                if not columns:
                    columns = [
                        name for name in head[-1].values if name not in (serialization.LEAF_PROBABILITIES, "error")
                    ]
                    columns.append("error")
                    for index, name in enumerate(columns):
                        sheet.write_string(0, index, name, bold)
                    sheet.freeze_panes(1, 1)
                for index, name in enumerate(columns):
                    _write_cell(sheet, number, index, name, row.values.get(name), percent)
                counts[str(row.values.get("name") or "failed")] += 1
            if columns:
                sheet.autofilter(0, 0, number, len(columns) - 1)
            totals = book.add_worksheet("Types")
            totals.write_row(0, 0, ["name", "photos"], bold)
            for index, (name, count) in enumerate(counts.most_common(), 1):
                totals.write_string(index, 0, name)
                totals.write_number(index, 1, count)
    return number


def _until_prediction(rows: Iterable[Row]) -> tuple[list[Row], Iterator[Row]]:
    """Return the rows up to the first with a prediction, and the rest. In JSON a failed row lacks most columns."""
    head: list[Row] = []
    tail = iter(rows)
    for row in tail:
        head.append(row)
        if row.guess:
            break
    return head, tail


def _write_cell(sheet: object, row: int, column: int, name: str, value: object, percent: object) -> None:
    """Write a value as text or, for a probability or a time, as a number."""
    if value is None or value == "":
        return
    if name == "candidates" and isinstance(value, list):
        value = "; ".join(f"{leaf['name']} {leaf['probability']:.6f}" for leaf in value)
    if name.endswith("probability") or name == "seconds":
        sheet.write_number(row, column, float(str(value)), percent if name != "seconds" else None)  # type: ignore[attr-defined]
    else:
        sheet.write_string(row, column, str(value))  # type: ignore[attr-defined]
