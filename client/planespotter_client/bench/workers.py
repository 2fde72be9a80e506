"""Processes that put one load after another on a server together."""

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

from planespotter_client.bench.load_generator import Load
from planespotter_client.bench.measurements import BenchError, Recording

# Between the word to begin and the first photo, so that all processes hear it in time.
LEAD_SECONDS = 0.2
START_SECONDS = 60.0
# How often processes tell how far they are.
NEWS_SECONDS = 0.25
# A load that has not ended so long after it should have is given up.
MERCY_SECONDS = 15.0


class Crew:
    """Processes that send. Make it before anything else of gRPC in this process: they are started first.

    `photos` are files, which each process reads for itself; `connection` holds the parameters of PlaneSpotter that say
    how to connect. Use it with `with`.
    """

    def __init__(
        self,
        address: str,
        photos: Sequence[Path],
        processes: int = 1,
        connection: Mapping[str, Any] | None = None,
    ) -> None:
        # A fresh interpreter each, as gRPC does not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._members: list[tuple[Any, multiprocessing.connection.Connection]] = []
        for index in range(processes):
            ours, theirs = context.Pipe()
            arguments = (theirs, address, dict(connection or {}), list(photos), index, processes)
            process = context.Process(target=_work, args=arguments, name=f"bench-{index}", daemon=True)
            process.start()
            theirs.close()
            self._members.append((process, ours))
        try:
            for _, pipe in self._members:
                if not pipe.poll(START_SECONDS):
                    raise BenchError("The processes that send did not start. The machine may have too much to do.")
                self._receive(pipe)
        except BaseException:
            self.close()
            raise

    def run(
        self, load: Load, on_progress: Callable[[int], None] = lambda _: None, stop: threading.Event | None = None
    ) -> Recording:
        """Put `load` on the server and return what all processes measured together.

        `on_progress` is called a few times a second with how many photos are done. Once `stop` is set, it ends soon.
        """
        begin = time.monotonic() + LEAD_SECONDS
        members = [connection for _, connection in self._members]
        for index, connection in enumerate(members):
            self._send(connection, (load.share(index, len(members)), begin))
        done = [0] * len(members)
        recordings: list[Recording] = []
        told = False
        give_up = begin + load.longest + MERCY_SECONDS
        while len(recordings) < len(members):
            if stop is not None and stop.is_set() and not told:
                told = True
                for connection in members:
                    self._send(connection, None)
            for ready in multiprocessing.connection.wait(members, timeout=NEWS_SECONDS):
                news = self._receive(ready)
                if isinstance(news, Recording):
                    recordings.append(news)
                else:
                    done[members.index(ready)] = news  # type: ignore[arg-type]
            on_progress(sum(done))
            if time.monotonic() > give_up:
                raise BenchError("The processes that send do not end. The machine may have too much to do.")
        together, *others = recordings
        for other in others:
            together.merge(other)
        return together

    def close(self) -> None:
        """End the processes."""
        for _, connection in self._members:
            connection.close()  # which they notice
        for process, _ in self._members:
            process.join(5)
            if process.is_alive():
                process.terminate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, connection: multiprocessing.connection.Connection, what: object) -> None:
        with contextlib.suppress(OSError):  # it has died, which _receive tells
            connection.send(what)

    def _receive(self, connection: Any) -> Any:
        try:
            return connection.recv()
        except (EOFError, OSError) as error:
            raise BenchError(
                "A process that sends photos has ended, perhaps for want of memory. Try fewer photos or --processes."
            ) from error


def _work(
    pipe: multiprocessing.connection.Connection,
    address: str,
    connection: Mapping[str, Any],
    photos: Sequence[Path],
    index: int,
    processes: int,
) -> None:
    """Run one process of a crew: loads come over `pipe`, and recordings go back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one tells what to do
    files = [photo.read_bytes() for photo in photos]
    # Not all processes begin with the same photo.
    first = index * len(files) // processes
    asyncio.run(_serve(pipe, address, connection, files[first:] + files[:first]))


async def _serve(
    pipe: multiprocessing.connection.Connection, address: str, connection: Mapping[str, Any], photos: Sequence[bytes]
) -> None:
    from planespotter_client._credentials import security
    from planespotter_client.bench.load_generator import Sender

    secured = security(address, **connection)
    orders: asyncio.Queue[tuple[Load, float]] = asyncio.Queue()
    sender: Sender | None = None
    stopped = False

    def hear() -> None:
        nonlocal stopped
        try:
            said = pipe.recv()
        except (EOFError, OSError):  # the first process has gone
            os._exit(0)
        stopped = said is None
        if said is not None:
            orders.put_nowait(said)
        elif sender is not None:
            sender.stop()

    asyncio.get_running_loop().add_reader(pipe.fileno(), hear)
    pipe.send("ready")
    while True:
        load, begin = await orders.get()
        sender = Sender(address, photos, load, begin, secured)
        if stopped:
            sender.stop()
        running = asyncio.create_task(sender.run())
        while not running.done():
            await asyncio.wait([running], timeout=NEWS_SECONDS)
            if not running.done():
                pipe.send(sender.done)
        recording = running.result()
        sender = None
        pipe.send(recording)
