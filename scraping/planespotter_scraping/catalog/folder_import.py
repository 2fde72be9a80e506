"""Folder import: build a catalog from a user's own photos, labelled by folder names or by a CSV file.

The photo id is derived from the content of the image. So the import is idempotent: exact copies are stored once, a
photo is recognized after it was moved, and a second run adds only new photos.

Images are read, decoded and hashed in threads; the catalog gets them in batches with one fsync of its rows.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from planespotter_photos import PhotoError, formats
from planespotter_photos.housekeeping import is_housekeeping
from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError, NewPhoto, attribution, count_noun
from planespotter_scraping.catalog.label_files import LabelTable, find_labels, match_files, read_labels
from planespotter_scraping.catalog.lock import exclusive_lock
from planespotter_scraping.catalog.path_labels import (
    airframe_from_path,
    compile_pattern,
    depth,
    labels_from_path,
    match_pattern,
)
from planespotter_scraping.images.similarity import parallel_map, validate_and_hash
from planespotter_scraping.images.validation import SUFFIXES
from planespotter_scraping.labels.constructors import NO_AIRCRAFT
from planespotter_scraping.labels.parser import LabelPath, infer_constructor, is_known_constructor, parse_label

BATCH_PHOTOS, BATCH_BYTES = 64, 64 << 20  # of photos that are appended together


@dataclass
class ImportResult:
    """Result of an import. Files are relative to the imported folder.

    Attributes:
        stored: Photos added to the catalog.
        known: Photos that the catalog had already.
        copies: Exact copies, each with the file that it is a copy of.
        label_conflicts: Those of them with a contradicting label: both labels.
        unreadable: Files that were skipped, each with the reason.
        without_family: Stored photos whose label names no family, counted by their label.
        other_files: Files that are not images, counted by suffix.
        housekeeping: Hidden files, and files and folders of systems and drives, which were not searched.
        unlisted: Images in the folder that the file with labels does not list.
        notes: Where the labels come from, and which columns were ignored, as sentences.
    """

    stored: int = 0
    known: int = 0
    copies: dict[str, str] = field(default_factory=dict)
    label_conflicts: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    without_family: Counter[str] = field(default_factory=Counter)
    other_files: Counter[str] = field(default_factory=Counter)
    housekeeping: list[str] = field(default_factory=list)
    unlisted: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def processed(self) -> int:
        """Number of images processed so far."""
        return self.stored + self.known + len(self.copies) + len(self.unreadable)


def import_folder(
    folder: Path,
    out: Path,
    *,
    labels: Path | None = None,
    table: LabelTable | None = None,
    columns: Mapping[str, str] | None = None,
    pattern: str | None = None,
    source: str | None = None,
    link: bool = False,
    progress: Callable[[ImportResult, int], None] = lambda result, total: None,
) -> ImportResult:
    """Add the photos of a folder to a catalog.

    Ctrl-C loses nothing: the next run continues.

    Args:
        folder: Folder of photos, searched recursively. It is only read.
        out: Folder of the catalog, created if needed.
        labels: File with labels: see `label_files.read_labels`. None labels the photos by the names of their folders
            and files (see `path_labels`), and those without a family by the label files of the data set.
        table: Labels that are read already; replaces `labels`.
        columns: Names of the columns of a table with labels, by ours.
        pattern: What the paths of the photos say, see `path_labels.compile_pattern`; a value in `labels` takes
            precedence.
        source: Value of the column `source`; None for the name of the folder.
        link: Store hard links to the files instead of copies; photos that are converted to JPEG are always copies.
        progress: Called after each image with the result so far and the number of images in all.

    Returns:
        What was stored, and what was skipped and why.

    Raises:
        CatalogError: If the folder, the labels or the catalog cannot be used. A single unreadable image is skipped.
    """
    if not folder.is_dir():
        raise CatalogError(f"{folder} is not a folder. Give the folder that holds the photos.")
    check_out(out)
    if folder.resolve().is_relative_to(out.resolve()):
        raise CatalogError(
            f"{out} cannot be the catalog, since the photos in {folder} are inside it. Choose another --out."
        )
    source = source_name(folder, source)
    result = ImportResult()
    compiled = compile_pattern(pattern) if pattern is not None else None
    if labels is not None:
        table = read_labels(labels, columns or {})
    rows = _rows(folder, sorted(_files(folder, out, result)), table, columns or {}, result)
    if compiled is not None:
        _apply_pattern(compiled, rows, result, override=table is None)
    if table is None:
        _note_airframes(rows, result)
    if not rows:
        where = (
            f"{labels or 'The file with labels'} lists" if table is not None else f"{folder} and its subfolders hold"
        )
        raise CatalogError(f"{where} no photos: no file ends in .jpg, .png or the suffix of another photo format.")
    if not any(_is_labelled(row) for row in rows.values()):
        names = sorted({row["aircraft_type"] for row in rows.values()} - {""})
        texts = f" (found: {', '.join(names[:5])})" if names else ""
        where = (
            f"in {labels or 'the file with labels'}"
            if table is not None
            else "in any folder name, and no file with labels"
        )
        raise CatalogError(
            f"No label of an aircraft was found {where}{texts}, so nothing was stored "
            f"({count_noun(len(rows), 'photo')}). Name folders after types, or give a table with --labels, and name "
            "its columns with --column aircraft_type=NAME."
        )
    if link:
        _check_links(folder, out)
    with exclusive_lock(out):
        store_photos(folder, rows, out, source=source, link=link, result=result, progress=progress)
    return result


def store_photos(
    folder: Path,
    rows: Mapping[str, Mapping[str, str]],
    out: Path,
    *,
    source: str,
    result: ImportResult,
    link: bool = False,
    progress: Callable[[ImportResult, int], None] = lambda result, total: None,
) -> None:
    """Add photos to a catalog, whose lock must be held. Exact copies are stored once.

    Args:
        folder: Folder that the files are relative to.
        rows: Labels by file, with constructor and aircraft_type.
        out: Folder of the catalog, created if needed.
        source: Value of the column `source`.
        result: Result so far; updated.
        link: Store hard links to the files instead of copies.
        progress: Called after each image with the result so far and the number of images in all.

    Raises:
        CatalogError: If the catalog cannot be used. A single unreadable image is skipped.
    """
    stored = catalog.image_hashes(out) | catalog.photo_ids(out)
    # Of exact copies the first is stored: the one with the deepest label.
    files = sorted(rows, key=lambda file: -depth(_label_path(rows[file])))
    batch = _Batch(folder, rows, out, source, link, result)
    with closing(parallel_map(lambda file: _read_image(folder, file, source, stored), files)) as images:
        try:
            for file, image in zip(files, images, strict=True):
                batch.add(file, image)
                progress(result, len(rows))
        finally:
            batch.flush()  # after Ctrl-C as well
    progress(result, len(rows))
    attribution.refresh(out)


def check_out(out: Path) -> None:
    """Raise CatalogError if `out` cannot be the folder of a catalog."""
    if out.exists() and not out.is_dir():
        raise CatalogError(f"{out} is a file. Choose a folder for the catalog; it is created if needed.")


def photo_id_of(source: str, data: bytes) -> str:
    """Return the photo_id of an imported file of a source, from its content."""
    return f"{source}-{hashlib.sha256(data).hexdigest()[:20]}"


def _rows(
    folder: Path, paths: Collection[str], table: LabelTable | None, columns: Mapping[str, str], result: ImportResult
) -> dict[str, dict[str, str]]:
    """Return the labels by image: from a table, else from folder names and the data set's own files.

    Of the `paths` of files, those that are not images are counted.
    """
    readable = formats.readable_suffixes()
    files = [file for file in paths if Path(file).suffix.lower() in readable]
    other_files = [file for file in paths if Path(file).suffix.lower() not in readable]
    result.other_files.update(Path(file).suffix.lower() or "no suffix" for file in other_files)
    if table is not None:
        matched = match_files(table.rows, files)
        result.notes += table.notes
        result.unlisted = len(set(files) - set(matched.values()))
        return {matched.get(name, name): row for name, row in table.rows.items()}
    rows = {file: labels_from_path(folder, file) for file in files}
    unlabelled = [file for file, row in rows.items() if _label_path(row).family is None]
    if unlabelled:
        table = find_labels(folder, other_files, unlabelled, columns)
        result.notes += table.notes
        rows |= table.rows
        rows = {file: row for file, row in rows.items() if file not in table.ambiguous}
    return {file: airframe_from_path(file, row) | _known(row) for file, row in rows.items()}


def _known(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels without those that are empty, but for constructor and type."""
    return {name: value for name, value in labels.items() if value or name in ("constructor", "aircraft_type")}


