"""The service over a real connection: predictions, invalid input, limits, overload and shutdown."""

import asyncio
import importlib.metadata
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
import structlog
from google.rpc import code_pb2, error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from numpy.typing import NDArray
from tests.server.calls import failure, reason, service, status_of

from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import Bundle, Engine, decode_photo
from planespotter_server.observability.logging import configure_logging, flush_logs
from planespotter_server.serving import served_model

Serve = Callable[..., Awaitable[grpc.aio.Channel]]
Until = Callable[[Callable[[], object]], Awaitable[None]]
Paint = Callable[..., bytes]


async def stream(channel: grpc.aio.Channel, requests: list[pb.StreamClassifyRequest]) -> dict[str, Any]:
    call = service(channel).StreamClassify(iter(requests))
    results = [result async for result in call]
    assert len(results) == len(requests)
    return {result.result.id: result.result for result in results}


def configured(options: pb.ClassifyOptions | None = None, ordering: Any = None) -> pb.StreamClassifyRequest:
    """Return the first message of a stream."""
    return pb.StreamClassifyRequest(config=pb.StreamConfig(options=options, ordering=ordering))


def streamed(content: bytes, photo_id: str = "") -> pb.StreamClassifyRequest:
    """Return a photo as a message of a stream."""
    return pb.StreamClassifyRequest(photo=pb.Photo(content=content, id=photo_id))


async def health(channel: grpc.aio.Channel, name: str = "") -> int:
    result = await health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]
        health_pb2.HealthCheckRequest(service=name)
    )
    return int(result.status)


def reached_device(channel: grpc.aio.Channel) -> int:
    """Return the number of photos that reached the device of the only model, or its queue."""
    [served_model] = channel.server.service.models.all()  # type: ignore[attr-defined]
    return int(served_model.queue_depth) + int(served_model.counters.examples)


def waiting(channel: grpc.aio.Channel) -> int:
    """Return the number of photos in the device queue of the only model."""
    [served_model] = channel.server.service.models.all()  # type: ignore[attr-defined]
    return int(served_model.queue_depth)


class BlockedEngine:
    """An engine that blocks until it is released."""

    def __init__(self, engine: Engine) -> None:
        self.blocked = False
        self.batches: list[NDArray[np.uint8]] = []
        self.engine = engine
        self.batch_sizes = engine.batch_sizes
        self.released = threading.Event()
        self.rows = 0

    def run(self, photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        self.blocked = True
        assert self.released.wait(300)
        self.rows += len(photos)
        self.batches.append(photos)
        return self.engine.run(photos)


class BrokenEngine:
    """An engine with a bug whose message has a path."""

    batch_sizes = (4,)

    def run(self, photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        raise RuntimeError("/etc/secret is not where it was")


@pytest.fixture
def restored_logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
async def blocked_engine(loaded: tuple[Bundle, Engine]) -> AsyncIterator[BlockedEngine]:
    engine = BlockedEngine(loaded[1])
    yield engine
    engine.released.set()


# Predictions


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WebP"])
async def test_prediction_is_a_path_from_constructor_to_model(serve: Serve, paint: Paint, file_format: str) -> None:
    channel = await serve()
    request = pb.ClassifyRequest(photo=pb.Photo(content=paint("737 MAX 8", file_format)))
    result = (await service(channel).Classify(request)).prediction
    assert result.level == pb.LEVEL_MODEL
    assert [(node.level, node.name) for node in result.path] == [
        (pb.LEVEL_CONSTRUCTOR, "Boeing"),
        (pb.LEVEL_FAMILY, "737"),
        (pb.LEVEL_MODEL, "737 MAX 8"),
    ]
    of_constructor, of_family, of_model = (node.probability for node in result.path)
    assert 0.9 < of_model <= of_family <= of_constructor <= 1
    assert not result.candidates


async def test_path_ends_where_the_taxonomy_does(serve: Serve, paint: Paint) -> None:
    result = (
        await service(await serve()).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("A380"))))
    ).prediction
    assert (result.level, [node.name for node in result.path]) == (pb.LEVEL_FAMILY, ["Airbus", "A380"])


async def test_prediction_without_confidence_has_level_unknown(serve: Serve, paint: Paint) -> None:
    result = (
        await service(await serve()).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("nothing known"))))
    ).prediction
    assert result.level == pb.LEVEL_UNKNOWN


async def test_candidates_are_sorted_by_probability(serve: Serve, paint: Paint) -> None:
    options = pb.ClassifyOptions(top_k=3, model_name="tiny")
    request = pb.ClassifyRequest(photo=pb.Photo(content=paint("A320neo")), options=options)
    result = (await service(await serve()).Classify(request)).prediction
    probabilities = [candidate.probability for candidate in result.candidates]
    assert list(result.candidates[0].path) == ["Airbus", "A320", "A320neo"]
    assert len(probabilities) == 3
    assert probabilities == sorted(probabilities, reverse=True)


async def test_batch_results_keep_the_request_order(serve: Serve, paint: Paint) -> None:
    names = ["737-800", "A320neo", "A320-200", "737 MAX 8"] * 4
    request = pb.BatchClassifyRequest(photos=[pb.Photo(content=paint(name)) for name in names])
    results = (await service(await serve()).BatchClassify(request)).results
    assert [result.prediction.path[2].name for result in results] == names


