"""Jobs of the tests: manifests of given files, workers without Ray, and what they answered."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from planespotter_bulk.answers import committed_parts
from planespotter_bulk.classifier import Options
from planespotter_bulk.job import bundle_sha256
from planespotter_bulk.manifest import Block, read_manifest
from planespotter_bulk.storage import Folder, open_folder
from planespotter_bulk.worker import BlockWorker, Summary, Work
from planespotter_models import read_bundle

OPTIONS = Options(engine="jax", block_photos=8)


def write_manifest(folder: Path | str, uris: Sequence[str]) -> Folder:
    """Write a manifest of `uris`, whose ids are 100, 101..."""
    out = open_folder(str(folder))
    file = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": range(100, 100 + len(uris)), "uri": list(uris)}), file)
    out.write("part-00000.parquet", file.getvalue().to_pybytes())
    return out


def worker(manifest: Folder, answers: Folder | Path | str, bundle: Path, **options: Any) -> BlockWorker:
    """Return a worker in this process."""
    folder = answers if isinstance(answers, Folder) else open_folder(str(answers))
    accept_unreadable = options.pop("accept_unreadable", False)
    work = Work(
        manifest,
        folder,
        Options(**{**vars(OPTIONS), **options}),
        bundle_sha256(bundle),
        1,
        8,
        accept_unreadable=accept_unreadable,
    )
    return BlockWorker(work, lambda: read_bundle(bundle))


def blocks(manifest: Folder, photos: int = OPTIONS.block_photos) -> list[Block]:
    return list(read_manifest(manifest).blocks(photos))


def answer_all(manifest: Folder, answers: Path | str, bundle: Path, **options: Any) -> list[Summary]:
    """Answer all blocks with one worker in this process."""
    answering = worker(manifest, answers, bundle, **options)
    return [answering.answer(block) for block in blocks(manifest, options.get("block_photos", OPTIONS.block_photos))]


def rows(answers: Path | str) -> dict[int, dict[str, Any]]:
    """Return the answers by id; an id with two answers fails the test."""
    folder = open_folder(str(answers))
    answered: dict[int, dict[str, Any]] = {}
    for name in sorted(committed_parts(folder)):
        for row in _rows(folder, name):
            assert row["id"] not in answered, f"the photo {row['id']} has two answers"
            answered[row["id"]] = row
    return answered


def _rows(folder: Folder, name: str) -> list[dict[str, Any]]:
    content = folder.read(name)
    assert content is not None
    return pq.read_table(pa.BufferReader(content)).to_pylist()  # type: ignore[no-any-return]
