"""Benchmark bulk classification: `planespotter bulk run` compared with decoding and the network alone.

Both share the cores, so the limit is that of one after the other. Starting Ray and loading the network are reported
separately: a job pays for them once.
"""

import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from scripts.bench import networks
from scripts.bench.report import Section
from scripts.bench.serving import IncompleteRunError

from planespotter_bulk.classifier import Options
from planespotter_bulk.listing import list_photos
from planespotter_bulk.manifest import read_manifest
from planespotter_bulk.storage import open_folder
from planespotter_models import EngineMode, cores, decode_photo, load_engine, read_bundle

SECONDS = 20.0
"""How long the job takes, about."""
BATCH = 32
DRAWINGS = 64
PLAN_PHOTOS, PLAN_FILE = 10_000_000, 100_000


def measure(bundle: Path, folder: Path) -> dict[str, Any]:
    """Measure the bundle at `bundle`; photos, manifest and answers go to `folder`, which is created.

    Raises:
        IncompleteRunError: The job did not answer every photo.
    """
    folder.mkdir()
    model = read_bundle(bundle)
    files = networks.drawings(DRAWINGS)
    engine = load_engine(model, (BATCH,), mode=EngineMode.THROUGHPUT)
    pixels = networks.pixels(model, BATCH)

    def network(batches: int) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(engine.in_flight) as pool:
            list(pool.map(lambda _: engine.run(pixels), range(batches)))
        return batches * BATCH / (time.perf_counter() - start)

    def decoding(rounds: int) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(lambda file: decode_photo(file, model.height, model.width), files * rounds))
        return rounds * len(files) / (time.perf_counter() - start)

    batches = max(4, round(network(4) * 2 / BATCH))
    first = network(batches), decoding(8)
    limit = 1 / (1 / first[0] + 1 / first[1])
    copies = max(1, round(limit * SECONDS / DRAWINGS))
    for number in range(copies):
        copy = folder / "photos" / f"{number:04}"
        copy.mkdir(parents=True)
        networks.write_photos(copy, files)
    total = list_photos(str(folder / "photos"), open_folder(str(folder / "manifest"))).photos
    block = max(DRAWINGS, total // 12)
    command = ("bulk", "run", folder / "manifest", "--bundle", bundle, "--out", folder / "answers")
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "planespotter_client.commands.main", *map(str, command), "--block-photos", str(block)],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    rate = re.search(rf"{total:,} photos, ([\d,.]+) photos/s", done.stdout)
    if done.returncode or not rate:
        raise IncompleteRunError(f"planespotter bulk run failed: {done.stderr[-500:]}")
    last = network(batches), decoding(8)
    shutil.rmtree(folder)
    return {
        "photos": total,
        "network": (first[0] + last[0]) / 2,
        "decoding": (first[1] + last[1]) / 2,
        "bulk": float(rate[1].replace(",", "")),
        "seconds": seconds,
        "plan": measure_plan(folder),
    }


def measure_plan(folder: Path) -> dict[str, float]:
    """Measure the restart of a job of ten million photos, with simulated answers for nine tenths: what is left to do.

    Returns:
        Seconds, and the resident memory of the process in bytes.
    """
    manifest, answers = folder / "manifest", folder / "answers"
    manifest.mkdir(parents=True)
    answers.mkdir()
    table = pa.table({"id": range(PLAN_FILE), "uri": [f"s3://airport/photos/{i:012}.jpg" for i in range(PLAN_FILE)]})
    pq.write_table(table, manifest / "part-00000.parquet", row_group_size=4096)
    for number in range(1, PLAN_PHOTOS // PLAN_FILE):
        shutil.copy(manifest / "part-00000.parquet", manifest / f"part-{number:05}.parquet")
    blocks = list(read_manifest(open_folder(str(manifest))).blocks(Options().block_photos))
    for block in blocks[: 9 * len(blocks) // 10]:
        (answers / f"{block.name}.parquet").touch()
    code = (
        "import resource, sys, time; from planespotter_bulk.run import pending_blocks, read_manifest;"
        "from planespotter_bulk.storage import open_folder;"
        "start = time.perf_counter(); manifest = read_manifest(open_folder(sys.argv[1]));"
        f"pending = pending_blocks(manifest, open_folder(sys.argv[2]), {Options().block_photos});"
        "print(len(pending), time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, manifest, answers], capture_output=True, text=True, check=True)
    pending, seconds, memory = map(float, done.stdout.split())
    shutil.rmtree(folder)
    return {"pending": pending, "seconds": seconds, "memory": memory}


def limit_of(measured: dict[str, Any]) -> float:
    """Return the photos per second of decoding and network that share the cores."""
    return float(1 / (1 / measured["network"] + 1 / measured["decoding"]))


def show(title: str, measured: dict[str, Any]) -> Section:
    """Return the results as a table."""
    limit = limit_of(measured)
    rows = [
        ["network alone", f"{measured['network']:,.0f}", ""],
        ["decoding alone", f"{measured['decoding']:,.0f}", ""],
        ["both, sharing the cores", f"{limit:,.0f}", "1.00"],
        ["bulk run", f"{measured['bulk']:,.0f}", f"{measured['bulk'] / limit:.2f}"],
    ]
    startup = measured["seconds"] - measured["photos"] / measured["bulk"]
    note = (
        f"{measured['photos']:,} photos. Starting and stopping Ray and loading the network took {startup:.0f} s more."
    )
    plan = measured["plan"]
    planned = (
        f"A restart of a job of {PLAN_PHOTOS:,} photos, nine tenths of which are answered, is planned in "
        f"{plan['seconds']:.1f} s with {plan['memory'] / 2**20:,.0f} MiB."
    )
    return Section(f"Bulk, {title}", ["", "photos/s", "/ limit"], rows, [note, planned])


def headlines(measured: dict[str, Any]) -> dict[str, float]:
    """Return the metrics to track from run to run."""
    return {"bulk / limit": measured["bulk"] / limit_of(measured)}
