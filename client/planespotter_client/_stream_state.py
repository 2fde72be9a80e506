"""State of a stream across reconnects: which photos are unanswered, and what to send next."""

import heapq
from collections import deque
from dataclasses import dataclass

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client._converters import outcome, stream_photos
from planespotter_client._errors import (
    CONNECTION_LOST_REASONS,
    STREAM_ABORTED,
    InternalServerError,
    PlaneSpotterError,
    ProtocolError,
    UnavailableError,
    is_caller_fault,
    truncated,
)
from planespotter_client._image_inputs import (
    ENVELOPE_BYTES,
    ENVELOPE_BYTES_PER_PHOTO,
    Photo,
    PhotoWithId,
    split_id,
)
from planespotter_client._retry import with_jitter
from planespotter_client._types import Limits, PhotoResult, Prediction

MAX_LOST_CONNECTIONS = 3
"""Number of connections that are lost while a photo is in flight, after which it is treated as a poison photo."""


@dataclass
class Pending:
    """A photo without a result."""

    index: int
    photo_id: str
    photo: Photo
    content: bytes = b""
    """The file that is sent on a stream, kept until the photo is answered: it may have to be sent again."""
    position: int = -1
    """Number of photos sent before it on the current stream; -1 if it was not sent on this one."""
    lost_connections: int = 0
    """Number of streams that broke while it was in flight."""
    rejections: int = 0
    """Number of times that a server asked to retry it later."""

    def to_result(self, outcome: Prediction | PlaneSpotterError) -> PhotoResult:
        """Return the result of the photo.

        Raises:
            PlaneSpotterError: `outcome` is an error that is the fault of the caller, not of the photo.
        """
        if isinstance(outcome, Prediction):
            return PhotoResult(self.index, self.photo_id, self.photo, prediction=outcome)
        if is_caller_fault(outcome):
            raise outcome
        return PhotoResult(self.index, self.photo_id, self.photo, error=outcome)


def pending(photo: Photo | PhotoWithId, index: int) -> Pending:
    """Return the `index`-th photo as a pending one. Raises TypeError for a tuple that is not an id and a photo."""
    return Pending(index, *split_id(photo, index))


