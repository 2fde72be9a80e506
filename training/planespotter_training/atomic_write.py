"""Atomic write and run lock: a crash leaves the old file or the new one; one process at a time trains in a folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from planespotter_training.errors import TrainingError


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically: to a temporary file in the same folder, fsync, rename, fsync the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8, with its line ends unchanged."""
    write_bytes(path, text.encode())


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder.

    Raises:
        TrainingError: Another process holds it.
    """
    with (folder / ".run.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(
                f"Another training is writing to {folder}. Wait until it ends or stop it, or name another folder with "
                "--out."
            ) from error
        yield
