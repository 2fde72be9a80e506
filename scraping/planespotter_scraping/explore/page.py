"""Write the page that shows a catalog: one file that needs no other, and no network.

Whatever a site printed may stand in a catalog, so the template escapes all of it, and the page forbids itself scripts
and every address outside of it.
"""

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from planespotter_scraping import catalog
from planespotter_scraping.atomic_write import atomic_write
from planespotter_scraping.catalog import stats
from planespotter_scraping.explore import figures, thumbnails
from planespotter_scraping.explore.advice import advice
from planespotter_scraping.explore.sections import ALIKE, sections
from planespotter_scraping.images import similarity

HERE = Path(__file__).parent
Progress = Callable[[str, int, int], None]  # what is being done, how many of them are done, and of how many


class Written(NamedTuple):
    """What a page holds: its photos and pictures, its size in bytes, and what it advises."""

    photos: int
    pictures: int
    bytes: int
    advice: list[str]


def write(
    folder: Path,
    out: Path,
    *,
    per_class: int = 12,
    few: int = 20,
    today: date | None = None,
    progress: Progress = lambda what, done, total: None,
    limit: int = thumbnails.LIMIT,
) -> Written:
    """Write the page on the catalog in `folder` to the file `out`, whole or not at all.

    Up to `per_class` pictures of each class are shown, in `limit` bytes; classes of fewer than `few` photos are
    marked. The same catalog gives the same page, but for the date. Raises CatalogError for what is no catalog.
    """
    frame = catalog.read(folder)
    seen = similarity.scan_images(folder, dict.fromkeys(frame["file"], 0), partial(progress, "images looked at"))
    found = stats.compute_stats(frame, folder, seen)
    sheets = thumbnails.make(folder, frame, found, per_class, partial(progress, "small pictures made"), limit)
    alike = thumbnails.of_groups(folder, frame, (found["near_duplicates"] or [])[:ALIKE])
    lines = advice(found, few) if found["photos"] else []
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = figures.number
    text = environment.get_template("page.html.jinja").render(
        name=folder.resolve().name,
        today=(today or date.today()).isoformat(),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        photos=found["photos"],
        tiles=_tiles(found),
        advice=lines,
        sections=sections(found, few, alike) if found["photos"] else [],
        sheets=sheets,
        per_class=per_class,
        limit=figures.size(limit),
    )
    text = text.lstrip()  # the lines between the macros
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    pictures = sum(len(sheet.pictures) for sheet in sheets.sheets)
    return Written(found["photos"], pictures, len(text.encode()), [line.text for line in lines])


def _tiles(found: stats.CatalogStats) -> list[tuple[str, str]]:
    """Return the headline of the page, each number with its name."""
    counts = {
        "photos": found["photos"],
        "constructors": len(found["constructors"].keys() - {""}),
        "models": sum(bool(row["model"]) for row in found["models"]),
        "airframes": found["airframes"],
        "airlines": len(found["airlines"].keys() - {""}),
        "sources": len(found["sources"].keys() - {""}),
        "photographers": len(found["photographers"].keys() - {""}),
    }
    tiles = [(figures.number(count), what if count != 1 else what[:-1]) for what, count in counts.items() if count]
    if found["files"]:
        tiles.append((figures.size(found["files"]["bytes"]), "on disk"))
    for column, what in (("taken_on", "taken"), ("scraped_at", "collected")):
        span = [figures.day(date) for date in found["date_ranges"][column]]
        if span:
            tiles.append((span[0] if span[0] == span[1] else f"{span[0]} \u2013 {span[1]}", what))
    return tiles
