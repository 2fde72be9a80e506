"""Attacks on `planespotter serve` as a separate process, by bytes that no gRPC client would send."""

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from scripts import hostile_photos
from scripts.h2_client import SERVICE, H2Client
from scripts.honest_caller import HonestCaller
from scripts.network_attacks import bombs_and_uploads, costly_photos, send_costly_photos

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_server.auth.tokens import add_token

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

MAIN = "from planespotter_client.commands.main import main; import sys; main(sys.argv[1:])"


@contextmanager
def serving(
    bundle: Path, program: str = MAIN, options: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a server; its process and its address."""
    command = [sys.executable, "-c", program, "serve", "--model", str(bundle), "--port", "0", "--batch-sizes", "1"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        try:
            yield started, started.stdout.readline().split()[-1]
        finally:
            started.kill()


def events(logs: str) -> list[str]:
    return [json.loads(line)["event"] for line in logs.splitlines() if line.startswith("{")]


def test_path_that_is_not_utf_8_ends_the_process_instead_of_only_its_listener(tiny_bundle: Path) -> None:
    with serving(tiny_bundle) as (started, address), H2Client(address) as client:
        client.open(b"/\xff\xfe/x")
        _, logs = started.communicate(timeout=60)
    assert started.returncode == 75
    assert "listener_failed" in events(logs)
    assert all(line.startswith("{") for line in logs.splitlines()), "also what asyncio logs is structured"


# A server whose decoders never end.
STUCK_DECODER = """
import sys, time
from planespotter_client.commands.main import main
import planespotter_models

original, decoded = planespotter_models.decode_photo, []

def decode(*arguments):
    decoded.append(1)
    if len(decoded) > 3:  # a photo of each format, before it serves
        print("decoding", flush=True)
        time.sleep(3600)
    return original(*arguments)

planespotter_models.decode_photo = decode
main(sys.argv[1:])
"""


def test_process_ends_after_the_drain_even_if_a_decoder_never_ends(
    tiny_bundle: Path, paint: Callable[..., bytes]
) -> None:
    with serving(tiny_bundle, STUCK_DECODER) as (started, address):
        with grpc.insecure_channel(address) as channel:
            call = pb_grpc.ClassifierServiceStub(channel).Classify.future(
                pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))
            )
            assert started.stdout is not None
            while started.stdout.readline() not in ("decoding\n", ""):
                pass
            call.cancel()
        started.send_signal(signal.SIGTERM)
        stopped_at = time.monotonic()
        _, logs = started.communicate(timeout=60)
    assert time.monotonic() - stopped_at < 30
    assert started.returncode == 0
    assert events(logs)[-1] == "stopped"


def test_server_whose_decoders_are_all_stuck_reports_it_within_the_time_limit_and_then_exits_with_75(
    tiny_bundle: Path,
) -> None:
    seconds = 1.5
    options = ["--decode-threads", "1", "--decode-timeout", str(seconds), "--grace-seconds", "1"]
    with serving(tiny_bundle, STUCK_DECODER, options) as (started, address):
        with grpc.insecure_channel(address) as channel:
            health: Callable[..., health_pb2.HealthCheckResponse]
            health = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
            called_at = time.monotonic()
            call = pb_grpc.ClassifierServiceStub(channel).Classify.future(
                pb.ClassifyRequest(photo=pb.Photo(content=b"\xff\xd8\xff")), timeout=60
            )
            while health(health_pb2.HealthCheckRequest(), timeout=60).status == health_pb2.HealthCheckResponse.SERVING:
                time.sleep(0.01)
            not_serving_after = time.monotonic() - called_at
            with pytest.raises(grpc.RpcError) as caught:
                call.result()
        _, logs = started.communicate(timeout=60)
    assert seconds <= not_serving_after < 3 * seconds
    assert "within 1.5 seconds" in str(caught.value)
    assert started.returncode == 75
    wanted = ["decode_timeout", "decoders_unavailable", "decoders_stuck", "device_failed"]
    assert [event for event in events(logs) if event in wanted] == wanted


def test_closed_terminal_drains_the_server(tiny_bundle: Path) -> None:
    with serving(tiny_bundle) as (started, _):
        started.send_signal(signal.SIGHUP)
        _, logs = started.communicate(timeout=60)
    assert started.returncode == 0
    assert events(logs)[-2:] == ["draining", "stopped"]


def test_log_pipe_that_nobody_reads_blocks_neither_calls_nor_the_stop(tiny_bundle: Path) -> None:
    with serving(tiny_bundle, options=["--access-log"]) as (started, address):
        assert started.stderr is not None
        with grpc.insecure_channel(address) as channel:
            stub = pb_grpc.ClassifierServiceStub(channel)
            for _ in range(1000):  # more than the pipe holds, of some 200 bytes each
                stub.GetModel(pb.GetModelRequest(), timeout=30)
        started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 0


def test_requests_that_grpc_itself_rejects_write_no_line_to_the_log(tiny_bundle: Path) -> None:
    """Its lines would not be structured, and a full pipe would block it."""
    with serving(tiny_bundle) as (started, address):
        with H2Client(address) as client:
            for encoding in (b"\xff\xfe", b"none of these"):
                client.open(SERVICE + b"Classify", [(b"grpc-encoding", encoding)])
            client.receive(1)
        started.send_signal(signal.SIGTERM)
        _, logs = started.communicate(timeout=60)
    assert all(line.startswith("{") for line in logs.splitlines()), logs


def test_bombs_and_unfinished_uploads_without_a_token_cost_no_memory_and_delay_nobody(
    tiny_bundle: Path, tmp_path: Path, paint: Callable[..., bytes]
) -> None:
    token = add_token(tmp_path / "tokens", "me")
    with serving(tiny_bundle, options=["--tokens", str(tmp_path / "tokens")]) as (started, address):
        metadata = (("authorization", f"Bearer {token}"),)
        with HonestCaller(address, started.pid, paint("747"), metadata) as caller:
            idle = caller.measure(lambda: time.sleep(2))
            clients: list[H2Client] = []
            attacked = caller.measure(lambda: clients.extend(bombs_and_uploads(address)))
        for client in clients:
            client.socket.close()
        started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 0
    assert not attacked.errors
    assert attacked.growth < 50 * 2**20
    assert attacked.percentile(0.99) < max(0.5, 5 * idle.percentile(0.99))


def test_costly_photos_delay_nobody_and_take_the_documented_memory(
    tiny_bundle: Path, paint: Callable[..., bytes]
) -> None:
    costly_photos()  # to create them takes seconds
    with (
        serving(tiny_bundle, options=["--decode-threads", "2"]) as (started, address),
        HonestCaller(address, started.pid, paint("747")) as caller,
    ):
        idle = caller.measure(lambda: time.sleep(2))
        sent: list[int] = []
        attacked = caller.measure(lambda: sent.append(send_costly_photos(address, 8)))
    assert sent > [4]
    assert not attacked.errors
    assert attacked.percentile(0.99) < max(0.5, 5 * idle.percentile(0.99))
    assert attacked.growth < 2 * hostile_photos.MAX_BYTES


def test_honest_caller_measures_the_server_and_not_the_attacker(tiny_bundle: Path, paint: Callable[..., bytes]) -> None:
    def attack() -> None:
        sum(range(10**8))  # keeps every other thread of this process waiting

    with (
        serving(tiny_bundle) as (started, address),
        HonestCaller(address, started.pid, paint("747")) as caller,
    ):
        attacked = caller.measure(attack)
        started.kill()
        started.wait(60)
        gone = caller.measure(lambda: time.sleep(0.5))
    assert len(attacked.seconds) > 5
    assert not attacked.errors
    assert attacked.start_bytes > 0
    assert set(gone.errors) == {"StatusCode.UNAVAILABLE"}


def test_honest_caller_ends_if_the_attack_raises(tiny_bundle: Path, paint: Callable[..., bytes]) -> None:
    def attack() -> None:
        assert multiprocessing.active_children()
        raise ZeroDivisionError

    with (
        serving(tiny_bundle) as (started, address),
        pytest.raises(ZeroDivisionError),
        HonestCaller(address, started.pid, paint("747")) as caller,
    ):
        caller.measure(attack)
    assert not multiprocessing.active_children()
