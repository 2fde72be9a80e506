"""Which photos of a stream have no answer yet, what to send next, and whose answer comes next."""

import heapq
from collections import deque
from dataclasses import dataclass

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client._converters import outcome, stream_photo
from planespotter_client._errors import (
    LOST_ON_THE_WAY,
    STREAM_ABORTED,
    InternalServerError,
    PlaneSpotterError,
    ProtocolError,
    UnavailableError,
    shortened,
)
from planespotter_client._image_inputs import Photo, photo_id
from planespotter_client._retry import jittered
from planespotter_client._types import PhotoResult, Prediction

# How often a connection may be lost while a photo is with the server, before that photo is taken for the cause.
MOST_BREAKS = 3
# What a stream holds of photos that have no answer yet, if not told otherwise; a server reads as much ahead.
WINDOW_BYTES = 64 * 1024 * 1024


@dataclass
class Pending:
    """A photo that waits for its answer."""

    index: int
    photo_id: str
    photo: Photo
    request: pb.StreamClassifyRequest | None = None
    """What was sent on a stream, until it is answered: it may have to be sent again."""
    place: int = -1
    """How many photos were sent before it on the same stream; -1 while it was not sent on this one."""
    breaks: int = 0
    """How many streams broke off between its sending and its answer."""
    refusals: int = 0
    """How often a server asked to send it again later."""

    def answered(self, outcome: Prediction | PlaneSpotterError) -> PhotoResult:
        """Return what became of it."""
        if isinstance(outcome, Prediction):
            return PhotoResult(self.index, self.photo_id, self.photo, prediction=outcome)
        return PhotoResult(self.index, self.photo_id, self.photo, error=outcome)


def pending(photo: Photo, index: int) -> Pending:
    """Return `photo` as one that waits."""
    return Pending(index, photo_id(photo, index), photo)


