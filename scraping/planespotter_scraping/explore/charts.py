"""Charts: the theme of the package, and plots with two axes as SVG (matplotlib).

The theme is one palette for constructors and one matplotlib style. Colors pass through matplotlib as placeholders and
become CSS variables of the page, so one SVG fits the light and the dark theme. Text stays text, so it can be read,
searched and copied.
"""

import io
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from planespotter_scraping.catalog.stats import NETWORK_SIDE, SizeCount

# CSS variables of page.css. Constructors without a color are gray (s0); every chart is clear without its colors.
CONSTRUCTOR_COLORS = {"Airbus": "s1", "Boeing": "s2"}
FURTHER_COLORS = ("s3", "s4")
COLORS = {
    "ink": "#010101",
    "muted": "#020202",
    "rule": "#030303",
    "s1": "#040404",
    "s2": "#050505",
    "bg": "#060606",
}
WIDTH, HEIGHT = 400, 256  # points, which are the units of the SVG
FONT_SIZE = 12.5  # points
MAX_BUBBLES = 500
PLAIN = FuncFormatter(lambda value, _: f"{value:,.0f}")
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": FONT_SIZE,
    "text.parse_math": False,  # the name of a source may contain "$"
    "text.color": COLORS["ink"],
    "axes.edgecolor": COLORS["rule"],
    "axes.labelcolor": COLORS["muted"],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLORS["rule"],
    "grid.linewidth": 0.8,
    "xtick.color": COLORS["rule"],
    "ytick.color": COLORS["rule"],
    "xtick.labelcolor": COLORS["muted"],
    "ytick.labelcolor": COLORS["muted"],
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.minor.size": 0,
}


def constructor_colors(constructors: Iterable[str]) -> dict[str, str]:
    """Return the color of each constructor, and gray for the name "" (unknown)."""
    colors, free = {"": "s0"}, list(FURTHER_COLORS)
    for name in constructors:
        if name and name not in colors:
            colors[name] = CONSTRUCTOR_COLORS.get(name) or (free.pop(0) if free else "s0")
    return colors


def rank_plot(counts: list[int], half: int, first: str, alt: str) -> Markup:
    """Plot counts by rank on logarithmic axes.

    Args:
        counts: Photos of each airline, descending.
        half: Number of airlines that together have half of the photos.
        first: Name of the first airline.
        alt: Alt text.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.loglog(range(1, len(counts) + 1), counts, color=COLORS["s1"], marker="o", markersize=3.5, linewidth=1)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("airline, by rank")
        _title(axes, "photos")
        for axis, largest in ((axes.xaxis, len(counts)), (axes.yaxis, counts[0])):
            axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if largest < 50 else (1,)))
            axis.set_major_formatter(PLAIN)
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlim(0.85, len(counts) * 1.3)
        axes.set_ylim(0.8, counts[0] * 2.4)
        axes.annotate(_short(first), (1, counts[0]), (-2, 7), textcoords="offset points")
        axes.axvline(half, color=COLORS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        left = math.log(half) > 0.4 * math.log(len(counts))  # there is space below the curve, else above it
        axes.annotate(
            f"half of the photos:\n{half} airline{'s' * (half != 1)}",
            (half, axes.get_ylim()[not left]),
            (-7 if left else 7, 6 if left else -2),
            textcoords="offset points",
            ha="right" if left else "left",
            va="bottom" if left else "top",
            color=COLORS["muted"],
        )

    return _svg("ranks", draw, alt)


def size_plot(dimensions: list[SizeCount], alt: str) -> Markup:
    """Plot widths and heights of the images, as bubbles whose area is the number of photos."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        bubbles = _merge(dimensions)
        largest = max(bubbles.values())
        centers = sorted(bubbles, key=lambda center: -bubbles[center])  # small bubbles on top
        axes.scatter(
            [width for width, _ in centers],
            [height for _, height in centers],
            s=[8 + 700 * bubbles[center] / largest for center in centers],
            color=COLORS["s1"],
            alpha=0.45,
            linewidths=0,
        )
        width, height = (max(center[side] for center in centers) for side in (0, 1))
        axes.set_xlim(0, max(width, NETWORK_SIDE) * 1.12)
        axes.set_ylim(0, max(height, NETWORK_SIDE) * 1.18)
        axes.plot(
            [NETWORK_SIDE, NETWORK_SIDE, axes.get_xlim()[1]], [axes.get_ylim()[1], NETWORK_SIDE, NETWORK_SIDE],
            color=COLORS["muted"], linewidth=1, linestyle=(0, (4, 3)),
        )  # fmt: skip
        dashed = f"dashed: from {NETWORK_SIDE} \u00d7 {NETWORK_SIDE}"
        axes.set_title(dashed, loc="right", fontsize=FONT_SIZE, color=COLORS["muted"], pad=8)
        axes.set_xlabel("width, pixels")
        _title(axes, "height, pixels")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
            axis.set_major_formatter(PLAIN)

    return _svg("sizes", draw, alt)


