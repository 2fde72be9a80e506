"""An honest caller: measures the latency of a server, and the memory of its process, while it is attacked.

It runs in a separate process, as an attacker in the same one would delay it, and the latency would say more about the
attacker than about the server.
"""

import contextlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Self

import grpc
import psutil

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc

PAUSE_SECONDS = 0.02
MEMORY_INTERVAL_SECONDS = 0.01
CALL_TIMEOUT_SECONDS = 30.0

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass
class Measurement:
    """What an honest caller measured: latencies in seconds, the codes of errors, and the server's memory in bytes."""

    start_bytes: int
    peak_bytes: int
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def growth(self) -> int:
        """By how many bytes the memory of the server grew at most."""
        return self.peak_bytes - self.start_bytes

    def percentile(self, share: float) -> float:
        """Return the latency that `share` of the calls did not exceed; infinite without any."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


class HonestCaller:
    """Classifies a photo again and again in a separate process, and watches the memory of the server.

    Use it as a context manager: the process ends with the block, or with this process.

    Args:
        address: HOST:PORT of the server.
        pid: Process id of the server.
        photo: The photo.
        metadata: Metadata of each call, such as a token.
    """

    def __init__(self, address: str, pid: int, photo: bytes, metadata: Metadata = ()) -> None:
        context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
        self._connection, self._remote = context.Pipe()
        self._process = context.Process(
            target=_run, args=(self._remote, address, pid, photo, metadata), name="honest-caller", daemon=True
        )

    def __enter__(self) -> Self:
        self._process.start()
        self._remote.close()  # the process has another copy; otherwise a crash of it would not be noticed
        try:
            self._restart()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it holds nothing, and may be in a call that takes long
        self._process.join()
        self._connection.close()

    def measure(self, work: Callable[[], object]) -> Measurement:
        """Measure while `work` runs, and until the call in flight at its end is answered."""
        self._restart()
        work()
        return self._restart()

    def _restart(self) -> Measurement:
        """Start a new measurement; return the previous one.

        Raises:
            EOFError: The process of the caller has crashed.
        """
        self._connection.send(None)
        measurement: Measurement = self._connection.recv()
        return measurement


class _MemoryWatch:
    """Records the peak memory of the process `pid` in `measurement`, from a thread that ends with this process."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.restart()
        threading.Thread(target=self._watch, daemon=True).start()

    def restart(self) -> None:
        """Start a new measurement."""
        resident_bytes = self._resident_bytes()
        self.measurement = Measurement(resident_bytes, resident_bytes)

    def _watch(self) -> None:
        while True:
            time.sleep(MEMORY_INTERVAL_SECONDS)
            measurement = self.measurement
            measurement.peak_bytes = max(measurement.peak_bytes, self._resident_bytes())

    def _resident_bytes(self) -> int:
        with contextlib.suppress(psutil.Error):  # the server has ended: the calls will say so
            return int(self._process.memory_info().rss)
        return 0


def _run(connection: Connection, address: str, pid: int, photo: bytes, metadata: Metadata) -> None:
    """Call the server until `connection` is closed; each message on it asks for the measurement since the last."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches this process, too
    watch = _MemoryWatch(pid)
    request = pb.ClassifyRequest(photo=pb.Photo(content=photo))
    with grpc.insecure_channel(address) as channel:
        stub = pb_grpc.ClassifierServiceStub(channel)
        while True:
            measurement, started = watch.measurement, time.perf_counter()
            try:
                stub.Classify(request, timeout=CALL_TIMEOUT_SECONDS, metadata=metadata)
            except grpc.RpcError as error:
                measurement.errors.append(str(error.code()))
            measurement.seconds.append(time.perf_counter() - started)
            if connection.poll(PAUSE_SECONDS):
                try:
                    connection.recv()
                except EOFError:
                    return
                watch.restart()
                connection.send(measurement)
