"""Send a load from one process, and record what becomes of it."""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
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
from planespotter_client.bench.measurements import Recording

METHODS = "/planespotter.v1.ClassifierService/"
# Calls of an open loop that are on their way at a time, from one process. Beyond it photos wait, and are late by that.
MOST_CALLS = 20_000
# How long a caller whose stream or connection broke waits before it tries again.
PAUSE_SECONDS = 0.1

clock = time.monotonic  # the same in all processes of a machine


class Mode(StrEnum):
    """How photos are sent."""

    UNARY = "unary"
    """Classify: one photo in one call."""
    BATCH = "batch"
    """BatchClassify: several photos in one call."""
    STREAM = "stream"
    """StreamClassify: photos on long-lived streams."""


@dataclass(frozen=True)
class Load:
    """One load. Times are in seconds, rates in photos per second; all are for all processes together.

    With a `rate` the loop is open: photos are sent at random times, whether the server keeps up or not, as many
    independent users would. Without, it is closed: each of `callers` sends its next photo when it has an answer.
    """

    modes: tuple[Mode, ...] = (Mode.UNARY,)
    """Caller number i sends in the mode i modulo their number."""
    callers: int = 8
    """Closed loop: how many callers. Open loop: how many streams; single calls and batches know no bound there."""
    rate: float | None = None
    seconds: float = 10.0
    photos: int | None = None
    """Stop after so many photos, if that comes before `seconds`."""
    warm_up: float = 1.0
    """How long the load is on before the measurement begins."""
    deadline: float = 10.0
    """An answer that comes later than this does not count as good."""
    batch_size: int = 32
    window: int = 64
    """Closed loop: how many photos each stream has on the way."""
    cancel_share: float = 0.0
    """The share of calls that are cancelled before their answer."""
    reconnect_seconds: float | None = None
    """After how long, on average, a caller drops its connection and makes a new one."""
    seed: int = 0

    @property
    def longest(self) -> float:
        """At most how long it takes, with what comes after the last photo is sent."""
        return self.warm_up + self.seconds + self.deadline

    def share(self, process: int, processes: int) -> "Load":
        """Return what one of `processes` does of it."""
        return Load(
            **{
                **self.__dict__,
                "callers": _part(self.callers, process, processes),
                "rate": None if self.rate is None else self.rate / processes,
                "photos": None if self.photos is None else _part(self.photos, process, processes),
                "seed": self.seed + 1_000_003 * process,
            }
        )


def _part(total: int, index: int, parts: int) -> int:
    """Return the part number `index` of `total` divided as evenly as whole numbers allow."""
    return total // parts + (index < total % parts)


def arrivals(rate: float, seconds: float, random_numbers: random.Random) -> Iterator[float]:
    """Yield the times in seconds, from 0 and below `seconds`, of a Poisson process of `rate` arrivals per second.

    The pauses are independent and exponentially distributed. So the processes of several generators put together are
    one of the sum of their rates.
    """
    now = random_numbers.expovariate(rate)
    while now < seconds:
        yield now
        now += random_numbers.expovariate(rate)


