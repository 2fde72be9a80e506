"""Atomic write: a crash or a power failure at any moment leaves the old file or the new one.

The content is written to a temporary file in the same folder, fsynced and renamed; then the folder is fsynced.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """Yield a temporary file that becomes `path` at the end. If the body raises, `path` stays as it is.

    Args:
        path: File to write. If it exists, a symbolic link is followed and the permissions are kept.
        overwrite: Whether to replace an existing file.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
    """
    target = Path(os.path.realpath(path)) if overwrite else path
    temporary = target.with_name(f".{target.name[:40]}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            with suppress(FileNotFoundError):
                shutil.copymode(target, temporary)
            temporary.replace(target)
        else:
            _rename_to_new(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    _fsync_folder(target.parent)


def _rename_to_new(temporary: Path, target: Path) -> None:
    """Give a file another name; raise FileExistsError if the name is taken by now."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a drive without hard links
        target.open("xb").close()
        temporary.replace(target)


def _fsync_folder(folder: Path) -> None:
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
