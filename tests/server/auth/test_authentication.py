"""Authentication over a real connection: tokens, their individual limits, and revocation."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.server.calls import service, status_of

from planespotter.v1 import classifier_pb2 as pb
from planespotter_server.auth.authentication import Authenticator, client_address
from planespotter_server.auth.tokens import TokenFile, add_token, revoke_token

Serve = Callable[..., Awaitable[grpc.aio.Channel]]
Paint = Callable[..., bytes]


def bearer(token: str) -> dict[str, Any]:
    return {"metadata": (("authorization", f"Bearer {token}"),)}


async def rejection(call: Awaitable[object]) -> tuple[int, str, float]:
    """Return code, reason and retry delay in seconds of a call that is rejected."""
    status = await status_of(call)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    if len(status.details) > 1:
        assert status.details[1].Unpack(retry)
    return status.code, info.reason, retry.retry_delay.ToMilliseconds() / 1000


async def test_every_rpc_except_health_needs_a_token(serve: Serve, tokens: Path) -> None:
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
        assert (await rejection(call()))[:2] == (code_pb2.UNAUTHENTICATED, "TOKEN_MISSING")
        assert (await rejection(call(**bearer("pst_x"))))[:2] == (code_pb2.UNAUTHENTICATED, "TOKEN_INVALID")
        assert (await rejection(call(metadata=(("authorization", token),))))[:2] == (
            code_pb2.UNAUTHENTICATED,
            "TOKEN_MISSING",
        )
    await calls["unary"](**bearer(token))
    assert isinstance(await calls["reflection"](**bearer(token)), reflection_pb2.ServerReflectionResponse)
    assert (await rejection(calls["unknown"](**bearer(token))))[:2] == (code_pb2.UNIMPLEMENTED, "METHOD_NOT_FOUND")


async def test_token_has_an_individual_limit_of_concurrent_calls(serve: Serve, tokens: Path, paint: Paint) -> None:
    limited, other = add_token(tokens, "limited", max_calls=1), add_token(tokens, "other")
    channel = await serve(tokens=tokens)
    open_stream = service(channel).StreamClassify(**bearer(limited))
    await open_stream.write(pb.StreamClassifyRequest(photo=pb.Photo(content=paint("747"))))
    await open_stream.read()
    request = pb.GetModelRequest()
    assert (await rejection(service(channel).GetModel(request, **bearer(limited))))[1] == "TOO_MANY_CALLS"
    await service(channel).GetModel(request, **bearer(other))
    open_stream.cancel()


async def test_server_info_reports_the_limits_of_the_token(serve: Serve, tokens: Path) -> None:
    narrow, plain = add_token(tokens, "narrow", max_calls=3, photos_per_second=2.5), add_token(tokens, "plain")
    channel = await serve(tokens=tokens, max_concurrent_calls_per_client=9)
    reported = [
        (await service(channel).GetServerInfo(pb.GetServerInfoRequest(), **bearer(token))).limits
        for token in (narrow, plain)
    ]
    assert [(limits.max_concurrent_calls, limits.max_photos_per_second) for limits in reported] == [(3, 2.5), (9, 0)]
    assert [limits.HasField("max_photos_per_second") for limits in reported] == [True, False]


async def test_unary_requests_above_the_rate_limit_are_rejected(serve: Serve, tokens: Path, paint: Paint) -> None:
    slow = add_token(tokens, "slow", photos_per_second=0.001)
    channel = await serve(tokens=tokens)
    request = pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))
    await service(channel).Classify(request, **bearer(slow))
    code, reason, delay = await rejection(service(channel).Classify(request, **bearer(slow)))
    assert (code, reason) == (code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert 0 < delay <= 1000
    batch = pb.BatchClassifyRequest(photos=[pb.Photo(content=paint("747"))])
    results = (await service(channel).BatchClassify(batch, **bearer(slow))).results
    assert "The rate limit of this token is exceeded: 0.001 photos per second" in results[0].error.message


async def test_stream_is_read_at_the_rate_limit_of_its_token(serve: Serve, tokens: Path, paint: Paint) -> None:
    token = add_token(tokens, "steady", photos_per_second=20)
    channel = await serve(tokens=tokens)
    requests = [pb.StreamClassifyRequest(photo=pb.Photo(content=paint("747")))] * 30
    started = asyncio.get_running_loop().time()
    responses = [response async for response in service(channel).StreamClassify(iter(requests), **bearer(token))]
    assert [response.result.prediction.path[1].name for response in responses] == ["747"] * 30, (
        "it waits, and rejects none"
    )
    assert asyncio.get_running_loop().time() - started >= 0.4, "20 at once, then 10 at 20 per second"


async def test_stream_ends_at_the_first_photo_after_its_token_is_revoked(
    serve: Serve, tokens: Path, paint: Paint
) -> None:
    token = add_token(tokens, "archive")
    channel = await serve(tokens=tokens)
    call = service(channel).StreamClassify(**bearer(token))
    request = pb.StreamClassifyRequest(photo=pb.Photo(content=paint("747")))
    await call.write(request)
    response = await call.read()
    assert isinstance(response, pb.StreamClassifyResponse)
    assert response.result.prediction.path[1].name == "747"
    revoke_token(tokens, "archive")
    await call.write(request)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


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


def test_limits_of_a_token_are_divided_among_the_processes_of_a_server(tokens: Path) -> None:
    token = add_token(tokens, "archive", 5, 30.0)
    client = Authenticator(TokenFile(tokens), 2).authenticate({"authorization": f"Bearer {token}"}, "ipv4:10.0.0.7:1")
    assert client.max_calls == 3
    assert client.rate_limit is not None
    assert client.rate_limit.photos_per_second == 15
