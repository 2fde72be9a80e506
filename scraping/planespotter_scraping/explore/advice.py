"""What the numbers of a catalog say to do next, before training."""

from collections.abc import Iterator
from typing import NamedTuple

from planespotter_scraping.catalog.stats import NETWORK_SIDE, CatalogStats, count_noun, model_name
from planespotter_scraping.explore.figures import has, number, share


class Advice(NamedTuple):
    """A sentence, and the section of the page that shows why."""

    section: str
    text: str


def advice(found: CatalogStats, few: int) -> list[Advice]:
    """Return what to do next, what costs a training most first; `few` photos are too few for a model of its own."""
    return [*_labels(found, few), *_shortcuts(found), *_photos(found)]


def _labels(found: CatalogStats, few: int) -> Iterator[Advice]:
    """Yield what the labels call for."""
    photos = found["photos"]
    shallow = found["label_depth"]["constructor"] + found["label_depth"]["none"]
    if shallow:
        yield Advice(
            "labels",
            f"{part(shallow, photos)} name no family: they teach the constructor at most. "
            "If you know their types, add them to the column aircraft_type.",
        )
    models = [row for row in found["models"] if row["model"]]
    small = sorted((row for row in models if row["photos"] < few), key=lambda row: -row["photos"])
    if small:
        names = ", ".join(f"{model_name(row)} ({row['photos']})" for row in small[:4])
        yield Advice(
            "labels",
            f"{count_noun(len(small), 'model')} of {len(models)} {has(len(small))} fewer than "
            f"{few} photos and will count "
            f"as {'its' if len(small) == 1 else 'their'} family in training. Nearest to enough: {names}. Collect more, "
            "or leave it at the family.",
        )
    if found["review"]["photos"]:
        yield Advice(
            "labels",
            f"Two readings of the labels disagree in "
            f"{count_noun(found['review']['photos'], 'photo')}: look at the column "
            "review of catalog.csv before you train on them.",
        )
    makers = {name: count for name, count in found["constructors"].items() if name}
    if len(makers) == 1:
        yield Advice("labels", f"All photos are of {next(iter(makers))}: a classifier needs a second constructor.")


def _shortcuts(found: CatalogStats) -> Iterator[Advice]:
    """Yield what a network could learn in the place of an aircraft's shape."""
    alone = sum(found["single_constructor_airlines"].values())
    if len(_makers(found)) > 1 and alone:
        yield Advice(
            "airlines",
            f"{number(alone)} of {count_noun(len(found['airline_mix']), 'airline')} "
            f"appear{'s' * (alone == 1)} with one "
            "constructor only, in "
            f"{count_noun(found['single_constructor_airline_photos'], 'photo')}: there a "
            f"network can learn the livery instead "
            "of the shape. Collect the other constructor's aircraft of the largest of them, and judge a model on "
            "airlines that it has not seen.",
        )
    single = [row for row in found["source_mix"] if len(row["constructors"]) == 1]
    if len(_makers(found)) > 1 and len(found["source_mix"]) > 1 and single:
        names = ", ".join(f"{row['name']} ({next(iter(row['constructors']))})" for row in single[:4])
        yield Advice(
            "sources",
            f"{count_noun(len(single), 'source')} of {len(found['source_mix'])} "
            f"{has(len(single))} one constructor only: "
            f"{names}{', ...' if len(single) > 4 else ''}. What marks the source, such as its light or its size of "
            "image, then gives the answer away. Compare scores by source.",
        )
    unregistered = found["missing"]["registration"]
    if unregistered:
        yield Advice(
            "airframes",
            f"{part(unregistered, found['photos'])} have no registration: photos of "
            "one airframe may then fall into both training and test, and make the scores look better than they are.",
        )


def _photos(found: CatalogStats) -> Iterator[Advice]:
    """Yield what the images themselves call for."""
    if found["under_224"]:
        yield Advice(
            "images",
            f"{part(found['under_224'], found['photos'])} have a side under "
            f"{NETWORK_SIDE} pixels and will be enlarged: fetch larger ones where the site has them.",
        )
    if found["exact_duplicates"]:
        yield Advice(
            "images",
            f"{count_noun(found['exact_duplicates'], 'photo is an exact copy', 'photos are exact copies')} of others: "
            "take them out, so that none counts twice.",
        )
    if found["near_duplicates"]:
        count = len(found["near_duplicates"])
        yield Advice(
            "images",
            f"{count_noun(count, 'picture is', 'pictures are')} there in several files, which may even be labelled "
            "differently: keep one of each, with the right label.",
        )
    broken = set(found["broken_images"] or {}) - set(found["files"]["missing"] if found["files"] else [])
    if broken:
        yield Advice(
            "images",
            f"{count_noun(len(broken), 'image is', 'images are')} broken: fetch them again, or remove the rows.",
        )
    if found["files"] and found["files"]["missing"]:
        missing = found["files"]["missing"]
        yield Advice(
            "images",
            f"{count_noun(len(missing), 'image')} that the catalog names "
            f"{'is' if len(missing) == 1 else 'are'} missing or "
            f"empty, such as {missing[0]}: scrape again into the same folder, or remove the rows.",
        )
    unlicensed = found["missing"]["licence"]
    if unlicensed:
        yield Advice(
            "sources",
            f"{part(unlicensed, found['photos'])} have no licence: "
            "do not pass them on, nor this page, before you have asked the photographers.",
        )


def part(count: int, photos: int) -> str:
    """Return "4 photos (3 %)", or "All 130 photos"."""
    return (
        f"All {count_noun(photos, 'photo')}"
        if count == photos
        else f"{count_noun(count, 'photo')} ({share(count, photos)})"
    )


def _makers(found: CatalogStats) -> list[str]:
    return [name for name in found["constructors"] if name]
