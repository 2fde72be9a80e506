"""Thumbnails: contact sheets of each class, within a size limit."""

import base64
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from PIL import ImageOps

from planespotter_scraping.catalog import LABEL_PATH, NO_AIRCRAFT
from planespotter_scraping.catalog.stats import CatalogStats, model_name
from planespotter_scraping.images.validation import DECODE_ERRORS, describe_error, open_image

MAX_SIZE = (176, 132)  # width and height in pixels
QUALITY = 75
MAX_BYTES = 15_000_000  # all thumbnails of a page, so that it opens quickly and fits into a mail
CANDIDATES = 5  # photos that are tried for each thumbnail, if some cannot be read


@dataclass
class Thumbnail:
    """A thumbnail as a data URL, with its texts.

    Attributes:
        photo_id: Id of the photo.
        source: Its source.
        file: Its image, relative to the catalog.
        page_url: Its page, "" if it has none on the web.
    """

    url: str
    width: int
    height: int
    alt: str
    caption: str
    credit: str
    photo_id: str = ""
    source: str = ""
    file: str = ""
    page_url: str = ""


@dataclass
class ContactSheet:
    """The thumbnails of one class; `photos` is the number of all its photos."""

    constructor: str
    name: str
    photos: int
    thumbnails: list[Thumbnail] = field(default_factory=list)


@dataclass
class ContactSheets:
    """All contact sheets.

    Attributes:
        sheets: One sheet per class, the class with the most photos first.
        broken: Files that could not be read, with the reason.
        full: Whether the size limit was reached.
    """

    sheets: list[ContactSheet]
    broken: dict[str, str]
    full: bool


def contact_sheets(
    folder: Path,
    frame: pd.DataFrame,
    stats: CatalogStats,
    per_class: int,
    progress: Callable[[int, int], None],
    limit: int = MAX_BYTES,
) -> ContactSheets:
    """Make contact sheets.

    Classes are served round robin: every class gets its first thumbnail before any gets a second one. Images that
    cannot be read are skipped.

    Args:
        folder: Folder of the catalog.
        frame: Catalog, as `catalog.read` returns it.
        stats: Its statistics.
        per_class: Maximum thumbnails of each class.
        progress: Called with the numbers of thumbnails done and in all.
        limit: Maximum size of all thumbnails in bytes.
    """
    rows = sorted(stats["models"], key=lambda row: (-row["photos"], row["constructor"], row["family"], row["model"]))
    groups = dict(iter(frame.groupby(list(LABEL_PATH))))
    sheets = [ContactSheet(row["constructor"], model_name(row), row["photos"]) for row in rows]
    photos = [groups[row["constructor"], row["family"], row["model"]] for row in rows]
    if stats["no_aircraft"]:
        sheets.append(ContactSheet(NO_AIRCRAFT, "", stats["no_aircraft"]))
        photos.append(frame[frame["constructor"] == NO_AIRCRAFT])
    candidates = [_candidates(rows_of_class, per_class * CANDIDATES) for rows_of_class in photos]
    wanted = sum(min(per_class, sheet.photos) for sheet in sheets)
    broken: dict[str, str] = {}
    size = done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:  # Pillow releases the GIL
        for round_number in range(per_class):
            indices = [index for index, sheet in enumerate(sheets) if sheet.photos > round_number]
            results = workers.map(lambda index: _next(folder, candidates[index]), indices)
            for index, (thumbnail, unreadable) in zip(indices, results, strict=True):
                broken |= unreadable
                done += 1
                progress(done, wanted)
                if thumbnail is None:
                    continue
                if size + len(thumbnail.url) > limit:
                    return ContactSheets(sheets, broken, full=True)
                size += len(thumbnail.url)
                sheets[index].thumbnails.append(thumbnail)
    return ContactSheets(sheets, broken, full=False)