async def test_every_photo_of_a_stream_gets_its_result(serve: Serve, paint: Paint) -> None:
    names = ["737-800", "A320neo", "A320-200", "737 MAX 8"] * 25
    requests = [
        pb.StreamClassifyRequest(photo=pb.Photo(id=f"{i} {name}", content=paint(name))) for i, name in enumerate(names)
    ]
    results = await stream(await serve(max_in_flight_per_stream=7), requests)
    assert {photo_id: result.prediction.path[2].name for photo_id, result in results.items()} == {
        request.photo.id: name for request, name in zip(requests, names, strict=True)
    }


async def test_stream_results_keep_the_order_if_configured(serve: Serve, paint: Paint) -> None:
    names = ["737-800", "A320neo", "A320-200"] * 10
    # Large and small ones, so that some take longer than those behind them.
    requests = [
        pb.StreamClassifyRequest(
            photo=pb.Photo(id=str(number), content=paint(name, "PNG", (900, 600) if number % 4 == 0 else (48, 32))),
        )
        for number, name in enumerate(names)
    ]
    call = service(await serve()).StreamClassify(iter([configured(ordering=pb.ORDERING_IN_ORDER), *requests]))
    results = [result.result async for result in call]
    assert [int(result.id) for result in results] == list(range(30))
    assert [result.prediction.path[2].name for result in results] == names


async def test_unknown_ordering_is_rejected_and_holds_no_permit(serve: Serve, paint: Paint) -> None:
    channel = await serve()
    call = service(channel).StreamClassify()
    await call.write(configured(ordering=7))
    status = await status_of(call.read())
    assert (status.code, reason(status)) == (code_pb2.INVALID_ARGUMENT, "ORDERING_UNKNOWN")
    async with asyncio.timeout(60):
        await channel.server.service.admission.wait_until_idle()  # type: ignore[attr-defined]


async def test_result_is_sent_while_the_stream_is_open(serve: Serve, paint: Paint) -> None:
    call = service(await serve()).StreamClassify()
    for name in ("A320neo", "747"):
        await call.write(pb.StreamClassifyRequest(photo=pb.Photo(id=name, content=paint(name))))
        result = await call.read()
        assert isinstance(result, pb.StreamClassifyResponse)
        assert result.result.id == name
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_server_info_has_version_and_limits(serve: Serve) -> None:
    channel = await serve(
        max_photo_pixels=5,
        max_batch_photos=4,
        max_in_flight_per_stream=9,
        max_in_flight_per_stream_bytes=2**33,
        max_streams=7,
        max_in_flight_photos=6,
        max_in_flight_bytes=2**34,
        max_queue_wait=2.5,
        max_concurrent_calls_per_client=8,
    )
    info = await service(channel).GetServerInfo(pb.GetServerInfoRequest())
    limits = info.limits
    assert info.version == importlib.metadata.version("planespotter")
    assert (limits.max_photo_bytes, limits.max_photo_pixels, limits.max_batch_photos) == (16 * 1024 * 1024, 5, 4)
    assert (limits.max_message_bytes, limits.max_top_k) == (64 * 1024 * 1024, 20)
    assert (limits.max_in_flight_per_stream, limits.max_in_flight_per_stream_bytes) == (9, 2**33)
    assert (limits.max_in_flight_photos, limits.max_in_flight_bytes) == (6, 2**34)
    assert (limits.max_streams, limits.max_concurrent_calls) == (7, 8)
    assert limits.max_queue_wait.ToMilliseconds() == 2500
    assert not limits.HasField("max_photos_per_second")


async def test_model_has_taxonomy_thresholds_and_metrics(serve: Serve, loaded: tuple[Bundle, Engine]) -> None:
    model = (await service(await serve()).GetModel(pb.GetModelRequest())).model
    assert model.is_default
    assert (model.name, model.version) == ("tiny", "1")
    assert [(node.level, node.name) for node in model.taxonomy] == [
        (pb.LEVEL_CONSTRUCTOR, "Airbus"),
        (pb.LEVEL_CONSTRUCTOR, "Boeing"),
    ]
    family = model.taxonomy[0].children[0]
    assert (family.level, [node.name for node in family.children]) == (pb.LEVEL_FAMILY, ["A320-200", "A320neo"])
    assert {(node.level, len(node.children)) for node in family.children} == {(pb.LEVEL_MODEL, 0)}
    assert (model.input_size.height, model.input_size.width) == (32, 48)
    assert model.thresholds.min_family_probability == loaded[0].calibration.thresholds.family
    assert model.metrics[0].photo_count == 200
    assert not model.metrics[0].HasField("source")


async def test_level_that_is_never_confident_has_no_threshold(serve: Serve, loaded: tuple[Bundle, Engine]) -> None:
    bundle, engine = loaded
    calibration = replace(bundle.calibration, thresholds=replace(bundle.calibration.thresholds, model=1.1))
    channel = await serve()
    server = channel.server  # type: ignore[attr-defined]
    server.service.models.put("tiny", {"1": server.create_model(replace(bundle, calibration=calibration), engine)})
    thresholds = (await service(channel).GetModel(pb.GetModelRequest())).model.thresholds
    assert thresholds.HasField("min_family_probability")
    assert not thresholds.HasField("min_model_probability")


# The messages of a stream


