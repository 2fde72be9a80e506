"""Startup time: from the command `planespotter serve` to the first response, with an empty and a warm cache.

The cache is JAX's compilation cache; OpenVINO compiles so fast that it needs none.
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
    """Start the server with each engine and state of the cache.

    Args:
        model: Folder of the bundle.
        photo: Photo to classify.
        folder: For the caches and the log of the server; created if missing.
        engines: Engines to measure.

    Returns:
        By engine and state of the cache: seconds until SERVING and until the first response, CPU seconds, and resident
        memory in bytes after it.

    Raises:
        LocalServerError: A server does not start.
    """
    from planespotter_client import PlaneSpotter

    for name in [name for name in os.environ if name.startswith("JAX_COMPILATION")]:
        del os.environ[name]  # it takes precedence over --engine-cache
    folder.mkdir(exist_ok=True)
    results: dict[str, Any] = {}
    for engine in engines:
        for state in ("empty cache", "warm cache") if engine == "jax" else ("no cache",):
            flags = ("--engine", engine, "--engine-cache", str(folder / f"cache-{engine}"))
            start = time.perf_counter()
            with local_server(folder / "server.log", model, *flags) as (address, pid):
                serving = time.perf_counter() - start
                with PlaneSpotter(address) as spotter:
                    spotter.classify(photo)
                responded = time.perf_counter() - start
                process = psutil.Process(pid)
                used = process.cpu_times()
                results[f"{engine}, {state}"] = {
                    "serving": serving,
                    "first_response": responded,
                    "cpu": used.user + used.system,
                    "memory": process.memory_info().rss,
                }
    return results


def show(title: str, results: dict[str, Any]) -> Section:
    """Return the results as a table."""
    section = Section(
        f"From `planespotter serve` to the first response, {title}",
        ["engine", "s to SERVING", "s to the first response", "CPU s", "MiB"],
        [],
    )
    for name, result in results.items():
        times = [f"{result[part]:.1f}" for part in ("serving", "first_response", "cpu")]
        section.rows.append([name, *times, f"{result['memory'] / 2**20:,.0f}"])
    return section


def headlines(results: dict[str, Any]) -> dict[str, float]:
    """Return the metrics to track from run to run."""
    return {f"s to SERVING, {name}": result["serving"] for name, result in results.items()}
