"""Sources of photos for a run: paths, a watched folder, or a video."""

import dataclasses
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planespotter_client.classify import file_discovery, serialization
from planespotter_client.classify.answer_log import AnswerLog, HashedSet
from planespotter_client.classify.folder_watcher import FolderWatcher
from planespotter_client.classify.progress import RunStats
from planespotter_client.classify.video import Video, VideoError, redact_credentials

if TYPE_CHECKING:
    from planespotter_client import PhotoResult


@dataclass
class Source:
    """Photos to send, and how many there are."""

    photos: Iterator[str | bytes]
    """Photos in the order in which they are sent, without those that an earlier run answered."""
    total: Callable[[], int | None] = lambda: None
    """Returns the number of all photos; None if it is unknown."""
    planned: Callable[[], int | None] = lambda: None
    """Returns how many photos this run had to send, once it sends no more; None if that is unknown."""
    with_id: "Callable[[PhotoResult], PhotoResult]" = lambda result: result
    """Gives a result the id of its photo."""
    is_endless: bool = False
    """Whether photos come until Ctrl-C: then a lost server is waited for."""


def from_paths(
    paths: list[str],
    *,
    recursive: bool,
    null: bool,
    exclude: Path | None,
    log: AnswerLog | None,
    stats: RunStats,
    on_error: Callable[[OSError], None],
    on_skipped: Callable[[str], None],
) -> Source:
    """Return the photos that `paths` name.

    Args:
        paths: Files, folders, patterns, and "-" for standard input.
        recursive: Whether to search subfolders.
        null: Whether the paths on standard input end with NUL.
        exclude: Folder that is not searched.
        log: Log with the photos to skip.
        stats: Counts of sent and skipped photos to update.
        on_error: Called with the error of each folder that cannot be read.
        on_skipped: Called with each photo that is skipped, in the thread that reads the source.
    """

    def find(**callbacks: Callable[..., None]) -> Iterator[str]:
        for path in paths:
            expanded: Iterable[str] = [path]
            if path == file_discovery.STANDARD_INPUT:
                expanded = file_discovery.read_paths(sys.stdin.buffer, b"\0" if null else b"\n")
            elif file_discovery.is_pattern(path):
                expanded = file_discovery.expand_pattern(path)
            yield from file_discovery.find_photos(expanded, recursive, exclude=exclude, **callbacks)

    def total() -> int | None:
        return None if file_discovery.STANDARD_INPUT in paths else sum(1 for _ in find())

    def planned() -> int | None:
        if log is None:
            return total()
        if file_discovery.STANDARD_INPUT in paths:
            return None
        keys = (serialization.photo_key({"file": photo}) for photo in find())
        return stats.sent + sum(1 for key in keys if key not in log.answered)

    photos = find(on_error=on_error, on_unread=stats.count_unread, on_housekeeping=stats.count_housekeeping)
    return Source(_skip_answered(photos, log, stats, on_skipped), total, planned)


@contextmanager
def from_folder(
    folder: Path,
    *,
    recursive: bool,
    exclude: Path | None,
    log: AnswerLog | None,
    stats: RunStats,
    on_skipped: Callable[[str], None],
    again: bool,
) -> Iterator[Source]:
    """Yield the photos in `folder` and those that arrive until the context ends, without those in `log`.

    With `again`, a photo that changes is sent again, also if it has changed since its result was logged.
    """
    stop = threading.Event()

    def photos() -> Iterator[str]:
        sent = HashedSet()
        for photo in FolderWatcher(folder, recursive, exclude, again).photos(stop):
            if sent.add(photo) and not _changed_since_logged(photo, log):
                yield from _skip_answered(iter([photo]), log, stats, on_skipped)
            else:
                stats.sent += 1
                yield photo

    try:
        yield Source(photos(), is_endless=True)
    finally:
        stop.set()


@contextmanager
def from_video(
    name: str, fps: float, *, log: AnswerLog | None, stats: RunStats, on_lost: Callable[[str], None]
) -> Iterator[Source]:
    """Yield the frames of the video `name`, `fps` per second, without those in `log`.

    A live stream has only new frames: they are never in `log`. `on_lost` is called when its connection is lost.

    Raises:
        VideoError: The video cannot be read, or it has no known length and `log` has frames of an earlier run.
    """
    video = Video(name, fps, on_lost)
    name = redact_credentials(name)
    if video.expected_frames is None and not video.is_live and log is not None and len(log.answered):
        raise VideoError(
            f"{name} has no known length, so its times start at 0 in each run, and an earlier run cannot be resumed. "
            "Name another --out."
        )
    ids: dict[int, str] = {}  # of the frames in flight

    def is_answered(time: float | str) -> bool:
        if log is None or isinstance(time, str):
            return False
        return not log.answered.add(serialization.photo_key({"file": name, "seconds": time}))

    def frames() -> Iterator[bytes]:
        for time, encode in video.frames():
            if is_answered(time):
                stats.skipped += 1
                continue
            ids[stats.sent] = serialization.frame_id(name, time)
            stats.sent += 1
            yield encode()

    def planned() -> int | None:
        expected = video.expected_frames
        return None if expected is None else max(stats.sent, expected - stats.skipped)

    def with_id(result: "PhotoResult") -> "PhotoResult":
        return dataclasses.replace(result, photo_id=ids.pop(result.index))

    try:
        yield Source(frames(), lambda: video.expected_frames, planned, with_id, is_endless=video.is_live)
    finally:
        video.close()
        stats.damaged_packets = video.damaged_packets


def _changed_since_logged(photo: str, log: AnswerLog | None) -> bool:
    """Return whether a photo has changed since its last result; False if `log` has none, or keeps no times."""
    logged = (log.times or {}).get(serialization.photo_key({"file": photo})) if log is not None else None
    try:
        return logged is not None and os.stat(photo).st_mtime > logged  # noqa: PTH116
    except OSError:  # deleted again
        return False


def _skip_answered(
    photos: Iterator[str], log: AnswerLog | None, stats: RunStats, on_skipped: Callable[[str], None]
) -> Iterator[str]:
    for photo in photos:
        if log is None or log.answered.add(serialization.photo_key({"file": photo})):
            stats.sent += 1
            yield photo
        else:
            stats.skipped += 1
            on_skipped(photo)