class Sender:
    """Puts `load` on the server at `address` with `photos`, from the time `begin` of `clock` on.

    `secured` is what its connections need. What it measures is in `recording`. `stop` makes it end soon.
    """

    def __init__(self, address: str, photos: Sequence[bytes], load: Load, begin: float, secured: Security) -> None:
        start = begin + load.warm_up
        self.recording = Recording(start, start + load.seconds, load.deadline)
        self.done = 0
        self._address = address
        self._secured = secured
        self._load = load
        self._begin = begin
        self._end = start + load.seconds
        self._random = random.Random(load.seed)
        self._stopped = asyncio.Event()
        self._left = load.photos
        # Messages are made once: making them is no part of what is measured.
        self._singles = itertools.cycle([pb.ClassifyRequest(photo=photo).SerializeToString() for photo in photos])
        self._on_streams = itertools.cycle(
            [pb.StreamClassifyRequest(photo=photo).SerializeToString() for photo in photos]
        )
        self._parts = itertools.cycle([pb.BatchClassifyRequest(photos=[photo]).SerializeToString() for photo in photos])

    def stop(self) -> None:
        """Send no more, and wait no longer for answers."""
        self._stopped.set()

    async def run(self) -> Recording:
        """Send the load and return what was measured."""
        sending = asyncio.create_task(self._open_loop() if self._load.rate else self._closed_loop())
        stopped = asyncio.create_task(self._stopped.wait())
        watching = asyncio.create_task(self._watch_processor())
        await asyncio.wait([sending, stopped], return_when=asyncio.FIRST_COMPLETED)
        early = not sending.done()
        stopped.cancel()
        await _end(watching)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        if early:
            self.recording.close(clock())
        elif self._load.photos is not None:
            self.recording.close(self.recording.last)
        return self.recording

    async def _watch_processor(self) -> None:
        """Record what this process uses of the processor from the start to the end of what is measured."""
        await _sleep_until(self.recording.start)
        before = time.process_time()
        try:
            await _sleep_until(self._end)
        finally:
            self.recording.processor_seconds = time.process_time() - before

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
        while self._load.reconnect_seconds is not None and self._goes_on(self._end):
            async with self._channel() as channel:
                lifetime = self._random.expovariate(1 / self._load.reconnect_seconds)
                await self._session(mode, channel, min(self._end, clock() + lifetime))

    async def _session(self, mode: Mode, channel: grpc.aio.Channel, end: float) -> None:
        if mode is Mode.STREAM:
            await self._closed_stream(channel, end)
        while mode is not Mode.STREAM and self._goes_on(end):
            photos = self._take(self._load.batch_size if mode is Mode.BATCH else 1)
            await self._call(channel, mode, clock(), photos)

    async def _closed_stream(self, channel: grpc.aio.Channel, end: float) -> None:
        while self._goes_on(end):
            stream = _Stream(self, channel)
            places = asyncio.Semaphore(self._load.window)

            async def photos(places: asyncio.Semaphore = places) -> AsyncIterator[float]:
                while self._goes_on(end):
                    await places.acquire()
                    if not self._goes_on(end):
                        return
                    self._take(1)
                    yield clock()

            cut_off = end if self._random.random() < self._load.cancel_share else None
            if not await stream.run(photos(), places.release, cut_off):
                await asyncio.sleep(PAUSE_SECONDS)

    async def _open_loop(self) -> None:
        [mode] = self._load.modes
        size = self._load.batch_size if mode is Mode.BATCH else 1
        assert self._load.rate is not None
        times = arrivals(self._load.rate / size, self._load.warm_up + self._load.seconds, self._random)
        due = (self._begin + after for after in times)
        async with self._channel() as channel:
            await (self._open_streams(channel, due) if mode is Mode.STREAM else self._open_calls(channel, mode, due))

    async def _open_calls(self, channel: grpc.aio.Channel, mode: Mode, due: Iterator[float]) -> None:
        room = asyncio.Semaphore(MOST_CALLS)

        async def call(intended: float, photos: int) -> None:
            try:
                await self._call(channel, mode, intended, photos)
            finally:
                room.release()

        async with asyncio.TaskGroup() as calls:
            for intended in due:
                if not self._goes_on(self._end):
                    return
                await _sleep_until(intended)
                await room.acquire()
                calls.create_task(call(intended, self._take(self._load.batch_size if mode is Mode.BATCH else 1)))

    async def _open_streams(self, channel: grpc.aio.Channel, due: Iterator[float]) -> None:
        queues: list[asyncio.Queue[float | None]] = [asyncio.Queue() for _ in range(max(1, self._load.callers))]

        async def caller(queue: asyncio.Queue[float | None]) -> None:
            ended = False

            async def photos() -> AsyncIterator[float]:
                nonlocal ended
                while (intended := await queue.get()) is not None:
                    yield intended
                ended = True

            while not ended:
                if not await _Stream(self, channel).run(photos()):
                    await asyncio.sleep(PAUSE_SECONDS)

        async with asyncio.TaskGroup() as callers:
            for queue in queues:
                callers.create_task(caller(queue))
            for intended, queue in zip(due, itertools.cycle(queues), strict=False):
                if not self._goes_on(self._end):
                    break
                await _sleep_until(intended)
                self._take(1)
                queue.put_nowait(intended)
            for queue in queues:
                queue.put_nowait(None)

    def _goes_on(self, end: float) -> bool:
        return not self._stopped.is_set() and clock() < end and (self._left is None or self._left > 0)

    def _take(self, photos: int) -> int:
        """Return how many of `photos` may still be sent, and count them as sent."""
        if self._left is None:
            return photos
        taken = min(photos, self._left)
        self._left -= taken
        return taken

    # How it is sent

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[grpc.aio.Channel]:
        """Open a connection. Nothing is tried twice: what fails is counted."""
        options = [
            *_channels.channel_options(),
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
            self.recording.connections += 1
            yield channel

    async def _call(self, channel: grpc.aio.Channel, mode: Mode, intended: float, photos: int) -> None:
        """Make one call with `photos` photos."""
        now = clock()
        self.recording.sent(intended, now, photos)
        method: Any
        if mode is Mode.BATCH:
            request = b"".join(itertools.islice(self._parts, photos))  # messages of one field add up to one message
            method = channel.unary_unary(METHODS + "BatchClassify", None, pb.BatchClassifyResponse.FromString)
        else:
            request = next(self._singles)
            method = channel.unary_unary(METHODS + "Classify", None, pb.ClassifyResponse.FromString)
        patience = max(0.001, intended + self._load.deadline - now)
        call = method(request, timeout=patience, metadata=self.metadata)
        if self._random.random() < self._load.cancel_share:
            await asyncio.sleep(self._random.random() * 0.1)
            if call.cancel():
                self.recording.cancelled += photos
                self.done += photos
                return
        try:
            response = await call
        except grpc.RpcError as error:
            self.failed(intended, *_why(error), photos)
            return
        if mode is Mode.UNARY:
            self.answered(intended)
            return
        for result in response.results:
            if result.WhichOneof("outcome") == "error":
                self.failed(intended, *_read(result.error))
            else:
                self.answered(intended)

    def answered(self, intended: float) -> None:
        """Take note of an answer that has just come."""
        self.done += 1
        self.recording.answered(intended, clock())

    def failed(self, intended: float, code: str, reason: str, photos: int = 1) -> None:
        """Take note of photos that have just failed."""
        self.done += photos
        self.recording.failed(intended, clock(), code, reason, photos)

    def next_on_stream(self, photo_id: int) -> bytes:
        """Return the next photo as a message of a stream."""
        return pb.StreamClassifyRequest(photo_id=str(photo_id)).SerializeToString() + next(self._on_streams)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call."""
        return self._secured.metadata

    @property
    def patience(self) -> float:
        """How long to wait for the last answers."""
        return self._load.deadline


class _Stream:
    """One stream, from its opening to its end."""

    def __init__(self, sender: Sender, channel: grpc.aio.Channel) -> None:
        self._sender = sender
        self._waiting: dict[str, float] = {}
        method: Any = channel.stream_stream(METHODS + "StreamClassify", None, pb.StreamClassifyResponse.FromString)
        self._call = method(metadata=sender.metadata)

    async def run(
        self, photos: AsyncIterator[float], on_outcome: Callable[[], None] = lambda: None, cut_off: float | None = None
    ) -> bool:
        """Send a photo for each time that `photos` yields, and take the answers; return whether the stream held.

        `cut_off` is the time at which it is cancelled, whatever is on the way.
        """
        sending = asyncio.create_task(self._send(photos))
        receiving = asyncio.create_task(self._receive(on_outcome))
        try:
            await asyncio.wait(
                [sending, receiving],
                timeout=None if cut_off is None else max(0.0, cut_off - clock()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if cut_off is not None and clock() >= cut_off:
                self._sender.recording.cancelled += len(self._waiting)
                self._waiting.clear()
                return True
            if sending.done():
                await asyncio.wait([receiving], timeout=self._sender.patience)
            if not receiving.done():
                self._fail("DEADLINE_EXCEEDED", "NO_ANSWER")
                return True
            code, reason = receiving.result()
            held = sending.done() and not self._waiting and code == "OK"
            if code == "OK":  # the server has ended the stream, as it does before it leaves
                code, reason = "UNAVAILABLE", "GOING_AWAY"
            self._fail(code, reason)
            return held
        finally:
            self._call.cancel()
            await _end(sending, receiving)

    async def _send(self, photos: AsyncIterator[float]) -> None:
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):  # it is over; _receive knows why
            number = 0
            async for intended in photos:
                number += 1
                self._waiting[str(number)] = intended
                self._sender.recording.sent(intended, clock())
                await self._call.write(self._sender.next_on_stream(number))
            await self._call.done_writing()

    async def _receive(self, on_outcome: Callable[[], None]) -> tuple[str, str]:
        try:
            async for response in self._call:
                intended = self._waiting.pop(response.photo_id, None)
                if intended is None:
                    continue
                if response.WhichOneof("outcome") == "error":
                    self._sender.failed(intended, *_read(response.error))
                else:
                    self._sender.answered(intended)
                on_outcome()
        except grpc.RpcError as error:
            return _why(error)
        return "OK", ""

    def _fail(self, code: str, reason: str) -> None:
        for intended in self._waiting.values():
            self._sender.failed(intended, code, reason)
        self._waiting.clear()


async def _end(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _sleep_until(when: float) -> None:
    pause = when - clock()
    if pause > 0:
        await asyncio.sleep(pause)


def _why(error: Any) -> tuple[str, str]:
    """Return code and reason of a call that failed (a grpc.RpcError)."""
    with contextlib.suppress(ValueError):  # the details contradict the code
        status = rpc_status.from_call(error)
        if status is not None:
            return _read(status)
    return error.code().name, ""


def _read(status: Status) -> tuple[str, str]:
    info = ErrorInfo()
    reason = next((info.reason for detail in status.details if detail.Unpack(info)), "")
    name = Code.Name(status.code) if status.code in Code.values() else str(status.code)
    return name, reason
