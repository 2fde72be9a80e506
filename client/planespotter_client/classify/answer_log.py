"""Answer log: an append-only file of results, CSV or JSON lines, that a later run resumes.

Each result is appended and passed to the operating system at once, so a kill loses at most the result being written;
the next run truncates the partial line. The photos that have a result are kept as 8-byte hashes, about 8 MB for a
million. Two of a million names collide with a probability of 3 in 100 million; the second one would be skipped.
"""

import csv
import fcntl
import json
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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


@dataclass
class AnswerLog:
    """An open answer log: the photos that it has a result for, and how to append one."""

    answered: HashedSet
    append: "Callable[[PhotoResult], None]"
    failed: int = 0
    """Photos whose logged result is an error."""


@contextmanager
def open_answer_log(
    path: Path, columns: tuple[str, ...], *, json_lines: bool, retry_failed: bool = False
) -> Iterator[AnswerLog]:
    """Open the answer log at `path` to resume it, or create it, under an exclusive lock.

    Args:
        path: The log.
        columns: Columns of a row.
        json_lines: Whether the format is JSON lines; else it is CSV.
        retry_failed: Whether to remove the rows of failed photos, so that they count as not answered.

    Raises:
        AnswerLogError: Another process writes to the file, or it is not a log with these columns.
    """
    read_rows = read_json_rows if json_lines else read_csv_rows
    with ExitStack() as open_files:
        file: BinaryIO = open_files.enter_context(path.open("a+b"))
        lock(file, path)
        if retry_failed:
            file = open_files.enter_context(_without_failed(path, file, read_rows, columns))

        def append(result: "PhotoResult") -> None:
            row = serialization.to_row(result, columns)
            file.write(_json_line(row) if json_lines else _csv_line(serialization.csv_cells(row, columns)))
            file.flush()

        log, end = AnswerLog(HashedSet(), append), 0
        file.seek(0)
        for row in read_rows(path, file, columns):
            end += len(row.raw)
            if row.values is not None:
                try:
                    log.answered.add(serialization.photo_key(row.values))
                except (TypeError, ValueError) as error:
                    raise _invalid(path, f"{row.values['seconds']!r} is not a time in a video") from error
                log.failed += bool(row.values.get("error"))
        file.truncate(end)  # the partial line of a killed run
        if not end and not json_lines:
            file.write(_csv_line(columns))
        yield log


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


def read_csv_rows(path: Path, file: BinaryIO, columns: tuple[str, ...]) -> Iterator[LoggedRow]:
    """Read the header and the complete rows of a CSV `file`, which is at `path`.

    Raises:
        AnswerLogError: The header is not `columns`, or a row before the last is malformed.
    """
    raw: list[bytes] = []

    def decoded() -> Iterator[str]:
        for line in file:
            raw.append(line)
            yield line.decode("utf-8", "replace")

    partial_line = None  # number of a line that seems to be cut
    reader = csv.reader(decoded(), strict=True)
    try:
        for number, cells in enumerate(reader):
            if partial_line is not None:
                raise _invalid(path, f"line {partial_line:,} does not have {len(columns)} cells")
            row, complete = b"".join(raw), raw[-1].endswith(b"\n")
            raw.clear()
            if number == 0:
                if not complete and _csv_line(columns).startswith(row):
                    return
                if tuple(cells) != columns:
                    raise _invalid(path, f"its header is not {','.join(columns)}")
                yield LoggedRow(None, row)
            elif complete and len(cells) == len(columns):
                yield LoggedRow(dict(zip(columns, cells, strict=True)), row)
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


def _csv_line(cells: Iterable[str]) -> bytes:
    return serialization.csv_line(cells).encode("utf-8", "backslashreplace")


def _json_line(row: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8
        return (json.dumps(row) + "\n").encode()
