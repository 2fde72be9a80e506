"""Notice when files change."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

# How often the files are looked at, at most.
SECONDS = 1.0


class Watched:
    """Some files, of which it is asked now and then whether one has changed. `clock` returns seconds."""

    def __init__(self, paths: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = paths
        self._clock = clock
        self._seen = self._look()
        self._looked = clock()

    def changed(self) -> bool:
        """Return whether a file changed since this was last true; the answer may be a second old."""
        if self._clock() < self._looked + SECONDS:
            return False
        self._looked = self._clock()
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_fingerprint(path) for path in self._paths]


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
