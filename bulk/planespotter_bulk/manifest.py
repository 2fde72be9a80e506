"""Manifest: Parquet files with one row per photo, and their partition into blocks of photos.

    part-00000.parquet ...   id (int64, unique), uri, bytes, modified
    _list.json               what was listed, and whether the list is complete; only `bulk list` writes it

Other programs can write manifests too: `id` and `uri` are enough. A block is a range of rows of one file. The blocks
depend on the manifest and the size of a block alone, so every run of a job has the same.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from planespotter_bulk.errors import BulkError
from planespotter_bulk.storage import Folder, StorageError, cause_of, resolve

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        ("bytes", pa.int64()),
        ("modified", pa.timestamp("us", tz="UTC")),
    ]
)
LIST_STATE = "_list.json"
SUFFIX = ".parquet"


class ManifestError(BulkError):
    """A manifest cannot be used."""


@dataclass(frozen=True)
class Photo:
    """A row of a manifest."""

    id: int
    uri: str


@dataclass(frozen=True)
class Block:
    """Consecutive photos of a manifest, whose answers are committed together.

    Attributes:
        number: Number of the block within the manifest, from 0.
        file: File of the manifest.
        start: First row in the file.
        count: Number of photos.
    """

    number: int
    file: str
    start: int
    count: int

    @property
    def name(self) -> str:
        """Name of its file of answers, without a suffix."""
        return f"part-{self.number:07d}"


@dataclass(frozen=True)
class Manifest:
    """The files of a manifest.

    Attributes:
        folder: Its folder.
        files: Rows by name of the file, in order.
        digest: SHA-256 that changes with the content of the files.
    """

    folder: Folder
    files: dict[str, int]
    digest: str

    @property
    def photos(self) -> int:
        """Number of photos."""
        return sum(self.files.values())

    def blocks(self, photos: int) -> Iterator[Block]:
        """Yield the blocks of at most `photos` photos, in order."""
        number = 0
        for file, rows in self.files.items():
            for start in range(0, rows, photos):
                yield Block(number, file, start, min(photos, rows - start))
                number += 1


def read_manifest(folder: Folder) -> Manifest:
    """Read the footers of a manifest.

    Raises:
        ManifestError: There is no manifest, its list is incomplete, or a file has another schema.
        StorageError: It cannot be read.
    """
    state = folder.read(LIST_STATE)
    if state is not None and not json.loads(state)["complete"]:
        raise ManifestError(f"The manifest {folder} is incomplete. Run the same `planespotter bulk list` again first.")
    names = [entry.name for entry in folder.entries() if entry.name.endswith(SUFFIX) and entry.name[0] not in "._"]
    if not names:
        raise ManifestError(f"{folder} has no manifest. Create one: planespotter bulk list PHOTOS --out {folder}")
    files, digest = {}, hashlib.sha256()
    for name in names:
        metadata = open_parquet(folder / name).metadata
        _check_schema(folder / name, metadata.schema.to_arrow_schema())
        files[name] = metadata.num_rows
        digest.update(json.dumps([name, metadata.to_dict()], default=str, sort_keys=True).encode())
    return Manifest(folder, files, digest.hexdigest())


def open_parquet(uri: str) -> pq.ParquetFile:
    """Open a Parquet file and read its footer.

    Raises:
        ManifestError: It is not a Parquet file.
        StorageError: It cannot be read.
    """
    filesystem, path = resolve(uri)
    try:
        return pq.ParquetFile(path, filesystem=filesystem)
    except pa.ArrowInvalid as error:
        raise ManifestError(f"{uri} is not a Parquet file, or is damaged: {str(error).rstrip('.')}.") from error
    except OSError as error:
        raise StorageError(f"{uri} cannot be read: {cause_of(error).value}.", cause_of(error)) from error


def _check_schema(uri: str, schema: Any) -> None:
    types = {field.name: field.type for field in schema}
    is_text = "uri" in types and (pa.types.is_string(types["uri"]) or pa.types.is_large_string(types["uri"]))
    if is_text and types.get("id") in (pa.int64(), pa.int32(), pa.uint32()):
        return
    columns = ", ".join(f"{name} ({kind})" for name, kind in types.items())
    raise ManifestError(
        f"{uri} is not part of a manifest: it needs the columns id (int64) and uri (string), and has {columns}. "
        "Create a manifest with `planespotter bulk list`."
    )


def read_block(folder: Folder, block: Block) -> list[Photo]:
    """Read the photos of a block.

    Raises:
        ManifestError: An id or a URI is empty.
        StorageError: The file cannot be read.
    """
    with open_parquet(folder / block.file) as file:
        groups, first, end = [], None, 0
        for group in range(file.metadata.num_row_groups):
            start, end = end, end + file.metadata.row_group(group).num_rows
            if end > block.start and start < block.start + block.count:
                groups.append(group)
                first = start if first is None else first
        table = file.read_row_groups(groups, columns=["id", "uri"]).slice(block.start - (first or 0), block.count)
    photos = [Photo(*row) for row in zip(table["id"].to_pylist(), table["uri"].to_pylist(), strict=True)]
    if any(photo.id is None or not photo.uri for photo in photos):
        raise ManifestError(f"{folder / block.file} has rows without an id or a URI. Create the manifest again.")
    return photos
