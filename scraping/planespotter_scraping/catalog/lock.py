"""Keep two programs from writing into one catalog at a time.

The lock lies on the folder itself, so it leaves no file behind, and it ends with the process however that ends. What
a killed one has left half written, the next one to hold the catalog removes. Reading needs no lock.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from planespotter_scraping.atomic_write import CUT_FILES
from planespotter_scraping.catalog import CatalogError


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the catalog in `folder`, which is made if need be, so that nothing else writes into it meanwhile.

    A folder that was made for this and in which nothing was stored is removed again, with those around it. Raises
    CatalogError at once if another process holds it, or if there cannot be such a folder.
    """
    made = [around for around in (folder, *folder.parents) if not around.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CatalogError(
            f"The catalog's folder {folder} cannot be used: {error.strerror}. Choose another, or mend its permissions."
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CatalogError(
                f"Another planespotter command is at work on the catalog in {folder}, and two would spoil it. "
                "Wait until that one has ended, or end it, and run this command again."
            ) from None
        except OSError:
            pass  # some network file systems have no locks; there, the user is the one who keeps order
        _remove_cut_files(folder)
        yield
    finally:
        with suppress(OSError):  # something was stored
            for empty in made:
                empty.rmdir()
        os.close(handle)


def _remove_cut_files(folder: Path) -> None:
    """Remove what a kill has left half written. Nobody else writes here now."""
    images = ((folder / name).rglob(CUT_FILES) for name in ("images", "cropped"))
    for file in (*folder.glob(CUT_FILES), *chain.from_iterable(images)):
        file.unlink(missing_ok=True)