def thumbnails_of_groups(
    folder: Path, frame: pd.DataFrame, groups: list[list[str]], per_group: int = 4
) -> list[list[Thumbnail]]:
    """Return thumbnails of the first `per_group` photos of each group of photo ids."""
    types = frame["aircraft_type"].where(frame["aircraft_type"] != "", frame["constructor"])  # may differ in a group
    names = dict(zip(frame["photo_id"], types, strict=True))
    return [
        captioned_thumbnails(
            folder, frame, {photo_id: f"{names[photo_id]}: {photo_id}" for photo_id in ids[:per_group]}
        )
        for ids in groups
    ]


def captioned_thumbnails(folder: Path, frame: pd.DataFrame, captions: Mapping[str, str]) -> list[Thumbnail]:
    """Return thumbnails of photos with their captions, both by photo id, without unreadable ones."""
    rows = frame.set_index("photo_id", drop=False).loc[list(captions)].to_dict("records")
    shown = [_next(folder, iter([row]))[0] for row in rows]  # type: ignore[list-item]
    return [replace(picture, caption=captions[picture.photo_id]) for picture in shown if picture is not None]


def _candidates(photos: pd.DataFrame, count: int) -> Iterator[dict[str, str]]:
    """Return photos of a class in the order to show them: one of each airline and airframe before the next.

    Ties are broken by a hash of the id: random, but the same in every run.
    """
    order = photos["photo_id"].map(lambda photo_id: hashlib.sha256(photo_id.encode()).hexdigest())
    shuffled = photos.loc[order.sort_values().index].drop_duplicates("file")
    ranks = [shuffled.groupby(["source", column]).cumcount() for column in ("airline", "registration")]
    chosen = shuffled.loc[(ranks[0] + ranks[1]).sort_values(kind="stable").index]
    return iter(chosen[:count].to_dict("records"))  # type: ignore[arg-type]


def _next(folder: Path, candidates: Iterator[dict[str, str]]) -> tuple[Thumbnail | None, dict[str, str]]:
    """Return the thumbnail of the next readable candidate, and the errors of the ones before it."""
    broken: dict[str, str] = {}
    for row in candidates:
        try:
            data = (folder / row["file"]).read_bytes()
        except OSError as error:
            broken[row["file"]] = (error.strerror or type(error).__name__).lower()
            continue
        try:
            return make_thumbnail(data, row), broken
        except DECODE_ERRORS as error:
            broken[row["file"]] = describe_error(data, error)
    return None, broken


def make_thumbnail(data: bytes, row: dict[str, str]) -> Thumbnail:
    """Return the thumbnail of an image.

    Args:
        data: Encoded image.
        row: Its row in the catalog.

    Raises:
        PhotoError: If it is damaged, in another format or beyond a limit. Pillow raises OSError, SyntaxError and
            ValueError as well.
    """
    with open_image(data) as image:
        image.draft("RGB", (MAX_SIZE[0] * 2, MAX_SIZE[1] * 2))
        small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail(MAX_SIZE)
    output = io.BytesIO()
    small.save(output, "JPEG", quality=QUALITY, optimize=True)
    url = "data:image/jpeg;base64," + base64.b64encode(output.getvalue()).decode()
    type_ = row["aircraft_type"] or row["model"] or row["family"]
    aircraft = " ".join(part for part in (row["constructor"], type_) if part) or "An aircraft of unknown type"
    words = [aircraft, row["registration"], row["airline"], f"photo {row['photo_id']}"]
    alt = ", ".join(word for word in words if word)
    credit = ", ".join(word for word in (row["photographer"], row["licence"]) if word)
    caption = row["registration"] or row["airline"] or row["photo_id"]
    credit = f"© {credit}" if row["photographer"] else credit
    page_url = row["page_url"] if row["page_url"].startswith(("https://", "http://")) else ""
    return Thumbnail(
        url, small.width, small.height, alt, caption, credit, row["photo_id"], row["source"], row["file"], page_url
    )
