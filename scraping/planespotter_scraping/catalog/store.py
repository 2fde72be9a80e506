"""The catalog: a folder with `catalog.csv`, one row for each photo, and the images that the rows name.

This is what scraping hands to training, and training imports this module only. So it needs pandas and the standard
library, and no browser. The file is plain CSV in UTF-8 with a header; an empty value means that the page did not
say. Columns may be missing (all but REQUIRED) and further ones may be there: they are kept. A catalog can
therefore be written by hand, or by any program.

Further columns come where they are called for: `review` says what two readings of a photo's labels do not agree
about, "" where they agree, `permission` who allowed the photo to be collected, and when, and `phash` what it looks
like (see looks.py).

Cleaning leaves two more files beside the catalog, in the same form: `dropped.csv` has the rows of photos that it took
out, and why, and `changed.csv` rows as they were before it changed them. The catalog itself is what counts: a photo
with a row in it is in it, whatever the other two say.
"""

import codecs
import csv
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from planespotter_scraping.atomic_write import replacing
from planespotter_scraping.labels.parser import place

COLUMNS = (
    "photo_id",  # unique in the catalog
    "source",  # where it was scraped: training reports its scores by source
    "page_url",
    "image_url",
    "constructor",
    "aircraft_type",  # as the page writes it
    "airline",
    "registration",  # photos of one airframe must not be spread over training and test
    "photographer",
    "taken_on",
    "licence",
    "file",  # the image, relative to the catalog's folder, with forward slashes
    "sha256",  # of the image file
    "width",  # in pixels, as is the height
    "height",
    "scraped_at",  # ISO 8601, UTC
)
REQUIRED = ("photo_id", "file", "constructor")
LABEL_PATH = ("constructor", "family", "model")

DROPPED, CHANGED = "dropped.csv", "changed.csv"

PHOTO_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class CatalogError(Exception):
    """A catalog that cannot be used. The text says what is wrong, where, and what to do."""


def read(folder: str | Path) -> pd.DataFrame:
    """Return the catalog in `folder`, one row for each photo, every value a string and "" where there is none.

    The columns are the file's own, then those of COLUMNS that it lacks, then the label path: `constructor` (in
    its usual spelling), `family` and `model`, "" below the level that the label reaches. What `constructor` and
    `aircraft_type` say decides the path; columns of those names in the file do not count.

    The images are not looked at: see `check`. Raises CatalogError for a file that is missing, is not CSV, lacks a
    required column or value, names a photo twice, or names an image outside the folder.
    """
    folder = Path(folder)
    header, rows = parse(folder / "catalog.csv")
    frame = pd.DataFrame(rows, columns=header, dtype=str)
    for column in COLUMNS:
        if column not in frame:
            frame[column] = ""
    _check_values(folder / "catalog.csv", frame)
    labels = list(zip(frame["constructor"], frame["aircraft_type"], strict=True))
    paths = {label: place(*label) for label in set(labels)}
    for level, column in enumerate(LABEL_PATH):
        frame[column] = pd.Series([paths[label][level] or "" for label in labels], index=frame.index, dtype=str)
    return frame


