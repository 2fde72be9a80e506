"""Sections of the page: the charts of each, and the finding above each chart."""

from collections import Counter

from planespotter_scraping.catalog import count_noun
from planespotter_scraping.catalog.stats import NETWORK_SIDE, CatalogStats, invalid_dates, model_name
from planespotter_scraping.explore import charts
from planespotter_scraping.explore.charts import constructor_colors
from planespotter_scraping.explore.formatting import format_count, format_date, format_share, have
from planespotter_scraping.explore.panels import (
    Bar,
    BarChart,
    Note,
    Panel,
    Plot,
    Section,
    Table,
    ThumbnailRows,
    bar_chart,
    stacked_bar_chart,
    truncated,
)
from planespotter_scraping.explore.thumbnails import Thumbnail

MAX_ROWS = 12  # rows of a table that is not below a chart
MAX_MODELS = 40  # bars of one constructor
MANY_PHOTOS = 3  # airframes with more photos are listed
DUPLICATE_GROUPS = 6  # groups of near duplicates that are shown
MAX_SERIES = 5  # sources with a separate row over time
MAX_MONTHS = 72  # longer times are drawn by year
DATES = {"taken_on": "taken", "scraped_at": "collected"}
LEVELS = {"model": "model", "family": "family", "constructor": "constructor", "none": "none"}


def sections(stats: CatalogStats, min_photos: int, duplicates: list[list[Thumbnail]]) -> list[Section]:
    """Return the sections of the page, without the contact sheets.

    Args:
        stats: Statistics of a catalog with photos.
        min_photos: Models with fewer photos are outlined.
        duplicates: Thumbnails of the first groups of near duplicates.
    """
    return [
        Section(
            "labels", "Labels", "Constructors, models, and the depth of the labels.", _label_panels(stats, min_photos)
        ),
        Section(
            "airlines",
            "Airlines",
            "An airline that appears with one constructor only is a shortcut: its livery reveals the label.",
            _airline_panels(stats),
        ),
        Section(
            "airframes",
            "Airframes",
            "Photos of one airframe resemble each other, and teach less than photos of different ones.",
            _airframe_panels(stats),
        ),
        Section("images", "Images", "Sizes, duplicates and broken files.", _image_panels(stats, duplicates)),
        Section("sources", "Sources, dates and rights", "Origin and owners of the photos.", _source_panels(stats)),
        Section("fields", "Missing values", "Photos without a value, by field.", _field_panels(stats)),
    ]


def _label_panels(stats: CatalogStats, min_photos: int) -> list[Panel]:
    photos, colors = stats["photos"] - stats["no_aircraft"], constructor_colors(stats["constructors"])
    named = [(name, count) for name, count in stats["constructors"].items() if name]
    finding = ", ".join(f"{name} {format_share(count, photos)}" for name, count in named[:3])
    panels: list[Panel] = [
        bar_chart(
            finding or "No photo has a constructor",
            "Photos by constructor",
            ("Constructor", "Photos"),
            stats["constructors"],
            photos,
            colors=colors,
        )
    ]
    depth = {LEVELS[level]: count for level, count in stats["label_depth"].items()}
    finding = f"{format_share(stats['label_depth']['model'], photos)} of the photos have a model"
    panels.append(bar_chart(finding, "Photos by the deepest level of their label", ("Level", "Photos"), depth, photos))
    with_models = {row["constructor"] for row in stats["models"] if row["model"]}
    panels.extend(_model_chart(stats, name, min_photos, colors[name]) for name, _ in named if name in with_models)
    without = [(name, count) for name, count in named if name not in with_models]
    if without:
        finding = f"{count_noun(len(without), 'constructor')} without a model"
        panels.append(
            Table(finding, "Photos of constructors whose labels name no model", ("Constructor", "Photos"), without)
        )
    unresolved = stats["unresolved_types"]
    if unresolved:
        total = sum(row["photos"] for row in unresolved)
        rows = [
            (row["constructor"] or "unknown", row["aircraft_type"], row["level"], row["photos"])
            for row in unresolved[:MAX_ROWS]
        ]
        headings = ("Constructor", "Type text", "Level", "Photos")
        finding = f"{count_noun(len(unresolved), 'type text')} of {count_noun(total, 'photo')} without a model"
        what = "Type texts whose label stops above the model: ambiguous or unknown ones"
        panels.append(Table(finding, what, headings, rows, len(unresolved) - len(rows)))
    panels.append(_review_panel(stats))
    return panels


