"""Benchmark serving: the server's throughput compared with that of the bare network and of decoding.

By mode (unary, batch, stream), by number of callers, and at a fixed rate below and above peak throughput. CPU time per
photo is steadier than photos per second on a machine with other load.
"""

import io
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from scripts.bench import networks
from scripts.bench.report import Section

from planespotter_client.bench.console_report import format_duration
from planespotter_client.bench.load_generator import Load, Mode
from planespotter_client.bench.process_stats import cpu_seconds
from planespotter_client.bench.workers import WorkerPool
from planespotter_client.commands.local_server import local_server
from planespotter_models import cores, decode_photo, load_engine, read_bundle

ROUNDS = 3
SECONDS = 3.0
BATCHES = (1, 8, 32)
CALLERS = (1, 4, 16, 64, 256)
# How many callers keep the server busy, by mode.
BUSY = {Mode.UNARY: 64, Mode.BATCH: 2, Mode.STREAM: 2}
WINDOW = 32
# Photos per second below which a network is measured with few callers only: requests would wait too long.
SLOW = 100
DEADLINE, MAX_SECONDS = 60.0, 120.0
# Low, so that overload fills the queue within seconds; just enough for the largest number of callers.
MAX_IN_FLIGHT = 256


class IncompleteRunError(Exception):
    """Some photos of a measurement got no result; the text says why."""


def small_files(photos: list[bytes], height: int, width: int) -> list[bytes]:
    """Resize photos to the input size of the network, which makes them cheap to decode."""
    files = []
    for photo in photos:
        scaled = io.BytesIO()
        Image.open(io.BytesIO(photo)).resize((width, height)).save(scaled, "JPEG", quality=90)
        files.append(scaled.getvalue())
    return files


Measurement = dict[str, float]
"""Photos per second ("rate") and CPU seconds per photo ("cpu")."""


def measure_in_process(work: Callable[[], int]) -> Measurement:
    """Measure `work`, which runs in this process and returns how many photos it processed."""
    start, cpu_start = time.perf_counter(), time.process_time()
    photos = work()
    return {
        "rate": photos / (time.perf_counter() - start),
        "cpu": (time.process_time() - cpu_start) / photos,
    }


def measure_server(workers: WorkerPool, pid: int, mode: Mode, photos: int) -> Measurement:
    """Send `photos` photos to the server with process id `pid`, enough at a time to keep it busy.

    Raises:
        IncompleteRunError: Some photos got no result.
    """
    cpu_start = cpu_seconds(pid)
    load = Load(
        (mode,), BUSY[mode], seconds=MAX_SECONDS, photos=photos, warm_up=0, deadline=DEADLINE, max_in_flight=WINDOW
    )
    results = workers.run(load)
    total = results.latencies.total
    if total != photos:
        causes = ", ".join(f"{count} {reason or code}" for (code, reason), count in results.errors.items())
        raise IncompleteRunError(
            f"The server classified {total:,} of {photos:,} photos in {mode} mode ({causes or 'no errors'}), so the "
            "measurement is invalid. Run it again on a machine with less load."
        )
    return {"rate": photos / results.seconds, "cpu": (cpu_seconds(pid) - cpu_start) / photos}


def measure(model_folder: Path, photo_folder: Path) -> dict[str, Any]:
    """Measure the bundle in `model_folder`; write the photos, and the log of the server, to `photo_folder`."""
    model = read_bundle(model_folder)
    drawings = networks.drawings(64)
    originals = networks.write_photos(photo_folder, drawings)
    small = networks.write_photos(photo_folder, small_files(drawings, model.height, model.width), "-small")
    engine = load_engine(model, BATCHES)
    pixels = np.stack([decode_photo(file.read_bytes(), model.height, model.width) for file in originals])
    for size in BATCHES:
        engine.run(pixels[:size])

    # As many photos as take about a second.
    probe = measure_in_process(lambda: len(engine.run(pixels[:32])["constructor"]))
    photos = min(512, max(32, 32 * round(probe["rate"] / 32)))
    to_serve = max(96, round(SECONDS * probe["rate"]))
    is_slow = probe["rate"] < SLOW
    seconds = 3 * SECONDS if is_slow else SECONDS
    files = [originals[i % len(originals)].read_bytes() for i in range(photos)]
    pixels = pixels[np.arange(photos) % len(originals)]

    def decode() -> int:
        with ThreadPoolExecutor(cores()) as pool:
            return len(list(pool.map(lambda file: decode_photo(file, model.height, model.width), files)))

    def network(size: int) -> Callable[[], int]:
        def run() -> int:
            for start in range(0, photos, size):
                engine.run(pixels[start : start + size])
            return photos

        return run

    server = local_server(photo_folder / "server.log", model_folder, "--max-in-flight-photos", str(MAX_IN_FLIGHT))
    with (
        server as (address, pid),
        WorkerPool(address, originals) as workers,
        WorkerPool(address, small) as small_workers,
    ):
        measurements: dict[str, Callable[[], Measurement]] = {
            **{f"network, batches of {size}": lambda s=size: measure_in_process(network(s)) for size in BATCHES},  # type: ignore[misc]
            "decoding": lambda: measure_in_process(decode),
            **{f"serving, {mode}": lambda m=mode: measure_server(workers, pid, m, to_serve) for mode in Mode},  # type: ignore[misc]
            "serving, small photos": lambda: measure_server(small_workers, pid, Mode.STREAM, to_serve),
        }
        rounds = [{name: run() for name, run in measurements.items()} for _ in range(2 if is_slow else ROUNDS)]
        medians = {
            name: {unit: statistics.median(results[name][unit] for results in rounds) for unit in ("rate", "cpu")}
            for name in measurements
        }
        callers = {
            count: workers.run(Load(callers=count, seconds=seconds, warm_up=0.5, deadline=DEADLINE))
            for count in CALLERS
            if not is_slow or count <= 16
        }
        peak = max(results.throughput for results in callers.values())
        memory = psutil.Process(pid).memory_info().rss
        batch_seconds = BATCHES[-1] / medians[f"network, batches of {BATCHES[-1]}"]["rate"]
        below = Load(rate=0.7 * peak, seconds=2 * SECONDS)
        # Warm up until the queue is full.
        above = Load(rate=2 * peak, seconds=2 * SECONDS, warm_up=1 + MAX_IN_FLIGHT / peak)
        rates = {"at_70_percent": workers.run(below).as_json(), "at_200_percent": workers.run(above).as_json()}
    return {
        "engine": engine.description,
        "memory": memory,
        "throughput": medians,
        "callers": {count: results.as_json() for count, results in callers.items()},
        "peak": peak,
        "batch_seconds": batch_seconds,
        **rates,
    }


