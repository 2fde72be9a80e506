"""Measure decoding, the network by itself and the server, in one run: `make bench`.

All figures of one run belong together: machines are noisy, so compare the ratios, not figures of different runs. Each
is the median of several rounds, taken in turns. Without --model, a network of the recipe `small` with random weights is
measured, which is just as fast as a trained one. Ends in about a minute; writes build/bench.json.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from planespotter_client import PlaneSpotter
from planespotter_scraping.sample_site.drawing import draw
from planespotter_scraping.sample_site.photos import collection
from planespotter_training import bundle, recipes
from planespotter_training.export import as_function, serialise
from planespotter_training.network import Classifier

ROUNDS = 3
PHOTOS = 512


def random_bundle(folder: Path) -> None:
    """Write a bundle of the recipe `small` with random weights."""
    recipe = recipes.load("small")
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


def rate(work: Callable[[], int]) -> float:
    """Return how many photos a second `work` gets done; it returns how many it did."""
    began = time.perf_counter()
    return work() / (time.perf_counter() - began)


def measure(folder: Path) -> dict[str, float]:
    """Return photos per second by what was measured."""
    model = bundle.read(folder)
    files = [draw(photo.airliner, photo.livery, photo.photo_id) for photo in collection(64)]
    files = (files * (PHOTOS // len(files) + 1))[:PHOTOS]
    engine = bundle.load_engine(model)
    pixels = np.stack([bundle.decode(file, model.height, model.width) for file in files])

    def decode() -> int:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return len(list(pool.map(lambda file: bundle.decode(file, model.height, model.width), files)))

    def run_in(size: int) -> Callable[[], int]:
        def run() -> int:
            for start in range(0, len(pixels), size):
                engine.run(pixels[start : start + size])
            return len(pixels)

        return run

    command = [sys.executable, "-m", "planespotter_client.main", "serve", "--model", str(folder), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        with PlaneSpotter(server.stdout.readline().rsplit(" ", 1)[1].strip()) as spotter:

            def unary() -> int:
                with ThreadPoolExecutor(16) as pool:
                    return len(list(pool.map(spotter.classify, files)))

            works: dict[str, Callable[[], int]] = {
                "decode, all cores": decode,
                **{f"network alone, batches of {size}": run_in(size) for size in (1, 8, 32)},
                "served, 16 single calls at a time": unary,
                "served, batches": lambda: len(spotter.classify_many(files)),
                "served, stream": lambda: len(list(spotter.stream(files))),
            }
            for work in works.values():  # warm
                work()
            rounds = [{name: rate(work) for name, work in works.items()} for _ in range(ROUNDS)]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    return {name: statistics.median(each[name] for each in rounds) for name in works}


def report(rates: dict[str, float]) -> Table:
    """Return the figures as a table, each beside its ratio to the network alone in its best batch size."""
    best = max(figure for name, figure in rates.items() if name.startswith("network"))
    table = Table("measured", "photos/s", "against the network alone")
    for name, figure in rates.items():
        table.add_row(name, f"{figure:,.0f}", f"{figure / best:.2f}")
    return table


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description="Measure decoding, the network by itself and the server, in one run.")
    parser.add_argument("--model", type=Path, help="bundle to measure (default: recipe `small`, random weights)")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), help="where to write the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model
        if model is None:
            model = Path(folder) / "random"
            random_bundle(model)
        rates = measure(model)
    Console().print(report(rates))
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "jax": jax.__version__}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"machine": machine, "photos_per_second": rates}, indent=2) + "\n")


if __name__ == "__main__":
    main()
