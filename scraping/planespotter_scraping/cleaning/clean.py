"""Clean a catalog: take out photos that are not worth training on, say why of each, and be able to undo all of it.

Images are never changed or removed. The rows of photos that are dropped move from `catalog.csv` to `dropped.csv`, and
their images stay where they are. An image whose bar is cut off gets a new file below `cropped/`; its row, as it was,
goes to `changed.csv`, and so does a row that is marked for review.

Everything that a clean does takes effect at one moment, when the new `catalog.csv` takes the place of the old one.
What is written before that is of no effect without it, and what comes after only tidies up. So a kill leaves
the catalog as it was, or cleaned; the next clean or undo sees from the catalog which of the two it is.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from planespotter_scraping import catalog
from planespotter_scraping.atomic_write import replacing
from planespotter_scraping.catalog import CHANGED, DROPPED, CatalogError, attribution
from planespotter_scraping.catalog.lock import hold
from planespotter_scraping.cleaning import crop, rules
from planespotter_scraping.cleaning.rules import Conflict, Options, Photo
from planespotter_scraping.images import similarity

WHY_DROPPED = ("dropped_because", "dropped_by", "dropped_at", "dropped_from_row")
WHY_CHANGED = ("changed_because", "changed_at", "changed_added")
CHANGEABLE = ("file", "sha256", "width", "height", "phash", "cropped_bottom", "review")

Row = dict[str, str]


@dataclass(frozen=True)
class Drop:
    """A photo that was dropped, by which of the rules, and why."""

    photo_id: str
    rule: str
    because: str


@dataclass
class Cleaned:
    """What a clean did, or would do."""

    photos: int = 0  # before
    dropped: list[Drop] = field(default_factory=list)
    cropped: Counter[str] = field(default_factory=Counter)  # by source
    too_low: Counter[str] = field(default_factory=Counter)  # images that are too low to be cropped, by source
    review: dict[str, str] = field(default_factory=dict)  # what was noted, by photo_id
    hints: dict[str, int] = field(default_factory=dict)  # rows that --crop-bottom should cut, by source

    @property
    def kept(self) -> int:
        """How many photos stay."""
        return self.photos - len(self.dropped)


@dataclass
class _Plan:
    """What to do to the rows of a catalog."""

    outcome: Cleaned
    cuts: dict[str, int]  # rows to cut from the image of a photo that stays, by photo_id


def clean(
    folder: Path,
    options: Options | None = None,
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Cleaned:
    """Drop what the rules say from the catalog in `folder`, and return what was done; with `dry_run`, do nothing.

    `progress` is called with the number of images that were looked at, and of all. Raises CatalogError for a catalog
    that cannot be used or that another command is writing into, and for options that make no sense.
    """
    options = options or Options()
    catalog.read(folder)  # refuses what is no catalog before a lock is asked for
    if dry_run:
        return _plan(folder, options, progress).outcome
    with hold(folder):
        plan = _plan(folder, options, progress)
        if plan.outcome.dropped or plan.outcome.cropped or plan.outcome.review:
            _carry_out(folder, plan)
            attribution.refresh(folder)
    return plan.outcome


def undo(folder: Path) -> tuple[int, int]:
    """Take back the last clean that has not been taken back yet.

    Returns the numbers of photos that are in the catalog in `folder` again, and of those whose row is as it was
    before. Raises CatalogError if there is nothing to undo, or if the catalog cannot be used.
    """
    catalog.read(folder)
    with hold(folder):
        header, rows = _rows(folder / "catalog.csv")
        dropped, changed = _left_from_cleans(folder, rows)
        last = max((*(row["dropped_at"] for row in dropped), *(row["changed_at"] for row in changed)), default="")
        if not last:
            raise CatalogError(f"There is nothing to undo in {folder}: no clean has changed it, or all were undone.")
        back = [row for row in dropped if row["dropped_at"] == last]
        for row in sorted(back, key=lambda row: int(row["dropped_from_row"])):
            rows.insert(int(row["dropped_from_row"]) - 1, row)
        by_id = {row["photo_id"]: row for row in rows}
        added: set[str] = set()
        made: set[str] = set()
        restored = 0
        for was in changed:
            if was["changed_at"] == last and was["photo_id"] in by_id:
                now = by_id[was["photo_id"]]
                if now["file"] != was["file"] and now["file"].startswith("cropped/"):
                    made.add(now["file"])
                now.update({column: was.get(column, "") for column in CHANGEABLE})
                added.update(was["changed_added"].split())
                restored += 1
        header = [name for name in header if name not in added or any(row.get(name) for row in rows)]
        dropped = [row for row in dropped if row["dropped_at"] != last]
        changed = [row for row in changed if row["changed_at"] != last]
        _write(folder / "catalog.csv", header, rows)  # the moment at which all of it takes effect
        _write_or_remove(folder / DROPPED, header, WHY_DROPPED, dropped)
        _write_or_remove(folder / CHANGED, header, WHY_CHANGED, changed)
        for file in made - {row["file"] for row in (*rows, *dropped, *changed)}:
            (folder / file).unlink(missing_ok=True)
            for parent in (folder / file).relative_to(folder).parents:
                with suppress(OSError):  # it holds other images
                    (folder / parent).rmdir()
        attribution.refresh(folder)
    return len(back), restored


# --- what to do ---


def _plan(folder: Path, options: Options, progress: Callable[[int, int], None]) -> _Plan:
    """Return what the rules say of the photos of a catalog."""
    frame = catalog.read(folder)
    _, rows = _rows(folder / "catalog.csv")
    places = frame[list(catalog.LABEL_PATH)].to_dict("records")
    rows = [
        {**row, **{str(name): str(value) for name, value in place.items()}}
        for row, place in zip(rows, places, strict=True)
    ]
    _check_options(options, {row.get("source", "") for row in (*rows, *_rows(folder / DROPPED)[1])})
    outcome = Cleaned(photos=len(rows))
    cuts = _cuts(folder, options, rows, outcome)
    seen = similarity.look_at_all(folder, {row["file"]: cuts.get(row["photo_id"], 0) for row in rows}, progress)
    photos = [
        Photo(row, number, _size(folder / row["file"]), seen[row["file"]]) for number, row in enumerate(rows, start=1)
    ]
    conflicts: list[Conflict] = []

    def drop(rule: str, found: Mapping[str, str]) -> None:
        outcome.dropped += [Drop(name, rule, because) for name, because in found.items()]
        photos[:] = [photo for photo in photos if photo.name not in found]

    for name, rule in rules.ALONE.items():
        if name not in options.without:
            drop(name, rule(photos, options))
    if "exact" not in options.without:
        found, differing = rules.exact(photos, options)
        drop("exact", found)
        conflicts += differing
    if "near" not in options.without:
        whole = {photo.says("file"): 0 for photo in photos if photo.name in cuts}
        uncut = similarity.look_at_all(folder, whole, progress) if whole else {}
        found, differing = rules.near(photos, _alike(folder, photos, options, cuts, uncut))
        drop("near", found)
        conflicts += differing
    for name, rule in rules.CAPS.items():
        if name not in options.without:
            drop(name, rule(photos, options))
    stay = {photo.name: photo for photo in photos}
    outcome.review = _for_review(conflicts, stay)
    cuts = {name: rows for name, rows in cuts.items() if name in stay}
    outcome.cropped.update(stay[name].says("source") for name in cuts)
    for source in sorted({photo.says("source") for photo in photos} - options.crop_bottom.keys() - {""}):
        files = [folder / photo.says("file") for photo in photos if photo.says("source") == source]
        if suggested := crop.suggest(files):
            outcome.hints[source] = suggested
    return _Plan(outcome, cuts)


def _check_options(options: Options, sources: Set[str]) -> None:
    """Raise CatalogError if the options name a source or a rule that does not exist, or cut nothing."""
    for source, cut in options.crop_bottom.items():
        if source not in sources:
            raise CatalogError(
                f"The catalog has no photos of the source {source!r}. Its sources are "
                f"{', '.join(sorted(sources - {''})) or 'not named'}."
            )
        if cut < 1:
            raise CatalogError(f"{cut} rows cannot be cut from the photos of {source}. Give a number from 1 up.")
    if unknown := sorted(options.without - rules.RULES.keys()):
        raise CatalogError(f"There is no rule {unknown[0]!r}. The rules are {', '.join(rules.RULES)}.")


def _cuts(folder: Path, options: Options, rows: Iterable[Row], outcome: Cleaned) -> dict[str, int]:
    """Return how many rows to cut from each image that is to be cropped, by photo_id: what is cut already counts."""
    cuts = {}
    for row in rows:
        source = row.get("source", "")
        wanted = options.crop_bottom.get(source, 0) - _cropped_already(row)
        if wanted > 0:
            if crop.room_for(folder / row["file"], wanted):
                cuts[row["photo_id"]] = wanted
            else:
                outcome.too_low[source] += 1
    return cuts


def _cropped_already(row: Row) -> int:
    """Return how many rows were cut from the image of `row` by earlier cleans."""
    text = row.get("cropped_bottom", "")
    return int(text) if text.isdecimal() else 0


def _alike(
    folder: Path,
    photos: Sequence[Photo],
    options: Options,
    cuts: Mapping[str, int],
    uncut: Mapping[str, similarity.Look],
) -> list[similarity.Alike]:
    """Return the pairs of photos that are near duplicates, be it as they will be or as they are.

    A copy from another source may be of the picture without its bar, or have the same bar.
    """
    files = [photo.says("file") for photo in photos]
    now = {photo.says("file"): cuts.get(photo.name, 0) for photo in photos}
    hashes = [photo.look.phash for photo in photos]
    found = similarity.find_alike(folder, files, hashes, bits=options.near_bits, detail=options.near_detail, cuts=now)
    if uncut:
        hashes = [uncut[file].phash if file in uncut else text for file, text in zip(files, hashes, strict=True)]
        more = similarity.find_alike(folder, files, hashes, bits=options.near_bits, detail=options.near_detail)
        pairs = {(pair.first, pair.second) for pair in found}
        found += [pair for pair in more if (pair.first, pair.second) not in pairs]
    return found


def _for_review(conflicts: Iterable[Conflict], stay: Mapping[str, Photo]) -> dict[str, str]:
    """Return what to note of photos that show one picture under different labels: nobody can tell which is right."""
    notes: dict[str, list[str]] = {}
    for one, other, column in conflicts:
        for photo, copy in ((one, other), (other, one)):
            note = f"{column}: {copy.name} is the same picture and says {copy.says(column)}"
            if photo.name in stay and copy.name in stay and note not in photo.says("review"):
                notes.setdefault(photo.name, []).append(note)
    return {name: "; ".join(some) for name, some in notes.items()}


def _size(path: Path) -> int:
    """Return the size of a file in bytes; 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


