"""Atomic write: a crash at any moment leaves the old file or the new one, with its content on disk."""

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
        else:
            try:
                os.link(temporary, target)  # fails if the name is taken by now
                return
            except FileExistsError:
                raise
            except OSError:  # a drive without hard links
                target.open("xb").close()
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
