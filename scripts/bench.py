"""Measure decoding, the network by itself and the server, in one run: `make bench`.

All figures of one run belong together: machines are noisy, so compare the ratios, not figures of different runs. Each
is the median of several rounds, taken in turns. Times of the processor are steadier than photos per second where
others use the machine too. Without --model, a network of --recipe with random weights is measured, which is just as
fast as a trained one. Ends in about two minutes; writes build/bench.json.
"""

import argparse
import io
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from planespotter_client.bench.crew import Crew
from planespotter_client.bench.load import Load, Mode
from planespotter_client.bench.process import processor_seconds
from planespotter_client.bench.summary import duration
from planespotter_training import bundle

ROUNDS = 3
SECONDS = 3.0
BATCHES = (1, 8, 32)
CALLERS = (1, 4, 16, 64, 256)
# How many callers keep the server busy, by the way in which they send.
BUSY = {Mode.UNARY: 64, Mode.BATCH: 2, Mode.STREAM: 2}
WINDOW = 32
# A network that is slower than this many photos a second is not asked by more than BUSY callers: they would wait long.
SLOW = 100
DEADLINE, MOST_SECONDS = 60.0, 120.0
# Small, so that a queue is full within seconds of too much load. The largest number of callers just has room.
QUEUE_PHOTOS = 256


def random_bundle(folder: Path, recipe_name: str = "small") -> None:
    """Write a bundle of a recipe with random weights."""
    # Not above: the processes that send import this file too, and need none of it.
    import jax

    from planespotter_training import recipes
    from planespotter_training.export import as_function, serialise
    from planespotter_training.network import Classifier

    recipe = recipes.load(recipe_name)
    tree = bundle.LabelTree({"Airbus": {"A320": [], "A330": []}, "Boeing": {"737": ["737-700", "737-800"]}})
    function, weights = as_function(Classifier(tree.heads, width=recipe.channels, norm=False))
    calibration = bundle.Calibration(dict.fromkeys(tree.heads, 1.0), bundle.Thresholds(0.5, 0.5, 0.5))
    network = serialise(function, weights, recipe.height, recipe.width)
    made = bundle.Bundle(
        name="random",
        version="0",
        tree=tree,
        height=recipe.height,
        width=recipe.width,
        calibration=calibration,
        metrics=(),
        trained_on={},
        jax_version=jax.__version__,
        network=network,
        weights=weights,
    )
    bundle.write(made, folder)


