"""Charts with two axes, drawn by matplotlib as SVG that takes its colours and its font from the page.

Colours go through matplotlib as stand-ins, and come out as the page's CSS variables: one drawing is right in light and
in dark. Text stays text, so that it can be read, searched and copied.
"""

import io
import math
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from planespotter_scraping.catalog.stats import NETWORK_SIDE, SizeCount

STAND_INS = {"ink": "#010101", "muted": "#020202", "rule": "#030303", "s1": "#040404", "s2": "#050505", "bg": "#060606"}
WIDTH, HEIGHT = 400, 256  # in points, which become the units of the SVG: a phone shows them a little smaller
TEXT = 12.5
MOST_BUBBLES = 500
PLAIN = FuncFormatter(lambda value, _: f"{value:,.0f}")
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": TEXT,
    "text.parse_math": False,  # a source may be called "$"
    "text.color": STAND_INS["ink"],
    "axes.edgecolor": STAND_INS["rule"],
    "axes.labelcolor": STAND_INS["muted"],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": STAND_INS["rule"],
    "grid.linewidth": 0.8,
    "xtick.color": STAND_INS["rule"],
    "ytick.color": STAND_INS["rule"],
    "xtick.labelcolor": STAND_INS["muted"],
    "ytick.labelcolor": STAND_INS["muted"],
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.minor.size": 0,
}


def ranks(counts: list[int], half: int, first: str, alt: str) -> Markup:
    """Draw how often each value occurs, by its rank, both on logarithmic axes; `half` of them have half of it all."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.loglog(range(1, len(counts) + 1), counts, color=STAND_INS["s1"], marker="o", markersize=3.5, linewidth=1)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("airline, by rank")
        _title(axes, "photos")
        for axis, most in ((axes.xaxis, len(counts)), (axes.yaxis, counts[0])):
            axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if most < 50 else (1,)))
            axis.set_major_formatter(PLAIN)
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlim(0.85, len(counts) * 1.3)
        axes.set_ylim(0.8, counts[0] * 2.4)
        axes.annotate(_short(first), (1, counts[0]), (-2, 7), textcoords="offset points")
        axes.axvline(half, color=STAND_INS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        left = math.log(half) > 0.4 * math.log(len(counts))  # the curve leaves room below it there, else above it
        axes.annotate(
            f"half of the photos:\n{half} airline{'s' * (half != 1)}",
            (half, axes.get_ylim()[not left]),
            (-7 if left else 7, 6 if left else -2),
            textcoords="offset points",
            ha="right" if left else "left",
            va="bottom" if left else "top",
            color=STAND_INS["muted"],
        )

    return _svg("ranks", draw, alt)


def sizes(dimensions: list[SizeCount], alt: str) -> Markup:
    """Draw the images' widths and heights, as bubbles whose area is the number of photos."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        bubbles = _merge(dimensions)
        most = max(bubbles.values())
        places = sorted(bubbles, key=lambda place: -bubbles[place])  # the small ones on top
        axes.scatter(
            [width for width, _ in places],
            [height for _, height in places],
            s=[8 + 700 * bubbles[place] / most for place in places],
            color=STAND_INS["s1"],
            alpha=0.45,
            linewidths=0,
        )
        wide, high = (max(place[side] for place in places) for side in (0, 1))
        axes.set_xlim(0, max(wide, NETWORK_SIDE) * 1.12)
        axes.set_ylim(0, max(high, NETWORK_SIDE) * 1.18)
        axes.plot(
            [NETWORK_SIDE, NETWORK_SIDE, axes.get_xlim()[1]], [axes.get_ylim()[1], NETWORK_SIDE, NETWORK_SIDE],
            color=STAND_INS["muted"], linewidth=1, linestyle=(0, (4, 3)),
        )  # fmt: skip
        dashed = f"dashed: from {NETWORK_SIDE} \u00d7 {NETWORK_SIDE}"
        axes.set_title(dashed, loc="right", fontsize=TEXT, color=STAND_INS["muted"], pad=8)
        axes.set_xlabel("width, pixels")
        _title(axes, "height, pixels")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
            axis.set_major_formatter(PLAIN)

    return _svg("sizes", draw, alt)


