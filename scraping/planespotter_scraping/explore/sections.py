"""The sections of the page: which chart shows which numbers, and the finding that stands above it."""

from collections import Counter

from planespotter_scraping.catalog.stats import NETWORK_SIDE, CatalogStats, count_noun, model_name
from planespotter_scraping.explore import drawings
from planespotter_scraping.explore.figures import (
    Bar,
    Bars,
    Drawing,
    Figure,
    Listing,
    Note,
    Pictures,
    Section,
    bars,
    day,
    folded,
    has,
    number,
    palette,
    share,
    stacks,
)
from planespotter_scraping.explore.thumbnails import Picture

ROWS = 12  # of a table that is not behind a chart
MODELS = 40  # bars of one constructor
MANY = 3  # photos of one airframe
ALIKE = 6  # pictures that are there twice, shown
SERIES = 5  # sources with a row of their own over time
YEARS_FROM = 72  # months: longer times are drawn by year
DATES = {"taken_on": "taken", "scraped_at": "collected"}
LEVELS = {
    "model": "the model",
    "family": "the family",
    "constructor": "the constructor",
    "none": "nothing that is known",
}


def sections(found: CatalogStats, few: int, alike: list[list[Picture]]) -> list[Section]:
    """Return the sections of the page on a catalog with photos; the contact sheets are not among them.

    `alike` has the pictures of the first groups of photos that look alike.
    """
    return [
        Section(
            "labels", "What the photos show", "Constructors, models, and how far the labels reach.", _labels(found, few)
        ),
        Section(
            "airlines",
            "Airlines",
            "A livery tells a network the answer, if it comes with one constructor only.",
            _airlines(found),
        ),
        Section(
            "airframes",
            "Airframes",
            "Photos of one airframe resemble each other, and teach less than as many of different ones.",
            _airframes(found),
        ),
        Section("images", "Images", "Sizes, copies, and files that are broken.", _images(found, alike)),
        Section(
            "sources", "Sources, dates and rights", "Where the photos come from, and whose they are.", _sources(found)
        ),
        Section("fields", "What is missing", "How many photos lack each value of the catalog.", _fields(found)),
    ]


def _labels(found: CatalogStats, few: int) -> list[Figure]:
    photos, colours = found["photos"], palette(found["constructors"])
    named = [(name, count) for name, count in found["constructors"].items() if name]
    finding = (
        ", ".join(f"{name} {share(count, photos)}" for name, count in named[:3]) or "No photo names its constructor"
    )
    figures: list[Figure] = [
        bars(
            finding, "Photos by constructor", ("Constructor", "Photos"), found["constructors"], photos, colours=colours
        )
    ]
    depth = {LEVELS[level]: count for level, count in found["label_depth"].items()}
    finding = f"{share(found['label_depth']['model'], photos)} of the photos name their model"
    figures.append(bars(finding, "The deepest level that a label reaches", ("Label reaches", "Photos"), depth, photos))
    figures.extend(_models(found, name, few, colours[name]) for name, _ in named)
    unplaced = found["unresolved_types"]
    if unplaced:
        total = sum(row["photos"] for row in unplaced)
        rows = [
            (row["constructor"] or "unknown", row["aircraft_type"], row["level"], row["photos"])
            for row in unplaced[:ROWS]
        ]
        headings = ("Constructor", "Type, as written", "Reaches", "Photos")
        finding = f"{count_noun(len(unplaced), 'text')} of {count_noun(total, 'photo')} without a model"
        what = "Texts of the pages that stop at a family or before: some say no more, some are not known"
        figures.append(Listing(finding, what, headings, rows, len(unplaced) - len(rows)))
    figures.append(_review(found))
    return figures


def _models(found: CatalogStats, constructor: str, few: int, colour: str) -> Bars:
    """Return the chart of one constructor's models."""
    rows = [row for row in found["models"] if row["constructor"] == constructor]
    total, longest = sum(row["photos"] for row in rows), max(row["photos"] for row in rows)
    drawn = [
        Bar(
            model_name(row),
            row["photos"],
            share(row["photos"], total),
            row["photos"] / longest,
            colour if row["model"] else "s0",
            weak=bool(row["model"]) and row["photos"] < few,
            note=number(row["airframes"]),
        )
        for row in rows
    ]
    models = [row for row in rows if row["model"]]
    small = sum(row["photos"] < few for row in models)
    if models:
        finding = (
            f"{constructor}: {models[0]['model']} has {share(models[0]['photos'], total)} of "
            f"{count_noun(total, 'photo')}"
        )
    else:
        finding = f"{constructor}: none of {count_noun(total, 'photo')} names a model"
    what = "Photos by model; grey where the model is not said"
    if small:
        what += f". Outlined: {number(small)} of {count_noun(len(models), 'model')} with fewer than {few} photos"
    shown, everything = folded(drawn, MODELS)
    return Bars(finding, what, ("Model", "Photos", "Airframes"), shown, everything)


