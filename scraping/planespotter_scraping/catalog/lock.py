"""Exclusive lock on a catalog: only one process at a time writes to it.

The lock is an flock on the catalog's folder. It needs no lock file, and the kernel releases it when the process ends,
however it ends. Temporary files of a killed process are removed by the next one that takes the lock. Readers need no
lock: all writes are atomic.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from planespotter_scraping.atomic_write import PARTIAL_FILES
from planespotter_scraping.catalog import CatalogError


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock the catalog in `folder` for writing, without waiting.

    The folder and its parents are created if needed, and removed again if nothing was stored in them.

    Args:
        folder: Folder of the catalog.

    Raises:
        CatalogError: If another process holds the lock, or if the folder cannot be created.
    """
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CatalogError(
            f"The catalog folder {folder} cannot be used: {error.strerror}. Choose another, or fix its permissions."
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CatalogError(
                f"Another planespotter command is writing to the catalog in {folder}. "
                "Wait until it has ended, or stop it, and run this command again."
            ) from None
        except OSError:
            pass  # some network file systems have no locks: there, the user must keep to one writer
        _remove_partial_files(folder)
        yield
    finally:
        with suppress(OSError):  # not empty
            for empty in created:
                empty.rmdir()
        os.close(handle)


def _remove_partial_files(folder: Path) -> None:
    """Remove temporary files of a killed process. Call only while holding the lock."""
    images = ((folder / name).rglob(PARTIAL_FILES) for name in ("images", "cropped"))
    for file in (*folder.glob(PARTIAL_FILES), *chain.from_iterable(images)):
        file.unlink(missing_ok=True)
