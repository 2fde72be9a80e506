"""Photo catalog: a folder with `catalog.csv`, one row per photo, and the images that the rows name.

The catalog is the format between scraping and training. Training imports only this package, so it depends on pandas and
the standard library. The file is CSV in UTF-8 with a header; an empty value means unknown. All columns but REQUIRED may
be missing, and further columns are kept, so a catalog can be written by hand or by any program.

Optional columns: `review` states where two readings of a photo's label disagree ("" where they agree), `permission` who
allowed the scrape, and when, and `phash` the perceptual hash (see `images/similarity.py`).

Cleaning adds two files of the same form: `dropped.csv` holds the rows that it dropped, with the reasons, and
`changed.csv` the former values of rows that it changed. `catalog.csv` is authoritative: a photo with a row in it is in
the catalog, regardless of the other two files.
"""

import codecs
import csv
import hashlib
import io
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from planespotter_photos.counts import count_noun
from planespotter_scraping.atomic_write import atomic_write
from planespotter_scraping.labels.parser import label_path

# What a source states about a photo.
STATED_COLUMNS = (
    "page_url",
    "image_url",
    "constructor",
    "aircraft_type",  # type text, as the page prints it
    "airline",
    "registration",  # photos of one airframe must not be in both training and test
    "photographer",
    "taken_on",
    "licence",
)
COLUMNS = (
    "photo_id",  # unique in the catalog
    "source",  # site or folder: training reports its metrics by source
    *STATED_COLUMNS,
    "file",  # image, relative to the folder of the catalog, with forward slashes
    "sha256",  # of the image file, hexadecimal
    "width",  # pixels
    "height",  # pixels
    "scraped_at",  # ISO 8601, UTC
)
# The constructor of a picture without an aircraft is `labels.constructors.NO_AIRCRAFT`.
REQUIRED = ("photo_id", "file", "constructor")
LABEL_PATH = ("constructor", "family", "model")
RENDER_SOURCE = "render"
"""Source of the pictures that `planespotter render` writes."""

DROPPED, CHANGED = "dropped.csv", "changed.csv"

SIDES = ("width", "height")
# Columns that programs write and spreadsheets damage: what is valid, and how to describe it.
MACHINE_WRITTEN = {
    "width": (re.compile(r"(\d+([.,]0+)?)?"), "a number of pixels"),
    "height": (re.compile(r"(\d+([.,]0+)?)?"), "a number of pixels"),
    "sha256": (re.compile(r"([0-9A-Fa-f]{64})?"), "64 hexadecimal digits"),
    "phash": (re.compile(r"([0-9A-Fa-f]{16})?"), "16 hexadecimal digits"),
}

SYNC_THREADS = 8

PHOTO_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class CatalogError(Exception):
    """A catalog that cannot be used; the text is for users."""


@dataclass(frozen=True)
class NewPhoto:
    """A photo to append to a catalog.

    Attributes:
        row: Values by column, any of COLUMNS and further ones; `photo_id` is required, `file` and `sha256` are set.
        image: Encoded image.
        suffix: Suffix of the image file, with its dot.
        link: File that `image` was read from, to store a hard link to it instead of a copy.
    """

    row: Mapping[str, str]
    image: bytes
    suffix: str = ".jpg"
    link: Path | None = None


def read(folder: str | Path) -> pd.DataFrame:
    """Read a catalog and add the label paths.

    The images are not opened: see `check`.

    Args:
        folder: Folder of the catalog.

    Returns:
        One row per photo; all values are strings, "" if unknown. The columns are those of the file, then the missing
        ones of COLUMNS, then the label path: `constructor` (normalized), `family` and `model`, parsed from
        `constructor` and `aircraft_type`. Columns named `family` and `model` in the file are replaced.

    Raises:
        CatalogError: If the file is missing or not CSV, lacks a required column or value, names a photo twice, or names
            an image outside the folder.
    """
    folder = Path(folder)
    header, rows = parse(folder / "catalog.csv")
    frame = pd.DataFrame(rows, columns=header, dtype=str)
    for column in COLUMNS:
        if column not in frame:
            frame[column] = ""
    _check_values(folder / "catalog.csv", frame)
    for column in SIDES:
        frame[column] = frame[column].str.replace(r"[.,]0+$", "", regex=True)  # 420.0, as pandas and spreadsheets write
    labels = list(zip(frame["constructor"], frame["aircraft_type"], strict=True))
    paths = {label: label_path(*label) for label in set(labels)}
    for level, column in enumerate(LABEL_PATH):
        frame[column] = pd.Series([paths[label][level] or "" for label in labels], index=frame.index, dtype=str)
    return frame


