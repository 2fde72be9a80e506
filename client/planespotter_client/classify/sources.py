"""Where the photos of a run come from: paths, a folder that is watched, or a video."""

import dataclasses
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planespotter_client.classify import file_discovery, serialization
from planespotter_client.classify.answer_log import Done
from planespotter_client.classify.folder_watcher import Folder
from planespotter_client.classify.progress import Tally
from planespotter_client.classify.video import FramesError, Video, without_password

if TYPE_CHECKING:
    from planespotter_client import PhotoAnswer


@dataclass
class Source:
    """Photos in the order in which they are sent, how many there will be, and what the answer to each is called.

    `total` counts all that there are, and `due`, once no more is sent, those that this run was to answer; None if that
    is not known.
    """

    photos: Iterator[str | bytes]
    total: Callable[[], int | None] = lambda: None
    due: Callable[[], int | None] = lambda: None
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
            if path == file_discovery.STANDARD_INPUT:
                found = file_discovery.listed(sys.stdin.buffer, b"\0" if null else b"\n")
            elif file_discovery.is_pattern(path):
                found = file_discovery.matches(path)
            yield from file_discovery.find_photos(found, recursive, trouble, leave_out)

    def count() -> int | None:
        return None if file_discovery.STANDARD_INPUT in paths else sum(1 for _ in find(None))

    def due() -> int | None:
        if done is None:
            return count()
        if file_discovery.STANDARD_INPUT in paths:
            return None
        return tally.sent + sum(1 for photo in find(None) if serialization.identity({"file": photo}) not in done)

    return Source(_new(find(unreadable), done, tally), count, due)


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
        for seconds, encoded in video.frames():
            if done is not None and not done.add(serialization.identity({"file": name, "seconds": seconds})):
                tally.skipped += 1
                continue
            names[tally.sent] = serialization.frame_id(name, seconds)
            tally.sent += 1
            yield encoded()

    def due() -> int | None:
        return None if video.expected is None else max(tally.sent, video.expected - tally.skipped)

    def named(answer: "PhotoAnswer") -> "PhotoAnswer":
        return dataclasses.replace(answer, photo_id=names.pop(answer.index), photo=None)

    try:
        yield Source(frames(), lambda: video.expected, due, named)
    finally:
        video.close()
        tally.damaged = video.damaged


def _new(found: Iterator[str], done: Done | None, tally: Tally) -> Iterator[str]:
    for photo in found:
        if done is None or done.add(serialization.identity({"file": photo})):
            tally.sent += 1
            yield photo
        else:
            tally.skipped += 1
