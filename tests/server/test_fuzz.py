"""Fuzzing: a short, seeded run of `make fuzz`."""

import importlib.util
import random
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

import grpc
import pytest

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
