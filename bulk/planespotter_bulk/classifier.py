"""Classifier: fetch, decode and predict the photos of a block, with one outcome per photo.

Threads fetch and decode, in order and a bounded number ahead; batches go to the engine as they fill. An object that
cannot be read is the fault of the object if others can be read, and of the store otherwise: then the block is not
committed.
"""

import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from planespotter_bulk.answers import Failure, Outcome
from planespotter_bulk.errors import TemporaryError
from planespotter_bulk.manifest import Photo
from planespotter_bulk.storage import Cause, StorageError, read_file
from planespotter_models import (
    Bundle,
    Engine,
    EngineMode,
    PhotoError,
    Prediction,
    decode_photo,
    decode_prediction,
    load_engine,
)
from planespotter_photos import formats
from planespotter_photos.counts import count_noun

T = TypeVar("T")
R = TypeVar("R")
_PENDING = Failure("INTERNAL", "The photo was not classified.")

MAX_CONVERTIBLE_BYTES = 256 << 20
"""Of a raw photo or another one that is converted to JPEG first, as in the client."""
FETCH_DELAYS = (1.0, 5.0)
"""Seconds before a photo is fetched again from a store that did not respond."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Options:
    """What the answers depend on, apart from the bundle and the manifest.

    Attributes:
        top_k: Candidates per photo.
        max_photo_bytes: Maximum size of a photo; a larger one is answered with PHOTO_TOO_LARGE.
        engine: An EngineChoice.
        block_photos: Photos per block.
    """

    top_k: int = 0
    max_photo_bytes: int = 16 << 20
    engine: str = "auto"
    block_photos: int = 2048


class Classifier:
    """Classifies photos with one bundle. Thread-safe.

    Args:
        bundle: The bundle.
        options: What the answers depend on.
        cpus: Processor cores to compute with.
        threads: Threads that fetch and decode.
        batch: Photos per batch.

    Raises:
        BundleError: The engine cannot run the bundle on this machine.
    """

    def __init__(self, bundle: Bundle, options: Options, cpus: int, threads: int, batch: int) -> None:
        self._bundle, self._options = bundle, options
        self._engine: Engine = load_engine(
            bundle, (1, 4, batch), options.engine, EngineMode.THROUGHPUT, threads=max(1, cpus)
        )
        self._threads, self._batch = threads, batch
        # More threads may wait for the store than there are cores; more that decode only compete for them.
        self._decoding = threading.BoundedSemaphore(max(1, cpus))
        self._readers = ThreadPoolExecutor(threads, "read")
        self._runners = ThreadPoolExecutor(max(2, self._engine.in_flight), "network")

    def close(self) -> None:
        """End the threads."""
        self._readers.shutdown(cancel_futures=True)
        self._runners.shutdown(cancel_futures=True)

    def classify(self, photos: Sequence[Photo]) -> list[Outcome | StorageError]:
        """Return the outcomes of photos, in order; `settle` decides about those that could not be read."""
        pixels = _in_order(self._readers, self._read, photos, ahead=self._threads + self._batch)
        outcomes: list[Outcome | StorageError] = []
        running: deque[tuple[list[int], Future[list[Prediction]]]] = deque()
        places: list[int] = []
        batch: list[Pixels] = []

        def run_batch() -> None:
            running.append((places.copy(), self._runners.submit(self._predict, np.stack(batch))))
            places.clear()
            batch.clear()
            while len(running) > 2 * self._engine.in_flight:
                collect()

        def collect() -> None:
            indices, future = running.popleft()
            for index, prediction in zip(indices, future.result(), strict=True):
                outcomes[index] = prediction

        for index, result in enumerate(pixels):
            outcomes.append(result if isinstance(result, Failure | StorageError) else _PENDING)
            if not isinstance(result, Failure | StorageError):
                places.append(index)
                batch.append(result)
                if len(batch) == self._batch:
                    run_batch()
        if batch:
            run_batch()
        while running:
            collect()
        return outcomes

    def _read(self, photo: Photo) -> Pixels | Failure | StorageError:
        """Fetch and decode a photo; retry a store that does not respond."""
        for delay in (*FETCH_DELAYS, None):
            try:
                content = self._fetch(photo.uri)
                with self._decoding:
                    return decode_photo(content, self._bundle.height, self._bundle.width)
            except StorageError as error:
                if error.cause is Cause.TOO_LARGE:
                    return Failure("PHOTO_TOO_LARGE", f"{error} Scale it down.")
                if error.cause is not Cause.UNREACHABLE or delay is None:
                    return error
                time.sleep(delay)
            except PhotoError as error:
                return Failure(error.reason, str(error))
        raise AssertionError("the last attempt returns")

    def _fetch(self, uri: str) -> bytes:
        convertible = formats.BY_SUFFIX.get(formats.suffix_of(uri)) in formats.CONVERTIBLE
        content = read_file(uri, MAX_CONVERTIBLE_BYTES if convertible else self._options.max_photo_bytes)
        if formats.sniff(content, uri) in formats.CONVERTIBLE:
            from planespotter_photos.conversion import convert_photo

            return convert_photo(content, uri)
        if len(content) > self._options.max_photo_bytes:
            limit = self._options.max_photo_bytes
            raise StorageError(f"{uri} has {len(content):,} bytes; the limit is {limit:,}.", Cause.TOO_LARGE)
        return content

    def _predict(self, pixels: Pixels) -> list[Prediction]:
        outputs = self._engine.run(pixels)
        return decode_prediction(self._bundle.tree, self._bundle.calibration, outputs, self._options.top_k)


def settle(
    photos: Sequence[Photo], outcomes: Sequence[Outcome | StorageError], *, accept_unreadable: bool = False
) -> list[Outcome]:
    """Decide about the photos of a block that could not be read: it is their own fault, or that of the storage.

    Args:
        photos: The photos of the block.
        outcomes: Their outcomes, in order.
        accept_unreadable: Whether a block is answered of which no photo exists or may be read.

    Returns:
        Outcomes with PHOTO_UNREADABLE in place of the errors.

    Raises:
        TemporaryError: The storage is at fault: it cannot be reached, it is not mounted, or access to it is denied.
    """
    errors = [outcome for outcome in outcomes if isinstance(outcome, StorageError)]
    if errors:
        _check_storage(photos, outcomes, errors, accept_unreadable)
    return [
        Failure("PHOTO_UNREADABLE", f"{outcome} It was listed in the manifest.")
        if isinstance(outcome, StorageError)
        else outcome
        for outcome in outcomes
    ]


def _check_storage(
    photos: Sequence[Photo],
    outcomes: Sequence[Outcome | StorageError],
    errors: Sequence[StorageError],
    accept_unreadable: bool,
) -> None:
    host = socket.gethostname()
    readable = next(
        (photo for photo, outcome in zip(photos, outcomes, strict=True) if not isinstance(outcome, StorageError)), None
    )
    unreachable = next((error for error in errors if error.cause is Cause.UNREACHABLE), None)
    if unreachable is not None and (readable is None or not _responds(readable)):
        raise TemporaryError(
            f"{unreachable} This was on {host}. Restore the connection, then run the same command again: it resumes."
        )
    if readable is not None or len(photos) == 1 or accept_unreadable:
        return
    fix = "Mount the storage there" if errors[0].cause is Cause.MISSING else "Give this user or role permission"
    raise TemporaryError(
        f"Of a block of {count_noun(len(photos), 'photo')}, none can be read on {host}: {errors[0]} {fix}, then run "
        "the same command again: it resumes. If they were deleted or are closed to you, pass --accept-unreadable."
    )


def _responds(photo: Photo) -> bool:
    """Return whether a photo that was read a moment ago can still be read."""
    try:
        read_file(photo.uri)
    except StorageError as error:
        return error.cause is not Cause.UNREACHABLE
    return True


def _in_order(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Sequence[T], ahead: int) -> Iterator[R]:
    """Yield the results of `work` in the order of `items`, at most `ahead` of which are computed in advance."""
    iterator = iter(items)
    futures = deque(pool.submit(work, item) for item in itertools.islice(iterator, ahead))
    while futures:
        yield futures.popleft().result()
        futures.extend(pool.submit(work, item) for item in itertools.islice(iterator, 1))
