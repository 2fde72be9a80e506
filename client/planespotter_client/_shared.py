"""All that the two clients share: everything that does not wait for the network."""

import json
import os
import re
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client._errors import (
    BadRequestError,
    PlaneSpotterError,
    UnavailableError,
    UnreadablePhotoError,
    WrongServerError,
    from_status,
    shortened,
)
from planespotter_client._results import (
    Alternative,
    Classification,
    Level,
    Limits,
    Metric,
    Model,
    PhotoAnswer,
    ScoredLabel,
    Thresholds,
)

Photo = str | os.PathLike[str] | bytes | BinaryIO
"""A path, the bytes of a JPEG, PNG or WebP file, or such a file opened in binary mode."""

DEFAULT_ADDRESS = "127.0.0.1:50051"
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
# What a message needs beside its photos: names, options, lengths.
ENVELOPE_BYTES = 1024
ENVELOPE_BYTES_PER_PHOTO = 16

LEVELS = {
    pb.LEVEL_CONSTRUCTOR: Level.CONSTRUCTOR,
    pb.LEVEL_FAMILY: Level.FAMILY,
    pb.LEVEL_MODEL: Level.MODEL,
}  # whatever a later contract adds counts as unknown

# HOST:PORT, or what gRPC calls a target: a scheme and what it needs.
_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")
_TARGET = re.compile(r"(?:dns|unix|unix-abstract|vsock|xds):\S+|(?:ipv4|ipv6):\S+:[0-9]{1,5}")

RETRIED = ("Classify", "BatchClassify", "GetModel")  # a broken stream is not resumed by gRPC


def check_address(address: str) -> str:
    """Return `address` if a server can be looked for there. Raises BadRequestError.

    gRPC itself takes anything, and port 443 where none is given, and only says that nothing answers.
    """
    found = _HOST_AND_PORT.fullmatch(address)
    if _TARGET.fullmatch(address) or (found and 0 < int(found["port"]) < 2**16):
        return address
    raise BadRequestError(
        f"{shortened(repr(address))} is no address of a server. Write HOST:PORT, such as {DEFAULT_ADDRESS} or "
        "[::1]:50051, or a gRPC target such as dns:///planes.example:50051 or unix:/run/planes.sock.",
        reason="ADDRESS_MALFORMED",
    )


def channel_options() -> list[tuple[str, Any]]:
    """Return the options of a channel."""
    service_config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{"service": "planespotter.v1.ClassifierService", "method": method} for method in RETRIED],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
    return [
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),  # calls beyond it (256 KiB) are never retried
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", -1),  # the server's limits count; they are checked before sending
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def photo_id(photo: Photo, index: int | None = None) -> str:
    """Return what to call `photo` towards the user: its path, else its index among many, else ""."""
    if isinstance(photo, str | os.PathLike):
        return os.fspath(photo)
    name = getattr(photo, "name", None)
    if isinstance(name, str):
        return name
    return "" if index is None else str(index)


def read_photo(photo: Photo, limits: Limits, name: str = "") -> bytes:
    """Return the bytes of `photo`. Raises UnreadablePhotoError, and BadRequestError for a file that is too large."""
    if isinstance(photo, bytes | bytearray | memoryview):
        data = bytes(photo)
    elif isinstance(photo, str | os.PathLike):
        try:
            data, size = _read_file(Path(photo), limits.max_photo_bytes)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            raise UnreadablePhotoError(
                f"The photo {os.fspath(photo)} cannot be read: {getattr(error, 'strerror', None) or error}.",
                reason="PHOTO_UNREADABLE",
                photo_id=name,
            ) from error
        _check_size(size, limits, name)
    elif hasattr(photo, "read"):
        # One byte beyond the limit is enough to know.
        data = photo.read(limits.max_photo_bytes + 1)
        if not isinstance(data, bytes):
            raise TypeError("A photo given as a file must be opened in binary mode: open(path, 'rb').")
    else:
        raise TypeError(f"A photo is a path, bytes or a file opened in binary mode, not {type(photo).__name__}.")
    _check_size(len(data), limits, name)
    return data


