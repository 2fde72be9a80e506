"""Where the photos of a run come from: paths, a folder that is watched, or a video."""

import dataclasses
import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planespotter_client.classify import photos, rows
from planespotter_client.classify.frames import FramesError, Video, without_password
from planespotter_client.classify.journal import Done
from planespotter_client.classify.progress import Tally
from planespotter_client.classify.watching import Folder

if TYPE_CHECKING:
    from planespotter_client import PhotoAnswer


@dataclass
class Source:
    """Photos in the order in which they are sent, how many there will be, and what the answer to each is called."""

    photos: Iterator[str | bytes]
    total: Callable[[], int | None] = lambda: None
    named: "Callable[[PhotoAnswer], PhotoAnswer]" = lambda answer: answer


def chosen(
    paths: list[str],
    *,
    recursive: bool,
    null: bool,
    leave_out: Path | None,
    done: Done | None,
    tally: Tally,
    unreadable: Callable[[OSError], None],
) -> Source:
    """Return the photos that `paths` name and `done` does not have."""

    def find(trouble: Callable[[OSError], None] | None) -> Iterator[str]:
        for path in paths:
            found: Iterable[str] = [path]
            if path == photos.STANDARD_INPUT:
                found = photos.listed(sys.stdin.buffer, b"\0" if null else b"\n")
            elif photos.is_pattern(path):
                found = photos.matches(path)
            yield from photos.find_photos(found, recursive, trouble, leave_out)

    def count() -> int | None:
        return None if photos.STANDARD_INPUT in paths else sum(1 for _ in find(None))

    return Source(_new(find(unreadable), done, tally), count)


@contextmanager
def watched(
    folder: Path, *, recursive: bool, leave_out: Path | None, done: Done | None, tally: Tally
) -> Iterator[Source]:
    """Yield the photos that are in `folder` and those that come, until the context ends, without those in `done`."""
    stop = threading.Event()
    try:
        yield Source(_new(Folder(folder, recursive, leave_out).photos(stop), done, tally))
    finally:
        stop.set()


@contextmanager
def filmed(name: str, fps: float, *, done: Done | None, tally: Tally) -> Iterator[Source]:
    """Yield the frames of the video called `name`, `fps` a second, without those that `done` has.

    Raises FramesError.
    """
    video = Video(name, fps)
    name = without_password(name)
    if video.expected is None and done:
        raise FramesError(
            f"{name} has no known length, so its times begin anew with each run and an earlier one cannot be gone on "
            "with. Name another --out."
        )
    names: dict[int, str] = {}

    def frames() -> Iterator[bytes]:
        sent = itertools.count()
        for seconds, encoded in video.frames():
            if done is not None and not done.add(rows.identity({"file": name, "seconds": seconds})):
                tally.skipped += 1
                continue
            names[next(sent)] = rows.frame_id(name, seconds)
            yield encoded()

    def named(answer: "PhotoAnswer") -> "PhotoAnswer":
        return dataclasses.replace(answer, photo_id=names.pop(answer.index), photo=None)

    try:
        yield Source(frames(), lambda: video.expected, named)
    finally:
        video.close()


def _new(found: Iterator[str], done: Done | None, tally: Tally) -> Iterator[str]:
    for photo in found:
        if done is None or done.add(rows.identity({"file": photo})):
            yield photo
        else:
            tally.skipped += 1
