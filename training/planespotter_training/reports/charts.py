"""Charts with matplotlib in one theme: as SVG that takes colours and font from its page, or as stand-alone SVG and PNG.

A chart in a page follows its light or dark style sheet.
"""

import html
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1)), (0, (1, 1)))


@dataclass(frozen=True)
class Palette:
    """The colours of a chart."""

    ink: str
    line: str
    series: tuple[str, ...]


# Placeholders for the variables of a page's style sheet.
PAGE = Palette("#010203", "#040506", ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05", "#0a0b06"))
VARIABLES = {PAGE.ink: "var(--ink)", PAGE.line: "var(--line)"} | {
    colour: f"var(--series-{index})" for index, colour in enumerate(PAGE.series, start=1)
}
# The light colours of templates/base.html.
LIGHT = Palette("#1c2126", "#dfe3e6", ("#b4541a", "#1f5fa8", "#2f7d4f", "#7b3fa0", "#8a6d00", "#a02f5f"))

Curve = tuple[Sequence[float], Sequence[float]]
"""Epochs and values; NaN is a gap."""


@dataclass(frozen=True)
class Rendered:
    """A chart for a page, and the same as stand-alone files."""

    page_svg: str
    svg: str
    png: bytes


def reliability_chart(
    curves: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.int64]]], what: str
) -> str:
    """Draw a reliability diagram: accuracy over confidence, for each of `curves` (from `reliability`)."""
    with _theme(PAGE):
        figure, axes = _axes(f"confidence in the {what}", "accuracy")
        axes.plot([0, 1], [0, 1], color=PAGE.ink, linewidth=0.8)
        for index, (name, (confidence, accuracy, _)) in enumerate(curves.items()):
            style: dict[str, Any] = {"linestyle": DASHES[index], "marker": "os^v"[index], "ms": 4}
            axes.plot(confidence, accuracy, color=PAGE.series[index], label=name, **style)
        low = min(0.5, *(float(min(x.min(), y.min())) for x, y, _ in curves.values()))
        axes.set(xlim=(max(0, low - 0.05), 1.01), ylim=(max(0, low - 0.05), 1.01))
        axes.legend(loc="upper left")
        confidence, accuracy, photos = list(curves.values())[-1]
        points = ", ".join(f"{y:.0%} at {x:.0%}" for x, y in zip(confidence[::4], accuracy[::4], strict=True))
        description = f"Reliability of the {what}, calibrated, in {len(photos)} bins. Accuracy at confidence: {points}."
        return _page_svg(figure, description)


def risk_coverage_chart(curves: Mapping[str, NDArray[np.floating]]) -> str:
    """Draw risk-coverage curves: the error rate over the share of photos, the most confident first."""
    with _theme(PAGE):
        figure, axes = _axes("coverage, the most confident first", "error rate")
        descriptions = []
        for index, (name, risks) in enumerate(curves.items()):
            coverage = np.arange(1, len(risks) + 1) / len(risks)
            shown = np.unique(np.linspace(0, len(risks) - 1, 300).astype(int))
            axes.plot(coverage[shown], risks[shown], color=PAGE.series[index], linestyle=DASHES[index], label=name)
            half = risks[(len(risks) - 1) // 2]
            descriptions.append(f"{name}: {half:.1%} wrong at half the photos, {risks[-1]:.1%} at all")
        axes.set(xlim=(0, 1), ylim=(0, None))
        axes.legend(loc="best")
        return _page_svg(figure, f"Risk and coverage. {'; '.join(descriptions)}.")


def epochs_chart(curves: Mapping[str, Curve], what: str, *, share: bool) -> str:
    """Draw `what` over the epochs for each of `curves`; `share` shows values in per cent."""
    with _theme(PAGE):
        figure, axes = _axes("epoch", what, share_x=False, share_y=share)
        descriptions = []
        for index, (name, (epochs, values)) in enumerate(curves.items()):
            _plot_epochs(axes, (epochs, values), PAGE, index, name)
            descriptions.append(f"{name}: {values[0]:.3g} to {values[-1]:.3g}")
        axes.legend(loc="best")
        return _page_svg(figure, f"{what} by epoch. {'; '.join(descriptions)}.")


def epochs_grid(panels: Mapping[str, Mapping[str, Mapping[str, Curve]]]) -> Rendered:
    """Draw a grid of epoch charts: a column for each of `panels`, a row for each metric, and its curves by name.

    A metric with "accuracy" in its name is shown in per cent.
    """

    def draw(palette: Palette) -> Figure:
        metrics = list(next(iter(panels.values())))
        figure = Figure(figsize=(3 * len(panels), 5.4), layout="constrained")
        axes = figure.subplots(len(metrics), len(panels), sharex="col", sharey="row", squeeze=False)
        for column, (name, curves_by_metric) in enumerate(panels.items()):
            for row, (metric, curves) in enumerate(curves_by_metric.items()):
                for index, (label, curve) in enumerate(curves.items()):
                    _plot_epochs(axes[row][column], curve, palette, index, label)
                axes[row][0].set_ylabel(metric)
                if "accuracy" in metric:
                    axes[row][0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes[0][column].set_title(name)
            axes[-1][column].set_xlabel("epoch")
        axes[0][0].legend()
        return figure

    return _render(draw, f"Metrics by epoch of {', '.join(panels)}.")


def _plot_epochs(axes: Axes, curve: Curve, palette: Palette, index: int, name: str) -> None:
    epochs, values = curve
    style: dict[str, Any] = {
        "color": palette.series[index % len(palette.series)],
        "linestyle": DASHES[index % len(DASHES)],
        "marker": "o" if len(values) == 1 else None,  # a line of one point would be invisible
    }
    axes.plot(epochs, values, label=name, **style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _axes(x: str, y: str, *, share_x: bool = True, share_y: bool = True) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    if share_x:
        axes.xaxis.set_major_formatter("{x:.0%}")
    if share_y:
        axes.yaxis.set_major_formatter("{x:.0%}")
    return figure, axes


@contextmanager
def _theme(palette: Palette) -> Iterator[None]:
    style: Any = {
        "svg.fonttype": "none",  # text stays text: it can be read aloud and searched
        "svg.hashsalt": "planespotter",
        "font.size": 9,
        "axes.edgecolor": palette.ink,
        "axes.labelcolor": palette.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": palette.line,
        "grid.linewidth": 0.6,
        "text.color": palette.ink,
        "xtick.color": palette.ink,
        "ytick.color": palette.ink,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
    }
    with mpl.rc_context(style):
        yield


def _render(draw: Callable[[Palette], Figure], description: str) -> Rendered:
    with _theme(PAGE):
        page_svg = _page_svg(draw(PAGE), description)
    with _theme(LIGHT):
        figure, png = draw(LIGHT), io.BytesIO()
        figure.savefig(png, dpi=150, format="png")
        return Rendered(page_svg, _svg(figure), png.getvalue())


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    return file.getvalue()


def _page_svg(figure: Figure, description: str) -> str:
    """Return the figure as an <svg> element with a description for screen readers."""
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    svg = _svg(figure)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", svg)  # the page's font
    prefix = re.sub(r"\W+", "-", description[:40].lower())
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)  # ids must be unique in a page of several charts
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| version="[^"]*"', "", svg).replace("xlink:href", "href")
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(description)}"', 1)
