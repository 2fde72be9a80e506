"""Photos filed in folders by what they show, as copies or links. Nothing is ever moved, deleted or overwritten."""

import errno
import filecmp
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planespotter_client import Classification


class SortingError(Exception):
    """Photos cannot be filed; the text says why and what to do."""


class PhotoGoneError(SortingError):
    """One photo is no longer where it was."""


class Link(StrEnum):
    """What is put into the folders."""

    COPY = "copy"
    HARD = "hard"
    SYMBOLIC = "symbolic"


def file_photo(photo: str, answer: "Classification", folder: Path, link: Link = Link.COPY) -> Path:
    """Put `photo` into `folder` by what `answer` is sure of, and return where it is.

    That is folder/Boeing/737-800, folder/Boeing/737, folder/Boeing or folder/unknown. What is there under its name
    already stays; if it is another photo, this one gets a number: "photo (2).jpg". Raises SortingError, of which
    PhotoGoneError says that `photo` was moved or deleted meanwhile.
    """
    place = folder.joinpath(*shelf(answer))
    try:
        place.mkdir(parents=True, exist_ok=True)
        put, same = _WAYS[link]
        for target in _names(place, Path(photo)):
            if os.path.lexists(target):
                if same(photo, target):
                    return target
                continue
            with suppress(FileExistsError):  # somebody else has just taken the name
                put(photo, target)
                return target
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        if not os.path.lexists(photo):
            raise PhotoGoneError(f"{photo} was moved or deleted before it could be filed in {place}.") from error
        instead = {
            Link.HARD: " A hard link needs the same drive, and one that has them: use --link symbolic or copy.",
            Link.SYMBOLIC: " Not every drive has symbolic links: use --link copy.",
            Link.COPY: "",
        }[link]
        raise SortingError(f"{photo} cannot be filed in {place}: {error.strerror or error}.{instead}") from error
    raise AssertionError("unreachable: there is always another number")


def shelf(answer: "Classification") -> tuple[str, ...]:
    """Return the names of the folders, one in the other, for `answer`."""
    from planespotter_client import Level

    match answer.level:
        case Level.UNKNOWN:
            return ("unknown",)
        case Level.CONSTRUCTOR:
            return (safe(answer.constructor.name),)
        case Level.FAMILY:
            return (safe(answer.constructor.name), safe(answer.family.name))
        case Level.MODEL:
            return (safe(answer.constructor.name), safe(answer.model.name))


def safe(name: str) -> str:
    """Return `name`, which a server has said, as the name of one folder on any drive."""
    return re.sub(r'[\x00-\x1f<>:"/\\|?*]', "-", name)[:100].strip(". ") or "-"


def _names(place: Path, photo: Path) -> Iterator[Path]:
    yield place / photo.name
    number = 1
    while True:
        number += 1
        yield place / f"{photo.stem} ({number}){photo.suffix}"


def _copy(photo: str, target: Path) -> None:
    """Copy under another name first, so that a kill leaves no half photo where one is looked for."""
    new = target.with_name(f".{os.getpid()}.part")
    try:
        shutil.copy2(photo, new)
        try:
            os.link(new, target)  # fails if the name is taken by now
        except FileExistsError:
            raise
        except OSError:  # a drive without links
            target.open("xb").close()
            new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def _same_content(photo: str, target: Path) -> bool:
    return target.is_file() and filecmp.cmp(photo, target, shallow=False)


def _same_file(photo: str, target: Path) -> bool:
    return target.exists() and target.samefile(photo)


def _symbolic(photo: str, target: Path) -> None:
    os.stat(photo)  # noqa: PTH116  (a link to what is gone could be made)
    target.symlink_to(os.path.abspath(photo))  # noqa: PTH100


_WAYS: dict[Link, tuple[Callable[[str, Path], None], Callable[[str, Path], bool]]] = {
    Link.COPY: (_copy, _same_content),
    Link.HARD: (lambda photo, target: os.link(photo, target), _same_file),
    Link.SYMBOLIC: (_symbolic, _same_file),
}
