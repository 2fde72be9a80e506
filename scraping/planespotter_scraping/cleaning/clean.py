"""Catalog cleaning: drop photos that are not worth training on, with a reason for each, and undo it.

Images are never changed or deleted. The rows of dropped photos move from `catalog.csv` to `dropped.csv`, and their
images stay. A cropped or stretched image is written to a new file below `cropped/` or `stretched/`; its former row goes
to `changed.csv`, as does the former row of a photo that is marked for review.

A clean takes effect at one moment: when the new `catalog.csv` is renamed over the old one. Files written before have no
effect without it, and later steps only remove leftovers. So a kill leaves the catalog uncleaned or cleaned, and the
next clean or undo derives from `catalog.csv` which of the two.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planespotter_scraping import catalog
from planespotter_scraping.atomic_write import atomic_write
from planespotter_scraping.catalog import CHANGED, DROPPED, CatalogError, attribution
from planespotter_scraping.catalog.lock import exclusive_lock
from planespotter_scraping.cleaning import crop, rules
from planespotter_scraping.cleaning.history import (
    CHANGED_COLUMNS,
    DROPPED_COLUMNS,
    Row,
    changeable,
    effective_history,
    rows_of,
    timestamp_after,
    write_or_remove,
    write_rows,
)
from planespotter_scraping.cleaning.rules import Conflict, Options, Photo
from planespotter_scraping.images import similarity

EDITED_FOLDERS = ("cropped/", "stretched/")

MAX_STRETCH = 3.0


@dataclass(frozen=True)
class Drop:
    """A dropped photo, with the rule that drops it and the reason."""

    photo_id: str
    rule: str
    reason: str


@dataclass
class CleanResult:
    """Result of a clean, or of its dry run.

    Attributes:
        photos: Photos in the catalog before.
        dropped: Dropped photos.
        cropped: Cropped images, by source.
        stretched: Stretched images, by source.
        too_small_to_crop: Images that cropping would cut by more than half, by source; they stay uncropped.
        review: Remarks for review, by photo_id.
        suggested_crops: Rows that --crop-bottom should crop, by source.
        squares: Sources whose photos seem to be squashed to squares, which --stretch undoes.
    """

    photos: int = 0
    dropped: list[Drop] = field(default_factory=list)
    cropped: Counter[str] = field(default_factory=Counter)
    stretched: Counter[str] = field(default_factory=Counter)
    too_small_to_crop: Counter[str] = field(default_factory=Counter)
    review: dict[str, str] = field(default_factory=dict)
    suggested_crops: dict[str, int] = field(default_factory=dict)
    squares: list[str] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        """Number of photos that stay in the catalog."""
        return self.photos - len(self.dropped)

    @property
    def changes_the_catalog(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.dropped or self.cropped or self.stretched or self.review)


@dataclass
class _Plan:
    """Changes to the rows of a catalog."""

    result: CleanResult
    crops: dict[str, int]  # rows to crop from the image of a photo that stays, by photo_id
    factors: dict[str, float]  # to widen the image of a photo that stays by, by photo_id


def clean(
    folder: Path,
    options: Options | None = None,
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CleanResult:
    """Drop the photos of a catalog that the rules exclude.

    Args:
        folder: Folder of the catalog.
        options: Limits of the rules; None for the defaults.
        dry_run: Only return what would be done.
        progress: Called with the numbers of images scanned and in all.

    Raises:
        CatalogError: If the catalog cannot be used, another command is writing to it, or an option is invalid.
    """
    options = options or Options()
    catalog.read(folder)  # an invalid catalog is reported before the lock is taken
    if dry_run:
        return _plan(folder, options, progress).result
    with exclusive_lock(folder):
        plan = _plan(folder, options, progress)
        if plan.result.changes_the_catalog:
            _apply(folder, plan)
            attribution.refresh(folder)
    return plan.result


def undo(folder: Path) -> tuple[int, int]:
    """Undo the last clean that has not been undone yet.

    Args:
        folder: Folder of the catalog.

    Returns:
        Number of photos that are in the catalog again, and number of rows with their former values.

    Raises:
        CatalogError: If there is nothing to undo, or if the catalog cannot be used.
    """
    catalog.read(folder)
    with exclusive_lock(folder):
        header, rows = rows_of(folder / "catalog.csv")
        dropped, changed = effective_history(folder, rows)
        last = max((*(row["dropped_at"] for row in dropped), *(row["changed_at"] for row in changed)), default="")
        if not last:
            raise CatalogError(f"There is nothing to undo in {folder}: it was not cleaned, or every clean was undone.")
        back = [row for row in dropped if row["dropped_at"] == last]
        for row in sorted(back, key=lambda row: int(row["dropped_from_row"])):
            rows.insert(int(row["dropped_from_row"]) - 1, row)
        by_id = {row["photo_id"]: row for row in rows}
        added: set[str] = set()
        edited_files: set[str] = set()
        restored = 0
        for was in changed:
            if was["changed_at"] == last and was["photo_id"] in by_id:
                now = by_id[was["photo_id"]]
                if now["file"] != was["file"] and now["file"].startswith(EDITED_FOLDERS):
                    edited_files.add(now["file"])
                now.update({column: was.get(column, "") for column in changeable(was)})
                added.update(was["added_columns"].split())
                restored += 1
        header = [name for name in header if name not in added or any(row.get(name) for row in rows)]
        dropped = [row for row in dropped if row["dropped_at"] != last]
        changed = [row for row in changed if row["changed_at"] != last]
        write_rows(folder / "catalog.csv", header, rows)  # takes effect here
        write_or_remove(folder / DROPPED, header, DROPPED_COLUMNS, dropped)
        write_or_remove(folder / CHANGED, header, CHANGED_COLUMNS, changed)
        for file in edited_files - {row["file"] for row in (*rows, *dropped, *changed)}:
            (folder / file).unlink(missing_ok=True)
            for parent in (folder / file).relative_to(folder).parents:
                with suppress(OSError):  # not empty
                    (folder / parent).rmdir()
        attribution.refresh(folder)
    return len(back), restored


# --- planning ---


def _plan(folder: Path, options: Options, progress: Callable[[int, int], None]) -> _Plan:
    """Apply the rules to a catalog, in order, without changing a file."""
    frame = catalog.read(folder)
    _, rows = rows_of(folder / "catalog.csv")
    paths = frame[list(catalog.LABEL_PATH)].to_dict("records")
    rows = [
        {**row, **{str(name): str(value) for name, value in path.items()}}
        for row, path in zip(rows, paths, strict=True)
    ]
    _check_options(options, {row.get("source", "") for row in (*rows, *rows_of(folder / DROPPED)[1])})
    result = CleanResult(photos=len(rows))
    crops = _crops(folder, options, rows, result)
    scans = similarity.scan_images(folder, {row["file"]: crops.get(row["photo_id"], 0) for row in rows}, progress)
    photos = [
        Photo(row, number, _size(folder / row["file"]), scans[row["file"]]) for number, row in enumerate(rows, start=1)
    ]
    conflicts: list[Conflict] = []

    def drop(rule: str, reasons: Mapping[str, str]) -> None:
        result.dropped += [Drop(name, rule, reason) for name, reason in reasons.items()]
        photos[:] = [photo for photo in photos if photo.name not in reasons]

    for name, rule in rules.SINGLE_PHOTO_RULES.items():
        if name not in options.skip_rules:
            drop(name, rule(photos, options))
    if "exact-duplicate" not in options.skip_rules:
        reasons, label_conflicts = rules.exact_duplicate(photos, options)
        drop("exact-duplicate", reasons)
        conflicts += label_conflicts
    if "near-duplicate" not in options.skip_rules:
        uncropped_files = {photo.value("file"): 0 for photo in photos if photo.name in crops}
        uncropped = similarity.scan_images(folder, uncropped_files, progress) if uncropped_files else {}
        pairs = _near_duplicates(folder, photos, options, crops, uncropped)
        reasons, label_conflicts = rules.near_duplicate(photos, pairs)
        drop("near-duplicate", reasons)
        conflicts += label_conflicts
    for name, rule in rules.CAPS.items():
        if name not in options.skip_rules:
            drop(name, rule(photos, options))
    remaining = {photo.name: photo for photo in photos}
    result.review = _review_remarks(conflicts, remaining)
    crops = {name: rows for name, rows in crops.items() if name in remaining}
    result.cropped.update(remaining[name].value("source") for name in crops)
    factors = {
        photo.name: options.stretch[photo.value("source")]
        for photo in photos
        if photo.value("source") in options.stretch and not photo.row.get("stretched")
    }
    result.stretched.update(remaining[name].value("source") for name in factors)
    _suggest(folder, options, photos, result)
    return _Plan(result, crops, factors)


def _suggest(folder: Path, options: Options, photos: Iterable[Photo], result: CleanResult) -> None:
    """Look for sources whose photos have a caption bar or are squashed, as far as no option names these."""
    by_source: dict[str, list[Photo]] = {}
    for photo in photos:
        if source := photo.value("source"):
            by_source.setdefault(source, []).append(photo)
    for source, of_source in sorted(by_source.items()):
        paths = [folder / photo.value("file") for photo in of_source]
        if source not in options.crop_bottom and (suggested := crop.suggest_crop(paths)):
            result.suggested_crops[source] = suggested
        sizes = [(photo.scan.width, photo.scan.height) for photo in of_source]
        if source not in options.stretch and crop.suggest_stretch(sizes):
            result.squares.append(source)


def _check_options(options: Options, sources: Set[str]) -> None:
    """Raise CatalogError if the options name an unknown source or rule, or an invalid number of rows or factor."""
    for source in (*options.crop_bottom, *options.stretch):
        if source not in sources:
            raise CatalogError(
                f"The catalog has no source {source!r}. Its sources: "
                f"{', '.join(sorted(sources - {''})) or 'none with a name'}."
            )
    for source, crop_rows in options.crop_bottom.items():
        if crop_rows < 1:
            raise CatalogError(f"The crop of {source} is invalid: {crop_rows} rows. Give at least 1.")
    for source, factor in options.stretch.items():
        if not 1 < factor <= MAX_STRETCH:
            raise CatalogError(
                f"The stretch of {source} is invalid: {factor:g}. Give a factor above 1, and at most {MAX_STRETCH:g}: "
                "1.5 if the photos were 3:2 before they were squashed to squares."
            )
    if unknown := sorted(options.skip_rules - rules.RULES.keys()):
        raise CatalogError(f"Rule {unknown[0]!r} does not exist. The rules are {', '.join(rules.RULES)}.")


def _crops(folder: Path, options: Options, rows: Iterable[Row], result: CleanResult) -> dict[str, int]:
    """Return the rows to crop from each image, by photo_id, less those of earlier cleans."""
    crops = {}
    for row in rows:
        source = row.get("source", "")
        missing = options.crop_bottom.get(source, 0) - _cropped_rows(row)
        if missing > 0:
            if crop.can_crop(folder / row["file"], missing):
                crops[row["photo_id"]] = missing
            else:
                result.too_small_to_crop[source] += 1
    return crops


def _cropped_rows(row: Row) -> int:
    """Return the number of rows that earlier cleans cropped from an image."""
    text = row.get("cropped_bottom", "")
    return int(text) if text.isdecimal() else 0


def _near_duplicates(
    folder: Path,
    photos: Sequence[Photo],
    options: Options,
    crops: Mapping[str, int],
    uncropped: Mapping[str, similarity.ImageScan],
) -> list[similarity.NearDuplicate]:
    """Return the pairs of near duplicates, cropped or not.

    A copy from another source may show the picture without its caption bar, or with the same bar.
    """
    files = [photo.value("file") for photo in photos]
    crop_of_file = {photo.value("file"): crops.get(photo.name, 0) for photo in photos}
    thresholds: dict[str, Any] = {"max_hamming": options.max_hamming, "min_correlation": options.min_correlation}
    hashes = [photo.scan.phash for photo in photos]
    duplicates = similarity.find_near_duplicates(folder, files, hashes, crops=crop_of_file, **thresholds)
    if uncropped:
        hashes = [
            uncropped[file].phash if file in uncropped else text for file, text in zip(files, hashes, strict=True)
        ]
        pairs = {(pair.first, pair.second) for pair in duplicates}
        more = similarity.find_near_duplicates(folder, files, hashes, **thresholds)
        duplicates += [pair for pair in more if (pair.first, pair.second) not in pairs]
    return duplicates


def _review_remarks(conflicts: Iterable[Conflict], remaining: Mapping[str, Photo]) -> dict[str, str]:
    """Return remarks on photos of one picture with different labels, by photo_id: no rule can decide which is right."""
    remarks: dict[str, list[str]] = {}
    for first, second, column in conflicts:
        for photo, copy in ((first, second), (second, first)):
            remark = f"{column}: its duplicate {copy.name} has {copy.value(column)}"
            if photo.name in remaining and copy.name in remaining and remark not in photo.value("review"):
                remarks.setdefault(photo.name, []).append(remark)
    return {name: "; ".join(texts) for name, texts in remarks.items()}


def _size(path: Path) -> int:
    """Return the size of a file in bytes; 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


