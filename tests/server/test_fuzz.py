"""Fuzzing: a short, seeded run of `make fuzz`."""

import asyncio
import importlib.util
import random
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from scripts import hostile_photos, network_attacks

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_photos import inspection

Serve = Callable[..., Awaitable[grpc.aio.Channel]]


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", [0, 1])
def test_mutated_photos_are_decoded_or_rejected(fuzz: ModuleType, tmp_path: Path, seed: int) -> None:
    findings = fuzz.Findings()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about damaged metadata
        chance = random.Random(seed)
        fuzz.fuzz_photos(500, time.monotonic() + 600, chance, findings, tmp_path / "last")
    assert findings.failures == []
    assert findings.counts["decoded"] > 50
    assert findings.counts["PHOTO_UNDECODABLE"] > 50


@pytest.mark.slow
def test_hostile_photo_costs_little_time_and_memory(fuzz: ModuleType) -> None:
    findings = fuzz.Findings()
    for name, generate in hostile_photos.GENERATORS.items():
        fuzz.try_cost(name, generate(100_000), findings)
    for name in ("PNG, aspect ratio", "WebP, lossy, transparent", "progressive JPEG of many scans"):
        fuzz.try_cost(name, hostile_photos.LARGEST[name](), findings)
    assert findings.failures == []
    assert findings.counts["decoded"] > 10
    assert findings.counts["PHOTO_TOO_LARGE"] > 5


@pytest.mark.slow
def test_costly_photo_is_a_failure(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MAX_VISITED_BLOCKS", 10**9)
    monkeypatch.setattr(hostile_photos, "MAX_SECONDS", 0.5)
    findings = fuzz.Findings()
    fuzz.try_cost("scans", hostile_photos.progressive_scans(6_000), findings)
    assert "s of processor time" in findings.failures[0]
    monkeypatch.setattr(hostile_photos, "MAX_BYTES", 20 << 20)
    fuzz.try_cost("pixels", hostile_photos.flat_png(3000, 3000, 8, 6), findings)
    assert "MiB of memory" in findings.failures[1]


async def test_mutated_messages_succeed_or_are_rejected(fuzz: ModuleType, serve: Serve) -> None:
    channel = await serve()
    findings = fuzz.Findings()
    mutants = fuzz.mutated_messages(random.Random(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(300):
            await fuzz.call(channel, *next(mutants), findings)
    assert findings.failures == []
    assert {"succeeded", "REQUEST_MALFORMED", "METHOD_NOT_FOUND"} <= set(findings.counts)


async def test_attacks_over_the_network_do_not_stop_the_server(serve: Serve) -> None:
    channel: Any = await serve()
    address = f"127.0.0.1:{channel.port}"
    chance = random.Random(0)
    until = time.monotonic() + 600
    sent = await asyncio.to_thread(network_attacks.fuzz_network, address, 300, until, chance)
    for attack in network_attacks.ATTACKS:
        client = await asyncio.to_thread(attack, address, chance)
        client.socket.close()
    assert sent == 300
    info = await pb_grpc.ClassifierServiceStub(channel).GetModel(pb.GetModelRequest())
    assert info.model.name == "tiny"


def test_internals_in_error_messages_are_detected(fuzz: ModuleType) -> None:
    for leak in (
        "Traceback (most recent call last)",
        "ValueError: x",
        'File "x.py"',
        "see /etc/secret",
        "at 0x7f0011aa",
    ):
        assert fuzz.INTERNALS.search(leak)
    assert not fuzz.INTERNALS.search("The photo is empty: 0 bytes. Send the content of a JPEG, PNG or WebP file.")