def show(title: str, measured: dict[str, Any]) -> list[Section]:
    """Return the results as tables."""
    throughput = measured["throughput"]
    raw = max(result["rate"] for name, result in throughput.items() if name.startswith("network"))
    raw_cpu = throughput[f"network, batches of {BATCHES[-1]}"]["cpu"]
    decoding = throughput["decoding"]["rate"]
    section = Section(
        f"Serving, {title}: {measured['engine']}",
        [
            "",
            "photos/s",
            "/ network",
            "/ slower\nof both",
            "CPU\nms/photo",
            "network's\nshare of it",
        ],
        [],
    )
    for name, result in throughput.items():
        is_server = name.startswith("serving")
        section.rows.append(
            [
                name,
                f"{result['rate']:,.0f}",
                f"{result['rate'] / raw:.2f}",
                f"{result['rate'] / min(raw, decoding):.2f}" if is_server else "",
                f"{1000 * result['cpu']:.2f}",
                f"{raw_cpu / result['cpu']:.2f}" if is_server else "",
            ]
        )
    section.bars = {name: result["rate"] for name, result in throughput.items()}
    section.bars_title = "Photos per second"
    combined = 1 / (1 / raw + 1 / decoding)
    section.notes.append(
        "Small photos have the input size of the network and are cheap to decode. Where decoding and the network share "
        f"the cores, their limit is {combined:,.0f} photos/s."
    )
    section.notes.append(f"Resident memory of the server at the end: {measured['memory'] / 2**20:,.0f} MiB.")
    by_callers = list(measured["callers"].values())
    callers = Section(f"Unary requests, {title}", ["callers", *map(str, measured["callers"])], [])
    callers.rows.append(["photos/s", *(f"{result['throughput']:,.0f}" for result in by_callers)])
    callers.rows.append(["p50", *(_time(result["latency"]["p50"]) for result in by_callers)])
    callers.rows.append(["p99", *(_time(result["latency"]["p99"]) for result in by_callers)])
    below, above = measured["at_70_percent"], measured["at_200_percent"]
    bound = 2 * measured["batch_seconds"]
    rejections = above["rejection_latency"]
    rejected = "No photo was rejected."
    if rejections["photos"]:
        lag = above["generator_lag"]
        rejected = (
            f"{rejections['photos']:,} were rejected within {format_duration(rejections['p50'])} (p50) and "
            f"{format_duration(rejections['p99'])} (p99), including the load generator's own lag of "
            f"{format_duration(lag['p50'])} and "
            f"{format_duration(lag['p99'])}."
        )
    callers.notes += [
        f"At 70 % of the peak of {measured['peak']:,.0f} photos/s: p99 {_time(below['latency']['p99'])}; "
        f"max_delay (0) and two batches of {BATCHES[-1]} are {format_duration(bound)}.",
        f"At 200 %: {above['goodput'] / measured['peak']:.0%} of the peak get a result within 10 s. {rejected}",
    ]
    return [section, callers]


def headlines(measured: dict[str, Any]) -> dict[str, float]:
    """Return the metrics to track from run to run."""
    throughput = measured["throughput"]
    raw = max(result["rate"] for name, result in throughput.items() if name.startswith("network"))
    limit = min(raw, throughput["decoding"]["rate"])
    metrics = {"decoding, photos/s": throughput["decoding"]["rate"]}
    metrics |= {
        f"{name} / raw": result["rate"] / limit for name, result in throughput.items() if name.startswith("serving")
    }
    return metrics


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)
