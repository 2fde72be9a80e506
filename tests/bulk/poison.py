"""A job whose workers are killed by one photo: python -m tests.bulk.poison MANIFEST ANSWERS BUNDLE PHOTO."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.bulk.jobs import OPTIONS

from planespotter_bulk import classifier, ray_cluster
from planespotter_bulk.job import bundle_sha256
from planespotter_bulk.manifest import read_manifest
from planespotter_bulk.storage import open_folder
from planespotter_bulk.worker import BlockWorker, Work
from planespotter_models import read_bundle


def make_worker(work: Work, poison: str, load_bundle: Callable[[], Any]) -> BlockWorker:
    """Return a worker that dies as soon as it reads the photo `poison`."""
    read = classifier.read_file  # type: ignore[attr-defined]

    def read_or_die(uri: str, max_bytes: int | None = None) -> bytes:
        if uri == poison:
            os.kill(os.getpid(), signal.SIGKILL)
        content: bytes = read(uri, max_bytes)
        return content

    classifier.read_file = read_or_die  # type: ignore[attr-defined]
    return BlockWorker(work, load_bundle)


def main() -> None:
    """Answer all blocks; print the summary of each."""
    manifest, answers, bundle, poison = sys.argv[1:]
    work = Work(open_folder(manifest), open_folder(answers), OPTIONS, bundle_sha256(Path(bundle)), 1, 8)
    blocks = list(read_manifest(work.manifest).blocks(OPTIONS.block_photos))
    with ray_cluster.connect(None):
        pool = ray_cluster.plan_pool(1, None)
        summaries = ray_cluster.run_blocks(blocks, pool, read_bundle(Path(bundle)), partial(make_worker, work, poison))
        for summary in summaries:
            sys.stdout.write(f"{summary}\n")


if __name__ == "__main__":
    main()
