"""Chaos test: run a job on a Ray cluster of several local nodes, kill its parts, and count the answers.

    python -m tests.bulk.chaos --kills 20

A supervisor runs the same command until it succeeds. Kills happen at random moments after each further share of the
blocks is committed: a worker process, a node, or the driver, in a shuffled order, all by SIGKILL. Everything listens on
loopback.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update(
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # listen on loopback
    RAY_USAGE_STATS_ENABLED="0",
    RAY_BACKEND_LOG_LEVEL="fatal",
    RAY_AUTH_MODE="token",
    RAY_AUTH_TOKEN=os.environ.get("RAY_AUTH_TOKEN", "c" * 64),
    JAX_PLATFORMS="cpu",
)

import psutil
from tests.bulk.jobs import write_manifest

from planespotter_bulk.account import account
from planespotter_bulk.answers import committed_parts
from planespotter_bulk.storage import open_folder

KINDS = ("worker", "node", "driver")
WORKER_TITLE = "MapWorker"
MAX_SECONDS = 900.0


class Chaos:
    """A cluster with a head that runs no workers and two nodes with one core each, and a supervised job on it."""

    def __init__(self, folder: Path, bundle: Path, photos: list[str], block_photos: int) -> None:
        from ray.cluster_utils import Cluster

        self.manifest = write_manifest(folder / "manifest", photos)
        self.answers = open_folder(str(folder / "answers"))
        self.blocks = -(-len(photos) // block_photos)
        self.log = (folder / "driver.log").open("ab")
        self.cluster: Any = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": 100 << 20, "include_dashboard": False},
        )
        self.nodes = [self._add_node() for _ in range(2)]
        options = ("--block-photos", block_photos, "--worker-cpus", 1, "--workers", 2, "--stall-minutes", 2)
        arguments = ("bulk", "run", self.manifest, "--out", self.answers, "--bundle", bundle, "--engine", "jax")
        self._command = [sys.executable, "-m", "planespotter_client.commands.main", *map(str, (*arguments, *options))]
        self._command += ["--address", self.cluster.address]
        self.runs = 0
        self.driver = self._start_driver()

    def _add_node(self) -> Any:
        return self.cluster.add_node(num_cpus=1, object_store_memory=100 << 20)

    def _start_driver(self) -> "subprocess.Popen[bytes]":
        self.runs += 1
        return subprocess.Popen(self._command, stdout=self.log, stderr=self.log)

    def committed(self) -> int:
        return len(committed_parts(self.answers))

    def supervise(self) -> bool:
        """Restart a driver that has ended too early; return whether the job is done."""
        code = self.driver.poll()
        if code is None:
            return False
        if code == 0:
            return True
        if code not in (75, -signal.SIGKILL):
            raise AssertionError(f"the driver ended with code {code}")
        self.driver = self._start_driver()
        return False

    def kill(self, kind: str) -> bool:
        """Kill one part; return whether there was one."""
        if kind == "driver":
            self.driver.kill()
            self.driver.wait()
            return True
        if kind == "node":
            self.cluster.remove_node(self.nodes.pop(0), allow_graceful=False)
            self.nodes.append(self._add_node())
            return True
        workers = [process for process in psutil.process_iter() if is_worker(process)]
        if workers:
            random.choice(workers).kill()
        return bool(workers)

    def close(self) -> None:
        self.driver.kill()
        self.driver.wait()
        self.cluster.shutdown()
        self.log.close()


def is_worker(process: psutil.Process) -> bool:
    """Return whether a process is a worker of this cluster."""
    try:
        return WORKER_TITLE in " ".join(process.cmdline()) and os.environ["RAY_AUTH_TOKEN"] == process.environ().get(
            "RAY_AUTH_TOKEN"
        )
    except psutil.Error:
        return False


def run(folder: Path, bundle: Path, photos: list[str], block_photos: int, kills: int, seed: int) -> dict[str, Any]:
    """Run a job with `kills` kills; return what happened."""
    random.seed(seed)
    start = time.monotonic()
    chaos = Chaos(folder, bundle, photos, block_photos)
    todo = [KINDS[i % len(KINDS)] for i in range(kills)]
    random.shuffle(todo)
    done: list[tuple[str, int]] = []
    try:
        while not chaos.supervise():
            assert time.monotonic() - start < MAX_SECONDS, f"the job hangs at {chaos.committed()} of {chaos.blocks}"
            share = (len(done) + 1) / (kills + 1)
            if len(done) < kills and chaos.committed() >= share * chaos.blocks * 0.9:
                time.sleep(random.uniform(0, 0.5))
                if chaos.kill(todo[len(done)]):
                    done.append((todo[len(done)], chaos.committed()))
            time.sleep(0.1)
        result = account(chaos.manifest, chaos.answers)
    finally:
        chaos.close()
    return {
        "kills": done,
        "runs": chaos.runs,
        "blocks": chaos.blocks,
        "photos": result.photos,
        "answered": result.statuses["answered"],
        "reasons": dict(result.reasons),
        "missing": result.statuses["missing"],
        "duplicate": result.statuses["duplicate"],
        "seconds": round(time.monotonic() - start, 1),
    }


def main() -> None:
    """Run it with the photos and the tiny bundle of the tests."""
    from tests.conftest import write_tiny_bundle

    parser = argparse.ArgumentParser(prog="python -m tests.bulk.chaos")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--photos", type=int, default=6000)
    parser.add_argument("--block-photos", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        write_tiny_bundle(folder / "bundle")
        files = write_photos(folder / "photos")
        photos = [files[i % len(files)] for i in range(arguments.photos)]
        result = run(folder, folder / "bundle", photos, arguments.block_photos, arguments.kills, arguments.seed)
        sys.stderr.write((folder / "driver.log").read_text()[-2000:])
    sys.stdout.write(f"{json.dumps(result)}\n")


def write_photos(folder: Path) -> list[str]:
    """Write a photo of each type that the tiny bundle knows."""
    from PIL import Image
    from tests.conftest import PAINTS

    folder.mkdir(parents=True)
    for name, color in PAINTS.items():
        Image.new("RGB", (150, 100), color).save(folder / f"{name}.jpg")
    return sorted(map(str, folder.iterdir()))


if __name__ == "__main__":
    main()