async def test_stream_without_a_config_uses_the_defaults(serve: Serve, paint: Paint) -> None:
    [result] = (await stream(await serve(), [streamed(paint("A320neo"), "a")])).values()
    assert result.prediction.path[2].name == "A320neo"
    assert not result.prediction.candidates


async def test_config_applies_to_all_photos_and_gets_no_result(serve: Serve, paint: Paint) -> None:
    requests = [configured(pb.ClassifyOptions(top_k=2)), *(streamed(paint("747"), str(i)) for i in range(3))]
    results = [result.result async for result in service(await serve()).StreamClassify(iter(requests))]
    assert sorted(result.id for result in results) == ["0", "1", "2"]
    assert [len(result.prediction.candidates) for result in results] == [2, 2, 2]


@pytest.mark.parametrize(
    ("options", "expected", "field"),
    [
        (pb.ClassifyOptions(model_name="other"), "MODEL_NOT_FOUND", None),
        (pb.ClassifyOptions(top_k=21), "TOP_K_OUT_OF_RANGE", "config.options.top_k"),
        (pb.ClassifyOptions(heat_map=True), "HEAT_MAP_UNSUPPORTED", "config.options.heat_map"),
    ],
)
async def test_invalid_config_ends_the_stream_with_its_reason(
    serve: Serve, paint: Paint, options: pb.ClassifyOptions, expected: str, field: str | None
) -> None:
    call = service(await serve()).StreamClassify()
    await call.write(configured(options))
    status = await status_of(call.read())
    assert reason(status) == expected
    if field:
        violations = error_details_pb2.BadRequest()
        assert status.details[1].Unpack(violations)
        assert violations.field_violations[0].field == field


def listed(*photos: pb.Photo) -> pb.StreamClassifyRequest:
    """Return photos as one message of a stream."""
    return pb.StreamClassifyRequest(photos=pb.PhotoList(photos=photos))


@pytest.mark.parametrize("ordering", [pb.ORDERING_AS_COMPLETED, pb.ORDERING_IN_ORDER])
async def test_photos_in_one_message_get_one_result_each(serve: Serve, paint: Paint, ordering: Any) -> None:
    channel = await serve(max_in_flight_per_stream=2)
    photos = [pb.Photo(content=paint("747"), id=str(number)) for number in range(6)]
    photos[3].content = b"no photo"
    messages = [configured(ordering=ordering), listed(*photos[:4]), listed(), listed(*photos[4:])]
    call = service(channel).StreamClassify(iter(messages))
    results = [result async for response in call for result in response.results.results]
    ids = [result.id for result in results]
    assert (ids if ordering == pb.ORDERING_IN_ORDER else sorted(ids)) == list("012345")
    assert {result.id for result in results if result.HasField("error")} == {"3"}


async def test_client_that_sends_no_lists_gets_none(serve: Serve, paint: Paint) -> None:
    requests = [streamed(paint("747"), str(number)) for number in range(8)]
    async for response in service(await serve()).StreamClassify(iter(requests)):
        assert response.WhichOneof("event") == "result"


async def test_drain_within_a_list_accepts_its_first_photos(
    serve: Serve, paint: Paint, blocked_engine: BlockedEngine, until: Until
) -> None:
    channel = await serve(engine=blocked_engine, max_in_flight_per_stream=2)
    call = service(channel).StreamClassify()
    await call.write(listed(*(pb.Photo(content=paint("747"), id=str(number)) for number in range(5))))
    await until(lambda: reached_device(channel) == 2)
    draining = asyncio.ensure_future(channel.server.drain())  # type: ignore[attr-defined]
    notice: Any = await call.read()
    assert notice.drain_notice.accepted_count == 2
    blocked_engine.released.set()
    await draining
    results: list[str] = []
    while (response := await call.read()) is not grpc.aio.EOF:
        assert isinstance(response, pb.StreamClassifyResponse)
        results += [result.id for result in response.results.results]
    assert sorted(results) == ["0", "1"]


@pytest.mark.parametrize(
    "message",
    [configured(), pb.StreamClassifyRequest(), listed(*[pb.Photo()] * 65)],
    ids=["late config", "empty message", "list too long"],
)
async def test_protocol_violation_ends_the_stream_after_earlier_results(
    serve: Serve, paint: Paint, message: pb.StreamClassifyRequest
) -> None:
    call = service(await serve()).StreamClassify(iter([streamed(paint("747"), "a"), message, streamed(paint("747"))]))
    result = await call.read()
    assert isinstance(result, pb.StreamClassifyResponse)
    assert (result.result.id, result.result.prediction.path[1].name) == ("a", "747")
    status = await status_of(call.read())
    assert (status.code, reason(status)) == (code_pb2.INVALID_ARGUMENT, "PROTOCOL_VIOLATION")


async def test_second_config_is_a_protocol_violation(serve: Serve) -> None:
    call = service(await serve()).StreamClassify(iter([configured(), configured()]))
    assert reason(await status_of(call.read())) == "PROTOCOL_VIOLATION"


# Invalid input


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "huge"])
async def test_invalid_photo_is_rejected_with_its_reason(
    serve: Serve, bad_photos: dict[str, tuple[bytes, str]], kind: str
) -> None:
    photo, expected = bad_photos[kind]
    status = await status_of(service(await serve()).Classify(pb.ClassifyRequest(photo=pb.Photo(content=photo))))
    assert (status.code, reason(status)) == (code_pb2.INVALID_ARGUMENT, expected)


