"""File discovery: lazily find the photos in files, folders, glob patterns and paths on standard input.

Only the names in one folder are in memory at a time.
"""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

from planespotter_photos import formats
from planespotter_photos.housekeeping import is_housekeeping

STANDARD_INPUT = "-"

readable_suffixes = cache(formats.readable_suffixes)


def is_photo(name: str) -> bool:
    """Return whether `name` has the suffix of a photo that can be read here."""
    return formats.suffix_of(name) in readable_suffixes()


def find_photos(
    paths: Iterable[str | Path],
    recursive: bool = True,
    on_error: Callable[[OSError], None] | None = None,
    exclude: Path | None = None,
    on_unread: Callable[[str], None] | None = None,
    on_housekeeping: Callable[[str], None] | None = None,
) -> Iterator[str]:
    """Yield the files among `paths`, and the photos in the folders among them, sorted by name.

    Hidden and housekeeping files and folders are skipped, unless they are among `paths`.

    Args:
        paths: Files and folders.
        recursive: Whether to search subfolders.
        on_error: Called with the error of each folder that cannot be read.
        exclude: Folder that is not searched.
        on_unread: Called with the name of the format of each photo in a folder that cannot be read here: "HEIC".
        on_housekeeping: Called with the path of each hidden or housekeeping photo or folder that is skipped.
    """
    excluded = None if exclude is None else os.path.realpath(exclude)
    for path in map(str, paths):
        if not os.path.isdir(path):  # noqa: PTH112
            yield path
            continue
        for folder, subfolders, files in os.walk(path, onerror=on_error):
            if excluded is not None and os.path.realpath(folder) == excluded:
                subfolders.clear()
                continue
            skipped = [name for name in subfolders if is_housekeeping(name)] if recursive else []
            subfolders[:] = sorted(set(subfolders).difference(skipped)) if recursive else []
            for file in sorted(files):
                if is_housekeeping(file):
                    if is_photo(file):
                        skipped.append(file)
                elif is_photo(file):
                    yield os.path.join(folder, file)  # noqa: PTH118
                elif on_unread is not None and (name := formats.name_of(file)):
                    on_unread(name)
            if on_housekeeping is not None:
                for name in skipped:
                    on_housekeeping(os.path.join(folder, name))  # noqa: PTH118


def is_pattern(argument: str) -> bool:
    """Return whether `argument` is a glob pattern such as "2026/*.jpg" and not the name of an existing file."""
    return glob.has_magic(argument) and not os.path.lexists(argument)


def expand_pattern(pattern: str) -> Iterator[str]:
    """Yield the matches of `pattern`: photos and folders; with ** (any depth) only photos.

    Hidden and housekeeping files and folders match only if the pattern names them.
    """
    typed = {*pattern.split("/"), ".", ".."}
    for path in glob.iglob(pattern, recursive=True):  # noqa: PTH207  (a Path finds no files with **)
        if any(is_housekeeping(part) and part not in typed for part in path.split("/")):
            continue
        is_folder = os.path.isdir(path)  # noqa: PTH112
        if is_photo(path) or (is_folder and "**" not in pattern):
            yield path


def without_match(arguments: Iterable[str]) -> list[str]:
    """Return those of `arguments` that neither name an existing file or folder nor match any."""
    return [
        argument
        for argument in arguments
        if argument != STANDARD_INPUT
        and (next(expand_pattern(argument), None) is None if is_pattern(argument) else not os.path.lexists(argument))
    ]


def read_paths(file: BinaryIO, end: bytes = b"\n") -> Iterator[str]:
    r"""Yield the paths in `file`, each as soon as its `end` is read. Skip empty ones; strip "\r" before "\n"."""
    rest = b""
    while block := os.read(file.fileno(), 65_536):
        *lines, rest = (rest + block).split(end)
        for line in lines:
            yield from _path(line, end)
    yield from _path(rest, end)


def _path(line: bytes, end: bytes) -> Iterator[str]:
    line = line.removesuffix(b"\r") if end == b"\n" else line
    if line:
        yield os.fsdecode(line)
