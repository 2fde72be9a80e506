"""Batching: split photos into BatchClassify calls within the server's limits, and retry rejected photos."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client._converters import batch_request, outcome
from planespotter_client._errors import PlaneSpotterError, ProtocolError, is_caller_fault
from planespotter_client._image_inputs import (
    ENVELOPE_BYTES,
    ENVELOPE_BYTES_PER_PHOTO,
    Photo,
    PhotoWithId,
    check_is_collection,
    read_photo,
)
from planespotter_client._retry import with_jitter
from planespotter_client._stream_state import Pending, pending
from planespotter_client._types import Limits, PhotoResult
from planespotter_photos.counts import count_noun


@dataclass
class Batch:
    """Photos of one BatchClassify call, and their encoded contents."""

    pending: list[Pending]
    contents: list[bytes]


def batches(
    photos: Sequence[Photo | PhotoWithId], limits: Limits, downscale_to: tuple[int, int] | None
) -> Iterator[Batch | PhotoResult]:
    """Read photos and split them into batches; yield a photo that cannot be sent as its result.

    Args:
        photos: Photos in order.
        limits: Limits of the server.
        downscale_to: (height, width) to downscale to; None to send photos unchanged.

    Raises:
        PlaneSpotterError: A photo cannot be sent, and that is the fault of the caller: a package is missing.
    """
    batch, size = Batch([], []), ENVELOPE_BYTES
    for index, photo in enumerate(check_is_collection(photos)):
        unanswered = pending(photo, index)
        try:
            content = read_photo(unanswered.photo, limits, unanswered.photo_id, downscale_to)
        except PlaneSpotterError as error:
            yield unanswered.to_result(error)
            continue
        full = len(batch.contents) >= limits.max_batch_photos
        if batch.contents and (full or size + len(content) + ENVELOPE_BYTES_PER_PHOTO > limits.max_message_bytes):
            yield batch
            batch, size = Batch([], []), ENVELOPE_BYTES
        batch.pending.append(unanswered)
        batch.contents.append(content)
        size += len(content) + ENVELOPE_BYTES_PER_PHOTO
    if batch.contents:
        yield batch


class BatchCall:
    """The state of one batch over all its attempts.

    Args:
        batch: Photos to classify.
        address: Address of the server, for error messages.
        retries: Maximum number of retries of photos that a busy server rejects.
        end: Deadline, on the clock of `handle_response`.
    """

    def __init__(self, batch: Batch, address: str, retries: int, end: float) -> None:
        self.retries = retries
        self.results: list[PhotoResult] = []
        self._batch = batch
        self._address = address
        self._end = end

    def request(self, options: pb.ClassifyOptions) -> pb.BatchClassifyRequest:
        """Return the request for the photos that have no result yet."""
        return batch_request(self._batch.contents, options)

    def time_left(self, now: float) -> float:
        """Return the seconds until the deadline."""
        return self._end - now

    def handle_response(self, response: pb.BatchClassifyResponse, now: float) -> float | None:
        """Collect the results of a response.

        Returns:
            Seconds until the photos that a busy server rejected are retried; None if the batch is complete.

        Raises:
            ProtocolError: The number of results differs from the number of photos.
            PlaneSpotterError: A result is an error that is the fault of the caller, not of the photo.
        """
        batch = self._batch
        if len(response.results) != len(batch.pending):
            raise ProtocolError(
                f"The server at {self._address} violated the protocol: it sent "
                f"{count_noun(len(response.results), 'result')} for {count_noun(len(batch.pending), 'photo')}.",
                reason="PROTOCOL_VIOLATION",
            )
        results = [
            photo.to_result(outcome(result, photo.photo_id))
            for photo, result in zip(batch.pending, response.results, strict=True)
        ]
        delays = [None if result.error is None else result.error.retry_after for result in results]
        pause = with_jitter(max((delay for delay in delays if delay is not None), default=0.0))
        retried = [delay is not None for delay in delays]
        if not any(retried) or not self.retries or now + pause >= self._end:
            self.results += results
            return None
        self.results += [result for result, retry in zip(results, retried, strict=True) if not retry]
        self._batch = Batch(
            [photo for photo, retry in zip(batch.pending, retried, strict=True) if retry],
            [content for content, retry in zip(batch.contents, retried, strict=True) if retry],
        )
        self.retries -= 1
        return pause

    def handle_failure(self, error: PlaneSpotterError) -> None:
        """Give `error` to each photo that has no result yet; raise it if it is the fault of the caller."""
        if is_caller_fault(error):
            raise error
        self.results += [photo.to_result(error.about(photo.photo_id)) for photo in self._batch.pending]