def _model_chart(stats: CatalogStats, constructor: str, min_photos: int, color: str) -> BarChart:
    """Return the chart of one constructor's models."""
    rows = [row for row in stats["models"] if row["constructor"] == constructor]
    total, longest = sum(row["photos"] for row in rows), max(row["photos"] for row in rows)
    bars = [
        Bar(
            model_name(row),
            row["photos"],
            format_share(row["photos"], total),
            row["photos"] / longest,
            color if row["model"] else "s0",
            outlined=bool(row["model"]) and row["photos"] < min_photos,
            note=format_count(row["airframes"]),
        )
        for row in rows
    ]
    models = [row for row in rows if row["model"]]
    small = sum(row["photos"] < min_photos for row in models)
    photos = count_noun(total, "photo")
    known = sum(row["photos"] for row in models)
    if models:
        finding = f"{constructor}: {models[0]['model']} has {format_share(models[0]['photos'], known)} of {photos}"
        if known < total:
            finding = (
                f"{constructor}: {format_share(known, total)} of {photos} have a model; {models[0]['model']} has "
                f"{format_share(models[0]['photos'], known)} of these"
            )
    else:
        finding = f"{constructor}: none of {photos} has a model"
    what = "Photos by model; gray where the model is unknown"
    if small:
        of_models = f"{format_count(small)} of {count_noun(len(models), 'model')}"
        what += f". Outlined: {of_models} with fewer than {min_photos} photos"
    shown, all_rows = truncated(bars, MAX_MODELS)
    return BarChart(finding, what, ("Model", "Photos", "Airframes"), shown, all_rows)


def _review_panel(stats: CatalogStats) -> Panel:
    review = stats["review"]
    if not review["photos"]:
        return Note("No contradicting labels", "Sites that print a label twice fill the column review.")
    fields = ", ".join(f"{name} {format_count(count)}" for name, count in review["fields"].items())
    rows: list[tuple[str | int, ...]] = [(row["photo_id"], row["review"]) for row in review["examples"]]
    finding = f"Contradicting labels in {count_noun(review['photos'], 'photo')}"
    what = f"Column review; photos by field: {fields}" if fields else "Column review"
    return Table(finding, what, ("Photo", "Review"), rows, review["photos"] - len(rows), wide=True)


def _airline_panels(stats: CatalogStats) -> list[Panel]:
    named = {name: count for name, count in stats["airlines"].items() if name}
    if not named:
        return [Note("No photo has an airline")]
    total = sum(named.values())
    first = next(iter(named))
    finding = f"{first} leads with {count_noun(named[first], 'photo')}; {count_noun(len(named), 'airline')} in all"
    what = f"Photos by airline, of {format_count(total)} with an airline"
    panels: list[Panel] = [bar_chart(finding, what, ("Airline", "Photos"), named, total)]
    single = stats["single_constructor_airlines"]
    mixed = any(len(row["constructors"]) > 1 for row in stats["airline_mix"])
    if mixed or len(single) > 1:  # else every bar would be full and of one color
        panels.append(_airline_constructor_chart(stats))
    if len(named) > 4:
        panels.append(_airline_rank_plot(stats, named))
    if stats["airline_mix"]:
        panels.append(_single_constructor_chart(stats))
    return panels


def _airline_constructor_chart(stats: CatalogStats) -> Panel:
    """Return the constructors of each airline."""
    mixed = [row["name"] for row in stats["airline_mix"] if len(row["constructors"]) > 1]
    finding = "No airline has photos of several constructors"
    if mixed:
        finding = f"{mixed[0]} is the largest airline with several constructors"
    what = "Shares of the constructors in the photos of each airline, largest airline first"
    colors = constructor_colors(stats["constructors"])
    return stacked_bar_chart(finding, what, "Airline", stats["airline_mix"], colors)


