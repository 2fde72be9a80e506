"""The numbers of a catalog: how many photos of what, what is missing, and how much is said twice.

`numbers` is made of plain lists and dictionaries, so that programs get as JSON what `tables` shows to people.
"""

from collections.abc import Iterator
from typing import TypedDict

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from planespotter_scraping.catalog import COLUMNS, LABEL_PATH


class Model(TypedDict):
    """One model of one constructor; both are "" where the labels do not reach so far."""

    constructor: str
    family: str
    model: str
    photos: int
    airframes: int


class Sizes(TypedDict):
    """The spread of a measure of the images, in pixels."""

    smallest: int
    median: int
    largest: int


class Numbers(TypedDict):
    """What `numbers` returns. A name of "" stands for photos whose page does not say."""

    photos: int
    missing: dict[str, int]  # by column, and by level of the label path
    constructors: dict[str, int]  # the most photos first, as in all that follow
    airlines: dict[str, int]
    sources: dict[str, int]
    models: list[Model]
    airframes: int  # registrations that differ
    photos_per_airframe: dict[str, int]  # how many airframes have 1, 2, 3... photos
    sizes: dict[str, Sizes]  # of width, height and the smallest side
    without_size: int
    exact_duplicates: int  # photos whose file another photo has too; the first of each is not counted
    duplicated_files: list[list[str]]  # their photo ids, one list for each file that is there more than once


def numbers(frame: pd.DataFrame) -> Numbers:
    """Return the numbers of a catalog as `catalog.read` gives it."""
    columns = list(dict.fromkeys((*COLUMNS, *LABEL_PATH)))
    aircraft = frame["registration"][frame["registration"] != ""].value_counts()
    per_airframe = aircraft.value_counts().sort_index()
    sizes, without_size = _sizes(frame)
    copies = [list(map(str, ids)) for _, ids in frame[frame["sha256"] != ""].groupby("sha256")["photo_id"]]
    copies = [ids for ids in copies if len(ids) > 1]
    return {
        "photos": len(frame),
        "missing": {column: int((frame[column] == "").sum()) for column in columns},
        "constructors": _counts(frame["constructor"]),
        "airlines": _counts(frame["airline"]),
        "sources": _counts(frame["source"]),
        "models": _models(frame),
        "airframes": len(aircraft),
        "photos_per_airframe": {str(photos): int(count) for photos, count in per_airframe.items()},
        "sizes": sizes,
        "without_size": without_size,
        "exact_duplicates": sum(len(ids) - 1 for ids in copies),
        "duplicated_files": copies,
    }


def _counts(column: pd.Series) -> dict[str, int]:
    """Return how often each value occurs, the most frequent first, and by name among equals."""
    counts = column.value_counts().to_dict()
    return {str(name): int(counts[name]) for name in sorted(counts, key=lambda name: (-counts[name], str(name)))}


def _models(frame: pd.DataFrame) -> list[Model]:
    """Return the photos and airframes of each model, by constructor and family, the most photos first."""
    found: list[Model] = []
    for labels, photos in frame.groupby(list(LABEL_PATH)):
        constructor, family, model = map(str, labels)
        airframes = int(photos["registration"][photos["registration"] != ""].nunique())
        found.append(
            {
                "constructor": constructor,
                "family": family,
                "model": model,
                "photos": len(photos),
                "airframes": airframes,
            }
        )
    totals = _counts(frame["constructor"])
    return sorted(found, key=lambda row: (-totals[row["constructor"]], row["constructor"], -row["photos"]))


def _sizes(frame: pd.DataFrame) -> tuple[dict[str, Sizes], int]:
    """Return the spread of the images' sizes, and how many photos do not give theirs."""
    sides = frame[["width", "height"]].apply(pd.to_numeric, errors="coerce").dropna()
    if sides.empty:
        return {}, len(frame)
    measures = {"width": sides["width"], "height": sides["height"], "smallest side": sides.min(axis=1)}
    spread: dict[str, Sizes] = {
        name: {"smallest": int(side.min()), "median": int(side.median()), "largest": int(side.max())}
        for name, side in measures.items()
    }
    return spread, len(frame) - len(sides)


def console_for_tables() -> Console:
    """Return a console for standard output; where that is no terminal, one that does not break lines at 80."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def show_all(found: Numbers, console: Console, top: int = 10) -> None:
    """Print all numbers, of long lists the `top` first."""
    for title, table in tables(found, top, plain=not console.is_terminal):
        _print(console, title, table)
        console.print()
    duplicates = f"{found['exact_duplicates']} photos are exact copies of others"
    examples = "; ".join(" = ".join(ids) for ids in found["duplicated_files"][:3])
    console.print(f"{duplicates}: {examples}." if examples else f"{duplicates}.", markup=False)


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
        name = row["model"] or (f"{row['family']}, model not said" if row["family"] else "not said")
        maker = Text(row["constructor"] or "not said")
        table.add_row(maker, Text(name), str(row["photos"]), str(row["airframes"]))
    return f"{found['photos']} photos by model", table


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
