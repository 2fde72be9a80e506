"""The numbers of a catalog: how many photos of what, what is missing, and how much is said twice.

`numbers` is made of plain lists and dictionaries, so that programs get as JSON what tables.py shows to people, and what
the page of `planespotter explore` draws: every figure of a catalog is counted here, once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import pandas as pd

from planespotter_scraping.catalog import COLUMNS, LABEL_PATH

if TYPE_CHECKING:  # opening images needs Pillow, and most numbers do not
    from planespotter_scraping.images.similarity import Look


class Model(TypedDict):
    """One model of one constructor; both are "" where the labels do not reach so far."""

    constructor: str
    family: str
    model: str
    photos: int
    airframes: int


class Sizes(TypedDict):
    """The spread of a measure of the images, in pixels."""

    smallest: int
    median: int
    largest: int


class Dimensions(TypedDict):
    """How many images have one size, in pixels."""

    width: int
    height: int
    photos: int


class Unplaced(TypedDict):
    """A type as pages write it that names no model, and the deepest level that it does name."""

    constructor: str
    aircraft_type: str
    reaches: str  # "family", "constructor" or "nothing"
    photos: int


class Review(TypedDict):
    """Photos whose labels two readings do not agree about."""

    photos: int
    fields: dict[str, int]  # how many photos, by what they disagree about
    examples: list[dict[str, str]]  # photo_id and review of the first of them


class Mix(TypedDict):
    """How the photos of one airline, or of one source, are spread over the constructors."""

    name: str
    photos: int
    constructors: dict[str, int]


class Files(TypedDict):
    """The images on the disk."""

    bytes: int
    missing: list[str]  # named by the catalog, and not there or empty


class Numbers(TypedDict):
    """What `numbers` returns. A name of "" stands for photos whose page does not say."""

    photos: int
    missing: dict[str, int]  # by column, and by level of the label path
    constructors: dict[str, int]  # the most photos first, as in all that follow
    airlines: dict[str, int]
    sources: dict[str, int]
    models: list[Model]
    airframes: int  # registrations that differ
    photos_per_airframe: dict[str, int]  # how many airframes have 1, 2, 3... photos
    sizes: dict[str, Sizes]  # of width, height and the smallest side
    without_size: int
    exact_duplicates: int  # photos whose file another photo has too; the first of each is not counted
    duplicated_files: list[list[str]]  # their photo ids, one list for each file that is there more than once
    label_depth: dict[str, int]  # photos whose label ends at "model", "family", "constructor", and at "nothing"
    unplaced_types: list[Unplaced]
    review: Review
    airline_mix: list[Mix]  # of the airlines with a name, and the photos whose constructor is known
    source_mix: list[Mix]
    one_constructor_airlines: dict[str, int]  # airlines seen with one constructor only, by that constructor
    one_constructor_airline_photos: int
    airlines_of_half: int  # the largest airlines that together have half of the photos with an airline
    dimensions: list[Dimensions]
    under_224: int  # images whose smallest side is shorter than what the network sees
    months: dict[str, dict[str, dict[str, int]]]  # of taken_on and scraped_at: photos by month, then by source
    spans: dict[str, list[str]]  # the first and the last day of each, of the dates that can be read
    licences: dict[str, int]
    photographers: dict[str, int]
    missing_by_source: dict[str, dict[str, int]]  # of each source, what `missing` is of all
    largest_airframes: dict[str, int]  # the registrations with the most photos
    files: Files | None  # None where the files were not looked for
    broken_images: dict[str, str] | None  # files that are no whole image, and why; None where none was opened
    look_alikes: list[list[str]] | None  # ids of photos that show one picture in several files; None as above


DATES = ("taken_on", "scraped_at")
NETWORK_SIDE = 224  # pixels: VGG16 was made for images of this side
REVIEW_EXAMPLES = 20
LARGEST = 10
DAY = re.compile(r"(\d{4})-(0[1-9]|1[0-2])(?:-\d\d)?(?!\d)")
REVIEWED = re.compile(r"(?:^|; )([a-z_]+): ")


def numbers(frame: pd.DataFrame, folder: Path | None = None, looks: "Mapping[str, Look] | None" = None) -> Numbers:
    """Return the numbers of a catalog as `catalog.read` gives it.

    With its folder they cover its files, and with what `looks.look_at_all` found, by file, also what is in them.
    """
    columns = list(dict.fromkeys((*COLUMNS, *LABEL_PATH)))
    aircraft = frame["registration"][frame["registration"] != ""].value_counts()
    per_airframe = aircraft.value_counts().sort_index()
    sizes, without_size = _sizes(frame)
    copies = [list(map(str, ids)) for _, ids in frame[frame["sha256"] != ""].groupby("sha256")["photo_id"]]
    copies = [ids for ids in copies if len(ids) > 1]
    airlines = _mix(frame, "airline")
    alone = [row for row in airlines if len(row["constructors"]) == 1]
    dimensions = _dimensions(frame)
    return {
        "photos": len(frame),
        "missing": {column: int((frame[column] == "").sum()) for column in columns},
        "constructors": _counts(frame["constructor"]),
        "airlines": _counts(frame["airline"]),
        "sources": _counts(frame["source"]),
        "models": _models(frame),
        "airframes": len(aircraft),
        "photos_per_airframe": {str(photos): int(count) for photos, count in per_airframe.items()},
        "sizes": sizes,
        "without_size": without_size,
        "exact_duplicates": sum(len(ids) - 1 for ids in copies),
        "duplicated_files": copies,
        "label_depth": _depth(frame),
        "unplaced_types": _unplaced(frame),
        "review": _review(frame),
        "airline_mix": airlines,
        "source_mix": _mix(frame, "source"),
        "one_constructor_airlines": dict(Counter(next(iter(row["constructors"])) for row in alone).most_common()),
        "one_constructor_airline_photos": sum(row["photos"] for row in alone),
        "airlines_of_half": _needed_for_half(_counts(frame["airline"][frame["airline"] != ""]).values()),
        "dimensions": dimensions,
        "under_224": sum(row["photos"] for row in dimensions if min(row["width"], row["height"]) < NETWORK_SIDE),
        "months": {column: _months(frame, column) for column in DATES},
        "spans": {column: _span(frame[column]) for column in DATES},
        "licences": _counts(frame["licence"]),
        "photographers": _counts(frame["photographer"]),
        "missing_by_source": {
            str(source): {column: int((rows[column] == "").sum()) for column in columns}
            for source, rows in frame.groupby("source")
        },
        "largest_airframes": dict(list(_counts(frame["registration"][frame["registration"] != ""]).items())[:LARGEST]),
        "files": _files(folder, frame["file"]) if folder is not None else None,
        "broken_images": {file: look.broken for file, look in looks.items() if look.broken} if looks else None,
        "look_alikes": _look_alikes(frame, folder, looks) if looks and folder is not None else None,
    }


def _counts(column: pd.Series) -> dict[str, int]:
    """Return how often each value occurs, the most frequent first, and by name among equals."""
    counts = column.value_counts().to_dict()
    return {str(name): int(counts[name]) for name in sorted(counts, key=lambda name: (-counts[name], str(name)))}


def _models(frame: pd.DataFrame) -> list[Model]:
    """Return the photos and airframes of each model, by constructor and family, the most photos first."""
    found: list[Model] = []
    for labels, photos in frame.groupby(list(LABEL_PATH)):
        constructor, family, model = map(str, labels)
        airframes = int(photos["registration"][photos["registration"] != ""].nunique())
        found.append(
            {
                "constructor": constructor,
                "family": family,
                "model": model,
                "photos": len(photos),
                "airframes": airframes,
            }
        )
    totals = _counts(frame["constructor"])
    return sorted(found, key=lambda row: (-totals[row["constructor"]], row["constructor"], -row["photos"]))


def _depth(frame: pd.DataFrame) -> dict[str, int]:
    """Return how many photos have a label that ends at each level, the deepest level first."""
    depth, left = {}, pd.Series(True, index=frame.index)
    for level in reversed(LABEL_PATH):
        depth[level] = int((left & (frame[level] != "")).sum())
        left &= frame[level] == ""
    return {**depth, "nothing": int(left.sum())}


def _unplaced(frame: pd.DataFrame) -> list[Unplaced]:
    """Return the texts of types that do not lead to a model, the most photos first."""
    rows = frame[(frame["aircraft_type"] != "") & (frame["model"] == "")]
    found: list[Unplaced] = []
    for (constructor, family, text), photos in rows.groupby(["constructor", "family", "aircraft_type"]):
        reaches = "family" if family else "constructor" if constructor else "nothing"
        found.append(
            {"constructor": str(constructor), "aircraft_type": str(text), "reaches": reaches, "photos": len(photos)}
        )
    return sorted(found, key=lambda row: (-row["photos"], row["constructor"], row["aircraft_type"]))


def _review(frame: pd.DataFrame) -> Review:
    """Return what the column `review` holds; a catalog without it has nothing to look at."""
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


def _mix(frame: pd.DataFrame, column: str) -> list[Mix]:
    """Return how the photos of each value of `column` are spread over the constructors, the most photos first."""
    rows = frame[(frame[column] != "") & (frame["constructor"] != "")]
    totals = _counts(rows[column])
    spread: dict[str, Counter[str]] = {name: Counter() for name in totals}
    for name, constructor in zip(rows[column], rows["constructor"], strict=True):
        spread[name][constructor] += 1
    return [
        {"name": name, "photos": totals[name], "constructors": dict(sorted(spread[name].items()))} for name in totals
    ]


def _needed_for_half(counts: Iterable[int]) -> int:
    """Return how many of `counts`, the largest first, add up to half of them all."""
    ordered = sorted(counts, reverse=True)
    half, so_far, needed = sum(ordered) / 2, 0, 0
    while so_far < half:
        so_far += ordered[needed]
        needed += 1
    return needed


def _dimensions(frame: pd.DataFrame) -> list[Dimensions]:
    """Return how many images have each size, the smallest width and height first."""
    sizes = Counter((int(row.width), int(row.height)) for row in _sides(frame).itertuples())  # type: ignore[arg-type]
    return [{"width": width, "height": height, "photos": sizes[width, height]} for width, height in sorted(sizes)]


def _months(frame: pd.DataFrame, column: str) -> dict[str, dict[str, int]]:
    """Return the photos by month of the dates in `column`, then by source; unreadable dates are left out."""
    found: dict[str, Counter[str]] = {}
    for date, source in zip(frame[column], frame["source"], strict=True):
        read = DAY.match(date)
        if read:
            found.setdefault(f"{read[1]}-{read[2]}", Counter())[source] += 1
    return {month: dict(sorted(found[month].items())) for month in sorted(found)}


def _span(dates: pd.Series) -> list[str]:
    """Return the first and the last date, as days or as months; [] if no date can be read."""
    days = sorted(read[0] for read in map(DAY.match, dates) if read)
    return [days[0], days[-1]] if days else []


def _files(folder: Path, names: pd.Series) -> Files:
    """Return the size of the images in `folder` and which of them are not there."""
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


def _look_alikes(frame: pd.DataFrame, folder: Path, looks: "Mapping[str, Look]") -> list[list[str]]:
    """Return the ids of photos that show the same picture, but are not the same file."""
    from planespotter_scraping.images.similarity import find_alike, groups

    files = list(frame["file"])
    pairs = [(pair.first, pair.second) for pair in find_alike(folder, files, [looks[file].phash for file in files])]
    different = [(one, other) for one, other in pairs if looks[files[one]].sha256 != looks[files[other]].sha256]
    members: dict[int, list[str]] = {}
    for photo_id, group in zip(frame["photo_id"], groups(len(files), different), strict=True):
        members.setdefault(group, []).append(str(photo_id))
    return [ids for ids in members.values() if len(ids) > 1]


def _sides(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the width and height of the photos that give both."""
    sides: pd.DataFrame = frame[["width", "height"]].apply(pd.to_numeric, errors="coerce").dropna()
    return sides


def _sizes(frame: pd.DataFrame) -> tuple[dict[str, Sizes], int]:
    """Return the spread of the images' sizes, and how many photos do not give theirs."""
    sides = _sides(frame)
    if sides.empty:
        return {}, len(frame)
    measures = {"width": sides["width"], "height": sides["height"], "smallest side": sides.min(axis=1)}
    spread: dict[str, Sizes] = {
        name: {"smallest": int(side.min()), "median": int(side.median()), "largest": int(side.max())}
        for name, side in measures.items()
    }
    return spread, len(frame) - len(sides)


def some(value: int, what: str, many: str = "") -> str:
    """Return a count with its noun: "1 photo", "9,612 photos"."""
    return f"{value:,} {what if value == 1 else many or what + 's'}"


def model_name(row: Model) -> str:
    """Return the name of a model for people, also where the labels do not reach so far."""
    return row["model"] or (f"{row['family']}, model not said" if row["family"] else "not said")
