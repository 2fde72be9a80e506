"""Profile serving: processor time per photo by part of the server, for unary calls, batches and streams.

Two runs under the same load make one column. The kernel's clocks give the exact processor time of each thread; py-spy
samples the Python stacks of the running threads, whose shares divide that time among the parts. A stack belongs to the
part of its innermost frame that a part lists. The C code of gRPC and of the event loop has no Python frames, so the two
are one part. Threads that Python does not know belong to gRPC by their names, or else to the engine of the network.

The column "alone" is the same decoding and the same network on the same photos without a server, in the same run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scripts.bench import networks
from scripts.bench.serving import BUSY, WINDOW

import planespotter_models
from planespotter_client.bench.load_generator import Load, Mode
from planespotter_client.bench.workers import WorkerPool
from planespotter_client.commands.local_server import local_server
from planespotter_models import cores, decode_photo, load_engine, read_bundle

GRPC, NETWORK, REST = "gRPC and event loop", "network", "rest"
PARTS = {
    "protobuf": ("google/protobuf/", "planespotter/v1/"),
    "decode": ("PIL/", "planespotter_photos/", "planespotter_models/preprocess.py"),
    "admission": (
        "serving/admission.py",
        "serving/concurrency.py",
        "serving/memory_limiter.py",
        "planespotter_server/auth/",
        "rpc/interceptor.py",
        "rpc/call_context.py",
    ),
    "batcher": ("serving/", "concurrent/futures/", "threading.py", "queue.py"),
    NETWORK: ("planespotter_models/engines/", "openvino/"),
    "prediction": ("planespotter_models/prediction.py", "planespotter_models/label_tree.py"),
    "conversion": ("rpc/converters.py", "rpc/status.py"),
    "service": ("rpc/service.py",),
    "metrics": ("observability/", "prometheus_client/", "structlog/", "logging/"),
    GRPC: ("grpc/", "uvloop/", "asyncio/"),
}
"""Parts of the server, with the paths of the files that they consist of; of two that match, the first counts."""
GRPC_THREADS = ("grpc", "event_engine", "timer", "resolver")
"""How the names of gRPC's own threads begin."""
WAITING = ("_worker (concurrent/futures/thread.py", "Condition.wait (threading.py", "Queue.get (queue.py")
"""Innermost frames of threads that wait for work: py-spy samples some of them as running."""
LOADS = {
    "unary": Load((Mode.UNARY,), BUSY[Mode.UNARY]),
    "batch": Load((Mode.BATCH,), BUSY[Mode.BATCH]),
    "stream": Load((Mode.STREAM,), BUSY[Mode.STREAM], max_in_flight=WINDOW),
    "stream, lists": Load((Mode.STREAM,), BUSY[Mode.STREAM], max_in_flight=WINDOW, photos_per_message=WINDOW),
}
"""The loads; in the last one, photos that wait to be sent share a message, as those of the SDK do."""
SAMPLES_PER_SECOND = 250
ALONE_SECONDS = 3.0
BATCH = 32


def part_of(stack: Iterable[str]) -> str:
    """Return the part of a stack of "function (file:line)", outermost first."""
    for frame in reversed(list(stack)):
        for part, paths in PARTS.items():
            if any(path in frame for path in paths):
                return part
    return REST


def shares_by_thread(samples: str) -> dict[str, dict[str, float]]:
    """Return the share of each part by thread name, from the stacks that py-spy wrote as "thread;frame;... count"."""
    counts: dict[str, Counter[str]] = {}
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        name = thread.partition(": ")[2].strip()
        if frames and frames[-1].startswith(WAITING):
            continue
        counts.setdefault(name, Counter())[part_of(frames)] += int(count)
    return {name: {part: count / parts.total() for part, count in parts.items()} for name, parts in counts.items()}


def split_time(
    seconds: Mapping[str, float], shares: Mapping[str, Mapping[str, float]], photos: int
) -> dict[str, float]:
    """Divide the processor time of each thread among the parts.

    Args:
        seconds: Processor time by thread name.
        shares: Share of each part by thread name; a thread without one is gRPC's or the engine's.
        photos: Number of photos.

    Returns:
        Microseconds per photo by part.
    """
    parts: defaultdict[str, float] = defaultdict(float)
    for name, used in seconds.items():
        native = {GRPC if name.startswith(GRPC_THREADS) else NETWORK: 1.0}
        for part, share in (shares.get(name) or native).items():
            parts[part] += 1e6 * used * share / photos
    return dict(parts)


def thread_seconds(pid: int) -> dict[int, float]:
    """Return the processor time of each thread of a process so far, in seconds, by thread id."""
    seconds = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        run_nanoseconds = (task / "schedstat").read_text(encoding="ascii").split()[0]
        seconds[int(task.name)] = int(run_nanoseconds) / 1e9
    return seconds


