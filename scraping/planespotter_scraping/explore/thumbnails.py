"""Small pictures of each class, for the contact sheets, within a number of bytes."""

import base64
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from PIL import Image, ImageOps

from planespotter_scraping.catalog import LABEL_PATH
from planespotter_scraping.catalog.stats import CatalogStats, model_name
from planespotter_scraping.images.validation import IMAGE_PIXELS, SUFFIXES

SIDE = (176, 132)  # pixels at most
QUALITY = 75
LIMIT = 15_000_000  # bytes of all pictures in the page: a browser opens it at once, and it can be sent by mail
TRIES = 5  # photos that are looked at for each picture, where some cannot be read


@dataclass
class Picture:
    """One small picture as a data address, and the words to it."""

    address: str
    width: int
    height: int
    alt: str
    caption: str
    credit: str


@dataclass
class Sheet:
    """The pictures of one class; `photos` is how many it has."""

    constructor: str
    name: str
    photos: int
    pictures: list[Picture] = field(default_factory=list)


@dataclass
class Sheets:
    """All contact sheets; `broken` has the files that could not be read, and why; `full` if some did not fit."""

    sheets: list[Sheet]
    broken: dict[str, str]
    full: bool


def make(
    folder: Path,
    frame: pd.DataFrame,
    found: CatalogStats,
    per_class: int,
    progress: Callable[[int, int], None],
    limit: int = LIMIT,
) -> Sheets:
    """Return up to `per_class` pictures of each class of `found`, the largest class first.

    Every class gets its first picture before any gets a second one, until the pictures take `limit` bytes.
    `progress` is called with the pictures done and to do. Images that cannot be read are passed over.
    """
    rows = sorted(found["models"], key=lambda row: (-row["photos"], row["constructor"], row["family"], row["model"]))
    groups = dict(iter(frame.groupby(list(LABEL_PATH))))
    sheets = [Sheet(row["constructor"], model_name(row), row["photos"]) for row in rows]
    candidates = [
        _candidates(groups[row["constructor"], row["family"], row["model"]], per_class * TRIES) for row in rows
    ]
    wanted = sum(min(per_class, row["photos"]) for row in rows)
    broken: dict[str, str] = {}
    taken = done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:  # Pillow works outside the interpreter's lock
        for place in range(per_class):
            turns = [index for index, sheet in enumerate(sheets) if sheet.photos > place]
            found_now = workers.map(lambda index: _next(folder, candidates[index]), turns)
            for index, (picture, unreadable) in zip(turns, found_now, strict=True):
                broken |= unreadable
                done += 1
                progress(done, wanted)
                if picture is None:
                    continue
                if taken + len(picture.address) > limit:
                    return Sheets(sheets, broken, full=True)
                taken += len(picture.address)
                sheets[index].pictures.append(picture)
    return Sheets(sheets, broken, full=False)


def of_groups(folder: Path, frame: pd.DataFrame, groups: list[list[str]], each: int = 4) -> list[list[Picture]]:
    """Return the pictures of the first photos of each group of photo ids."""
    rows = frame.set_index("photo_id", drop=False)
    shown = []
    for ids in groups:
        some = rows.loc[ids[:each]].to_dict("records")
        shown.append([picture(folder / row["file"], row) for row in some])  # type: ignore[arg-type]
        for small, row in zip(shown[-1], some, strict=True):
            small.caption = f"{row['aircraft_type'] or row['constructor']}: {row['photo_id']}"  # what may differ
    return shown


def _candidates(photos: pd.DataFrame, count: int) -> Iterator[dict[str, str]]:
    """Return photos of a class in the order to show them: one of each airline and airframe before the next.

    Which one is left to a hash of its id: as good as chance, and the same in each run.
    """
    order = photos["photo_id"].map(lambda photo_id: hashlib.sha256(photo_id.encode()).hexdigest())
    shuffled = photos.loc[order.sort_values().index].drop_duplicates("file")
    turns = [shuffled.groupby(["source", column]).cumcount() for column in ("airline", "registration")]
    chosen = shuffled.loc[(turns[0] + turns[1]).sort_values(kind="stable").index]
    return iter(chosen[:count].to_dict("records"))  # type: ignore[arg-type]


def _next(folder: Path, candidates: Iterator[dict[str, str]]) -> tuple[Picture | None, dict[str, str]]:
    """Return the picture of the next candidate that can be read, and why those before it could not be."""
    broken: dict[str, str] = {}
    for row in candidates:
        try:
            return picture(folder / row["file"], row), broken
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            broken[row["file"]] = _reason(error)
    return None, broken


def picture(path: Path, row: dict[str, str]) -> Picture:
    """Return the image at `path` as a small picture. Raises what Pillow raises for what it cannot read."""
    with Image.open(path, formats=list(SUFFIXES)) as image:
        if image.width * image.height > IMAGE_PIXELS:
            raise ValueError(f"it has {image.width} x {image.height} pixels")
        image.draft("RGB", (SIDE[0] * 2, SIDE[1] * 2))
        small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail(SIDE)
    output = io.BytesIO()
    small.save(output, "JPEG", quality=QUALITY, optimize=True)
    address = "data:image/jpeg;base64," + base64.b64encode(output.getvalue()).decode()
    type_ = row["aircraft_type"] or row["model"] or row["family"]
    plane = " ".join(part for part in (row["constructor"], type_) if part) or "An aircraft of unknown type"
    words = [plane, row["registration"], row["airline"], f"photo {row['photo_id']}"]
    alt = ", ".join(word for word in words if word)
    credit = ", ".join(word for word in (row["photographer"], row["licence"]) if word)
    caption = row["registration"] or row["airline"] or row["photo_id"]
    return Picture(address, small.width, small.height, alt, caption, f"© {credit}" if row["photographer"] else credit)


def _reason(error: Exception) -> str:
    """Return why an image cannot be read, without the path in it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) if isinstance(error, ValueError) else "it is no whole JPEG, PNG or WebP"
