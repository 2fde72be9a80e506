"""From the command to the first answer: `planespotter serve` as a user starts it, the cache empty or warm.

The cache is that of what XLA compiles; OpenVINO compiles so quickly that it has none.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from .report import Section

ENGINES = ("jax", "openvino")


def measure(model: Path, photo: Path, folder: Path, engines: tuple[str, ...] = ENGINES) -> dict[str, Any]:
    """Return seconds to SERVING and to the first answer, and the memory then, by engine and state of the cache."""
    from planespotter_client import PlaneSpotter

    found: dict[str, Any] = {}
    for engine in engines:
        for state in ("empty cache", "warm cache") if engine == "jax" else ("no cache",):
            command = [sys.executable, "-m", "planespotter_client.main", "serve", "--model", str(model), "--port", "0"]
            command += ["--engine", engine, "--engine-cache", str(folder / f"cache-{engine}")]
            environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
            began = time.perf_counter()
            server = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
            )
            try:
                assert server.stdout is not None
                address = server.stdout.readline().rsplit(" ", 1)[-1].strip()
                serving = time.perf_counter() - began
                with PlaneSpotter(address) as spotter:
                    spotter.classify(photo)
                answered = time.perf_counter() - began
                process = psutil.Process(server.pid)
                used = process.cpu_times()
                found[f"{engine}, {state}"] = {
                    "serving": serving,
                    "answered": answered,
                    "cpu": used.user + used.system,
                    "memory": process.memory_info().rss,
                }
            finally:
                server.terminate()
                server.wait()
    return found


def show(title: str, found: dict[str, Any]) -> Section:
    """Return the figures as a table."""
    section = Section(
        f"From `planespotter serve` to the first answer, {title}",
        ["engine", "s to SERVING", "s to the first answer", "s of processor", "MiB"],
        [],
    )
    for name, one in found.items():
        times = [f"{one[part]:.1f}" for part in ("serving", "answered", "cpu")]
        section.rows.append([name, *times, f"{one['memory'] / 2**20:,.0f}"])
    return section


def headlines(found: dict[str, Any]) -> dict[str, float]:
    """Return the figures to follow from run to run."""
    return {f"s to SERVING, {name}": one["serving"] for name, one in found.items()}
