"""Load generator: send photos from one process, in a closed loop of callers or an open loop at a fixed rate."""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import _channels
from planespotter_client._credentials import Security
from planespotter_client.bench.measurements import Measurements

METHODS = "/planespotter.v1.ClassifierService/"
# Calls in flight of an open loop, per process. Beyond it photos wait, which counts as latency.
MAX_CALLS_IN_FLIGHT = 20_000
# Seconds that a caller waits before it reopens a broken stream.
RETRY_SECONDS = 0.1

clock = time.monotonic  # the same in all processes of a machine


class Mode(StrEnum):
    """How photos are sent."""

    UNARY = "unary"
    """Classify: one photo per call."""
    BATCH = "batch"
    """BatchClassify: several photos per call."""
    STREAM = "stream"
    """StreamClassify: photos on long-lived streams."""


@dataclass(frozen=True)
class Load:
    """A load. Times are in seconds, rates in photos per second; all are totals over all processes.

    With a `rate` the loop is open: photos are sent at random times (a Poisson process), also if the server cannot keep
    up, like many independent users. Without, it is closed: each of `callers` sends its next photo when it has a result.
    """

    modes: tuple[Mode, ...] = (Mode.UNARY,)
    """Caller number i uses the mode i modulo their number."""
    callers: int = 8
    """Closed loop: number of callers. Open loop: number of streams; unary and batch calls have no such limit."""
    rate: float | None = None
    seconds: float = 10.0
    photos: int | None = None
    """Number of photos after which the load ends, if that comes before `seconds`."""
    warm_up: float = 1.0
    """Seconds of load before the measurement."""
    deadline: float = 10.0
    """Seconds within which a result counts for goodput."""
    batch_size: int = 32
    max_in_flight: int = 64
    """Closed loop: photos in flight per stream."""
    photos_per_message: int = 1
    """Maximum number of photos in a message of a stream: those that wait to be sent share one, as in the SDK."""
    cancel_share: float = 0.0
    """Share of calls that are cancelled before their response."""
    reconnect_seconds: float | None = None
    """Mean seconds after which a caller drops its connection and opens another."""
    seed: int = 0

    @property
    def max_seconds(self) -> float:
        """Maximum duration, with the results that arrive after the last photo is sent."""
        return self.warm_up + self.seconds + self.deadline

    def share(self, process: int, processes: int) -> "Load":
        """Return the part of process number `process` of `processes`."""
        return Load(
            **{
                **self.__dict__,
                "callers": _share(self.callers, process, processes),
                "rate": None if self.rate is None else self.rate / processes,
                "photos": None if self.photos is None else _share(self.photos, process, processes),
                "seed": self.seed + 1_000_003 * process,
            }
        )


def _share(total: int, index: int, parts: int) -> int:
    """Return part number `index` of `total`, divided into whole numbers as evenly as possible."""
    return total // parts + (index < total % parts)


def poisson_arrivals(rate: float, seconds: float, random_numbers: random.Random) -> Iterator[float]:
    """Yield the times, from 0 and below `seconds`, of a Poisson process of `rate` arrivals per second.

    The intervals are independent and exponentially distributed. So the arrivals of several generators together are a
    Poisson process of the sum of their rates.
    """
    now = random_numbers.expovariate(rate)
    while now < seconds:
        yield now
        now += random_numbers.expovariate(rate)


