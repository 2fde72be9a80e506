"""Charts as SVG that takes its colours and its type from the page around it, so that light and dark both suit."""

import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

# Colours that stand for what the page's style sheet decides.
INK, FAINT = "#010203", "#040506"
SERIES = ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05", "#0a0b06")
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1)), (0, (1, 1)))
VARIABLES = {INK: "var(--ink)", FAINT: "var(--line)"} | {
    colour: f"var(--series-{index})" for index, colour in enumerate(SERIES, start=1)
}

STYLE: Any = {
    "svg.fonttype": "none",  # letters stay letters: they can be read aloud and searched
    "svg.hashsalt": "planespotter",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def reliability_chart(
    curves: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.int64]]], what: str
) -> str:
    """Draw the share that is right over the mean probability, for each of `curves` from `metrics.reliability`."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes(f"probability of the {what}", "share that is right")
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8)
        for index, (name, (said, true, _)) in enumerate(curves.items()):
            axes.plot(said, true, color=SERIES[index], linestyle=DASHES[index], marker="os^v"[index], ms=4, label=name)
        low = min(0.5, *(float(min(said.min(), true.min())) for said, true, _ in curves.values()))
        axes.set(xlim=(max(0, low - 0.05), 1.01), ylim=(max(0, low - 0.05), 1.01))
        axes.legend(loc="upper left")
        said, true, photos = list(curves.values())[-1]
        words = ", ".join(f"{s:.0%} said {t:.0%} right" for s, t in zip(said[::4], true[::4], strict=True))
        return _svg(figure, f"Reliability of the {what} in {len(photos)} groups of photos, calibrated: {words}.")


def risk_coverage_chart(curves: Mapping[str, NDArray[np.floating]]) -> str:
    """Draw the share of wrong answers over the share of photos answered, for each of `curves`, risks by rank."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes("share of photos answered, the surest first", "share of these that is wrong")
        words = []
        for index, (name, risks) in enumerate(curves.items()):
            coverage = np.arange(1, len(risks) + 1) / len(risks)
            shown = np.unique(np.linspace(0, len(risks) - 1, 300).astype(int))
            axes.plot(coverage[shown], risks[shown], color=SERIES[index], linestyle=DASHES[index], label=name)
            words.append(f"{name}: {risks[(len(risks) - 1) // 2]:.1%} wrong at half the photos, {risks[-1]:.1%} at all")
        axes.set(xlim=(0, 1), ylim=(0, None))
        axes.legend(loc="best")
        return _svg(figure, f"Risk and coverage. {'; '.join(words)}.")


def epochs_chart(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], what: str, *, share: bool) -> str:
    """Draw `what` over the epochs, for each of `curves`, (epochs, values)."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes("epoch", what, share_x=False, share_y=share)
        words = []
        for index, (name, (epochs, values)) in enumerate(curves.items()):
            style: dict[str, Any] = {"color": SERIES[index % len(SERIES)], "linestyle": DASHES[index % len(DASHES)]}
            axes.plot(epochs, values, marker="o" if len(values) == 1 else None, label=name, **style)
            words.append(f"{name}: {values[0]:.3g} to {values[-1]:.3g}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="best")
        return _svg(figure, f"{what} by epoch. {'; '.join(words)}.")


def _axes(x: str, y: str, *, share_x: bool = True, share_y: bool = True) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    axes.set(xlabel=x, ylabel=y)
    if share_x:
        axes.xaxis.set_major_formatter("{x:.0%}")
    if share_y:
        axes.yaxis.set_major_formatter("{x:.0%}")
    return figure, axes


def _svg(figure: Figure, words: str) -> str:
    """Return the figure as an <svg> element that says `words` to those who do not see it."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", svg)  # the page's own type
    prefix = re.sub(r"\W+", "-", words[:40].lower())
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)  # so that two charts in a page do not share names
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| version="[^"]*"', "", svg).replace("xlink:href", "href")
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(words)}"', 1)