async def test_invalid_photos_do_not_affect_the_rest_of_a_batch(
    serve: Serve, paint: Paint, bad_photos: dict[str, tuple[bytes, str]]
) -> None:
    photos = [photo for bad, _ in bad_photos.values() for photo in (bad, paint("747"))]
    results = (
        await service(await serve()).BatchClassify(
            pb.BatchClassifyRequest(photos=[pb.Photo(content=photo) for photo in photos])
        )
    ).results
    assert [reason(result.error) for result in results[::2]] == [expected for _, expected in bad_photos.values()]
    assert {result.prediction.path[1].name for result in results[1::2]} == {"747"}
    violations = error_details_pb2.BadRequest()
    assert results[2].error.details[1].Unpack(violations)
    assert violations.field_violations[0].field == "photos[2].content"


async def test_invalid_photos_never_end_a_stream(
    serve: Serve, paint: Paint, bad_photos: dict[str, tuple[bytes, str]]
) -> None:
    requests = {
        kind: pb.StreamClassifyRequest(photo=pb.Photo(id=kind, content=photo))
        for kind, (photo, _) in bad_photos.items()
    }
    long_id = "x" * 257
    requests |= {
        long_id: pb.StreamClassifyRequest(photo=pb.Photo(id=long_id, content=paint("747"))),
        "good": pb.StreamClassifyRequest(photo=pb.Photo(id="good", content=paint("747"))),
    }
    results = await stream(await serve(), list(requests.values()))
    assert results.pop("good").prediction.path[1].name == "747"
    assert {photo_id: reason(result.error) for photo_id, result in results.items()} == {
        **{kind: expected for kind, (_, expected) in bad_photos.items()},
        long_id: "PHOTO_ID_TOO_LONG",
    }


async def test_photo_above_the_byte_limit_is_rejected_with_size_and_limit(serve: Serve, paint: Paint) -> None:
    photo = paint("747")
    channel = await serve(max_photo_bytes=100)
    status = await status_of(service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=photo))))
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert (info.reason, dict(info.metadata)) == ("PHOTO_TOO_LARGE", {"bytes": str(len(photo)), "limit": "100"})


async def test_message_above_the_limit_does_not_affect_other_calls(serve: Serve, paint: Paint) -> None:
    channel = await serve(max_message_bytes=50_000, max_photo_bytes=40_000)
    error = await failure(service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=bytes(60_000)))))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))))


async def test_message_above_the_limit_ends_only_its_stream(serve: Serve, paint: Paint) -> None:
    channel = await serve(max_message_bytes=50_000, max_photo_bytes=40_000)
    good, bad = service(channel).StreamClassify(), service(channel).StreamClassify()
    await bad.write(pb.StreamClassifyRequest(photo=pb.Photo(content=bytes(60_000))))
    assert (await failure(bad.read())).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await good.write(pb.StreamClassifyRequest(photo=pb.Photo(id="good", content=paint("747"))))
    result = await good.read()
    assert isinstance(result, pb.StreamClassifyResponse)
    assert result.result.prediction.path[1].name == "747"
    await good.done_writing()


@pytest.mark.parametrize("top_k", [-1, 21])
async def test_top_k_out_of_range_is_rejected(serve: Serve, paint: Paint, top_k: int) -> None:
    options = pb.ClassifyOptions(top_k=top_k)
    stub = service(await serve())
    for call in (
        stub.Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747")), options=options)),
        stub.BatchClassify(pb.BatchClassifyRequest(photos=[pb.Photo(content=paint("747"))], options=options)),
    ):
        status = await status_of(call)
        assert (status.code, reason(status)) == (code_pb2.INVALID_ARGUMENT, "TOP_K_OUT_OF_RANGE")


