"""Measurements of a load: latency histograms, errors and counts per second.

Their memory does not grow with the number of photos, and those of several processes can be merged.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from planespotter_client._errors import PlaneSpotterError

# Width of a histogram bucket, on a logarithmic scale: a percentile is off by half of it at most.
BUCKET_WIDTH = math.log(1.01)
MIN_SECONDS = 1e-6

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class BenchError(PlaneSpotterError):
    """The load test cannot run; the text says why and how to fix it."""


class LatencyHistogram:
    """A histogram of times in seconds. Its percentiles are within 0.5 % of the exact ones."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.total = 0
        self.max = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Add a time, `times` times."""
        self.counts[_bucket(seconds)] += times
        self.total += times
        self.max = max(self.max, seconds)

    def merge(self, other: "LatencyHistogram") -> None:
        """Add all times of `other`."""
        self.counts += other.counts
        self.total += other.total
        self.max = max(self.max, other.max)

    def percentile(self, percent: float) -> float:
        """Return the smallest time that at least `percent` of the times do not exceed; nan if there are none."""
        if not self.total:
            return math.nan
        rank = max(1, math.ceil(self.total * percent / 100 - 1e-9))
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return min(_bucket_middle(bucket), self.max)
        return self.max

    def share_within(self, seconds: float) -> float:
        """Return the share of times up to `seconds`, rounded to buckets; nan if there are none."""
        if not self.total:
            return math.nan
        return sum(count for bucket, count in self.counts.items() if bucket <= _bucket(seconds)) / self.total


def _bucket(seconds: float) -> int:
    return max(0, math.floor(math.log(max(seconds, MIN_SECONDS) / MIN_SECONDS) / BUCKET_WIDTH))


def _bucket_middle(bucket: int) -> float:
    return MIN_SECONDS * math.exp((bucket + 0.5) * BUCKET_WIDTH)


@dataclass
class SecondStats:
    """Counts of photos in one second."""

    sent: int = 0
    answered: int = 0
    within_deadline: int = 0
    failed: int = 0
    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)

    def merge(self, other: "SecondStats") -> None:
        """Add the counts of `other`."""
        self.sent += other.sent
        self.answered += other.answered
        self.within_deadline += other.within_deadline
        self.failed += other.failed
        self.latencies.merge(other.latencies)


@dataclass
class Measurements:
    """Measurements of one load. Times are in seconds of one clock.

    Latencies and errors are of the photos scheduled between `start` and `end`; rates are of the results that arrived
    between them.
    """

    start: float
    end: float
    deadline: float
    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)
    """From the scheduled time of a photo to its prediction."""
    rejection_latencies: LatencyHistogram = field(default_factory=LatencyHistogram)
    """From the scheduled time of a photo to its rejection by an overloaded server."""
    generator_lags: LatencyHistogram = field(default_factory=LatencyHistogram)
    """From the scheduled time of a photo to its handover to gRPC: the lag of the generator itself."""
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Failed photos by gRPC status code and ErrorInfo reason."""
    within_deadline: int = 0
    cancelled: int = 0
    """Photos of calls that the generator cancelled on purpose."""
    connections: int = 0
    cpu_seconds: float = 0.0
    """CPU time of the generator between `start` and `end`."""
    by_second: dict[int, SecondStats] = field(default_factory=dict)
    last_result: float = 0.0

    def record_sent(self, scheduled: float, now: float, photos: int = 1) -> None:
        """Record that `photos` were sent at `now`."""
        if self.start <= scheduled < self.end:
            self.generator_lags.add(max(0.0, now - scheduled), photos)
            self._second(scheduled).sent += photos

    def record_answered(self, scheduled: float, now: float, photos: int = 1) -> None:
        """Record predictions that arrived at `now`."""
        latency = now - scheduled
        within_deadline = latency <= self.deadline
        self.last_result = max(self.last_result, now)
        if self.start <= scheduled < self.end:
            self.latencies.add(latency, photos)
            self.within_deadline += photos if within_deadline else 0
        if self.start <= now < self.end:
            second = self._second(now)
            second.answered += photos
            second.within_deadline += photos if within_deadline else 0
            second.latencies.add(latency, photos)

    def record_failed(self, scheduled: float, now: float, code: str, reason: str = "", photos: int = 1) -> None:
        """Record photos that failed at `now`, with the gRPC status code and the ErrorInfo reason."""
        self.last_result = max(self.last_result, now)
        if self.start <= scheduled < self.end:
            self.errors[code, reason] += photos
            if code == "RESOURCE_EXHAUSTED":
                self.rejection_latencies.add(now - scheduled, photos)
        if self.start <= now < self.end:
            self._second(now).failed += photos

    def merge(self, other: "Measurements") -> None:
        """Add the measurements of another process over the same time."""
        for name in ("latencies", "rejection_latencies", "generator_lags"):
            getattr(self, name).merge(getattr(other, name))
        self.errors += other.errors
        for name in ("within_deadline", "cancelled", "connections", "cpu_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for number, second in other.by_second.items():
            self.by_second.setdefault(number, SecondStats()).merge(second)
        self.end = max(self.end, other.end)
        self.last_result = max(self.last_result, other.last_result)

    @property
    def seconds(self) -> float:
        """Duration of the measurement."""
        return max(1e-9, self.end - self.start)

    @property
    def throughput(self) -> float:
        """Predictions per second."""
        return sum(second.answered for second in self.by_second.values()) / self.seconds

    @property
    def goodput(self) -> float:
        """Predictions per second within the deadline."""
        return sum(second.within_deadline for second in self.by_second.values()) / self.seconds

    @property
    def offered(self) -> float:
        """Photos sent per second."""
        return sum(second.sent for second in self.by_second.values()) / self.seconds

    @property
    def failed(self) -> int:
        """Failed photos, without those that were cancelled on purpose."""
        return sum(self.errors.values())

    def close(self, now: float) -> None:
        """Record that the load ended early, at `now`."""
        self.end = max(self.start, min(self.end, now))
        seconds = math.ceil(self.end - self.start)
        self.by_second = {number: second for number, second in self.by_second.items() if number < max(1, seconds)}

    def as_json(self) -> dict[str, Any]:
        """Return the measurements as JSON values; times are in seconds, nan is None."""

        def percentiles(histogram: LatencyHistogram) -> dict[str, Any]:
            named = {f"p{percent:g}": _nan_to_none(histogram.percentile(percent)) for percent in PERCENTILES}
            return {"photos": histogram.total, **named, "max": histogram.max or None}

        return {
            "seconds": round(self.seconds, 3),
            "offered": self.offered,
            "throughput": self.throughput,
            "goodput": self.goodput,
            "within_deadline": self.within_deadline,
            "latency": percentiles(self.latencies),
            "rejection_latency": percentiles(self.rejection_latencies),
            "generator_lag": percentiles(self.generator_lags),
            "errors": [
                {"code": code, "reason": reason, "photos": count} for (code, reason), count in self.errors.most_common()
            ],
            "cancelled": self.cancelled,
            "connections": self.connections,
            "generator_cpu_seconds": round(self.cpu_seconds, 3),
            "by_second": [
                {
                    "second": number,
                    "sent": second.sent,
                    "answered": second.answered,
                    "within_deadline": second.within_deadline,
                    "failed": second.failed,
                    "p50": _nan_to_none(second.latencies.percentile(50)),
                    "p99": _nan_to_none(second.latencies.percentile(99)),
                }
                for number, second in sorted(self.by_second.items())
            ],
        }

    def _second(self, now: float) -> SecondStats:
        return self.by_second.setdefault(int(now - self.start), SecondStats())


def _nan_to_none(value: float) -> float | None:
    return None if math.isnan(value) else value
