"""Photos cut into batches, each of which is one call."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client._converters import outcome
from planespotter_client._errors import PlaneSpotterError, ProtocolError
from planespotter_client._image_inputs import ENVELOPE_BYTES, ENVELOPE_BYTES_PER_PHOTO, Photo, read_photo, several
from planespotter_client._retry import jittered
from planespotter_client._stream_state import Pending, pending
from planespotter_client._types import Limits, PhotoResult


@dataclass
class Batch:
    """Photos that go in one BatchClassify call."""

    waiting: list[Pending]
    photos: list[bytes]


def batches(
    photos: Sequence[Photo], limits: Limits, shrink_to: tuple[int, int] | None
) -> Iterator[Batch | PhotoResult]:
    """Read `photos` and cut them into batches within `limits`; a photo that cannot be sent comes as its answer."""
    batch, size = Batch([], []), ENVELOPE_BYTES
    for index, photo in enumerate(several(photos)):
        waiting = pending(photo, index)
        try:
            data = read_photo(photo, limits, waiting.photo_id, shrink_to)
        except PlaneSpotterError as error:
            yield waiting.answered(error)
            continue
        full = len(batch.photos) >= limits.max_batch_photos
        if batch.photos and (full or size + len(data) + ENVELOPE_BYTES_PER_PHOTO > limits.max_message_bytes):
            yield batch
            batch, size = Batch([], []), ENVELOPE_BYTES
        batch.waiting.append(waiting)
        batch.photos.append(data)
        size += len(data) + ENVELOPE_BYTES_PER_PHOTO
    if batch.photos:
        yield batch


def batch_failed(batch: Batch, error: PlaneSpotterError) -> list[PhotoResult]:
    """Return the answers to a `batch` whose call failed: its error for each."""
    return [waiting.answered(error.about(waiting.photo_id)) for waiting in batch.waiting]


def batch_answers(batch: Batch, response: pb.BatchClassifyResponse, address: str) -> list[PhotoResult]:
    """Return the answers of the server at `address` to `batch`, in its order. Raises ProtocolError."""
    if len(response.results) != len(batch.waiting):
        raise ProtocolError(
            f"What answers at {address} is no planespotter server: it gave {len(response.results):,} results for "
            f"{len(batch.waiting):,} photos.",
            reason="PROTOCOL_VIOLATION",
        )
    return [
        waiting.answered(outcome(result, waiting.photo_id))
        for waiting, result in zip(batch.waiting, response.results, strict=True)
    ]


def to_send_again(
    batch: Batch, answers: Sequence[PhotoResult], retries: int, end: float, now: float
) -> tuple[Batch, float] | None:
    """Return the photos of `batch` that a busy server wants to get again, and after how many seconds.

    None if there are none, no `retries` are left, or that would be after `end`; it is `now`.
    """
    refused = [
        (waiting, photo, answer.error.retry_after)
        for waiting, photo, answer in zip(batch.waiting, batch.photos, answers, strict=True)
        if answer.error is not None and answer.error.retry_after is not None
    ]
    if not refused or not retries:
        return None
    pause = jittered(max(retry_after for _, _, retry_after in refused))
    if now + pause >= end:
        return None
    return Batch([waiting for waiting, _, _ in refused], [photo for _, photo, _ in refused]), pause
