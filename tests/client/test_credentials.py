"""Both clients against a server that asks for TLS, certificates and tokens; and what they say when that fails."""

import datetime
import subprocess
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from tests.client.processes import PLANESPOTTER, serving

from planespotter_client import (
    AuthenticationError,
    CertificateError,
    InvalidRequestError,
    PlaneSpotter,
    ProtocolError,
    UnavailableError,
)
from planespotter_client._credentials import security
from planespotter_client._hosts import is_loopback
from planespotter_client.commands.main import main
from planespotter_server.auth.tokens import add_token

Paint = Callable[..., bytes]


class Secure:
    """A server that requires TLS, a client certificate and a token, and the client's parameters."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        for name, host in (("server", "127.0.0.1"), ("client", "camera.example")):
            certificate = authority.issue_cert(host)
            certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
            certificate.private_key_pem.write_to_path(folder / f"{name}.key")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        trustme.CA().cert_pem.write_to_path(folder / "other.pem")
        self.folder = folder
        self.token = add_token(folder / "tokens.txt", "camera")
        self.address = ""
        self.options: dict[str, Any] = {
            "tls_ca": folder / "ca.pem",
            "tls_cert": folder / "client.pem",
            "tls_key": folder / "client.key",
            "token": self.token,
            "timeout": 60.0,
        }


@pytest.fixture(scope="module")
def secure(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    server = Secure(tmp_path_factory.mktemp("secure"))
    settings: dict[str, Any] = {
        "batch_sizes": "1,4",
        "tls_cert": server.folder / "server.pem",
        "tls_key": server.folder / "server.key",
        "tls_client_ca": server.folder / "ca.pem",
        "tokens": server.folder / "tokens.txt",
    }
    with serving(tiny_bundle, **settings) as (server.address, _):
        yield server


async def test_client_with_all_credentials_gets_predictions(secure: Secure, connect: Any, paint: Paint) -> None:
    spotter = await connect(secure.address, **secure.options)
    assert (await spotter.classify(paint("747"))).family.name == "747"
    [many] = await spotter.classify_batch([paint("A380")])
    assert many.result().family.name == "A380"
    assert [result.result().family.name async for result in spotter.stream([paint("A380")])] == ["A380"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "error", "sentence"),
    [
        ({"token": ""}, AuthenticationError, "The call has no token"),
        ({"token": "pst_other"}, AuthenticationError, "The token is unknown"),
        ({"tls_ca": "other.pem"}, CertificateError, "not signed by a trusted authority"),
        ({"tls_ca": None, "tls": True}, CertificateError, "not signed by a trusted authority"),
        ({"tls_cert": None, "tls_key": None}, UnavailableError, "closed the connection. It may require TLS"),
        ({"tls_ca": None, "tls_cert": None, "tls_key": None}, UnavailableError, "It may require TLS"),
    ],
)
async def test_missing_or_invalid_credentials_are_reported(
    secure: Secure, connect: Any, paint: Paint, changed: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    if isinstance(changed.get("tls_ca"), str):
        changed = {**changed, "tls_ca": secure.folder / changed["tls_ca"]}
    spotter = await connect(secure.address, **{**secure.options, **changed})
    with pytest.raises(error, match=sentence):
        await spotter.classify(paint("747"))


@pytest.mark.slow
async def test_certificate_name_is_the_address_or_tls_name(secure: Secure, connect: Any, paint: Paint) -> None:
    by_another_name = secure.address.replace("127.0.0.1", "localhost")
    spotter = await connect(by_another_name, **secure.options)
    with pytest.raises((CertificateError, UnavailableError)):  # unavailable where localhost is ::1, too
        await spotter.classify(paint("747"))
    for name, address in {"127.0.0.1": by_another_name, "": secure.address}.items():
        spotter = await connect(address, **secure.options, tls_name=name)
        assert (await spotter.classify(paint("747"))).family.name == "747"
    spotter = await connect(secure.address, **secure.options, tls_name="planes.example")
    with pytest.raises(CertificateError, match="is for another name"):
        await spotter.classify(paint("747"))


@pytest.mark.parametrize(
    ("first_day", "last_day", "sentence"),
    [(2019, 2020, "has expired. Renew it"), (2040, 2041, "is not valid yet. Correct the clock")],
)
async def test_certificate_outside_its_dates_is_not_called_a_foreign_one(
    connect: Any, first_day: int, last_day: int, sentence: str
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert(
        "127.0.0.1",
        not_before=datetime.datetime(first_day, 1, 1, tzinfo=datetime.UTC),
        not_after=datetime.datetime(last_day, 1, 1, tzinfo=datetime.UTC),
    )
    credentials = grpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())]
    )
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    with authority.cert_pem.tempfile() as ca:
        spotter = await connect(f"127.0.0.1:{port}", tls_ca=ca)
        with pytest.raises(CertificateError, match=sentence):
            await spotter.get_server_info()
    server.stop(None).wait()


async def test_server_without_tls_is_a_protocol_error(secure: Secure, address: str, connect: Any, paint: Paint) -> None:
    spotter = await connect(address, **secure.options)
    with pytest.raises(ProtocolError, match="does not speak TLS"):
        await spotter.classify(paint("747"))


@pytest.mark.parametrize(
    ("address", "options", "sentence"),
    [
        ("planes.example:50051", {"token": "x"}, r"The token would be sent to planes\.example:50051 in plain text"),
        ("127.0.0.1:50051", {"token": "two words"}, "The token is malformed"),
        ("127.0.0.1:50051", {"tls_cert": "client.pem"}, "A client certificate needs its private key"),
        ("127.0.0.1:50051", {"tls_name": "planes.example"}, "tls_name needs TLS"),
        ("127.0.0.1:50051", {"tls_ca": "nowhere.pem"}, r"The TLS file nowhere\.pem cannot be read: No such file"),
        ("127.0.0.1:50051", {"tls_ca": __file__}, "is not PEM"),
        ("127.0.0.1:50051", {"tls_ca": "client.key"}, "holds no certificate, but (EC |RSA )?PRIVATE KEY"),
        (
            "127.0.0.1:50051",
            {"tls_cert": "client.pem", "tls_key": "client.pem"},
            "holds no private key, but CERTIFICATE",
        ),
    ],
)
def test_contradictory_security_parameters_are_rejected(
    secure: Secure, monkeypatch: pytest.MonkeyPatch, address: str, options: dict[str, Any], sentence: str
) -> None:
    monkeypatch.chdir(secure.folder)
    with pytest.raises(InvalidRequestError, match=sentence) as raised:
        PlaneSpotter(address, **options)
    assert options.get("token", "-") == "x" or "two words" not in str(raised.value), "a token is never shown"


def test_token_is_sent_in_plain_text_only_with_insecure() -> None:
    assert security("planes.example:1", token="x", insecure=True).credentials is None
    assert security("127.0.0.1:1", token="x\n").metadata == (("authorization", "Bearer x"),)
    assert "Bearer" not in repr(security("127.0.0.1:1", token="x"))


def test_token_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANESPOTTER_TOKEN", "pst_x")
    assert security("127.0.0.1:1").metadata == (("authorization", "Bearer pst_x"),)
    assert security("127.0.0.1:1", token="").metadata == ()


async def test_repr_of_a_client_has_its_address_and_never_its_token(secure: Secure, connect: Any) -> None:
    plain = await connect("127.0.0.1:1,127.0.0.1:2", token="")
    kind = type(plain.client).__name__
    assert repr(plain.client) == f"<{kind} of 127.0.0.1:1,127.0.0.1:2 without TLS>"
    safe = await connect("planes.example:1", **secure.options)
    assert repr(safe.client) == f"<{kind} of planes.example:1 over TLS, with a token>"
    await safe.close()
    assert repr(safe.client) == f"<{kind} of planes.example:1 over TLS, with a token, closed>"


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        ("localhost:1", True),
        ("127.0.0.9:1", True),
        ("[::1]:1", True),
        ("unix:/run/planes.sock", True),
        ("dns:///localhost:1", True),
        ("ipv4:127.0.0.1:1", True),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
        ("dns:///planes.example:1", False),
    ],
)
def test_loopback_addresses_are_detected(address: str, stays: bool) -> None:
    assert is_loopback(address) == stays


def test_commands_read_tls_files_and_the_token_file(
    secure: Secure, paint: Paint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(paint("747"))
    (tmp_path / "token").write_text(f"{secure.token}\n")
    files = {"--tls-ca": "ca.pem", "--tls-cert": "client.pem", "--tls-key": "client.key"}
    flags = [str(part) for name, file in files.items() for part in (name, secure.folder / file)]
    address = secure.address.replace("127.0.0.1", "localhost")
    command = ["classify", str(tmp_path / "photo.jpg"), "--server", address, *flags, "--tls-name", "127.0.0.1"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--token-file", str(tmp_path / "token")])
    assert ended.value.code == 0
    assert ",747," in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 1
    assert "The call has no token" in capsys.readouterr().err
    load = [*command, "--token-file", str(tmp_path / "token"), "--mode", "stream", "--photos", "5"]
    arguments = [*PLANESPOTTER, "bench", *load[1:]]
    assert subprocess.run(arguments, stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize("name", ["", "127.0.0.1", "planes.example"])
def test_health_command_uses_tls_and_tls_name(secure: Secure, capsys: pytest.CaptureFixture[str], name: str) -> None:
    files = {"--tls-ca": "ca.pem", "--tls-cert": "client.pem", "--tls-key": "client.key"}
    flags = [str(part) for flag, file in files.items() for part in (flag, secure.folder / file)]
    with pytest.raises(SystemExit) as ended:
        main(["health", "--server", secure.address, *flags, *(["--tls-name", name] if name else [])])
    output = capsys.readouterr()
    if name == "planes.example":
        assert ended.value.code == 1
        assert "is for another name" in output.err
    else:
        assert (ended.value.code, output.out) == (0, "SERVING\n")