def _review(found: CatalogStats) -> Figure:
    review = found["review"]
    if not review["photos"]:
        return Note(
            "No two readings of the labels disagree", "Sites whose labels are read twice fill the column review."
        )
    fields = ", ".join(f"{name} {number(count)}" for name, count in review["fields"].items())
    rows: list[tuple[str | int, ...]] = [(row["photo_id"], row["review"]) for row in review["examples"]]
    finding = f"Two readings of the labels disagree in {count_noun(review['photos'], 'photo')}"
    what = f"The column review; photos by what they disagree about: {fields}" if fields else "The column review"
    headings = ("Photo", "What the readings say")
    return Listing(finding, what, headings, rows, review["photos"] - len(rows), wide=True)


def _airlines(found: CatalogStats) -> list[Figure]:
    named = {name: count for name, count in found["airlines"].items() if name}
    if not named:
        return [Note("No photo names its airline")]
    total = sum(named.values())
    first = next(iter(named))
    finding = f"{first} leads with {count_noun(named[first], 'photo')}; {count_noun(len(named), 'airline')} in all"
    what = f"Photos by airline, of the {number(total)} that name one"
    figures: list[Figure] = [bars(finding, what, ("Airline", "Photos"), named, total)]
    alone, several = (
        found["single_constructor_airlines"],
        any(len(row["constructors"]) > 1 for row in found["airline_mix"]),
    )
    if several or len(alone) > 1:  # else every bar would be full and of one colour
        figures.append(_liveries(found))
    if len(named) > 4:
        figures.append(_ranks(found, named))
    if found["airline_mix"]:
        figures.append(_seen_with(found))
    return figures


def _liveries(found: CatalogStats) -> Figure:
    """Return the constructors of each airline."""
    mixed = [row["name"] for row in found["airline_mix"] if len(row["constructors"]) > 1]
    finding = "No airline shows two constructors side by side"
    if mixed:
        finding = f"{mixed[0]} is the largest airline with several constructors"
    what = "The constructors' shares in the photos of each airline, the largest airline first"
    return stacks(finding, what, "Airline", found["airline_mix"], palette(found["constructors"]))


def _ranks(found: CatalogStats, named: dict[str, int]) -> Figure:
    """Return the whole distribution of the airlines that are `named`."""
    counts, half, first = list(named.values()), found["airlines_for_half"], next(iter(named))
    once = sum(count == 1 for count in counts)
    finding = f"{count_noun(half, 'airline')} of {number(len(named))} {has(half)} half of the photos"
    what = "Photos of each airline by its rank, both axes logarithmic"
    if once:
        what += f"; {count_noun(once, 'airline')} with one photo"
    alt = f"{finding}. The first, {first}, has {counts[0]}; the last {counts[-1]}. {what}."
    rows = [(rank, name, count) for rank, (name, count) in enumerate(named.items(), start=1)]
    svg = drawings.ranks(counts, half, first, alt)
    return Drawing(finding, what, svg, ("Rank", "Airline", "Photos"), rows)


def _seen_with(found: CatalogStats) -> Figure:
    """Return how many airlines give away the constructor."""
    alone, airlines = found["single_constructor_airlines"], len(found["airline_mix"])
    seen = {f"{name} only": count for name, count in alone.items()}
    seen["several constructors"] = airlines - sum(alone.values())
    count = sum(alone.values())
    appear = "appears" if count == 1 else "appear"
    finding = f"{number(count)} of {count_noun(airlines, 'airline')} {appear} with one constructor only"
    if not alone:
        finding = f"Each of {count_noun(airlines, 'airline')} appears with several constructors"
    concerned = count_noun(found["single_constructor_airline_photos"], "photo")
    what = f"Airlines by the constructors of their photos; those of one constructor have {concerned}"
    colours = {f"{name} only": colour for name, colour in palette(found["constructors"]).items()}
    colours["several constructors"] = "s0"
    return bars(finding, what, ("Seen with", "Airlines"), seen, airlines, colours=colours)