async def test_unknown_model_is_not_found(serve: Serve, paint: Paint) -> None:
    options = pb.ClassifyOptions(model_name="other")
    stub = service(await serve())
    for call in (
        stub.Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747")), options=options)),
        stub.BatchClassify(pb.BatchClassifyRequest(photos=[pb.Photo(content=paint("747"))], options=options)),
        stub.GetModel(pb.GetModelRequest(model_name="other")),
    ):
        status = await status_of(call)
        assert (status.code, reason(status)) == (code_pb2.NOT_FOUND, "MODEL_NOT_FOUND")
        resource = error_details_pb2.ResourceInfo()
        assert status.details[1].Unpack(resource)
        assert resource.resource_name == "other"


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f6e9", "\ue000", "\U0010ffff"])
async def test_long_model_name_is_truncated_in_the_error(serve: Serve, paint: Paint, letter: str) -> None:
    options = pb.ClassifyOptions(model_name=letter * 100_000)
    channel = await serve()
    stub = service(channel)
    statuses = [
        await status_of(stub.Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747")), options=options))),
        await status_of(
            stub.BatchClassify(pb.BatchClassifyRequest(photos=[pb.Photo(content=paint("747"))], options=options))
        ),
        await status_of(stub.GetModel(pb.GetModelRequest(model_name=options.model_name))),
        await status_of(stub.StreamClassify(iter([configured(options)])).read()),
    ]
    for status in statuses:
        info, resource = error_details_pb2.ErrorInfo(), error_details_pb2.ResourceInfo()
        assert status.details[0].Unpack(info)
        assert status.details[1].Unpack(resource)
        assert (status.code, info.reason) == (code_pb2.NOT_FOUND, "MODEL_NOT_FOUND")
        assert len(info.metadata["model_name"]) == len(resource.resource_name) == 200
        assert len(status.message) == len(resource.description) < 350


NO_MESSAGE = {"an unterminated varint": b"\xff\xff\xff", "a length beyond the end": b"\x12\x7f"}
NO_NAME = {"a name that is not UTF-8": b"\x0a\x02\xc3\x28"}
NO_PHOTO_ID = {"Classify": b"\x0a\x04\x12\x02\xc3\x28", "StreamClassify": b"\x12\x04\x12\x02\xc3\x28"}


@pytest.mark.parametrize(
    ("method", "content"),
    [
        *((method, content) for method in ("Classify", "BatchClassify") for content in NO_MESSAGE.values()),
        *(
            (method, content)
            for method in ("GetModel", "StreamClassify")
            for content in (NO_MESSAGE | NO_NAME).values()
        ),
        *NO_PHOTO_ID.items(),
    ],
)
async def test_malformed_request_is_rejected_and_not_logged_as_a_bug(
    serve: Serve, capsys: pytest.CaptureFixture[str], restored_logs: None, method: str, content: bytes
) -> None:
    configure_logging()
    channel = await serve()
    path = f"/planespotter.v1.ClassifierService/{method}"
    if method == "StreamClassify":
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(path)()
        await call.write(content)
        status = await status_of(call.read())
    else:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        status = await status_of(ask(content))
    assert (status.code, reason(status)) == (code_pb2.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    assert "DecodeError" not in str(status)
    flush_logs()
    assert capsys.readouterr().err == ""


async def test_overlong_photo_id_is_echoed_even_above_the_message_limit(serve: Serve, paint: Paint) -> None:
    long_id = "x" * 49_950  # with the status more than max_message_bytes
    channel = await serve(max_message_bytes=50_000, max_photo_bytes=40_000)
    results = await stream(channel, [pb.StreamClassifyRequest(photo=pb.Photo(id=long_id, content=b""))])
    assert reason(results[long_id].error) == "PHOTO_ID_TOO_LONG"


async def test_batch_above_the_photo_limit_is_rejected(serve: Serve, paint: Paint) -> None:
    channel = await serve(max_batch_photos=2)
    status = await status_of(
        service(channel).BatchClassify(pb.BatchClassifyRequest(photos=[pb.Photo(content=paint("747"))] * 3))
    )
    assert reason(status) == "BATCH_TOO_LARGE"


# Failures and overload


async def test_unimplemented_health_method_is_not_found(
    serve: Serve, capsys: pytest.CaptureFixture[str], restored_logs: None
) -> None:
    configure_logging()
    channel = await serve()
    ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/List")
    status = await status_of(ask(b""))
    assert (status.code, reason(status)) == (code_pb2.UNIMPLEMENTED, "METHOD_NOT_FOUND")
    flush_logs()
    assert capsys.readouterr().err == ""


@pytest.mark.slow
async def test_exception_text_never_leaves_the_server(serve: Serve, paint: Paint) -> None:
    channel = await serve(engine=BrokenEngine(), max_consecutive_failures=100)
    status = await status_of(service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))))
    batch = await service(channel).BatchClassify(pb.BatchClassifyRequest(photos=[pb.Photo(content=paint("747"))] * 2))
    streamed = await stream(
        channel, [pb.StreamClassifyRequest(photo=pb.Photo(id=str(i), content=paint("747"))) for i in range(3)]
    )
    statuses = [status, *(result.error for result in batch.results), *(result.error for result in streamed.values())]
    assert {(status.code, reason(status)) for status in statuses} == {(code_pb2.INTERNAL, "INTERNAL")}
    assert not any("secret" in str(status) for status in statuses)


async def test_photos_before_a_malformed_message_are_answered(serve: Serve, paint: Paint) -> None:
    channel = await serve()
    good, bad = pb.StreamClassifyRequest(photo=pb.Photo(content=paint("747"))).SerializeToString(), b"\xff"
    for _ in range(10):  # it was a race
        ask: Any = channel.stream_stream("/planespotter.v1.ClassifierService/StreamClassify")
        call = ask(iter([good, good, bad, good]))
        async with asyncio.timeout(60):
            assert pb.StreamClassifyResponse.FromString(await call.read()).result.prediction.path[1].name == "747"
            assert pb.StreamClassifyResponse.FromString(await call.read()).result.prediction.path[1].name == "747"
            status = await status_of(call.read())
        assert (status.code, reason(status)) == (code_pb2.INVALID_ARGUMENT, "REQUEST_MALFORMED")


async def test_log_of_a_bug_contains_no_photo(
    serve: Serve, paint: Paint, capsys: pytest.CaptureFixture[str], restored_logs: None
) -> None:
    configure_logging()
    channel = await serve(engine=BrokenEngine(), max_consecutive_failures=100)
    await failure(service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))))
    flush_logs()
    [line] = capsys.readouterr().err.splitlines()
    logged = json.loads(line)
    assert (logged["event"], len(logged["request_id"])) == ("unhandled_exception", 32)
    assert "not where it was" in line
    assert "JFIF" not in line


