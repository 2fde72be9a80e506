"""Filing: copy or link photos into folders by what they show. Nothing is moved, deleted or overwritten."""

import errno
import filecmp
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path, PurePath
from typing import NamedTuple

from planespotter_client.classify.serialization import CLOCK, TIME_FRAGMENT
from planespotter_client.commands.atomic_write import atomic_write


class FilingError(Exception):
    """Photos cannot be filed; the text says why and how to fix it."""


class PhotoMissingError(FilingError):
    """A photo was moved or deleted before it could be filed."""


class Link(StrEnum):
    """What is put into the folders."""

    COPY = "copy"
    HARD = "hard"
    SYMBOLIC = "symbolic"


class FiledPhoto(NamedTuple):
    """Where a photo is filed, and whether it was put there now: otherwise the same photo was there already."""

    path: Path
    is_new: bool


def file_photo(photo: str, names: Sequence[str], folder: Path, link: Link = Link.COPY) -> FiledPhoto:
    """Put `photo` into the subfolder of `folder` for the confident part of its prediction.

    That is folder/Boeing/737-800, folder/Boeing/737, folder/Boeing or folder/unknown. An existing file of the same name
    stays; if it is another photo, this one gets a number: "photo (2).jpg".

    Args:
        photo: Path of the photo.
        names: Confident names of its prediction, constructor first; none if it is unknown.
        folder: Folder to file into.
        link: Whether to copy the photo or link to it.

    Raises:
        PhotoMissingError: `photo` was moved or deleted.
        FilingError: The file system does not allow it.
    """
    destination = folder.joinpath(*subfolders(names))
    try:
        destination.mkdir(parents=True, exist_ok=True)
        put, is_same = _METHODS[link]
        for target in _candidate_paths(destination, Path(photo)):
            if os.path.lexists(target):
                if is_same(photo, target):
                    return FiledPhoto(target, is_new=False)
                continue
            with suppress(FileExistsError):  # another process has just taken the name
                put(photo, target)
                return FiledPhoto(target, is_new=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        if not os.path.lexists(photo):
            raise PhotoMissingError(
                f"{photo} was moved or deleted before it could be filed in {destination}."
            ) from error
        fix = {
            Link.HARD: " A hard link needs the same drive, and a file system that supports it: use --link symbolic or "
            "copy.",
            Link.SYMBOLIC: " Not every file system supports symbolic links: use --link copy.",
            Link.COPY: "",
        }[link]
        raise FilingError(f"{photo} cannot be filed in {destination}: {error.strerror or error}.{fix}") from error
    raise AssertionError("unreachable: there is always another number")


def file_frame(content: bytes, frame_id: str, names: Sequence[str], folder: Path) -> FiledPhoto:
    """Write a video frame into the subfolder of `folder` for the confident part of its prediction.

    Args:
        content: The frame as JPEG.
        frame_id: Its id, "clip.mp4#t=12.500", of which the file name is made: "clip 12.500.jpg".
        names: Confident names of its prediction, constructor first.
        folder: Folder to file into.

    Raises:
        FilingError: The file system does not allow it.
    """
    video, _, time = frame_id.rpartition(TIME_FRAGMENT)
    name = safe_folder_name(f"{PurePath(video).stem or 'camera'} {time.removeprefix(CLOCK)}")
    destination = folder.joinpath(*subfolders(names))
    target = destination / f"{name}.jpg"
    try:
        destination.mkdir(parents=True, exist_ok=True)
        with atomic_write(target, overwrite=False) as file:
            file.write(content)
    except FileExistsError:
        return FiledPhoto(target, is_new=False)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FilingError(f"A frame cannot be filed in {destination}: {error.strerror or error}.") from error
    return FiledPhoto(target, is_new=True)


def subfolders(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the nested folders for a prediction with these confident `names`, constructor first."""
    safe = [safe_folder_name(name) for name in names]
    return (*safe[:1], *safe[1:][-1:]) or ("unknown",)


def safe_folder_name(name: str) -> str:
    """Return `name`, which comes from a server, as the name of a single folder on any drive."""
    return re.sub(r'[\x00-\x1f<>:"/\\|?*]', "-", name)[:100].strip(". ") or "-"


def _candidate_paths(destination: Path, photo: Path) -> Iterator[Path]:
    yield destination / photo.name
    number = 1
    while True:
        number += 1
        yield destination / f"{photo.stem} ({number}){photo.suffix}"


def _copy(photo: str, target: Path) -> None:
    with atomic_write(target, overwrite=False) as file:
        shutil.copy2(photo, file.name)


def _same_content(photo: str, target: Path) -> bool:
    return target.is_file() and filecmp.cmp(photo, target, shallow=False)


def _same_file(photo: str, target: Path) -> bool:
    return target.exists() and target.samefile(photo)


def _symbolic(photo: str, target: Path) -> None:
    os.stat(photo)  # noqa: PTH116  (a link to a missing photo could be made)
    target.symlink_to(os.path.abspath(photo))  # noqa: PTH100


_METHODS: dict[Link, tuple[Callable[[str, Path], None], Callable[[str, Path], bool]]] = {
    Link.COPY: (_copy, _same_content),
    Link.HARD: (lambda photo, target: os.link(photo, target), _same_file),
    Link.SYMBOLIC: (_symbolic, _same_file),
}
