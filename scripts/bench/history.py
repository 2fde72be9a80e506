"""Benchmark history: one line of JSON per run, and the change since the last run on the same machine."""

import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from scripts.bench.report import Section

from planespotter_models import cores

NOISE = 0.05
"""Relative change below which a metric counts as unchanged: the noise of a quiet machine."""


class Past(NamedTuple):
    """A metric of an earlier run, and the time of that run."""

    time: str
    value: float


def machine() -> dict[str, Any]:
    """Return what identifies a machine: processor, usable cores and operating system."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return {"processor": model, "cores": cores(), "system": platform.system()}


def latest(history: Path, machine: Mapping[str, Any]) -> dict[str, Past]:
    """Return the latest value of every metric that was measured on `machine`.

    Runs may measure only some metrics. A truncated line in `history` is skipped.
    """
    metrics: dict[str, Past] = {}
    for line in history.read_text(encoding="utf-8").splitlines() if history.exists() else []:
        try:
            run = json.loads(line)
        except ValueError:
            continue
        if isinstance(run, dict) and run.get("machine") == machine:
            metrics |= {name: Past(run["time"], value) for name, value in run.get("metrics", {}).items()}
    return metrics


def append(history: Path, machine: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Append a run to `history`."""
    history.parent.mkdir(parents=True, exist_ok=True)
    line = {"time": time.strftime("%Y-%m-%d %H:%M:%S"), "machine": machine, "metrics": metrics}
    with history.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def compare(past: Mapping[str, Past], now: Mapping[str, float]) -> Section:
    """Compare metrics with their latest values, as returned by `latest`."""
    section = Section(
        "Change since the last run that measured the same", ["metric", "when", "then", "now", "change"], []
    )
    known = {name: past[name] for name in now if name in past and past[name].value}
    for name, metric in known.items():
        change = now[name] / metric.value - 1
        if abs(change) > NOISE:
            cells = [name, metric.time, f"{metric.value:,.3g}", f"{now[name]:,.3g}", f"{change:+.0%}"]
            section.rows.append(cells)
    new = len(now) - len(known)
    if not known:
        section.notes.append("No metric to compare: no earlier run on this machine measured any of them.")
    elif not section.rows:
        which = "No comparable metric" if new else "No metric"
        section.notes.append(f"{which} has changed by more than {NOISE:.0%}.")
    if known and new:
        section.notes.append(f"Measured for the first time on this machine, so not compared: {new}.")
    return section