async def test_unary_request_is_rejected_with_a_retry_delay_when_the_queue_is_full(
    serve: Serve, paint: Paint, blocked_engine: BlockedEngine, until: Until
) -> None:
    channel = await serve(engine=blocked_engine, max_in_flight_photos=2)
    request = pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))
    accepted = [asyncio.ensure_future(_classify(channel, request)) for _ in range(2)]
    await until(lambda: reached_device(channel) == 2)
    status = await status_of(service(channel).Classify(request))
    assert (status.code, reason(status)) == (code_pb2.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert status.details[1].Is(error_details_pb2.RetryInfo.DESCRIPTOR)
    blocked_engine.released.set()
    assert {result.path[1].name for result in await asyncio.gather(*accepted)} == {"747"}


async def test_streams_wait_when_the_queue_is_full(serve: Serve, paint: Paint) -> None:
    channel = await serve(max_in_flight_photos=4, max_in_flight_per_stream=32)
    requests = [pb.StreamClassifyRequest(photo=pb.Photo(id=str(i), content=paint("747"))) for i in range(60)]
    for results in await asyncio.gather(stream(channel, requests), stream(channel, requests)):
        assert {result.prediction.path[1].name for result in results.values()} == {"747"}


@pytest.mark.slow
async def test_expired_and_cancelled_photos_never_reach_the_device(
    serve: Serve, paint: Paint, blocked_engine: BlockedEngine, until: Until
) -> None:
    channel = await serve(engine=blocked_engine)
    request = pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))
    first = asyncio.ensure_future(_classify(channel, request))
    await until(lambda: blocked_engine.blocked)  # the first is on the device
    late = [service(channel).Classify(request, timeout=1) for _ in range(5)]
    leaving = service(channel).StreamClassify()
    for number in range(5):
        await leaving.write(pb.StreamClassifyRequest(photo=pb.Photo(id=str(number), content=paint("747"))))
    for call in late:
        assert (await failure(call)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: waiting(channel) == 5)  # of the stream: the late ones were dropped
    leaving.cancel()
    await until(lambda: waiting(channel) == 0)
    blocked_engine.released.set()
    assert (await first).path[1].name == "747"
    await channel.server.drain()  # type: ignore[attr-defined]
    assert blocked_engine.rows == 1


async def test_streams_do_not_starve_a_unary_request(
    serve: Serve, paint: Paint, blocked_engine: BlockedEngine, until: Until
) -> None:
    channel = await serve(engine=blocked_engine, max_in_flight_per_stream=64)
    bulk = [service(channel).StreamClassify() for _ in range(2)]
    for call in bulk:
        for number in range(60):
            await call.write(pb.StreamClassifyRequest(photo=pb.Photo(id=str(number), content=paint("747"))))
    await until(lambda: reached_device(channel) == 120)  # one batch is on the device
    single = asyncio.ensure_future(_classify(channel, pb.ClassifyRequest(photo=pb.Photo(content=paint("A380")))))
    await until(lambda: reached_device(channel) == 121)
    blocked_engine.released.set()
    assert (await single).path[1].name == "A380"
    reds = [batch[:, 0, 0, 0].max() for batch in blocked_engine.batches]
    assert max(reds[:2]) > 200, "the A380, the only red photo, was in the next batch"


async def test_stream_above_max_streams_is_rejected_but_unary_requests_are_not(serve: Serve, paint: Paint) -> None:
    channel = await serve(max_streams=1)
    first = service(channel).StreamClassify()
    await first.write(pb.StreamClassifyRequest(photo=pb.Photo(id="1", content=paint("747"))))
    assert await first.read() is not grpc.aio.EOF
    status = await status_of(service(channel).StreamClassify().read())
    assert (status.code, reason(status)) == (code_pb2.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
    assert status.details[1].Is(error_details_pb2.RetryInfo.DESCRIPTOR)
    assert (await _classify(channel, pb.ClassifyRequest(photo=pb.Photo(content=paint("747"))))).path[1].name == "747"
    await first.done_writing()
    assert await first.read() is grpc.aio.EOF
    assert len(await stream(channel, [pb.StreamClassifyRequest(photo=pb.Photo(id="1", content=paint("747")))])) == 1


async def test_call_above_the_limit_of_its_client_is_rejected(
    serve: Serve, paint: Paint, blocked_engine: BlockedEngine, until: Until
) -> None:
    channel = await serve(engine=blocked_engine, max_concurrent_calls_per_client=2)
    request = pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))
    accepted = [asyncio.ensure_future(_classify(channel, request)) for _ in range(2)]
    await until(lambda: reached_device(channel) == 2)
    status = await status_of(service(channel).Classify(request))
    assert (status.code, reason(status)) == (code_pb2.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
    assert await health(channel) == health_pb2.HealthCheckResponse.SERVING, "health is never rejected"
    blocked_engine.released.set()
    await asyncio.gather(*accepted)


async def test_full_queue_rejects_without_decoding(
    serve: Serve, paint: Paint, blocked_engine: BlockedEngine, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    channel = await serve(engine=blocked_engine, max_in_flight_photos=1)
    accepted = asyncio.ensure_future(_classify(channel, pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))))
    await until(lambda: blocked_engine.blocked)
    monkeypatch.setattr(served_model, "decode_photo", lambda *_: pytest.fail("it was decoded"))
    status = await status_of(service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=b"no photo at all"))))
    assert reason(status) == "QUEUE_FULL"
    blocked_engine.released.set()
    await accepted


