"""The command `planespotter serve` as a process of its own."""

import contextlib
import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
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
    """A serving process (with more flags if a test gives them) and the address that it announced."""
    flags = ["--port", "0", "--batch-sizes", "1,4", *getattr(request, "param", [])]
    command = [*SERVE, "--model", str(tiny_bundle), *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        line = started.stdout.readline()
        found = re.fullmatch(r"Serving tiny 1 on (127\.0\.0\.1:\d+)\n", line)
        assert found, (line, started.stderr and started.stderr.read())
        yield started, found[1]
        started.kill()


def call_with_buf(address: str, method: str, message: object = None) -> dict[str, object]:
    command = [str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--data", json.dumps(message or {})]
    url = f"http://{address}/planespotter.v1.ClassifierService/{method}"
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_it_announces_itself_answers_and_stops_cleanly(
    process: tuple[subprocess.Popen[str], str], paint: Callable[..., bytes]
) -> None:
    started, address = process
    with grpc.insecure_channel(address) as channel:
        for name in ("", "planespotter.v1.ClassifierService"):
            health = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]
                health_pb2.HealthCheckRequest(service=name)
            )
            assert health.status == health_pb2.HealthCheckResponse.SERVING
        answer = pb_grpc.ClassifierServiceStub(channel).Classify(
            pb.ClassifyRequest(photo=pb.Photo(content=paint("737-800")))
        )
        assert answer.prediction.path[2].name == "737-800"
        if BUF.exists():  # knows nothing of the contract but what reflection tells
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
    """Callers of every kind that go on until the server turns them away; keeps what became of each photo."""

    def __init__(self, address: str, photo: bytes) -> None:
        self.channel = grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)])
        self.stub = pb_grpc.ClassifierServiceStub(self.channel)
        self.photo = photo
        self.answered = Counter[str]()
        self.read = Counter[str]()
        self.unexplained: list[str] = []
        self.turned_away = 0

    def check(self, kind: str, answers: Iterable[pb.Prediction]) -> None:
        for answer in answers:
            assert answer.path[1].name == "747"
            self.answered[kind] += 1

    def turn_away(self, code: grpc.StatusCode, details: str) -> None:
        """Take note of a call that was not taken: it may be sent to another server without doubt."""
        if code is grpc.StatusCode.UNAVAILABLE and ("shutting down" in details or "onnect" in details):
            self.turned_away += 1
        else:
            self.unexplained.append(f"{code} {details}")

    def call_singly(self) -> None:
        try:
            while True:
                self.check(
                    "single",
                    [self.stub.Classify(pb.ClassifyRequest(photo=pb.Photo(content=self.photo))).prediction],
                )
        except grpc.RpcError as error:
            self.turn_away(error.code(), error.details() or "")

    def call_in_batches(self) -> None:
        try:
            while True:
                results = self.stub.BatchClassify(
                    pb.BatchClassifyRequest(photos=[pb.Photo(content=self.photo)] * 5)
                ).results
                self.check("batch", [result.prediction for result in results if not result.HasField("error")])
                for result in results:
                    if result.HasField("error"):
                        self.turn_away(grpc.StatusCode.UNAVAILABLE, result.error.message)
        except grpc.RpcError as error:
            self.turn_away(error.code(), error.details() or "")

    def call_in_a_stream(self, ordering: pb.Ordering.ValueType) -> None:
        def endless() -> Iterator[pb.StreamClassifyRequest]:
            yield pb.StreamClassifyRequest(config=pb.StreamConfig(ordering=ordering))
            for number in itertools.count():
                yield pb.StreamClassifyRequest(photo=pb.Photo(id=str(number), content=self.photo))

        responses = []
        for response in self.stub.StreamClassify(endless()):  # which must end well
            responses.append(response)
            self.read[pb.Ordering.Name(ordering)] += 1
        [word] = [response for response in responses if response.HasField("drain_notice")]
        answers = [response for response in responses if response is not word]
        self.check("stream", [response.result.prediction for response in answers])
        numbers = [int(response.result.id) for response in answers]
        if ordering == pb.ORDERING_IN_ORDER:
            assert numbers == sorted(numbers)
        assert sorted(numbers) == list(range(word.drain_notice.accepted_count)), "what was read was answered, each once"


