"""HTTP proxies: calls to this machine never use one, NO_PROXY counts, and errors name the variable."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.client.classify.command import run

from planespotter_client import UnavailableError
from planespotter_client._proxy import bypasses_proxy, proxy_of
from planespotter_client.commands.main import main

Paint = Callable[..., bytes]


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "http_proxy", "https_proxy", "no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def forbidding_proxy() -> Iterator[tuple[str, list[bytes]]]:
    """Run an HTTP proxy that rejects each connection; yield its address and the first lines of the requests."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    requests.append(connection.recv(4096).split(b"\r\n")[0])
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", requests
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
async def test_office_machine_with_a_proxy_calls_a_server_on_itself_directly(
    address: str, connect: Any, paint: Paint, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with forbidding_proxy() as (proxy, requests):
        monkeypatch.setenv(variable, f"http://{proxy}")
        port = address.rpartition(":")[2]
        for name in (address, f"localhost:{port}", f"dns:///127.0.0.1:{port}"):
            spotter = await connect(name)
            assert (await spotter.classify(paint("747"))).family.name == "747"
    assert requests == []


@pytest.mark.slow
@pytest.mark.e2e
def test_first_command_of_the_readme_works_behind_a_proxy(
    tiny_bundle: Path, paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(paint("747"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert run(tmp_path / "photo.jpg", "--model", tiny_bundle) == 0
    assert ",747," in capsys.readouterr().out


@pytest.mark.parametrize("command", ["health", "classify"])
def test_health_check_behind_a_proxy_reaches_this_machine(
    address: str, paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "photo.jpg").write_bytes(paint("747"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    arguments = {"health": [], "classify": [str(tmp_path / "photo.jpg")]}[command]
    with pytest.raises(SystemExit) as ended:
        main([command, *arguments, "--server", address])
    assert ended.value.code == 0


@pytest.mark.slow
async def test_proxy_that_rejects_the_call_is_named_with_its_variable_and_without_its_password(
    connect: Any, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forbidding_proxy() as (proxy, requests):
        monkeypatch.setenv("https_proxy", f"http://me:secret@{proxy}")
        spotter = await connect("192.0.2.1:50051", timeout=20)
        with pytest.raises(
            UnavailableError, match=f"through the proxy {proxy}.*variable https_proxy .*NO_PROXY"
        ) as raised:
            await spotter.classify(paint("747"))
    assert "secret" not in str(raised.value)
    assert requests[0].startswith(b"CONNECT 192.0.2.1")


@pytest.mark.slow
async def test_upper_case_no_proxy_keeps_calls_away_from_the_proxy(
    connect: Any, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forbidding_proxy() as (proxy, requests):
        monkeypatch.setenv("http_proxy", f"http://{proxy}")
        monkeypatch.setenv("NO_PROXY", "intranet.example,planes.invalid")
        spotter = await connect("planes.invalid:50051", timeout=20)
        with pytest.raises(UnavailableError, match=r"responds at planes\.invalid:50051: no such host") as raised:
            await spotter.classify(paint("747"))
    assert "proxy" not in str(raised.value)
    assert requests == []


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY", "no_grpc_proxy"])
@pytest.mark.parametrize(
    ("exceptions", "address", "bypasses"),
    [
        ("", "planes.example:50051", False),
        ("planes.example", "planes.example:50051", True),
        (".example", "dns:///planes.example:50051", True),
        ("other.example, planes.example", "planes.example:50051", True),
        ("example.org", "planes.example:50051", False),
        ("*", "planes.example:50051", True),
        ("10.0.0.0/8", "10.1.2.3:50051", True),
        ("10.0.0.0/8", "11.1.2.3:50051", False),
        ("10.0.0.0/nonsense", "10.1.2.3:50051", False),
        ("2001:db8::/32", "[2001:db8::1]:50051", True),
    ],
)
def test_exceptions_are_names_domains_addresses_and_networks(
    monkeypatch: pytest.MonkeyPatch, variable: str, exceptions: str, address: str, bypasses: bool
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv(variable, exceptions)
    assert bypasses_proxy(address) is bypasses
    assert (proxy_of(address) is None) is bypasses