def _apply_pattern(
    pattern: re.Pattern[str], rows: dict[str, dict[str, str]], result: ImportResult, *, override: bool
) -> None:
    """Add what a pattern finds in the paths to the labels: all of it, or what they lack.

    Raises:
        CatalogError: No path matches.
    """
    without = []
    for file, row in rows.items():
        if values := match_pattern(pattern, file):
            added = values if override else {name: value for name, value in values.items() if not row.get(name)}
            rows[file] = row | added
            if "constructor" not in added and "aircraft_type" in added and not row["constructor"]:
                rows[file]["constructor"] = infer_constructor(added["aircraft_type"])
        else:
            without.append(file)
    if len(without) == len(rows):
        raise CatalogError(
            f"No photo matches the pattern, not even {without[0]}. It describes the end of a path, such as "
            "'{airline}_{registration}_*' for Lufthansa_D-AIPA_1.jpg."
        )
    if without:
        result.notes.append(f"{count_noun(len(without), 'photo')} not matched by the pattern, such as {without[0]}.")


def _note_airframes(rows: Mapping[str, Mapping[str, str]], result: ImportResult) -> None:
    """Note which registrations and airlines were read, for the user to check."""
    for column in ("registration", "airline"):
        values = Counter(row[column] for row in rows.values() if row.get(column))
        if values:
            names = ", ".join(name for name, _ in values.most_common(3))
            more = ", ..." if len(values) > 3 else ""
            result.notes.append(f"The {column} of {count_noun(values.total(), 'photo')} is known: {names}{more}.")


