"""What the server receives from a client, and what it rejects before it has received it."""

import asyncio
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2
from scripts.h2_client import SERVICE, H2Client, grpc_frame
from tests.server.calls import reason, service, status_of

from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import decode_photo
from planespotter_server import server
from planespotter_server.auth.tokens import add_token, revoke_token
from planespotter_server.rpc.interceptor import is_broken_connection
from planespotter_server.serving import open_streams, served_model

Serve = Callable[..., Awaitable[grpc.aio.Channel]]
Until = Callable[[Callable[[], object]], Awaitable[None]]
Paint = Callable[..., bytes]

DEADLINE = 60
LARGE = grpc_frame(pb.ClassifyRequest(photo=pb.Photo(content=bytes(10_000_000))).SerializeToString())


def address(channel: Any) -> str:
    return f"127.0.0.1:{channel.port}"


def send_part(address: str, path: bytes, size: int, part: bytes = LARGE) -> tuple[int, int]:
    """Send the first `size` bytes of a message, and wait for the end of the call.

    Returns:
        The number of bytes that the server let through, and the code of the status.
    """
    with H2Client(address) as client:
        stream = client.open(path)
        sent = client.send(stream, part[:size], timeout=DEADLINE)
        for _ in range(10 * DEADLINE):
            if stream in client.ended or not client.is_open:
                break
            client.receive(0.1)
        return sent, int(client.statuses[stream])


async def test_call_without_a_token_is_rejected_before_its_message_is_received(serve: Serve, tmp_path: Path) -> None:
    add_token(tmp_path / "tokens", "me")
    channel = await serve(tokens=tmp_path / "tokens")
    sent, code = await asyncio.to_thread(send_part, address(channel), SERVICE + b"Classify", len(LARGE) - 1)
    assert code == code_pb2.UNAUTHENTICATED
    assert sent <= 2**22 < len(LARGE), "no more than the largest window of a stream"


async def test_photo_is_rejected_before_it_is_received_while_the_queue_is_full(serve: Serve) -> None:
    channel = await serve(max_in_flight_photos=1)
    admission = channel.server.service.admission  # type: ignore[attr-defined]
    with admission.try_admit(1):
        _, code = await asyncio.to_thread(send_part, address(channel), SERVICE + b"Classify", 100)
    assert code == code_pb2.RESOURCE_EXHAUSTED


async def test_request_that_stops_arriving_is_rejected_after_the_idle_timeout(serve: Serve) -> None:
    channel = await serve(idle_timeout=0.2)
    _, code = await asyncio.to_thread(send_part, address(channel), SERVICE + b"Classify", len(LARGE) - 1)
    assert code == code_pb2.UNAVAILABLE


async def test_request_that_ends_without_a_message_is_rejected(serve: Serve) -> None:
    channel = await serve()

    def end_at_once() -> int:
        with H2Client(address(channel)) as client:
            stream = client.open(SERVICE + b"Classify")
            client.send(stream, b"", end=True)
            while stream not in client.ended:
                client.receive(0.1)
            return int(client.statuses[stream])

    assert await asyncio.to_thread(end_at_once) == code_pb2.INVALID_ARGUMENT


async def test_health_check_that_stops_arriving_gets_the_health_of_the_server(serve: Serve) -> None:
    channel = await serve()
    for _ in range(2):  # the second is not received at all
        _, code = await asyncio.to_thread(send_part, address(channel), b"/grpc.health.v1.Health/Check", 100)
        assert code == code_pb2.OK


