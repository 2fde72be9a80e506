"""Make a catalog of photos that the user has already: their folders' names, or a CSV file, give the labels.

Each image becomes a photo whose id is made from its content. So a photo that the catalog holds is known again
wherever it lies now, exact copies are stored once, and running the same import again adds only what is new.
"""

import csv
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError, attribution
from planespotter_scraping.catalog.lock import hold
from planespotter_scraping.images.similarity import phash
from planespotter_scraping.images.validation import SUFFIXES, examine
from planespotter_scraping.labels.parser import LabelPath, explain, knows, maker

# What a CSV of labels may say of a photo; the other columns of a catalog are found out or filled in.
GIVEN = (
    "file",
    "constructor",
    "aircraft_type",
    "airline",
    "registration",
    "photographer",
    "taken_on",
    "licence",
    "page_url",
    "image_url",
)
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".webp"}


@dataclass
class Imported:
    """What an import did. Files are named relative to the folder that was imported."""

    stored: int = 0
    known: int = 0  # in the catalog already
    copies: dict[str, str] = field(default_factory=dict)  # exact copies, and the file that each is a copy of
    disagreeing: dict[str, str] = field(default_factory=dict)  # those of them that have another label, and both labels
    unreadable: dict[str, str] = field(default_factory=dict)  # files that were left out, and why
    unplaced: Counter[str] = field(default_factory=Counter)  # stored, but without a family: by what is known
    other_kinds: Counter[str] = field(default_factory=Counter)  # files that are no images, by their suffix
    not_listed: int = 0  # images in the folder that the CSV of labels does not name

    @property
    def done(self) -> int:
        """How many images have been looked at."""
        return self.stored + self.known + len(self.copies) + len(self.unreadable)


def import_folder(
    folder: Path,
    out: Path,
    *,
    labels: Path | None = None,
    source: str | None = None,
    link: bool = False,
    progress: Callable[[Imported, int], None] = lambda outcome, total: None,
) -> Imported:
    """Add the photos in `folder` to the catalog in `out`, and return what was done.

    `labels` is a CSV file in UTF-8 with the columns of GIVEN, of which only `file` must be there; without it, the
    names of the folders are read (`labels_of`). `source` is written into each row (by default the folder's name).
    With `link`, images are hard links to the user's files, not copies. `progress` is called after each image with
    the number of all. Raises CatalogError, in sentences, for what cannot be imported at all; a single file
    that cannot be read is noted and left out. Ctrl-C loses nothing: the next run goes on.
    """
    if not folder.is_dir():
        raise CatalogError(f"{folder} is not a folder. Name the folder that holds the photos.")
    if out.exists() and not out.is_dir():
        raise CatalogError(f"{out} is a file. Choose a folder for the catalog; it is made if it does not exist.")
    if folder.resolve().is_relative_to(out.resolve()):
        raise CatalogError(
            f"The catalog cannot be made in {out}, since the photos in {folder} lie inside it. Choose another --out."
        )
    source = _source(folder, source)
    outcome = Imported()
    files = sorted(_images(folder, out, outcome))
    if labels is None:
        rows = {file: labels_of(folder, file) for file in files}
    else:
        rows = read_labels(labels)
        outcome.not_listed = len({str(file) for file in files} - {os.path.normpath(file) for file in rows})
    if not rows:
        where = f"{labels} names" if labels is not None else f"{folder} and the folders in it hold"
        raise CatalogError(f"{where} no photos. Photos are files ending in {', '.join(sorted(IMAGE_SUFFIXES))}.")
    if link:
        _check_links(folder, out)
    with hold(out):
        held = catalog.image_hashes(out)
        first: dict[str, str] = {}
        # Of exact copies the first is stored: one whose label tells most.
        for file in sorted(rows, key=lambda file: -_depth(_place(rows[file]))):
            _import_one(folder, file, rows, out, source, link, held, first, outcome)
            progress(outcome, len(rows))
        attribution.refresh(out)
    return outcome


