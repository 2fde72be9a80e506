"""From the command to the first answer: `planespotter serve` as a user starts it, the cache empty or warm.

The cache is that of what XLA compiles; OpenVINO compiles so quickly that it has none.
"""

import os
import time
from pathlib import Path
from typing import Any

import psutil
from scripts.bench.report import Section

from planespotter_client.commands.local_server import local_server

ENGINES = ("jax", "openvino")


def measure(model: Path, photo: Path, folder: Path, engines: tuple[str, ...] = ENGINES) -> dict[str, Any]:
    """Return seconds to SERVING and to the first answer, and the memory then, by engine and state of the cache.

    `folder` is for the caches and the server's log. Raises LocalServerError if a server does not start.
    """
    from planespotter_client import PlaneSpotter

    for name in [name for name in os.environ if name.startswith("JAX_COMPILATION")]:
        del os.environ[name]  # it would come before --engine-cache
    folder.mkdir(exist_ok=True)
    found: dict[str, Any] = {}
    for engine in engines:
        for state in ("empty cache", "warm cache") if engine == "jax" else ("no cache",):
            flags = ("--engine", engine, "--engine-cache", str(folder / f"cache-{engine}"))
            began = time.perf_counter()
            with local_server(folder / "server.log", model, *flags) as (address, pid):
                serving = time.perf_counter() - began
                with PlaneSpotter(address) as spotter:
                    spotter.classify(photo)
                answered = time.perf_counter() - began
                process = psutil.Process(pid)
                used = process.cpu_times()
                found[f"{engine}, {state}"] = {
                    "serving": serving,
                    "answered": answered,
                    "cpu": used.user + used.system,
                    "memory": process.memory_info().rss,
                }
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
