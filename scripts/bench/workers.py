"""Benchmark several server processes: one process compared with workers, interleaved, on connections of many clients.

Prints photos per second and the processor time per photo of all processes of the server, as medians of some rounds.
"""

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from scripts.bench import networks
from scripts.bench.cpu_profile import alone

import planespotter_models
from planespotter_client.bench.load_generator import Load, Mode
from planespotter_client.bench.process_stats import cpu_seconds
from planespotter_client.bench.workers import WorkerPool
from planespotter_client.commands.local_server import local_server

CALLERS = {Mode.UNARY: 64, Mode.BATCH: 8, Mode.STREAM: 8}
BATCH_SIZE, WINDOW = 16, 16
# Longer than a run: each caller then has a separate connection, and keeps it.
RECONNECT_SECONDS = 1e6


def measure(workers: WorkerPool, pid: int, mode: Mode, seconds: float) -> tuple[float, float]:
    """Return photos per second, and microseconds of processor time per photo of the server's processes."""
    processes = [pid, *(child.pid for child in psutil.Process(pid).children())]
    load = Load(
        (mode,),
        CALLERS[mode],
        seconds=seconds,
        warm_up=0,
        batch_size=BATCH_SIZE,
        max_in_flight=WINDOW,
        reconnect_seconds=RECONNECT_SECONDS,
    )
    start_seconds = sum(map(cpu_seconds, processes))
    results = workers.run(load)
    used = sum(map(cpu_seconds, processes)) - start_seconds
    return results.throughput, 1e6 * used / results.latencies.total


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.workers", description=(__doc__ or "").partition("\n")[0]
    )
    default = planespotter_models.FOLDER / "airliners-small" / "2"
    parser.add_argument("--model", type=Path, default=default, help="bundle to serve (default: airliners-small)")
    parser.add_argument("--seconds", type=float, default=4, help="seconds of each run (default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="numbers of workers (default: 1 2)")
    parser.add_argument("options", nargs="*", help="options of planespotter serve, after --")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        photos = networks.write_photos(Path(name), networks.drawings(64))
        servers = {}
        for count in arguments.workers:
            options = ["--workers", str(count), *arguments.options]
            log = Path(name, f"server-{count}.log")
            address, pid = running.enter_context(local_server(log, arguments.model, *options))
            servers[count] = running.enter_context(WorkerPool(address, photos)), pid
        runs: dict[tuple[int, Mode], list[tuple[float, float]]] = {}
        rates: list[float] = []
        for _ in range(arguments.rounds):
            rates.append(alone(arguments.model, photos)["photos/s"])
            for mode in Mode:
                for count, (pool, pid) in servers.items():
                    runs.setdefault((count, mode), []).append(measure(pool, pid, mode, arguments.seconds))
    table = Table("workers", "load", "photos/s", "/ alone", "CPU µs/photo")
    limit = statistics.median(rates)
    for (count, mode), results in sorted(runs.items()):
        rate, used = (statistics.median(values) for values in zip(*results, strict=True))
        table.add_row(str(count), str(mode), f"{rate:,.0f}", f"{rate / limit:.2f}", f"{used:,.0f}")
    console = Console()
    console.print(table)
    console.print(f"Decoding and the network alone, in one process: {limit:,.0f} photos/s.")


if __name__ == "__main__":
    main()