@contextmanager
def serving(model: Path) -> Iterator[tuple[str, int]]:
    """Run a server of `model`; yields its address and its process."""
    command = [sys.executable, "-m", "planespotter_client.main", "serve", "--model", str(model), "--port", "0"]
    command += ["--queue-photos", str(QUEUE_PHOTOS)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().rsplit(" ", 1)[1].strip(), server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def draw_photos(folder: Path, height: int, width: int) -> tuple[list[Path], list[Path]]:
    """Write photos as they come, and the same at the size that the network looks at, which cost little to decode."""
    from planespotter_scraping.sample_site.drawing import draw
    from planespotter_scraping.sample_site.photos import collection

    whole, small = [], []
    for photo in collection(64):
        file = draw(photo.airliner, photo.livery, photo.photo_id)
        whole.append(folder / f"{photo.photo_id}.jpg")
        whole[-1].write_bytes(file)
        small.append(folder / f"{photo.photo_id}-small.jpg")
        scaled = io.BytesIO()
        Image.open(io.BytesIO(file)).resize((width, height)).save(scaled, "JPEG", quality=90)
        small[-1].write_bytes(scaled.getvalue())
    return whole, small


Figures = dict[str, float]


def alone(work: Callable[[], int]) -> Figures:
    """Return photos per second, and processor time for each, of work that runs in this process."""
    began, used = time.perf_counter(), time.process_time()
    photos = work()
    return {
        "rate": photos / (time.perf_counter() - began),
        "cpu": (time.process_time() - used) / photos,
    }


def served(crew: Crew, pid: int, mode: Mode, photos: int) -> Figures:
    """Return the same of the server, which `crew` keeps busy with so many photos."""
    before = processor_seconds(pid)
    load = Load((mode,), BUSY[mode], seconds=MOST_SECONDS, photos=photos, warm_up=0, deadline=DEADLINE, window=WINDOW)
    recording = crew.run(load)
    assert recording.answers.total == photos, recording.errors
    return {"rate": photos / recording.seconds, "cpu": (processor_seconds(pid) - before) / photos}


def measure(model_folder: Path, photo_folder: Path) -> dict[str, Any]:
    """Return all figures of the bundle in `model_folder`; `photo_folder` is for the photos."""
    model = bundle.read(model_folder)
    whole, small = draw_photos(photo_folder, model.height, model.width)
    engine = bundle.load_engine(model, BATCHES)
    pixels = np.stack([bundle.decode(file.read_bytes(), model.height, model.width) for file in whole])
    for size in BATCHES:
        engine.run(pixels[:size])

    # As many photos as take about a second.
    probe = alone(lambda: len(engine.run(pixels[:32])["constructor"]))
    photos = min(512, max(32, 32 * round(probe["rate"] / 32)))
    to_serve = max(96, round(SECONDS * probe["rate"]))
    is_slow = probe["rate"] < SLOW
    seconds = 3 * SECONDS if is_slow else SECONDS
    files = [whole[i % len(whole)].read_bytes() for i in range(photos)]
    pixels = pixels[np.arange(photos) % len(whole)]

    def decode() -> int:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return len(list(pool.map(lambda file: bundle.decode(file, model.height, model.width), files)))

    def network(size: int) -> Callable[[], int]:
        def run() -> int:
            for start in range(0, photos, size):
                engine.run(pixels[start : start + size])
            return photos

        return run

    with serving(model_folder) as (address, pid), Crew(address, whole) as crew, Crew(address, small) as crew_of_small:
        works: dict[str, Callable[[], Figures]] = {
            **{f"network, batches of {size}": lambda s=size: alone(network(s)) for size in BATCHES},  # type: ignore[misc]
            "decoding": lambda: alone(decode),
            **{f"served, {mode}": lambda m=mode: served(crew, pid, m, to_serve) for mode in Mode},  # type: ignore[misc]
            "served, stream, small": lambda: served(crew_of_small, pid, Mode.STREAM, to_serve),
        }
        rounds = [{name: work() for name, work in works.items()} for _ in range(1 if is_slow else ROUNDS)]
        figures = {
            name: {unit: statistics.median(each[name][unit] for each in rounds) for unit in ("rate", "cpu")}
            for name in works
        }
        callers = {
            count: crew.run(Load(callers=count, seconds=seconds, warm_up=0.5, deadline=DEADLINE))
            for count in CALLERS
            if not is_slow or count <= 16
        }
        peak = max(recording.throughput for recording in callers.values())
        batch_seconds = BATCHES[-1] / figures[f"network, batches of {BATCHES[-1]}"]["rate"]
        below = crew.run(Load(rate=0.7 * peak, seconds=2 * SECONDS))
        # First the queue fills.
        beyond = crew.run(Load(rate=2 * peak, seconds=2 * SECONDS, warm_up=1 + QUEUE_PHOTOS / peak))
    return {
        "photos_per_second": figures,
        "callers": {count: recording.as_json() for count, recording in callers.items()},
        "peak": peak,
        "batch_seconds": batch_seconds,
        "at_70_percent": below.as_json(),
        "at_200_percent": beyond.as_json(),
    }


def report(measured: dict[str, Any]) -> list[Any]:
    """Return tables and sentences."""
    figures = measured["photos_per_second"]
    raw = max(figure["rate"] for name, figure in figures.items() if name.startswith("network"))
    raw_cpu = figures[f"network, batches of {BATCHES[-1]}"]["cpu"]
    decoding = figures["decoding"]["rate"]
    table = Table("measured", box=None, pad_edge=False)
    for heading in (
        "photos/s",
        "/ network",
        "/ min(network,\ndecoding)",
        "processor\nms/photo",
        "network's\nshare of it",
    ):
        table.add_column(heading, justify="right")
    for name, figure in figures.items():
        is_served = name.startswith("served")
        table.add_row(
            name,
            f"{figure['rate']:,.0f}",
            f"{figure['rate'] / raw:.2f}",
            f"{figure['rate'] / min(raw, decoding):.2f}" if is_served else "",
            f"{1000 * figure['cpu']:.2f}",
            f"{raw_cpu / figure['cpu']:.2f}" if is_served else "",
        )
    by_callers = Table("single calls", *map(str, measured["callers"]), box=None, pad_edge=False)
    each = list(measured["callers"].values())
    by_callers.add_row("photos/s", *(f"{one['throughput']:,.0f}" for one in each))
    by_callers.add_row("p50", *(_time(one["answers"]["p50"]) for one in each))
    by_callers.add_row("p99", *(_time(one["answers"]["p99"]) for one in each))
    below, beyond = measured["at_70_percent"], measured["at_200_percent"]
    bound = 2 * measured["batch_seconds"]
    refusals = beyond["refusals"]
    refused = "None was refused."
    if refusals["photos"]:
        lag = beyond["generator_lag"]
        refused = (
            f"{refusals['photos']:,} were refused within {duration(refusals['p50'])} (p50) and "
            f"{duration(refusals['p99'])} (p99), of which the generator itself was late by {duration(lag['p50'])} and "
            f"{duration(lag['p99'])}."
        )
    both = 1 / (1 / raw + 1 / decoding)
    return [
        table,
        f"small: photos of the network's size, which cost little to decode. Where decoding and the network share the "
        f"cores, {both:,.0f} photos/s is all that they can do.\n",
        by_callers,
        f"\nAt 70 % of the peak of {measured['peak']:,.0f} photos/s: p99 {_time(below['answers']['p99'])}; "
        f"max_delay (0) and two batches of {BATCHES[-1]} are {duration(bound)}.",
        f"At 200 %: {beyond['goodput'] / measured['peak']:.0%} of the peak are answered within 10 s. {refused}",
    ]


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description="Measure decoding, the network by itself and the server, in one run.")
    parser.add_argument("--model", type=Path, help="bundle to measure (default: --recipe with random weights)")
    parser.add_argument("--recipe", default="small", help="whose network to measure without --model (default: small)")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), help="where to write the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model
        if model is None:
            model = Path(folder) / "random"
            random_bundle(model, arguments.recipe)
        photos = Path(folder) / "photos"
        photos.mkdir()
        measured = measure(model, photos)
    machine = {"processor": platform.machine(), "cores": os.cpu_count()}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"machine": machine, **measured}, indent=2) + "\n")
    console = Console(highlight=False)
    for part in report(measured):
        console.print(part)


if __name__ == "__main__":
    main()
