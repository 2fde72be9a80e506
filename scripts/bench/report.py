"""Benchmark report: tables and bar charts, in the terminal and as a self-contained HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #d0d7de; --soft: #57606a; --bar: #0969da; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --faint: #30363d; --soft: #9198a1;
  --bar: #4493f8; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid var(--faint); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } p { margin: .4rem 0; color: var(--soft); }
figure { margin: 1rem 0; } svg { width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 13px; }
svg rect { fill: var(--bar); } figcaption { color: var(--soft); font-size: .9rem; }
"""
WIDTH, LINE, LABEL = 720, 26, 200


@dataclass
class Section:
    """A section of the report: a table, an optional bar chart, and notes."""

    title: str
    headings: Sequence[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    bars: Mapping[str, float] = field(default_factory=dict)
    bars_title: str = ""


def to_terminal(console: Console, sections: Sequence[Section]) -> None:
    """Print the sections."""
    for section in sections:
        table = Table(box=None, pad_edge=False)
        for number, heading in enumerate(section.headings):
            table.add_column(heading, justify="right" if number else "left")
        for row in section.rows:
            table.add_row(*map(Text, row))
        console.print(Text(f"\n{section.title}", style="bold"))
        if section.rows:
            console.print(table)
        for note in section.notes:
            console.print(Text(note))


def to_html(title: str, sections: Sequence[Section]) -> str:
    """Render the sections as a page without external resources."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{STYLE}</style><h1>{escape(title)}</h1>",
    ]
    for section in sections:
        parts.append(f"<h2>{escape(section.title)}</h2>")
        if section.rows:
            head = "".join(f"<th>{escape(heading)}</th>" for heading in section.headings)
            body = "".join(
                "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in section.rows
            )
            parts.append(f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>')
        if section.bars:
            parts.append(_bar_chart(section.bars, section.bars_title))
        parts += [f"<p>{escape(note)}</p>" for note in section.notes]
    return "\n".join(parts) + "</html>\n"


def _bar_chart(bars: Mapping[str, float], title: str) -> str:
    max_value = max(bars.values(), default=0) or 1
    lines = []
    for number, (name, value) in enumerate(bars.items()):
        top, length = number * LINE, (WIDTH - LABEL - 70) * value / max_value
        lines.append(
            f'<text x="{LABEL - 8}" y="{top + 18}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{LABEL}" y="{top + 5}" width="{length:.1f}" height="{LINE - 8}" rx="2"/>'
            f'<text x="{LABEL + length + 6:.1f}" y="{top + 18}">{value:,.3g}</text>'
        )
    svg = f'<svg viewBox="0 0 {WIDTH} {LINE * len(bars)}" role="img">{"".join(lines)}</svg>'
    return f"<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>"