def _airframes(found: CatalogStats) -> list[Figure]:
    per = {int(photos): count for photos, count in found["photos_per_airframe"].items()}
    airframes = found["airframes"]
    if not airframes:
        return [
            Note("No photo names its registration", "Airframes cannot be told apart, nor kept out of the test photos.")
        ]
    counts = Counter[str]()
    for photos, count in per.items():
        counts[str(photos) if photos <= 10 else "11 to 20" if photos <= 20 else "more than 20"] += count
    finding = f"{share(per.get(1, 0), airframes)} of {count_noun(airframes, 'airframe')} have a single photo"
    if 1 not in per:
        finding = f"{count_noun(airframes, 'airframe')} with {number(min(per))} photos or more of each"
    if max(per) == 1:
        finding = f"Each of {count_noun(airframes, 'airframe')} has a single photo"
    what = "Airframes by the number of their photos"
    unknown = found["missing"]["registration"]
    if unknown:
        what += (
            f"; {count_noun(unknown, 'photo')} ({share(unknown, found['photos'])}) without a "
            f"registration are not counted"
        )
    figures: list[Figure] = [bars(finding, what, ("Photos of each", "Airframes"), counts, airframes)]
    largest = {name: count for name, count in found["largest_airframes"].items() if count > MANY}
    if largest:
        known = found["photos"] - unknown
        finding = f"Up to {number(max(largest.values()))} photos of one airframe"
        what = "The airframes with the most photos; a registration that stands for none, such as N/A, would show here"
        figures.append(bars(finding, what, ("Registration", "Photos"), largest, known))
    return figures


def _images(found: CatalogStats, alike: list[list[Picture]]) -> list[Figure]:
    dimensions, known = found["dimensions"], found["photos"] - found["without_size"]
    figures: list[Figure] = []
    if len(dimensions) == 1:
        only = dimensions[0]
        figures.append(Note(f"All images are {only['width']} \u00d7 {only['height']} pixels", _below(found, known)))
    elif dimensions:
        spread = found["sizes"]
        median = f"{number(spread['width']['median'])} \u00d7 {number(spread['height']['median'])}"
        finding = f"The median image is {median} pixels"
        what = (
            f"Width and height; a bubble's area is its number of photos ({count_noun(len(dimensions), 'size')} in all)"
        )
        alt = f"{finding}. Widths from {spread['width']['min']} to {spread['width']['max']}, heights from " \
            f"{spread['height']['min']} to {spread['height']['max']} pixels."  # fmt: skip
        most = sorted(dimensions, key=lambda row: (-row["photos"], row["width"], row["height"]))
        rows: list[tuple[str | int, ...]] = [(row["width"], row["height"], row["photos"]) for row in most[:200]]
        headings = ("Width", "Height", "Photos")
        figures.append(Drawing(finding, what, drawings.sizes(dimensions, alt), headings, rows))
        bins = drawings.histogram(dimensions)
        side = spread["shorter side"]
        finding = _below(found, known)
        what = "Smallest side of the images"
        alt = f"{finding} Smallest sides from {side['min']} to {side['max']} pixels, median {side['median']}."
        rows = [(f"{low} to {high}", photos) for low, high, photos in bins]
        figures.append(Drawing(finding, what, drawings.sides(bins, alt), ("Smallest side, pixels", "Photos"), rows))
    if found["without_size"]:
        figures.append(Note(f"The catalog does not give the size of {count_noun(found['without_size'], 'photo')}"))
    copies = found["duplicated_files"]
    if copies:
        rows = [(", ".join(ids[:6]) + (", ..." if len(ids) > 6 else ""), len(ids)) for ids in copies[:ROWS]]
        finding = (
            f"{count_noun(found['exact_duplicates'], 'photo is an exact copy', 'photos are exact copies')} of others"
        )
        figures.append(
            Listing(
                finding, "Photos with one and the same file", ("Their ids", "Photos"), rows, len(copies) - len(rows)
            )
        )
    else:
        figures.append(Note("No photo is an exact copy of another", "No two files have one sha256."))
    groups, broken = found["near_duplicates"] or [], found["broken_images"] or {}
    if groups:
        finding = f"{count_noun(len(groups), 'picture is', 'pictures are')} there in several files"
        what = "Photos whose hash of light and whose detail agree: the same picture in another size or quality"
        figures.append(Pictures(finding, what, alike, len(groups) - len(alike)))
    else:
        what = "Compared by a hash of their light and by their detail."
        figures.append(Note("No picture is there in several files", what))
    if broken:
        finding = f"{count_noun(len(broken), 'image')} cannot be shown"
        what, first = "Files that are no whole image", list(broken.items())[:ROWS]
        figures.append(Listing(finding, what, ("File", "Why"), first, len(broken) - len(first)))
    return figures


def _below(found: CatalogStats, known: int) -> str:
    """Return the sentence on images that are smaller than what the network sees."""
    below = found["under_224"]
    if not below:
        return f"All images have at least the {NETWORK_SIDE} pixels of a side that the network sees"
    if below == known:
        return f"Every image has a side under the {NETWORK_SIDE} pixels that the network sees"
    return f"{share(below, known)} of the images have a side under the {NETWORK_SIDE} pixels that the network sees"


