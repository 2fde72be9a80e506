"""Catalog statistics: counts of labels, airframes, missing values, sizes, dates, exact and near duplicates.

`compute_stats` returns plain lists and dictionaries: programs get them as JSON, `console/tables.py` prints them, and
`planespotter explore` draws them. Every statistic of a catalog is computed here, once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import pandas as pd

from planespotter_scraping.catalog import COLUMNS, LABEL_PATH, NO_AIRCRAFT, count_noun
from planespotter_scraping.labels.constructors import is_listed_constructor

if TYPE_CHECKING:  # opening images needs Pillow, and most numbers do not
    from planespotter_scraping.images.similarity import ImageScan


class ModelCount(TypedDict):
    """Photos and airframes of one model; `family` and `model` are "" for labels that stop above them."""

    constructor: str
    family: str
    model: str
    photos: int
    airframes: int


class SizeRange(TypedDict):
    """Distribution of a side of the images, in pixels."""

    min: int
    median: int
    max: int


class SizeCount(TypedDict):
    """Number of images of one size in pixels."""

    width: int
    height: int
    photos: int


class UnresolvedType(TypedDict):
    """A type text that does not determine a model, and the level at which its label stops."""

    constructor: str
    aircraft_type: str
    level: str  # "family", "constructor" or "none"
    photos: int


class ReviewStats(TypedDict):
    """Photos with contradicting labels."""

    photos: int
    fields: dict[str, int]  # photos by the field in question
    examples: list[dict[str, str]]  # photo_id and review of the first ones


class ConstructorMix(TypedDict):
    """Photos of one airline or source by constructor."""

    name: str
    photos: int
    constructors: dict[str, int]


class FileStats(TypedDict):
    """The image files on disk."""

    bytes: int
    missing: list[str]  # in the catalog, but missing or empty on disk


class CatalogStats(TypedDict):
    """Statistics of a catalog. Counts are sorted by photos, descending; the name "" stands for unknown."""

    photos: int
    no_aircraft: int  # pictures without an aircraft: they have no constructor, type, airline or registration to count
    missing: dict[str, int]  # photos without a value, by column and level of the label path
    constructors: dict[str, int]
    other_names: list[str]  # of the constructors: names that no constructor in our list has, such as "Military"
    airlines: dict[str, int]
    sources: dict[str, int]
    models: list[ModelCount]
    airframes: int  # distinct registrations
    photos_per_airframe: dict[str, int]  # number of airframes with 1, 2, 3... photos
    sizes: dict[str, SizeRange]  # by "width", "height" and "shorter side"
    without_size: int
    exact_duplicates: int  # photos whose file is a copy of another photo's; the first of each is not counted
    duplicated_files: list[list[str]]  # photo ids that share one file
    label_depth: dict[str, int]  # photos by the deepest level of their label: "model", "family", "constructor", "none"
    unresolved_types: list[UnresolvedType]
    review: ReviewStats
    airline_mix: list[ConstructorMix]  # photos with a known airline and constructor
    source_mix: list[ConstructorMix]
    single_constructor_airlines: dict[str, int]  # airlines whose photos show one constructor, by that constructor
    single_constructor_airline_photos: int
    airlines_for_half: int  # the largest airlines that together have half of the photos with an airline
    dimensions: list[SizeCount]
    under_224: int  # images whose shorter side is below the input side of the network
    months: dict[str, dict[str, dict[str, int]]]  # of taken_on and scraped_at: photos by month, then by source
    invalid_dates: dict[str, list[str]]  # values of taken_on and scraped_at that are not dates as in ISO 8601
    date_ranges: dict[str, list[str]]  # of taken_on and scraped_at: first and last valid date
    licences: dict[str, int]
    photographers: dict[str, int]
    missing_by_source: dict[str, dict[str, int]]  # `missing` of each source
    largest_airframes: dict[str, int]  # photos of the registrations with the most photos
    files: FileStats | None  # None without the folder
    broken_images: dict[str, str] | None  # incomplete image files, with the reason; None without scans
    near_duplicates: list[list[str]] | None  # photo ids that show one picture in several files; None without scans


# Columns that describe an aircraft: a picture without one misses nothing there.
AIRCRAFT_COLUMNS = {*LABEL_PATH, "aircraft_type", "airline", "registration"}
DATES = ("taken_on", "scraped_at")
NETWORK_SIDE = 224  # pixels: input side of VGG16
REVIEW_EXAMPLES = 20
LARGEST = 10
DAY = re.compile(r"(\d{4})-(0[1-9]|1[0-2])(?:-\d\d)?(?!\d)")
REVIEWED = re.compile(r"(?:^|; )([a-z_]+): ")


def compute_stats(
    frame: pd.DataFrame, folder: Path | None = None, scans: "Mapping[str, ImageScan] | None" = None
) -> CatalogStats:
    """Compute the statistics of a catalog.

    Args:
        frame: Catalog, as `catalog.read` returns it.
        folder: Folder of the catalog, for the statistics of its files.
        scans: Scan of each image, by file, for broken images and near duplicates; `folder` is needed as well.
    """
    aircraft = frame[frame["constructor"] != NO_AIRCRAFT]
    airframes = _counts(aircraft["registration"][aircraft["registration"] != ""])
    per_airframe = pd.Series(airframes, dtype=int).value_counts().sort_index()
    sizes, without_size = _sizes(frame)
    copies = [list(map(str, ids)) for _, ids in frame[frame["sha256"] != ""].groupby("sha256")["photo_id"]]
    copies = [ids for ids in copies if len(ids) > 1]
    airlines = _mix(aircraft, "airline")
    single = [row for row in airlines if len(row["constructors"]) == 1]
    dimensions = _dimensions(frame)
    return {
        "photos": len(frame),
        "no_aircraft": len(frame) - len(aircraft),
        "missing": _missing(frame),
        "constructors": _counts(aircraft["constructor"]),
        "other_names": sorted(name for name in set(aircraft["constructor"]) - {""} if not is_listed_constructor(name)),
        "airlines": _counts(aircraft["airline"]),
        "sources": _counts(frame["source"]),
        "models": _models(aircraft),
        "airframes": len(airframes),
        "photos_per_airframe": {str(photos): int(count) for photos, count in per_airframe.items()},
        "sizes": sizes,
        "without_size": without_size,
        "exact_duplicates": sum(len(ids) - 1 for ids in copies),
        "duplicated_files": copies,
        "label_depth": _depth(aircraft),
        "unresolved_types": _unresolved(aircraft),
        "review": _review(frame),
        "airline_mix": airlines,
        "source_mix": _mix(aircraft, "source"),
        "single_constructor_airlines": dict(Counter(next(iter(row["constructors"])) for row in single).most_common()),
        "single_constructor_airline_photos": sum(row["photos"] for row in single),
        "airlines_for_half": _count_for_half(_counts(aircraft["airline"][aircraft["airline"] != ""]).values()),
        "dimensions": dimensions,
        "under_224": sum(row["photos"] for row in dimensions if min(row["width"], row["height"]) < NETWORK_SIDE),
        "months": {column: _months(frame, column) for column in DATES},
        "invalid_dates": {column: [date for date in frame[column] if date and not DAY.match(date)] for column in DATES},
        "date_ranges": {column: _date_range(frame[column]) for column in DATES},
        "licences": _counts(frame["licence"]),
        "photographers": _counts(frame["photographer"]),
        "missing_by_source": {str(source): _missing(rows) for source, rows in frame.groupby("source")},
        "largest_airframes": dict(list(airframes.items())[:LARGEST]),
        "files": _file_stats(folder, frame["file"]) if folder is not None else None,
        "broken_images": {file: scan.broken for file, scan in scans.items() if scan.broken} if scans else None,
        "near_duplicates": _near_duplicates(frame, folder, scans) if scans and folder is not None else None,
    }


def _counts(column: pd.Series) -> dict[str, int]:
    """Return the count of each value, sorted by count (descending) and name."""
    counts = column.value_counts().to_dict()
    return {str(name): int(counts[name]) for name in sorted(counts, key=lambda name: (-counts[name], str(name)))}


def _missing(frame: pd.DataFrame) -> dict[str, int]:
    """Count the photos without a value, by column."""
    has_aircraft = frame["constructor"] != NO_AIRCRAFT
    return {
        column: int(((frame[column] == "") & (has_aircraft | (column not in AIRCRAFT_COLUMNS))).sum())
        for column in dict.fromkeys((*COLUMNS, *LABEL_PATH))
    }


def _models(frame: pd.DataFrame) -> list[ModelCount]:
    """Count photos and airframes by model, sorted by the photos of the constructor, then of the model."""
    rows: list[ModelCount] = []
    for labels, photos in frame.groupby(list(LABEL_PATH)):
        constructor, family, model = map(str, labels)
        airframes = int(photos["registration"][photos["registration"] != ""].nunique())
        rows.append(
            {
                "constructor": constructor,
                "family": family,
                "model": model,
                "photos": len(photos),
                "airframes": airframes,
            }
        )
    totals = _counts(frame["constructor"])
    return sorted(rows, key=lambda row: (-totals[row["constructor"]], row["constructor"], -row["photos"]))


def _depth(frame: pd.DataFrame) -> dict[str, int]:
    """Count photos by the deepest level of their label, deepest level first."""
    depth, remaining = {}, pd.Series(True, index=frame.index)
    for level in reversed(LABEL_PATH):
        depth[level] = int((remaining & (frame[level] != "")).sum())
        remaining &= frame[level] == ""
    return {**depth, "none": int(remaining.sum())}


def _unresolved(frame: pd.DataFrame) -> list[UnresolvedType]:
    """Return the type texts that do not determine a model."""
    without_model = frame[(frame["aircraft_type"] != "") & (frame["model"] == "")]
    rows: list[UnresolvedType] = []
    for (constructor, family, text), photos in without_model.groupby(["constructor", "family", "aircraft_type"]):
        level = "family" if family else "constructor" if constructor else "none"
        rows.append(
            {"constructor": str(constructor), "aircraft_type": str(text), "level": level, "photos": len(photos)}
        )
    return sorted(rows, key=lambda row: (-row["photos"], row["constructor"], row["aircraft_type"]))


def _review(frame: pd.DataFrame) -> ReviewStats:
    """Summarize the column `review`."""
    if "review" not in frame:
        return {"photos": 0, "fields": {}, "examples": []}
    rows = frame[frame["review"] != ""]
    fields = Counter(field for text in rows["review"] for field in set(REVIEWED.findall(text)))
    pairs = zip(rows["photo_id"][:REVIEW_EXAMPLES], rows["review"][:REVIEW_EXAMPLES], strict=True)
    return {
        "photos": len(rows),
        "fields": dict(sorted(fields.items(), key=lambda item: (-item[1], item[0]))),
        "examples": [{"photo_id": str(photo_id), "review": str(text)} for photo_id, text in pairs],
    }


def _mix(frame: pd.DataFrame, column: str) -> list[ConstructorMix]:
    """Count the photos of each value of `column` by constructor."""
    rows = frame[(frame[column] != "") & (frame["constructor"] != "")]
    totals = _counts(rows[column])
    mix: dict[str, Counter[str]] = {name: Counter() for name in totals}
    for name, constructor in zip(rows[column], rows["constructor"], strict=True):
        mix[name][constructor] += 1
    return [{"name": name, "photos": totals[name], "constructors": dict(sorted(mix[name].items()))} for name in totals]


def _count_for_half(counts: Iterable[int]) -> int:
    """Return how many of the largest counts sum to half of the total."""
    ordered = sorted(counts, reverse=True)
    half, total, number = sum(ordered) / 2, 0, 0
    while total < half:
        total += ordered[number]
        number += 1
    return number


def _dimensions(frame: pd.DataFrame) -> list[SizeCount]:
    """Count images by size, sorted by width and height."""
    sizes = Counter((int(row.width), int(row.height)) for row in _sides(frame).itertuples())  # type: ignore[arg-type]
    return [{"width": width, "height": height, "photos": sizes[width, height]} for width, height in sorted(sizes)]


def _months(frame: pd.DataFrame, column: str) -> dict[str, dict[str, int]]:
    """Count photos by month of the dates in `column`, then by source; invalid dates are skipped."""
    months: dict[str, Counter[str]] = {}
    for date, source in zip(frame[column], frame["source"], strict=True):
        match = DAY.match(date)
        if match:
            months.setdefault(f"{match[1]}-{match[2]}", Counter())[source] += 1
    return {month: dict(sorted(months[month].items())) for month in sorted(months)}


def _date_range(dates: pd.Series) -> list[str]:
    """Return the first and the last valid date (YYYY-MM-DD or YYYY-MM); [] if there is none."""
    days = sorted(match[0] for match in map(DAY.match, dates) if match)
    return [days[0], days[-1]] if days else []


def _file_stats(folder: Path, names: pd.Series) -> FileStats:
    """Return the total size of the images, and those that are missing or empty."""
    total, missing = 0, []
    for name in names:
        try:
            size = (folder / name).stat().st_size
        except OSError:
            size = 0
        total += size
        if not size:
            missing.append(str(name))
    return {"bytes": total, "missing": missing}


def _near_duplicates(frame: pd.DataFrame, folder: Path, scans: "Mapping[str, ImageScan]") -> list[list[str]]:
    """Return groups of photo ids that show the same picture in different files."""
    from planespotter_scraping.images.similarity import connected_components, find_near_duplicates

    files = list(frame["file"])
    duplicates = find_near_duplicates(folder, files, [scans[file].phash for file in files])
    pairs = [
        (pair.first, pair.second)
        for pair in duplicates
        if scans[files[pair.first]].sha256 != scans[files[pair.second]].sha256
    ]
    members: dict[int, list[str]] = {}
    for photo_id, group in zip(frame["photo_id"], connected_components(len(files), pairs), strict=True):
        members.setdefault(group, []).append(str(photo_id))
    return [ids for ids in members.values() if len(ids) > 1]


def _sides(frame: pd.DataFrame) -> pd.DataFrame:
    """Return width and height of the photos that have both."""
    sides: pd.DataFrame = frame[["width", "height"]].apply(pd.to_numeric, errors="coerce").dropna()
    return sides


def _sizes(frame: pd.DataFrame) -> tuple[dict[str, SizeRange], int]:
    """Return the distribution of the image sizes, and the number of photos without a size."""
    sides = _sides(frame)
    if sides.empty:
        return {}, len(frame)
    columns = {"width": sides["width"], "height": sides["height"], "shorter side": sides.min(axis=1)}
    ranges: dict[str, SizeRange] = {
        name: {"min": int(side.min()), "median": int(side.median()), "max": int(side.max())}
        for name, side in columns.items()
    }
    return ranges, len(frame) - len(sides)


def invalid_dates(dates: list[str]) -> str:
    """Describe dates in another format than the catalog's, such as those that a spreadsheet has changed."""
    return f"{count_noun(len(dates), 'date')} not counted, such as {dates[0]}: write YYYY-MM-DD."


def model_name(row: ModelCount) -> str:
    """Return the name of a model for display: "737-800", "747, model unknown" or "unknown"."""
    return row["model"] or (f"{row['family']}, model unknown" if row["family"] else "unknown")
