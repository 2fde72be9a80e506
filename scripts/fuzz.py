"""Fuzzing: send mutated photos, messages and HTTP/2 frames to the decoder and to a server: `make fuzz`.

Most inputs go straight to the function that decodes photos, the rest as raw bytes to a separate server. Each must give
a result, or an error with a reason of the contract that reveals no internals; nothing may crash, hang or leak memory,
and no photo may cost more processor time or memory than the limits of `scripts/hostile_photos.py`.
Reproducible by --seed. Ends after --count inputs or --seconds, with exit code 1 on any failure. If the process dies,
the last input is in build/fuzz/last.
"""

import argparse
import asyncio
import contextlib
import faulthandler
import io
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from PIL import Image
from scripts import hostile_photos, network_attacks
from scripts.honest_caller import HonestCaller

from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import PhotoError, decode_photo, write_bundle
from planespotter_server.rpc.status import CODES, DOMAIN

HEIGHT, WIDTH = 64, 96
# What an error message must not reveal.
INTERNALS = re.compile(
    r"Traceback|\.py\b|File \"|Exception|\w+Error\b|0x[0-9a-f]{6}|/(home|usr|etc|tmp|work|root|opt)/"
)
# An input that takes longer counts as a hang.
HANG_SECONDS = 60
# Growth below this is not a leak: freed memory is not returned to the system at once.
LEAK_BYTES = 64 * 1024 * 1024
MESSAGE_SHARE = 0.2
NETWORK_SHARE = 0.05
# Limits of the growth of the server and of an honest caller's p99 while it is attacked. The p99 depends on the load of
# the machine, too.
MAX_GROWTH_BYTES = 300 * 1024 * 1024
MAX_P99_SECONDS = 0.5
# Hostile photos among the others, and their largest size as a power of ten.
HOSTILE_SHARE, MAX_HOSTILE_EXPONENT = 0.02, 5.5
# Each hostile photo is tried once at its full size first, for at most this share of the time.
HOSTILE_SECONDS_SHARE = 0.4
CALLERS = 8
# What grpc.aio reports for a stream that ends while the client writes to it; the SDK has its own message for that.
STREAM_ABORTED = "Internal error from Core"
SERVICE = "/planespotter.v1.ClassifierService/"
INTERESTING = [bytes([value]) for value in (0, 1, 0x7F, 0x80, 0xFF)] + [
    struct.pack(order + kind, value)
    for order in "<>"
    for kind, values in (("H", (0, 0x7FFF, 0xFFFF)), ("I", (0, 0x7FFFFFFF, 0xFFFFFFFF, 6000)))
    for value in values
]


class Findings:
    """Outcomes by kind, and failures."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest = 0.0
        self.tried = 0

    def record(self, kind: str, seconds: float = 0.0) -> None:
        """Count an input with a valid outcome."""
        self.counts[kind] += 1
        self.slowest = max(self.slowest, seconds)

    def fail(self, what: str, data: bytes) -> None:
        """Record a failure, with the input to reproduce it."""
        self.failures.append(f"{what}: {data[:400].hex()}{'...' if len(data) > 400 else ''}")


# Inputs


def seed_photos() -> list[bytes]:
    """Return small photos in every supported encoding."""
    gradient = np.add.outer(np.arange(48), np.arange(64))
    colors = Image.fromarray(np.stack([gradient * 2, 255 - gradient, gradient], axis=-1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    photos = []

    def add(image: Image.Image, kind: str, **options: Any) -> None:
        file = io.BytesIO()
        image.save(file, kind, **options)
        photos.append(file.getvalue())

    add(colors, "JPEG", exif=exif)
    add(colors, "JPEG", progressive=True, subsampling=0)
    add(colors.convert("CMYK"), "JPEG")
    add(colors.convert("L"), "JPEG", restart_marker_blocks=4)
    add(colors, "PNG", exif=exif)
    add(colors.convert("RGBA"), "PNG")
    add(colors.convert("P"), "PNG", transparency=3)
    add(colors.convert("1"), "PNG")
    add(Image.fromarray((gradient * 500).astype(np.uint16)), "PNG")
    add(colors, "PNG", save_all=True, append_images=[colors.convert("L").convert("RGB")])
    add(colors, "WebP", exif=exif)
    add(colors.convert("RGBA"), "WebP", lossless=True)
    add(colors, "WebP", save_all=True, append_images=[colors.rotate(90)])
    return photos


def mutate(data: bytes, donors: list[bytes], chance: random.Random) -> bytes:
    """Return `data` with a few random mutations; `donors` are other inputs to splice in."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(changed) + 1)
        if chance.random() < 0.3:
            at = min(at, chance.randrange(64))  # headers contain the sizes
        length = chance.choice((1, 2, 4, 16, chance.randrange(256)))
        match chance.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                value = chance.choice(INTERESTING)
                changed[at : at + len(value)] = value
            case 2:
                changed[at : at + length] = chance.randbytes(length)
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[at : at + length] * chance.choice((1, 2, 50))
            case 5:
                del changed[at:]
            case _:
                other = chance.choice(donors)
                start = chance.randrange(len(other))
                changed[at : at + length] = other[start : start + length]
    return bytes(changed)


