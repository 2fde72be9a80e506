"""Benchmark bulk classification on one and two nodes with one core each: `python -m scripts.bench.bulk_nodes`.

The nodes are Ray nodes on this machine, whose processes are pinned to a core each. Prints the photos per second.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.update(
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # listen on loopback
    RAY_USAGE_STATS_ENABLED="0",
    RAY_AUTH_MODE="token",
    RAY_AUTH_TOKEN=os.urandom(32).hex(),
)

from scripts.bench import networks

import planespotter_models
from planespotter_bulk.listing import list_photos
from planespotter_bulk.storage import open_folder

STORE_BYTES = 300 << 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.bulk_nodes", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--model", type=Path, default=planespotter_models.FOLDER / "airliners-small" / "2")
    parser.add_argument("--photos", type=int, default=6400, help="photos per run (default: 6400)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawings = networks.drawings(64)
        for number in range(arguments.photos // len(drawings)):
            copy = folder / "photos" / f"{number:04}"
            copy.mkdir(parents=True)
            networks.write_photos(copy, drawings)
        list_photos(str(folder / "photos"), open_folder(str(folder / "manifest")))
        rates = _measure(folder, arguments.model)
    sys.stdout.write(f"1 node {rates[0]:,.0f} photos/s, 2 nodes {rates[1]:,.0f}: {rates[1] / rates[0]:.2f} times\n")


def _measure(folder: Path, model: Path) -> list[float]:
    """Return the photos per second on one node and on two."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False},
    )
    usable, rates = os.sched_getaffinity(0), []
    try:
        for nodes, core in enumerate(sorted(usable)[:2], 1):
            os.sched_setaffinity(0, {core})
            cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
            os.sched_setaffinity(0, usable)
            command = ["bulk", "run", folder / "manifest", "--bundle", model, "--out", folder / f"answers-{nodes}"]
            options = ["--address", cluster.address, "--worker-cpus", 1, "--workers", nodes, "--block-photos", 256]
            done = subprocess.run(
                [sys.executable, "-m", "planespotter_client.commands.main", *map(str, (*command, *options))],
                capture_output=True,
                text=True,
                check=False,
            )
            rate = re.search(r"photos, ([\d,.]+) photos/s", done.stdout)
            if not rate:
                raise SystemExit(done.stderr)
            rates.append(float(rate[1].replace(",", "")))
    finally:
        cluster.shutdown()
    return rates


if __name__ == "__main__":
    main()