def _read_file(path: Path, limit: int) -> tuple[bytes, int]:
    """Return what is in the file, at most one byte more than `limit`, and its size. Raises OSError and ValueError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, and a device may never end
        raise ValueError("it is no file with a content of its own but a folder, a pipe, a socket or a device")
    if status.st_size > limit:
        return b"", status.st_size
    with path.open("rb") as file:  # it may grow meanwhile, and files of the kernel have no size at all
        data = file.read(limit + 1)
    return data, len(data)


def _check_size(size: int, limits: Limits, name: str) -> None:
    limit = min(limits.max_photo_bytes, limits.max_message_bytes - ENVELOPE_BYTES)
    if size > limit:
        raise BadRequestError(
            f"The photo{f' {name}' if name else ''} has at least {size:,} bytes; the server's limit is {limit:,}. "
            "Scale it down.",
            reason="PHOTO_TOO_LARGE",
            metadata={"bytes": str(size), "limit": str(limit)},
            photo_id=name,
        )


def options(model: str, alternatives: int, limits: Limits) -> pb.ClassifyOptions:
    """Return the options of a request. Raises BadRequestError."""
    if not 0 <= alternatives <= limits.max_alternatives:
        raise BadRequestError(
            f"alternatives is {alternatives}, but must lie between 0 and {limits.max_alternatives}.",
            reason="ALTERNATIVES_OUT_OF_RANGE",
            metadata={"alternatives": str(alternatives), "limit": str(limits.max_alternatives)},
        )
    return pb.ClassifyOptions(model_name=model, alternatives=alternatives)


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

    def answered(self, outcome: Classification | PlaneSpotterError) -> PhotoAnswer:
        """Return what became of it."""
        if isinstance(outcome, Classification):
            return PhotoAnswer(self.index, self.photo_id, self.photo, classification=outcome)
        return PhotoAnswer(self.index, self.photo_id, self.photo, error=outcome)


def pending(photo: Photo, index: int) -> Pending:
    """Return `photo` as one that waits."""
    return Pending(index, photo_id(photo, index), photo)


@dataclass
class Batch:
    """Photos that go in one BatchClassify call."""

    waiting: list[Pending]
    photos: list[bytes]


def batches(photos: Sequence[Photo], limits: Limits) -> Iterator[Batch | PhotoAnswer]:
    """Read `photos` and cut them into batches within `limits`; a photo that cannot be sent comes as its answer."""
    batch, size = Batch([], []), ENVELOPE_BYTES
    for index, photo in enumerate(photos):
        waiting = pending(photo, index)
        try:
            data = read_photo(photo, limits, waiting.photo_id)
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


def batch_failed(batch: Batch, error: PlaneSpotterError) -> list[PhotoAnswer]:
    """Return the answers to a `batch` whose call failed: its error for each."""
    return [waiting.answered(error) for waiting in batch.waiting]


def batch_answers(batch: Batch, response: pb.BatchClassifyResponse, address: str) -> list[PhotoAnswer]:
    """Return the answers of the server at `address` to `batch`, in its order. Raises WrongServerError."""
    if len(response.results) != len(batch.waiting):
        raise WrongServerError(
            f"What answers at {address} is no planespotter server: it gave {len(response.results):,} results for "
            f"{len(batch.waiting):,} photos."
        )
    return [
        waiting.answered(outcome(result, waiting.photo_id))
        for waiting, result in zip(batch.waiting, response.results, strict=True)
    ]


def outcome(
    message: pb.BatchClassifyResult | pb.StreamClassifyResponse, name: str
) -> Classification | PlaneSpotterError:
    """Return what a message says about the photo called `name`."""
    if message.HasField("error"):
        return from_status(message.error, name)
    return classification(message.classification)


def classification(message: pb.Classification) -> Classification:
    """Return a message as a Classification."""
    return Classification(
        level=LEVELS.get(message.level, Level.UNKNOWN),
        constructor=_scored(message.constructor),
        family=_scored(message.family),
        model=_scored(message.model),
        alternatives=tuple(
            Alternative(leaf.constructor, leaf.family, leaf.model, leaf.probability) for leaf in message.alternatives
        ),
    )


def _scored(label: pb.ScoredLabel) -> ScoredLabel:
    return ScoredLabel(label.name, label.probability)


def model(message: pb.GetModelResponse) -> Model:
    """Return a message as a Model."""
    described = message.model
    return Model(
        name=described.name,
        version=described.version,
        tree={
            constructor.name: {family.name: tuple(family.models) for family in constructor.families}
            for constructor in described.constructors
        },
        input_size=(described.input_size.height, described.input_size.width),
        thresholds=Thresholds(
            described.thresholds.constructor, described.thresholds.family, described.thresholds.model
        ),
        metrics=tuple(Metric(metric.source, metric.name, metric.value, metric.photos) for metric in described.metrics),
        limits=Limits(**{limit.name: getattr(message.limits, limit.name) for limit in fields(Limits)}),
    )


# How long to wait before a stream is opened again, in seconds: the first time, and at most.
REOPEN_FIRST, REOPEN_MOST = 0.1, 2.0


class Ledger:
    """Which photos still have no answer, and which to send next, over as many streams as it takes.

    A server that shuts down says so, answers what it has read and ends the stream: what then has no answer is sent
    again on the next stream. Each photo leaves the ledger once, so it has exactly one answer. Not for several
    threads at once.
    """

    def __init__(self, address: str) -> None:
        self.all_given = False
        """Whether no more photos will be added."""
        self._address = address
        self._waiting: dict[str, Pending] = {}
        self._to_send: deque[Pending] = deque()
        self._sent = 0
        self._read_count: int | None = None

    def begin(self) -> None:
        """Begin a stream: all that has no answer is to be sent, in the order in which it was given."""
        self._to_send = deque(self._waiting.values())
        self._sent, self._read_count = 0, None
        for one in self._to_send:
            one.place = -1

    def add(self, one: Pending, data: bytes, options: pb.ClassifyOptions) -> None:
        """Add a photo, which is to be sent."""
        one.request = pb.StreamClassifyRequest(photo_id=str(one.index), photo=data, options=options)
        self._waiting[str(one.index)] = one
        self._to_send.append(one)

    @property
    def has_more(self) -> bool:
        """Whether there is something to send now."""
        return bool(self._to_send) and self._read_count is None

    @property
    def all_sent(self) -> bool:
        """Whether this stream has nothing more to send, ever."""
        return self._read_count is not None or (self.all_given and not self._to_send)

    def next_request(self) -> pb.StreamClassifyRequest:
        """Return what to send next."""
        one = self._to_send.popleft()
        one.place = self._sent
        self._sent += 1
        assert one.request is not None
        return one.request

    def note(self, response: pb.StreamClassifyResponse) -> PhotoAnswer | None:
        """Return the answer that `response` holds; None if it only says that the server goes away.

        Raises WrongServerError for an answer to no photo that waits for one.
        """
        if response.WhichOneof("outcome") == "going_away":
            self._read_count = response.going_away.read_count
            return None
        one = self._waiting.pop(response.photo_id, None)
        if one is None:
            raise WrongServerError(
                f"What answers at {self._address} is no planespotter server: it answered a photo "
                f"{shortened(repr(response.photo_id))} that was not sent or was answered before."
            )
        one.request = None
        return one.answered(outcome(response, one.photo_id))

    def end(self) -> bool:
        """Take note that the server ended the stream well; return whether all is done, else another stream is needed.

        Raises WrongServerError if photos that it should have answered have no answer.
        """
        if not self._waiting and self.all_given:
            return True
        promised = self._read_count
        if promised is None or any(0 <= one.place < promised for one in self._waiting.values()):
            raise WrongServerError(
                f"What answers at {self._address} is no planespotter server: it ended the stream before it had "
                "answered all photos."
            )
        return False


@dataclass
class Reopening:
    """Whether a stream that ended is opened again, and how soon.

    Only after the server has said that it goes away: then another takes over, at once or within `patience` seconds.
    """

    patience: float
    _until: float | None = None
    _delay: float = REOPEN_FIRST

    def moved(self, now: float) -> None:
        """Take note that the server has gone away, at the time `now` in seconds."""
        if self._until is None:
            self._until, self._delay = now + self.patience, REOPEN_FIRST

    def answered(self) -> None:
        """Take note that a server answers photos."""
        self._until = None

    def may_follow(self, error: PlaneSpotterError, now: float) -> bool:
        """Return whether another stream may fare better than the one that ended with `error` at the time `now`."""
        return isinstance(error, UnavailableError) and self._until is not None and now < self._until

    def delay(self) -> float:
        """Return how many seconds to wait before the next stream."""
        delay, self._delay = self._delay, min(REOPEN_MOST, 2 * self._delay)
        return delay
