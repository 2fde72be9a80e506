"""The results as one HTML file with pictures, which needs nothing else and follows the reader's light or dark theme."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from planespotter_client.bench.console_report import MIB, duration, notes, share
from planespotter_client.bench.measurements import PERCENTILES
from planespotter_client.bench.sweep import Step

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 12, 44
# Told apart also by the kind of line, for those who do not see the colours.
DASHES = ("", "7 3", "2 3", "9 3 2 3")
COLOURS = 6
MOST_LINES = 12
# Of less time there is no picture second by second.
LEAST_SECONDS = 5

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


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]


def page(steps: Sequence[Step], about: dict[str, Any]) -> str:
    """Return the page; `about` is shown above the figures."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>planespotter under load</title><style>{STYLE}</style></head><body>",
        "<h1>planespotter under load</h1>",
        f"<p>{escape('; '.join(f'{name}: {value}' for name, value in about.items()))}</p>",
        *(f"<p>{escape(note)}</p>" for note in notes(steps)),
        _table(steps),
        *_pictures(steps),
        "<footer><p>Latency runs from the moment at which a photo was meant to be sent. done/s are answers, in time "
        "those within the deadline.</p></footer>",
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _table(steps: Sequence[Step]) -> str:
    heads = ["load", "sent/s", "done/s", "in time", *(f"p{percent:g}" for percent in PERCENTILES), "errors"]
    rows = [
        [
            step.name,
            f"{step.recording.offered:,.4g}",
            f"{step.recording.throughput:,.4g}",
            share(step.recording.in_time, step.recording.answers.total + step.recording.failures),
            *(duration(step.recording.answers.percentile(percent)) for percent in PERCENTILES),
            f"{step.recording.failures:,}",
        ]
        for step in steps
    ]
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _pictures(steps: Sequence[Step]) -> list[str]:
    some = steps if len(steps) <= MOST_LINES else steps[:: math.ceil(len(steps) / MOST_LINES)]
    pictures = [
        _picture(
            "How long answers took",
            "For each share of photos, the time within which they were answered.",
            [Line(step.name, _distribution(step)) for step in some],
            "share of photos answered",
            "latency",
            x_ticks=[(_rarity(percent), f"{percent:g} %") for percent in (10, 50, 90, 99, 99.9)],
            log_y=True,
        )
    ]
    closed = [step for step in steps if step.load.rate is None]
    opened = [step for step in steps if step.load.rate is not None]
    if len(closed) > 1:
        points = [(float(step.load.callers), step.recording.throughput) for step in closed]
        good = [(float(step.load.callers), step.recording.goodput) for step in closed]
        pictures.append(
            _picture(
                "Throughput by callers",
                "Answers per second, and those in time.",
                [Line("answers", points), Line("in time", good)],
                "callers",
                "photos/s",
                x_ticks=[(math.log2(x), f"{x:g}") for x, _ in points],
                x_of=math.log2,
            )
        )
    if len(opened) > 1:
        pictures.append(
            _picture(
                "Throughput by offered load",
                "Answers per second, and those in time, against the photos sent per second.",
                [
                    Line("answers", [(step.recording.offered, step.recording.throughput) for step in opened]),
                    Line("in time", [(step.recording.offered, step.recording.goodput) for step in opened]),
                    Line("sent", [(step.recording.offered, step.recording.offered) for step in opened]),
                ],
                "photos sent per second",
                "photos/s",
            )
        )
    for step in steps:
        pictures += _over_time(step)
    return pictures


def _over_time(step: Step) -> list[str]:
    seconds = sorted(step.recording.by_second.items())
    pictures = []
    if len(seconds) >= LEAST_SECONDS:
        lines = [
            Line(name, [(float(number), float(getattr(second, field))) for number, second in seconds])
            for name, field in (("sent", "sent"), ("answers", "answered"), ("in time", "in_time"), ("errors", "failed"))
        ]
        pictures.append(
            _picture(f"{step.name}: second by second", "Photos in each second.", lines, "seconds", "photos/s")
        )
    if len(step.memory) > 1:
        pictures.append(
            _picture(
                f"{step.name}: the server's memory",
                "Resident memory of the server's process.",
                [Line("memory", [(second, size / MIB) for second, size in step.memory])],
                "seconds",
                "MiB",
            )
        )
    return pictures


