"""Several server processes on one port: shares of the limits, summed metrics, replacement and one drain."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from tests.server.test_serve import SERVE

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_server import workers
from planespotter_server.settings import ServerError, Settings

Paint = Callable[..., bytes]


def test_each_worker_has_an_equal_share_of_limits_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "has_accelerator", lambda: False)
    monkeypatch.setattr(workers, "cores", lambda: 8)
    total = Settings(workers=3, max_in_flight_photos=100, max_streams=9, decode_threads=2, metrics_port=9000)
    each = workers.share(total)
    assert (each.max_in_flight_photos, each.max_streams) == (34, 3)
    assert (each.decode_threads, each.engine_threads) == (1, 2)
    assert each.metrics_port is None
    assert each.max_in_flight_per_stream == total.max_in_flight_per_stream, "a stream is with one worker"


@pytest.mark.parametrize(("host", "accelerator"), [("unix:/run/planes.sock", False), ("127.0.0.1", True)])
def test_several_workers_need_a_port_and_a_cpu(monkeypatch: pytest.MonkeyPatch, host: str, accelerator: bool) -> None:
    monkeypatch.setattr(workers, "has_accelerator", lambda: accelerator)
    with pytest.raises(ServerError, match="workers is above 1"):
        workers.share(Settings(workers=2, host=host))


def test_metrics_of_workers_are_summed_by_labels() -> None:
    def report(photos: int, started: float) -> list[Any]:
        counter = CounterMetricFamily("planespotter_photos", "Photos.", labels=["outcome"])
        counter.add_metric(["predicted"], photos)
        histogram = HistogramMetricFamily("seconds", "Times.", buckets=[("1.0", photos), ("+Inf", photos)], sum_value=2)
        return [counter, histogram, GaugeMetricFamily("process_start_time_seconds", "Start.", value=started)]

    total = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in workers.summed([report(3, 50.0), report(4, 40.0)])
        for sample in metric.samples
    }
    assert total["planespotter_photos_total", "predicted"] == 7
    assert total["seconds_bucket", "+Inf"] == 7
    assert total["seconds_sum",] == 4
    assert total["process_start_time_seconds",] == 40.0


@pytest.fixture
def served(tiny_bundle: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A server of two workers: its process, its address and the address of its metrics."""
    options = [
        "--workers",
        "2",
        "--model",
        str(tiny_bundle),
        "--batch-sizes",
        "1",
        "--port",
        "0",
        "--metrics-port",
        "0",
    ]
    with subprocess.Popen([*SERVE, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        try:
            banner = [started.stdout.readline()]
            while "metrics" not in banner[-1]:
                banner.append(started.stdout.readline())
            yield started, banner[0].split()[-1], banner[-1].split()[-1]
        finally:
            started.kill()


def pids(process: subprocess.Popen[str]) -> set[int]:
    """Return the process ids of the workers."""
    children = psutil.Process(process.pid).children()
    return {child.pid for child in children if "resource_tracker" not in " ".join(child.cmdline())}


def predicted(url: str) -> float:
    """Return the number of predicted photos in the metrics."""
    with urllib.request.urlopen(url, timeout=60) as response:
        text = response.read().decode()
    return sum(map(float, re.findall(r'^planespotter_photos_total\{outcome="predicted".*\} (.*)$', text, re.MULTILINE)))


def classify(address: str, photo: bytes) -> bool:
    """Classify a photo on a separate connection; return whether that succeeded."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel:
        request = pb.ClassifyRequest(photo=pb.Photo(content=photo))
        try:
            return bool(pb_grpc.ClassifierServiceStub(channel).Classify(request, timeout=60).prediction.path)
        except grpc.RpcError:
            return False


@pytest.mark.slow
def test_workers_share_a_port_are_replaced_measured_as_one_and_drain_together(
    served: tuple[subprocess.Popen[str], str, str], paint: Paint
) -> None:
    process, address, metrics = served
    assert process.stderr is not None
    workers_ = pids(process)
    assert len(workers_) == 2
    photo = paint("747")
    assert all(classify(address, photo) for _ in range(16))
    assert predicted(metrics) == 16

    killed = min(workers_)
    os.kill(killed, signal.SIGKILL)
    while json.loads(process.stderr.readline())["event"] != "worker_ended":
        pass
    assert classify(address, photo), "the other worker is still there"
    end = time.monotonic() + 120
    while time.monotonic() < end and len(pids(process) - {killed}) != 2:
        time.sleep(0.1)
    while json.loads(process.stderr.readline())["event"] != "serving":
        pass
    assert all(classify(address, photo) for _ in range(16))
    assert predicted(metrics) == 16 + 1 + 16

    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not [pid for pid in workers_ if psutil.pid_exists(pid)]


@pytest.mark.slow
def test_invalid_bundle_is_reported_once_by_several_workers(tmp_path: Path) -> None:
    run = subprocess.run(
        [*SERVE, "--workers", "2", "--model", str(tmp_path), "--port", "0"], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 1
    assert run.stderr.count("error: ") == 1
