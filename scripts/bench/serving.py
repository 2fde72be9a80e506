"""What the server makes of the network and of decoding: by the way of sending, by callers, below and beyond its peak.

Times of the processor are steadier than photos per second where others use the machine too.
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

from planespotter_client.bench.console_report import duration
from planespotter_client.bench.load_generator import Load, Mode
from planespotter_client.bench.process_stats import processor_seconds
from planespotter_client.bench.workers import Crew
from planespotter_client.commands.local_server import local_server
from planespotter_models import cores, decode_photo, load_engine, read_bundle

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
MAX_IN_FLIGHT = 256


class ServedError(Exception):
    """The server did not do what it is measured at; the text says what it did instead."""


def small_files(photos: list[bytes], height: int, width: int) -> list[bytes]:
    """Return the photos at the size that the network looks at, which cost little to decode."""
    found = []
    for photo in photos:
        scaled = io.BytesIO()
        Image.open(io.BytesIO(photo)).resize((width, height)).save(scaled, "JPEG", quality=90)
        found.append(scaled.getvalue())
    return found


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
    """Return the same of the server, which `crew` keeps busy with so many photos. Raises ServedError."""
    before = processor_seconds(pid)
    load = Load((mode,), BUSY[mode], seconds=MOST_SECONDS, photos=photos, warm_up=0, deadline=DEADLINE, window=WINDOW)
    recording = crew.run(load)
    answered = recording.answers.total
    if answered != photos:
        why = ", ".join(f"{count} {reason or code}" for (code, reason), count in recording.errors.items())
        raise ServedError(
            f"The server answered {answered:,} of {photos:,} photos sent by {mode} ({why or 'no errors'}), so what it "
            "took for them says nothing. Run it again on a machine that has less to do."
        )
    return {"rate": photos / recording.seconds, "cpu": (processor_seconds(pid) - before) / photos}


def measure(model_folder: Path, photo_folder: Path) -> dict[str, Any]:
    """Return all figures of the bundle in `model_folder`; `photo_folder` is for the photos."""
    model = read_bundle(model_folder)
    drawings = networks.drawings(64)
    whole = networks.write_photos(photo_folder, drawings)
    small = networks.write_photos(photo_folder, small_files(drawings, model.height, model.width), "-small")
    engine = load_engine(model, BATCHES)
    pixels = np.stack([decode_photo(file.read_bytes(), model.height, model.width) for file in whole])
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
        with ThreadPoolExecutor(cores()) as pool:
            return len(list(pool.map(lambda file: decode_photo(file, model.height, model.width), files)))

    def network(size: int) -> Callable[[], int]:
        def run() -> int:
            for start in range(0, photos, size):
                engine.run(pixels[start : start + size])
            return photos

        return run

    server = local_server(photo_folder / "server.log", model_folder, "--max-in-flight-photos", str(MAX_IN_FLIGHT))
    with server as (address, pid), Crew(address, whole) as crew, Crew(address, small) as crew_of_small:
        works: dict[str, Callable[[], Figures]] = {
            **{f"network by {size}": lambda s=size: alone(network(s)) for size in BATCHES},  # type: ignore[misc]
            "decoding": lambda: alone(decode),
            **{f"served, {mode}": lambda m=mode: served(crew, pid, m, to_serve) for mode in Mode},  # type: ignore[misc]
            "served, stream, small": lambda: served(crew_of_small, pid, Mode.STREAM, to_serve),
        }
        rounds = [{name: work() for name, work in works.items()} for _ in range(2 if is_slow else ROUNDS)]
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
        memory = psutil.Process(pid).memory_info().rss
        batch_seconds = BATCHES[-1] / figures[f"network by {BATCHES[-1]}"]["rate"]
        below = Load(rate=0.7 * peak, seconds=2 * SECONDS)
        # First the queue fills.
        beyond = Load(rate=2 * peak, seconds=2 * SECONDS, warm_up=1 + MAX_IN_FLIGHT / peak)
        rates = {"at_70_percent": crew.run(below).as_json(), "at_200_percent": crew.run(beyond).as_json()}
    return {
        "engine": engine.description,
        "memory": memory,
        "photos_per_second": figures,
        "callers": {count: recording.as_json() for count, recording in callers.items()},
        "peak": peak,
        "batch_seconds": batch_seconds,
        **rates,
    }


def show(title: str, measured: dict[str, Any]) -> list[Section]:
    """Return the figures as tables."""
    figures = measured["photos_per_second"]
    raw = max(figure["rate"] for name, figure in figures.items() if name.startswith("network"))
    raw_cpu = figures[f"network by {BATCHES[-1]}"]["cpu"]
    decoding = figures["decoding"]["rate"]
    section = Section(
        f"Served, {title}: {measured['engine']}",
        [
            "measured",
            "photos/s",
            "/ network",
            "/ slower\nof both",
            "processor\nms/photo",
            "network's\nshare of it",
        ],
        [],
    )
    for name, figure in figures.items():
        is_served = name.startswith("served")
        section.rows.append(
            [
                name,
                f"{figure['rate']:,.0f}",
                f"{figure['rate'] / raw:.2f}",
                f"{figure['rate'] / min(raw, decoding):.2f}" if is_served else "",
                f"{1000 * figure['cpu']:.2f}",
                f"{raw_cpu / figure['cpu']:.2f}" if is_served else "",
            ]
        )
    section.bars = {name: figure["rate"] for name, figure in figures.items()}
    section.bars_title = "Photos a second"
    both = 1 / (1 / raw + 1 / decoding)
    section.notes.append(
        "small: photos of the network's size, which cost little to decode. Where decoding and the network share the "
        f"cores, {both:,.0f} photos/s is all that they can do."
    )
    section.notes.append(f"Memory of the server after all this: {measured['memory'] / 2**20:,.0f} MiB.")
    each = list(measured["callers"].values())
    callers = Section(f"Single calls, {title}", ["callers", *map(str, measured["callers"])], [])
    callers.rows.append(["photos/s", *(f"{one['throughput']:,.0f}" for one in each)])
    callers.rows.append(["p50", *(_time(one["answers"]["p50"]) for one in each)])
    callers.rows.append(["p99", *(_time(one["answers"]["p99"]) for one in each)])
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
    callers.notes += [
        f"At 70 % of the peak of {measured['peak']:,.0f} photos/s: p99 {_time(below['answers']['p99'])}; "
        f"max_delay (0) and two batches of {BATCHES[-1]} are {duration(bound)}.",
        f"At 200 %: {beyond['goodput'] / measured['peak']:.0%} of the peak are answered within 10 s. {refused}",
    ]
    return [section, callers]


def headlines(measured: dict[str, Any]) -> dict[str, float]:
    """Return the figures to follow from run to run."""
    figures = measured["photos_per_second"]
    raw = max(figure["rate"] for name, figure in figures.items() if name.startswith("network"))
    least = min(raw, figures["decoding"]["rate"])
    kept = {"decoding, photos/s": figures["decoding"]["rate"]}
    kept |= {f"{name} / raw": one["rate"] / least for name, one in figures.items() if name.startswith("served")}
    return kept


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)