def _import_one(
    folder: Path,
    file: str,
    rows: Mapping[str, Mapping[str, str]],
    out: Path,
    source: str,
    link: bool,
    held: set[str],
    first: dict[str, str],
    outcome: Imported,
) -> None:
    """Add one image of those that `rows` describes.

    `held` has the hashes in the catalog, `first` the file of each hash that was met in this run.
    """
    path = folder / file
    try:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest in first:
            outcome.copies[file] = first[digest]
            if said := _disagreement(_place(rows[file]), _place(rows[first[digest]])):
                outcome.disagreeing[file] = said
            return
        if digest not in held:
            kind, width, height = examine(data)
    except OSError as error:
        outcome.unreadable[file] = error.strerror or type(error).__name__
        return
    except ValueError as error:
        outcome.unreadable[file] = str(error)
        return
    first[digest] = file
    if digest in held:
        outcome.known += 1
        return
    given = rows[file]
    place = _place(given)
    row = {
        **given,
        "constructor": place.constructor,
        "photo_id": f"{source}-{digest[:20]}",
        "source": source,
        "width": str(width),
        "height": str(height),
        "phash": phash(data),
        "scraped_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    catalog.append(out, row, data, SUFFIXES[kind], link=path.resolve() if link else None)
    outcome.stored += 1
    if place.family is None:
        outcome.unplaced[" ".join(filter(None, (place.constructor, given["aircraft_type"]))) or "no label"] += 1


def labels_of(folder: Path, file: str) -> dict[str, str]:
    """Return constructor and aircraft type of `file`, from the names of the folders that it lies in.

    "Boeing/737-800/1.jpg", "737-800/1.jpg" and "Boeing 737-800/1.jpg" say the same. Of several names below the
    constructor's, the one that tells most counts, so "Airbus/A320/A320-214/Lufthansa/1.jpg" is an A320-214. Beside
    known constructors, the first folder is taken for one where there is another in it. An image that lies
    directly in `folder` is labelled by that folder's own name, if it is a type.
    """
    names = list(Path(file).parent.parts)
    if not names:
        own = folder.resolve().name
        names = [own] if maker(own) or knows(own) else []
    if names and knows(names[0]):
        constructor, names = names[0], names[1:]
    else:
        makers = [name for name in map(maker, names) if name]
        constructor = makers[0] if makers else names.pop(0) if len(names) > 1 else ""
    best = max(names, key=lambda name: _depth(explain(constructor, name).path), default="")  # the first of equals
    return {"constructor": constructor, "aircraft_type": best}


def _depth(path: LabelPath) -> int:
    """Return how far down the label tree a place is."""
    return (path.constructor != "") + (path.family is not None) + (path.model is not None)


def _place(given: Mapping[str, str]) -> LabelPath:
    """Return where a photo belongs by what is given for it."""
    return explain(given["constructor"], given["aircraft_type"]).path


def _disagreement(one: LabelPath, other: LabelPath) -> str:
    """Return what two labels of one picture say, "" unless they differ in something that both say."""
    differ = any(a and b and a != b for a, b in zip(one, other, strict=True))
    names = (path.model or path.family or path.constructor for path in (one, other))
    return " and ".join(names) if differ else ""


def read_labels(path: Path) -> dict[str, dict[str, str]]:
    """Return what the CSV file at `path` says of each file that it names. Raises CatalogError if it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        header, *lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line] or [[]]
    except OSError as error:
        raise CatalogError(f"The labels in {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise CatalogError(f"{path} is not UTF-8 text (byte {error.start}). Save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise CatalogError(f"{path} is not CSV: {error}. Mend it, or export it as CSV again.") from None
    header = [name.strip() for name in header]
    unknown = [name for name in header if name not in GIVEN]
    if unknown:
        raise CatalogError(
            f"{path} has columns that labels do not have: {', '.join(map(repr, unknown))}. "
            f"Rename or remove them; known are {', '.join(GIVEN)}."
        )
    if "file" not in header or len(set(header)) < len(header):
        raise CatalogError(f"{path} must have the column 'file', and each column once; it has {', '.join(header)}.")
    rows = {}
    for number, line in enumerate(lines, start=1):
        if len(line) != len(header):
            raise CatalogError(
                f"Row {number} of {path} has {len(line)} values, where the header names {len(header)} columns. "
                "Put quotation marks around a value that holds a comma."
            )
        given = dict.fromkeys(GIVEN, "") | {name: value.strip() for name, value in zip(header, line, strict=True)}
        file = given.pop("file")
        if not file or file in rows:
            what = f"names {file!r} again" if file else "names no file"
            raise CatalogError(f"Row {number} of {path} {what}. Give each photo one row.")
        rows[file] = given | {"constructor": given["constructor"] or maker(given["aircraft_type"])}
    return rows


def _images(folder: Path, out: Path, outcome: Imported) -> Iterator[str]:
    """Yield the images below `folder`, as paths relative to it; count the others. Hidden ones do not count."""
    for parent, folders, files in os.walk(folder, followlinks=False):
        here = Path(parent)
        folders[:] = [name for name in folders if not name.startswith(".") and (here / name).resolve() != out.resolve()]
        for name in files:
            suffix = Path(name).suffix.lower()
            if suffix in IMAGE_SUFFIXES and not name.startswith("."):
                yield (here / name).relative_to(folder).as_posix()
            elif not name.startswith("."):
                outcome.other_kinds[suffix or "no suffix"] += 1


def _source(folder: Path, source: str | None) -> str:
    """Return the name of the source, made from the folder's if none is given."""
    if source is None:
        return re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._") or "photos"
    if catalog.PHOTO_ID.fullmatch(source) is None:
        raise CatalogError(
            f"The source {source!r} cannot be used, since it becomes the name of a folder: "
            "use letters, digits, dots, dashes and underscores, and begin with a letter or digit."
        )
    return source


def _check_links(folder: Path, out: Path) -> None:
    """Raise CatalogError unless files in `out` can be hard links to files in `folder`."""
    out.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_dev != out.stat().st_dev:
        raise CatalogError(
            f"{out} is on another disk than {folder}, and hard links cannot reach across. "
            "Leave out --link to copy the images, or choose a folder on the same disk."
        )