# --- doing it ---


def _carry_out(folder: Path, plan: _Plan) -> None:
    """Write what the plan says. Until the catalog itself is written, nothing has happened."""
    header, rows = _rows(folder / "catalog.csv")
    dropped, changed = _left_from_cleans(folder, rows)
    now = _after_all(row.get(column, "") for row in (*dropped, *changed) for column in ("dropped_at", "changed_at"))
    drops = {drop.photo_id: drop for drop in plan.outcome.dropped}
    added = [
        name
        for name, needed in (("cropped_bottom", plan.cuts), ("review", plan.outcome.review))
        if needed and name not in header
    ]
    kept = []
    for number, row in enumerate(rows, start=1):
        name = row["photo_id"]
        if name in drops:
            why = (drops[name].because, drops[name].rule, now, str(number))
            dropped.append({**row, **dict(zip(WHY_DROPPED, why, strict=True))})
            continue
        reasons = []
        new = dict(row)
        if rows_to_cut := plan.cuts.get(name):
            new.update(_cropped(folder, row, rows_to_cut))
            reasons.append(f"The lowest {rows_to_cut} rows of its image were cut off.")
        if note := plan.outcome.review.get(name):
            new["review"] = "; ".join(filter(None, (row.get("review", ""), note)))
            reasons.append("Another photo is the same picture and has another label.")
        if reasons:
            changed.append(
                {**row, "changed_because": " ".join(reasons), "changed_at": now, "changed_added": " ".join(added)}
            )
        kept.append(new)
    header = [*header, *added]
    _write_or_remove(folder / CHANGED, header, WHY_CHANGED, changed)
    _write_or_remove(folder / DROPPED, header, WHY_DROPPED, dropped)
    _write(folder / "catalog.csv", header, kept)  # the moment at which all of it takes effect