def _sources(found: CatalogStats) -> list[Figure]:
    photos, colours = found["photos"], palette(found["constructors"])
    sources = found["sources"]
    first = next(iter(sources))
    finding = f"{first or 'An unnamed source'} gives {share(sources[first], photos)} of the photos"
    if len(sources) == 1:
        finding = f"All photos come from {first or 'an unnamed source'}"
    figures: list[Figure] = [bars(finding, "Photos by source", ("Source", "Photos"), sources, photos)]
    if found["source_mix"] and len(sources) > 1:
        single = [row["name"] for row in found["source_mix"] if len(row["constructors"]) == 1]
        finding = (
            f"{count_noun(len(single), 'source')} of {len(found['source_mix'])} {has(len(single))} one constructor only"
        )
        what = "The constructors' shares in the photos of each source"
        figures.append(stacks(finding, what, "Source", found["source_mix"], colours))
    for what, column, counts in (
        ("licence", "licence", found["licences"]),
        ("photographer", "photographer", found["photographers"]),
    ):
        named = {name: count for name, count in counts.items() if name}
        unsaid = found["missing"][column]
        if not named:
            figures.append(Note(f"No photo names its {what}"))
            continue
        finding = (
            f"{count_noun(len(named), what)}; {share(unsaid, photos)} of the photos name none"
            if unsaid
            else f"{count_noun(len(named), what)}; every photo names one"
        )
        figures.append(
            bars(
                finding,
                f"Photos by {what}: to be named wherever a photo is shown",
                (what.capitalize(), "Photos"),
                counts,
                photos,
            )
        )
    figures.extend(_time(found, column) for column in DATES)
    return figures


def _time(found: CatalogStats, column: str) -> Figure:
    """Return the photos of each source by month or by year."""
    months, done = found["months"][column], DATES[column]
    if not months:
        return Note(f"No photo says when it was {done}")
    span, dated = found["date_ranges"][column], sum(sum(sources.values()) for sources in months.values())
    first, last = map(day, span)
    when = f"from {first} to {last}" if first != last else f"on {first}"
    if len(months) == 1:
        return Note(f"{count_noun(dated, 'photo')} {done} {when}", "All in one month.")
    every = _months_between(min(months), max(months))
    yearly = len(every) > YEARS_FROM
    unit = "year" if yearly else "month"
    totals: Counter[str] = Counter()
    by_time: dict[str, Counter[str]] = {
        time: Counter() for time in dict.fromkeys(m[:4] if yearly else m for m in every)
    }
    for month, sources in months.items():
        totals.update(sources)
        by_time[month[:4] if yearly else month].update(sources)
    names = [name for name, _ in totals.most_common(SERIES)]
    series = {name or "unknown": [by_time[time][name] for time in by_time] for name in names}
    if len(totals) > SERIES:
        series["other sources"] = [sum(c.values()) - sum(c[name] for name in names) for c in by_time.values()]
    most = max(by_time, key=lambda time: by_time[time].total())
    finding = f"{done.capitalize()} {when}, most in {day(most)} ({count_noun(by_time[most].total(), 'photo')})"
    what = f"Photos {done} by {unit} and source, all on one scale"
    rows: list[tuple[str | int, ...]] = [
        (time, *(counts[place] for counts in series.values())) for place, time in enumerate(by_time)
    ]
    svg = drawings.over_time(column, list(by_time), series, f"{finding}. {what}.")
    return Drawing(finding, what, svg, (unit.capitalize(), *series), rows)


def _months_between(first: str, last: str) -> list[str]:
    """Return all months from the first to the last, as 2026-11."""
    start, end = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (first, last))
    return [f"{month // 12:04}-{month % 12 + 1:02}" for month in range(start, end + 1)]


def _fields(found: CatalogStats) -> list[Figure]:
    photos = found["photos"]
    ordered = sorted(found["missing"].items(), key=lambda item: (-item[1], item[0]))
    missing = {name: count for name, count in ordered if count}
    full = [name for name in found["missing"] if name not in missing]
    if not missing:
        return [Note("Every field is filled in every photo")]
    never = sum(count == photos for count in missing.values())
    finding = f"{len(full)} of {len(ordered)} fields are filled in every photo" + (
        f", {never} in none" if never else ""
    )
    what = f"Photos without a value, by field; a full bar is all photos. Always filled: {', '.join(full)}"
    figures: list[Figure] = [bars(finding, what, ("Field", "Missing"), missing, photos, longest=photos)]
    sources = [name for name in found["sources"] if name in found["missing_by_source"]][:SERIES]
    uneven = [name for name, count in missing.items() if 0 < count < photos]
    if len(sources) > 1 and uneven:
        rows: list[tuple[str | int, ...]] = [
            (name, *(share(found["missing_by_source"][source][name], found["sources"][source]) for source in sources))
            for name in uneven
        ]
        what = "The share of photos without a value, by field and source"
        finding = "What is missing differs between the sources"
        figures.append(Listing(finding, what, ("Field", *(source or "unknown" for source in sources)), rows))
    return figures