def check(folder: str | Path, frame: pd.DataFrame, *, hashes: bool = False) -> None:
    """Check that the images of a catalog exist and are not empty.

    Args:
        folder: Folder of the catalog.
        frame: Rows to check, as `read` returns them.
        hashes: Also compare each file with its `sha256`, if known. This reads every image.

    Raises:
        CatalogError: If images are missing, empty or changed.
    """
    folder = Path(folder)
    missing, changed = [], []
    for file, expected in zip(frame["file"], frame["sha256"], strict=True):
        path = folder / file
        if not path.is_file() or path.stat().st_size == 0:
            missing.append(file)
        elif hashes and expected and hashlib.sha256(path.read_bytes()).hexdigest() != expected.lower():
            changed.append(file)
    if missing:
        raise CatalogError(
            f"{count_noun(len(missing), 'image is', 'images are')} missing or empty, of {len(frame):,} in "
            f"{folder / 'catalog.csv'}: {_first(missing)}. Scrape into the same folder again, or remove their rows."
        )
    if changed:
        raise CatalogError(
            f"{count_noun(len(changed), 'image has', 'images have')} changed in {folder} since the import (the "
            f"sha256 differs): {_first(changed)}. Download them again, or clear the sha256 of their rows if the "
            "change is intended."
        )


def dropped(folder: str | Path) -> pd.DataFrame:
    """Return the rows that cleaning dropped from a catalog.

    Returns:
        One row per photo that is not in the catalog any more; all values are strings. Further columns: `drop_reason` (a
        sentence), `drop_rule`, `dropped_at` (ISO 8601, UTC) and `dropped_from_row` (its former row number, from 1).

    Raises:
        CatalogError: If a file of the catalog cannot be used.
    """
    folder = Path(folder)
    if not (folder / DROPPED).exists():
        return pd.DataFrame(columns=["photo_id", "file", "drop_reason", "drop_rule", "dropped_at"], dtype=str)
    header, rows = parse(folder / DROPPED)
    frame = pd.DataFrame(rows, columns=header, dtype=str)
    return frame[~frame["photo_id"].isin(_column(folder / "catalog.csv", "photo_id"))].reset_index(drop=True)


def photo_ids(folder: str | Path) -> set[str]:
    """Return the ids of all photos in the catalog and of dropped ones: a crawl does not fetch them again.

    The set is empty if there is no catalog yet.

    Raises:
        CatalogError: If the catalog cannot be used.
    """
    folder = Path(folder)
    stored = set(read(folder)["photo_id"]) if (folder / "catalog.csv").exists() else set()
    return stored | _column(folder / DROPPED, "photo_id")


def image_hashes(folder: str | Path) -> set[str]:
    """Return the sha256 of all images in the catalog, of dropped ones, and of those before cropping."""
    files = ("catalog.csv", DROPPED, CHANGED)
    return set().union(*(_column(Path(folder) / file, "sha256") for file in files)) - {""}