def sides(bins: list[tuple[int, int, int]], alt: str) -> Markup:
    """Draw a histogram of the images' smallest sides; each of `bins` is its first and last side and its photos."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for low, high, photos in bins:
            colour = STAND_INS["s2" if high < NETWORK_SIDE else "s1"]
            axes.bar(low, photos, width=(high + 1 - low) * 0.94, align="edge", color=colour, linewidth=0)
        axes.grid(visible=False, axis="x")
        axes.set_xlim(0, max(bins[-1][1], NETWORK_SIDE) * 1.15)
        axes.set_ylim(0, max(photos for *_, photos in bins) * 1.22)
        axes.axvline(NETWORK_SIDE, color=STAND_INS["ink"], linewidth=1)
        top = axes.get_ylim()[1]
        below = sum(photos for low, _, photos in bins if low < NETWORK_SIDE)
        above = sum(photos for *_, photos in bins) - below
        for text, side, offset in ((f"under {NETWORK_SIDE}: {below:,}", "right", -6), (f"{above:,}", "left", 6)):
            axes.annotate(text, (NETWORK_SIDE, top), (offset, -2), textcoords="offset points", ha=side, va="top")
        axes.set_xlabel("smallest side, pixels")
        _title(axes, "photos")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(PLAIN)
        axes.yaxis.set_major_formatter(PLAIN)

    return _svg("sides", draw, alt)


def over_time(name: str, times: list[str], series: dict[str, list[int]], alt: str) -> Markup:
    """Draw one row of bars for each of `series`, all on one scale; `times` names their places, as 2026-11 or 2026."""

    def draw(figure: Figure) -> None:
        rows = figure.subplots(len(series), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, (label, counts) in zip(rows, series.items(), strict=True):
            axes.bar(range(len(times)), counts, width=0.82, color=STAND_INS["s1"], linewidth=0)
            axes.grid(visible=False, axis="x")
            _title(axes, f"{_short(label, 32)}: {sum(counts):,} photos")
            axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
            axes.yaxis.set_major_formatter(PLAIN)
            axes.set_ylim(0)
            axes.margins(x=0.02)
        step = -(-len(times) // 5)
        rows[-1].set_xticks(range(0, len(times), step), times[::step])

    return _svg(name, draw, alt, height=110 + 90 * len(series))


def histogram(dimensions: list[SizeCount]) -> list[tuple[int, int, int]]:
    """Return bins of the smallest side, first and last side and photos, all as wide; 224 begins one of them."""
    smallest = [(min(row["width"], row["height"]), row["photos"]) for row in dimensions]
    largest = max(side for side, _ in smallest)
    step = next((step for step in (8, 16, 32, 56, 112) if largest < 40 * step), NETWORK_SIDE)
    counts: dict[int, int] = {}
    for side, photos in smallest:
        counts[side // step] = counts.get(side // step, 0) + photos
    return [(place * step, place * step + step - 1, counts[place]) for place in sorted(counts)]


def _merge(dimensions: list[SizeCount]) -> dict[tuple[float, float], int]:
    """Return the photos at each width and height; of very many sizes, those that lie together as one."""
    step = 1 if len(dimensions) <= MOST_BUBBLES else max(max(row["width"], row["height"]) for row in dimensions) // 24
    merged: dict[tuple[float, float], int] = {}
    for row in dimensions:
        place = tuple((side // step + 0.5) * step if step > 1 else side for side in (row["width"], row["height"]))
        merged[place[0], place[1]] = merged.get((place[0], place[1]), 0) + row["photos"]
    return merged


def _title(axes: Axes, text: str) -> None:
    """Name what an axis counts above it, to the left: nothing to turn the head for."""
    axes.set_title(text, loc="left", fontsize=TEXT, color=STAND_INS["muted"], pad=8)


def _short(text: str, most: int = 24) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(name: str, draw: Callable[[Figure], None], alt: str, height: int = HEIGHT) -> Markup:
    """Return what `draw` draws as an SVG element for the page; the same drawing gives the same text."""
    output = io.StringIO()
    settings: dict[Any, Any] = {**mpl.rcParamsDefault, **STYLE, "svg.hashsalt": name}
    del settings["backend"]  # nothing is shown in a window
    with mpl.rc_context(settings):
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        draw(figure)
        figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = output.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # those of two drawings would be the same
    svg = re.sub(r"font-family: [^;\"]*; ", "", svg)
    for colour, stand_in in STAND_INS.items():
        svg = svg.replace(stand_in, f"var(--{colour})")
    view = re.search(r'viewBox="([^"]*)"', svg)
    assert view is not None  # matplotlib always writes it
    body = svg[svg.index(">") + 1 :]
    return Markup(f'<svg viewBox="{view[1]}" role="img" aria-label="{escape(alt)}">{body}')
