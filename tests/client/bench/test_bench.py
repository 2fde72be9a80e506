"""`planespotter bench` against a real server."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import xml.dom.minidom
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client.commands.main import main as planespotter

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

PLANESPOTTER = [sys.executable, "-m", "planespotter_client.commands.main"]
QUICK = ("--seconds", "0.6", "--warm-up", "0.2", "--deadline", "300")
BY_PHOTOS = ("--seconds", "300", "--deadline", "300")  # ends earlier, by its number of photos


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*PLANESPOTTER, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def main(*arguments: object) -> int:
    """Run the command in this process, which is faster; return its exit code."""
    with pytest.raises(SystemExit) as ending:
        planespotter([str(argument) for argument in arguments])
    assert isinstance(ending.value.code, int)
    return ending.value.code


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, paint: Callable[..., bytes]) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("747", "A380", "737-800"):
        (folder / f"{name}.jpg").write_bytes(paint(name))
    return folder


def bench_json(tmp_path: Path, *arguments: object) -> Any:
    done = call("bench", *arguments, "--json", tmp_path / "results.json")
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / "results.json").read_text())


@pytest.mark.parametrize("mode", ["unary", "batch", "stream"])
@pytest.mark.parametrize("loop", [("--callers", "3"), ("--rate", "60", "--processes", "2")])
def test_each_mode_works_in_a_closed_and_an_open_loop(
    mode: str, loop: tuple[str, ...], address: str, photos: Path, tmp_path: Path
) -> None:
    options = ("--server", address, "--mode", mode, *loop, *QUICK, "--batch-size", "5")
    for seconds in (0.6, 6, 60):  # longer only on an overloaded machine
        [step] = bench_json(tmp_path, photos, *options, "--seconds", seconds)["steps"]
        if step["goodput"] > 0 and step["within_deadline"] > 5:
            break
    assert step["errors"] == []
    assert step["latency"]["photos"] == step["within_deadline"] > 5
    assert step["throughput"] >= step["goodput"] > 0
    assert 0 < step["latency"]["p50"] <= step["latency"]["p99"] <= step["latency"]["max"]
    assert sum(second["sent"] for second in step["by_second"]) == step["latency"]["photos"]


@pytest.mark.parametrize("mode", ["unary", "batch", "stream"])
def test_exact_number_of_photos_is_sent(mode: str, address: str, photos: Path, tmp_path: Path) -> None:
    options = ("--mode", mode, "--photos", 37, "--callers", 5, "--processes", 2, "--batch-size", 4, *BY_PHOTOS)
    [step] = bench_json(tmp_path, photos, "--server", address, *options)["steps"]
    assert step["latency"]["photos"] == 37


def test_failed_photos_are_counted_by_code_and_reason(address: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"not a photo")
    for mode in ("unary", "batch", "stream"):
        options = ("--server", address, "--mode", mode, "--photos", 9, "--batch-size", 3, *BY_PHOTOS)
        done = call("bench", tmp_path / "bad.jpg", *options)
        assert done.returncode == 1, "no photo was classified"
        assert "9 photos: INVALID_ARGUMENT (PHOTO_FORMAT_UNSUPPORTED)" in done.stdout


def test_html_report_has_charts_with_a_text_description(address: str, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "reports" / "report.html"
    options = ("--server", address, "--sweep", "callers=1,4", *QUICK, "--out", page)
    for seconds in (0.6, 6, 60):  # longer only on an overloaded machine
        done = call("bench", photos, *options, "--seconds", seconds)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    assert "1 caller" in done.stdout
    assert "4 callers" in done.stdout
    text = page.read_text(encoding="utf-8")
    charts = re.findall(r"<svg.+?</svg>", text, re.DOTALL)
    assert len(charts) == 2
    for chart in charts:
        root = xml.dom.minidom.parseString(chart).documentElement
        assert root is not None
        assert root.getAttribute("role") == "img"
        assert "callers" in root.getAttribute("aria-label")
        assert "nan" not in chart
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"(src|href)=", text), "the page is self-contained"


def test_soak_cancels_calls_reconnects_and_measures_the_server(address: str, photos: Path, tmp_path: Path) -> None:
    options = ("--warm-up", "0", "--deadline", "300", "--server-pid", os.getpid())  # any process on this machine
    for minutes in (0.05, 0.5, 2):  # longer only on an overloaded machine
        [step] = bench_json(tmp_path, photos, "--server", address, *options, "--soak", minutes)["steps"]
        if step["connections"] > 8:
            break
    assert step["load"]["modes"] == ["unary", "batch", "stream"]
    assert step["errors"] == []
    assert step["connections"] > 8
    assert step["memory"][0]["bytes"] > 2**20
    assert step["generator_cores"] > 0
    assert step["server_cores"] is not None


class Counting(pb_grpc.ClassifierServiceServicer):
    """A server that sets `enough` after 500 results, when callers have received some of them."""

    def __init__(self) -> None:
        self.left, self.enough = 500, threading.Event()

    def GetModel(self, request: Any, context: Any) -> pb.GetModelResponse:  # noqa: N802
        return pb.GetModelResponse()

    def GetServerInfo(self, request: Any, context: Any) -> pb.GetServerInfoResponse:  # noqa: N802
        return pb.GetServerInfoResponse(limits=pb.Limits(max_batch_photos=1, max_in_flight_per_stream=4))

    def ListModels(self, request: Any, context: Any) -> NoReturn:  # noqa: N802
        raise NotImplementedError

    Classify = BatchClassify = ListModels

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[pb.StreamClassifyResponse]:  # noqa: N802
        for request in requests:
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=request.photo.id, prediction=pb.Prediction()))
            self.left -= 1
            if self.left < 0:
                self.enough.set()


@pytest.fixture
def counting() -> Iterator[tuple[str, threading.Event]]:
    servicer, server = Counting(), grpc.server(futures.ThreadPoolExecutor(20))
    pb_grpc.add_ClassifierServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", servicer.enough
    server.stop(None).wait()


def test_ctrl_c_prints_the_results_so_far(counting: tuple[str, threading.Event], photos: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    address, enough = counting
    command = [*PLANESPOTTER, "bench", str(photos), "--server", address, "--seconds", "300", "--json", str(results)]
    command += ["--warm-up", "0", "--mode", "stream", "--processes", "2", "--server-pid", str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "8 callers: 300 s at most.\n"
            assert enough.wait(120)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "Interrupted" in out
    [step] = json.loads(results.read_text())["steps"]
    assert step["interrupted"]
    assert step["latency"]["photos"] > 0
    assert step["seconds"] < 300


def test_long_load_test_needs_max_minutes(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("bench", photos, "--find-peak", "--seconds", "200") == 1
    assert "This would take 36.9 minutes (11 loads of 201 s); the limit is 10." in capsys.readouterr().err


def test_missing_photos_process_and_server_are_reported(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("bench", tmp_path) == 1
    assert "There are no photos" in capsys.readouterr().err
    assert main("bench", photos, "--server-pid", "999999999") == 1
    assert "The memory of process 999999999 cannot be read" in capsys.readouterr().err
    done = call("bench", photos, "--server", "127.0.0.1:1", "--photos", "1")
    assert done.returncode == 1
    assert "No planespotter server responds at 127.0.0.1:1" in done.stderr


@pytest.mark.parametrize(
    "options", [("--soak", "1", "--find-peak"), ("--rate", "5", "--find-peak"), ("--soak", "1", "--photos", "5")]
)
def test_options_that_exclude_each_other_are_wrong_usage(options: tuple[str, ...], photos: Path) -> None:
    assert main("bench", photos, *options) == 2
