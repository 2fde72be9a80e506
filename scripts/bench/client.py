"""Benchmark the Python client alone: throughput and memory of a long stream, and the time of its import.

A stub server, in a separate process, responds to each photo at once with the same prediction, so only the client is
measured. Its throughput is compared with the bare gRPC stub, which sends the same messages and does nothing else. Needs
two cores; takes about two minutes with 100,000 photos. Example:

    .venv/bin/python -m scripts.bench.client --photos 100000
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc
from planespotter_client import AsyncPlaneSpotter, PlaneSpotter

SERVICE = pb.DESCRIPTOR.services_by_name["ClassifierService"].full_name
WINDOW = 32
WARM_UP = 2_000
IMPORTS = 7


async def get_server_info(request: pb.GetServerInfoRequest, context: Any) -> pb.GetServerInfoResponse:
    """Return the limits of the stub server."""
    limits = pb.Limits(
        max_photo_bytes=2**24, max_message_bytes=2**25, max_batch_photos=64, max_in_flight_per_stream=WINDOW // 2
    )
    return pb.GetServerInfoResponse(limits=limits)


async def stream_classify(
    requests: AsyncIterator[pb.StreamClassifyRequest], context: Any
) -> AsyncIterator[pb.StreamClassifyResponse]:
    """Respond to each photo with the same prediction, without decoding it."""
    prediction = pb.Prediction(
        path=[
            pb.PathNode(level=pb.LEVEL_CONSTRUCTOR, name="Boeing", probability=0.99),
            pb.PathNode(level=pb.LEVEL_FAMILY, name="737", probability=0.97),
            pb.PathNode(level=pb.LEVEL_MODEL, name="737-800", probability=0.94),
        ],
        level=pb.LEVEL_MODEL,
        model_name="stub",
        model_version="1",
    )
    async for request in requests:
        if request.HasField("photo"):
            yield pb.StreamClassifyResponse(result=pb.PhotoResult(id=request.photo.id, prediction=prediction))


async def serve() -> None:
    """Serve until standard input ends; print the port to standard output."""
    methods: dict[str, Any] = {
        "GetServerInfo": grpc.unary_unary_rpc_method_handler(
            get_server_info, pb.GetServerInfoRequest.FromString, pb.GetServerInfoResponse.SerializeToString
        ),
        "StreamClassify": grpc.stream_stream_rpc_method_handler(
            stream_classify, pb.StreamClassifyRequest.FromString, pb.StreamClassifyResponse.SerializeToString
        ),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


def _message(index: int, photo: bytes) -> pb.StreamClassifyRequest:
    """Return a photo as a message of a stream, filled in place to avoid a copy."""
    request = pb.StreamClassifyRequest()
    request.photo.id, request.photo.content = str(index), photo
    return request


def bare(address: str, photos: Iterator[bytes], note: Callable[[], None]) -> None:
    """Stream with the bare stub, with at most WINDOW photos in flight."""
    permits = threading.Semaphore(WINDOW)

    def requests() -> Iterator[pb.StreamClassifyRequest]:
        for index, photo in enumerate(photos):
            permits.acquire()
            yield _message(index, photo)

    with grpc.insecure_channel(address) as channel:
        for _ in pb_grpc.ClassifierServiceStub(channel).StreamClassify(requests()):
            permits.release()
            note()


async def bare_aio(address: str, photos: Iterator[bytes], note: Callable[[], None]) -> None:
    """Stream with the stub of grpc.aio, with at most WINDOW photos in flight."""
    permits = asyncio.Semaphore(WINDOW)

    async def requests() -> AsyncIterator[pb.StreamClassifyRequest]:
        for index, photo in enumerate(photos):
            await permits.acquire()
            yield _message(index, photo)

    async with grpc.aio.insecure_channel(address) as channel:
        async for _ in pb_grpc.ClassifierServiceStub(channel).StreamClassify(requests()):
            permits.release()
            note()


def sdk(address: str, photos: Iterator[bytes], note: Callable[[], None]) -> None:
    """Stream with PlaneSpotter."""
    with PlaneSpotter(address) as spotter:
        for result in spotter.stream(photos, max_in_flight=WINDOW):
            result.result()
            note()


async def sdk_aio(address: str, photos: Iterator[bytes], note: Callable[[], None]) -> None:
    """Stream with AsyncPlaneSpotter, from an async source: a sync one would be read in another thread."""

    async def source() -> AsyncIterator[bytes]:
        for photo in photos:
            yield photo

    async with AsyncPlaneSpotter(address) as spotter:
        async for result in spotter.stream(source(), max_in_flight=WINDOW):
            result.result()
            note()


CLIENTS: dict[str, Callable[..., Any]] = {
    "bare stub": bare,
    "PlaneSpotter": sdk,
    "bare stub, aio": bare_aio,
    "AsyncPlaneSpotter": sdk_aio,
}


def memory(field: str) -> int:
    """Return a memory metric of this process in bytes: VmRSS (resident) or VmHWM (peak resident)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


