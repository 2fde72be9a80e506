"""Listing: write the manifest of a folder, a bucket or a table, in files of 100,000 photos, and resume after a kill.

Entries are listed folder by folder in the order of their names, so a later run finds where the last one ended by the
last URI that it wrote. One folder is in memory at a time, about 1 KB per entry.
"""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from planespotter_bulk.errors import BulkError
from planespotter_bulk.manifest import LIST_STATE, SCHEMA, SUFFIX, ManifestError, open_parquet
from planespotter_bulk.storage import (
    LOCAL,
    Cause,
    Entry,
    Folder,
    StorageError,
    local_path,
    open_folder,
    read_file,
    scheme_of,
)
from planespotter_photos import formats
from planespotter_photos.counts import count_noun
from planespotter_photos.housekeeping import is_housekeeping

SHARD_PHOTOS = 100_000
GROUP_PHOTOS = 4_096
"""Rows of a row group: a block of photos reads the row groups that it overlaps."""
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")

Row = tuple[str, int | None, datetime | None]
"""URI, size in bytes, time of the last change."""


@dataclass
class ListResult:
    """What was listed: photos in the manifest, and the files that are not in it by kind."""

    photos: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """Return the result in one line."""
        skipped = ", ".join(f"{count:,} {kind}" for kind, count in self.skipped.most_common())
        return f"{count_noun(self.photos, 'photo')} listed.{f' Not listed: {skipped}.' if skipped else ''}"


def list_photos(
    source: str,
    out: Folder,
    column: str = "uri",
    shard_photos: int = SHARD_PHOTOS,
    on_shard: Callable[[ListResult], None] = lambda _: None,
) -> ListResult:
    """Write the manifest of `source` to `out`, or complete it.

    Args:
        source: Folder, bucket or prefix; or a CSV file with a column of paths or URIs.
        out: Folder of the manifest.
        column: Column of a CSV file.
        shard_photos: Rows per file.
        on_shard: Called after each file.

    Raises:
        BulkError: `out` has another manifest, the source cannot be read, or it has no photos.
    """
    is_table = source.lower().endswith(TABLE_SUFFIXES)
    identity = {"source": _absolute(source), "column": column if is_table else None}
    result, last, shards = _resume(out, identity)
    if last is None:
        return result
    if is_table:
        rows: Iterator[Row] = islice(read_table(source, column, result.skipped), result.photos, None)
    else:
        rows = walk(open_folder(source), result.skipped, after=last)
    while shard := list(islice(rows, shard_photos)):
        out.write(LIST_STATE, _state(identity, result, complete=False))
        ids = range(result.photos, result.photos + len(shard))
        columns = zip((ids, *zip(*shard, strict=True)), SCHEMA.types, strict=True)
        table = pa.Table.from_arrays([pa.array(values, kind) for values, kind in columns], schema=SCHEMA)
        file = io.BytesIO()
        pq.write_table(table, file, row_group_size=GROUP_PHOTOS, compression="zstd")
        out.write(f"part-{shards:05d}{SUFFIX}", file.getvalue())
        result.photos, shards = result.photos + len(shard), shards + 1
        on_shard(result)
    if not result.photos:
        raise BulkError(f"There are no photos in {source}. {result.summary()} Check the path.")
    out.write(LIST_STATE, _state(identity, result, complete=True))
    return result


def _absolute(source: str) -> str:
    return os.path.abspath(local_path(source)) if scheme_of(source) == LOCAL else source.rstrip("/")  # noqa: PTH100


def _state(identity: dict[str, Any], result: ListResult, *, complete: bool) -> bytes:
    state = {**identity, "complete": complete, "photos": result.photos, "skipped": result.skipped}
    return json.dumps(state, indent=2).encode() + b"\n"


def _resume(out: Folder, identity: dict[str, Any]) -> tuple[ListResult, str | None, int]:
    """Return what `out` has, its last URI ("" if it is empty, None if it is complete), and its number of files."""
    names = [entry.name for entry in out.entries() if entry.name.endswith(SUFFIX)]
    content = out.read(LIST_STATE)
    if content is None:
        if names:
            raise ManifestError(f"{out} has a manifest of another program. Name another folder with --out.")
        return ListResult(), "", 0
    state = json.loads(content)
    if {key: state.get(key) for key in identity} != identity:
        raise ManifestError(f"{out} is a manifest of {state['source']}. Name another folder with --out.")
    if state["complete"]:
        return ListResult(state["photos"], Counter(state["skipped"])), None, len(names)
    result, last = ListResult(), ""
    for name in names:
        with open_parquet(out / name) as file:
            result.photos += file.metadata.num_rows
            if name == names[-1]:
                last = file.read(columns=["uri"])["uri"][-1].as_py()
    return result, last, len(names)


def walk(folder: Folder, skipped: Counter[str], after: str = "", below: str = "") -> Iterator[Row]:
    """Yield the photos in a folder and all below it, in the order of their URIs.

    Args:
        folder: Where to start.
        skipped: Counts what is not a photo, by kind.
        after: The last URI of an earlier run: yield those after it.
        below: Path of the subfolder to start in.

    Raises:
        StorageError: A folder cannot be listed, or `folder` does not exist.
    """
    entries = folder.entries(below)
    if not entries and not below:
        _check_exists(folder)
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        uri = folder / path
        if not entry.name.isascii() and any("\udc80" <= character <= "\udcff" for character in entry.name):
            skipped["names that are not UTF-8: rename them"] += 1
        elif is_housekeeping(entry.name):
            skipped["hidden or system files"] += 1
        elif entry.is_folder:
            # "/" sorts like any character: a folder that is wholly before `after` is not listed again.
            if f"{uri}/" > after or after.startswith(f"{uri}/"):
                yield from walk(folder, skipped, after, path)
        elif uri > after and _is_photo(entry, skipped):
            yield uri, entry.size, entry.modified


def _check_exists(folder: Folder) -> None:
    if folder.is_local and not Path(folder.uri).is_dir():
        raise StorageError(f"The folder {folder} does not exist. Check the path.", Cause.MISSING)


def _is_photo(entry: Entry, skipped: Counter[str]) -> bool:
    """Return whether an entry is a photo that can be read, perhaps after a conversion; count it otherwise."""
    photo_format = formats.BY_SUFFIX.get(formats.suffix_of(entry.name))
    if photo_format in formats.NATIVE or photo_format in formats.CONVERTIBLE:
        return True
    skipped[f"{photo_format.name} (cannot be read)" if photo_format else "other files"] += 1
    return False


def read_table(source: str, column: str, skipped: Counter[str]) -> Iterator[Row]:
    """Yield the rows of a CSV file; `bytes` and `modified` are read if the table has them.

    A relative path is relative to the folder of the table.

    Raises:
        BulkError: The file is not CSV, or lacks the column.
        StorageError: The file cannot be read.
    """
    text = read_file(source).decode("utf-8-sig", "replace")
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    if column not in (reader.fieldnames or ()):
        known = ", ".join(reader.fieldnames or ()) or "none"
        raise BulkError(f"{source} has no column {column!r}; its columns are {known}. Name one with --column.")
    parent = source.rpartition("/")[0]
    for row in reader:
        uri = (row[column] or "").strip()
        if not uri:
            skipped["rows without a URI"] += 1
            continue
        if scheme_of(uri) == LOCAL and not uri.startswith("/"):
            uri = f"{_absolute(parent or '.')}/{uri}"
        yield uri, _integer(row.get("bytes")), _time(row.get("modified"))


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text or "").astimezone()
    except ValueError:
        return None
