"""Console report: the results as a table with notes, and as JSON."""

import math
import platform
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from planespotter_client.bench.measurements import PERCENTILES
from planespotter_client.bench.process_stats import cores, growth_per_hour
from planespotter_client.bench.sweep import Step, format_percent
from planespotter_photos.counts import count_noun

MIB = 1024 * 1024
# A lag of the generator above this, at the 99th percentile, distorts the latencies.
MAX_LAG_SECONDS = 0.02
# Over a shorter time the fluctuation of memory exceeds its growth.
MIN_TREND_SECONDS = 30.0
HEADINGS = ("load", "sent/s", "done/s", "in time", *(f"p{rank:g}" for rank in PERCENTILES), "errors")


def table(steps: Sequence[Step]) -> Table:
    """Return the results as a table, one load per row; it fits 80 columns."""
    drawn = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    drawn.add_column(HEADINGS[0], overflow="fold")
    for heading in HEADINGS[1:]:
        drawn.add_column(heading, justify="right", no_wrap=True)
    for step in steps:
        drawn.add_row(*cells(step))
    return drawn


def cells(step: Step) -> list[str]:
    """Return the cells of a step in the order of HEADINGS."""
    measurements = step.measurements
    return [
        step.name,
        f"{measurements.offered:,.4g}",
        f"{measurements.throughput:,.4g}",
        format_share(measurements.within_deadline, measurements.latencies.total + measurements.failed),
        *(format_duration(measurements.latencies.percentile(rank)) for rank in PERCENTILES),
        f"{measurements.failed:,}",
    ]


def notes(steps: Sequence[Step]) -> list[str]:
    """Return notes on the results, a sentence or two each."""
    texts = [*_peak_notes(steps), *_error_notes(steps), *_cpu_notes(steps), *_memory_notes(steps)]
    for step in steps:
        lag = step.measurements.generator_lags.percentile(99)
        if step.load.modes[0] != "stream" and lag > MAX_LAG_SECONDS:
            texts.append(
                f"{step.name}: The load generator lagged by {format_duration(lag)} (p99), which counts as latency. "
                "Use more --processes, or a separate machine."
            )
    if any(step.interrupted for step in steps):
        texts.append("Interrupted: the results cover the time until then.")
    return texts


def _peak_notes(steps: Sequence[Step]) -> list[str]:
    closed = [step for step in steps if step.load.rate is None]
    if len(closed) < 2:
        return []
    best = max(closed, key=lambda step: step.measurements.throughput)
    peak = best.measurements.throughput
    texts = [f"Peak: {peak:,.4g} photos/s, with {best.name}."]
    for step in steps:
        measurements = step.measurements
        if step.share_of_peak is None or not peak:
            continue
        text = (
            f"At {format_percent(step.share_of_peak)} of it: goodput {format_percent(measurements.goodput / peak)} of "
            f"the peak, p99 {format_duration(measurements.latencies.percentile(99))}"
        )
        rejections = measurements.rejection_latencies
        if rejections.total:
            text += (
                f"; rejections within {format_duration(rejections.percentile(50))} (p50) and "
                f"{format_duration(rejections.percentile(99))} (p99)"
            )
        texts.append(f"{text}.")
    return texts


def _error_notes(steps: Sequence[Step]) -> list[str]:
    errors: Counter[tuple[str, str]] = sum((step.measurements.errors for step in steps), Counter())
    texts = [
        f"{count_noun(count, 'photo')}: {code}{f' ({reason})' if reason else ''}"
        for (code, reason), count in errors.items()
    ]
    cancelled = sum(step.measurements.cancelled for step in steps)
    if cancelled:
        connections = sum(step.measurements.connections for step in steps)
        texts.append(
            f"{count_noun(cancelled, 'photo')} cancelled on purpose; {count_noun(connections, 'connection')} opened."
        )
    return texts


def _cpu_notes(steps: Sequence[Step]) -> list[str]:
    texts = []
    for step in steps:
        used, throughput = step.server_cores, step.measurements.throughput
        if not used or not throughput:
            continue
        texts.append(
            f"{step.name}: Of {cores()} cores the server used {used:.2f} ({format_duration(used / throughput)} per "
            f"photo) and the load generator {step.generator_cores:.2f}. With all cores the server could classify "
            f"{throughput * cores() / used:,.4g} photos/s."
        )
    return texts


def _memory_notes(steps: Sequence[Step]) -> list[str]:
    texts = []
    for step in steps:
        if len(step.memory) < 2:
            continue
        sizes = [size for _, size in step.memory]
        second_half = step.memory[len(step.memory) // 2 :]
        text = (
            f"{step.name}: Resident memory of the server: {sizes[0] / MIB:,.0f} MiB at the start, maximum "
            f"{max(sizes) / MIB:,.0f}, {sizes[-1] / MIB:,.0f} at the end"
        )
        if second_half[-1][0] - second_half[0][0] >= MIN_TREND_SECONDS:
            text += f"; over the second half it changed by {growth_per_hour(second_half) / MIB:+,.1f} MiB per hour"
        texts.append(f"{text}.")
    return texts


def as_json(steps: Sequence[Step], context: dict[str, Any]) -> dict[str, Any]:
    """Return the results as JSON values. `context` describes the server, model and photos."""
    return {
        "version": 2,
        **context,
        "generator": {"cores": cores(), "machine": platform.machine(), "python": platform.python_version()},
        "notes": notes(steps),
        "steps": [
            {
                "name": step.name,
                "interrupted": step.interrupted,
                "load": {**step.load.__dict__, "modes": [mode.value for mode in step.load.modes]},
                **step.measurements.as_json(),
                "server_cores": step.server_cores,
                "generator_cores": step.generator_cores,
                "memory": [{"second": round(second, 1), "bytes": size} for second, size in step.memory],
            }
            for step in steps
        ],
    }


def format_duration(seconds: float) -> str:
    """Return a time for people: "3.1 ms", "1.2 s"."""
    if math.isnan(seconds):
        return "-"
    if seconds < 1:
        milliseconds = seconds * 1000
        return f"{milliseconds:.{0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2}f} ms"
    return f"{seconds:.3g} s"


def format_share(part: int, total: int) -> str:
    """Return a share as a percentage; 100 only if `part` is `total`."""
    if not total:
        return "-"
    return "100 %" if part == total else f"{min(100 * part / total, 99.9):.1f} %"