def check(folder: str | Path, frame: pd.DataFrame, *, hashes: bool = False) -> None:
    """Raise CatalogError unless each image that `frame` names is in `folder`, and is not empty.

    `hashes` also compares each file with its `sha256`, where the catalog gives one: this reads every image.
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
            f"{len(missing)} of the {len(frame)} images that {folder / 'catalog.csv'} names are missing or empty: "
            f"{_first(missing)}. Scrape again into the same folder, or remove their rows."
        )
    if changed:
        raise CatalogError(
            f"{len(changed)} images in {folder} are not the files that were catalogued (their sha256 differs): "
            f"{_first(changed)}. Fetch them again, or clear the sha256 of their rows if the change was meant."
        )


def dropped(folder: str | Path) -> pd.DataFrame:
    """Return the rows that cleaning took out of the catalog in `folder`, every value a string; none if it took none.

    Beside the catalog's columns, `dropped_because` says why in a sentence, `dropped_by` by which rule, `dropped_at`
    when (ISO 8601, UTC) and `dropped_from_row` where the row was.
    """
    folder = Path(folder)
    if not (folder / DROPPED).exists():
        return pd.DataFrame(columns=["photo_id", "file", "dropped_because", "dropped_by", "dropped_at"], dtype=str)
    header, rows = parse(folder / DROPPED)
    frame = pd.DataFrame(rows, columns=header, dtype=str)
    return frame[~frame["photo_id"].isin(_column(folder / "catalog.csv", "photo_id"))].reset_index(drop=True)


def photo_ids(folder: str | Path) -> set[str]:
    """Return the ids of the photos that the catalog in `folder` holds or has dropped: those not to be fetched again.

    There are none if there is no catalog yet. Raises CatalogError for a catalog that cannot be used.
    """
    folder = Path(folder)
    held = set(read(folder)["photo_id"]) if (folder / "catalog.csv").exists() else set()
    return held | _column(folder / DROPPED, "photo_id")


def image_hashes(folder: str | Path) -> set[str]:
    """Return the sha256 of each image that the catalog in `folder` holds or has dropped, or held before it was cut."""
    files = ("catalog.csv", DROPPED, CHANGED)
    return set().union(*(_column(Path(folder) / file, "sha256") for file in files)) - {""}


def look_alikes(
    folder: str | Path,
    frame: pd.DataFrame,
    *,
    distance: int = 10,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.Series:
    """Return a group number for each row of `frame`, such that photos which look alike share one.

    They may be the same picture, found twice, or two of one aircraft at one place, such as those of a burst: they
    belong on the same side of a split. Alike are photos of whose 64-bit hash at most `distance` bits differ and whose
    detail agrees by and large (see looks.py). A photo that is like no other, or that cannot be read, has a group of
    its own. What the images look like is kept in the catalog's folder, if that may be written to, so that it is quick
    the next time. `progress` is called with the number of images looked at, and of all. Needs Pillow.
    """
    from planespotter_scraping.images import similarity  # not before it is needed: reading a catalog takes no Pillow

    files = [str(file) for file in frame["file"]]
    seen = similarity.look_at_all(Path(folder), dict.fromkeys(files, 0), progress)
    alike = similarity.find_alike(
        Path(folder), files, [seen[file].phash for file in files], bits=distance, detail=similarity.ALIKE_DETAIL
    )
    numbers = similarity.groups(len(files), ((pair.first, pair.second) for pair in alike))
    return pd.Series(numbers, index=frame.index, name="look_alikes", dtype="int64")


def append(
    folder: str | Path, row: Mapping[str, str], image: bytes, suffix: str = ".jpg", *, link: Path | None = None
) -> None:
    """Store one photo: its image first, then its row. A kill at any moment loses this photo at most.

    `row` has any of COLUMNS and further columns; `file` and `sha256` are filled in. A catalog that lacks some of these
    columns gets them, empty in the rows that it has. Makes the folder and the catalog if need be, and removes the
    end of a row that an earlier kill has cut short: that photo counts as not stored. With `link`, the file that `image`
    was read from, the image becomes a hard link to it, not a copy.
    """
    folder, photo_id, source = Path(folder), row["photo_id"], row.get("source", "")
    if PHOTO_ID.fullmatch(photo_id) is None or (source and PHOTO_ID.fullmatch(source) is None):
        raise CatalogError(
            f"The photo {photo_id!r} of the source {source!r} cannot be stored, since both become file names: "
            "use letters, digits, dots, dashes and underscores, and begin with a letter or digit."
        )
    file = Path("images", source, photo_id + suffix)
    written = {**row, "file": file.as_posix(), "sha256": hashlib.sha256(image).hexdigest()}
    # A line break in a value would let a cut row look like a whole one.
    values = {column: " ".join(value.split()) for column, value in written.items()}
    try:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        with replacing(folder / file) as temporary:
            if link is not None:
                temporary.unlink(missing_ok=True)
                temporary.hardlink_to(link)
            else:
                temporary.write_bytes(image)
        temporary.unlink(missing_ok=True)  # replacing a link by a link to the same file does nothing
        _append_row(folder / "catalog.csv", values)
    except OSError as error:
        raise CatalogError(
            f"The photo {photo_id} cannot be stored in {folder}: {error.strerror}. "
            "What was stored before is safe; make room or choose another folder, and run the same command again."
        ) from None


def _append_row(path: Path, values: Mapping[str, str]) -> None:
    """Write one row at the end of the file at `path`, below the header of a new one, and see it on the disk."""
    path.touch()
    header = _open_header(path)
    names = list(dict.fromkeys([*(header or []), *COLUMNS, *values]))
    if header is not None and names != header:
        _add_columns(path, names[len(header) :])
    with path.open("a", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, names, restval="", lineterminator=_line_end(_first_line(path)))
        if header is None:
            writer.writeheader()
        writer.writerow(values)
        handle.flush()
        os.fsync(handle.fileno())


def _add_columns(path: Path, names: list[str]) -> None:
    """Give the catalog at `path` further columns, empty in all its rows. A kill leaves the old file or the new one."""
    header, rows = parse(path)
    rewrite(path, [*header, *names], [[*row, *("" for _ in names)] for row in rows])


def rewrite(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file anew, as a whole: a kill leaves the old file or the new one.

    It begins and ends its lines as the file does that it replaces: some programs that write tables begin them with a
    byte order mark, and end lines as Windows does.
    """
    first = _first_line(path)
    encoding = "utf-8-sig" if first.startswith(codecs.BOM_UTF8) else "utf-8"
    with replacing(path) as temporary, temporary.open("w", encoding=encoding, newline="") as handle:
        writer = csv.writer(handle, lineterminator=_line_end(first))
        writer.writerow(header)
        writer.writerows(rows)


