"""Show the numbers of a catalog on a terminal: tables, and sentences for what takes none."""

from collections import Counter
from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from planespotter_scraping.catalog.stats import NETWORK_SIDE, Mix, Numbers, Unplaced, model_name, some


def console_for_tables() -> Console:
    """Return a console for standard output; where that is no terminal, one that does not break lines at 80."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def show_all(found: Numbers, console: Console, top: int = 10) -> None:
    """Print all numbers, of long lists the `top` first."""
    for title, table in tables(found, top, plain=not console.is_terminal):
        _print(console, title, table)
        console.print()
    for sentence in sentences(found):
        console.print(sentence, markup=False, highlight=False)


def sentences(found: Numbers) -> Iterator[str]:
    """Yield what takes no table to say: copies, airlines of one constructor, dates, files."""
    copies = [" = ".join(ids) for ids in found["duplicated_files"]]
    yield (
        some(found["exact_duplicates"], "photo is an exact copy", "photos are exact copies")
        + f" of others{_such_as(copies)}"
    )
    alone, airlines = sum(found["one_constructor_airlines"].values()), len(found["airline_mix"])
    if airlines:
        yield (
            f"{alone} of {some(airlines, 'airline')} seen with one constructor only, in "
            f"{some(found['one_constructor_airline_photos'], 'photo')}; half of all photos with an airline are of "
            f"{some(found['airlines_of_half'], 'airline')}."
        )
    if found["sizes"]:
        yield f"{some(found['under_224'], 'image')} with a side under {NETWORK_SIDE} pixels."
    for column, span in found["spans"].items():
        if span:
            yield f"{column}: {span[0]} to {span[1]}, in {some(len(found['months'][column]), 'month')}."
    files = found["files"]
    if files is not None:
        lost = f"; {len(files['missing'])} are missing or empty" if files["missing"] else ""
        yield f"The images take {files['bytes'] / 1e6:.1f} MB{lost}."
    if found["broken_images"] is not None:
        broken = some(len(found["broken_images"]), "image is broken", "images are broken")
        yield broken + _such_as(found["broken_images"])
    if found["look_alikes"] is not None:
        alike = [" and ".join(ids) for ids in found["look_alikes"]]
        yield some(len(alike), "picture is", "pictures are") + f" there in several files{_such_as(alike)}"


def _such_as(names: Iterable[str]) -> str:
    """Return the end of a sentence that gives the first of `names` as examples."""
    examples = "; ".join(list(names)[:3])
    return f": {examples}." if examples else "."


def show_models(found: Numbers, console: Console) -> None:
    """Print the photos and airframes of each model."""
    _print(console, *_models_table(found, plain=not console.is_terminal))


def _print(console: Console, title: str, table: Table) -> None:
    """Print a table below its title, which may be wider than it."""
    console.print(Text(title, style="bold"))
    console.print(table)


def tables(found: Numbers, top: int, *, plain: bool) -> Iterator[tuple[str, Table]]:
    """Yield a title and a table for each part of the numbers; `plain` ones have no lines."""
    photos = found["photos"]
    missing = {column: count for column, count in found["missing"].items() if count}
    yield f"{photos} photos: values that are missing", _table("column", "missing", missing, photos, plain=plain)
    lists = {"constructor": found["constructors"], "airline": found["airlines"], "source": found["sources"]}
    for what, counts in lists.items():
        shown = dict(list(counts.items())[:top])
        more = f", the first {top}" if len(counts) > top else ""
        yield f"{len(counts.keys() - {''})} {what}s{more}", _table(what, "photos", shown, photos, plain=plain)
    yield _models_table(found, plain=plain)
    yield "how deep the labels reach", _table("label", "photos", found["label_depth"], photos, plain=plain)
    if found["unplaced_types"]:
        yield _unplaced_table(found["unplaced_types"], top, plain=plain)
    if found["review"]["photos"]:
        title = f"{found['review']['photos']} photos to look at: two readings of their labels differ"
        yield title, _table("about", "photos", found["review"]["fields"], photos, plain=plain)
    yield _mix_table("source", found["source_mix"], top, plain=plain)
    if found["airline_mix"]:
        yield _mix_table("airline", found["airline_mix"], top, plain=plain)
    for what, counts in {"licence": found["licences"], "photographer": found["photographers"]}.items():
        if counts.keys() - {""}:
            shown = dict(list(counts.items())[:top])
            yield f"{len(counts.keys() - {''})} {what}s", _table(what, "photos", shown, photos, plain=plain)
    for column, months in found["months"].items():
        if months:
            latest = {month: sum(months[month].values()) for month in list(months)[-top:]}
            more = f", the last {top}" if len(months) > top else ""
            yield f"{column}, by month{more}", _table("month", "photos", latest, photos, plain=plain)
    airframes = found["airframes"]
    per = found["photos_per_airframe"]
    few = dict(list(per.items())[:top])
    if len(per) > top:
        few[f"more, up to {list(per)[-1]}"] = sum(list(per.values())[top:])
    yield f"{airframes} airframes", _table("photos of each", "airframes", few, airframes, plain=plain)
    sizes = _empty("", "smallest", "median", "largest", plain=plain)
    for name, spread in found["sizes"].items():
        sizes.add_row(name, str(spread["smallest"]), str(spread["median"]), str(spread["largest"]))
    without = f" ({found['without_size']} photos do not give theirs)" if found["without_size"] else ""
    yield f"image sizes in pixels{without}", sizes


def _models_table(found: Numbers, *, plain: bool) -> tuple[str, Table]:
    """Return the title and the table of models, which a scrape prints too."""
    table = _empty("constructor", "model", "photos", "airframes", plain=plain)
    for row in found["models"]:
        maker = Text(row["constructor"] or "not said")
        table.add_row(maker, Text(model_name(row)), str(row["photos"]), str(row["airframes"]))
    return f"{found['photos']} photos by model", table


def _unplaced_table(rows: list[Unplaced], top: int, *, plain: bool) -> tuple[str, Table]:
    """Return the title and the table of the types that name no model."""
    table = _empty("constructor", "type, as written", "reaches", "photos", plain=plain)
    for row in rows[:top]:
        maker = Text(row["constructor"] or "not said")
        table.add_row(maker, Text(row["aircraft_type"]), row["reaches"], str(row["photos"]))
    more = f", the first {top}" if len(rows) > top else ""
    return f"{len(rows)} types that name no model{more}", table


def _mix_table(what: str, rows: list[Mix], top: int, *, plain: bool) -> tuple[str, Table]:
    """Return the title and the table of the constructors of each airline or source."""
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
    return f"photos of each {what} by constructor{more}", table


def _table(name: str, count: str, counts: dict[str, int], total: int, *, plain: bool) -> Table:
    """Return a table of counts, each with its share of `total`."""
    table = _empty(name, count, "share", plain=plain)
    for value, number in counts.items():
        # As Text, since a name from a page may hold what rich takes for markup.
        table.add_row(Text(value or "not said"), str(number), f"{number / max(total, 1):.1%}")
    return table


def _empty(*headings: str, plain: bool) -> Table:
    """Return a table without rows, with the columns of numbers to the right."""
    table = Table(box=None if plain else box.SIMPLE_HEAD)
    for heading in headings:
        number = heading in ("photos", "airframes", "missing", "share", "smallest", "median", "largest")
        table.add_column(heading, justify="right" if number else "left")
    return table
