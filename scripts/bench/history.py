"""Earlier results: one line of JSON for each run, and what has changed since the last of this machine."""

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .report import Section

# Less than this is the noise of a quiet machine.
NOISE = 0.05


def machine() -> dict[str, Any]:
    """Return what tells machines apart."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return {"processor": model, "cores": os.cpu_count(), "system": platform.system()}


def last(history: Path, of: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the last line of `history` of the machine `of`, or None. A line that was cut off counts as none."""
    found = None
    for line in history.read_text(encoding="utf-8").splitlines() if history.exists() else []:
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if isinstance(one, dict) and one.get("machine") == of:
            found = one
    return found


def append(history: Path, of: Mapping[str, Any], figures: Mapping[str, float]) -> None:
    """Add a line to `history`."""
    history.parent.mkdir(parents=True, exist_ok=True)
    line = {"time": time.strftime("%Y-%m-%d %H:%M:%S"), "machine": of, "figures": figures}
    with history.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def change(before: Mapping[str, Any] | None, now: Mapping[str, float]) -> Section:
    """Return what has changed since `before`, a line of the history."""
    if before is None:
        return Section("Change since the last run", [], [], ["This is the first run on this machine."])
    section = Section(f"Change since {before['time']}", ["figure", "then", "now", "change"], [])
    for name, value in now.items():
        earlier = before["figures"].get(name)
        if not earlier:
            continue
        changed = value / earlier - 1
        if abs(changed) > NOISE:
            section.rows.append([name, f"{earlier:,.3g}", f"{value:,.3g}", f"{changed:+.0%}"])
    if not section.rows:
        section.notes.append(f"No figure has changed by more than {NOISE:.0%}.")
    return section