def _first_line(path: Path) -> bytes:
    """Return the first line of a file with its end; nothing if there is no file."""
    try:
        with path.open("rb") as handle:
            return handle.readline()
    except FileNotFoundError:
        return b""


def _line_end(line: bytes) -> str:
    """Return what ends a line: as Windows does, or as all others do."""
    return "\r\n" if line.endswith(b"\r\n") else "\n"


def _open_header(path: Path) -> list[str] | None:
    """Make the file at `path` end with a whole line and return its header; None if it has none yet."""
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
    """Return whether the last line of a catalog is whole: programs that export tables may not end it.

    In a catalog that `append` began, such a line was cut by a kill, maybe within its last value.
    """
    try:
        header, *rows = _split(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, csv.Error, ValueError):
        return False
    return bool(rows) and len(rows[-1]) == len(header) and tuple(header[: len(COLUMNS)]) != COLUMNS


def _column(path: Path, name: str) -> set[str]:
    """Return the values of one column of a CSV file; none if it does not exist or has no such column."""
    if not path.exists():
        return set()
    header, rows = parse(path)
    return {row[header.index(name)] for row in rows} if name in header else set()


def parse(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the catalog at `path`, all rows as long as the header.

    A last row that a kill has cut short is left out. Raises CatalogError for a file that cannot be used.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise CatalogError(
            f"There is no catalog in {path.parent}: it has no catalog.csv. "
            "Make one with `planespotter scrape --out FOLDER`, or name the folder that holds it."
        ) from None
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from None
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            raise CatalogError(f"{path} is not UTF-8 text (byte {error.start}). Save it as CSV in UTF-8.") from None
        text = data[: error.start].decode("utf-8-sig")  # a kill has cut the last row within a letter
    whole_lines = text[: text.rfind("\n") + 1]
    try:
        header, *rows = _split(text) or [[]]
    except csv.Error:
        # A row that a kill has cut short may end inside quotation marks; the lines before it are sound.
        try:
            header, *rows = _split(whole_lines) or [[]]
        except csv.Error as error:
            raise CatalogError(f"{path} is not CSV: {error}. Mend it, or export it as CSV again.") from None
    else:
        if rows and len(rows[-1]) < len(header) and text != whole_lines:
            rows.pop()  # also cut short; the next scrape brings this photo again
    _check_header(path, header)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise CatalogError(
                f"Row {number} of {path} has {len(row)} values, where the header names {len(header)} columns: "
                f"{','.join(row)[:80]!r}. Put quotation marks around a value that holds a comma."
            )
    return header, rows


def _split(text: str) -> list[list[str]]:
    """Return the lines of CSV text as lists of values, without blank lines. Raises csv.Error."""
    return [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]


def _check_header(path: Path, header: list[str]) -> None:
    """Raise CatalogError unless `header` names what every catalog must have, and nothing twice."""
    for column in REQUIRED:
        if column not in header:
            apart = next((name for name, mark in (("semicolons", ";"), ("tabs", "\t")) if mark in "".join(header)), "")
            raise CatalogError(
                f"{path} has no column {column!r}, but only {', '.join(header) or 'an empty first line'}. "
                f"A catalog needs {', '.join(REQUIRED)}: name them in its first line"
                + (f", and put commas between its values, not {apart}." if apart else ".")
            )
    for column in header:
        if header.count(column) > 1:
            raise CatalogError(f"{path} has two columns named {column!r}. Rename or remove one of them.")


def _check_values(path: Path, frame: pd.DataFrame) -> None:
    """Raise CatalogError unless each photo has an id of its own and names an image inside the folder."""
    for column in ("photo_id", "file"):
        empty = (frame[column].str.strip() == "").to_numpy().nonzero()[0]
        if len(empty):
            raise CatalogError(
                f"Row {empty[0] + 1} of {path} has no {column}, which every photo needs. Fill it in, or remove the row."
            )
    twice = frame["photo_id"][frame["photo_id"].duplicated()]
    if len(twice):
        same = (frame["photo_id"] == twice.iloc[0]).to_numpy().nonzero()[0]
        raise CatalogError(
            f"The photo_id {twice.iloc[0]!r} stands in rows {_first([str(index + 1) for index in same])} of {path}. "
            "Each photo needs an id of its own: remove the copies, or rename them."
        )
    for number, file in enumerate(frame["file"], start=1):
        if file.startswith("/") or "\\" in file or "\0" in file or ".." in file.split("/"):
            raise CatalogError(
                f"Row {number} of {path} names the file {file!r}, which may lie outside the catalog. "
                "Give a path inside the catalog's folder, with forward slashes, such as images/1.jpg."
            )


def _first(names: list[str], count: int = 3) -> str:
    """Return the first `count` names as text, and that there are more."""
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
