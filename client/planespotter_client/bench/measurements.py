"""What was measured, in memory that does not grow with the number of photos, so that several can be put together."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from planespotter_client._errors import PlaneSpotterError

# Each bucket of a histogram is so much wider than the one before it. A percentile is off by half of it at most.
STEP = math.log(1.01)
LEAST_SECONDS = 1e-6

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class BenchError(PlaneSpotterError):
    """The measurement cannot be made; the text says why and what to do."""


class Latencies:
    """A histogram of times in seconds. Its percentiles are within 0.5 % of the exact ones."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.total = 0
        self.most = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count one time, `times` times."""
        self.counts[_bucket(seconds)] += times
        self.total += times
        self.most = max(self.most, seconds)

    def merge(self, other: "Latencies") -> None:
        """Count all that `other` has counted."""
        self.counts += other.counts
        self.total += other.total
        self.most = max(self.most, other.most)

    def percentile(self, percent: float) -> float:
        """Return the least time that at least `percent` of the times do not exceed; nan if there are none."""
        if not self.total:
            return math.nan
        rank = max(1, math.ceil(self.total * percent / 100 - 1e-9))
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return min(_middle(bucket), self.most)
        return self.most

    def share_within(self, seconds: float) -> float:
        """Return the share of times up to `seconds`, by whole buckets; nan if there are none."""
        if not self.total:
            return math.nan
        return sum(count for bucket, count in self.counts.items() if bucket <= _bucket(seconds)) / self.total


def _bucket(seconds: float) -> int:
    return max(0, math.floor(math.log(max(seconds, LEAST_SECONDS) / LEAST_SECONDS) / STEP))


def _middle(bucket: int) -> float:
    return LEAST_SECONDS * math.exp((bucket + 0.5) * STEP)


@dataclass
class Second:
    """What happened in one second."""

    sent: int = 0
    answered: int = 0
    in_time: int = 0
    failed: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    def merge(self, other: "Second") -> None:
        """Add what happened in `other`."""
        self.sent += other.sent
        self.answered += other.answered
        self.in_time += other.in_time
        self.failed += other.failed
        self.latencies.merge(other.latencies)


@dataclass
class Recording:
    """What became of the photos of one load. Times are of one clock, in seconds.

    Photos that were meant to be sent between `start` and `end` are counted; answers that came between them are what
    the rates are made of.
    """

    start: float
    end: float
    deadline: float
    answers: Latencies = field(default_factory=Latencies)
    """From when a photo was meant to be sent to its answer."""
    refusals: Latencies = field(default_factory=Latencies)
    """The same for photos that the server refused because it had too much to do."""
    lags: Latencies = field(default_factory=Latencies)
    """From when a photo was meant to be sent to when it was handed to gRPC: what the generator itself was late by."""
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Photos without an answer, by gRPC's code and the reason in ErrorInfo."""
    in_time: int = 0
    cancelled: int = 0
    """Photos of calls that the generator cancelled on purpose."""
    connections: int = 0
    processor_seconds: float = 0.0
    """What the generator itself used of the processor between `start` and `end`."""
    by_second: dict[int, Second] = field(default_factory=dict)
    last: float = 0.0

    def sent(self, intended: float, now: float, photos: int = 1) -> None:
        """Take note that `photos` were sent at `now`."""
        if self.start <= intended < self.end:
            self.lags.add(max(0.0, now - intended), photos)
            self._second(intended).sent += photos

    def answered(self, intended: float, now: float, photos: int = 1) -> None:
        """Take note of answers."""
        latency = now - intended
        good = latency <= self.deadline
        self.last = max(self.last, now)
        if self.start <= intended < self.end:
            self.answers.add(latency, photos)
            self.in_time += photos if good else 0
        if self.start <= now < self.end:
            second = self._second(now)
            second.answered += photos
            second.in_time += photos if good else 0
            second.latencies.add(latency, photos)

    def failed(self, intended: float, now: float, code: str, reason: str = "", photos: int = 1) -> None:
        """Take note of photos that have an error instead of an answer."""
        self.last = max(self.last, now)
        if self.start <= intended < self.end:
            self.errors[code, reason] += photos
            if code == "RESOURCE_EXHAUSTED":
                self.refusals.add(now - intended, photos)
        if self.start <= now < self.end:
            self._second(now).failed += photos

    def merge(self, other: "Recording") -> None:
        """Add what another process measured in the same time."""
        for name in ("answers", "refusals", "lags"):
            getattr(self, name).merge(getattr(other, name))
        self.errors += other.errors
        for name in ("in_time", "cancelled", "connections", "processor_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for number, second in other.by_second.items():
            self.by_second.setdefault(number, Second()).merge(second)
        self.end = max(self.end, other.end)
        self.last = max(self.last, other.last)

    @property
    def seconds(self) -> float:
        """How long was measured."""
        return max(1e-9, self.end - self.start)

    @property
    def throughput(self) -> float:
        """Answers per second."""
        return sum(second.answered for second in self.by_second.values()) / self.seconds

    @property
    def goodput(self) -> float:
        """Answers per second that came in time."""
        return sum(second.in_time for second in self.by_second.values()) / self.seconds

    @property
    def offered(self) -> float:
        """Photos per second that were sent."""
        return sum(second.sent for second in self.by_second.values()) / self.seconds

    @property
    def failures(self) -> int:
        """Photos without an answer, but for those that were cancelled on purpose."""
        return sum(self.errors.values())

    def close(self, now: float) -> None:
        """Take note that the load ended at `now`, before its time."""
        self.end = max(self.start, min(self.end, now))
        whole = math.ceil(self.end - self.start)
        self.by_second = {number: second for number, second in self.by_second.items() if number < max(1, whole)}

    def as_json(self) -> dict[str, Any]:
        """Return the figures for programs; times are in seconds, nan is None."""

        def times(latencies: Latencies) -> dict[str, Any]:
            named = {f"p{percent:g}": _known(latencies.percentile(percent)) for percent in PERCENTILES}
            return {"photos": latencies.total, **named, "most": latencies.most or None}

        return {
            "seconds": round(self.seconds, 3),
            "offered": self.offered,
            "throughput": self.throughput,
            "goodput": self.goodput,
            "in_time": self.in_time,
            "answers": times(self.answers),
            "refusals": times(self.refusals),
            "generator_lag": times(self.lags),
            "errors": [
                {"code": code, "reason": reason, "photos": count} for (code, reason), count in self.errors.most_common()
            ],
            "cancelled": self.cancelled,
            "connections": self.connections,
            "generator_processor_seconds": round(self.processor_seconds, 3),
            "by_second": [
                {
                    "second": number,
                    "sent": second.sent,
                    "answered": second.answered,
                    "in_time": second.in_time,
                    "failed": second.failed,
                    "p50": _known(second.latencies.percentile(50)),
                    "p99": _known(second.latencies.percentile(99)),
                }
                for number, second in sorted(self.by_second.items())
            ],
        }

    def _second(self, now: float) -> Second:
        return self.by_second.setdefault(int(now - self.start), Second())


def _known(figure: float) -> float | None:
    return None if math.isnan(figure) else figure