def _cropped(folder: Path, row: Row, rows_to_cut: int) -> Row:
    """Write the image of `row` without its lowest rows as a new file, and return what changes in the row."""
    before = folder / row["file"]
    data = crop.cut_bottom(before.read_bytes(), rows_to_cut)
    total = rows_to_cut + _cropped_already(row)
    file = Path("cropped", row.get("source", ""), f"{row['photo_id']}-{total}{before.suffix}")
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    with replacing(folder / file) as temporary:
        temporary.write_bytes(data)
    look = similarity.look_at(folder / file)
    return {
        "file": file.as_posix(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": str(look.width),
        "height": str(look.height),
        "phash": look.phash,
        "cropped_bottom": str(total),
    }


def _left_from_cleans(folder: Path, rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Return what earlier cleans dropped and changed, without what a kill kept from taking effect."""
    by_id = {row["photo_id"]: row for row in rows}
    _, dropped = _rows(folder / DROPPED)
    _, changed = _rows(folder / CHANGED)
    dropped = [row for row in dropped if row["photo_id"] not in by_id]
    gone = {row["photo_id"] for row in dropped}
    return dropped, [
        was
        for was in changed
        if was["photo_id"] in gone
        or any(by_id.get(was["photo_id"], was).get(column, "") != was.get(column, "") for column in CHANGEABLE)
    ]


def _after_all(times: Iterable[str]) -> str:
    """Return the time of now, or a second after the latest of `times` if that is later: each clean has its own."""
    latest = max(times, default="")
    now = datetime.now(UTC).replace(microsecond=0)
    return (max(now, datetime.fromisoformat(latest) + timedelta(seconds=1)) if latest else now).isoformat()


def _rows(path: Path) -> tuple[list[str], list[Row]]:
    """Return the header and the rows of a CSV file of the catalog; nothing if it does not exist."""
    if not path.exists():
        return [], []
    header, rows = catalog.parse(path)
    return header, [dict(zip(header, row, strict=True)) for row in rows]


def _write(path: Path, header: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows as a CSV file, which takes the place of the one before as a whole."""
    catalog.rewrite(path, header, ([row.get(column, "") for column in header] for row in rows))


def _write_or_remove(path: Path, header: Sequence[str], why: Sequence[str], rows: Sequence[Row]) -> None:
    """Write rows of the catalog with further columns; with no rows left, there is no file."""
    if rows:
        known = dict.fromkeys([*header, *(column for row in rows for column, value in row.items() if value)])
        _write(path, [*(column for column in known if column not in why), *why], rows)
    else:
        path.unlink(missing_ok=True)