def measure(name: str, address: str, count: int, size: int) -> dict[str, float]:
    """Stream `count` photos of `size` bytes after a warm-up; return rate and memory."""
    after = {"results": 0, "start": 0.0, "resident": 0.0, "cpu": 0.0}

    def note() -> None:
        after["results"] += 1
        if after["results"] == WARM_UP:
            after.update(start=time.perf_counter(), resident=memory("VmRSS"), cpu=time.process_time())

    # Each photo is a separate object, as from a real source.
    photos = (index.to_bytes(8, "big") * (size // 8) for index in range(WARM_UP + count))
    run = CLIENTS[name](address, photos, note)
    if asyncio.iscoroutine(run):
        asyncio.run(run)
    assert after["results"] == WARM_UP + count
    return {
        "rate": count / (time.perf_counter() - after["start"]),
        "cpu_us": 1e6 * (time.process_time() - after["cpu"]) / count,
        "resident_mb": after["resident"] / 1e6,
        "growth_mb": (memory("VmHWM") - after["resident"]) / 1e6,
    }


def import_seconds(code: str) -> float:
    """Return the CPU seconds that Python needs to run `code`: the median of some runs."""
    times = []
    for _ in range(IMPORTS):
        start = os.times()
        subprocess.run([sys.executable, "-c", code], check=True)
        end = os.times()
        times.append(end.children_user + end.children_system - start.children_user - start.children_system)
    return statistics.median(times)


def main() -> None:
    """Measure each client in a separate process, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20_000, help="photos per stream (default: 20000)")
    parser.add_argument("--bytes", type=int, default=20_000, help="size of each photo in bytes (default: 20000)")
    parser.add_argument("--json", type=Path, help="file to write the results to, as JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
        return
    if arguments.client:
        print(json.dumps(measure(arguments.client, arguments.address, arguments.photos, arguments.bytes)))
        return

    command = [sys.executable, __file__]
    results: dict[str, Any] = {}
    with subprocess.Popen([*command, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        address = f"127.0.0.1:{server.stdout.readline().strip()}"
        for name in CLIENTS:
            options = [
                "--client",
                name,
                "--address",
                address,
                "--photos",
                str(arguments.photos),
                "--bytes",
                str(arguments.bytes),
            ]
            run = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
            results[name] = json.loads(run.stdout)
        server.stdin.close()

    table = Table("client", "photos/s", "of bare", "CPU µs/photo", "resident, MB", "growth, MB")
    for bare_name, name in (("bare stub", "PlaneSpotter"), ("bare stub, aio", "AsyncPlaneSpotter")):
        for client in (bare_name, name):
            result = results[client]
            result["of_bare"] = result["rate"] / results[bare_name]["rate"]
            table.add_row(
                client,
                f"{result['rate']:,.0f}",
                f"{result['of_bare']:.2f}",
                f"{result['cpu_us']:.0f}",
                f"{result['resident_mb']:.0f}",
                f"{result['growth_mb']:.1f}",
            )
    console = Console()
    console.print(f"{arguments.photos:,} photos of {arguments.bytes:,} bytes per stream, at most {WINDOW} in flight")
    console.print(table)
    # The imports of the generated code and of the error details count as gRPC.
    grpc_alone = import_seconds("import grpc, grpc.aio, grpc_status.rpc_status, google.protobuf.descriptor_pb2")
    results["import_seconds"] = {"grpc": grpc_alone, "sdk": import_seconds("import planespotter_client")}
    more = results["import_seconds"]["sdk"] - grpc_alone
    console.print(f"import planespotter_client: {more:.3f} s of CPU beyond the {grpc_alone:.3f} s of Python with gRPC")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
