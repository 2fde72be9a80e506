"""Answer log: an append-only file of results, CSV or JSON lines, that a later run resumes.

A CSV file may have been edited in the meantime, by hand or in a spreadsheet: a byte order mark, further columns, their
order, semicolons and other line ends are read and kept.

Each result is appended and passed to the operating system at once, so a kill loses at most the result being written;
the next run truncates the partial line. The photos that have a result are kept as 8-byte hashes, about 8 MB for a
million. Two of a million names collide with a probability of 3 in 100 million; the second one would be skipped.
"""

import csv
import fcntl
import json
import math
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from planespotter_client.classify import serialization
from planespotter_client.commands.atomic_write import atomic_write

if TYPE_CHECKING:
    from planespotter_client import PhotoResult


class AnswerLogError(Exception):
    """The output file cannot be used; the text says why and how to fix it."""


class HashedSet:
    """A set of names that stores 64 bits of each."""

    def __init__(self) -> None:
        self._buckets = [array("Q") for _ in range(256)]  # each sorted

    def add(self, name: str) -> bool:
        """Add `name`; return whether it was new."""
        bucket, digest = self._hash(name)
        index = bisect_left(bucket, digest)
        if index < len(bucket) and bucket[index] == digest:
            return False
        bucket.insert(index, digest)
        return True

    def __contains__(self, name: str) -> bool:
        bucket, digest = self._hash(name)
        index = bisect_left(bucket, digest)
        return index < len(bucket) and bucket[index] == digest

    def __len__(self) -> int:
        return sum(map(len, self._buckets))

    def _hash(self, name: str) -> tuple["array[int]", int]:
        digest = blake2b(name.encode("utf-8", "backslashreplace"), digest_size=8).digest()
        return self._buckets[digest[0]], int.from_bytes(digest, "little")


class LoggedRow(NamedTuple):
    """A row in the log (None: the header), and its bytes in the file."""

    values: dict[str, Any] | None
    raw: bytes


RowReader = Callable[[Path, BinaryIO, tuple[str, ...]], Iterator[LoggedRow]]
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class CsvLayout(NamedTuple):
    """The columns of a CSV file in their order, its delimiter and its line end."""

    columns: tuple[str, ...]
    delimiter: str = ","
    line_end: str = "\n"

    def line(self, row: dict[str, Any], columns: tuple[str, ...]) -> bytes:
        """Return the line for `row`, whose values have the names in `columns`; a further column stays empty."""
        cells = dict(zip(columns, serialization.csv_cells(row, columns), strict=True))
        return self.encode(cells.get(column, "") for column in self.columns)

    def encode(self, cells: Iterable[str]) -> bytes:
        """Return the line with `cells`."""
        line = serialization.csv_line(cells, self.delimiter, self.line_end)
        return line.encode("utf-8", "backslashreplace")


@dataclass
class AnswerLog:
    """An open answer log: the photos that it has a result for, and how to append one."""

    answered: HashedSet
    append: "Callable[[PhotoResult], None]"
    failed: int = 0
    """Photos whose logged result is an error."""
    names: dict[str, tuple[str, ...]] | None = None
    """The confident names of each logged prediction by its photo's key; None if they were not asked for."""
    times: dict[str, float] | None = None
    """When the last result of each photo was logged, in seconds since 1970, by the photo's key; None likewise."""
    folder: str = ""
    """Folder that the logged paths are relative to; the current one if empty."""
    on_row: Callable[[Mapping[str, Any]], None] | None = None
    """Called with each logged row."""

    def add(self, row: Mapping[str, Any]) -> str:
        """Count the photo of a logged row as answered; return its key."""
        key = serialization.photo_key(row, self.folder)
        self.answered.add(key)
        if self.on_row is not None:
            self.on_row(row)
        self.failed += bool(row.get("error"))
        if self.names is not None and (names := serialization.confident_names(row)) is not None:
            self.names[key] = names
        if self.times is not None and row.get("time"):
            self.times[key] = max(self.times.get(key, 0.0), _timestamp(str(row["time"])))
        return key


class LogOptions(NamedTuple):
    """How an answer log is opened."""

    retry_failed: bool = False
    """Whether to remove the rows of failed photos, so that they count as not answered."""
    keep_names: bool = False
    """Whether to keep the confident names of each logged prediction, some 200 bytes per photo."""
    keep_times: bool = False
    """Whether to keep when each result was logged, some 150 bytes per photo."""
    folder: str = ""
    """Folder that the logged paths are relative to; the current one if empty."""
    on_row: Callable[[Mapping[str, Any]], None] | None = None
    """Called with each row of an earlier run, which has at least the levels and the time."""
    byte_order_mark: bool = False
    """Whether a new CSV file starts with a byte order mark, by which a spreadsheet recognizes UTF-8."""


DEFAULTS = LogOptions()


