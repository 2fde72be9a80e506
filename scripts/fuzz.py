"""Feed the server mutated photos and mutated messages, and look whether anything breaks: `make fuzz`.

Most go straight to the function that decodes photos, the rest as raw bytes to a server of its own. Each must end in an
answer or in a refusal with a reason of the contract, which tells nothing of the inside; nothing may crash, hang or keep
memory. Everything follows from --seed. Ends when --count inputs have been tried or --seconds are over; exit code 1 if
anything was found. The input that was being decoded when the process died is in build/fuzz/last.
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

from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import PhotoError, decode_photo, write_bundle
from planespotter_server.rpc.status import CODES, DOMAIN

HEIGHT, WIDTH = 64, 96
# What no caller may read.
INSIDE = re.compile(r"Traceback|\.py\b|File \"|Exception|\w+Error\b|0x[0-9a-f]{6}|/(home|usr|etc|tmp|work|root|opt)/")
# An input that takes longer is a hang.
PATIENCE_SECONDS = 60
# Freed memory that is not given back at once is no leak.
LEAK_BYTES = 64 * 1024 * 1024
MESSAGE_SHARE = 0.2
CALLERS = 8
# What grpc.aio makes of a stream that ends while its caller writes to it; the SDK has a sentence for that.
STREAM_ABORTED = "Internal error from Core"
SERVICE = "/planespotter.v1.ClassifierService/"
INTERESTING = [bytes([value]) for value in (0, 1, 0x7F, 0x80, 0xFF)] + [
    struct.pack(order + kind, value)
    for order in "<>"
    for kind, values in (("H", (0, 0x7FFF, 0xFFFF)), ("I", (0, 0x7FFFFFFF, 0xFFFFFFFF, 6000)))
    for value in values
]


class Findings:
    """What was seen, by kind, and what should not have been."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0
        self.tried = 0

    def note(self, kind: str, seconds: float = 0.0) -> None:
        """Take note of an input that ended as it may."""
        self.seen[kind] += 1
        self.slowest = max(self.slowest, seconds)

    def blame(self, what: str, data: bytes) -> None:
        """Take note of one that did not, with the input, to try it again."""
        self.wrong.append(f"{what}: {data[:400].hex()}{'...' if len(data) > 400 else ''}")


# Inputs


