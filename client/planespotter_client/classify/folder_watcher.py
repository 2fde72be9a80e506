"""Watch a folder by polling: yield each photo that arrives once, as soon as it is complete.

Polling works on every drive, also where the system reports no changes, such as on network drives.
"""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from planespotter_client.classify.answer_log import Done
from planespotter_client.classify.file_discovery import find_photos

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
