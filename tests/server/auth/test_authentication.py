"""Who may call: tokens, TLS, certificates of clients, and where a server may listen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.rpc import code_pb2, error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client.commands.main import main
from planespotter_server.auth import file_watcher
from planespotter_server.auth.authentication import Pace, client_address
from planespotter_server.auth.tls import credentials
from planespotter_server.auth.tokens import Tokens, add_token, hash_of, read_tokens, revoke_token
from planespotter_server.server import Server
from planespotter_server.settings import ServerError, Settings

Serve = Callable[..., Awaitable[grpc.aio.Channel]]
Paint = Callable[..., bytes]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at files whenever asked."""
    monkeypatch.setattr(file_watcher, "SECONDS", 0.0)


def bearing(token: str) -> dict[str, Any]:
    return {"metadata": (("authorization", f"Bearer {token}"),)}


async def refusal(call: Awaitable[object]) -> tuple[int, str, float]:
    """Return code, reason and the time to wait of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    if len(status.details) > 1:
        assert status.details[1].Unpack(retry)
    return status.code, info.reason, retry.retry_delay.ToMilliseconds() / 1000


def service(channel: grpc.aio.Channel) -> "pb_grpc.ClassifierServiceAsyncStub":
    return pb_grpc.ClassifierServiceStub(channel)


# Tokens


def test_a_token_is_never_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    token = add_token(path, "archive", max_calls=3, photos_per_second=0.5)
    other = add_token(path, "cameras")
    assert token not in path.read_text()
    assert len({token, other}) == 2
    assert (path.stat().st_mode & 0o077) == 0, "nobody else can read it"
    found = Tokens(path).find(token)
    assert found is not None
    assert (found.name, found.max_calls, found.photos_per_second) == ("archive", 3, 0.5)
    assert Tokens(path).find(token + "x") is None
    assert Tokens(path).find(hash_of(token)) is None


def test_a_token_is_revoked_and_its_neighbours_are_not(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text("# Ours\n\n")
    token, other = add_token(path, "a"), add_token(path, "b")
    tokens = Tokens(path)
    assert tokens.find(token) is not None
    revoke_token(path, "a")
    assert tokens.find(token) is None
    assert tokens.find(other) is not None
    assert path.read_text().startswith("# Ours\n")
    with pytest.raises(ServerError, match=r"no token for 'a' in .*; it has b"):
        revoke_token(path, "a")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("a", r"Line 1 of the file of tokens .* is not NAME sha256:HASH"),
        ("a sha256:12", "is not NAME sha256:HASH"),
        (f"a {hash_of('x')} max_call=3", "has 'max_call=3'; limits are max_calls=N and photos_per_second=N"),
        (f"a {hash_of('x')} max_calls=0", "no good value for max_calls"),
        (f"a {hash_of('x')} photos_per_second=nan", "no good value for photos_per_second"),
        (f"a {hash_of('x')}\na {hash_of('y')}", "Line 2 of the file of tokens .* names 'a' again"),
    ],
)
def test_a_line_that_is_no_token_gets_a_sentence(tmp_path: Path, line: str, sentence: str) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text(line)
    with pytest.raises(ServerError, match=sentence):
        read_tokens(path)


def test_a_name_is_one_word_and_taken_once(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="'a b' is no name for a token"):
        add_token(tmp_path / "tokens.txt", "a b")
    add_token(tmp_path / "tokens.txt", "a")
    with pytest.raises(ServerError, match=r"There is a token for 'a' in .* already"):
        add_token(tmp_path / "tokens.txt", "a")
    with pytest.raises(ServerError, match="cannot be read: No such file"):
        Tokens(tmp_path / "none.txt")


def test_a_file_that_breaks_leaves_the_last_good_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    token = add_token(path, "a")
    tokens = Tokens(path)
    path.write_text("nonsense")
    assert tokens.find(token) is not None
    path.unlink()
    assert tokens.find(token) is not None
    path.write_text("")
    assert tokens.find(token) is None


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens.txt"


async def test_every_call_but_health_needs_a_token(serve: Serve, tokens: Path) -> None:
    token = add_token(tokens, "archive")
    channel = await serve(tokens=tokens)
    health: Any = health_pb2_grpc.HealthStub(channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    untyped: Any = channel
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(untyped).ServerReflectionInfo
    listing = reflection_pb2.ServerReflectionRequest(list_services="")
    calls: dict[str, Callable[..., Awaitable[object]]] = {
        "unary": lambda **kwargs: service(channel).GetModel(pb.GetModelRequest(), **kwargs),
        "stream": lambda **kwargs: service(channel).StreamClassify(**kwargs).read(),
        "reflection": lambda **kwargs: reflection(iter([listing]), **kwargs).read(),
        "unknown": lambda **kwargs: untyped.unary_unary("/planespotter.v1.ClassifierService/Guess")(b"", **kwargs),
    }
    for call in calls.values():
        assert (await refusal(call()))[:2] == (code_pb2.UNAUTHENTICATED, "TOKEN_MISSING")
        assert (await refusal(call(**bearing("pst_x"))))[:2] == (code_pb2.UNAUTHENTICATED, "TOKEN_INVALID")
        assert (await refusal(call(metadata=(("authorization", token),))))[:2] == (
            code_pb2.UNAUTHENTICATED,
            "TOKEN_MISSING",
        )
    await calls["unary"](**bearing(token))
    assert isinstance(await calls["reflection"](**bearing(token)), reflection_pb2.ServerReflectionResponse)
    assert (await refusal(calls["unknown"](**bearing(token))))[:2] == (code_pb2.UNIMPLEMENTED, "METHOD_NOT_FOUND")


async def test_a_token_has_its_own_limits(serve: Serve, tokens: Path, paint: Paint) -> None:
    one, other = add_token(tokens, "one", max_calls=1), add_token(tokens, "other")
    channel = await serve(tokens=tokens)
    open_stream = service(channel).StreamClassify(**bearing(one))
    await open_stream.write(pb.StreamClassifyRequest(photo=pb.Photo(content=paint("747"))))
    await open_stream.read()
    request = pb.GetModelRequest()
    assert (await refusal(service(channel).GetModel(request, **bearing(one))))[1] == "TOO_MANY_CALLS"
    await service(channel).GetModel(request, **bearing(other))
    open_stream.cancel()


async def test_a_client_is_told_the_limits_of_its_own_token(serve: Serve, tokens: Path) -> None:
    narrow, plain = add_token(tokens, "narrow", max_calls=3, photos_per_second=2.5), add_token(tokens, "plain")
    channel = await serve(tokens=tokens, max_concurrent_calls_per_client=9)
    told = [
        (await service(channel).GetServerInfo(pb.GetServerInfoRequest(), **bearing(token))).limits
        for token in (narrow, plain)
    ]
    assert [(limits.max_concurrent_calls, limits.max_photos_per_second) for limits in told] == [(3, 2.5), (9, 0)]
    assert [limits.HasField("max_photos_per_second") for limits in told] == [True, False]


async def test_a_token_is_good_for_so_many_photos_per_second(serve: Serve, tokens: Path, paint: Paint) -> None:
    slow = add_token(tokens, "slow", photos_per_second=0.001)
    channel = await serve(tokens=tokens)
    request = pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))
    await service(channel).Classify(request, **bearing(slow))
    code, reason, wait = await refusal(service(channel).Classify(request, **bearing(slow)))
    assert (code, reason) == (code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert 0 < wait <= 1000
    batch = pb.BatchClassifyRequest(photos=[pb.Photo(content=paint("747"))])
    results = (await service(channel).BatchClassify(batch, **bearing(slow))).results
    assert "good for 0.001 photos per second" in results[0].error.message


async def test_a_stream_is_read_at_the_pace_of_its_token(serve: Serve, tokens: Path, paint: Paint) -> None:
    token = add_token(tokens, "steady", photos_per_second=20)
    channel = await serve(tokens=tokens)
    requests = [pb.StreamClassifyRequest(photo=pb.Photo(content=paint("747")))] * 30
    started = asyncio.get_running_loop().time()
    answers = [answer async for answer in service(channel).StreamClassify(iter(requests), **bearing(token))]
    assert [answer.result.prediction.path[1].name for answer in answers] == ["747"] * 30, "it waits, and refuses none"
    assert asyncio.get_running_loop().time() - started >= 0.4, "20 at once, then 10 at 20 per second"


async def test_a_stream_whose_token_is_revoked_gets_no_more_answers(serve: Serve, tokens: Path, paint: Paint) -> None:
    token = add_token(tokens, "archive")
    channel = await serve(tokens=tokens)
    call = service(channel).StreamClassify(**bearing(token))
    request = pb.StreamClassifyRequest(photo=pb.Photo(content=paint("747")))
    await call.write(request)
    answer = await call.read()
    assert isinstance(answer, pb.StreamClassifyResponse)
    assert answer.result.prediction.path[1].name == "747"
    revoke_token(tokens, "archive")
    await call.write(request)
    answer = await call.read()
    assert isinstance(answer, pb.StreamClassifyResponse)
    assert answer.result.error.code == code_pb2.UNAUTHENTICATED
    call.cancel()


def test_a_pace_lets_through_a_second_at_once_and_then_so_many_per_second() -> None:
    now = 0.0
    pace = Pace(4, clock=lambda: now)
    for _ in range(4):
        assert pace.delay() == 0
        pace.spend()
    assert pace.delay() == 0.25
    pace.spend()  # on a stream, before its time
    assert pace.delay() == 0.5
    now = 0.5
    assert pace.delay() == 0
    now = 100
    for _ in range(4):
        assert pace.delay() == 0
        pace.spend()
    assert pace.delay() == 0.25, "what was not used in time is gone"


# TLS


class Authority:
    """Makes certificates, and writes them to the files that a server reads."""

    def __init__(self, folder: Path, name: str) -> None:
        self.authority = trustme.CA()
        self.file = folder / f"{name}.pem"
        self.authority.cert_pem.write_to_path(self.file)
        self.certificate, self.key = folder / "server.pem", folder / "server.key"

    def certify_server(self) -> None:
        made = self.authority.issue_cert("127.0.0.1")
        self.certificate.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        made.private_key_pem.write_to_path(self.key)

    def credentials(self, client: str = "") -> grpc.ChannelCredentials:
        root = self.file.read_bytes()
        if not client:
            return grpc.ssl_channel_credentials(root)
        made = self.authority.issue_cert(client)
        chain = b"".join(part.bytes() for part in made.cert_chain_pems)
        return grpc.ssl_channel_credentials(root, made.private_key_pem.bytes(), chain)


@pytest.fixture
async def tls(loaded: Any, tmp_path: Path) -> AsyncIterator[Any]:
    """Make a server with TLS; returns what calls it with given credentials, over a connection of its own."""
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    ours.certify_server()
    servers = []

    async def start(**settings: Any) -> tuple[Authority, Authority, Callable[..., Awaitable[str]]]:
        settings = {"port": 0, "tls_cert": ours.certificate, "tls_key": ours.key, **settings}
        server = Server(Settings(**settings))
        servers.append(server)
        port = await server.start()
        server.service.models.put("tiny", {"1": server.classifier(*loaded)})
        await server.serve()

        async def call(secret: grpc.ChannelCredentials) -> str:
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
            async with grpc.aio.secure_channel(f"127.0.0.1:{port}", secret, options) as channel:
                return (await service(channel).GetModel(pb.GetModelRequest(), timeout=60)).model.name

        return ours, theirs, call

    yield start
    for server in servers:
        await server.stop()


async def test_it_serves_over_tls_only(tls: Any) -> None:
    ours, theirs, call = await tls()
    assert await call(ours.credentials()) == "tiny"
    with pytest.raises(grpc.aio.AioRpcError):
        await call(theirs.credentials())


async def test_a_new_certificate_is_shown_without_a_restart(tls: Any) -> None:
    ours, theirs, call = await tls()
    assert await call(ours.credentials()) == "tiny"
    ours.certificate.write_text("half written")
    assert await call(ours.credentials()) == "tiny", "the last good one stays"
    theirs.certify_server()
    assert await call(theirs.credentials()) == "tiny"
    with pytest.raises(grpc.aio.AioRpcError):
        await call(ours.credentials())


async def test_a_client_must_show_a_certificate_of_the_authority(tls: Any, tmp_path: Path) -> None:
    ours, theirs, call = await tls(tls_client_ca=tmp_path / "ours.pem")
    assert await call(ours.credentials("camera.example")) == "tiny"
    stranger = theirs.authority.issue_cert("camera.example")
    chain = b"".join(part.bytes() for part in stranger.cert_chain_pems)
    for secret in (
        ours.credentials(),
        grpc.ssl_channel_credentials(ours.file.read_bytes(), stranger.private_key_pem.bytes(), chain),
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            await call(secret)


def test_a_certificate_without_its_key_gets_a_sentence(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    ours.certify_server()
    other = tmp_path / "other.key"
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(other)
    with pytest.raises(ServerError, match="are no certificate and its private key"):
        credentials(ours.certificate, other)
    with pytest.raises(ServerError, match=r"none\.key for TLS cannot be read: No such file"):
        credentials(ours.certificate, tmp_path / "none.key")
    with pytest.raises(ServerError, match="holds no certificate of an authority"):
        credentials(ours.certificate, ours.key, other)


# Where it may listen


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"host": "0.0.0.0"}, "On 0.0.0.0 .* can read photos. Give --tls-cert and --tls-key; or --insecure"),
        ({"host": "::"}, "can be reached from other machines"),
        ({"host": "0.0.0.0", "tokens": True}, "can read photos and tokens"),
        ({"tls_cert": Path("x")}, "needs a certificate and its private key"),
        ({"tls_client_ca": Path("x")}, "looked at only under TLS"),
    ],
)
async def test_it_does_not_listen_where_others_can_hear(
    settings: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    if "tokens" in settings:
        settings = {**settings, "tokens": tmp_path / "tokens.txt"}
        add_token(tmp_path / "tokens.txt", "a")
    server = Server(Settings(port=0, **settings))
    with pytest.raises(ServerError, match=sentence):
        await server.start()
    await server.stop()


@pytest.mark.parametrize("settings", [{"host": "localhost"}, {"host": "::1"}, {"host": "0.0.0.0", "insecure": True}])
async def test_it_listens_on_this_machine_and_where_it_is_told_to(settings: dict[str, Any]) -> None:
    server = Server(Settings(port=0, **settings))
    try:
        await server.start()
    except ServerError as error:
        if "Cannot assign requested address" not in str(error):  # a machine without IPv6
            raise
    finally:
        await server.stop()


def test_the_commands_make_list_and_revoke_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["token", *arguments, "--tokens", str(path)])
        assert ended.value.code == 0
        return capsys.readouterr().out

    path = tmp_path / "tokens.txt"
    token = run("new", "archive", "--photos-per-second", "2.5").strip()
    assert Tokens(path).find(token)
    assert run("list") == "archive photos_per_second=2.5\n"
    run("revoke", "archive")
    assert run("list") == ""


def test_a_token_can_go_straight_to_a_file_that_nobody_else_can_read_and_that_is_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "tokens.txt", tmp_path / "archive.token"

    def run(*arguments: str) -> int | str | None:
        with pytest.raises(SystemExit) as ended:
            main(["token", "new", *arguments, "--tokens", str(path), "--out", str(out)])
        return ended.value.code

    assert run("no name") == 1
    assert not out.exists()
    assert run("archive") == 0
    assert capsys.readouterr().out == "", "it is in the file alone"
    assert out.stat().st_mode & 0o777 == 0o600
    assert Tokens(path).find(out.read_text().strip())
    before = (path.read_text(), out.read_text())
    assert run("cameras") == 1
    assert "There is a file" in capsys.readouterr().err
    assert (path.read_text(), out.read_text()) == before


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.7:51234", "ipv4:10.0.0.7"),
        ("ipv6:%5B::1%5D:51234", "ipv6:%5B::1%5D"),
        ("unix:/run/planes.sock", "unix:/run/planes.sock"),
    ],
)
def test_connections_from_the_same_address_are_one_client(peer: str, address: str) -> None:
    assert client_address(peer) == address
