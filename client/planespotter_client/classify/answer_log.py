"""Answers in a file that a later run goes on with.

Each answer is appended and handed to the operating system at once, so a kill at any moment loses at most the answer
being written; what is left of its line is cut off by the next run. Which photos have an answer is kept as 8 bytes for
each, so the memory for a million of them is some 8 MB. Two of a million different names share such a number with a
probability of 3 in 100 million; the second would be skipped.
"""

import csv
import fcntl
import json
import os
import shutil
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from planespotter_client.classify import serialization

if TYPE_CHECKING:
    from planespotter_client import PhotoAnswer


class AnswersError(Exception):
    """The file for the answers cannot be used; the text says why and what to do."""


class Done:
    """Which photos have an answer: a set of names that only remembers 64 bits of each."""

    def __init__(self) -> None:
        self._parts = [array("Q") for _ in range(256)]  # each sorted
        self.failed = 0
        """How many of the names were read with an error for an answer."""

    def add(self, name: str) -> bool:
        """Add `name`; return whether it was new."""
        part, number = self._place(name)
        at = bisect_left(part, number)
        if at < len(part) and part[at] == number:
            return False
        part.insert(at, number)
        return True

    def __contains__(self, name: str) -> bool:
        part, number = self._place(name)
        at = bisect_left(part, number)
        return at < len(part) and part[at] == number

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def _place(self, name: str) -> tuple["array[int]", int]:
        digest = blake2b(name.encode("utf-8", "backslashreplace"), digest_size=8).digest()
        return self._parts[digest[0]], int.from_bytes(digest, "little")


class Record(NamedTuple):
    """A row that was written (None: the headings), and the bytes that it takes in its file."""

    values: dict[str, Any] | None
    raw: bytes


class Answers(NamedTuple):
    """An open file of answers: what it held, and how to add to it."""

    done: Done
    write: "Callable[[PhotoAnswer], None]"


@contextmanager
def answers_file(path: Path, columns: tuple[str, ...], *, lines: bool, retry_failed: bool = False) -> Iterator[Answers]:
    """Open `path`, CSV or (`lines`) JSON lines, to go on with it; a new file if there is none.

    `retry_failed` takes out the rows of photos that failed, so that they count as not done. Raises AnswersError.
    """
    records = json_records if lines else csv_records
    with ExitStack() as open_files:
        file: BinaryIO = open_files.enter_context(path.open("a+b"))
        locked(file, path)
        if retry_failed:
            file = open_files.enter_context(_without_failed(path, file, records, columns))
        done, end = Done(), 0
        file.seek(0)
        for record in records(path, file, columns):
            end += len(record.raw)
            if record.values is not None:
                try:
                    done.add(serialization.identity(record.values))
                except (TypeError, ValueError) as error:
                    raise _damaged(path, f"{record.values['seconds']!r} is no time in a video") from error
                done.failed += bool(record.values.get("error"))
        file.truncate(end)  # what a kill has left of a line
        if not end and not lines:
            file.write(_csv_line(columns))

        def write(answer: "PhotoAnswer") -> None:
            values = serialization.row(answer, columns)
            file.write(_json_line(values) if lines else _csv_line(serialization.csv_cells(values, columns)))
            file.flush()

        yield Answers(done, write)


def locked(file: BinaryIO, path: Path) -> None:
    """Keep other runs from writing to `file`, which is at `path`, until it is closed. Raises AnswersError."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AnswersError(
            f"Another planespotter is writing to {path}. Wait for it to end, or name another --out."
        ) from None
    except OSError:  # a drive that knows no locks
        pass


def csv_records(path: Path, file: BinaryIO, columns: tuple[str, ...]) -> Iterator[Record]:
    """Read the whole rows of a CSV `file`, which is at `path`, from its headings on. Raises AnswersError."""
    raw: list[bytes] = []

    def decoded() -> Iterator[str]:
        for line in file:
            raw.append(line)
            yield line.decode("utf-8", "replace")

    cut = None  # where a row seems to be cut short
    reader = csv.reader(decoded(), strict=True)
    try:
        for number, cells in enumerate(reader):
            if cut is not None:
                raise _damaged(path, f"line {cut:,} has not the {len(columns)} cells of the others")
            row, whole = b"".join(raw), raw[-1].endswith(b"\n")
            raw.clear()
            if number == 0:
                if not whole and _csv_line(columns).startswith(row):
                    return
                if tuple(cells) != columns:
                    raise _damaged(path, f"it does not begin with the headings {','.join(columns)}")
                yield Record(None, row)
            elif whole and len(cells) == len(columns):
                yield Record(dict(zip(columns, cells, strict=True)), row)
            else:
                cut = reader.line_num
    except csv.Error as error:
        if reader.line_num > 1 and not file.read(1):  # cut within the quotes of the last cell
            return
        raise _damaged(path, f"line {reader.line_num:,} is no CSV ({error})") from error


def json_records(path: Path, file: BinaryIO, columns: tuple[str, ...]) -> Iterator[Record]:
    """Read the whole lines of a `file` of JSON objects, which is at `path`. Raises AnswersError."""
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n") and line.startswith(b'{"file": "'[: len(line)]):
            return  # only the last line has no end
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict) or not isinstance(values.get("file"), str):
            raise _damaged(path, f"line {number:,} is no JSON object that names a file")
        if ("seconds" in values) is not ("seconds" in columns):
            raise _damaged(path, "it holds answers about frames where photos are asked for, or the reverse")
        yield Record(values, line)


def _damaged(path: Path, why: str) -> AnswersError:
    return AnswersError(
        f"{path} holds no answers to go on with: {why}. Name another --out, or begin it anew with --overwrite."
    )


@contextmanager
def _without_failed(
    path: Path,
    file: BinaryIO,
    records: Callable[[Path, BinaryIO, tuple[str, ...]], Iterator[Record]],
    columns: tuple[str, ...],
) -> Iterator[BinaryIO]:
    """Yield a copy of `file` without the rows of photos that failed, which has taken its place at `path`."""
    with replacing(path) as kept:
        locked(kept, path)
        file.seek(0)
        for record in records(path, file, columns):
            if record.values is None or not record.values.get("error"):
                kept.write(record.raw)
    with path.open("a+b") as file:
        locked(file, path)
        yield file


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `path` at the end, all at once, or leaves it alone if this raises."""
    target = Path(os.path.realpath(path))
    new = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with new.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            shutil.copymode(target, new)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def _csv_line(cells: Iterable[str]) -> bytes:
    return serialization.csv_line(cells).encode("utf-8", "backslashreplace")


def _json_line(values: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(values, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a name that is no UTF-8
        return (json.dumps(values) + "\n").encode()