def _airline_rank_plot(stats: CatalogStats, named: dict[str, int]) -> Panel:
    """Return the distribution of all airlines."""
    counts, half, first = list(named.values()), stats["airlines_for_half"], next(iter(named))
    once = sum(count == 1 for count in counts)
    finding = f"{count_noun(half, 'airline')} of {format_count(len(named))} {have(half)} half of the photos"
    what = "Photos of each airline by rank, both axes logarithmic"
    if once:
        what += f"; {count_noun(once, 'airline')} with one photo"
    alt = f"{finding}. The first, {first}, has {counts[0]}; the last {counts[-1]}. {what}."
    rows = [(rank, name, count) for rank, (name, count) in enumerate(named.items(), start=1)]
    svg = charts.rank_plot(counts, half, first, alt)
    return Plot(finding, what, svg, ("Rank", "Airline", "Photos"), rows)


def _single_constructor_chart(stats: CatalogStats) -> Panel:
    """Return how many airlines reveal the constructor."""
    single, airlines = stats["single_constructor_airlines"], len(stats["airline_mix"])
    counts = {f"{name} only": count for name, count in single.items()}
    counts["several constructors"] = airlines - sum(single.values())
    count = sum(single.values())
    appear = "appears" if count == 1 else "appear"
    finding = f"{format_count(count)} of {count_noun(airlines, 'airline')} {appear} with one constructor only"
    if not single:
        finding = f"Each of {count_noun(airlines, 'airline')} appears with several constructors"
    photos = count_noun(stats["single_constructor_airline_photos"], "photo")
    what = f"Airlines by the constructors of their photos; those with one constructor have {photos}"
    colors = {f"{name} only": color for name, color in constructor_colors(stats["constructors"]).items()}
    colors["several constructors"] = "s0"
    return bar_chart(finding, what, ("Constructors", "Airlines"), counts, airlines, colors=colors)


def _airframe_panels(stats: CatalogStats) -> list[Panel]:
    per_airframe = {int(photos): count for photos, count in stats["photos_per_airframe"].items()}
    airframes = stats["airframes"]
    if not airframes:
        return [Note("No photo has a registration", "A split cannot keep the photos of an airframe on one side.")]
    counts = Counter[str]()
    for photos, count in per_airframe.items():
        counts[str(photos) if photos <= 10 else "11 to 20" if photos <= 20 else "more than 20"] += count
    share = format_share(per_airframe.get(1, 0), airframes)
    finding = f"{share} of {count_noun(airframes, 'airframe')} have a single photo"
    if 1 not in per_airframe:
        finding = f"{count_noun(airframes, 'airframe')} with {format_count(min(per_airframe))} photos or more each"
    if max(per_airframe) == 1:
        finding = f"Each of {count_noun(airframes, 'airframe')} has a single photo"
    what = "Airframes by the number of their photos"
    unknown = stats["missing"]["registration"]
    if unknown:
        share = format_share(unknown, stats["photos"])
        what += f"; {count_noun(unknown, 'photo')} ({share}) without a registration are not counted"
    panels: list[Panel] = [bar_chart(finding, what, ("Photos each", "Airframes"), counts, airframes)]
    largest = {name: count for name, count in stats["largest_airframes"].items() if count > MANY_PHOTOS}
    if largest:
        known = stats["photos"] - unknown
        finding = f"Up to {format_count(max(largest.values()))} photos of one airframe"
        what = "The airframes with the most photos; a placeholder such as N/A would show here"
        panels.append(bar_chart(finding, what, ("Registration", "Photos"), largest, known))
    return panels


def _image_panels(stats: CatalogStats, duplicates: list[list[Thumbnail]]) -> list[Panel]:
    return [*_size_panels(stats), *_duplicate_panels(stats, duplicates), *_broken_panels(stats)]


