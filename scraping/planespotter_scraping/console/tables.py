"""Console tables of the statistics of a catalog."""

from collections import Counter
from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from planespotter_scraping.catalog import NO_AIRCRAFT, count_noun
from planespotter_scraping.catalog.stats import (
    NETWORK_SIDE,
    CatalogStats,
    ConstructorMix,
    UnresolvedType,
    invalid_dates,
    model_name,
)


def console_for_tables() -> Console:
    """Return a console for standard output; if that is not a terminal, it is 200 columns wide."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def show_all(statistics: CatalogStats, console: Console, top: int = 10) -> None:
    """Print all statistics.

    Args:
        statistics: Statistics of a catalog.
        console: Console to print to.
        top: Number of rows of long lists.
    """
    for title, table in tables(statistics, top, plain=not console.is_terminal):
        _print(console, title, table)
        console.print()
    for sentence in sentences(statistics):
        console.print(sentence, markup=False, highlight=False)


def sentences(statistics: CatalogStats) -> Iterator[str]:
    """Yield statistics that need no table: copies, single-constructor airlines, dates, files."""
    if statistics["no_aircraft"]:
        yield f"{count_noun(statistics['no_aircraft'], 'photo')} without an aircraft (constructor {NO_AIRCRAFT})."
    copies = [" = ".join(ids) for ids in statistics["duplicated_files"]]
    yield count_noun(statistics["exact_duplicates"], "exact copy", "exact copies") + _such_as(copies)
    single, airlines = sum(statistics["single_constructor_airlines"].values()), len(statistics["airline_mix"])
    if airlines:
        yield (
            f"{single} of {count_noun(airlines, 'airline')} with one constructor only, in "
            f"{count_noun(statistics['single_constructor_airline_photos'], 'photo')}; half of the photos with an "
            f"airline show {count_noun(statistics['airlines_for_half'], 'airline')}."
        )
    if statistics["sizes"]:
        yield f"{count_noun(statistics['under_224'], 'image')} with a side below {NETWORK_SIDE} pixels."
    for column, span in statistics["date_ranges"].items():
        if span:
            yield f"{column}: {span[0]} to {span[1]}, in {count_noun(len(statistics['months'][column]), 'month')}."
    for column, dates in statistics["invalid_dates"].items():
        if dates:
            yield f"{column}: {invalid_dates(dates)}"
    files = statistics["files"]
    if files is not None:
        missing = f"; {len(files['missing'])} are missing or empty" if files["missing"] else ""
        yield f"The images take {files['bytes'] / 1e6:.1f} MB{missing}."
    if statistics["broken_images"] is not None:
        broken = count_noun(len(statistics["broken_images"]), "image is broken", "images are broken")
        yield broken + _such_as(statistics["broken_images"])
    if statistics["near_duplicates"] is not None:
        groups = [" and ".join(ids) for ids in statistics["near_duplicates"]]
        yield count_noun(len(groups), "group of near duplicates", "groups of near duplicates") + _such_as(groups)


def _such_as(names: Iterable[str]) -> str:
    """Return the end of a sentence with the first of `names` as examples."""
    examples = "; ".join(list(names)[:3])
    return f": {examples}." if examples else "."


def show_models(statistics: CatalogStats, console: Console) -> None:
    """Print the photos and airframes of each model."""
    _print(console, *_models_table(statistics, plain=not console.is_terminal))


def _print(console: Console, title: str, table: Table) -> None:
    """Print a table below its title, which may be wider."""
    console.print(Text(title, style="bold"))
    console.print(table)


def tables(statistics: CatalogStats, top: int, *, plain: bool) -> Iterator[tuple[str, Table]]:
    """Yield the tables with their titles.

    Args:
        statistics: Statistics of a catalog.
        top: Number of rows of long lists.
        plain: Tables without rules.
    """
    photos = statistics["photos"]
    missing = {column: count for column, count in statistics["missing"].items() if count}
    yield f"missing values of {count_noun(photos, 'photo')}", _table("column", "missing", missing, photos, plain=plain)
    lists = {
        "constructor": statistics["constructors"],
        "airline": statistics["airlines"],
        "source": statistics["sources"],
    }
    for what, counts in lists.items():
        shown = dict(list(counts.items())[:top])
        more = f", the first {top}" if len(counts) > top else ""
        if what == "constructor" and statistics["other_names"]:
            more += f"; not known as constructors: {', '.join(statistics['other_names'][:top])}"
        yield f"{count_noun(len(counts.keys() - {''}), what)}{more}", _table(what, "photos", shown, photos, plain=plain)
    yield _models_table(statistics, plain=plain)
    yield "depth of the labels", _table("label", "photos", statistics["label_depth"], photos, plain=plain)
    if statistics["unresolved_types"]:
        yield _unresolved_table(statistics["unresolved_types"], top, plain=plain)
    if statistics["review"]["photos"]:
        title = f"{count_noun(statistics['review']['photos'], 'photo')} to review: contradicting labels"
        yield title, _table("field", "photos", statistics["review"]["fields"], photos, plain=plain)
    yield _mix_table("source", statistics["source_mix"], top, plain=plain)
    if statistics["airline_mix"]:
        yield _mix_table("airline", statistics["airline_mix"], top, plain=plain)
    for what, counts in {"licence": statistics["licences"], "photographer": statistics["photographers"]}.items():
        if counts.keys() - {""}:
            shown = dict(list(counts.items())[:top])
            yield count_noun(len(counts.keys() - {""}), what), _table(what, "photos", shown, photos, plain=plain)
    for column, months in statistics["months"].items():
        if months:
            latest = {month: sum(months[month].values()) for month in list(months)[-top:]}
            more = f", the last {top}" if len(months) > top else ""
            yield f"{column}, by month{more}", _table("month", "photos", latest, photos, plain=plain)
    airframes = statistics["airframes"]
    per = statistics["photos_per_airframe"]
    few = dict(list(per.items())[:top])
    if len(per) > top:
        few[f"more, up to {list(per)[-1]}"] = sum(list(per.values())[top:])
    yield count_noun(airframes, "airframe"), _table("photos each", "airframes", few, airframes, plain=plain)
    sizes = _empty("", "min", "median", "max", plain=plain)
    for name, spread in statistics["sizes"].items():
        sizes.add_row(name, str(spread["min"]), str(spread["median"]), str(spread["max"]))
    without = (
        f" ({count_noun(statistics['without_size'], 'photo')} without a size)" if statistics["without_size"] else ""
    )
    yield f"image sizes in pixels{without}", sizes


def _models_table(statistics: CatalogStats, *, plain: bool) -> tuple[str, Table]:
    """Return title and table of the models."""
    table = _empty("constructor", "model", "photos", "airframes", plain=plain)
    for row in statistics["models"]:
        constructor = Text(row["constructor"] or "unknown")
        table.add_row(constructor, Text(model_name(row)), str(row["photos"]), str(row["airframes"]))
    return f"{count_noun(statistics['photos'], 'photo')} by model", table


def _unresolved_table(rows: list[UnresolvedType], top: int, *, plain: bool) -> tuple[str, Table]:
    """Return title and table of the types that do not determine a model."""
    table = _empty("constructor", "type text", "level", "photos", plain=plain)
    for row in rows[:top]:
        constructor = Text(row["constructor"] or "unknown")
        table.add_row(constructor, Text(row["aircraft_type"]), row["level"], str(row["photos"]))
    more = f", the first {top}" if len(rows) > top else ""
    return f"{count_noun(len(rows), 'type')} without a model{more}", table


def _mix_table(what: str, rows: list[ConstructorMix], top: int, *, plain: bool) -> tuple[str, Table]:
    """Return title and table of the constructors of each airline or source."""
    totals: Counter[str] = Counter()
    for row in rows:
        totals.update(row["constructors"])
    names = [name for name, _ in totals.most_common(4)]
    table = Table(box=None if plain else box.SIMPLE_HEAD)
    table.add_column(what)
    for name in names:
        table.add_column(Text(name), justify="right")
    for row in rows[:top]:
        table.add_row(Text(row["name"]), *(str(row["constructors"].get(name, 0)) for name in names))
    more = f", the first {top}" if len(rows) > top else ""
    return f"photos by {what} and constructor{more}", table


def _table(name: str, count: str, counts: dict[str, int], total: int, *, plain: bool) -> Table:
    """Return a table of counts with their shares of `total`."""
    table = _empty(name, count, "share", plain=plain)
    for value, number in counts.items():
        # As Text: a name from a page may contain markup of rich.
        table.add_row(Text(value or "unknown"), str(number), f"{number / max(total, 1):.1%}")
    return table


def _empty(*headings: str, plain: bool) -> Table:
    """Return a table without rows; columns of numbers are right-aligned."""
    table = Table(box=None if plain else box.SIMPLE_HEAD)
    for heading in headings:
        number = heading in ("photos", "airframes", "missing", "share", "min", "median", "max")
        table.add_column(heading, justify="right" if number else "left")
    return table
