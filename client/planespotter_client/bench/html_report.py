"""HTML report: the results as a self-contained page with charts, in a light or dark theme."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from planespotter_client.bench.console_report import HEADINGS, MIB, cells, format_duration, notes
from planespotter_client.bench.sweep import Step

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 12, 44
# Dash patterns also distinguish the lines, for people who cannot tell the colors apart.
DASHES = ("", "7 3", "2 3", "9 3 2 3")
COLORS = 6
MAX_LINES = 12
MAX_MARKED_POINTS = 16
# Shorter loads have no chart by second.
MIN_SECONDS = 5

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #d0d7de; --soft: #57606a;
  --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df; --c4: #bf3989; --c5: #7d4e00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --faint: #30363d; --soft: #9198a1;
  --c0: #4493f8; --c1: #f0883e; --c2: #3fb950; --c3: #ab7df8; --c4: #db61a2; --c5: #d29922; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid var(--faint); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } figure { margin: 1rem 0; }
figcaption, footer { color: var(--soft); font-size: .9rem; } svg { width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; } svg .grid { stroke: var(--faint); }
svg .line { fill: none; stroke-width: 2; }
"""

Ticks = Sequence[tuple[float, str]]
"""Positions on an axis with their labels."""


@dataclass(frozen=True)
class Line:
    """A line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """A line chart. With `log_y`, y is a positive time in seconds; `x_scale` maps x to its position."""

    title: str
    caption: str
    lines: Sequence[Line]
    x_label: str
    y_label: str
    x_ticks: Ticks | None = None
    x_scale: Callable[[float], float] = float
    log_y: bool = False


def html_report(steps: Sequence[Step], context: dict[str, Any]) -> str:
    """Return the page. `context` describes the server, model and photos."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>planespotter load test</title><style>{STYLE}</style></head><body>",
        "<h1>planespotter load test</h1>",
        f"<p>{escape('; '.join(f'{name}: {value}' for name, value in context.items()))}</p>",
        *(f"<p>{escape(note)}</p>" for note in notes(steps)),
        _table(steps),
        *map(_svg_figure, _charts(steps)),
        "<footer><p>Latency is measured from the time at which a photo was scheduled. done/s counts predictions, in "
        "time is the share within the deadline.</p></footer>",
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _table(steps: Sequence[Step]) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in HEADINGS)
    rows = ["".join(f"<td>{escape(cell)}</td>" for cell in cells(step)) for step in steps]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _charts(steps: Sequence[Step]) -> list[Chart]:
    shown = steps if len(steps) <= MAX_LINES else steps[:: math.ceil(len(steps) / MAX_LINES)]
    charts = [
        Chart(
            "Latency distribution",
            "For each share of photos, the latency that they do not exceed.",
            [Line(step.name, _distribution(step)) for step in shown],
            "share of photos",
            "latency",
            x_ticks=[(_nines(percent), f"{percent:g} %") for percent in (10, 50, 90, 99, 99.9)],
            log_y=True,
        )
    ]
    closed = [step for step in steps if step.load.rate is None]
    open_loop = [step for step in steps if step.load.rate is not None]
    if len(closed) > 1:
        points = [(float(step.load.callers), step.measurements.throughput) for step in closed]
        goodput = [(float(step.load.callers), step.measurements.goodput) for step in closed]
        charts.append(
            Chart(
                "Throughput by callers",
                "Predictions per second, and those within the deadline.",
                [Line("throughput", points), Line("goodput", goodput)],
                "callers",
                "photos/s",
                x_ticks=[(math.log2(x), f"{x:g}") for x, _ in points],
                x_scale=math.log2,
            )
        )
    if len(open_loop) > 1:
        results = [step.measurements for step in open_loop]
        charts.append(
            Chart(
                "Throughput by offered load",
                "Predictions per second, and those within the deadline, by the photos sent per second.",
                [
                    Line("throughput", [(each.offered, each.throughput) for each in results]),
                    Line("goodput", [(each.offered, each.goodput) for each in results]),
                    Line("sent", [(each.offered, each.offered) for each in results]),
                ],
                "photos sent per second",
                "photos/s",
            )
        )
    return charts + [chart for step in steps for chart in _time_series(step)]


def _time_series(step: Step) -> list[Chart]:
    seconds = sorted(step.measurements.by_second.items())
    charts = []
    if len(seconds) >= MIN_SECONDS:
        fields = {"sent": "sent", "throughput": "answered", "goodput": "within_deadline", "errors": "failed"}
        lines = [
            Line(name, [(float(number), float(getattr(second, field))) for number, second in seconds])
            for name, field in fields.items()
        ]
        charts.append(Chart(f"{step.name}: by second", "Photos in each second.", lines, "seconds", "photos/s"))
    if len(step.memory) > 1:
        memory = Line("memory", [(second, size / MIB) for second, size in step.memory])
        title = f"{step.name}: memory of the server"
        charts.append(Chart(title, "Resident memory of the server process.", [memory], "seconds", "MiB"))
    return charts


def _nines(percent: float) -> float:
    """Return the position of a percentile on an axis on which each further nine takes the same space."""
    return -math.log10(1 - percent / 100)


