"""Write the page that shows a catalog: one file that needs no other, and no network.

Whatever a site printed may stand in a catalog, so the template escapes all of it, and the page forbids itself scripts
and every address outside of it.
"""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from planespotter_scraping import catalog, stats
from planespotter_scraping.explore import figures, thumbnails
from planespotter_scraping.explore.advice import advice
from planespotter_scraping.explore.sections import sections

HERE = Path(__file__).parent


class Written(NamedTuple):
    """What a page holds: its photos and pictures, its size in bytes, and the files that could not be read, and why."""

    photos: int
    pictures: int
    bytes: int
    broken: dict[str, str]


def write(
    folder: Path,
    out: Path,
    *,
    per_class: int = 12,
    few: int = 20,
    today: date | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    limit: int = thumbnails.LIMIT,
) -> Written:
    """Write the page on the catalog in `folder` to the file `out`, whole or not at all.

    Up to `per_class` pictures of each class are shown, in `limit` bytes; classes of fewer than `few` photos are
    marked. The same catalog gives the same page, but for the date. Raises CatalogError for what is no catalog.
    """
    frame = catalog.read(folder)
    found = stats.numbers(frame, folder)
    sheets = thumbnails.make(folder, frame, found, per_class, progress, limit)
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
        advice=advice(found, few) if found["photos"] else [],
        sections=sections(found, few) if found["photos"] else [],
        sheets=sheets,
        per_class=per_class,
        limit=figures.size(limit),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, out)
    pictures = sum(len(sheet.pictures) for sheet in sheets.sheets)
    return Written(found["photos"], pictures, out.stat().st_size, sheets.broken)


def _tiles(found: stats.Numbers) -> list[tuple[str, str]]:
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
    tiles = [(figures.number(count), what if count != 1 else what[:-1]) for what, count in counts.items()]
    if found["files"]:
        tiles.append((figures.size(found["files"]["bytes"]), "on disk"))
    for column, what in (("taken_on", "taken"), ("scraped_at", "collected")):
        span = [day[:10] for day in found["spans"][column]]
        if span:
            tiles.append((span[0] if span[0] == span[1] else f"{span[0]} – {span[1]}", what))  # noqa: RUF001
    return tiles
