"""The results for people at a terminal, and for programs."""

import math
import platform
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from planespotter_client.bench.measurements import PERCENTILES
from planespotter_client.bench.process_stats import cores, growth
from planespotter_client.bench.sweep import Step, percent

MIB = 1024 * 1024
# If the generator itself is late by more than this for one photo in a hundred, its figures say more of it than of the
# server.
LATE_SECONDS = 0.02
# In less time memory goes up and down by more than it grows.
LEAST_TREND_SECONDS = 30.0


def table(steps: Sequence[Step]) -> Table:
    """Return the figures, one load a row; fits 80 columns."""
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    made.add_column("load", overflow="fold")
    for heading in ("sent/s", "done/s", "in time", *(f"p{rank:g}" for rank in PERCENTILES), "errors"):
        made.add_column(heading, justify="right", no_wrap=True)
    for step in steps:
        recording = step.recording
        made.add_row(
            step.name,
            f"{recording.offered:,.4g}",
            f"{recording.throughput:,.4g}",
            share(recording.in_time, recording.answers.total + recording.failures),
            *(duration(recording.answers.percentile(rank)) for rank in PERCENTILES),
            f"{recording.failures:,}",
        )
    return made


def notes(steps: Sequence[Step]) -> list[str]:
    """Return what else to say, a sentence or two each."""
    said = [*_peak(steps), *_errors(steps), *_processor(steps), *_memory(steps)]
    for step in steps:
        lag = step.recording.lags.percentile(99)
        if step.load.modes[0] != "stream" and lag > LATE_SECONDS:
            said.append(
                f"{step.name}: The generator itself was late by {duration(lag)} (p99), and that counts as latency. "
                "Give it more --processes, or a machine of its own."
            )
    if any(step.interrupted for step in steps):
        said.append("Interrupted: the figures are of what was measured until then.")
    return said


def _peak(steps: Sequence[Step]) -> list[str]:
    closed = [step for step in steps if step.load.rate is None]
    if len(closed) < 2:
        return []
    best = max(closed, key=lambda step: step.recording.throughput)
    peak = best.recording.throughput
    said = [f"Peak: {peak:,.4g} photos/s, with {best.name}."]
    for step in steps:
        recording = step.recording
        if step.of_peak is None or not peak:
            continue
        text = (
            f"At {percent(step.of_peak)} of it: answers in time at {percent(recording.goodput / peak)} of the peak's "
            f"rate, p99 {duration(recording.answers.percentile(99))}"
        )
        if recording.refusals.total:
            text += (
                f"; refusals within {duration(recording.refusals.percentile(50))} (p50) and "
                f"{duration(recording.refusals.percentile(99))} (p99)"
            )
        said.append(f"{text}.")
    return said


def _errors(steps: Sequence[Step]) -> list[str]:
    errors: Counter[tuple[str, str]] = sum((step.recording.errors for step in steps), Counter())
    said = [f"{count:,} photos: {code}{f' ({reason})' if reason else ''}" for (code, reason), count in errors.items()]
    cancelled = sum(step.recording.cancelled for step in steps)
    if cancelled:
        connections = sum(step.recording.connections for step in steps)
        said.append(f"{cancelled:,} photos were cancelled on purpose; {connections:,} connections were made.")
    return said


def _processor(steps: Sequence[Step]) -> list[str]:
    said = []
    for step in steps:
        used, answered = step.server_cores, step.recording.throughput
        if not used or not answered:
            continue
        said.append(
            f"{step.name}: Of {cores()} cores the server used {used:.2f} ({duration(used / answered)} for each answer) "
            f"and the generator {step.generator_cores:.2f}. With all of them to itself the server could give "
            f"{answered * cores() / used:,.4g} answers/s."
        )
    return said


def _memory(steps: Sequence[Step]) -> list[str]:
    said = []
    for step in steps:
        if len(step.memory) < 2:
            continue
        sizes = [size for _, size in step.memory]
        settled = step.memory[len(step.memory) // 2 :]
        text = (
            f"{step.name}: The server held {sizes[0] / MIB:,.0f} MiB at the beginning, {max(sizes) / MIB:,.0f} at most "
            f"and {sizes[-1] / MIB:,.0f} at the end"
        )
        if settled[-1][0] - settled[0][0] >= LEAST_TREND_SECONDS:
            text += f"; over the second half it changed by {growth(settled) / MIB:+,.1f} MiB per hour"
        said.append(f"{text}.")
    return said


def as_json(steps: Sequence[Step], about: dict[str, Any]) -> dict[str, Any]:
    """Return all figures for programs."""
    return {
        "version": 1,
        **about,
        "generator": {"cores": cores(), "machine": platform.machine(), "python": platform.python_version()},
        "notes": notes(steps),
        "steps": [
            {
                "name": step.name,
                "interrupted": step.interrupted,
                "load": {**step.load.__dict__, "modes": [mode.value for mode in step.load.modes]},
                **step.recording.as_json(),
                "server_cores": step.server_cores,
                "generator_cores": step.generator_cores,
                "memory": [{"second": round(second, 1), "bytes": size} for second, size in step.memory],
            }
            for step in steps
        ],
    }


def duration(seconds: float) -> str:
    """Return a time for people: "3.1 ms", "1.2 s"."""
    if math.isnan(seconds):
        return "-"
    if seconds < 1:
        milliseconds = seconds * 1000
        return f"{milliseconds:.{0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2}f} ms"
    return f"{seconds:.3g} s"


def share(part: int, whole: int) -> str:
    """Return a share in per cent; 100 only if it is all."""
    if not whole:
        return "-"
    return "100 %" if part == whole else f"{min(100 * part / whole, 99.9):.1f} %"