def _distribution(step: Step) -> list[tuple[float, float]]:
    latencies = step.measurements.latencies
    max_share = 1 - 1 / max(2, latencies.total)  # the largest that the number of photos resolves
    nines = [nines for nines in (i / 10 for i in range(1, 40)) if 1 - 10**-nines <= max_share]
    points = [(x, latencies.percentile(100 * (1 - 10**-x))) for x in nines]
    return [(x, y) for x, y in points if not math.isnan(y)]


@dataclass(frozen=True)
class _Axes:
    """The ranges of a chart, and the pixels of a point."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def pixels(self, x: float, y: float) -> tuple[float, float]:
        (x_min, x_max), (y_min, y_max) = self.x_range, self.y_range
        right = (x - x_min) / ((x_max - x_min) or 1.0)
        up = (y - y_min) / ((y_max - y_min) or 1.0)
        return LEFT + right * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _svg_figure(chart: Chart) -> str:
    """Return a chart as a figure with a description for screen readers; "" if it has no points."""
    lines = [
        Line(line.name, [(chart.x_scale(x), math.log10(max(y, 1e-6)) if chart.log_y else y) for x, y in line.points])
        for line in chart.lines
        if line.points
    ]
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    x_min = min(x for x, _ in points) if chart.x_ticks else 0.0
    x_max = max(x for x, _ in points)
    if chart.log_y:
        powers = range(math.floor(min(y for _, y in points)), math.ceil(max(y for _, y in points) + 1e-9) + 1)
        y_ticks = [(float(power), format_duration(10.0**power)) for power in powers]
        y_min, y_max = float(powers[0]), float(powers[-1])
    else:
        y_ticks = _linear_ticks(max(y for _, y in points) or 1.0)
        y_min, y_max = 0.0, y_ticks[-1][0]
    axes = _Axes((x_min, x_max), (y_min, y_max))
    x_ticks = _linear_ticks(x_max) if chart.x_ticks is None else chart.x_ticks
    marks = [*_axis_marks(axes, x_ticks, y_ticks, chart.x_label), *_line_marks(axes, lines)]
    descriptions = "; ".join(_describe(line, chart.log_y) for line in chart.lines)
    label = f"{chart.title}. {chart.caption} {chart.y_label} by {chart.x_label}; {descriptions}"
    return (
        f"<h2>{escape(chart.title)}</h2><figure>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(marks)}</svg>'
        f"<figcaption>{escape(f'{chart.caption} Vertical: {chart.y_label}.')}</figcaption></figure>"
    )


def _axis_marks(axes: _Axes, x_ticks: Ticks, y_ticks: Ticks, x_label: str) -> list[str]:
    x_min, x_max = axes.x_range
    marks = []
    for y, text in y_ticks:
        height = axes.pixels(x_min, y)[1]
        marks.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
        marks.append(f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    for x, text in x_ticks:
        if x_min - 1e-9 <= x <= x_max + 1e-9:
            left = axes.pixels(x, axes.y_range[0])[0]
            marks.append(f'<text x="{left:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{escape(text)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    marks.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    return marks


def _line_marks(axes: _Axes, lines: Sequence[Line]) -> list[str]:
    """Return the lines, with points if they are few, and the legend."""
    marks = []
    for index, line in enumerate(lines):
        color = f"var(--c{index % COLORS})"
        dash = DASHES[index // COLORS % len(DASHES)] if len(lines) > COLORS else DASHES[index % len(DASHES)]
        pixels = [axes.pixels(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        marks.append(f'<polyline class="line" points="{path}" style="stroke:{color}" stroke-dasharray="{dash}"/>')
        if len(pixels) <= MAX_MARKED_POINTS:
            marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:{color}"/>' for x, y in pixels]
        height = TOP + 10 + 18 * index
        marks.append(
            f'<line x1="{WIDTH - RIGHT + 10}" x2="{WIDTH - RIGHT + 30}" y1="{height}" y2="{height}" class="line" '
            f'style="stroke:{color}" stroke-dasharray="{dash}"/>'
            f'<text x="{WIDTH - RIGHT + 34}" y="{height + 4}">{escape(_shorten(line.name))}</text>'
        )
    return marks


def _describe(line: Line, is_time: bool) -> str:
    values = [y for _, y in line.points]
    if not values:
        return f"{line.name}: not measured"
    low, high = min(values), max(values)
    return f"{line.name}: from {format_duration(low) if is_time else f'{low:,.4g}'} to " + (
        format_duration(high) if is_time else f"{high:,.4g}"
    )


def _shorten(name: str, limit: int = 17) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def _linear_ticks(maximum: float) -> list[tuple[float, str]]:
    return [(tick, f"{tick:,.4g}") for tick in _round_ticks(maximum)]


def _round_ticks(maximum: float) -> list[float]:
    """Return about five round numbers from 0 to `maximum` or just above it."""
    step = 10 ** math.floor(math.log10(max(maximum, 1e-9) / 4))
    for factor in (1, 2, 5, 10):
        if maximum / (step * factor) <= 5:
            step *= factor
            break
    return [step * number for number in range(math.ceil(maximum / step - 1e-9) + 1)]
