"""File watcher: detect changed files by polling inode, size and modification time."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

POLL_INTERVAL = 1.0  # seconds between two looks at the files


class FileWatcher:
    """Watches files for changes.

    Args:
        paths: The files; they may come and go.
        clock: Returns seconds.
    """

    def __init__(self, paths: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = paths
        self._clock = clock
        self._fingerprints = self._read()
        self._polled_at = clock()

    def changed(self) -> bool:
        """Return whether a file changed since this was last true; a change may be noticed a second later."""
        if self._clock() < self._polled_at + POLL_INTERVAL:
            return False
        self._polled_at = self._clock()
        previous, self._fingerprints = self._fingerprints, self._read()
        return self._fingerprints != previous

    def _read(self) -> list[tuple[int, int, int] | None]:
        return [_fingerprint(path) for path in self._paths]


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
