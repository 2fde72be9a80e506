"""HAProxy with the documented configuration: what could end gRPC's listener does not reach the server."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from scripts.h2_client import SERVICE, H2Client, grpc_frame
from tests.server.test_attacks import serving

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy"),
]

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def documented_configuration(port: int, server: str) -> str:
    """Return the configuration of the page, without TLS, which is not what this tests."""
    text = PAGE.read_text(encoding="utf-8")
    [block] = re.findall(r"(    frontend grpc\n(?:    .*\n|\n)+)", text)
    block = re.sub(r"^    ", "", block, flags=re.MULTILINE)
    block, binds = re.subn(r"bind :443 ssl crt \S+ alpn h2", f"bind 127.0.0.1:{port} proto h2", block)
    block, servers = re.subn(r"127\.0\.0\.1:50051", server, block)
    assert binds == servers == 1
    return f"defaults\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n\n{block}"


@pytest.fixture
def addresses(tiny_bundle: Path, tmp_path: Path, reserved_port: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a proxy, and the process of the server behind it."""
    with serving(tiny_bundle) as (server, address):
        (tmp_path / "haproxy.cfg").write_text(documented_configuration(reserved_port, address), encoding="utf-8")
        with subprocess.Popen(["haproxy", "-db", "-f", tmp_path / "haproxy.cfg"]) as proxy:
            try:
                yield f"127.0.0.1:{reserved_port}", server
            finally:
                proxy.terminate()


def wait_until_connected(address: str) -> H2Client:
    for _ in range(300):
        try:
            return H2Client(address)
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the proxy does not listen")


def test_documented_proxy_rejects_a_path_that_is_not_utf_8_and_passes_calls_on(
    addresses: tuple[str, subprocess.Popen[str]],
) -> None:
    address, server = addresses
    with wait_until_connected(address) as client:
        for path in (b"/\xff\xfe/x", b"/\x80", SERVICE + b"\xc3"):
            stream = client.open(path)
            client.send(stream, grpc_frame(b""), end=True)
            client.receive(1)
            if not client.is_open:
                break
    with grpc.insecure_channel(address) as channel:
        stub = pb_grpc.ClassifierServiceStub(channel)
        assert stub.GetModel(pb.GetModelRequest(), timeout=30).model.name == "tiny"
        [response] = stub.StreamClassify(iter([pb.StreamClassifyRequest(photo=pb.Photo(id="a"))]), timeout=30)
        assert response.result.id == "a"
    assert server.poll() is None, "the server still runs"