@contextmanager
def open_answer_log(
    path: Path, columns: tuple[str, ...], *, json_lines: bool, options: LogOptions = DEFAULTS
) -> Iterator[AnswerLog]:
    """Open the answer log at `path` to resume it, or create it, under an exclusive lock.

    Args:
        path: The log.
        columns: Columns of a row.
        json_lines: Whether the format is JSON lines; else it is CSV.
        options: How to open it.

    Raises:
        AnswerLogError: Another process writes to the file, or it is not a log with these columns.
    """
    read_rows = read_json_rows if json_lines else read_csv_rows
    with ExitStack() as open_files:
        file: BinaryIO = open_files.enter_context(path.open("a+b"))
        lock(file, path)
        if options.retry_failed:
            file = open_files.enter_context(_without_failed(path, file, read_rows, columns))
        file.seek(0)
        layout = None if json_lines else _read_layout(path, file, columns)

        def append(result: "PhotoResult") -> None:
            row = serialization.to_row(result, columns, serialization.now())
            row["file"] = _path_in_log(row["file"], options.folder)
            file.write(_json_line(row) if layout is None else layout.line(row, columns))
            file.flush()

        log = AnswerLog(
            HashedSet(),
            append,
            names={} if options.keep_names else None,
            times={} if options.keep_times else None,
            folder=options.folder,
            on_row=options.on_row,
        )
        end = 0
        file.seek(0)
        for row in read_rows(path, file, columns):
            end += len(row.raw)
            if row.values is not None:
                try:
                    log.add(row.values)
                except (TypeError, ValueError) as error:
                    raise _invalid(path, f"{row.values['seconds']!r} is not a time in a video") from error
        file.truncate(end)  # the partial line of a killed run
        if not end and layout is not None:
            file.write((BYTE_ORDER_MARK if options.byte_order_mark else b"") + layout.encode(columns))
            file.flush()
        yield log


def _timestamp(time: str) -> float:
    """Return an ISO 8601 time in seconds since 1970; infinity if it was edited into something else."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return math.inf


def _path_in_log(file: str, folder: str) -> str:
    """Return the path to log for `file`, which is relative to the current folder, in a log relative to `folder`."""
    if not folder or "://" in file or Path(file).is_absolute() or Path.cwd() == Path(folder):
        return file
    return os.path.abspath(file)  # noqa: PTH100  (a Path would not normalize it)


def lock(file: BinaryIO, path: Path) -> None:
    """Take an exclusive lock on `file`, which is at `path`, until it is closed.

    Raises:
        AnswerLogError: Another process holds the lock.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AnswerLogError(
            f"Another planespotter is writing to {path}. Wait for it to end, or name another --out."
        ) from None
    except OSError:  # a file system without locks
        pass


def _read_layout(path: Path, file: BinaryIO, columns: tuple[str, ...]) -> CsvLayout:
    """Read the header of a CSV `file`, which is at `path`; an empty file and a partial header have the default layout.

    Raises:
        AnswerLogError: A column is missing.
    """
    line = file.readline()
    header = line.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace")
    default = CsvLayout(columns)
    if not header.endswith("\n") and default.encode(columns).decode().startswith(header):
        return default
    line_end = "\r\n" if header.endswith("\r\n") else "\n"
    for delimiter in ",;\t":
        try:
            cells = tuple(next(csv.reader([header], delimiter=delimiter, strict=True)))
        except csv.Error:
            continue
        if set(columns) <= set(cells) and len(set(cells)) == len(cells):
            return CsvLayout(cells, delimiter, line_end)
    raise _invalid(path, f"its header does not have the columns {', '.join(columns)}")


def read_csv_rows(path: Path, file: BinaryIO, columns: tuple[str, ...]) -> Iterator[LoggedRow]:
    """Read the header and the complete rows of a CSV `file`, which is at `path`, from its start.

    Raises:
        AnswerLogError: The header lacks one of `columns`, or a row before the last is malformed.
    """
    layout = _read_layout(path, file, columns)
    file.seek(0)
    raw: list[bytes] = []

    def decoded() -> Iterator[str]:
        for line in file:
            raw.append(line)
            yield line.decode("utf-8", "replace")

    partial_line = None  # number of a line that seems to be cut
    reader = csv.reader(decoded(), delimiter=layout.delimiter, strict=True)
    try:
        for number, cells in enumerate(reader):
            if partial_line is not None:
                raise _invalid(path, f"line {partial_line:,} does not have {len(layout.columns)} cells")
            row, complete = b"".join(raw), raw[-1].endswith(b"\n")
            raw.clear()
            if number == 0:
                if not complete:
                    return
                yield LoggedRow(None, row)
            elif complete and len(cells) == len(layout.columns):
                yield LoggedRow(dict(zip(layout.columns, cells, strict=True)), row)
            else:
                partial_line = reader.line_num
    except csv.Error as error:
        if reader.line_num > 1 and not file.read(1):  # cut within the quotes of the last cell
            return
        raise _invalid(path, f"line {reader.line_num:,} is not CSV ({error})") from error


def read_json_rows(path: Path, file: BinaryIO, columns: tuple[str, ...]) -> Iterator[LoggedRow]:
    """Read the complete lines of a `file` of JSON objects, which is at `path`.

    Raises:
        AnswerLogError: A line before the last is not an object with a file, or is about frames instead of photos.
    """
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n") and line.startswith(b'{"file": "'[: len(line)]):
            return  # only the last line has no line end
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict) or not isinstance(values.get("file"), str):
            raise _invalid(path, f"line {number:,} is not a JSON object with a file")
        if ("seconds" in values) is not ("seconds" in columns):
            raise _invalid(path, "it has results for video frames instead of photos, or the reverse")
        yield LoggedRow(values, line)


def _invalid(path: Path, why: str) -> AnswerLogError:
    return AnswerLogError(f"{path} cannot be resumed: {why}. Name another --out, or replace the file with --overwrite.")


@contextmanager
def _without_failed(path: Path, file: BinaryIO, read_rows: RowReader, columns: tuple[str, ...]) -> Iterator[BinaryIO]:
    """Replace `file` at `path` by a copy without the rows of failed photos, and yield that, locked."""
    with atomic_write(path) as copy:
        lock(copy, path)
        file.seek(0)
        for row in read_rows(path, file, columns):
            if row.values is None or not row.values.get("error"):
                copy.write(row.raw)
    with path.open("a+b") as file:
        lock(file, path)
        yield file


def _json_line(row: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8
        return (json.dumps(row) + "\n").encode()
