"""Worker pool: processes that send one load after another together."""

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from planespotter_client._credentials import security
from planespotter_client.bench.load_generator import Load, LoadGenerator
from planespotter_client.bench.measurements import BenchError, Measurements

# Seconds between the command to start a load and its first photo, so that all processes start together.
LEAD_SECONDS = 0.2
START_TIMEOUT = 60.0
PROGRESS_INTERVAL = 0.25
# Seconds that a load may take beyond its maximum duration.
GRACE_SECONDS = 15.0


class WorkerPool:
    """A pool of processes that send photos. Create it before any gRPC channel of this process. Use it with `with`.

    Args:
        address: Address of the server.
        photos: Files; each process reads them.
        processes: Number of processes.
        connection: Parameters of PlaneSpotter for TLS and tokens.

    Raises:
        BenchError: A process does not start.
    """

    def __init__(
        self,
        address: str,
        photos: Sequence[Path],
        processes: int = 1,
        connection: Mapping[str, Any] | None = None,
    ) -> None:
        # "spawn": gRPC does not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._workers: list[tuple[Any, multiprocessing.connection.Connection]] = []
        for index in range(processes):
            pool_end, worker_end = context.Pipe()
            arguments = (worker_end, address, dict(connection or {}), list(photos), index, processes)
            process = context.Process(target=_run_worker, args=arguments, name=f"bench-{index}", daemon=True)
            process.start()
            worker_end.close()
            self._workers.append((process, pool_end))
        try:
            for _, pipe in self._workers:
                if not pipe.poll(START_TIMEOUT):
                    raise BenchError("The worker processes did not start. The machine may be overloaded.")
                self._receive(pipe)
        except BaseException:
            self.close()
            raise

    def run(
        self, load: Load, on_progress: Callable[[int], None] = lambda _: None, stop: threading.Event | None = None
    ) -> Measurements:
        """Send `load` and return the merged measurements of all processes.

        Args:
            load: The load.
            on_progress: Called a few times per second with the number of photos done.
            stop: Ends the load early once it is set.

        Raises:
            BenchError: A process died or does not end.
        """
        begin = time.monotonic() + LEAD_SECONDS
        pipes = [pipe for _, pipe in self._workers]
        for index, pipe in enumerate(pipes):
            self._send(pipe, (load.share(index, len(pipes)), begin))
        done = [0] * len(pipes)
        measurements: list[Measurements] = []
        stop_sent = False
        give_up_at = begin + load.max_seconds + GRACE_SECONDS
        while len(measurements) < len(pipes):
            if stop is not None and stop.is_set() and not stop_sent:
                stop_sent = True
                for pipe in pipes:
                    self._send(pipe, None)
            for ready in multiprocessing.connection.wait(pipes, timeout=PROGRESS_INTERVAL):
                message = self._receive(ready)
                if isinstance(message, Measurements):
                    measurements.append(message)
                else:
                    done[pipes.index(ready)] = message  # type: ignore[arg-type]
            on_progress(sum(done))
            if time.monotonic() > give_up_at:
                raise BenchError("The worker processes do not end. The machine may be overloaded.")
        merged, *rest = measurements
        for other in rest:
            merged.merge(other)
        return merged

    def close(self) -> None:
        """End the processes."""
        for _, pipe in self._workers:
            pipe.close()  # which they notice
        for process, _ in self._workers:
            process.join(5)
            if process.is_alive():
                process.terminate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, pipe: multiprocessing.connection.Connection, message: object) -> None:
        with contextlib.suppress(OSError):  # the process died, which _receive reports
            pipe.send(message)

    def _receive(self, pipe: Any) -> Any:
        try:
            return pipe.recv()
        except (EOFError, OSError) as error:
            raise BenchError(
                "A worker process died, perhaps because memory ran out. Use fewer photos or --processes."
            ) from error


def _run_worker(
    pipe: multiprocessing.connection.Connection,
    address: str,
    connection: Mapping[str, Any],
    photos: Sequence[Path],
    index: int,
    processes: int,
) -> None:
    """Run a process of the pool: it receives loads from `pipe` and sends measurements back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the pool decides what to do
    files = [photo.read_bytes() for photo in photos]
    # Each process starts with a different photo.
    first = index * len(files) // processes
    asyncio.run(_serve_loads(pipe, address, connection, files[first:] + files[:first]))


async def _serve_loads(
    pipe: multiprocessing.connection.Connection, address: str, connection: Mapping[str, Any], photos: Sequence[bytes]
) -> None:
    secured = security(address, **connection)
    loads: asyncio.Queue[tuple[Load, float]] = asyncio.Queue()
    generator: LoadGenerator | None = None
    stopped = False

    def on_message() -> None:
        nonlocal stopped
        try:
            message = pipe.recv()
        except (EOFError, OSError):  # the pool has ended
            os._exit(0)
        stopped = message is None
        if message is not None:
            loads.put_nowait(message)
        elif generator is not None:
            generator.stop()

    asyncio.get_running_loop().add_reader(pipe.fileno(), on_message)
    pipe.send("ready")
    while True:
        load, begin = await loads.get()
        generator = LoadGenerator(address, photos, load, begin, secured)
        if stopped:
            generator.stop()
        running = asyncio.create_task(generator.run())
        while not running.done():
            await asyncio.wait([running], timeout=PROGRESS_INTERVAL)
            if not running.done():
                pipe.send(generator.done)
        measurements = running.result()
        generator = None
        pipe.send(measurements)
