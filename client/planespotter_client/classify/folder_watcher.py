"""Photos that arrive in a folder, each as soon as it is complete; and a stream that outlives its server.

The folder is looked through again and again: that works on every drive, also where the system does not tell of
changes, such as on network drives.
"""

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from planespotter_client._errors import DeadlineError, PlaneSpotterError, UnavailableError
from planespotter_client.classify.answer_log import Done
from planespotter_client.classify.file_discovery import find_photos

if TYPE_CHECKING:
    from planespotter_client import PhotoAnswer, PlaneSpotter

# A photo is complete when it has not changed for so many seconds: the first, if its end is there; else the second,
# for it may be a format's way to have no end, but is more likely an upload that has paused.
SETTLED, GIVEN_UP = 1.0, 60.0
# Seconds between two looks; a look itself takes some 5 microseconds a file.
PAUSE, PAUSE_PER_FILE = 0.5, 20e-6
# Where the end of a JPEG may be: cameras put previews and notes behind it.
TAIL = 65_536


class Seen(NamedTuple):
    """How a file was when it was looked at, and since when (seconds) it has been so."""

    state: tuple[int, int, int]
    since: float


class Folder:
    """A folder in which photos arrive: `look` says which are complete, each once."""

    def __init__(self, folder: Path, recursive: bool = True, leave_out: Path | None = None) -> None:
        self._folder = folder
        self._recursive = recursive
        self._leave_out = leave_out
        self._taken = Done()
        self._waiting: dict[str, Seen] = {}

    def look(self, now: float) -> Iterator[str]:
        """Yield the photos that are complete at the time `now`, in seconds, and have not been given before."""
        waiting: dict[str, Seen] = {}
        for photo in find_photos([self._folder], self._recursive, leave_out=self._leave_out):
            if os.path.basename(photo).startswith(".") or photo in self._taken:  # noqa: PTH119
                continue
            try:
                found = os.stat(photo)  # noqa: PTH116
            except OSError:  # gone again, or a link to what is not there yet
                continue
            state = (found.st_ino, found.st_size, found.st_mtime_ns)
            seen = self._waiting.get(photo)
            if seen is None or seen.state != state:
                waiting[photo] = Seen(state, now)
            elif now - seen.since >= (SETTLED if has_end(photo) else GIVEN_UP):
                self._taken.add(photo)
                yield photo
            else:
                waiting[photo] = seen
        self._waiting = waiting

    def photos(self, stop: threading.Event) -> Iterator[str]:
        """Yield photos as they become complete, until `stop` is set."""
        while not stop.is_set():
            yield from self.look(time.monotonic())
            stop.wait(PAUSE + PAUSE_PER_FILE * (len(self._taken) + len(self._waiting)))


def has_end(photo: str) -> bool:
    """Return whether the file at `photo` ends as its format does. One that is no JPEG, PNG or WebP has no other end."""
    try:
        with open(photo, "rb") as file:  # noqa: PTH123
            head = file.read(12)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            tail = file.read()
    except OSError:
        return False
    if head.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in tail
    if head.startswith(b"\x89PNG"):
        return b"IEND" in tail
    if head.startswith(b"RIFF"):
        return len(head) == 12 and size >= 8 + int.from_bytes(head[4:8], "little")
    return size > 0


def lasting(
    spotter: "PlaneSpotter",
    photos: Iterator[str | bytes],
    gone: Callable[[PlaneSpotterError], None],
    **options: Any,
) -> "Iterator[PhotoAnswer]":
    """Stream `photos`, and begin anew with what has no answer whenever the server was away for too long.

    `gone` is called with the error each time, before the wait for the server, which has no end.
    """
    line: deque[str | bytes] = deque()  # taken from `photos`, and not given to a stream that lives
    taking, handing = threading.Lock(), threading.Lock()  # the one for `photos`, which may block; the other for `line`

    def stand_in_line(given: dict[int, str | bytes], over: threading.Event) -> Iterator[str | bytes]:
        for index in itertools.count():
            while True:
                with handing:
                    if over.is_set():
                        return
                    if line:
                        photo = given[index] = line.popleft()
                        break
                with taking:  # a stream that is over may still wait here: what it gets is for the next
                    if not line:
                        taken = next(photos, None)
                        if taken is None:
                            return
                        with handing:
                            line.append(taken)
            yield photo

    while True:
        given: dict[int, str | bytes] = {}
        over = threading.Event()
        try:
            for answer in spotter.stream(stand_in_line(given, over), **options):
                del given[answer.index]
                yield answer
            return
        except (UnavailableError, DeadlineError) as error:
            with handing:
                over.set()
                line.extendleft(reversed(given.values()))
            gone(error)
            _wait(spotter)
        finally:
            over.set()


def _wait(spotter: "PlaneSpotter") -> None:
    while True:
        with suppress(UnavailableError, DeadlineError):
            return spotter.wait_until_ready()