class LoadGenerator:
    """Sends a load to a server.

    Args:
        address: Address of the server.
        photos: Encoded photos, sent in a cycle.
        load: The load.
        begin: Time of `clock` at which to start.
        secured: Credentials and channel options.
    """

    def __init__(self, address: str, photos: Sequence[bytes], load: Load, begin: float, secured: Security) -> None:
        start = begin + load.warm_up
        self.measurements = Measurements(start, start + load.seconds, load.deadline)
        self.done = 0
        """Photos that have a result or were cancelled."""
        self._address = address
        self._secured = secured
        self._load = load
        self._begin = begin
        self._end = start + load.seconds
        self._random = random.Random(load.seed)
        self._stopped = asyncio.Event()
        self._photos_left = load.photos
        # Messages are serialized once, so that it is not measured.
        self._unary_requests = itertools.cycle(
            [pb.ClassifyRequest(photo=pb.Photo(content=photo)).SerializeToString() for photo in photos]
        )
        self._stream_requests = itertools.cycle(
            [pb.StreamClassifyRequest(photo=pb.Photo(content=photo)).SerializeToString() for photo in photos]
        )
        self._photos = itertools.cycle(photos)
        self._batch_parts = itertools.cycle(
            [pb.BatchClassifyRequest(photos=[pb.Photo(content=photo)]).SerializeToString() for photo in photos]
        )

    def stop(self) -> None:
        """Stop sending, and do not wait for more results."""
        self._stopped.set()

    async def run(self) -> Measurements:
        """Send the load and return the measurements."""
        sending = asyncio.create_task(self._open_loop() if self._load.rate else self._closed_loop())
        stopped = asyncio.create_task(self._stopped.wait())
        cpu_time = asyncio.create_task(self._measure_cpu_time())
        await asyncio.wait([sending, stopped], return_when=asyncio.FIRST_COMPLETED)
        interrupted = not sending.done()
        stopped.cancel()
        await _cancel(cpu_time)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        if interrupted:
            self.measurements.close(clock())
        elif self._load.photos is not None:
            self.measurements.close(self.measurements.last_result)
        return self.measurements

    async def _measure_cpu_time(self) -> None:
        """Measure the CPU time of this process from the start to the end of the measurement."""
        await _sleep_until(self.measurements.start)
        start = time.process_time()
        try:
            await _sleep_until(self._end)
        finally:
            self.measurements.cpu_seconds = time.process_time() - start

    # What is sent, and when

    async def _closed_loop(self) -> None:
        async with self._channel() as shared, asyncio.TaskGroup() as callers:
            await _sleep_until(self._begin)
            for index in range(self._load.callers):
                mode = self._load.modes[index % len(self._load.modes)]
                callers.create_task(self._caller(mode, shared))

    async def _caller(self, mode: Mode, shared: grpc.aio.Channel) -> None:
        if self._load.reconnect_seconds is None:
            await self._session(mode, shared, self._end)
        while self._load.reconnect_seconds is not None and self._is_active(self._end):
            async with self._channel() as channel:
                lifetime = self._random.expovariate(1 / self._load.reconnect_seconds)
                await self._session(mode, channel, min(self._end, clock() + lifetime))

    async def _session(self, mode: Mode, channel: grpc.aio.Channel, end: float) -> None:
        if mode is Mode.STREAM:
            await self._closed_stream(channel, end)
        while mode is not Mode.STREAM and self._is_active(end):
            photos = self._take(self._load.batch_size if mode is Mode.BATCH else 1)
            await self._call(channel, mode, clock(), photos)

    async def _closed_stream(self, channel: grpc.aio.Channel, end: float) -> None:
        while self._is_active(end):
            stream = _Stream(self, channel)
            permits = asyncio.Semaphore(self._load.max_in_flight)

            async def photos(permits: asyncio.Semaphore = permits) -> AsyncIterator[float]:
                while self._is_active(end):
                    await permits.acquire()
                    if not self._is_active(end):
                        return
                    self._take(1)
                    yield clock()

            cancel_at = end if self._random.random() < self._load.cancel_share else None
            if not await stream.run(photos(), permits.release, cancel_at):
                await asyncio.sleep(RETRY_SECONDS)

    async def _open_loop(self) -> None:
        [mode] = self._load.modes
        size = self._load.batch_size if mode is Mode.BATCH else 1
        assert self._load.rate is not None
        arrivals = poisson_arrivals(self._load.rate / size, self._load.warm_up + self._load.seconds, self._random)
        times = (self._begin + after for after in arrivals)
        async with self._channel() as channel:
            await (
                self._open_streams(channel, times) if mode is Mode.STREAM else self._open_calls(channel, mode, times)
            )

    async def _open_calls(self, channel: grpc.aio.Channel, mode: Mode, times: Iterator[float]) -> None:
        permits = asyncio.Semaphore(MAX_CALLS_IN_FLIGHT)

        async def call(scheduled: float, photos: int) -> None:
            try:
                await self._call(channel, mode, scheduled, photos)
            finally:
                permits.release()

        async with asyncio.TaskGroup() as calls:
            for scheduled in times:
                if not self._is_active(self._end):
                    return
                await _sleep_until(scheduled)
                await permits.acquire()
                calls.create_task(call(scheduled, self._take(self._load.batch_size if mode is Mode.BATCH else 1)))

    async def _open_streams(self, channel: grpc.aio.Channel, times: Iterator[float]) -> None:
        queues: list[asyncio.Queue[float | None]] = [asyncio.Queue() for _ in range(max(1, self._load.callers))]

        async def caller(queue: asyncio.Queue[float | None]) -> None:
            ended = False

            async def photos() -> AsyncIterator[float]:
                nonlocal ended
                while (scheduled := await queue.get()) is not None:
                    yield scheduled
                ended = True

            while not ended:
                if not await _Stream(self, channel).run(photos()):
                    await asyncio.sleep(RETRY_SECONDS)

        async with asyncio.TaskGroup() as callers:
            for queue in queues:
                callers.create_task(caller(queue))
            for scheduled, queue in zip(times, itertools.cycle(queues), strict=False):
                if not self._is_active(self._end):
                    break
                await _sleep_until(scheduled)
                self._take(1)
                queue.put_nowait(scheduled)
            for queue in queues:
                queue.put_nowait(None)

    def _is_active(self, end: float) -> bool:
        return not self._stopped.is_set() and clock() < end and (self._photos_left is None or self._photos_left > 0)

    def _take(self, photos: int) -> int:
        """Return how many of `photos` may still be sent, and count them as sent."""
        if self._photos_left is None:
            return photos
        taken = min(photos, self._photos_left)
        self._photos_left -= taken
        return taken

    # How it is sent

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[grpc.aio.Channel]:
        """Open a connection without retries: failures are counted."""
        options = [
            *_channels.channel_options(),
            *_channels.proxy_options(self._address),
            *self._secured.options,
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        credentials = self._secured.credentials
        async with (
            grpc.aio.insecure_channel(self._address, options=options)
            if credentials is None
            else grpc.aio.secure_channel(self._address, credentials, options=options)
        ) as channel:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._load.deadline):
                    await channel.channel_ready()
            self.measurements.connections += 1
            yield channel

    async def _call(self, channel: grpc.aio.Channel, mode: Mode, scheduled: float, photos: int) -> None:
        """Make one call with `photos` photos."""
        now = clock()
        self.measurements.record_sent(scheduled, now, photos)
        method: Any
        if mode is Mode.BATCH:
            # Serialized messages with one element of a repeated field concatenate to one message.
            request = b"".join(itertools.islice(self._batch_parts, photos))
            method = channel.unary_unary(METHODS + "BatchClassify", None, pb.BatchClassifyResponse.FromString)
        else:
            request = next(self._unary_requests)
            method = channel.unary_unary(METHODS + "Classify", None, pb.ClassifyResponse.FromString)
        timeout = max(0.001, scheduled + self._load.deadline - now)
        call = method(request, timeout=timeout, metadata=self.metadata)
        if self._random.random() < self._load.cancel_share:
            await asyncio.sleep(self._random.random() * 0.1)
            if call.cancel():
                self.measurements.cancelled += photos
                self.done += photos
                return
        try:
            response = await call
        except grpc.RpcError as error:
            self.record_failed(scheduled, *_code_and_reason(error), photos)
            return
        if mode is Mode.UNARY:
            self.record_answered(scheduled)
            return
        for result in response.results:
            if result.HasField("error"):
                self.record_failed(scheduled, *_parse_status(result.error))
            else:
                self.record_answered(scheduled)

    def record_answered(self, scheduled: float) -> None:
        """Record a prediction that has just arrived."""
        self.done += 1
        self.measurements.record_answered(scheduled, clock())

    def record_failed(self, scheduled: float, code: str, reason: str, photos: int = 1) -> None:
        """Record photos that have just failed."""
        self.done += photos
        self.measurements.record_failed(scheduled, clock(), code, reason, photos)

    def next_stream_request(self, photo_id: int) -> bytes:
        """Return the next photo as a serialized message of a stream."""
        with_id = pb.StreamClassifyRequest(photo=pb.Photo(id=str(photo_id)))
        return with_id.SerializeToString() + next(self._stream_requests)  # the parser merges the two photos

    def next_stream_list(self, photo_ids: Iterable[int]) -> bytes:
        """Return the next photos as a serialized message of a stream."""
        listed = [pb.Photo(id=str(photo_id), content=next(self._photos)) for photo_id in photo_ids]
        return pb.StreamClassifyRequest(photos=pb.PhotoList(photos=listed)).SerializeToString()

    @property
    def photos_per_message(self) -> int:
        """Maximum number of photos in a message of a stream."""
        return self._load.photos_per_message

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata of each call."""
        return self._secured.metadata

    @property
    def drain_timeout(self) -> float:
        """Seconds to wait for the last results of a stream."""
        return self._load.deadline


class _Stream:
    """One stream, from its opening to its end."""

    def __init__(self, generator: LoadGenerator, channel: grpc.aio.Channel) -> None:
        self._generator = generator
        self._in_flight: dict[str, float] = {}
        method: Any = channel.stream_stream(METHODS + "StreamClassify", None, pb.StreamClassifyResponse.FromString)
        self._call = method(metadata=generator.metadata)

    async def run(
        self, times: AsyncIterator[float], on_result: Callable[[], None] = lambda: None, cancel_at: float | None = None
    ) -> bool:
        """Send photos and receive the results.

        Args:
            times: Scheduled times, one for each photo.
            on_result: Called after each result.
            cancel_at: Time at which the stream is cancelled, with the photos in flight.

        Returns:
            Whether the stream ended normally.
        """
        sending = asyncio.create_task(self._send(times))
        receiving = asyncio.create_task(self._receive(on_result))
        try:
            await asyncio.wait(
                [sending, receiving],
                timeout=None if cancel_at is None else max(0.0, cancel_at - clock()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if cancel_at is not None and clock() >= cancel_at:
                self._generator.measurements.cancelled += len(self._in_flight)
                self._in_flight.clear()
                return True
            if sending.done():
                await asyncio.wait([receiving], timeout=self._generator.drain_timeout)
            if not receiving.done():
                self._fail_in_flight("DEADLINE_EXCEEDED", "NO_RESULT")
                return True
            code, reason = receiving.result()
            ended_normally = sending.done() and not self._in_flight and code == "OK"
            if code == "OK":  # the server has ended the stream, as it does when it drains
                code, reason = "UNAVAILABLE", "DRAINED"
            self._fail_in_flight(code, reason)
            return ended_normally
        finally:
            self._call.cancel()
            await _cancel(sending, receiving)

    async def _send(self, times: AsyncIterator[float]) -> None:
        number, limit = 0, self._generator.photos_per_message
        waiting: asyncio.Queue[int] = asyncio.Queue()
        writing = asyncio.create_task(self._write_lists(waiting, limit)) if limit > 1 else None
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):  # the stream ended; _receive has the error
            try:
                async for scheduled in times:
                    number += 1
                    self._in_flight[str(number)] = scheduled
                    self._generator.measurements.record_sent(scheduled, clock())
                    if writing is None:
                        await self._call.write(self._generator.next_stream_request(number))
                    else:
                        waiting.put_nowait(number)
                await waiting.join()
                await self._call.done_writing()
            finally:
                if writing is not None:
                    await _cancel(writing)

    async def _write_lists(self, waiting: "asyncio.Queue[int]", limit: int) -> None:
        """Send photos, up to `limit` of those that wait in each message."""
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            while True:
                numbers = [await waiting.get()]
                while len(numbers) < limit and not waiting.empty():
                    numbers.append(waiting.get_nowait())
                await self._call.write(self._generator.next_stream_list(numbers))
                for _ in numbers:
                    waiting.task_done()

    async def _receive(self, on_result: Callable[[], None]) -> tuple[str, str]:
        try:
            async for response in self._call:
                for result in response.results.results if response.HasField("results") else [response.result]:
                    self._record(result, on_result)
        except grpc.RpcError as error:
            return _code_and_reason(error)
        return "OK", ""

    def _record(self, result: pb.PhotoResult, on_result: Callable[[], None]) -> None:
        scheduled = self._in_flight.pop(result.id, None)
        if scheduled is None:
            return
        if result.HasField("error"):
            self._generator.record_failed(scheduled, *_parse_status(result.error))
        else:
            self._generator.record_answered(scheduled)
        on_result()

    def _fail_in_flight(self, code: str, reason: str) -> None:
        for scheduled in self._in_flight.values():
            self._generator.record_failed(scheduled, code, reason)
        self._in_flight.clear()


async def _cancel(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _sleep_until(when: float) -> None:
    pause = when - clock()
    if pause > 0:
        await asyncio.sleep(pause)


def _code_and_reason(error: Any) -> tuple[str, str]:
    """Return the status code and the ErrorInfo reason of a failed call (a grpc.RpcError)."""
    with contextlib.suppress(ValueError):  # the details contradict the code
        status = rpc_status.from_call(error)
        if status is not None:
            return _parse_status(status)
    return error.code().name, ""


def _parse_status(status: Status) -> tuple[str, str]:
    info = ErrorInfo()
    reason = next((info.reason for detail in status.details if detail.Unpack(info)), "")
    name = Code.Name(status.code) if status.code in Code.values() else str(status.code)
    return name, reason