def near_duplicate_groups(
    folder: str | Path,
    frame: pd.DataFrame,
    *,
    max_hamming: int = 10,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.Series:
    """Group near duplicates, for a split that keeps each group on one side.

    The thresholds are looser than those of cleaning: a group also holds shots of one aircraft at one place, such as a
    burst. The scans are cached in the folder of the catalog. Needs Pillow.

    Args:
        folder: Folder of the catalog.
        frame: Rows to group, as `read` returns them.
        max_hamming: Maximum Hamming distance of two perceptual hashes, in bits. The detail must correlate as well.
        progress: Called with the numbers of images scanned and in all.

    Returns:
        Group number of each row, with the index of `frame`. A photo without near duplicates, or whose image cannot be
        read, has a separate group.
    """
    from planespotter_scraping.images import similarity  # lazy: reading a catalog must not import Pillow

    files = [str(file) for file in frame["file"]]
    scans = similarity.scan_images(Path(folder), dict.fromkeys(files, 0), progress)
    pairs = similarity.find_near_duplicates(
        Path(folder),
        files,
        [scans[file].phash for file in files],
        max_hamming=max_hamming,
        min_correlation=similarity.GROUP_MIN_CORRELATION,
    )
    numbers = similarity.connected_components(len(files), ((pair.first, pair.second) for pair in pairs))
    return pd.Series(numbers, index=frame.index, name="near_duplicate_group", dtype="int64")


def append(
    folder: str | Path, row: Mapping[str, str], image: bytes, suffix: str = ".jpg", *, link: Path | None = None
) -> None:
    """Append one photo: see `append_all` and NewPhoto."""
    append_all(folder, [NewPhoto(row, image, suffix, link)])


def append_all(folder: str | Path, photos: Sequence[NewPhoto]) -> None:
    """Append photos: first their images, then their rows with one fsync. A kill at any moment loses these at most.

    The folder and the catalog are created if needed. Columns that the catalog lacks are added, empty in its other rows.
    A partial row at the end, left by a kill, is removed first.

    Args:
        folder: Folder of the catalog.
        photos: The photos, at least one.

    Raises:
        CatalogError: If a `photo_id` or `source` is not a valid file name, or if the photos cannot be written. Photos
            whose images were written before the failure are stored.
    """
    folder = Path(folder)
    rows: list[dict[str, str]] = []
    for photo in photos:
        photo_id, source = photo.row["photo_id"], photo.row.get("source", "")
        if PHOTO_ID.fullmatch(photo_id) is None or (source and PHOTO_ID.fullmatch(source) is None):
            raise CatalogError(
                f"photo_id {photo_id!r} or source {source!r} is not a valid file name. "
                "Use letters, digits, dots, dashes and underscores, and start with a letter or digit."
            )
        file = Path("images", source, photo_id + photo.suffix)
        written = {**photo.row, "file": file.as_posix(), "sha256": hashlib.sha256(photo.image).hexdigest()}
        # A line break in a value would make a partial row look complete.
        rows.append({column: " ".join(value.split()) for column, value in written.items()})
    complete: list[dict[str, str]] = []  # rows whose images are in place
    try:
        try:
            complete.extend(_write_images(folder, photos, rows))
        finally:
            if complete:
                _append_rows(folder / "catalog.csv", complete)
    except OSError as error:
        raise CatalogError(
            f"The photo {photos[-1].row['photo_id']} cannot be stored in {folder}: {error.strerror}. "
            "Photos stored so far are safe. Free disk space or choose another folder, and run the same command again."
        ) from None


def _write_images(folder: Path, photos: Sequence[NewPhoto], rows: Sequence[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Write the images of photos, each atomically, and yield the row of each when its image is in place.

    All are written, then synced in parallel: the file system commits them together.

    Raises:
        OSError: Some images cannot be written. The rows of the others have been yielded.
    """
    with ExitStack() as unfinished:
        writes = []
        for photo, row in zip(photos, rows, strict=True):
            path = folder / row["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            write = ExitStack()
            temporary = write.enter_context(atomic_write(path))
            unfinished.push(write)  # after an error, remove the temporary file
            if photo.link is not None:
                temporary.unlink(missing_ok=True)
                temporary.hardlink_to(photo.link)
            else:
                temporary.write_bytes(photo.image)
            writes.append((write, temporary, row))
        synced = [_sync_pool().submit(write.close) for write, _, _ in writes]
        wait(synced)
        for future, (_, temporary, row) in zip(synced, writes, strict=True):
            if future.exception() is None:
                temporary.unlink(missing_ok=True)  # renaming a link over a link to the same file does nothing
                yield row
        for future in synced:
            future.result()


@cache
def _sync_pool() -> ThreadPoolExecutor:
    """Return the threads that sync images. They stay, since starting them takes as long as syncing a few images."""
    return ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")


def _append_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Append rows to the CSV file at `path`, with a header if it is new, and fsync it."""
    path.touch()
    header = _open_header(path)
    names = list(dict.fromkeys([*(header or []), *COLUMNS, *(name for row in rows for name in row)]))
    if header is not None and names != header:
        _add_columns(path, names[len(header) :])
    with path.open("a", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, names, restval="", lineterminator=_line_end(_first_line(path)))
        if header is None:
            writer.writeheader()
        writer.writerows(rows)
        handle.flush()
        os.fsync(handle.fileno())


def _add_columns(path: Path, names: list[str]) -> None:
    """Add columns to the catalog at `path`, empty in all rows. The write is atomic."""
    header, rows = parse(path)
    rewrite(path, [*header, *names], [[*row, *("" for _ in names)] for row in rows])


def rewrite(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Replace a CSV file atomically.

    The byte order mark and the line ends of the old file are kept, since spreadsheets may have written it.

    Args:
        path: File to create or replace.
        header: Names of the columns.
        rows: Values, each row as long as the header.
    """
    first = _first_line(path)
    encoding = "utf-8-sig" if first.startswith(codecs.BOM_UTF8) else "utf-8"
    with atomic_write(path) as temporary, temporary.open("w", encoding=encoding, newline="") as handle:
        writer = csv.writer(handle, lineterminator=_line_end(first))
        writer.writerow(header)
        writer.writerows(rows)


def _first_line(path: Path) -> bytes:
    """Return the first line of a file with its line end; b"" if there is no file."""
    try:
        with path.open("rb") as handle:
            return handle.readline()
    except FileNotFoundError:
        return b""


def _line_end(line: bytes) -> str:
    """Return the line end of `line`."""
    return "\r\n" if line.endswith(b"\r\n") else "\n"


def _open_header(path: Path) -> list[str] | None:
    """Remove a partial last line of the file at `path`, and return its header; None if it has none yet."""
    with path.open("rb+") as handle:
        size = handle.seek(0, os.SEEK_END)
        if size == 0:
            return None
        handle.seek(-1, os.SEEK_END)
        if handle.read(1) != b"\n":
            handle.seek(0)
            data = handle.read()
            if _lacks_line_end_only(data):
                handle.write(b"\n")
            else:
                handle.truncate(data.rfind(b"\n") + 1)
        handle.seek(0)
        first = handle.readline().decode("utf-8-sig")
    if not first:
        return None
    header = next(csv.reader([first]))
    _check_header(path, header)
    return header


def _lacks_line_end_only(data: bytes) -> bool:
    """Return whether the last line of a catalog is complete but for its line end, as some programs export it.

    In a catalog that `append` started, such a line was cut by a kill, maybe within its last value.
    """
    try:
        header, *rows = _split(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, csv.Error, ValueError):
        return False
    return bool(rows) and len(rows[-1]) == len(header) and tuple(header[: len(COLUMNS)]) != COLUMNS


def _column(path: Path, name: str) -> set[str]:
    """Return the values of one column of a CSV file; empty if the file or the column does not exist."""
    if not path.exists():
        return set()
    header, rows = parse(path)
    return {row[header.index(name)] for row in rows} if name in header else set()


def parse(path: Path) -> tuple[list[str], list[list[str]]]:
    """Parse the CSV file of a catalog.

    Args:
        path: CSV file in UTF-8, with or without a byte order mark.

    Returns:
        The header and the rows, each as long as the header. A partial last row, left by a kill, is skipped.

    Raises:
        CatalogError: If the file is missing, unreadable or not CSV, or lacks a required column.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        advice = "Create one with `planespotter scrape --out FOLDER`, or give the folder of a catalog."
        if path.parent.is_dir() and any(path.parent.iterdir()):
            advice = (
                f"To make a catalog of the photos in it: planespotter catalog import {shlex.quote(str(path.parent))} "
                "--out CATALOG."
            )
        raise CatalogError(f"{path.parent} is not a catalog: it has no catalog.csv. {advice}") from None
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from None
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            raise CatalogError(f"{path} is not UTF-8 text (byte {error.start}). Save it as CSV in UTF-8.") from None
        text = data[: error.start].decode("utf-8-sig")  # a kill cut the last row within a character
    complete_lines = text[: text.rfind("\n") + 1]
    try:
        header, *rows = _split(text) or [[]]
    except csv.Error:
        # A partial row may end inside quotation marks; the lines before it are complete.
        try:
            header, *rows = _split(complete_lines) or [[]]
        except csv.Error as error:
            raise CatalogError(f"{path} is not CSV: {error}. Fix it, or export it as CSV again.") from None
    else:
        if rows and len(rows[-1]) < len(header) and text != complete_lines:
            rows.pop()  # partial; the next scrape fetches this photo again
    _check_header(path, header)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise CatalogError(
                f"Row {number} of {path} has {count_noun(len(row), 'value')}, but the header has "
                f"{count_noun(len(header), 'column')}: {','.join(row)[:80]!r}. Quote values that contain a comma."
            )
    return header, rows


def _split(text: str) -> list[list[str]]:
    """Return the rows of CSV text, without blank lines. Raises csv.Error."""
    return [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]


def _check_header(path: Path, header: list[str]) -> None:
    """Raise CatalogError unless `header` has the required columns, each once."""
    for column in REQUIRED:
        if column not in header:
            separators = (("semicolons", ";"), ("tabs", "\t"))
            separator = next((name for name, character in separators if character in "".join(header)), "")
            raise CatalogError(
                f"{path} has no column {column!r}. Its header is {', '.join(header) or 'empty'}. "
                f"Add the columns {', '.join(REQUIRED)}"
                + (f", and separate values by commas, not {separator}." if separator else ".")
            )
    for column in header:
        if header.count(column) > 1:
            raise CatalogError(f"{path} has two columns named {column!r}. Rename or remove one of them.")


def _check_values(path: Path, frame: pd.DataFrame) -> None:
    """Raise CatalogError unless each photo has a unique id and an image path inside the folder."""
    for column in ("photo_id", "file"):
        empty = (frame[column].str.strip() == "").to_numpy().nonzero()[0]
        if len(empty):
            raise CatalogError(f"Row {empty[0] + 1} of {path} has no {column}. Fill it in, or remove the row.")
    twice = frame["photo_id"][frame["photo_id"].duplicated()]
    if len(twice):
        same = (frame["photo_id"] == twice.iloc[0]).to_numpy().nonzero()[0]
        raise CatalogError(
            f"photo_id {twice.iloc[0]!r} is not unique: rows {_first([str(index + 1) for index in same])} of {path}. "
            "Rename the copies, or remove them."
        )
    for column, (valid, meaning) in MACHINE_WRITTEN.items():
        for number, value in enumerate(frame.get(column, ()), start=1):
            if valid.fullmatch(value) is None:
                raise CatalogError(
                    f"The {column} in row {number} of {path} is {value[:40]!r}, which is not {meaning}: a spreadsheet "
                    "may have changed it. Restore the column from a copy of the file, or delete its values."
                )
    for number, file in enumerate(frame["file"], start=1):
        if file.startswith("/") or "\\" in file or "\0" in file or ".." in file.split("/"):
            raise CatalogError(
                f"file {file!r} in row {number} of {path} may be outside the catalog. "
                "Use a path relative to the folder of the catalog, with forward slashes, such as images/1.jpg."
            )


def _first(names: list[str], count: int = 3) -> str:
    """Return the first `count` names as text, with "..." if there are more."""
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