@dataclass(frozen=True)
class _Image:
    """An image file that was read.

    Attributes:
        digest: sha256 of the file, "" if it cannot be read.
        photo_id: Id of the photo.
        is_known: Whether the catalog had it before this run; then the rest is empty.
        data: The image to store, converted to JPEG if the file is of another format.
        is_converted: Whether it was converted.
        kind: Format of `data`, such as "JPEG".
        width: Width in pixels.
        height: Height in pixels.
        phash: Perceptual hash.
        unreadable: Why the file cannot be stored, "" if it can.
    """

    digest: str = ""
    photo_id: str = ""
    is_known: bool = False
    data: bytes = b""
    is_converted: bool = False
    kind: str = ""
    width: int = 0
    height: int = 0
    phash: str = ""
    unreadable: str = ""


def _read_image(folder: Path, file: str, source: str, stored: Collection[str]) -> _Image:
    """Read, check and hash an image; called in threads.

    Args:
        folder: Imported folder.
        file: Image, relative to `folder`.
        source: Value of the column `source`.
        stored: sha256 of each image in the catalog before this run, and all photo ids.
    """
    try:
        data = (folder / file).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        photo_id = photo_id_of(source, data)
        if digest in stored or photo_id in stored:  # a converted photo has another hash, but its id
            return _Image(digest, photo_id, is_known=True)
        if is_converted := formats.sniff(data, file) in formats.CONVERTIBLE:
            data = _converted(data, file)
        kind, width, height, phash = validate_and_hash(data)
    except OSError as error:
        return _Image(unreadable=error.strerror or type(error).__name__)
    except ValueError as error:
        return _Image(unreadable=str(error))
    return _Image(digest, photo_id, False, data, is_converted, kind, width, height, phash)


