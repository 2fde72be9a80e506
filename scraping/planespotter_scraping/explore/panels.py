"""Panels of the page as plain data, which the template renders as HTML.

A bar chart is a table whose numbers have bars, so that screen readers read it and it can be copied. Only plots with two
axes are SVG, each with a table of its values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from planespotter_scraping.catalog.stats import ConstructorMix
from planespotter_scraping.explore.formatting import format_share
from planespotter_scraping.explore.thumbnails import Thumbnail

Row = TypeVar("Row")
MAX_BARS = 15  # bars of a long list; a table below the chart has all of them


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart.

    Attributes:
        name: Label of the row.
        count: Value of the bar.
        share: Share of the total, formatted.
        length: Length of the bar, relative to the longest, 0 to 1.
        color: CSS variable of its color.
        outlined: Whether the bar is drawn as an outline.
        note: Value of the third column.
    """

    name: str
    count: int
    share: str
    length: float
    color: str = "s1"
    outlined: bool = False
    note: str = ""


@dataclass(frozen=True)
class BarChart:
    """A bar chart.

    Attributes:
        finding: Headline: what the chart shows.
        what: What is drawn.
        headings: Headings of the names, the counts, and the notes if there are any.
        rows: Bars that are drawn.
        all_rows: All bars, for the table below a truncated chart; else empty.
    """

    finding: str
    what: str
    headings: tuple[str, ...]
    rows: list[Bar]
    all_rows: list[Bar] = field(default_factory=list)
    kind: str = "bars"


@dataclass(frozen=True)
class Stack:
    """One row of a stacked bar chart; each part is a name, a count, a width in percent and a color."""

    name: str
    photos: int
    parts: list[tuple[str, int, float, str]]


@dataclass(frozen=True)
class StackedBarChart:
    """A chart of shares, each row from 0 to 100 %. The attributes are those of BarChart."""

    finding: str
    what: str
    heading: str
    rows: list[Stack]
    all_rows: list[Stack] = field(default_factory=list)
    kind: str = "stacks"


@dataclass(frozen=True)
class Plot:
    """A chart with two axes as SVG, with the table of its values."""

    finding: str
    what: str
    svg: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str | int, ...]]
    kind: str = "plot"


@dataclass(frozen=True)
class Table:
    """A table of texts and numbers; `more` rows are not shown."""

    finding: str
    what: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str | int, ...]]
    more: int = 0
    wide: bool = False
    kind: str = "table"


@dataclass(frozen=True)
class Note:
    """A sentence instead of a chart that would be empty."""

    finding: str
    what: str = ""
    kind: str = "note"


@dataclass(frozen=True)
class ThumbnailRows:
    """Rows of thumbnails; `more` rows are not shown."""

    finding: str
    what: str
    rows: list[list[Thumbnail]]
    more: int = 0
    kind: str = "thumbnails"


Panel = ThumbnailRows | BarChart | StackedBarChart | Plot | Table | Note


@dataclass(frozen=True)
class Section:
    """A section of the page; `id` is its anchor."""

    id: str
    title: str
    lead: str
    panels: list[Panel]


def bar_chart(
    finding: str,
    what: str,
    headings: tuple[str, str],
    counts: Mapping[str, int],
    total: int,
    *,
    colors: dict[str, str] | None = None,
    longest: int = 0,
) -> BarChart:
    """Return a bar chart.

    Args:
        finding: Headline.
        what: What is drawn.
        headings: Headings of the names and the counts.
        counts: Counts by name, in the order of the bars; the name "" stands for unknown.
        total: What the shares refer to.
        colors: Colors by name; None for one color.
        longest: Count of a full bar; 0 for the largest count.
    """
    longest = longest or max(counts.values(), default=0) or 1
    rows = [
        Bar(name or "unknown", count, format_share(count, total), count / longest, _color(name, colors))
        for name, count in counts.items()
    ]
    shown, all_rows = truncated(rows)
    return BarChart(finding, what, headings, shown, all_rows)


def truncated(rows: list[Row], length: int = MAX_BARS) -> tuple[list[Row], list[Row]]:
    """Return the rows of a long list to draw, and all rows for the table below; [] if all are drawn."""
    return (rows[:length], rows) if len(rows) > length + 3 else (rows, [])  # not worth it for three rows


def _color(name: str, colors: dict[str, str] | None) -> str:
    return (colors or {}).get(name, "s1") if name else "s0"


def stacked_bar_chart(
    finding: str, what: str, heading: str, mixes: list[ConstructorMix], colors: dict[str, str]
) -> StackedBarChart:
    """Return a chart of the constructors' shares in each of `mixes`."""
    rows = []
    order = list(colors)
    for mix in mixes:
        parts = sorted(mix["constructors"].items(), key=lambda item: order.index(item[0]))
        rows.append(
            Stack(
                mix["name"],
                mix["photos"],
                [(name, count, 100 * count / mix["photos"], colors[name]) for name, count in parts],
            )
        )
    shown, all_rows = truncated(rows)
    return StackedBarChart(finding, what, heading, shown, all_rows)