class StreamState:
    """The unanswered photos of a stream, over as many connections as it takes. Exactly one result per photo.

    However a connection ends, all unanswered photos are sent again on the next one, in order. A photo that a busy
    server rejects is sent again after the server's retry delay, at most `retries` times.

    A poison photo may crash every server that it reaches. A photo that was in flight when MAX_LOST_CONNECTIONS - 1
    connections were lost is sent alone, so that no other photo is blamed. If that connection is lost too, the photo
    gets an error.

    Times are in seconds of any clock. Not thread-safe.

    Args:
        address: Address of the server, for error messages.
        retries: Maximum number of retries of a photo that a busy server rejects.
        limits: Limits of the server, which may accept several photos in a message; None for one photo per message.
    """

    def __init__(self, address: str, retries: int = 0, limits: Limits | None = None) -> None:
        self._max_photos = 1 if limits is None else max(1, limits.max_photos_per_message)
        self._max_bytes = 0 if limits is None else limits.max_message_bytes
        self.source_exhausted = False
        """Whether no more photos will be added."""
        self._address = address
        self._retries = retries
        self._unanswered: dict[str, Pending] = {}
        self._to_send: deque[Pending] = deque()
        self._delayed: list[tuple[float, int, Pending]] = []  # a heap by due time
        # The rest is about the current connection.
        self._sent = 0
        self._in_flight = 0
        self._isolated = False  # whether the photo in flight must be the only one
        self._accepted_count: int | None = None  # of the server's drain notice

    def add(self, photo: Pending, content: bytes) -> None:
        """Add a photo to send."""
        photo.content = content
        self._unanswered[str(photo.index)] = photo
        self._to_send.append(photo)

    @property
    def has_unanswered(self) -> bool:
        """Whether any photo is unanswered."""
        return bool(self._unanswered)

    @property
    def done(self) -> bool:
        """Whether every photo is answered and no more will come."""
        return self.source_exhausted and not self._unanswered

    @property
    def all_sent(self) -> bool:
        """Whether this connection has nothing more to send, now or later."""
        if self._accepted_count is not None:
            return True
        return self.source_exhausted and not self._to_send and not self._delayed

    def can_send(self, now: float) -> bool:
        """Return whether a photo can be sent at the time `now`."""
        while self._delayed and self._delayed[0][0] <= now:
            self._to_send.append(heapq.heappop(self._delayed)[2])
        if self._accepted_count is not None or not self._to_send or self._isolated:
            return False
        return not (self._in_flight and _is_suspect(self._to_send[0]))

    def next_due(self) -> float | None:
        """Return when the next delayed photo is due; None if there is none."""
        return self._delayed[0][0] if self._delayed else None

    def next_request(self) -> pb.StreamClassifyRequest:
        """Return the next message to send, with all photos that wait if they fit. Call it only if `can_send`."""
        photos = [self._next_photo()]
        size = ENVELOPE_BYTES + _size(photos[0])
        while len(photos) < self._max_photos and self._to_send and not self._isolated:
            size += _size(self._to_send[0])
            if size > self._max_bytes or _is_suspect(self._to_send[0]):
                break
            photos.append(self._next_photo())
        return stream_photos([(str(photo.index), photo.content) for photo in photos])

    def _next_photo(self) -> Pending:
        photo = self._to_send.popleft()
        photo.position = self._sent
        self._sent += 1
        self._in_flight += 1
        self._isolated = _is_suspect(photo)
        return photo

    def handle_response(self, response: pb.StreamClassifyResponse, now: float) -> list[PhotoResult]:
        """Process a message of the server.

        Returns:
            The results in it, without those of photos that will be retried.

        Raises:
            ProtocolError: A result is for a photo that is not in flight.
            PlaneSpotterError: A result is an error that is the fault of the caller, not of the photo.
        """
        if response.HasField("drain_notice"):
            self._accepted_count = response.drain_notice.accepted_count
            return []
        results = response.results.results if response.HasField("results") else [response.result]
        settled = [self._handle_result(result, now) for result in results]
        return [result for result in settled if result is not None]

    def _handle_result(self, result: pb.PhotoResult, now: float) -> PhotoResult | None:
        photo = self._unanswered.get(result.id)
        if photo is None or photo.position < 0:
            raise ProtocolError(
                f"The server at {self._address} violated the protocol: it sent a result for the photo "
                f"{truncated(repr(result.id))}, which was not sent or was already answered.",
                reason="PROTOCOL_VIOLATION",
            )
        self._in_flight -= 1
        self._isolated = False
        outcome_ = outcome(result, photo.photo_id)
        if (
            isinstance(outcome_, PlaneSpotterError)
            and outcome_.retry_after is not None
            and photo.rejections < self._retries
        ):
            photo.rejections += 1
            photo.position = -1
            heapq.heappush(self._delayed, (now + with_jitter(outcome_.retry_after), photo.index, photo))
            return None
        return self._settle(photo, outcome_)

    def handle_end(self) -> None:
        """Process the end of the connection with OK; unanswered photos are sent on the next one.

        Raises:
            ProtocolError: The server has not answered every photo that it accepted.
        """
        accepted = self._accepted_count
        unkept = any(
            photo.position >= 0 and (accepted is None or photo.position < accepted)
            for photo in self._unanswered.values()
        )
        if unkept or (accepted is None and (self._to_send or not self.source_exhausted)):
            raise ProtocolError(
                f"The server at {self._address} violated the protocol: it ended the stream before it had answered all "
                "photos.",
                reason="PROTOCOL_VIOLATION",
            )
        self._reset_connection()

    def handle_failure(self, error: PlaneSpotterError) -> list[PhotoResult]:
        """Process a connection that failed with `error`; unanswered photos are sent on the next one.

        Returns:
            The errors of poison photos.
        """
        poison = []
        if isinstance(error, UnavailableError) and error.reason in CONNECTION_LOST_REASONS:
            accepted = self._sent if self._accepted_count is None else self._accepted_count
            for photo in self._unanswered.values():
                first = photo.position == 0 and error.reason != STREAM_ABORTED
                if 0 <= photo.position < accepted and (first or not _is_suspect(photo)):
                    photo.lost_connections += 1
            poison = [photo for photo in self._unanswered.values() if photo.lost_connections >= MAX_LOST_CONNECTIONS]
        results = [
            self._settle(
                photo,
                InternalServerError(
                    f"The connection to {self._address} was lost {MAX_LOST_CONNECTIONS} times while this photo was in "
                    "flight: it may crash the server. Check the photo and the server's log.",
                    reason="POISON_PHOTO",
                    metadata={"lost_connections": str(MAX_LOST_CONNECTIONS)},
                    photo_id=photo.photo_id,
                ),
            )
            for photo in poison
        ]
        self._reset_connection()
        return results

    def _reset_connection(self) -> None:
        delayed = {photo.index for _, _, photo in self._delayed}
        self._to_send = deque(photo for photo in self._unanswered.values() if photo.index not in delayed)
        self._sent = self._in_flight = 0
        self._isolated, self._accepted_count = False, None
        for photo in self._unanswered.values():
            photo.position = -1

    def _settle(self, photo: Pending, outcome: Prediction | PlaneSpotterError) -> PhotoResult:
        result = photo.to_result(outcome)
        del self._unanswered[str(photo.index)]
        photo.content = b""
        return result


def _size(photo: Pending) -> int:
    """Return the bytes of a photo in a message."""
    return len(photo.content) + len(str(photo.index)) + ENVELOPE_BYTES_PER_PHOTO


def _is_suspect(photo: Pending) -> bool:
    return photo.lost_connections >= MAX_LOST_CONNECTIONS - 1
