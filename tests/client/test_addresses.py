"""Addresses of servers as people write them, and the variable PLANESPOTTER_SERVER."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.classify.command import run

from planespotter_client import InvalidRequestError, PlaneSpotter, _extras
from planespotter_client._addresses import names_tls, parse_address
from planespotter_client.commands.main import main

Paint = Callable[..., bytes]


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("127.0.0.1", "127.0.0.1:50051"),
        ("planes.example", "planes.example:50051"),
        ("http://planes.example:50051", "planes.example:50051"),
        ("http://planes.example:8080/", "planes.example:8080"),
        ("https://planes.example", "planes.example:50051"),
        ("grpc://[::1]:50051", "[::1]:50051"),
        ("::1:50051", "[::1]:50051"),
        ("::1", "[::1]:50051"),
        ("[::1]", "[::1]:50051"),
        ("2001:db8::7", "[2001:db8::7]:50051"),
        ("unix:/run/planes.sock", "unix:/run/planes.sock"),
        ("dns:///planes.example", "dns:///planes.example"),
    ],
)
def test_address_as_people_write_it_is_understood(written: str, address: str) -> None:
    assert parse_address(written) == address
    assert PlaneSpotter(written).address == address


@pytest.mark.parametrize(
    "address", ["", ":50051", "planes.example:", "planes.example:0", "2001:db8::1:5005", "http://", "ftp://a:1", "a b"]
)
def test_ambiguous_or_malformed_address_is_rejected(address: str) -> None:
    with pytest.raises(InvalidRequestError, match="The address is invalid"):
        parse_address(address)


def test_https_address_turns_tls_on() -> None:
    assert "over TLS" in repr(PlaneSpotter("https://planes.example:50051"))
    assert "over TLS" in repr(PlaneSpotter("planes.example,grpcs://other.example"))
    assert "without TLS" in repr(PlaneSpotter("http://planes.example:50051"))
    assert not names_tls("httpserver:50051")


def test_server_variable_replaces_the_option_of_each_command(
    address: str, paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(paint("747"))
    monkeypatch.setenv("PLANESPOTTER_SERVER", address)
    assert run(tmp_path / "photo.jpg") == 0
    assert ",747," in capsys.readouterr().out
    with PlaneSpotter() as spotter:
        assert spotter.get_model().name == "tiny"
    with pytest.raises(SystemExit) as ended:
        main(["health"])
    assert (ended.value.code, capsys.readouterr().out) == (0, "SERVING\n")
    monkeypatch.setenv("PLANESPOTTER_SERVER", "127.0.0.1:1")
    assert run(tmp_path / "photo.jpg", "--server", address) == 0, "the option has precedence"
    assert run(tmp_path / "photo.jpg") == 1, "the variable is not ignored, and no other server is started"
    assert "No planespotter server responds at 127.0.0.1:1: connection refused." in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.e2e
def test_model_option_starts_a_server_in_spite_of_the_server_variable(
    tiny_bundle: Path, paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(paint("747"))
    monkeypatch.setenv("PLANESPOTTER_SERVER", "127.0.0.1:1")
    assert run(tmp_path / "photo.jpg", "--model", tiny_bundle) == 0
    assert ",747," in capsys.readouterr().out


def test_message_has_no_internals_of_grpc_except_with_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["health", "--server", "127.0.0.1:1"])
    message = capsys.readouterr().err
    assert message.startswith("error: No planespotter server responds at 127.0.0.1:1: connection refused. Start one")
    assert not re.search("backends|ipv4|UNKNOWN", message)
    with pytest.raises(SystemExit):
        main(["health", "--server", "127.0.0.1:1", "--verbose"])
    assert "Failed to connect to remote host: Connection refused" in capsys.readouterr().err


def test_hint_for_a_missing_package_names_a_folder_that_pip_can_install() -> None:
    command = _extras.install_command("server")
    match = re.fullmatch(r"pip install '?(/.+|\.)\[server\]'?( in a checkout of planespotter)?", command)
    assert match
    assert match[1] == "." or (Path(match[1]) / "pyproject.toml").is_file()
