"""Atomic write: replace a file so that a kill at any moment leaves the old content or the new.

The new content is written to a temporary file next to the old one, synced to disk (fsync) and renamed over it.
The folder is not synced: the rename is then the last step of a clean, and a crawl needs two fsyncs per photo. A power
failure can undo the last renames, never leave part of a file.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL_FILES = ".*.part"  # glob of the temporary files that a kill may leave behind


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, then fsync it and rename it to `path`.

    If the body raises, the temporary file is removed and `path` keeps its old content. Processes that write the same
    file at the same time do not disturb each other: the last rename wins.

    Args:
        path: File to create or replace. Its folder must exist.

    Yields:
        Path of the temporary file, in the folder of `path`. It does not exist yet.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def atomic_write_text(path: Path, text: str, *, errors: str = "strict") -> None:
    """Write text in UTF-8 to `path`, atomically.

    Args:
        path: File to create or replace. Its folder must exist.
        text: New content.
        errors: How to encode lone surrogates, as in `str.encode`.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors)