def seed_photos() -> list[bytes]:
    """Return small photos of every kind that is taken."""
    gradient = np.add.outer(np.arange(48), np.arange(64))
    colours = Image.fromarray(np.stack([gradient * 2, 255 - gradient, gradient], axis=-1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    photos = []

    def add(image: Image.Image, kind: str, **options: Any) -> None:
        file = io.BytesIO()
        image.save(file, kind, **options)
        photos.append(file.getvalue())

    add(colours, "JPEG", exif=exif)
    add(colours, "JPEG", progressive=True, subsampling=0)
    add(colours.convert("CMYK"), "JPEG")
    add(colours.convert("L"), "JPEG", restart_marker_blocks=4)
    add(colours, "PNG", exif=exif)
    add(colours.convert("RGBA"), "PNG")
    add(colours.convert("P"), "PNG", transparency=3)
    add(colours.convert("1"), "PNG")
    add(Image.fromarray((gradient * 500).astype(np.uint16)), "PNG")
    add(colours, "PNG", save_all=True, append_images=[colours.convert("L").convert("RGB")])
    add(colours, "WebP", exif=exif)
    add(colours.convert("RGBA"), "WebP", lossless=True)
    add(colours, "WebP", save_all=True, append_images=[colours.rotate(90)])
    return photos


def mutated(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Return `data` with a few things wrong."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(changed) + 1)
        if chance.random() < 0.3:
            at = min(at, chance.randrange(64))  # headers are where the numbers stand
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
                other = chance.choice(others)
                start = chance.randrange(len(other))
                changed[at : at + length] = other[start : start + length]
    return bytes(changed)


def with_right_sums(png: bytes) -> bytes:
    """Return a PNG with the checksum of each chunk made right, so that what is wrong in them is read."""
    parts, at = [png[:8]], 8
    while at + 12 <= len(png):
        size = int.from_bytes(png[at : at + 4])
        content = png[at + 4 : at + 8 + size]
        if at + 12 + size > len(png):
            break
        parts.append(png[at : at + 4] + content + zlib.crc32(content).to_bytes(4))
        at += 12 + size
    return b"".join(parts) + png[at:]


def photos(chance: random.Random) -> Iterator[bytes]:
    """Yield mutated photos for ever."""
    seeds = seed_photos()
    while True:
        photo = mutated(chance.choice(seeds), seeds, chance)
        yield with_right_sums(photo) if photo.startswith(b"\x89PNG") and chance.random() < 0.8 else photo


def messages(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield for ever a method and the bytes of what may once have been a message that it takes."""
    seeds = seed_photos()
    mutants = photos(chance)
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

    def some(method: str) -> Message:
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
        data = some(method).SerializeToString()
        if chance.random() < 0.7:
            data = mutated(data, [some(chance.choice(methods)).SerializeToString() or b"\0", *seeds], chance)
        yield method if chance.random() < 0.98 else chance.choice(("Guess", "", "classify")), data


# What is done with them


def try_photo(data: bytes, findings: Findings) -> None:
    """Decode one photo and judge what comes of it."""
    started = time.perf_counter()
    kind = "decoded"
    try:
        pixels = decode_photo(data, HEIGHT, WIDTH)
        if pixels.shape != (HEIGHT, WIDTH, 3) or pixels.dtype != np.uint8:
            findings.blame(f"decoded to {pixels.dtype} {pixels.shape}", data)
    except PhotoError as error:
        kind = error.reason
        if kind not in CODES or INSIDE.search(str(error)):
            findings.blame(f"refused with {kind}: {error}", data)
    except Exception as error:
        findings.blame(f"raised {type(error).__name__}: {error}", data)
    findings.note(kind, time.perf_counter() - started)


def judge(status: Status, data: bytes, findings: Findings) -> None:
    """Judge a refusal of the server, for which `data` was sent."""
    if not status.details:
        findings.blame("refused without ErrorInfo", data)
        return
    info = ErrorInfo()
    if not status.details[0].Unpack(info) or info.domain != DOMAIN or CODES.get(info.reason) != status.code:
        findings.blame(f"refused with {status.code} and {info.reason!r}", data)
    if info.reason == "INTERNAL" or INSIDE.search(str(status)):
        findings.blame(f"refused with {status.message!r}", data)
    findings.note(info.reason)


async def call(channel: Any, method: str, data: bytes, findings: Findings) -> None:
    """Make one call, or a stream of this and two good messages, with raw bytes and judge all that comes back."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            if method == "StreamClassify":
                good = pb.StreamClassifyRequest(photo=pb.Photo(id="good")).SerializeToString()
                # As the first message `data` may be a config, behind a photo it must not be.
                messages = [data, good] if len(data) % 2 else [good, data, good]
                async for answer in channel.stream_stream(SERVICE + method)(iter(messages)):
                    response = pb.StreamClassifyResponse.FromString(answer)
                    findings.note("answered")
                    if response.result.HasField("error"):
                        judge(response.result.error, data, findings)
            else:
                answer = await channel.unary_unary(SERVICE + method)(data)
                findings.note("answered")
                if method == "BatchClassify":
                    for result in pb.BatchClassifyResponse.FromString(answer).results:
                        if result.HasField("error"):
                            judge(result.error, data, findings)
    except grpc.aio.AioRpcError as error:
        # Bound for the typed stubs of synchronous calls, which have the same methods.
        found: Any = error
        status = rpc_status.from_call(found)
        if error.details() == STREAM_ABORTED:
            findings.note("ended while it was being written to")
        elif status is None:
            findings.blame(f"{method} ended with {error.code().name} ({error.details()}) without ErrorInfo", data)
        else:
            judge(status, data, findings)
    except TimeoutError:
        findings.blame(f"{method} hung", data)
    findings.slowest = max(findings.slowest, time.perf_counter() - started)


def fuzz_photos(count: int, until: float, chance: random.Random, findings: Findings, last: Path) -> int:
    """Decode `count` mutated photos; return by how many bytes the process has grown."""
    last.parent.mkdir(parents=True, exist_ok=True)
    mutants = photos(chance)
    before = 0
    with last.open("wb", buffering=0) as file:
        for number in range(count):
            if number % 100 == 0:
                faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True)
                if time.monotonic() > until:
                    break
            if number == count // 5:
                before = resident_bytes(os.getpid())
            data = next(mutants)
            file.seek(0)
            file.truncate()
            file.write(data)
            try_photo(data, findings)
            findings.tried += 1
    faulthandler.cancel_dump_traceback_later()
    return resident_bytes(os.getpid()) - before


async def fuzz_messages(
    address: str, count: int, until: float, chance: random.Random, findings: Findings, measure: Callable[[], int]
) -> int:
    """Send `count` mutated messages to the server; return by how many bytes it has grown."""
    mutants = messages(chance)
    before = 0
    options = [("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        for number in range(0, count, CALLERS):
            if time.monotonic() > until:
                break
            if before == 0 and number >= count // 5:
                before = measure()
            async with asyncio.TaskGroup() as callers:
                for _ in range(CALLERS):
                    callers.create_task(call(channel, *next(mutants), findings))
            findings.tried += CALLERS
    return measure() - before


def resident_bytes(process: int) -> int:
    """Return how much memory a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def serving(logs: Path) -> Iterator[tuple[str, int]]:
    """Run a server with a network of random weights; yields its address and process id."""
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
        raise SystemExit(f"The server ended with {process.returncode}.")


def report(name: str, findings: Findings, growth: int, seconds: float) -> bool:
    """Print what was seen; return whether nothing was wrong."""
    times_and_memory = f"slowest {findings.slowest:.3f} s; memory {growth / 2**20:+.1f} MiB"
    print(f"{name}: {findings.tried:,} in {seconds:.0f} s; {times_and_memory}")
    for kind, times in findings.seen.most_common():
        print(f"  {times:9,} {kind}")
    for line in findings.wrong[:20]:
        print(f"  WRONG {line}")
    if growth > LEAK_BYTES:
        print(f"  WRONG memory grew by {growth / 2**20:.0f} MiB")
    return not findings.wrong and growth <= LEAK_BYTES


def main() -> int:
    """Fuzz photos, then messages. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="inputs (default: 100000)")
    parser.add_argument("--seconds", type=float, default=600, help="end after so long (default: 600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="folder for the last input and the log")
    given = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")  # Pillow's, of damaged metadata
    begun = time.monotonic()

    of_messages = int(given.count * MESSAGE_SHARE)
    findings = Findings()
    until = begun + given.seconds * (1 - MESSAGE_SHARE)
    growth = fuzz_photos(given.count - of_messages, until, random.Random(given.seed), findings, given.out / "last")
    decoded = time.monotonic()
    well = report("photos", findings, growth, decoded - begun)

    findings = Findings()
    logs = given.out / "server.log"
    with serving(logs) as (address, process):
        work = fuzz_messages(
            address,
            of_messages,
            begun + given.seconds,
            random.Random(given.seed),
            findings,
            lambda: resident_bytes(process),
        )
        growth = asyncio.run(work)
    events = [json.loads(line)["event"] for line in logs.read_text().splitlines() if line.startswith("{")]
    strange = [line for line in logs.read_text().splitlines() if not line.startswith("{")]
    if "bug" in events or strange:
        findings.wrong.append(f"see the log {logs}: {Counter(events)['bug']} bugs, {len(strange)} strange lines")
    return 0 if report("messages", findings, growth, time.monotonic() - decoded) and well else 1


if __name__ == "__main__":
    sys.exit(main())
