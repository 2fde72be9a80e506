"""Atomic write and lock: a reader sees the old file or the new one, and only one process at a time changes it."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from planespotter_server.settings import ServerError


def atomic_write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8: to a temporary file, fsync, rename, fsync of the folder.

    Args:
        path: File to create, readable only by this user, or to replace; then its permissions are kept.
        text: New content.
    """
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Sync the names of the files in `folder` to disk: those just created or renamed survive a power failure.

    Does nothing if the folder cannot be opened for reading, or if its file system cannot sync folders.

    Raises:
        OSError: The disk failed.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EINVAL):
            raise
    finally:
        os.close(handle)


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock the files of `folder` against changes by others that take this lock; wait until it is free.

    The lock is an flock on the folder: it needs no lock file, and the kernel releases it when the process ends.

    Raises:
        ServerError: The folder cannot be opened.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ServerError(
            f"The folder {folder} cannot be used: {error.strerror}. Create it, or choose another."
        ) from error
    try:
        with suppress(OSError):  # some network file systems have no locks: there, the user must keep to one writer
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
