"""TLS: server certificates that are reloaded, and client certificates."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from structlog.testing import capture_logs

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_server.auth.tls import server_credentials, validity
from planespotter_server.observability.metrics import Metrics
from planespotter_server.server import Server
from planespotter_server.settings import ServerError, Settings


class Authority:
    """Issues certificates, and writes them to the files that a server reads."""

    def __init__(self, folder: Path, name: str) -> None:
        self.authority = trustme.CA()
        self.file = folder / f"{name}.pem"
        self.authority.cert_pem.write_to_path(self.file)
        self.certificate, self.key = folder / "server.pem", folder / "server.key"

    def issue_server_certificate(self) -> None:
        issued = self.authority.issue_cert("127.0.0.1")
        self.certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.key)

    def credentials(self, client: str = "") -> grpc.ChannelCredentials:
        root = self.file.read_bytes()
        if not client:
            return grpc.ssl_channel_credentials(root)
        issued = self.authority.issue_cert(client)
        chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
        return grpc.ssl_channel_credentials(root, issued.private_key_pem.bytes(), chain)


@pytest.fixture
async def tls(loaded: Any, tmp_path: Path) -> AsyncIterator[Any]:
    """Start a server with TLS; returns a function that calls it with given credentials, over a new connection."""
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    ours.issue_server_certificate()
    servers = []

    async def start(**settings: Any) -> tuple[Authority, Authority, Callable[..., Awaitable[str]]]:
        settings = {"port": 0, "tls_cert": ours.certificate, "tls_key": ours.key, **settings}
        server = Server(Settings(**settings))
        servers.append(server)
        port = await server.start()
        server.service.models.put("tiny", {"1": server.create_model(*loaded)})
        await server.serve()

        async def call(credentials: grpc.ChannelCredentials) -> str:
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
            async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
                stub = pb_grpc.ClassifierServiceStub(channel)
                return (await stub.GetModel(pb.GetModelRequest(), timeout=60)).model.name

        return ours, theirs, call

    yield start
    for server in servers:
        await server.stop()


async def test_server_accepts_only_tls(tls: Any) -> None:
    ours, theirs, call = await tls()
    assert await call(ours.credentials()) == "tiny"
    with pytest.raises(grpc.aio.AioRpcError):
        await call(theirs.credentials())


async def test_changed_certificate_is_used_without_a_restart(tls: Any) -> None:
    ours, theirs, call = await tls()
    assert await call(ours.credentials()) == "tiny"
    ours.certificate.write_text("half written")
    assert await call(ours.credentials()) == "tiny", "the last valid one stays"
    theirs.issue_server_certificate()
    assert await call(theirs.credentials()) == "tiny"
    with pytest.raises(grpc.aio.AioRpcError):
        await call(ours.credentials())


async def test_client_needs_a_certificate_of_the_client_ca(tls: Any, tmp_path: Path) -> None:
    ours, theirs, call = await tls(tls_client_ca=tmp_path / "ours.pem")
    assert await call(ours.credentials("camera.example")) == "tiny"
    foreign = theirs.authority.issue_cert("camera.example")
    chain = b"".join(part.bytes() for part in foreign.cert_chain_pems)
    for credentials in (
        ours.credentials(),
        grpc.ssl_channel_credentials(ours.file.read_bytes(), foreign.private_key_pem.bytes(), chain),
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            await call(credentials)


def test_certificate_without_its_key_is_an_error(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    ours.issue_server_certificate()
    other = tmp_path / "other.key"
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(other)
    with pytest.raises(ServerError, match="are not a certificate and its private key"):
        server_credentials(ours.certificate, other)
    with pytest.raises(ServerError, match=r"The TLS file .*none\.key cannot be read: No such file"):
        server_credentials(ours.certificate, tmp_path / "none.key")
    with pytest.raises(ServerError, match="is not a certificate of an authority"):
        server_credentials(ours.certificate, ours.key, other)


@pytest.mark.parametrize(
    ("valid_from", "valid_until", "event"),
    [
        (datetime(1990, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC), "certificate_expired"),
        (datetime(2060, 1, 1, tzinfo=UTC), datetime(2070, 1, 2, tzinfo=UTC), "certificate_not_yet_valid"),
        (datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=3.5), "certificate_expires_soon"),
        (datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=90), None),
    ],
)
def test_server_warns_at_start_of_a_certificate_that_clients_reject(
    tmp_path: Path, valid_from: datetime, valid_until: datetime, event: str | None
) -> None:
    authority = Authority(tmp_path, "ca")
    issued = authority.authority.issue_cert("127.0.0.1", not_before=valid_from, not_after=valid_until)
    authority.certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    issued.private_key_pem.write_to_path(authority.key)
    metrics = Metrics()
    with capture_logs() as logs:
        server_credentials(authority.certificate, authority.key, on_expiry=metrics.set_certificate_expiry)
    expiry = metrics.registry.get_sample_value("planespotter_certificate_expiry_timestamp_seconds")
    assert expiry == valid_until.replace(microsecond=0).timestamp()
    assert [entry["event"] for entry in logs] == ([event] if event else [])
    assert validity(authority.certificate.read_bytes()) == (valid_from, valid_until.replace(microsecond=0))
    if event == "certificate_expires_soon":
        assert logs[0]["days_left"] == 3