async def test_health_watches_of_one_address_are_limited(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planespotter_server.rpc.interceptor.MAX_WATCHES_PER_ADDRESS", 1)
    channel = await serve()
    watch: Any = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    first = watch(health_pb2.HealthCheckRequest())
    assert (await first.read()).status == health_pb2.HealthCheckResponse.SERVING
    status = await status_of(watch(health_pb2.HealthCheckRequest()).read())
    assert status.code == code_pb2.RESOURCE_EXHAUSTED
    first.cancel()


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_request_is_rejected_without_expanding_it(serve: Serve, compression: grpc.Compression) -> None:
    channel = await serve()
    call: Any = channel.unary_unary(
        "/planespotter.v1.ClassifierService/Classify", request_serializer=pb.ClassifyRequest.SerializeToString
    )
    request = pb.ClassifyRequest(photo=pb.Photo(content=bytes(1_000_000)))
    status = await status_of(call(request, compression=compression))
    assert (status.code, reason(status)) == (code_pb2.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    assert "compressed" in status.message


async def test_compressed_message_of_a_stream_is_rejected(serve: Serve) -> None:
    channel = await serve()
    stream = service(channel).StreamClassify(compression=grpc.Compression.Gzip)
    await stream.write(pb.StreamClassifyRequest(photo=pb.Photo(content=bytes(1_000_000))))
    status = await status_of(stream.read())
    assert (status.code, reason(status)) == (code_pb2.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    assert "compressed" in status.message


async def test_idle_stream_gets_a_drain_notice(serve: Serve, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_streams, "CHECK_SECONDS", 0.05)
    channel = await serve(idle_timeout=0.3)
    stream = service(channel).StreamClassify()
    await stream.write(pb.StreamClassifyRequest(photo=pb.Photo(id="a", content=paint("747"))))
    responses = [response async for response in stream]
    assert [response.WhichOneof("event") for response in responses] == ["result", "drain_notice"]
    assert responses[1].drain_notice.accepted_count == 1
    assert await stream.code() == grpc.StatusCode.OK


async def test_revoked_token_ends_an_idle_stream(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_streams, "CHECK_SECONDS", 0.05)
    token = add_token(tmp_path / "tokens", "me")
    channel = await serve(tokens=tmp_path / "tokens")
    stream = service(channel).StreamClassify(metadata=(("authorization", f"Bearer {token}"),))
    await stream.write(pb.StreamClassifyRequest(photo=pb.Photo(id="a", content=b"no photo")))
    await stream.read()
    revoke_token(tmp_path / "tokens", "me")
    status = await status_of(stream.read())
    assert (status.code, reason(status)) == (code_pb2.UNAUTHENTICATED, "TOKEN_INVALID")


async def test_stream_whose_client_reads_nothing_gives_its_place_back(
    serve: Serve, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_streams, "CHECK_SECONDS", 0.05)
    channel: Any = await serve(idle_timeout=0.3, max_streams=1, max_streams_per_client=1)
    message = pb.StreamClassifyRequest(photo=pb.Photo(content=b"no photo")).SerializeToString()

    def send() -> H2Client:
        client = H2Client(address(channel), window=0)
        client.send(client.open(SERVICE + b"StreamClassify"), 3 * grpc_frame(message))
        return client

    with await asyncio.to_thread(send):
        interceptor = channel.server._interceptor
        await until(lambda: interceptor._limiter._streams.total() == 1)
        await until(lambda: interceptor._limiter._streams.total() == 0)
        stream = service(channel).StreamClassify()
        await stream.write(pb.StreamClassifyRequest(photo=pb.Photo(content=b"no photo")))
        response = await stream.read()
        assert isinstance(response, pb.StreamClassifyResponse)
        assert response.result.error.message
        stream.cancel()


async def test_streams_of_one_client_are_limited_below_the_total(serve: Serve) -> None:
    channel = await serve(max_streams=4, max_streams_per_client=1)
    first = service(channel).StreamClassify()
    await first.write(pb.StreamClassifyRequest(photo=pb.Photo(content=b"no photo")))
    await first.read()
    status = await status_of(service(channel).StreamClassify().read())
    assert reason(status) == "TOO_MANY_STREAMS"
    assert status.message.startswith("This client has too many open streams: 1; the limit is 1.")


async def test_photo_in_flight_does_not_hold_its_file_once_it_is_decoded(
    serve: Serve, paint: Paint, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[bytes] = []

    def recording_decode(photo: bytes, *rest: Any) -> Any:
        files.append(photo)
        return decode_photo(photo, *rest)

    monkeypatch.setattr(served_model, "decode_photo", recording_decode)
    channel = await serve()
    model = channel.server.service.models.find()  # type: ignore[attr-defined]
    submitted = asyncio.Event()

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(model, "enqueue", lambda _: loop.call_soon_threadsafe(submitted.set))
    stream = service(channel).StreamClassify()
    await stream.write(pb.StreamClassifyRequest(photo=pb.Photo(content=paint("747"))))
    await submitted.wait()
    # References: the list, this argument; a worker thread may drop its own a little later.
    await until(lambda: sys.getrefcount(files[-1]) <= 2)
    submitted.clear()
    call = service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("A380"))))
    await submitted.wait()
    await until(lambda: sys.getrefcount(files[-1]) <= 2)
    call.cancel()


async def test_pixels_of_a_photo_are_freed_with_its_result_and_not_by_the_garbage_collector(
    serve: Serve, paint: Paint, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels: list[weakref.ref[Any]] = []

    def recording_decode(*arguments: Any) -> Any:
        decoded = decode_photo(*arguments).copy()
        pixels.append(weakref.ref(decoded))
        return decoded

    monkeypatch.setattr(served_model, "decode_photo", recording_decode)
    channel = await serve()
    gc.disable()
    try:
        photos = [pb.Photo(content=paint("747")) for _ in range(3)]
        await service(channel).BatchClassify(pb.BatchClassifyRequest(photos=photos))
        await service(channel).Classify(pb.ClassifyRequest(photo=photos[0]))
        stream = service(channel).StreamClassify(iter([pb.StreamClassifyRequest(photo=photo) for photo in photos]))
        assert len([response async for response in stream]) == 3
        await until(lambda: not any(reference() is not None for reference in pixels))
    finally:
        gc.enable()
    assert len(pixels) == 7


def test_write_to_a_client_that_has_gone_is_not_an_internal_error() -> None:
    broken = grpc.aio.InternalError("write failed")
    assert is_broken_connection(broken)
    assert is_broken_connection(ExceptionGroup("", [broken, ExceptionGroup("", [broken])]))
    assert not is_broken_connection(ExceptionGroup("", [broken, ValueError("bug")]))


async def test_client_that_vanishes_without_closing_its_connection_is_noticed_by_pings(
    serve: Serve, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorter = {"grpc.keepalive_time_ms": 1_000, "grpc.keepalive_timeout_ms": 1_000, "grpc.http2.ping_timeout_ms": 1_000}
    options = [(name, shorter.get(name, value)) for name, value in server.CONNECTION_OPTIONS]
    monkeypatch.setattr(server, "CONNECTION_OPTIONS", options)
    channel: Any = await serve()
    with H2Client(address(channel)) as client:
        client.open(SERVICE + b"StreamClassify")
        client.receive(0.1)  # from now on it reads nothing, as if its machine slept
        async with asyncio.timeout(30):  # gRPC's default is a minute
            await until(lambda: "CANCELLED" in handled_codes(channel))


def handled_codes(channel: Any) -> dict[str, float]:
    """Return the number of calls that have ended, by code."""
    samples = [sample for family in channel.server.metrics.registry.collect() for sample in family.samples]
    return {sample.labels["grpc_code"]: sample.value for sample in samples if "handled" in sample.name}


async def test_clients_that_vanish_while_responses_arrive_are_counted_as_cancelled(serve: Serve, until: Until) -> None:
    channel: Any = await serve()
    messages = b"".join(
        grpc_frame(pb.StreamClassifyRequest(photo=pb.Photo(id=str(index), content=b"no photo")).SerializeToString())
        for index in range(200)
    )

    def vanish() -> None:
        for _ in range(20):
            with H2Client(address(channel)) as client:
                client.send(client.open(SERVICE + b"StreamClassify"), messages)

    await asyncio.to_thread(vanish)
    await until(lambda: sum(handled_codes(channel).values()) == 20)
    assert set(handled_codes(channel)) <= {"CANCELLED", "OK"}
