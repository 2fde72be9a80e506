"""`planespotter serve` as a separate process: startup, drain, model updates, device failure and errors."""

import contextlib
import io
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client.commands.main import main
from planespotter_models import decode_photo, decode_prediction, read_bundle, write_bundle
from planespotter_server.server import serve
from planespotter_server.serving import served_model
from planespotter_server.settings import ServerError, load_settings

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

SERVE = [sys.executable, "-m", "planespotter_client.commands.main", "serve"]
BUF = Path(sysconfig.get_path("scripts")) / "buf"


@pytest.fixture
def process(tiny_bundle: Path, request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of `serve`, with the options that a test passes as parameters, and its address."""
    options = ["--port", "0", "--batch-sizes", "1,4", *getattr(request, "param", [])]
    command = [*SERVE, "--model", str(tiny_bundle), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        line = started.stdout.readline()
        match = re.fullmatch(r"Serving tiny 1 on (127\.0\.0\.1:\d+)\n", line)
        assert match, (line, started.stderr and started.stderr.read())
        yield started, match[1]
        started.kill()


def call_with_buf(address: str, method: str, message: object = None) -> dict[str, object]:
    command = [str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--data", json.dumps(message or {})]
    url = f"http://{address}/planespotter.v1.ClassifierService/{method}"
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    response: dict[str, object] = json.loads(done.stdout)
    return response


def test_server_starts_serves_and_drains(
    process: tuple[subprocess.Popen[str], str], paint: Callable[..., bytes]
) -> None:
    started, address = process
    with grpc.insecure_channel(address) as channel:
        for name in ("", "planespotter.v1.ClassifierService"):
            health = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]
                health_pb2.HealthCheckRequest(service=name)
            )
            assert health.status == health_pb2.HealthCheckResponse.SERVING
        response = pb_grpc.ClassifierServiceStub(channel).Classify(
            pb.ClassifyRequest(photo=pb.Photo(content=paint("737-800")))
        )
        assert response.prediction.path[2].name == "737-800"
        if BUF.exists():  # learns the contract by reflection only
            assert call_with_buf(address, "GetModel")["model"]["name"] == "tiny"  # type: ignore[index]
        started.send_signal(signal.SIGTERM)
        _, logs = started.communicate(timeout=120)
    assert started.returncode == 0
    assert [json.loads(line)["event"] for line in logs.splitlines() if line.startswith("{")] == [
        "warming_up",
        "serving",
        "draining",
        "stopped",
    ]


class Load:
    """Sends photos by unary, batch and stream calls until the server rejects them; counts the outcomes."""

    def __init__(self, address: str, photo: bytes) -> None:
        self.channel = grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)])
        self.stub = pb_grpc.ClassifierServiceStub(self.channel)
        self.photo = photo
        self.predicted = Counter[str]()
        self.streamed = Counter[str]()
        self.unexpected: list[str] = []
        self.rejected = 0

    def check(self, kind: str, predictions: Iterable[pb.Prediction]) -> None:
        for prediction in predictions:
            assert prediction.path[1].name == "747"
            self.predicted[kind] += 1

    def reject(self, code: grpc.StatusCode, details: str) -> None:
        """Count a call that the server did not accept, so that it is safe to retry elsewhere."""
        if code is grpc.StatusCode.UNAVAILABLE and ("shutting down" in details or "onnect" in details):
            self.rejected += 1
        else:
            self.unexpected.append(f"{code} {details}")

    def call_unary(self) -> None:
        try:
            while True:
                self.check(
                    "unary",
                    [self.stub.Classify(pb.ClassifyRequest(photo=pb.Photo(content=self.photo))).prediction],
                )
        except grpc.RpcError as error:
            self.reject(error.code(), error.details() or "")

    def call_batch(self) -> None:
        try:
            while True:
                results = self.stub.BatchClassify(
                    pb.BatchClassifyRequest(photos=[pb.Photo(content=self.photo)] * 5)
                ).results
                self.check("batch", [result.prediction for result in results if not result.HasField("error")])
                for result in results:
                    if result.HasField("error"):
                        self.reject(grpc.StatusCode.UNAVAILABLE, result.error.message)
        except grpc.RpcError as error:
            self.reject(error.code(), error.details() or "")

    def call_stream(self, ordering: pb.Ordering.ValueType) -> None:
        def endless() -> Iterator[pb.StreamClassifyRequest]:
            yield pb.StreamClassifyRequest(config=pb.StreamConfig(ordering=ordering))
            for number in itertools.count():
                yield pb.StreamClassifyRequest(photo=pb.Photo(id=str(number), content=self.photo))

        responses = []
        for response in self.stub.StreamClassify(endless()):  # ends without an error
            responses.append(response)
            self.streamed[pb.Ordering.Name(ordering)] += 1
        [notice] = [response for response in responses if response.HasField("drain_notice")]
        results = [response.result for response in responses if response is not notice]
        self.check("stream", [result.prediction for result in results])
        numbers = [int(result.id) for result in results]
        if ordering == pb.ORDERING_IN_ORDER:
            assert numbers == sorted(numbers)
        assert sorted(numbers) == list(range(notice.drain_notice.accepted_count)), "one result per accepted photo"


@pytest.mark.parametrize("process", [["--grace-seconds", "600"]], indirect=True)
def test_signal_under_load_loses_no_accepted_photo(
    process: tuple[subprocess.Popen[str], str], paint: Callable[..., bytes]
) -> None:
    started, address = process
    load = Load(address, paint("747"))
    with load.channel, futures.ThreadPoolExecutor(8) as pool:
        callers = [
            *(pool.submit(load.call_unary) for _ in range(3)),
            *(pool.submit(load.call_batch) for _ in range(2)),
            *(pool.submit(load.call_stream, ordering) for ordering in pb.Ordering.values()),
        ]
        while (
            min(load.predicted["unary"], load.predicted["batch"], *map(load.streamed.__getitem__, pb.Ordering.keys()))
            < 20
        ):
            assert not any(caller.done() for caller in callers)
            time.sleep(0.01)
        started.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.result(timeout=120)
    assert load.unexpected == []
    assert load.rejected >= 5
    assert min(load.predicted.values()) >= 20
    assert started.wait(120) == 0


# The command with an engine that prints "inference" when it gets a photo, and then blocks.
BLOCKING = """
import sys, time
from planespotter_client.commands.main import main
import planespotter_models

load = planespotter_models.load_engine

class Blocking:
    def __init__(self, engine):
        self.batch_sizes, self.description, self.in_flight = engine.batch_sizes, engine.description, engine.in_flight
        self.engine, self.warm_up_runs = engine, 3  # a photo of each format, before it serves
    def run(self, photos):
        self.warm_up_runs -= 1
        if self.warm_up_runs >= 0:
            return self.engine.run(photos)
        print("inference", flush=True)
        time.sleep(3600)

planespotter_models.load_engine = lambda *arguments: Blocking(load(*arguments))
main(sys.argv[1:])
"""


def test_second_signal_stops_at_once(tiny_bundle: Path, paint: Callable[..., bytes]) -> None:
    options = ["--model", str(tiny_bundle), "--port", "0", "--batch-sizes", "1", "--grace-seconds", "3600"]
    command = [sys.executable, "-c", BLOCKING, "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        address = started.stdout.readline().split()[-1]
        with grpc.insecure_channel(address) as channel:
            waiting = pb_grpc.ClassifierServiceStub(channel).Classify.future(
                pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))
            )
            while started.stdout.readline() not in ("inference\n", ""):  # after the startup banner
                pass
            started.send_signal(signal.SIGTERM)
            assert any(json.loads(line)["event"] == "draining" for line in started.stderr)
            started.send_signal(signal.SIGTERM)  # one photo is still in flight
            _, logs = started.communicate(timeout=120)
            assert isinstance(waiting.exception(), grpc.RpcError)
    assert started.returncode == 1
    assert json.loads(logs.splitlines()[-1])["drained"] is False


def test_signal_during_warm_up_stops_cleanly(tiny_bundle: Path) -> None:
    sizes = ",".join(map(str, range(1, 200)))  # a long time to warm up
    command = [*SERVE, "--model", str(tiny_bundle), "--port", "0", "--batch-sizes", sizes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        assert json.loads(started.stderr.readline())["event"] == "warming_up"
        started.send_signal(signal.SIGTERM)
        out, logs = started.communicate(timeout=120)
    assert (started.returncode, out) == (0, "")
    assert [json.loads(line)["event"] for line in logs.splitlines()] == ["stopped"]


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a version of the model `tiny`, to the folder `models` or elsewhere."""

    def write(version: str, models: str = "models") -> Path:
        path = tmp_path / models / "tiny" / version
        write_bundle(replace(read_bundle(tiny_bundle), version=version), path)
        return path

    return write


def test_new_versions_are_loaded_under_load_and_broken_ones_are_not(
    folder: Callable[..., Path], tmp_path: Path, paint: Callable[..., bytes]
) -> None:
    folder("1")
    options = [
        "--model-repository",
        str(tmp_path / "models"),
        "--poll-seconds",
        "0.1",
        "--port",
        "0",
        "--batch-sizes",
        "1,4",
    ]
    with subprocess.Popen([*SERVE, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        address = started.stdout.readline().split()[-1]
        versions: Counter[str] = Counter()
        done = threading.Event()
        photo = paint("747")

        def call() -> None:
            with grpc.insecure_channel(address) as channel:
                stub = pb_grpc.ClassifierServiceStub(channel)
                while not done.is_set():
                    versions[
                        stub.Classify(pb.ClassifyRequest(photo=pb.Photo(content=photo))).prediction.model_version
                    ] += 1

        def stream() -> None:
            def photos() -> Iterator[pb.StreamClassifyRequest]:
                while not done.is_set():
                    yield pb.StreamClassifyRequest(photo=pb.Photo(content=photo))

            with grpc.insecure_channel(address) as channel:
                for response in pb_grpc.ClassifierServiceStub(channel).StreamClassify(photos()):
                    versions[response.result.prediction.model_version] += 1

        def wait_for(version: str) -> None:
            previous, deadline = versions[version], time.monotonic() + 120
            while versions[version] < previous + 20:
                assert not any(caller.done() for caller in callers)
                assert time.monotonic() < deadline, f"version {version} is not served"
                time.sleep(0.01)

        with futures.ThreadPoolExecutor(3) as pool:
            callers = [pool.submit(call), pool.submit(call), pool.submit(stream)]
            try:
                wait_for("1")
                folder("2")
                wait_for("2")
                broken = folder("3", "elsewhere")
                (broken / "weights.safetensors").write_bytes(b"no weights")
                broken.rename(tmp_path / "models" / "tiny" / "3")
                while started.stderr and json.loads(started.stderr.readline())["event"] != "model_incomplete":
                    pass
                wait_for("2")
                folder("4", "elsewhere").rename(tmp_path / "models" / "tiny" / "5")
                while started.stderr and json.loads(started.stderr.readline())["event"] != "model_load_failed":
                    pass
                wait_for("2")
            finally:
                done.set()
            for caller in callers:
                caller.result(timeout=120)
        assert set(versions) == {"1", "2"}
        started.send_signal(signal.SIGTERM)
        assert started.wait(120) == 0


# The command with a network of version 2 that takes until a file is there to load.
STUCK_LOAD = """
import os, sys, time
from planespotter_client.commands.main import main
import planespotter_models

load = planespotter_models.load_engine

def load_engine(bundle, *arguments):
    while bundle.version == "2" and not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    return load(bundle, *arguments)

planespotter_models.load_engine = load_engine
main(sys.argv[2:])
"""


def test_bundle_that_still_occupies_a_core_after_its_time_limit_is_in_the_metrics(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder("1")
    options = ["--model-repository", str(tmp_path / "models"), "--port", "0", "--batch-sizes", "1"]
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        metrics_port = reserved.getsockname()[1]
    options += ["--poll-seconds", "0.1", "--load-timeout", "10", "--metrics-port", str(metrics_port)]
    release = tmp_path / "release"
    command = [sys.executable, "-c", STUCK_LOAD, str(release), "serve", *options]

    def wait_for(stuck_loads: float) -> None:
        deadline = time.monotonic() + 60
        while True:
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=60) as page:
                if f"\nplanespotter_bundle_loads_stuck {stuck_loads}\n" in page.read().decode():
                    return
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        assert started.stdout.readline().startswith("Serving tiny 1")
        wait_for(0.0)
        folder("2")
        while (line := json.loads(started.stderr.readline()))["event"] != "model_load_failed":
            pass
        assert "has not loaded within load_timeout (10 s)" in line["error"]
        wait_for(1.0)
        release.touch()
        wait_for(0.0)
        started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 0


@pytest.mark.parametrize("option", ["--model", "--model-repository"])
def test_server_whose_only_bundle_does_not_load_in_time_says_so_and_ends(
    folder: Callable[..., Path], tmp_path: Path, option: str
) -> None:
    path = folder("2")
    options = [option, str(path if option == "--model" else tmp_path / "models"), "--port", "0", "--load-timeout", "2"]
    command = [sys.executable, "-c", STUCK_LOAD, str(tmp_path / "never"), "serve", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "has not loaded within load_timeout (2 s)" in done.stderr.splitlines()[-1]


# The command with an engine that works at first and then, while photos wait, only fails, or blocks.
FAILING = """
import sys, time
from planespotter_client.commands.main import main
import planespotter_models

load, decode, decoded = planespotter_models.load_engine, planespotter_models.decode_photo, []

def counting(*arguments):
    decoded.append(1)
    return decode(*arguments)

class Failing:
    def __init__(self, engine):
        self.engine, self.batch_sizes, self.runs_left, self.examples = engine, engine.batch_sizes, 20, 0
        self.description, self.in_flight = engine.description, engine.in_flight
    def run(self, photos):
        self.runs_left -= 1
        self.examples += len(photos)
        while self.runs_left == -1 and len(decoded) < self.examples + 30:  # more than fail with the device
            time.sleep(0.01)
        if self.runs_left < 0 and sys.argv[1] == "fails":
            raise RuntimeError("/dev/secret: the device is gone")
        time.sleep(3600 if self.runs_left < 0 else 0)
        return self.engine.run(photos)

planespotter_models.load_engine = lambda *arguments: Failing(load(*arguments))
planespotter_models.decode_photo = counting
main(sys.argv[2:])
"""


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_failed_device_ends_the_process_with_exit_code_75(
    tiny_bundle: Path, paint: Callable[..., bytes], how: str
) -> None:
    options = ["--model", str(tiny_bundle), "--port", "0", "--batch-sizes", "4", "--inference-timeout", "5"]
    command = [sys.executable, "-c", FAILING, how, "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        address = started.stdout.readline().split()[-1]
        with grpc.insecure_channel(address) as channel:
            photo, responses = paint("747"), []

            def endless() -> Iterator[pb.StreamClassifyRequest]:
                for number in itertools.count():
                    yield pb.StreamClassifyRequest(photo=pb.Photo(id=str(number), content=photo))

            # gRPC may notice the end of the process before the end of the stream.
            with contextlib.suppress(grpc.RpcError):
                for response in pb_grpc.ClassifierServiceStub(channel).StreamClassify(endless()):
                    responses.append(response)  # noqa: PERF402  (responses before the error count)
        _, logs = started.communicate(timeout=120)
    assert started.returncode == 75
    assert "device_failed" in [json.loads(line)["event"] for line in logs.splitlines() if line.startswith("{")]
    assert any(response.HasField("drain_notice") for response in responses)
    results = [response.result for response in responses]
    assert any(result.prediction.path[1].name == "747" for result in results if result.HasField("prediction"))
    messages = {result.error.message for result in results if result.HasField("error")}
    assert any("has failed and the server is about to exit" in message for message in messages)
    assert not any("secret" in message for message in messages)


def error_of(*arguments: str, exit_code: int = 1, **environment: str) -> str:
    done = subprocess.run([*SERVE, *arguments], capture_output=True, text=True, env={**os.environ, **environment})
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_missing_bundle_is_an_error(tmp_path: Path) -> None:
    assert "No bundle at" in error_of("--model", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("file", ["bundle.json", "model.stablehlo", "weights.safetensors"])
def test_bundle_with_one_flipped_byte_is_an_error(tiny_bundle: Path, tmp_path: Path, file: str) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_bundle, damaged)
    content = bytearray((damaged / file).read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / file).write_bytes(content)
    assert file in error_of("--model", str(damaged))


def test_port_in_use_is_an_error(process: tuple[subprocess.Popen[str], str], tiny_bundle: Path) -> None:
    port = process[1].rpartition(":")[2]
    error = error_of("--model", str(tiny_bundle), "--port", port)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in error
    assert error.startswith("error: ")
    assert ".cc:" not in error, "gRPC's log lines are suppressed"


@pytest.mark.parametrize("host", ["203.0.113.7", "nowhere.invalid", "x..y"])
def test_foreign_host_is_an_error(tiny_bundle: Path, host: str) -> None:
    error = error_of("--model", str(tiny_bundle), "--host", host, "--insecure")
    assert error.startswith(f"error: The server cannot listen on {host}:50051: ")


def test_invalid_setting_is_an_error(tiny_bundle: Path) -> None:
    error = error_of("--model", str(tiny_bundle), exit_code=2, PLANESPOTTER_MAX_IN_FLIGHT_PER_STREAM="none")
    assert "PLANESPOTTER_MAX_IN_FLIGHT_PER_STREAM" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "tiny", "model_repository": "empty"}, "Both --model and --model-repository are set"),
        ({"model_repository": "empty"}, "has no usable model"),
        ({"model": "tiny", "default_model": "large"}, "default_model is unknown: 'large'; the server has 'tiny'"),
    ],
)
async def test_missing_model_is_an_error(
    tiny_bundle: Path, tmp_path: Path, arguments: dict[str, str], message: str
) -> None:
    places = {"tiny": tiny_bundle, "empty": tmp_path}
    options: dict[str, object] = {name: places.get(place, place) for name, place in arguments.items()}
    settings = load_settings(None, port=0, batch_sizes="1", **options)
    with pytest.raises(ServerError, match=message):
        await serve(settings, lambda _: pytest.fail("it serves"))


async def test_server_warms_up_each_photo_format_before_it_serves(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[object] = []
    original_decode, original_predict = decode_photo, decode_prediction

    def decode(photo: bytes, *rest: Any) -> Any:
        events.append(Image.open(io.BytesIO(photo)).format)
        return original_decode(photo, *rest)

    def predict(*rest: Any, **options: Any) -> Any:
        events.append("predicted")
        return original_predict(*rest, **options)

    def announce(_: str) -> None:
        events.append("serving")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(served_model, "decode_photo", decode)
    monkeypatch.setattr(served_model, "decode_prediction", predict)
    settings = load_settings(None, port=0, batch_sizes="1", model=tiny_bundle, drain_seconds=0.0)
    assert await serve(settings, announce) == 0
    assert events == ["JPEG", "predicted", "PNG", "predicted", "WEBP", "predicted", "serving"]


def test_command_reads_the_settings_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "serve.toml"
    config.write_text("max_stream = 3\n")
    with pytest.raises(SystemExit):
        main(["serve", "--config", str(config)])
    assert "Did you mean max_streams?" in capsys.readouterr().err
