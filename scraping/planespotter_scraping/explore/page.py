"""Explore page: a catalog as one self-contained HTML file that needs no network.

A catalog holds untrusted text of sites, so the template escapes all of it, and the page's content security policy
forbids external addresses and all scripts but the one with the right hash, which filters the photos.
"""

import base64
import hashlib
import os
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from planespotter_scraping import catalog
from planespotter_scraping.atomic_write import atomic_write_text
from planespotter_scraping.catalog.stats import CatalogStats, compute_stats
from planespotter_scraping.explore import thumbnails
from planespotter_scraping.explore.advice import advice
from planespotter_scraping.explore.disagreements import find_disagreements, read_predictions
from planespotter_scraping.explore.formatting import format_bytes, format_count, format_date
from planespotter_scraping.explore.outliers import contrast_outliers, unfamiliar_photos
from planespotter_scraping.explore.sections import DUPLICATE_GROUPS, sections
from planespotter_scraping.explore.suspects import CONTRAST, DISAGREEMENT, UNFAMILIAR, find_suspects
from planespotter_scraping.images import similarity

HERE = Path(__file__).parent
SUSPECT_PICTURES = 24
"""Maximum photos with a contradicted label, and outliers of each kind, to show; the page has the ids of all."""
Progress = Callable[[str, int, int], None]  # description, number of items done, number of all items


class Written(NamedTuple):
    """What was written: photos in the catalog, thumbnails on the page, its size in bytes, and its advice."""

    photos: int
    thumbnails: int
    bytes: int
    advice: list[str]


def write(
    folder: Path,
    out: Path,
    *,
    per_class: int = 12,
    min_photos: int = 20,
    today: date | None = None,
    progress: Progress = lambda what, done, total: None,
    limit: int = thumbnails.MAX_BYTES,
    predictions: Path | None = None,
) -> Written:
    """Write the page of a catalog, atomically. Apart from the date, the same catalog yields the same page.

    Args:
        folder: Folder of the catalog.
        out: HTML file to create or replace.
        per_class: Maximum thumbnails of each class.
        min_photos: Models with fewer photos are marked.
        today: Date on the page; None for the current one.
        progress: Called with the work that is done and its progress.
        limit: Maximum size of all thumbnails in bytes.
        predictions: Predictions of the photos, as `planespotter classify --out` writes them as CSV; None for none.

    Raises:
        CatalogError: If the catalog or the predictions cannot be used.
    """
    frame = catalog.read(folder)
    predicted = read_predictions(folder, frame, predictions) if predictions else {}
    disagreements = find_disagreements(frame, predicted)
    scans = similarity.scan_images(folder, dict.fromkeys(frame["file"], 0), partial(progress, "images scanned"))
    stats = compute_stats(frame, folder, scans)
    sheets = thumbnails.contact_sheets(folder, frame, stats, per_class, partial(progress, "thumbnails made"), limit)
    groups = (stats["near_duplicates"] or [])[:DUPLICATE_GROUPS]
    duplicates = thumbnails.thumbnails_of_groups(folder, frame, groups)
    lines = advice(stats, min_photos) if stats["photos"] else []
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["format_count"] = format_count
    script = (HERE / "page.js").read_text(encoding="utf-8")
    outliers = {UNFAMILIAR: unfamiliar_photos(frame, predicted), CONTRAST: contrast_outliers(frame, scans)}
    suspects = find_suspects(frame, stats, disagreements, outliers) if stats["photos"] else []
    captions = {name: {photo_id: photo_id for photo_id in ids[:SUSPECT_PICTURES]} for name, ids in outliers.items()}
    captions[DISAGREEMENT] = {
        item.photo_id: f"{item.label or 'No label'}, the network: {item.prediction} ({item.probability:.0%})"
        for item in disagreements[:SUSPECT_PICTURES]
    }
    findings: dict[str, list[str]] = {}
    for group in suspects:
        for photo_id in group.photo_ids:
            findings.setdefault(photo_id, []).append(group.id)
    text = environment.get_template("page.html.jinja").render(
        name=folder.resolve().name,
        today=(today or date.today()).isoformat(),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        photos=stats["photos"],
        tiles=_tiles(stats, min_photos),
        advice=lines,
        sections=sections(stats, min_photos, duplicates) if stats["photos"] else [],
        sheets=sheets,
        suspects=suspects,
        findings=findings,
        suspect_pictures={
            name: thumbnails.captioned_thumbnails(folder, frame, texts) for name, texts in captions.items()
        },
        sources=sorted(set(frame["source"]) - {""}),
        root=quote(os.path.relpath(folder.resolve(), out.resolve().parent).replace(os.sep, "/")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        per_class=per_class,
        limit=format_bytes(limit),
    )
    text = text.lstrip()  # blank lines between the macros
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(out, text)
    count = sum(len(sheet.thumbnails) for sheet in sheets.sheets)
    return Written(stats["photos"], count, len(text.encode()), [line.text for line in lines])


def _tiles(stats: CatalogStats, min_photos: int) -> list[tuple[str, str]]:
    """Return the key numbers of the page, each with its name, and what a large number may hide."""
    counts = {
        "photos": stats["photos"],
        "constructors": len(stats["constructors"].keys() - {""}),
        "models": sum(bool(row["model"]) for row in stats["models"]),
        "airframes": stats["airframes"],
        "airlines": len(stats["airlines"].keys() - {""}),
        "sources": len(stats["sources"].keys() - {""}),
        "photographers": len(stats["photographers"].keys() - {""}),
    }
    enough = sum(bool(row["model"]) and row["photos"] >= min_photos for row in stats["models"])
    remarks = {"models": f", {format_count(enough)} with {min_photos} photos or more"}
    if stats["other_names"]:
        remarks["constructors"] = f", {format_count(len(stats['other_names']))} not known as such"
    tiles = [
        (format_count(count), (name if count != 1 else name[:-1]) + remarks.get(name, ""))
        for name, count in counts.items()
        if count
    ]
    if stats["files"]:
        tiles.append((format_bytes(stats["files"]["bytes"]), "on disk"))
    for column, name in (("taken_on", "taken"), ("scraped_at", "collected")):
        dates = [format_date(date) for date in stats["date_ranges"][column]]
        if dates:
            tiles.append((dates[0] if dates[0] == dates[1] else f"{dates[0]} \u2013 {dates[1]}", name))
    return tiles