async def test_failing_device_stops_the_service(serve: Serve, paint: Paint) -> None:
    channel = await serve(engine=BrokenEngine(), max_consecutive_failures=2)
    request = pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))
    codes = [(await status_of(service(channel).Classify(request))).code for _ in range(3)]
    assert codes == [code_pb2.INTERNAL, code_pb2.INTERNAL, code_pb2.UNAVAILABLE]
    assert channel.server.device_failed.is_set()  # type: ignore[attr-defined]
    assert await health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING
    status = await status_of(service(channel).Classify(request))
    assert reason(status) == "DEVICE_FAILED"
    assert status.details[1].Is(error_details_pb2.RetryInfo.DESCRIPTOR)


# Several models


@pytest.fixture
async def library(serve: Serve, loaded: tuple[Bundle, Engine]) -> grpc.aio.Channel:
    """A channel to a server of the models a 1, b 2, b 10 and c 1."""
    channel = await serve(default_model="b")
    server = channel.server  # type: ignore[attr-defined]
    server.service.models.put("tiny", {})
    for name, versions in {"a": ["1"], "b": ["2", "10"], "c": ["1"]}.items():
        bundles = {version: replace(loaded[0], name=name, version=version) for version in versions}
        models = {version: server.create_model(bundle, loaded[1]) for version, bundle in bundles.items()}
        server.service.models.put(name, models)
    return channel


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [("", "", "b 10"), ("", "2", "b 2"), ("b", "", "b 10"), ("b", "10", "b 10"), ("c", "", "c 1")],
)
async def test_requested_model_is_used(
    library: grpc.aio.Channel, paint: Paint, name: str, version: str, expected: str
) -> None:
    options = pb.ClassifyOptions(model_name=name, model_version=version)
    single = await _classify(library, pb.ClassifyRequest(photo=pb.Photo(content=paint("747")), options=options))
    batch = await service(library).BatchClassify(
        pb.BatchClassifyRequest(photos=[pb.Photo(content=paint("747"))], options=options)
    )
    call = service(library).StreamClassify(iter([configured(options), streamed(paint("747"))]))
    [response] = [response async for response in call]
    described = await service(library).GetModel(pb.GetModelRequest(model_name=name, model_version=version))
    for result in (single, batch.results[0].prediction, response.result.prediction):
        assert f"{result.model_name} {result.model_version}" == expected
    assert f"{described.model.name} {described.model.version}" == expected


async def test_version_that_is_not_served_is_not_found(library: grpc.aio.Channel, paint: Paint) -> None:
    options = pb.ClassifyOptions(model_name="c", model_version="2")
    status = await status_of(
        service(library).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747")), options=options))
    )
    assert (status.code, reason(status)) == (code_pb2.NOT_FOUND, "MODEL_NOT_FOUND")
    assert "The model 'c' has no version '2'; this server has '1'" in status.message


async def test_missing_version_of_the_default_model_is_reported_with_its_name(
    library: grpc.aio.Channel,
) -> None:
    status = await status_of(service(library).GetModel(pb.GetModelRequest(model_version="99")))
    info, resource = error_details_pb2.ErrorInfo(), error_details_pb2.ResourceInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(resource)
    default = (await service(library).GetModel(pb.GetModelRequest())).model.name
    assert resource.resource_name == info.metadata["model_name"] == default
    assert info.metadata["model_version"] == "99"


@pytest.mark.parametrize("page_size", [0, 1, 2, 3, 4, 10**9])
async def test_models_are_paginated(library: grpc.aio.Channel, page_size: int) -> None:
    listed: list[pb.Model] = []
    token = ""
    while True:
        page = await service(library).ListModels(pb.ListModelsRequest(page_size=page_size, page_token=token))
        listed += page.models
        token = page.next_page_token
        if not token:
            break
        assert len(page.models) == page_size
    assert [f"{model.name} {model.version}" for model in listed] == ["a 1", "b 10", "b 2", "c 1"]
    assert [model.is_default for model in listed] == [False, True, False, False]
    assert listed[0].input_size.height == 32


async def test_page_token_survives_the_removal_of_its_model(library: grpc.aio.Channel) -> None:
    page = await service(library).ListModels(pb.ListModelsRequest(page_size=2))
    library.server.service.models.put("b", {})  # type: ignore[attr-defined]
    page = await service(library).ListModels(pb.ListModelsRequest(page_token=page.next_page_token))
    assert [model.name for model in page.models] == ["c"]


