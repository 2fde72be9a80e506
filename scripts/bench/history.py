"""Earlier results: one line of JSON for each run, and what has changed since on the same machine."""

import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from scripts.bench.report import Section

from planespotter_models import cores

# Less than this is the noise of a quiet machine.
NOISE = 0.05


class Past(NamedTuple):
    """A figure of an earlier run, and when that was."""

    time: str
    value: float


def machine() -> dict[str, Any]:
    """Return what tells machines apart."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return {"processor": model, "cores": cores(), "system": platform.system()}


def earlier(history: Path, of: Mapping[str, Any]) -> dict[str, Past]:
    """Return each figure that runs on the machine `of` have left in `history`, as the last one of them measured it.

    Not every run measures everything. A line that was cut off counts as none.
    """
    found: dict[str, Past] = {}
    for line in history.read_text(encoding="utf-8").splitlines() if history.exists() else []:
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if isinstance(one, dict) and one.get("machine") == of:
            found |= {name: Past(one["time"], value) for name, value in one["figures"].items()}
    return found


def append(history: Path, of: Mapping[str, Any], figures: Mapping[str, float]) -> None:
    """Add a line to `history`."""
    history.parent.mkdir(parents=True, exist_ok=True)
    line = {"time": time.strftime("%Y-%m-%d %H:%M:%S"), "machine": of, "figures": figures}
    with history.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def change(before: Mapping[str, Past], now: Mapping[str, float]) -> Section:
    """Return what has changed since `before`, which `earlier` returns."""
    section = Section(
        "Change since the last run that measured the same", ["figure", "when", "then", "now", "change"], []
    )
    known = {name: before[name] for name in now if name in before and before[name].value}
    for name, past in known.items():
        changed = now[name] / past.value - 1
        if abs(changed) > NOISE:
            cells = [name, past.time, f"{past.value:,.3g}", f"{now[name]:,.3g}", f"{changed:+.0%}"]
            section.rows.append(cells)
    new = len(now) - len(known)
    if not known:
        section.notes.append("No figure can be compared: no earlier run on this machine has measured one of them.")
    elif not section.rows:
        which = "No figure that can be compared" if new else "No figure"
        section.notes.append(f"{which} has changed by more than {NOISE:.0%}.")
    if known and new:
        section.notes.append(f"Measured for the first time on this machine, so not compared: {new}.")
    return section
