"""What a page is made of: sections, and in them charts as plain data, which the template turns into HTML.

A chart of names and counts is a table whose numbers have bars: screen readers read it and it can be copied, as it is.
Only what needs two axes is a drawing, with a table of its values behind it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from planespotter_scraping.catalog.stats import ConstructorMix
from planespotter_scraping.explore.thumbnails import Picture

# What has no colour of its own is grey. The two colours differ in lightness too, and no chart needs them to be read.
COLOURS = {"Airbus": "s1", "Boeing": "s2"}
FURTHER = ("s3", "s4")
Row = TypeVar("Row")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SHOWN = 15  # bars of a long list; a table behind the chart has them all


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart; `share` is of all photos, and `length` of the longest bar, both from 0 to 1."""

    name: str
    count: int
    share: str
    length: float
    colour: str = "s1"
    weak: bool = False  # drawn as an outline
    note: str = ""


@dataclass(frozen=True)
class Bars:
    """A bar chart. `finding` is its headline, `what` says what is drawn, `everything` stands in the table behind it."""

    finding: str
    what: str
    headings: tuple[str, ...]  # of the names, the counts, and of the notes if there are any
    rows: list[Bar]
    everything: list[Bar] = field(default_factory=list)
    kind: str = "bars"


@dataclass(frozen=True)
class Stack:
    """One row of a chart of shares: parts of `photos`, each with its name, count, width in per cent and colour."""

    name: str
    photos: int
    parts: list[tuple[str, int, float, str]]


@dataclass(frozen=True)
class Stacks:
    """A chart of shares, each row from 0 to 100 %."""

    finding: str
    what: str
    heading: str
    rows: list[Stack]
    everything: list[Stack] = field(default_factory=list)
    kind: str = "stacks"


@dataclass(frozen=True)
class Drawing:
    """A chart with two axes: an SVG, what it shows in words, and the table of its values."""

    finding: str
    what: str
    svg: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str | int, ...]]
    kind: str = "drawing"


@dataclass(frozen=True)
class Listing:
    """A table of texts and numbers; `more` rows are not shown."""

    finding: str
    what: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str | int, ...]]
    more: int = 0
    wide: bool = False
    kind: str = "listing"


@dataclass(frozen=True)
class Note:
    """A sentence in the place of a chart that would show nothing."""

    finding: str
    what: str = ""
    kind: str = "note"


@dataclass(frozen=True)
class Pictures:
    """Rows of small pictures; `more` rows are not shown."""

    finding: str
    what: str
    rows: list[list[Picture]]
    more: int = 0
    kind: str = "rows"


Figure = Pictures | Bars | Stacks | Drawing | Listing | Note


@dataclass(frozen=True)
class Section:
    """A part of the page. `id` is its anchor."""

    id: str
    title: str
    lead: str
    figures: list[Figure]


def number(value: int) -> str:
    """Return a count with commas between thousands: 9,612."""
    return f"{value:,}"


def has(count: int) -> str:
    """Return the verb to a count."""
    return "has" if count == 1 else "have"


def share(part: int, whole: int) -> str:
    """Return a share in whole per cent, never 0 % of something nor 100 % of less than all."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "<1\u00a0%"
    if 99 < percent < 100:
        return ">99\u00a0%"
    return f"{percent:.0f}\u00a0%"


def day(date: str) -> str:
    """Return a date as people write it: "11 Jan 2020" for 2020-01-11, "Jan 2020" for 2020-01, and 2020 as it is."""
    year, *rest = date.split("-")
    month = [MONTHS[int(rest[0]) - 1]] if rest else []
    return "\u00a0".join([*(str(int(number)) for number in rest[1:2]), *month, year])


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g}\u00a0{unit}" if count / scale < 100 else f"{count / scale:.0f}\u00a0{unit}"
    return f"{count} bytes"


def palette(constructors: Iterable[str]) -> dict[str, str]:
    """Return the colour of each constructor: its own, else the next that is free, else grey."""
    colours, free = {"": "s0"}, list(FURTHER)
    for name in constructors:
        if name and name not in colours:
            colours[name] = COLOURS.get(name) or (free.pop(0) if free else "s0")
    return colours


def bars(
    finding: str,
    what: str,
    headings: tuple[str, str],
    counts: Mapping[str, int],
    total: int,
    *,
    colours: dict[str, str] | None = None,
    longest: int = 0,
) -> Bars:
    """Return a bar chart of `counts` in their order; the bar of `longest`, or else of the largest, is full."""
    longest = longest or max(counts.values(), default=0) or 1
    rows = [
        Bar(name or "unknown", count, share(count, total), count / longest, _colour(name, colours))
        for name, count in counts.items()
    ]
    shown, everything = folded(rows)
    return Bars(finding, what, headings, shown, everything)


def folded(rows: list[Row], shown: int = SHOWN) -> tuple[list[Row], list[Row]]:
    """Return the rows of a long list to draw, and all for the table behind; [] if all are drawn."""
    return (rows[:shown], rows) if len(rows) > shown + 3 else (rows, [])  # a fold is not worth three rows


def _colour(name: str, colours: dict[str, str] | None) -> str:
    return (colours or {}).get(name, "s1") if name else "s0"


def stacks(finding: str, what: str, heading: str, mixes: list[ConstructorMix], colours: dict[str, str]) -> Stacks:
    """Return a chart of the constructors' shares in each of `mixes`."""
    rows = []
    order = list(colours)
    for mix in mixes:
        parts = sorted(mix["constructors"].items(), key=lambda item: order.index(item[0]))
        rows.append(
            Stack(
                mix["name"],
                mix["photos"],
                [(name, count, 100 * count / mix["photos"], colours[name]) for name, count in parts],
            )
        )
    shown, everything = folded(rows)
    return Stacks(finding, what, heading, shown, everything)