def _rarity(percent: float) -> float:
    """Return where a percentile stands on an axis that gives each further nine the same room."""
    return -math.log10(1 - percent / 100)


def _distribution(step: Step) -> list[tuple[float, float]]:
    latencies = step.recording.answers
    most = 1 - 1 / max(2, latencies.total)  # beyond it there is nothing that was measured
    shares = [share for share in (i / 10 for i in range(1, 40)) if 1 - 10**-share <= most]
    points = [(share, latencies.percentile(100 * (1 - 10**-share))) for share in shares]
    return [(x, y) for x, y in points if not math.isnan(y)]


def _picture(
    title: str,
    caption: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    x_of: Any = float,
    log_y: bool = False,
) -> str:
    """Return a chart; "" if there is nothing to draw. With `log_y`, y is in seconds and must be positive."""
    drawn = [
        Line(line.name, [(x_of(x), math.log10(max(y, 1e-6)) if log_y else y) for x, y in line.points])
        for line in lines
        if line.points
    ]
    points = [point for line in drawn for point in line.points]
    if not points:
        return ""
    x_low = min(x for x, _ in points) if x_ticks else 0.0
    x_high = max(x for x, _ in points)
    y_low = math.floor(min(y for _, y in points)) if log_y else 0.0
    y_high = math.ceil(max(y for _, y in points) + 1e-9) if log_y else max(y for _, y in points) or 1.0
    if log_y:
        y_ticks = [(float(power), duration(10.0**power)) for power in range(int(y_low), int(y_high) + 1)]
    else:
        y_ticks = [(tick, f"{tick:,.4g}") for tick in _round_ticks(y_high)]
        y_high = max(y_high, y_ticks[-1][0])
    if x_ticks is None:
        x_ticks = [(tick, f"{tick:,.4g}") for tick in _round_ticks(x_high)]

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1.0)
        up = (y - y_low) / ((y_high - y_low) or 1.0)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    marks = []
    for y, text in y_ticks:
        height = at(x_low, y)[1]
        marks.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
        marks.append(f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    for x, text in x_ticks:
        if x_low - 1e-9 <= x <= x_high + 1e-9:
            marks.append(
                f'<text x="{at(x, y_low)[0]:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{escape(text)}</text>'
            )
    marks.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
    )
    for index, line in enumerate(drawn):
        colour = f"var(--c{index % COLOURS})"
        dash = DASHES[index // COLOURS % len(DASHES)] if len(drawn) > COLOURS else DASHES[index % len(DASHES)]
        placed = [at(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        marks.append(f'<polyline class="line" points="{path}" style="stroke:{colour}" stroke-dasharray="{dash}"/>')
        if len(placed) <= 16:
            marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:{colour}"/>' for x, y in placed]
        height = TOP + 10 + 18 * index
        marks.append(
            f'<line x1="{WIDTH - RIGHT + 10}" x2="{WIDTH - RIGHT + 30}" y1="{height}" y2="{height}" class="line" '
            f'style="stroke:{colour}" stroke-dasharray="{dash}"/>'
            f'<text x="{WIDTH - RIGHT + 34}" y="{height + 4}">{escape(_short(line.name))}</text>'
        )
    said = f"{title}. {caption} {y_label} by {x_label}; " + "; ".join(_in_words(line, log_y) for line in lines)
    return (
        f"<h2>{escape(title)}</h2><figure>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}">{"".join(marks)}</svg>'
        f"<figcaption>{escape(f'{caption} Vertical: {y_label}.')}</figcaption></figure>"
    )


def _in_words(line: Line, is_time: bool) -> str:
    values = [y for _, y in line.points]
    if not values:
        return f"{line.name}: nothing measured"
    low, high = min(values), max(values)
    return f"{line.name}: from {duration(low) if is_time else f'{low:,.4g}'} to " + (
        duration(high) if is_time else f"{high:,.4g}"
    )


def _short(name: str, limit: int = 17) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def _round_ticks(highest: float) -> list[float]:
    """Return about five round numbers from 0 to just beyond or at `highest`."""
    step = 10 ** math.floor(math.log10(max(highest, 1e-9) / 4))
    for factor in (1, 2, 5, 10):
        if highest / (step * factor) <= 5:
            step *= factor
            break
    return [step * number for number in range(math.ceil(highest / step - 1e-9) + 1)]
