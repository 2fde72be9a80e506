"""Folder watcher: poll a folder and yield each new photo once, as soon as it is complete.

Polling works on every drive, also where the system reports no changes, such as on network drives.
"""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from planespotter_client.classify.answer_log import HashedSet
from planespotter_client.classify.file_discovery import find_photos

# A photo is complete when it has not changed for SETTLE_SECONDS and its end is there. Without an end it is complete
# after INCOMPLETE_SECONDS: perhaps its format has none, but more likely the upload has paused.
SETTLE_SECONDS, INCOMPLETE_SECONDS = 1.0, 60.0
# Pause between two polls; a poll itself takes about 5 microseconds per file.
PAUSE_SECONDS, PAUSE_SECONDS_PER_FILE = 0.5, 20e-6
# Where to look for the end of a JPEG: cameras append previews and notes.
TAIL_BYTES = 65_536


class FileState(NamedTuple):
    """The inode, size and modification time of a file, and since when (seconds) they have not changed."""

    state: tuple[int, int, int]
    since: float


class FolderWatcher:
    """Watches `folder`: `poll` yields the photos that are complete, each once, or with `again` after each change."""

    def __init__(self, folder: Path, recursive: bool = True, exclude: Path | None = None, again: bool = False) -> None:
        self._folder = folder
        self._recursive = recursive
        self._exclude = exclude
        self._again = again
        self._yielded = HashedSet()
        self._pending: dict[str, FileState] = {}

    def poll(self, now: float) -> Iterator[str]:
        """Yield the photos that are complete at the time `now`, in seconds, and were not yielded before.

        With `again`, a photo that has changed since it was yielded counts as another one.
        """
        pending: dict[str, FileState] = {}
        for photo in find_photos([self._folder], self._recursive, exclude=self._exclude):
            if not self._again and photo in self._yielded:
                continue
            try:
                stat = os.stat(photo)  # noqa: PTH116
            except OSError:  # deleted again, or a link to a file that does not exist yet
                continue
            state = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            key = f"{photo}\0{state}" if self._again else photo
            if self._again and key in self._yielded:
                continue
            previous = self._pending.get(photo)
            if previous is None or previous.state != state:
                pending[photo] = FileState(state, now)
            elif now - previous.since >= (SETTLE_SECONDS if has_end(photo) else INCOMPLETE_SECONDS):
                self._yielded.add(key)
                yield photo
            else:
                pending[photo] = previous
        self._pending = pending

    def photos(self, stop: threading.Event) -> Iterator[str]:
        """Yield photos as they become complete, until `stop` is set."""
        while not stop.is_set():
            yield from self.poll(time.monotonic())
            stop.wait(PAUSE_SECONDS + PAUSE_SECONDS_PER_FILE * (len(self._yielded) + len(self._pending)))


def has_end(photo: str) -> bool:
    """Return whether the file `photo` ends as its format requires; any format but JPEG, PNG and WebP has no end."""
    try:
        with open(photo, "rb") as file:  # noqa: PTH123
            head = file.read(12)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
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