class Ledger:
    """Which photos still have no answer, and which to send next, over as many streams as it takes.

    Whatever ends a stream, all that then has no answer is sent again on the next one, in the order in which it was
    given; so is a photo that a busy server asks to send again later, after as long as it says, at most `retries`
    times. Each photo leaves the ledger once, so it has exactly one answer.

    A photo may be what makes servers break. One that was with the server when all but the last of MOST_BREAKS
    connections were lost is sent alone, so that no other is taken for the cause; if it is the first photo of a
    connection that is lost again, it gets an error for an answer.

    Times are in seconds of any clock. Not for several threads at once.
    """

    def __init__(self, address: str, retries: int = 0) -> None:
        self.all_given = False
        """Whether no more photos will be added."""
        self._address = address
        self._retries = retries
        self._waiting: dict[str, Pending] = {}
        self._to_send: deque[Pending] = deque()
        self._later: list[tuple[float, int, Pending]] = []  # a heap: when to send which again
        self._sent = 0  # on this stream, as are the following
        self._unanswered = 0
        self._alone = False  # whether the one that is unanswered shall have the stream for itself
        self._read_count: int | None = None

    def add(self, one: Pending, data: bytes) -> None:
        """Add a photo, which is to be sent."""
        one.request = stream_photo(str(one.index), data)
        self._waiting[str(one.index)] = one
        self._to_send.append(one)

    @property
    def waits(self) -> bool:
        """Whether any photo has no answer."""
        return bool(self._waiting)

    @property
    def done(self) -> bool:
        """Whether each photo has its answer, and no more will come."""
        return self.all_given and not self._waiting

    @property
    def all_sent(self) -> bool:
        """Whether this stream has nothing more to send, ever."""
        return self._read_count is not None or (self.all_given and not self._to_send and not self._later)

    def has_more(self, now: float) -> bool:
        """Return whether there is something to send at the time `now`."""
        while self._later and self._later[0][0] <= now:
            self._to_send.append(heapq.heappop(self._later)[2])
        if self._read_count is not None or not self._to_send or self._alone:
            return False
        return not (self._unanswered and _suspect(self._to_send[0]))

    def next_time(self) -> float | None:
        """Return when a photo is to be sent that must wait until then; None if there is none."""
        return self._later[0][0] if self._later else None

    def next_request(self) -> pb.StreamClassifyRequest:
        """Return what to send next, if `has_more`."""
        one = self._to_send.popleft()
        one.place = self._sent
        self._sent += 1
        self._unanswered += 1
        self._alone = _suspect(one)
        assert one.request is not None
        return one.request

    def note(self, response: pb.StreamClassifyResponse, now: float) -> PhotoResult | None:
        """Return the answer that `response` holds; None if it is word that the server goes away, or to try again later.

        Raises ProtocolError for an answer to no photo that waits for one.
        """
        if response.HasField("drain_notice"):
            self._read_count = response.drain_notice.accepted_count
            return None
        result = response.result
        one = self._waiting.get(result.id)
        if one is None or one.place < 0:
            raise ProtocolError(
                f"What answers at {self._address} is no planespotter server: it answered a photo "
                f"{shortened(repr(result.id))} that was not sent or was answered before.",
                reason="PROTOCOL_VIOLATION",
            )
        self._unanswered -= 1
        self._alone = False
        said = outcome(result, one.photo_id)
        if isinstance(said, PlaneSpotterError) and said.retry_after is not None and one.refusals < self._retries:
            one.refusals += 1
            one.place = -1
            heapq.heappush(self._later, (now + jittered(said.retry_after), one.index, one))
            return None
        return self._settle(one, said)

    def ended(self) -> None:
        """Take note that the server ended the stream well; what has no answer is for the next one.

        Raises ProtocolError if photos that it should have answered have no answer.
        """
        promised = self._read_count
        owed = any(one.place >= 0 and (promised is None or one.place < promised) for one in self._waiting.values())
        if owed or (promised is None and (self._to_send or not self.all_given)):
            raise ProtocolError(
                f"What answers at {self._address} is no planespotter server: it ended the stream before it had "
                "answered all photos.",
                reason="PROTOCOL_VIOLATION",
            )
        self._begin()

    def broke(self, error: PlaneSpotterError) -> list[PhotoResult]:
        """Take note that the stream ended with `error`; what has no answer is for the next one.

        Returns the answers of the photos that were with a server that broke once too often.
        """
        given_up = []
        if isinstance(error, UnavailableError) and error.reason in LOST_ON_THE_WAY:
            read_count = self._sent if self._read_count is None else self._read_count
            for one in self._waiting.values():
                alone = one.place == 0 and error.reason != STREAM_ABORTED
                if 0 <= one.place < read_count and (alone or not _suspect(one)):
                    one.breaks += 1
            given_up = [one for one in self._waiting.values() if one.breaks >= MOST_BREAKS]
        answers = [
            self._settle(
                one,
                InternalServerError(
                    f"The connection to {self._address} was lost {MOST_BREAKS} times while this photo was with the "
                    "server, so perhaps the photo makes it fail. Look at the photo and at the server's log.",
                    reason="POISON_PHOTO",
                    metadata={"times": str(MOST_BREAKS)},
                    photo_id=one.photo_id,
                ),
            )
            for one in given_up
        ]
        self._begin()
        return answers

    def _begin(self) -> None:
        later = {one.index for _, _, one in self._later}
        self._to_send = deque(one for one in self._waiting.values() if one.index not in later)
        self._sent = self._unanswered = 0
        self._alone, self._read_count = False, None
        for one in self._waiting.values():
            one.place = -1

    def _settle(self, one: Pending, said: Prediction | PlaneSpotterError) -> PhotoResult:
        del self._waiting[str(one.index)]
        one.request = None
        return one.answered(said)


def _suspect(one: Pending) -> bool:
    return one.breaks >= MOST_BREAKS - 1


class Window:
    """Room for photos that are taken from their source while their answers are not: so many, and so many bytes.

    One photo always fits, whatever it weighs. Not for several threads at once.
    """

    def __init__(self, photos: int, most_bytes: int) -> None:
        self._photos = photos
        self._most_bytes = most_bytes
        self._sizes: dict[int, int] = {}
        self._bytes = 0

    def take(self, index: int, size: int = 0) -> bool:
        """Take a place for the photo number `index`; once it has one, the room for its `size` bytes.

        Returns whether there was so much room.
        """
        if index in self._sizes:
            room = not self._bytes or self._bytes + size <= self._most_bytes
        else:
            room = len(self._sizes) < self._photos
        if room:
            self._sizes[index] = size
            self._bytes += size
        return room

    def free(self, index: int) -> None:
        """Give back what was taken for the photo number `index`."""
        self._bytes -= self._sizes.pop(index)


class InOrder:
    """Holds answers back until those of the photos given before are there."""

    def __init__(self) -> None:
        self._next = 0
        self._held: dict[int, PhotoResult] = {}

    def add(self, answer: PhotoResult) -> list[PhotoResult]:
        """Return the answers whose turn it is now that `answer` is there."""
        self._held[answer.index] = answer
        ready = []
        while (following := self._held.pop(self._next, None)) is not None:
            ready.append(following)
            self._next += 1
        return ready

    def rest(self) -> list[PhotoResult]:
        """Return all that is held back, for a stream that ends without the others."""
        return [self._held[index] for index in sorted(self._held)]