@pytest.mark.parametrize("process", [["--grace-seconds", "600"]], indirect=True)
def test_a_signal_under_load_loses_no_photo_that_was_taken(
    process: tuple[subprocess.Popen[str], str], paint: Callable[..., bytes]
) -> None:
    started, address = process
    load = Load(address, paint("747"))
    with load.channel, futures.ThreadPoolExecutor(8) as pool:
        callers = [
            *(pool.submit(load.call_singly) for _ in range(3)),
            *(pool.submit(load.call_in_batches) for _ in range(2)),
            *(pool.submit(load.call_in_a_stream, ordering) for ordering in pb.Ordering.values()),
        ]
        while (
            min(load.answered["single"], load.answered["batch"], *map(load.read.__getitem__, pb.Ordering.keys())) < 20
        ):
            assert not any(caller.done() for caller in callers)
            time.sleep(0.01)
        started.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.result(timeout=120)
    assert load.unexplained == []
    assert load.turned_away >= 5
    assert min(load.answered.values()) >= 20
    assert started.wait(120) == 0


# The command with an engine that says when it has a photo, and never returns.
HOLDING = """
import sys, time
from planespotter_client.commands.main import main
import planespotter_models

load = planespotter_models.load_engine

class Holding:
    def __init__(self, engine):
        self.batch_sizes, self.description, self.in_flight = engine.batch_sizes, engine.description, engine.in_flight
        self.engine, self.rehearsals = engine, 3  # a photo of each format, before it serves
    def run(self, photos):
        self.rehearsals -= 1
        if self.rehearsals >= 0:
            return self.engine.run(photos)
        print("taken", flush=True)
        time.sleep(3600)

planespotter_models.load_engine = lambda *arguments: Holding(load(*arguments))
main(sys.argv[1:])
"""


def test_a_second_signal_stops_at_once(tiny_bundle: Path, paint: Callable[..., bytes]) -> None:
    flags = ["--model", str(tiny_bundle), "--port", "0", "--batch-sizes", "1", "--grace-seconds", "3600"]
    command = [sys.executable, "-c", HOLDING, "serve", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        address = started.stdout.readline().split()[-1]
        with grpc.insecure_channel(address) as channel:
            waiting = pb_grpc.ClassifierServiceStub(channel).Classify.future(
                pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))
            )
            while started.stdout.readline() not in ("taken\n", ""):  # behind the rest of what it announces
                pass
            started.send_signal(signal.SIGTERM)
            assert any(json.loads(line)["event"] == "draining" for line in started.stderr)
            started.send_signal(signal.SIGTERM)  # one photo is still in work
            _, logs = started.communicate(timeout=120)
            assert isinstance(waiting.exception(), grpc.RpcError)
    assert started.returncode == 1
    assert json.loads(logs.splitlines()[-1])["all_answered"] is False


def test_a_signal_before_it_is_ready_ends_it_cleanly(tiny_bundle: Path) -> None:
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


