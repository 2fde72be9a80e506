"""Worker: what a Ray actor does with a block of photos, and the summary that it returns.

It does not know Ray, so that tests can call it. Photos and answers never pass through the object store of Ray: a worker
reads its photos from the storage and commits their answers there. A block whose answers exist is not computed again.
"""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from planespotter_bulk import answers as answer_files
from planespotter_bulk.answers import Failure, Outcome, RowWriter
from planespotter_bulk.classifier import Classifier, Options, settle
from planespotter_bulk.errors import BulkError
from planespotter_bulk.in_hand import MAX_DEATHS, InHand
from planespotter_bulk.manifest import Block, Photo, read_block
from planespotter_bulk.storage import Folder, StorageError
from planespotter_models import Bundle, BundleError, Level

CONCURRENT_BLOCKS = 2
"""Blocks that a worker has in flight: the second one fetches and decodes while the first one ends."""


@dataclass(frozen=True)
class Work:
    """What every worker of a job knows.

    Attributes:
        manifest: Folder of the manifest.
        answers: Folder of the answers.
        options: What the answers depend on.
        sha256: Hash of the bundle.
        cpus: Processor cores of a worker.
        threads: Threads of a worker that fetch and decode.
        batch: Photos per batch of the network.
        accept_unreadable: Whether a block is answered of which no photo exists or may be read.
    """

    manifest: Folder
    answers: Folder
    options: Options
    sha256: str
    cpus: int
    threads: int
    batch: int = 32
    accept_unreadable: bool = False


@dataclass(frozen=True)
class Summary:
    """What became of a block.

    Attributes:
        photos: Its number of photos.
        constructors: Predictions by confident constructor; "unknown" counts the others.
        reasons: Photos without a prediction, by reason.
        deaths: Workers that died with this block.
        seconds: How long it took.
        failure: Why the block was not committed; empty if it was.
        exit_code: Exit code of the job for that failure.
    """

    photos: int = 0
    constructors: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    deaths: int = 0
    seconds: float = 0.0
    failure: str = ""
    exit_code: int = 0

    def to_json(self) -> str:
        """Return the summary as JSON."""
        return json.dumps(asdict(self))


class BlockWorker:
    """Answers blocks. Thread-safe: Ray calls it for several blocks at a time.

    Args:
        work: What the job is about.
        load_bundle: Returns the bundle.
    """

    def __init__(self, work: Work, load_bundle: Callable[[], Bundle]) -> None:
        self._work, self._load_bundle = work, load_bundle
        self._loading = threading.Lock()
        self._loaded: tuple[Classifier, RowWriter] | None = None
        self._gate = threading.Lock()
        self._slots = threading.Semaphore(CONCURRENT_BLOCKS)

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
        """Answer the blocks in a batch of Ray Data; return their summaries as JSON."""
        columns = zip(batch["number"], batch["file"], batch["start"], batch["count"], strict=True)
        blocks = [Block(int(number), str(file), int(start), int(count)) for number, file, start, count in columns]
        return {"summary": [self.answer(block).to_json() for block in blocks]}

    def answer(self, block: Block) -> Summary:
        """Answer a block and commit it, unless that is done."""
        try:
            if self._work.answers.read(f"{block.name}.parquet") is not None:
                return Summary(block.count)  # the worker that committed it died before Ray knew
            photos = read_block(self._work.manifest, block)
            in_hand = InHand(self._work.answers, block, photos)
            with self._alone() if in_hand.attempts else self._together():
                return self._answer(block, photos, in_hand)
        except (BulkError, BundleError) as error:
            return Summary(failure=str(error), exit_code=getattr(error, "exit_code", 1))

    def _answer(self, block: Block, photos: Sequence[Photo], in_hand: InHand) -> Summary:
        classifier, writer = self._load()
        start = time.monotonic()
        outcomes: dict[int, Outcome | StorageError] = {
            photo.id: poison() for photo in photos if in_hand.is_poison(photo)
        }
        try:
            for group in in_hand.groups():
                results = classifier.classify(group)
                outcomes |= {photo.id: outcome for photo, outcome in zip(group, results, strict=True)}
            settled = settle(
                photos, [outcomes[photo.id] for photo in photos], accept_unreadable=self._work.accept_unreadable
            )
            rows = [writer.row(photo, outcome) for photo, outcome in zip(photos, settled, strict=True)]
            answer_files.commit(self._work.answers, block.name, rows)
        except MemoryError:
            os.kill(os.getpid(), signal.SIGKILL)  # the next worker narrows down which photo needs that much
        except Exception:
            in_hand.release()
            raise
        in_hand.clear()
        return summarize(settled, in_hand.attempts, time.monotonic() - start)

    def _load(self) -> tuple[Classifier, RowWriter]:
        with self._loading:
            if self._loaded is None:
                bundle, work = self._load_bundle(), self._work
                classifier = Classifier(bundle, work.options, work.cpus, work.threads, work.batch)
                self._loaded = classifier, RowWriter.of(bundle, work.sha256)
            return self._loaded

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Wait for one of the slots."""
        with self._gate:
            self._slots.acquire()
        try:
            yield
        finally:
            self._slots.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for all slots: the photos of another block must not count as in hand when this one kills the worker."""
        with self._gate:
            for _ in range(CONCURRENT_BLOCKS):
                self._slots.acquire()
        try:
            yield
        finally:
            self._slots.release(CONCURRENT_BLOCKS)


def poison() -> Failure:
    """Return the outcome of a poison photo."""
    return Failure(
        "POISON_PHOTO",
        f"{MAX_DEATHS} workers died with this photo in hand: it needs more memory than they have, or crashes a "
        "decoder. Convert it to JPEG, or classify it separately.",
    )


def summarize(outcomes: Sequence[Outcome], deaths: int, seconds: float) -> Summary:
    """Count the outcomes of a block, with which `deaths` workers died, and which took `seconds`."""
    constructors: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            reasons[outcome.reason] += 1
        else:
            constructors["unknown" if outcome.level is Level.UNKNOWN else outcome.label.constructor] += 1
    return Summary(len(outcomes), dict(constructors), dict(reasons), deaths, seconds)