def thread_names(pid: int, py_spy: str) -> dict[int, str]:
    """Return the names of the threads of a process by thread id: Python's where it knows the thread."""
    names = {int(task.name): (task / "comm").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir()}
    # Threads that Python does not know inherit the name of the process.
    dump = subprocess.run([py_spy, "dump", "--pid", str(pid), "--json"], check=True, capture_output=True, text=True)
    return names | {thread["os_thread_id"]: thread["thread_name"] for thread in json.loads(dump.stdout)}


def profile(workers: WorkerPool, pid: int, load: Load, seconds: float, py_spy: str) -> dict[str, float]:
    """Return photos per second ("photos/s") and microseconds of processor time per photo by part."""
    load = replace(load, seconds=seconds, warm_up=0)
    workers.run(replace(load, seconds=1))
    start_seconds = thread_seconds(pid)
    results = workers.run(load)
    end_seconds = thread_seconds(pid)
    names = thread_names(pid, py_spy)
    used: defaultdict[str, float] = defaultdict(float)
    for thread, total in end_seconds.items():
        used[names.get(thread, "")] += total - start_seconds.get(thread, 0.0)
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as samples:
        command = [py_spy, "record", "--pid", str(pid), "--duration", str(round(seconds)), "--threads", "--nonblocking"]
        command += ["--rate", str(SAMPLES_PER_SECOND), "--format", "raw", "--output", samples.name]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as sampler:
            time.sleep(0.2)
            workers.run(load)
            _, errors = sampler.communicate()
        if sampler.returncode:
            raise SystemExit(f"py-spy failed: {errors.strip()}")
        shares = shares_by_thread(samples.read())
    return {"photos/s": results.throughput, **split_time(used, shares, results.latencies.total)}


def alone(model: Path, photos: Sequence[Path]) -> dict[str, float]:
    """Return photos per second and microseconds per photo of decoding and of the network, without a server."""
    bundle = read_bundle(model)
    engine = load_engine(bundle, (BATCH,))
    files = [photo.read_bytes() for photo in photos[:BATCH]]
    seconds: defaultdict[str, float] = defaultdict(float)
    wall_start, done = time.perf_counter(), 0
    with ThreadPoolExecutor(cores()) as pool:
        while time.perf_counter() < wall_start + ALONE_SECONDS:
            start = time.process_time()
            pixels = np.stack(list(pool.map(lambda file: decode_photo(file, bundle.height, bundle.width), files)))
            decoded = time.process_time()
            engine.run(pixels)
            seconds["decode"] += decoded - start
            seconds[NETWORK] += time.process_time() - decoded
            done += BATCH
    rate = done / (time.perf_counter() - wall_start)
    return {"photos/s": rate, **{part: 1e6 * used / done for part, used in seconds.items()}}


def main() -> None:
    """Profile a server under each kind of load, and print a table."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.cpu_profile", description=description)
    default = planespotter_models.FOLDER / "airliners-small" / "2"
    parser.add_argument("--model", type=Path, default=default, help="bundle to serve (default: airliners-small)")
    parser.add_argument("--seconds", type=float, default=8, help="seconds of each run (default: 8)")
    parser.add_argument("--json", type=Path, help="file to write the results to, as JSON")
    parser.add_argument("options", nargs="*", help="options of planespotter serve, after --")
    arguments = parser.parse_args()
    py_spy = shutil.which("py-spy", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if py_spy is None:
        raise SystemExit("py-spy is not installed. Install it: .venv/bin/pip install py-spy")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = networks.write_photos(folder, networks.drawings(64))
        server = local_server(folder / "server.log", arguments.model, *arguments.options)
        with server as (address, pid), WorkerPool(address, photos) as workers:
            modes = {name: profile(workers, pid, load, arguments.seconds, py_spy) for name, load in LOADS.items()}
        modes = {"alone": alone(arguments.model, photos), **modes}
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(modes, indent=2) + "\n", encoding="utf-8")
    Console().print(show(modes))


def show(modes: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the table: microseconds of processor time per photo by part, and their sums."""
    table = Table("µs per photo", *modes)
    for part in (*PARTS, REST):
        table.add_row(part, *(f"{values.get(part, 0.0):,.0f}" for values in modes.values()))
    totals = {mode: sum(values.values()) - values["photos/s"] for mode, values in modes.items()}
    table.add_row("total", *(f"{total:,.0f}" for total in totals.values()))
    base = sum(modes["alone"].values()) - modes["alone"]["photos/s"]
    table.add_row("beyond decoding and network alone", *(f"{total - base:,.0f}" for total in totals.values()))
    table.add_row("photos/s", *(f"{values['photos/s']:,.0f}" for values in modes.values()))
    return table


if __name__ == "__main__":
    main()