# --- writing ---


def _apply(folder: Path, plan: _Plan) -> None:
    """Write the plan. Nothing takes effect before `catalog.csv` is replaced."""
    header, rows = rows_of(folder / "catalog.csv")
    dropped, changed = effective_history(folder, rows)
    now = timestamp_after(
        row.get(column, "") for row in (*dropped, *changed) for column in ("dropped_at", "changed_at")
    )
    drops = {drop.photo_id: drop for drop in plan.result.dropped}
    added = [
        name
        for name, needed in (
            ("cropped_bottom", plan.crops),
            ("stretched", plan.factors),
            ("review", plan.result.review),
        )
        if needed and name not in header
    ]
    remaining = []
    for number, row in enumerate(rows, start=1):
        name = row["photo_id"]
        if name in drops:
            values = (drops[name].reason, drops[name].rule, now, str(number))
            dropped.append({**row, **dict(zip(DROPPED_COLUMNS, values, strict=True))})
            continue
        reasons = []
        new = dict(row)
        crop_rows, factor = plan.crops.get(name, 0), plan.factors.get(name, 1.0)
        if crop_rows or factor != 1:
            new.update(_write_edited(folder, row, crop_rows, factor))
        if crop_rows:
            reasons.append(f"The lowest {crop_rows} rows of its image were cropped.")
        if factor != 1:
            reasons.append(f"Its image was stretched to {factor:g} times its width.")
        if remark := plan.result.review.get(name):
            new["review"] = "; ".join(filter(None, (row.get("review", ""), remark)))
            reasons.append("Another photo shows the same picture with another label.")
        if reasons:
            changed.append(
                {**row, "change_reason": " ".join(reasons), "changed_at": now, "added_columns": " ".join(added)}
            )
        remaining.append(new)
    header = [*header, *added]
    write_or_remove(folder / CHANGED, header, CHANGED_COLUMNS, changed)
    write_or_remove(folder / DROPPED, header, DROPPED_COLUMNS, dropped)
    write_rows(folder / "catalog.csv", header, remaining)  # takes effect here


def _write_edited(folder: Path, row: Row, crop_rows: int, factor: float) -> Row:
    """Write the cropped and stretched image of `row` as a new file, and return the values of the row that change."""
    original = folder / row["file"]
    data = crop.crop_and_stretch(original.read_bytes(), crop_rows, factor)
    cropped = str(crop_rows + _cropped_rows(row)) if crop_rows else row.get("cropped_bottom", "")
    stretched = f"{factor:g}" if factor != 1 else row.get("stretched", "")
    name = "-".join(filter(None, (row["photo_id"], cropped, stretched and f"x{stretched}")))
    file = Path("stretched" if stretched else "cropped", row.get("source", ""), name + original.suffix)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / file) as temporary:
        temporary.write_bytes(data)
    scan = similarity.scan_image(folder / file)
    return {
        "file": file.as_posix(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": str(scan.width),
        "height": str(scan.height),
        "phash": scan.phash,
        "cropped_bottom": cropped,
        "stretched": stretched,
    }
