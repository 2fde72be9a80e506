"""Bound what the server works on at a time, in photos, bytes and seconds, from a photo's arrival to its answer."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from planespotter_server.rejections import RequestRejected, shutting_down

# The pace at which photos of single calls leave is taken from the last so many of them, while at least CROWD are in
# work: fewer do not fill the batches, and would look slower than the device is. So many must have left before anybody
# is refused for it.
PACE_PHOTOS = 256
CROWD = 8
PACE_KNOWN_AFTER = 16
# Who is refused comes back after a time within these bounds, in seconds: not in a storm, and not never.
RETRY_AFTER_LEAST, RETRY_AFTER_MOST = 0.05, 30.0
RETRY_AFTER_UNKNOWN = 1.0


class Place:
    """The room that one photo takes. Use it with `with`; `leave` gives it back, and may be called twice."""

    def __init__(self, room: "Room", size: int, single: bool) -> None:
        self._room = room
        self._size = size
        self._single = single
        self._taken = True

    def leave(self) -> None:
        """Give the room back."""
        if self._taken:
            self._taken = False
            self._room.give_back(self._size, self._single)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.leave()


class Room:
    """Room for `photos` photos of together `size` bytes.

    A single call that finds no room is refused at once. So it is if its photo's turn would come only after more than
    `seconds`, by the pace of the photos of single calls before it: better to hear of it now than to wait and hear
    nothing. `at_once` photos are let in whatever the pace is, so that a call with as many can be answered at all.

    A stream waits instead: as long as it does not read, its client cannot send. So that streams cannot shut out single
    calls, a quarter of the room is not given to them. Callers take turns at the device, so what streams have in work
    hardly makes a single call wait, and the pace of single calls says how much.

    `clock` returns seconds.
    """

    def __init__(
        self,
        photos: int,
        size: int,
        seconds: float = math.inf,
        at_once: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        # When the last photos of single calls left; before them, since when there was always a crowd of them.
        self._left: deque[float] = deque(maxlen=PACE_PHOTOS)
        self._photos_limit = photos
        self._size_limit = size
        self._seconds_limit = seconds
        self._at_once = at_once
        self._crowd = min(CROWD, photos)
        self._singles = 0
        self._photos = 0
        self._size = 0
        self._closed = False
        self._waiting: deque[tuple[int, asyncio.Future[Place]]] = deque()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def closed(self) -> bool:
        """Whether nothing more is let in."""
        return self._closed

    @property
    def photos(self) -> int:
        """How many photos are in it."""
        return self._photos

    def enter(self, size: int, time_left: float | None = None, *, paced: bool = True) -> Place:
        """Take room for one photo of `size` bytes of a single call, which has `time_left` seconds, None for ever.

        One that is not `paced` says nothing of the pace of the others: it has more done to it, beside the batches.
        Raises RequestRejected: QUEUE_FULL or SHUTTING_DOWN.
        """
        if self._closed:
            raise shutting_down()
        if not self._fits(size, self._photos_limit, self._size_limit):
            raise self._full(
                f"its limits are {self._photos_limit:,} photos and {self._size_limit:,} bytes",
                photos_limit=self._photos_limit,
                bytes_limit=self._size_limit,
            )
        limit = self._seconds_limit if self._singles >= self._at_once else math.inf
        if time_left is not None:
            limit = min(limit, time_left)
        known = self._singles >= self._crowd and len(self._left) > PACE_KNOWN_AFTER  # else it may count idle hours
        if limit < math.inf and known and (wait := self._wait()) > limit:
            which = "its limit is" if limit == self._seconds_limit else "the call's deadline leaves"
            raise self._full(
                f"the turn of one more would come in about {wait:.2g} s, and {which} {limit:.2g} s",
                wait_seconds=f"{wait:.3g}",
                wait_limit_seconds=f"{limit:.3g}",
            )
        return self._take(size, single=paced)

    def _full(self, why: str, **figures: object) -> RequestRejected:
        retry_after = self.retry_after()
        return RequestRejected(
            "QUEUE_FULL",
            f"The server already works on {self._photos:,} photos ({self._size:,} bytes); {why}. Try again in "
            f"{retry_after:.2g} s.",
            metadata={"photos": self._photos, "bytes": self._size, **figures},
            retry_after=retry_after,
        )

    def retry_after(self) -> float:
        """Return in how many seconds half of the photos of single calls will be done, at the pace of the last ones.

        Not all of them, or the device would run dry before those who were refused are back.
        """
        if len(self._left) < 2:
            return RETRY_AFTER_UNKNOWN
        return min(RETRY_AFTER_MOST, max(RETRY_AFTER_LEAST, self._wait() / 2))

    def _wait(self) -> float:
        """Return in how many seconds the photos of single calls that are in work will be done, at their last pace."""
        return self._singles * (self._clock() - self._left[0]) / (len(self._left) - 1)

    async def until_open(self) -> None:
        """Return once there is room for streams, without taking it. Raises RequestRejected SHUTTING_DOWN.

        So a stream reads its next photo only when it is likely to find room, and holds at most that one beyond it.
        """
        if self._closed:
            raise shutting_down()
        if self._waiting or not self._fits_stream(0):
            (await self.wait(0)).leave()

    async def wait(self, size: int) -> Place:
        """Take room for one photo of `size` bytes of a stream, waiting for it in turn.

        Raises RequestRejected SHUTTING_DOWN.
        """
        if self._closed:
            raise shutting_down()
        if not self._waiting and self._fits_stream(size):
            return self._take(size, single=False)
        granted: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, granted))
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().leave()  # it was granted in the same moment
            raise

    def give_back(self, size: int, single: bool) -> None:
        """Take note that a photo of `size` bytes has left, and let in who waits (for Place.leave)."""
        self._photos -= 1
        self._size -= size
        if single:
            self._singles -= 1
            self._left.append(self._clock())
        while self._waiting and (self._waiting[0][1].done() or self._fits_stream(self._waiting[0][0])):
            size, granted = self._waiting.popleft()
            if not granted.done():
                granted.set_result(self._take(size, single=False))
        if not self._photos:
            self._empty.set()

    def close(self) -> None:
        """Refuse everything from now on, also to those who wait."""
        self._closed = True
        for _, granted in self._waiting:
            if not granted.done():
                granted.set_exception(shutting_down())
                granted.exception()  # marks it as seen: the stream may end before it looks
        self._waiting.clear()

    async def wait_until_empty(self) -> None:
        """Return when every photo has left."""
        await self._empty.wait()

    def _fits_stream(self, size: int) -> bool:
        return self._fits(size, max(1, self._photos_limit * 3 // 4), self._size_limit * 3 // 4)

    def _fits(self, size: int, photos_limit: int, size_limit: int) -> bool:
        # Where nothing else is in work even a photo beyond the limit goes through: else it would wait for ever.
        return self._photos == 0 or (self._photos < photos_limit and self._size + size <= size_limit)

    def _take(self, size: int, single: bool) -> Place:
        if single:
            self._singles += 1
            if self._singles == self._crowd:
                self._left.clear()
                self._left.append(self._clock())
        self._photos += 1
        self._size += size
        self._empty.clear()
        return Place(self, size, single)