def fix_checksums(png: bytes) -> bytes:
    """Return a PNG with valid checksums, so that the decoder reads its mutated chunks."""
    parts, at = [png[:8]], 8
    while at + 12 <= len(png):
        size = int.from_bytes(png[at : at + 4])
        content = png[at + 4 : at + 8 + size]
        if at + 12 + size > len(png):
            break
        parts.append(png[at : at + 4] + content + zlib.crc32(content).to_bytes(4))
        at += 12 + size
    return b"".join(parts) + png[at:]


def mutated_photos(chance: random.Random) -> Iterator[bytes]:
    """Yield mutated photos, some of them hostile ones, indefinitely."""
    seeds = seed_photos()
    generators = list(hostile_photos.GENERATORS.values())
    while True:
        if chance.random() < HOSTILE_SHARE:
            photo = chance.choice(generators)(int(10 ** chance.uniform(3, MAX_HOSTILE_EXPONENT)))
            yield mutate(photo, seeds, chance) if chance.random() < 0.5 else photo
            continue
        photo = mutate(chance.choice(seeds), seeds, chance)
        yield fix_checksums(photo) if photo.startswith(b"\x89PNG") and chance.random() < 0.8 else photo


def mutated_messages(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield a method and the mutated bytes of a request, indefinitely."""
    seeds = seed_photos()
    mutants = mutated_photos(chance)
    words = ("", "", "random", "tiny", "\U0001f6e9", "../../secret", "x" * 5000)
    numbers = (0, 0, 1, 20, 21, -1, 2**31 - 1, -(2**31))
    orderings: tuple[Any, ...] = (0, 1, 2, 99)

    def options() -> pb.ClassifyOptions:
        return pb.ClassifyOptions(
            model_name=chance.choice(words),
            model_version=chance.choice(words),
            top_k=chance.choice(numbers),
            heat_map=chance.random() < 0.1,
        )

    def photo() -> pb.Photo:
        content = chance.choice((seeds[0], next(mutants), next(mutants), b""))
        return pb.Photo(content=content, id=chance.choice(words))

    def random_request(method: str) -> Message:
        match method:
            case "Classify":
                return pb.ClassifyRequest(photo=photo(), options=options())
            case "BatchClassify":
                count = chance.choice((0, 1, 3, 65))
                photos = [pb.Photo(content=next(mutants)) for _ in range(count)]
                return pb.BatchClassifyRequest(photos=photos, options=options())
            case "StreamClassify":
                if chance.random() < 0.3:
                    config = pb.StreamConfig(options=options(), ordering=chance.choice(orderings))
                    return pb.StreamClassifyRequest(config=config)
                return pb.StreamClassifyRequest(photo=photo())
            case "GetModel":
                return pb.GetModelRequest(model_name=chance.choice(words), model_version=chance.choice(words))
            case "GetServerInfo":
                return pb.GetServerInfoRequest()
            case _:
                return pb.ListModelsRequest(
                    page_size=chance.choice(numbers), page_token=chance.choice((*words, "WzFd"))
                )

    methods = ("Classify", "BatchClassify", "StreamClassify", "GetModel", "ListModels", "GetServerInfo")
    while True:
        method = chance.choice(methods)
        data = random_request(method).SerializeToString()
        if chance.random() < 0.7:
            data = mutate(data, [random_request(chance.choice(methods)).SerializeToString() or b"\0", *seeds], chance)
        yield method if chance.random() < 0.98 else chance.choice(("Guess", "", "classify")), data


# Checks


def try_photo(data: bytes, findings: Findings) -> None:
    """Decode one photo, and check the outcome."""
    started = time.process_time()
    kind = "decoded"
    try:
        pixels = decode_photo(data, HEIGHT, WIDTH)
        if pixels.shape != (HEIGHT, WIDTH, 3) or pixels.dtype != np.uint8:
            findings.fail(f"decoded to {pixels.dtype} {pixels.shape}", data)
    except PhotoError as error:
        kind = error.reason
        if kind not in CODES or INTERNALS.search(str(error)):
            findings.fail(f"rejected with {kind}: {error}", data)
    except Exception as error:
        findings.fail(f"raised {type(error).__name__}: {error}", data)
    seconds = time.process_time() - started
    if seconds > hostile_photos.MAX_SECONDS:
        findings.fail(f"took {seconds:.1f} s of processor time", data)
    findings.record(kind, seconds)


def try_cost(name: str, data: bytes, findings: Findings) -> None:
    """Decode one hostile photo, and check processor time and memory."""
    findings.tried += 1
    try:
        outcome, seconds, _ = hostile_photos.decoding_cost(data)
        findings.record(outcome.partition(":")[0], seconds)
    except AssertionError as error:
        findings.fail(f"{name} took {error}", data)


def check_status(status: Status, data: bytes, findings: Findings) -> None:
    """Check an error of the server, for which `data` was sent."""
    if not status.details:
        findings.fail("rejected without ErrorInfo", data)
        return
    info = ErrorInfo()
    if not status.details[0].Unpack(info) or info.domain != DOMAIN or CODES.get(info.reason) != status.code:
        findings.fail(f"rejected with {status.code} and {info.reason!r}", data)
    if info.reason == "INTERNAL" or INTERNALS.search(str(status)):
        findings.fail(f"rejected with {status.message!r}", data)
    findings.record(info.reason)


async def call(channel: Any, method: str, data: bytes, findings: Findings) -> None:
    """Make one call, or a stream with valid messages around `data`, and check every response."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(HANG_SECONDS):
            if method == "StreamClassify":
                good = pb.StreamClassifyRequest(photo=pb.Photo(id="good")).SerializeToString()
                # As the first message `data` may be a config, behind a photo it must not be.
                messages = [data, good] if len(data) % 2 else [good, data, good]
                async for response_bytes in channel.stream_stream(SERVICE + method)(iter(messages)):
                    response = pb.StreamClassifyResponse.FromString(response_bytes)
                    findings.record("succeeded")
                    if response.result.HasField("error"):
                        check_status(response.result.error, data, findings)
            else:
                response_bytes = await channel.unary_unary(SERVICE + method)(data)
                findings.record("succeeded")
                if method == "BatchClassify":
                    for result in pb.BatchClassifyResponse.FromString(response_bytes).results:
                        if result.HasField("error"):
                            check_status(result.error, data, findings)
    except grpc.aio.AioRpcError as error:
        # The type stubs expect a synchronous call, which has the same methods.
        rpc_error: Any = error
        status = rpc_status.from_call(rpc_error)
        if error.details() == STREAM_ABORTED:
            findings.record("ended during a write")
        elif status is None:
            findings.fail(f"{method} ended with {error.code().name} ({error.details()}) without ErrorInfo", data)
        else:
            check_status(status, data, findings)
    except TimeoutError:
        findings.fail(f"{method} hung", data)
    findings.slowest = max(findings.slowest, time.perf_counter() - started)


def fuzz_photos(count: int, until: float, chance: random.Random, findings: Findings, last: Path) -> int:
    """Decode `count` mutated photos; return the growth of this process in bytes."""
    last.parent.mkdir(parents=True, exist_ok=True)
    mutants = mutated_photos(chance)
    start_bytes = resident_bytes(os.getpid())
    with last.open("wb", buffering=0) as file:
        for number in range(count):
            if number % 100 == 0:
                faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
                if time.monotonic() > until:
                    break
            if number == count // 5:
                start_bytes = resident_bytes(os.getpid())
            data = next(mutants)
            file.seek(0)
            file.truncate()
            file.write(data)
            try_photo(data, findings)
            findings.tried += 1
    faulthandler.cancel_dump_traceback_later()
    return resident_bytes(os.getpid()) - start_bytes


async def fuzz_messages(
    address: str, count: int, until: float, chance: random.Random, findings: Findings, measure: Callable[[], int]
) -> int:
    """Send `count` mutated messages to the server; return its growth in bytes, by `measure`."""
    mutants = mutated_messages(chance)
    start_bytes = 0
    options = [("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        for number in range(0, count, CALLERS):
            if time.monotonic() > until:
                break
            if start_bytes == 0 and number >= count // 5:
                start_bytes = measure()
            async with asyncio.TaskGroup() as callers:
                for _ in range(CALLERS):
                    callers.create_task(call(channel, *next(mutants), findings))
            findings.tried += CALLERS
    return measure() - start_bytes


def attack(address: str, process: int, count: int, until: float, chance: random.Random) -> bool:
    """Attack the server with `count` raw connections; print what that costs, and return whether it is within bounds."""
    with HonestCaller(address, process, seed_photos()[0]) as caller:
        idle = caller.measure(lambda: time.sleep(3))
        started = time.monotonic()
        sent = 0

        def run() -> None:
            nonlocal sent
            sent = network_attacks.fuzz_network(address, count, until, chance)

        attacked = caller.measure(run)
    p99, idle_p99, growth = attacked.percentile(0.99), idle.percentile(0.99), attacked.growth
    print(
        f"network: {sent:,} in {time.monotonic() - started:.0f} s; memory {growth / 2**20:+.1f} MiB at most; an honest "
        f"caller's p99 {p99 * 1000:.0f} ms (idle {idle_p99 * 1000:.0f} ms), {len(attacked.errors)} errors"
    )
    failures = [
        *([f"memory grew by {growth / 2**20:.0f} MiB"] if growth > MAX_GROWTH_BYTES else []),
        *([f"the p99 is above {MAX_P99_SECONDS:g} s"] if p99 > max(MAX_P99_SECONDS, 5 * idle_p99) else []),
        *(f"an honest call failed with {code}" for code in sorted(set(attacked.errors))),
    ]
    for failure in failures:
        print(f"  FAILED {failure}")
    return not failures


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def running_server(logs: Path) -> Iterator[tuple[str, int]]:
    """Run a server with random weights; yield its address and process id."""
    from scripts.bench.networks import from_recipe

    with tempfile.TemporaryDirectory() as folder, logs.open("w") as log:
        write_bundle(from_recipe("small"), Path(folder) / "random")
        command = [
            sys.executable,
            "-m",
            "planespotter_client.commands.main",
            "serve",
            "--model",
            str(Path(folder) / "random"),
        ]
        process = subprocess.Popen(
            [*command, "--port", "0", "--batch-sizes", "1,8"], stdout=subprocess.PIPE, stderr=log, text=True
        )
        with process:
            assert process.stdout is not None
            yield process.stdout.readline().rsplit(" ", 1)[1].strip(), process.pid
            process.terminate()
    if process.returncode:
        raise SystemExit(f"The server exited with code {process.returncode}. See its log {logs}.")


def report(name: str, findings: Findings, growth: int, seconds: float) -> bool:
    """Print the outcomes; return whether there were no failures."""
    times_and_memory = f"slowest {findings.slowest:.3f} s; memory {growth / 2**20:+.1f} MiB"
    print(f"{name}: {findings.tried:,} in {seconds:.0f} s; {times_and_memory}")
    for kind, times in findings.counts.most_common():
        print(f"  {times:9,} {kind}")
    for line in findings.failures[:20]:
        print(f"  FAILED {line}")
    if growth > LEAK_BYTES:
        print(f"  FAILED memory grew by {growth / 2**20:.0f} MiB")
    return not findings.failures and growth <= LEAK_BYTES


def main() -> int:
    """Fuzz photos, then messages; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="number of inputs (default: 100000)")
    parser.add_argument("--seconds", type=float, default=600, help="maximum duration (default: 600)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations (default: 0)")
    parser.add_argument("--max-bytes", type=int, default=16 << 20, help="size of the hostile photos (default: 16 MiB)")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="folder for the last input and the log")
    arguments = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")  # Pillow warns about damaged metadata
    start = time.monotonic()

    message_count, network_count = int(arguments.count * MESSAGE_SHARE), int(arguments.count * NETWORK_SHARE)
    findings = Findings()
    until = start + arguments.seconds * (1 - MESSAGE_SHARE - NETWORK_SHARE)
    for name, make in hostile_photos.all_photos(arguments.max_bytes):
        if time.monotonic() < start + arguments.seconds * HOSTILE_SECONDS_SHARE:
            try_cost(name, make(), findings)
    growth = fuzz_photos(
        arguments.count - message_count - network_count,
        until,
        random.Random(arguments.seed),
        findings,
        arguments.out / "last",
    )
    decoded = time.monotonic()
    photos_passed = report("photos", findings, growth, decoded - start)

    findings = Findings()
    logs = arguments.out / "server.log"
    with running_server(logs) as (address, process):
        work = fuzz_messages(
            address,
            message_count,
            start + arguments.seconds * (1 - NETWORK_SHARE),
            random.Random(arguments.seed),
            findings,
            lambda: resident_bytes(process),
        )
        growth = asyncio.run(work)
        attacked = time.monotonic()
        until = start + arguments.seconds
        network_passed = attack(address, process, network_count, until, random.Random(arguments.seed))
    events = [json.loads(line)["event"] for line in logs.read_text().splitlines() if line.startswith("{")]
    other_lines = [line for line in logs.read_text().splitlines() if not line.startswith("{")]
    if "unhandled_exception" in events or other_lines:
        findings.failures.append(
            f"see the log {logs}: {Counter(events)['unhandled_exception']} unhandled exceptions, "
            f"{len(other_lines)} lines that are not JSON"
        )
    messages_passed = report("messages", findings, growth, attacked - decoded)
    return 0 if photos_passed and messages_passed and network_passed else 1


if __name__ == "__main__":
    sys.exit(main())