def _size_panels(stats: CatalogStats) -> list[Panel]:
    dimensions, known = stats["dimensions"], stats["photos"] - stats["without_size"]
    panels: list[Panel] = []
    if len(dimensions) == 1:
        only = dimensions[0]
        title = f"All images are {only['width']} \u00d7 {only['height']} pixels"
        panels.append(Note(title, _below_network_side(stats, known)))
    elif dimensions:
        ranges = stats["sizes"]
        width, height, side = ranges["width"], ranges["height"], ranges["shorter side"]
        finding = f"The median image is {format_count(width['median'])} \u00d7 {format_count(height['median'])} pixels"
        what = f"Width and height; the area of a bubble is its photos ({count_noun(len(dimensions), 'size')} in all)"
        alt = (
            f"{finding}. Widths from {width['min']} to {width['max']}, "
            f"heights from {height['min']} to {height['max']} pixels."
        )
        largest = sorted(dimensions, key=lambda row: (-row["photos"], row["width"], row["height"]))
        rows: list[tuple[str | int, ...]] = [(row["width"], row["height"], row["photos"]) for row in largest[:200]]
        panels.append(Plot(finding, what, charts.size_plot(dimensions, alt), ("Width", "Height", "Photos"), rows))
        bins = charts.histogram(dimensions)
        finding = _below_network_side(stats, known)
        alt = f"{finding}. Shorter sides from {side['min']} to {side['max']} pixels, median {side['median']}."
        rows = [(f"{low} to {high}", photos) for low, high, photos in bins]
        headings = ("Shorter side, pixels", "Photos")
        panels.append(Plot(finding, "Shorter side of the images", charts.side_histogram(bins, alt), headings, rows))
    if stats["without_size"]:
        panels.append(Note(f"{count_noun(stats['without_size'], 'photo')} without a size in the catalog"))
    return panels


def _duplicate_panels(stats: CatalogStats, duplicates: list[list[Thumbnail]]) -> list[Panel]:
    panels: list[Panel] = []
    copies = stats["duplicated_files"]
    if copies:
        rows = [(", ".join(ids[:6]) + (", ..." if len(ids) > 6 else ""), len(ids)) for ids in copies[:MAX_ROWS]]
        finding = count_noun(stats["exact_duplicates"], "exact copy", "exact copies")
        panels.append(Table(finding, "Photos with the same file", ("Photos", "Count"), rows, len(copies) - len(rows)))
    else:
        panels.append(Note("No exact copies", "All files have a different sha256."))
    groups = stats["near_duplicates"] or []
    if groups:
        finding = count_noun(len(groups), "group of near duplicates", "groups of near duplicates")
        what = "Photos with close perceptual hashes and correlated detail: one picture in other sizes or qualities"
        panels.append(ThumbnailRows(finding, what, duplicates, len(groups) - len(duplicates)))
    else:
        panels.append(Note("No near duplicates", "Compared by perceptual hash and correlation of the detail."))
    return panels


def _broken_panels(stats: CatalogStats) -> list[Panel]:
    broken = stats["broken_images"] or {}
    if not broken:
        return []
    rows = list(broken.items())[:MAX_ROWS]
    finding = count_noun(len(broken), "broken image")
    return [Table(finding, "Incomplete image files", ("File", "Reason"), rows, len(broken) - len(rows))]


def _below_network_side(stats: CatalogStats, known: int) -> str:
    """Return the finding on images smaller than the input side of the network."""
    below = stats["under_224"]
    if not below:
        return f"All images have at least {NETWORK_SIDE} pixels a side, the input side of the network"
    if below == known:
        return f"Every image has a side below {NETWORK_SIDE} pixels, the input side of the network"
    share = format_share(below, known)
    return f"{share} of the images have a side below {NETWORK_SIDE} pixels, the input side of the network"


def _source_panels(stats: CatalogStats) -> list[Panel]:
    photos, colors = stats["photos"], constructor_colors(stats["constructors"])
    sources = stats["sources"]
    first = next(iter(sources))
    finding = f"{first or 'A source without a name'} has {format_share(sources[first], photos)} of the photos"
    if len(sources) == 1:
        finding = f"All photos come from {first or 'a source without a name'}"
    panels: list[Panel] = [bar_chart(finding, "Photos by source", ("Source", "Photos"), sources, photos)]
    mix = stats["source_mix"]
    if mix and len(sources) > 1:
        single = [row["name"] for row in mix if len(row["constructors"]) == 1]
        finding = f"{count_noun(len(single), 'source')} of {len(mix)} {have(len(single))} one constructor only"
        what = "Shares of the constructors in the photos of each source"
        panels.append(stacked_bar_chart(finding, what, "Source", mix, colors))
    for what, column, counts in (
        ("licence", "licence", stats["licences"]),
        ("photographer", "photographer", stats["photographers"]),
    ):
        named = {name: count for name, count in counts.items() if name}
        unknown = stats["missing"][column]
        if not named:
            panels.append(Note(f"No photo has a {what}"))
            continue
        finding = (
            f"{count_noun(len(named), what)}; {format_share(unknown, photos)} of the photos have none"
            if unknown
            else f"{count_noun(len(named), what)}; every photo has one"
        )
        subtitle = f"Photos by {what}: credit it wherever a photo is shown"
        panels.append(bar_chart(finding, subtitle, (what.capitalize(), "Photos"), counts, photos))
    panels.extend(_time_panel(stats, column) for column in DATES)
    return panels