def test_new_versions_take_over_under_load_and_broken_ones_do_not(
    folder: Callable[..., Path], tmp_path: Path, paint: Callable[..., bytes]
) -> None:
    folder("1")
    flags = [
        "--model-repository",
        str(tmp_path / "models"),
        "--poll-seconds",
        "0.1",
        "--port",
        "0",
        "--batch-sizes",
        "1,4",
    ]
    with subprocess.Popen([*SERVE, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        address = started.stdout.readline().split()[-1]
        seen: Counter[str] = Counter()
        done = threading.Event()
        photo = paint("747")

        def call() -> None:
            with grpc.insecure_channel(address) as channel:
                stub = pb_grpc.ClassifierServiceStub(channel)
                while not done.is_set():
                    seen[stub.Classify(pb.ClassifyRequest(photo=pb.Photo(content=photo))).prediction.model_version] += 1

        def stream() -> None:
            def photos() -> Iterator[pb.StreamClassifyRequest]:
                while not done.is_set():
                    yield pb.StreamClassifyRequest(photo=pb.Photo(content=photo))

            with grpc.insecure_channel(address) as channel:
                for answer in pb_grpc.ClassifierServiceStub(channel).StreamClassify(photos()):
                    seen[answer.result.prediction.model_version] += 1

        def until_it_answers(version: str) -> None:
            before, patience = seen[version], time.monotonic() + 120
            while seen[version] < before + 20:
                assert not any(caller.done() for caller in callers)
                assert time.monotonic() < patience, f"version {version} does not answer"
                time.sleep(0.01)

        with futures.ThreadPoolExecutor(3) as pool:
            callers = [pool.submit(call), pool.submit(call), pool.submit(stream)]
            try:
                until_it_answers("1")
                folder("2")
                until_it_answers("2")
                broken = folder("3", "elsewhere")
                (broken / "weights.safetensors").write_bytes(b"no weights")
                broken.rename(tmp_path / "models" / "tiny" / "3")
                while started.stderr and json.loads(started.stderr.readline())["event"] != "model_refused":
                    pass
                until_it_answers("2")
            finally:
                done.set()
            for caller in callers:
                caller.result(timeout=120)
        assert set(seen) == {"1", "2"}
        started.send_signal(signal.SIGTERM)
        assert started.wait(120) == 0


# The command with an engine that works for a while and then, with photos waiting, only fails, or never returns.
BREAKING = """
import sys, time
from planespotter_client.commands.main import main
import planespotter_models

load, decode, decoded = planespotter_models.load_engine, planespotter_models.decode_photo, []

def counting(*arguments):
    decoded.append(1)
    return decode(*arguments)

class Breaking:
    def __init__(self, engine):
        self.engine, self.batch_sizes, self.left, self.taken = engine, engine.batch_sizes, 20, 0
        self.description, self.in_flight = engine.description, engine.in_flight
    def run(self, photos):
        self.left -= 1
        self.taken += len(photos)
        while self.left == -1 and len(decoded) < self.taken + 30:  # more than it is given before it is given up
            time.sleep(0.01)
        if self.left < 0 and sys.argv[1] == "fails":
            raise RuntimeError("/dev/secret: the device is gone")
        time.sleep(3600 if self.left < 0 else 0)
        return self.engine.run(photos)

planespotter_models.load_engine = lambda *arguments: Breaking(load(*arguments))
planespotter_models.decode_photo = counting
main(sys.argv[2:])
"""


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_a_device_that_fails_ends_the_process_with_a_code_of_its_own(
    tiny_bundle: Path, paint: Callable[..., bytes], how: str
) -> None:
    flags = ["--model", str(tiny_bundle), "--port", "0", "--batch-sizes", "4", "--inference-timeout", "5"]
    command = [sys.executable, "-c", BREAKING, how, "serve", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        address = started.stdout.readline().split()[-1]
        with grpc.insecure_channel(address) as channel:
            photo, responses = paint("747"), []

            def endless() -> Iterator[pb.StreamClassifyRequest]:
                for number in itertools.count():
                    yield pb.StreamClassifyRequest(photo=pb.Photo(id=str(number), content=photo))

            # gRPC may find the process gone before it finds the end of the stream.
            with contextlib.suppress(grpc.RpcError):
                for response in pb_grpc.ClassifierServiceStub(channel).StreamClassify(endless()):
                    responses.append(response)  # noqa: PERF402  (what came before the end counts)
        _, logs = started.communicate(timeout=120)
    assert started.returncode == 75
    assert "device_failed" in [json.loads(line)["event"] for line in logs.splitlines() if line.startswith("{")]
    assert any(response.HasField("drain_notice") for response in responses)
    results = [response.result for response in responses]
    assert any(result.prediction.path[1].name == "747" for result in results if result.HasField("prediction"))
    told = {result.error.message for result in results if result.HasField("error")}
    assert any("has failed and the server is about to exit" in message for message in told)
    assert not any("secret" in message for message in told)


def refused(*arguments: str, exit_code: int = 1, **environment: str) -> str:
    done = subprocess.run([*SERVE, *arguments], capture_output=True, text=True, env={**os.environ, **environment})
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_unknown_bundle_gets_a_sentence(tmp_path: Path) -> None:
    assert "No bundle at" in refused("--model", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("file", ["bundle.json", "model.stablehlo", "weights.safetensors"])
def test_a_bundle_with_one_flipped_byte_gets_a_sentence(tiny_bundle: Path, tmp_path: Path, file: str) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_bundle, damaged)
    content = bytearray((damaged / file).read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / file).write_bytes(content)
    assert file in refused("--model", str(damaged))


def test_a_port_that_is_taken_gets_a_sentence(process: tuple[subprocess.Popen[str], str], tiny_bundle: Path) -> None:
    port = process[1].rpartition(":")[2]
    said = refused("--model", str(tiny_bundle), "--port", port)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in said
    assert said.startswith("error: ")
    assert ".cc:" not in said, "gRPC's own lines are kept out"


@pytest.mark.parametrize("host", ["203.0.113.7", "nowhere.invalid", "x..y"])
def test_a_host_that_is_none_of_this_machine_gets_a_sentence(tiny_bundle: Path, host: str) -> None:
    said = refused("--model", str(tiny_bundle), "--host", host, "--insecure")
    assert said.startswith(f"error: The server cannot listen on {host}:50051: ")


def test_a_wrong_setting_gets_a_sentence(tiny_bundle: Path) -> None:
    said = refused("--model", str(tiny_bundle), exit_code=2, PLANESPOTTER_MAX_IN_FLIGHT_PER_STREAM="none")
    assert "PLANESPOTTER_MAX_IN_FLIGHT_PER_STREAM" in said


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ({"model": "tiny", "model_repository": "empty"}, "Both --model and --model-repository are set"),
        ({"model_repository": "empty"}, "There is no model to serve in"),
        ({"model": "tiny", "default_model": "large"}, "default_model names 'large', but what can be served is 'tiny'"),
    ],
)
async def test_what_cannot_be_served_gets_a_sentence(
    tiny_bundle: Path, tmp_path: Path, named: dict[str, str], sentence: str
) -> None:
    places = {"tiny": tiny_bundle, "empty": tmp_path}
    flags: dict[str, object] = {name: places.get(place, place) for name, place in named.items()}
    settings = load_settings(None, port=0, batch_sizes="1", **flags)
    with pytest.raises(ServerError, match=sentence):
        await serve(settings, lambda _: pytest.fail("it serves"))


async def test_it_has_decoded_and_answered_before_it_says_that_it_serves(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[object] = []
    decode, answer = decode_photo, decode_prediction

    def decoding(photo: bytes, *rest: Any) -> Any:
        happened.append(Image.open(io.BytesIO(photo)).format)
        return decode(photo, *rest)

    def answering(*rest: Any) -> Any:
        happened.append("answered")
        return answer(*rest)

    def serving(_: str) -> None:
        happened.append("serving")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(served_model, "decode_photo", decoding)
    monkeypatch.setattr(served_model, "decode_prediction", answering)
    settings = load_settings(None, port=0, batch_sizes="1", model=tiny_bundle, drain_seconds=0.0)
    assert await serve(settings, serving) == 0
    assert happened == ["JPEG", "answered", "PNG", "answered", "WEBP", "answered", "serving"]


def test_the_command_reads_a_file_of_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "serve.toml"
    config.write_text("max_stream = 3\n")
    with pytest.raises(SystemExit):
        main(["serve", "--config", str(config)])
    assert "Did you mean max_streams?" in capsys.readouterr().err
