"""What there is to classify: files, folders, patterns and paths on standard input, found as they are asked for.

Only the names in one folder are held at a time.
"""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
STANDARD_INPUT = "-"


def is_photo(name: str) -> bool:
    """Return whether a file of this name is one of the photos in a folder."""
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES  # noqa: PTH122  (a Path takes ten times as long)


def find_photos(
    paths: Iterable[str | Path],
    recursive: bool = True,
    unreadable: Callable[[OSError], None] | None = None,
    leave_out: Path | None = None,
) -> Iterator[str]:
    """Yield the files among `paths`, and the photos in the folders among them in the order of their names.

    `unreadable` is called with the error of each folder that cannot be looked into. The folder `leave_out`, if it is
    below one of them, is not looked into.
    """
    skipped = None if leave_out is None else os.path.realpath(leave_out)
    for path in map(str, paths):
        if not os.path.isdir(path):  # noqa: PTH112
            yield path
            continue
        for folder, below, files in os.walk(path, onerror=unreadable):
            if skipped is not None and os.path.realpath(folder) == skipped:
                below.clear()
                continue
            below[:] = sorted(below) if recursive else []
            for file in sorted(files):
                if is_photo(file):
                    yield os.path.join(folder, file)  # noqa: PTH118


def is_pattern(argument: str) -> bool:
    """Return whether `argument` is a pattern such as "2026/*.jpg" and not the name of something that is there."""
    return glob.has_magic(argument) and not os.path.lexists(argument)


def matches(pattern: str) -> Iterator[str]:
    """Yield what `pattern` finds: photos and folders, and with ** (at any depth) photos alone."""
    for path in glob.iglob(pattern, recursive=True):  # noqa: PTH207  (a Path finds no files with **)
        folder = os.path.isdir(path)  # noqa: PTH112
        if is_photo(path) or (folder and "**" not in pattern):
            yield path


def find_nothing(arguments: Iterable[str]) -> list[str]:
    """Return those of `arguments` that neither name a file or folder nor match one."""
    return [
        argument
        for argument in arguments
        if argument != STANDARD_INPUT
        and (next(matches(argument), None) is None if is_pattern(argument) else not os.path.lexists(argument))
    ]


def listed(file: BinaryIO, end: bytes = b"\n") -> Iterator[str]:
    r"""Yield the paths in `file`, each as soon as its `end` has been read. Empty ones and a "\r" before a "\n" go."""
    rest = b""
    while block := os.read(file.fileno(), 65_536):
        *whole, rest = (rest + block).split(end)
        for line in whole:
            yield from _path(line, end)
    yield from _path(rest, end)


def _path(line: bytes, end: bytes) -> Iterator[str]:
    line = line.removesuffix(b"\r") if end == b"\n" else line
    if line:
        yield os.fsdecode(line)