class _Batch:
    """Photos of an import that are appended to the catalog together.

    Args:
        folder: Imported folder.
        rows: Labels by file.
        out: Folder of the catalog.
        source: Value of the column `source`.
        link: Whether to store hard links.
        result: Result so far; updated.
    """

    def __init__(
        self,
        folder: Path,
        rows: Mapping[str, Mapping[str, str]],
        out: Path,
        source: str,
        link: bool,
        result: ImportResult,
    ) -> None:
        self._folder, self._rows, self._out, self._source, self._link = folder, rows, out, source, link
        self._result = result
        self._first_files: dict[str, str] = {}  # of each sha256 in this run
        self._photos: list[NewPhoto] = []
        self._bytes = 0

    def add(self, file: str, image: _Image) -> None:
        """Add an image, or count why it is not stored.

        Args:
            file: Image, relative to the imported folder.
            image: What was read from it.
        """
        result, labels = self._result, self._rows[file]
        if image.unreadable:
            result.unreadable[file] = image.unreadable
            return
        label_path = _label_path(labels)
        if first := self._first_files.get(image.digest):
            result.copies[file] = first
            if conflict := _conflict(label_path, _label_path(self._rows[first])):
                result.label_conflicts[file] = conflict
            return
        self._first_files[image.digest] = file
        if image.is_known:
            result.known += 1
            return
        row = {
            **labels,
            "constructor": label_path.constructor,
            "photo_id": image.photo_id,
            "source": self._source,
            "width": str(image.width),
            "height": str(image.height),
            "phash": image.phash,
            "scraped_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        link = (self._folder / file).resolve() if self._link and not image.is_converted else None
        self._photos.append(NewPhoto(row, image.data, SUFFIXES[image.kind], link))
        self._bytes += len(image.data)
        if label_path.family is None and label_path.constructor != NO_AIRCRAFT:
            name = " ".join(filter(None, (label_path.constructor, labels["aircraft_type"]))) or "no label"
            result.without_family[name] += 1
        if len(self._photos) >= BATCH_PHOTOS or self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Append the photos to the catalog, and count them. Raises CatalogError if that is impossible."""
        photos, self._photos, self._bytes = self._photos, [], 0
        if photos:
            catalog.append_all(self._out, photos)
            self._result.stored += len(photos)


def _converted(data: bytes, file: str) -> bytes:
    """Return a photo of a phone, a camera or a scanner as JPEG. Raises ValueError."""
    from planespotter_photos.conversion import convert_photo

    try:
        return convert_photo(data, file)
    except PhotoError as error:
        raise ValueError(str(error)) from None


def _label_path(labels: Mapping[str, str]) -> LabelPath:
    """Return the label path of a photo's labels."""
    return parse_label(labels["constructor"], labels["aircraft_type"]).path


def _is_labelled(labels: Mapping[str, str]) -> bool:
    """Return whether a photo's labels name a family, a known constructor or that there is no aircraft."""
    path = _label_path(labels)
    return path.family is not None or is_known_constructor(path.constructor)


def _conflict(path: LabelPath, other: LabelPath) -> str:
    """Return two contradicting labels of one image as text, "" if one extends the other."""
    differ = any(a and b and a != b for a, b in zip(path, other, strict=True))
    names = (label.model or label.family or label.constructor for label in (path, other))
    return " and ".join(names) if differ else ""


def _files(folder: Path, out: Path, result: ImportResult) -> Iterator[str]:
    """Yield the files below `folder`, relative to it, without those in `out`; count hidden and housekeeping ones."""
    for parent, folders, files in os.walk(folder, followlinks=False):
        here = Path(parent)
        skipped = [name for name in sorted([*folders, *files]) if is_housekeeping(name)]
        result.housekeeping += [(here / name).relative_to(folder).as_posix() for name in skipped]
        folders[:] = [
            name for name in folders if not is_housekeeping(name) and (here / name).resolve() != out.resolve()
        ]
        yield from ((here / name).relative_to(folder).as_posix() for name in files if not is_housekeeping(name))


def source_name(folder: Path, source: str | None) -> str:
    """Return the name of the source, by default derived from that of the folder."""
    if source is None:
        return re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._") or "photos"
    if catalog.PHOTO_ID.fullmatch(source) is None:
        raise CatalogError(
            f"source {source!r} is not a valid folder name. "
            "Use letters, digits, dots, dashes and underscores, and start with a letter or digit."
        )
    return source


def _check_links(folder: Path, out: Path) -> None:
    """Raise CatalogError unless files in `out` can be hard links to files in `folder`."""
    out.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_dev != out.stat().st_dev:
        raise CatalogError(
            f"{out} is not on the same disk as {folder}, so hard links are impossible. "
            "Copy the images (without --link), or choose a folder on the same disk."
        )