def side_histogram(bins: list[tuple[int, int, int]], alt: str) -> Markup:
    """Plot a histogram of the shorter sides; each bin is its first and last side in pixels and its photos."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for low, high, photos in bins:
            color = COLORS["s2" if high < NETWORK_SIDE else "s1"]
            axes.bar(low, photos, width=(high + 1 - low) * 0.94, align="edge", color=color, linewidth=0)
        axes.grid(visible=False, axis="x")
        axes.set_xlim(0, max(bins[-1][1], NETWORK_SIDE) * 1.15)
        axes.set_ylim(0, max(photos for *_, photos in bins) * 1.22)
        axes.axvline(NETWORK_SIDE, color=COLORS["ink"], linewidth=1)
        top = axes.get_ylim()[1]
        below = sum(photos for low, _, photos in bins if low < NETWORK_SIDE)
        above = sum(photos for *_, photos in bins) - below
        for text, side, offset in ((f"below {NETWORK_SIDE}: {below:,}", "right", -6), (f"{above:,}", "left", 6)):
            axes.annotate(text, (NETWORK_SIDE, top), (offset, -2), textcoords="offset points", ha=side, va="top")
        axes.set_xlabel("shorter side, pixels")
        _title(axes, "photos")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(PLAIN)
        axes.yaxis.set_major_formatter(PLAIN)

    return _svg("sides", draw, alt)


def time_plot(name: str, times: list[str], series: dict[str, list[int]], alt: str) -> Markup:
    """Plot a row of bars for each series, all on one scale.

    Args:
        name: Unique name of the plot.
        times: Labels of the bars, such as 2026-11 or 2026.
        series: Counts at each of `times`, by name.
        alt: Alt text.
    """

    def draw(figure: Figure) -> None:
        rows = figure.subplots(len(series), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, (label, counts) in zip(rows, series.items(), strict=True):
            axes.bar(range(len(times)), counts, width=0.82, color=COLORS["s1"], linewidth=0)
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
    """Return bins of the shorter side of equal width: first and last side, and photos. A bin starts at NETWORK_SIDE."""
    sides = [(min(row["width"], row["height"]), row["photos"]) for row in dimensions]
    largest = max(side for side, _ in sides)
    step = next((step for step in (8, 16, 32, 56, 112) if largest < 40 * step), NETWORK_SIDE)
    counts: dict[int, int] = {}
    for side, photos in sides:
        counts[side // step] = counts.get(side // step, 0) + photos
    return [(index * step, index * step + step - 1, counts[index]) for index in sorted(counts)]


def _merge(dimensions: list[SizeCount]) -> dict[tuple[float, float], int]:
    """Return the photos at each width and height; more than MAX_BUBBLES sizes are merged in a grid."""
    step = 1 if len(dimensions) <= MAX_BUBBLES else max(max(row["width"], row["height"]) for row in dimensions) // 24
    merged: dict[tuple[float, float], int] = {}
    for row in dimensions:
        center = tuple((side // step + 0.5) * step if step > 1 else side for side in (row["width"], row["height"]))
        merged[center[0], center[1]] = merged.get((center[0], center[1]), 0) + row["photos"]
    return merged


def _title(axes: Axes, text: str) -> None:
    """Set the title of the vertical axis above it, in horizontal text."""
    axes.set_title(text, loc="left", fontsize=FONT_SIZE, color=COLORS["muted"], pad=8)


def _short(text: str, length: int = 24) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _svg(name: str, draw: Callable[[Figure], None], alt: str, height: int = HEIGHT) -> Markup:
    """Return the plot as an SVG element; equal plots yield equal text."""
    output = io.StringIO()
    settings: dict[Any, Any] = {**mpl.rcParamsDefault, **STYLE, "svg.hashsalt": name}
    del settings["backend"]  # no window is opened
    with mpl.rc_context(settings):
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        draw(figure)
        figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = output.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # ids of two plots would collide
    svg = re.sub(r"font-family: [^;\"]*; ", "", svg)
    for color, placeholder in COLORS.items():
        svg = svg.replace(placeholder, f"var(--{color})")
    view = re.search(r'viewBox="([^"]*)"', svg)
    assert view is not None  # matplotlib always writes it
    body = svg[svg.index(">") + 1 :]
    return Markup(f'<svg viewBox="{view[1]}" role="img" aria-label="{escape(alt)}">{body}')