@pytest.mark.parametrize("token", ["x", "eA==", "é", "WzFd", "WyJhIiwgMV0="])
async def test_invalid_page_is_rejected(library: grpc.aio.Channel, token: str) -> None:
    status = await status_of(service(library).ListModels(pb.ListModelsRequest(page_token=token)))
    assert (status.code, reason(status)) == (code_pb2.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
    status = await status_of(service(library).ListModels(pb.ListModelsRequest(page_size=-1)))
    assert (status.code, reason(status)) == (code_pb2.INVALID_ARGUMENT, "PAGE_SIZE_NEGATIVE")


# Startup and shutdown


async def test_server_reports_that_it_is_warming_up(serve: Serve, paint: Paint) -> None:
    channel = await serve(ready=False)
    assert await health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING
    status = await status_of(service(channel).GetModel(pb.GetModelRequest()))
    assert (status.code, reason(status)) == (code_pb2.UNAVAILABLE, "WARMING_UP")


async def test_health_is_not_serving_while_no_photo_can_be_decoded(
    serve: Serve, paint: Paint, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def blocked(*arguments: Any) -> NDArray[np.uint8]:
        release.wait(60)
        return decode_photo(*arguments)

    async def become(channel: grpc.aio.Channel, status: int) -> None:
        async with asyncio.timeout(60):
            while await health(channel) != status:
                pass

    channel = await serve(decode_threads=2, decode_timeout=1)
    server: Any = channel.server  # type: ignore[attr-defined]
    monkeypatch.setattr(served_model, "decode_photo", blocked)
    request = pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))
    status = await status_of(service(channel).Classify(request))
    assert reason(status) == "PHOTO_DECODE_TIMEOUT"
    assert await health(channel) == health_pb2.HealthCheckResponse.SERVING, "the other thread is free"
    with structlog.testing.capture_logs() as logs:
        call = asyncio.ensure_future(status_of(service(channel).Classify(request)))
        await become(channel, health_pb2.HealthCheckResponse.NOT_SERVING)
        assert reason(await call) == "PHOTO_DECODE_TIMEOUT"
        release.set()
        await become(channel, health_pb2.HealthCheckResponse.SERVING)
    assert not server.device_failed.is_set()
    assert [entry["event"] for entry in logs] == ["decode_timeout", "decoders_unavailable", "decoders_available"]
    assert (await _classify(channel, request)).path[1].name == "747"


async def test_health_stays_not_serving_if_decoders_recover_during_a_drain(
    serve: Serve, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    channel = await serve(decode_threads=1, decode_timeout=1)
    server: Any = channel.server  # type: ignore[attr-defined]
    monkeypatch.setattr(served_model, "decode_photo", lambda *_: release.wait(60))
    request = pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))
    with structlog.testing.capture_logs() as logs:
        await status_of(service(channel).Classify(request))
        await server.drain()
        release.set()
        async with asyncio.timeout(60):
            while logs[-1]["event"] != "decoders_available":  # noqa: ASYNC110  (a log sets no event)
                await asyncio.sleep(0.01)
    for _ in range(20):
        assert await health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_drain_answers_accepted_photos_and_ends_the_streams(
    serve: Serve, paint: Paint, blocked_engine: BlockedEngine, until: Until
) -> None:
    channel = await serve(engine=blocked_engine)
    assert await health(channel, "planespotter.v1.ClassifierService") == health_pb2.HealthCheckResponse.SERVING
    unary = asyncio.ensure_future(_classify(channel, pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))))
    call = service(channel).StreamClassify()
    for number in range(10):
        await call.write(pb.StreamClassifyRequest(photo=pb.Photo(id=str(number), content=paint("747"))))
    await until(lambda: reached_device(channel) == 11)
    draining = asyncio.ensure_future(channel.server.drain())  # type: ignore[attr-defined]
    async with asyncio.timeout(60):
        while await health(channel) != health_pb2.HealthCheckResponse.NOT_SERVING:
            pass
    status = await status_of(service(channel).Classify(pb.ClassifyRequest(photo=pb.Photo(content=paint("747")))))
    assert (status.code, reason(status)) == (code_pb2.UNAVAILABLE, "SHUTTING_DOWN")
    notice = await call.read()
    assert isinstance(notice, pb.StreamClassifyResponse)
    assert (notice.WhichOneof("event"), notice.drain_notice.accepted_count) == ("drain_notice", 10)
    blocked_engine.released.set()
    await draining
    assert (await unary).path[1].name == "747"
    results = [await call.read() for _ in range(10)]
    assert {result.result.id for result in results if isinstance(result, pb.StreamClassifyResponse)} == set(
        map(str, range(10))
    )
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def _classify(channel: grpc.aio.Channel, request: pb.ClassifyRequest) -> pb.Prediction:
    return (await service(channel).Classify(request)).prediction


async def test_health_watch_and_reflection_do_not_delay_a_stop(serve: Serve) -> None:
    channel = await serve()
    untyped: Any = channel
    watch = health_pb2_grpc.HealthStub(untyped).Watch(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(untyped).ServerReflectionInfo
    reflect = reflection()
    await reflect.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    await reflect.read()
    await channel.server.stop(grace=86_400)  # type: ignore[attr-defined]
    for call in (watch, reflect):
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


@pytest.mark.slow
async def test_blocked_health_watch_does_not_block_health_checks(serve: Serve, until: Until) -> None:
    channel = await serve()
    server: Any = channel.server  # type: ignore[attr-defined]
    untyped: Any = channel
    check = health_pb2_grpc.HealthStub(untyped).Check  # type: ignore[attr-defined]

    def http2_frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
        return len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content

    def header(name: bytes, value: bytes) -> bytes:
        return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value

    headers = {b":method": b"POST", b":scheme": b"http", b":path": b"/grpc.health.v1.Health/Watch", b":authority": b"x"}
    headers |= {b"te": b"trailers", b"content-type": b"application/grpc"}
    _, writer = await asyncio.open_connection("127.0.0.1", untyped.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(4, 0, 0, b"\0\4" + bytes(4)))  # a window of 0 bytes
    writer.write(
        http2_frame(1, 4, 1, b"".join(header(*item) for item in headers.items())) + http2_frame(0, 1, 1, bytes(5))
    )
    await until(lambda: server._interceptor._watches)
    await server.drain()
    assert (await check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.NOT_SERVING
    writer.close()
