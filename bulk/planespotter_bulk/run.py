"""Run: plan the blocks that have no answers, let the workers answer them, and watch that they commit."""

import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from planespotter_bulk import ray_cluster
from planespotter_bulk.answers import committed_parts
from planespotter_bulk.classifier import Options
from planespotter_bulk.errors import BulkError, TemporaryError
from planespotter_bulk.job import bundle_sha256, check_fingerprint, fingerprint, lease
from planespotter_bulk.manifest import Block, Manifest, read_manifest
from planespotter_bulk.progress import JobProgress
from planespotter_bulk.storage import Folder
from planespotter_bulk.worker import BlockWorker, Summary, Work
from planespotter_models import read_bundle
from planespotter_photos.counts import count_noun

THREADS_PER_CPU = 4
"""Threads that fetch and decode: a fetch mostly waits for the store."""
CPU_BATCH, GPU_BATCH = 32, 256
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Resources:
    """Where and with what a job runs, which the answers do not depend on.

    Attributes:
        address: Address of a Ray cluster; None for this machine.
        workers: Number of workers; None for all that fit.
        worker_cpus: Processor cores of a worker; None for a default.
        threads: Threads of a worker that fetch and decode; None for four per core.
        stall_minutes: Minutes without a committed block after which the job ends.
        accept_unreadable: Whether a block is answered of which no photo exists or may be read.
    """

    address: str | None = None
    workers: int | None = None
    worker_cpus: int | None = None
    threads: int | None = None
    stall_minutes: float = 15.0
    accept_unreadable: bool = False


def run_job(
    manifest_folder: Folder,
    answers: Folder,
    bundle_folder: Path,
    options: Options,
    resources: Resources,
    report: Callable[[str], None],
) -> JobProgress:
    """Answer every photo of a manifest that has no answer.

    Args:
        manifest_folder: Folder of the manifest.
        answers: Folder of the answers, which may have some.
        bundle_folder: Folder of the bundle, on this machine.
        options: What the answers depend on.
        resources: Where to run.
        report: Is called with what happens.

    Raises:
        BulkError: The job cannot be done.
        TemporaryError: The same command can succeed later.
        BundleError: The bundle is invalid.
    """
    manifest = read_manifest(manifest_folder)
    bundle, sha256 = read_bundle(bundle_folder), bundle_sha256(bundle_folder)
    check_fingerprint(answers, fingerprint(manifest, bundle, sha256, options))
    with lease(answers):
        pending = pending_blocks(manifest, answers, options.block_photos)
        left = sum(block.count for block in pending)
        progress = JobProgress(manifest.photos, manifest.photos - left)
        if not pending:
            return progress
        with ray_cluster.connect(resources.address, sum(array.nbytes for array in bundle.weights.values())):
            pool = ray_cluster.plan_pool(resources.workers, resources.worker_cpus)
            total = count_noun(manifest.photos, "photo")
            report(f"{bundle.name} {bundle.version} on {pool}; {left:,} of {total} to classify.")
            work = Work(
                manifest_folder,
                answers,
                options,
                sha256,
                pool.cpus,
                resources.threads or max(8, THREADS_PER_CPU * pool.cpus),
                GPU_BATCH if pool.gpus else CPU_BATCH,
                resources.accept_unreadable,
            )
            summaries = ray_cluster.run_blocks(pending, pool, bundle, partial(BlockWorker, work))
            with progress.shown():
                _watch(summaries, progress, 60 * resources.stall_minutes)
    return progress


def pending_blocks(manifest: Manifest, answers: Folder, block_photos: int) -> list[Block]:
    """Return the blocks without answers, in order."""
    committed = committed_parts(answers)
    return [block for block in manifest.blocks(block_photos) if f"{block.name}.parquet" not in committed]


def _watch(summaries: Iterable[str], progress: JobProgress, stall_seconds: float) -> None:
    """Count summaries as they come.

    Raises:
        BulkError: A block failed.
        TemporaryError: No block was committed for `stall_seconds`.
    """
    last_commit = time.monotonic()
    for text in _with_timeouts(summaries):
        now = time.monotonic()
        if text is not None:
            summary = Summary(**json.loads(text))
            if summary.failure:
                raise (TemporaryError if summary.exit_code == TemporaryError.exit_code else BulkError)(summary.failure)
            last_commit = now
            progress.add(summary)
        if now - last_commit > stall_seconds:
            raise TemporaryError(
                f"No block was committed for {stall_seconds / 60:g} minutes, so this job ends: a worker or Ray hangs. "
                "Run the same command again: it resumes. If blocks take that long, use a higher --stall-minutes, or "
                "name another --out and use fewer --block-photos."
            )
        progress.show()


def _with_timeouts(items: Iterable[str]) -> Iterator[str | None]:
    """Yield the items, and None each time that none came for POLL_SECONDS. They are computed in another thread."""
    results: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()

    def consume() -> None:
        try:
            for item in items:
                results.put(item)
            results.put(StopIteration())
        except BaseException as error:
            results.put(error)

    threading.Thread(target=consume, name="ray data", daemon=True).start()
    while True:
        try:
            result = results.get(timeout=POLL_SECONDS)
        except queue.Empty:
            yield None
            continue
        if isinstance(result, StopIteration):
            return
        if isinstance(result, BaseException):
            raise result
        yield result
