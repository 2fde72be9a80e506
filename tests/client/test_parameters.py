"""Invalid parameters and addresses are reported before anything is sent."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.client.fake_servers import FakeServer, collect, running

from planespotter_client import (
    InvalidRequestError,
)

Paint = Callable[..., bytes]


@pytest.mark.parametrize(
    ("kind", "sentence", "options"),
    [
        (ValueError, r"timeout is invalid: -1\. Give a finite number of seconds, 0 or more\.", {"timeout": -1}),
        (ValueError, "timeout is invalid: nan", {"timeout": float("nan")}),
        (ValueError, "timeout is invalid: inf", {"timeout": float("inf")}),
        (TypeError, "timeout is invalid: None", {"timeout": None}),
        (ValueError, r"retries is invalid: -1\. Give an integer of at least 0\.", {"retries": -1}),
        (TypeError, r"retries is invalid: 1\.5\. Give an integer\.", {"retries": 1.5}),
        (TypeError, r"address is invalid: 5\. Give HOST:PORT as a string, or a list\.", {"address": 5}),
        (TypeError, r"address is invalid: \[5\]", {"address": [5]}),
    ],
)
async def test_client_rejects_invalid_parameters(
    connect: Any, kind: type[Exception], sentence: str, options: dict[str, Any]
) -> None:
    with pytest.raises(kind, match=sentence):
        await connect(**{"address": "127.0.0.1:1", **options})


async def test_methods_reject_invalid_parameters_before_sending(connect: Any, paint: Paint) -> None:
    with running(FakeServer()) as address:
        spotter = await connect(address)
        for method in (spotter.classify, spotter.classify_batch, spotter.get_model):
            for kind, timeout in ((ValueError, -1), (TypeError, "a")):
                with pytest.raises(kind, match=rf"timeout is invalid: {timeout!r}\. Give a finite number of seconds"):
                    await method("photo.jpg", timeout=timeout)
        with pytest.raises(ValueError, match="hedge is invalid: -1"):
            await spotter.classify(b"photo", hedge=-1)
        with pytest.raises(ValueError, match="timeout is invalid: -1"):
            await spotter.wait_until_ready(-1)
        with pytest.raises(TypeError, match=r"top_k is invalid: 'x'\. Give an integer"):
            await spotter.classify(b"photo", top_k="x")


@pytest.mark.parametrize("window", [{"max_in_flight": 0}, {"max_in_flight": -1}, {"max_in_flight_bytes": 0}])
async def test_stream_needs_a_window_of_at_least_one(spotter: Any, paint: Paint, window: dict[str, int]) -> None:
    [(name, size)] = window.items()
    with pytest.raises(ValueError, match=f"{name} is invalid: {size}. Give an integer of at least 1"):
        await collect(spotter.stream([paint("747")], **window))


@pytest.mark.parametrize("address", [[], "", "a:1,,b:2", ["a:1", "b:"], "a:1;b:2", "a:1,b:x"])
async def test_invalid_address_is_rejected(connect: Any, address: Any) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        await connect(address)
    assert raised.value.reason == "ADDRESS_MALFORMED"


@pytest.mark.parametrize("address", ["[::1]:50051", "planes.example:1", "dns:///planes.example:50051", "unix:/run/a"])
async def test_every_kind_of_address_is_valid(connect: Any, address: str) -> None:
    await connect(address)
