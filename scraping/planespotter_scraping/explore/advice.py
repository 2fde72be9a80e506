"""Advice: what to do with a catalog before training, derived from its statistics."""

from collections.abc import Iterator
from typing import NamedTuple

from planespotter_scraping.catalog import count_noun
from planespotter_scraping.catalog.stats import NETWORK_SIDE, CatalogStats, model_name
from planespotter_scraping.explore.formatting import format_count, format_share, have


class Advice(NamedTuple):
    """A sentence, and the id of the section of the page that shows the reason."""

    section: str
    text: str


def advice(stats: CatalogStats, min_photos: int) -> list[Advice]:
    """Return what to do next, the largest loss of accuracy first.

    Args:
        stats: Statistics of a catalog with photos.
        min_photos: Models with fewer photos are trained as their family.
    """
    return [*_labels(stats, min_photos), *_shortcuts(stats), *_photos(stats)]


def _labels(stats: CatalogStats, min_photos: int) -> Iterator[Advice]:
    """Yield advice on labels."""
    photos = stats["photos"]
    shallow = stats["label_depth"]["constructor"] + stats["label_depth"]["none"]
    if shallow:
        yield Advice(
            "labels",
            f"{part(shallow, photos)} have no family and train the constructor at most. "
            "If you know their types, add them to the column aircraft_type.",
        )
    models = [row for row in stats["models"] if row["model"]]
    small = sorted((row for row in models if row["photos"] < min_photos), key=lambda row: -row["photos"])
    if small:
        names = ", ".join(f"{model_name(row)} ({row['photos']})" for row in small[:4])
        yield Advice(
            "labels",
            f"{count_noun(len(small), 'model')} of {len(models)} {have(len(small))} fewer than {min_photos} photos and "
            f"will be trained as {'its' if len(small) == 1 else 'their'} family. Closest to enough: {names}. Collect "
            "more, or accept the family.",
        )
    if stats["review"]["photos"]:
        yield Advice(
            "labels",
            f"{count_noun(stats['review']['photos'], 'photo')} with contradicting labels: check the column review of "
            "catalog.csv before training.",
        )
    constructors = _constructors(stats)
    if len(constructors) == 1:
        yield Advice("labels", f"All aircraft are by {constructors[0]}: a classifier needs a second constructor.")


def _shortcuts(stats: CatalogStats) -> Iterator[Advice]:
    """Yield advice on what a network could learn instead of the shape of an aircraft."""
    single_airlines = sum(stats["single_constructor_airlines"].values())
    if len(_constructors(stats)) > 1 and single_airlines:
        yield Advice(
            "airlines",
            f"{format_count(single_airlines)} of {count_noun(len(stats['airline_mix']), 'airline')} "
            f"appear{'s' * (single_airlines == 1)} with one constructor only, in "
            f"{count_noun(stats['single_constructor_airline_photos'], 'photo')}: there a network can learn the livery "
            "instead of the shape. Collect the other constructor's aircraft of the largest of them, and evaluate on "
            "held-out airlines.",
        )
    single = [row for row in stats["source_mix"] if len(row["constructors"]) == 1]
    if len(_constructors(stats)) > 1 and len(stats["source_mix"]) > 1 and single:
        names = ", ".join(f"{row['name']} ({next(iter(row['constructors']))})" for row in single[:4])
        yield Advice(
            "sources",
            f"{count_noun(len(single), 'source')} of {len(stats['source_mix'])} {have(len(single))} one constructor "
            f"only: {names}{' and more' if len(single) > 4 else ''}. Anything typical of the source, such as light or "
            "image size, then reveals the label. Compare metrics by source.",
        )
    unregistered = stats["missing"]["registration"]
    if unregistered:
        yield Advice(
            "airframes",
            f"{part(unregistered, stats['photos'])} have no registration: photos of one airframe may then be in both "
            "training and test, which inflates the metrics.",
        )


def _photos(stats: CatalogStats) -> Iterator[Advice]:
    """Yield advice on images and licences."""
    if stats["under_224"]:
        yield Advice(
            "images",
            f"{part(stats['under_224'], stats['photos'])} have a side below {NETWORK_SIDE} pixels and will be "
            "upscaled: download larger ones where the site has them.",
        )
    if stats["exact_duplicates"]:
        copies = count_noun(stats["exact_duplicates"], "exact copy", "exact copies")
        yield Advice("images", f"{copies} of other photos: remove them with planespotter catalog clean.")
    if stats["near_duplicates"]:
        groups = count_noun(len(stats["near_duplicates"]), "group of near duplicates", "groups of near duplicates")
        yield Advice("images", f"{groups}, maybe with different labels: keep one photo of each, with the right label.")
    broken = set(stats["broken_images"] or {}) - set(stats["files"]["missing"] if stats["files"] else [])
    if broken:
        yield Advice("images", f"{count_noun(len(broken), 'broken image')}: download them again, or remove the rows.")
    if stats["files"] and stats["files"]["missing"]:
        missing = stats["files"]["missing"]
        yield Advice(
            "images",
            f"{count_noun(len(missing), 'image file')} missing or empty, such as {missing[0]}: scrape into the same "
            "folder again, or remove the rows.",
        )
    unlicensed = stats["missing"]["licence"]
    if unlicensed:
        yield Advice(
            "sources",
            f"{part(unlicensed, stats['photos'])} have no licence: do not share them, nor this page, without the "
            "photographers' permission.",
        )


def part(count: int, photos: int) -> str:
    """Return "4 photos (3 %)", or "All 130 photos"."""
    if count == photos:
        return f"All {count_noun(photos, 'photo')}"
    return f"{count_noun(count, 'photo')} ({format_share(count, photos)})"


def _constructors(stats: CatalogStats) -> list[str]:
    return [name for name in stats["constructors"] if name]