def _time_panel(stats: CatalogStats, column: str) -> Panel:
    """Return the photos of each source by month or year."""
    months, verb = stats["months"][column], DATES[column]
    invalid = stats["invalid_dates"][column]
    if not months:
        return Note(f"No photo has the date when it was {verb}", invalid_dates(invalid) if invalid else "")
    dated = sum(sum(sources.values()) for sources in months.values())
    first, last = map(format_date, stats["date_ranges"][column])
    when = f"from {first} to {last}" if first != last else f"on {first}"
    if len(months) == 1:
        return Note(f"{count_noun(dated, 'photo')} {verb} {when}", "All in one month.")
    all_months = _months_between(min(months), max(months))
    yearly = len(all_months) > MAX_MONTHS
    unit = "year" if yearly else "month"
    totals: Counter[str] = Counter()
    by_time: dict[str, Counter[str]] = {
        time: Counter() for time in dict.fromkeys(month[:4] if yearly else month for month in all_months)
    }
    for month, sources in months.items():
        totals.update(sources)
        by_time[month[:4] if yearly else month].update(sources)
    names = [name for name, _ in totals.most_common(MAX_SERIES)]
    series = {name or "unknown": [by_time[time][name] for time in by_time] for name in names}
    if len(totals) > MAX_SERIES:
        series["other sources"] = [
            sum(counts.values()) - sum(counts[name] for name in names) for counts in by_time.values()
        ]
    peak = max(by_time, key=lambda time: by_time[time].total())
    peak_photos = count_noun(by_time[peak].total(), "photo")
    finding = f"{verb.capitalize()} {when}, most in {format_date(peak)} ({peak_photos})"
    what = f"Photos {verb} by {unit} and source, all on one scale"
    if invalid:
        what += f"; {invalid_dates(invalid)}"
    rows: list[tuple[str | int, ...]] = [
        (time, *(counts[index] for counts in series.values())) for index, time in enumerate(by_time)
    ]
    svg = charts.time_plot(column, list(by_time), series, f"{finding}. {what}.")
    return Plot(finding, what, svg, (unit.capitalize(), *series), rows)


def _months_between(first: str, last: str) -> list[str]:
    """Return all months from the first to the last, as YYYY-MM."""
    start, end = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (first, last))
    return [f"{month // 12:04}-{month % 12 + 1:02}" for month in range(start, end + 1)]


def _field_panels(stats: CatalogStats) -> list[Panel]:
    photos = stats["photos"]
    ordered = sorted(stats["missing"].items(), key=lambda item: (-item[1], item[0]))
    missing = {name: count for name, count in ordered if count}
    complete = [name for name in stats["missing"] if name not in missing]
    if not missing:
        return [Note("No values are missing")]
    never = sum(count == photos for count in missing.values())
    finding = f"{len(complete)} of {len(ordered)} fields have a value in every photo"
    finding += f", {never} in none" if never else ""
    what = f"Photos without a value, by field; a full bar is all photos. Always known: {', '.join(complete)}"
    panels: list[Panel] = [bar_chart(finding, what, ("Field", "Missing"), missing, photos, longest=photos)]
    sources = [name for name in stats["sources"] if name in stats["missing_by_source"]][:MAX_SERIES]
    partial = [name for name, count in missing.items() if 0 < count < photos]
    if len(sources) > 1 and partial:
        rows: list[tuple[str | int, ...]] = [
            (
                name,
                *(
                    format_share(stats["missing_by_source"][source][name], stats["sources"][source])
                    for source in sources
                ),
            )
            for name in partial
        ]
        headings = ("Field", *(source or "unknown" for source in sources))
        panels.append(Table("Missing values by source", "Share of photos without a value", headings, rows))
    return panels
