"""Process statistics from Linux: resident memory, CPU time, cores."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from planespotter_client.bench.measurements import BenchError


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes.

    Raises:
        BenchError: There is no such process, or this is not Linux.
    """
    try:
        status = Path("/proc", str(pid), "status").read_text(encoding="utf-8")
    except OSError as error:
        raise BenchError(
            f"The memory of process {pid} cannot be read: {error.strerror}. --server-pid is the process id of a server "
            "on this machine, which must run Linux."
        ) from error
    match = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0  # a process that has just ended has none


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process in seconds; nan if it cannot be read."""
    try:
        fields = Path("/proc", str(pid), "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def growth_per_hour(samples: Sequence[tuple[float, int]]) -> float:
    """Return the growth in bytes per hour of samples (seconds, bytes): the slope of their linear regression."""
    if len(samples) < 2:
        return 0.0
    mean_seconds = sum(seconds for seconds, _ in samples) / len(samples)
    mean_bytes = sum(size for _, size in samples) / len(samples)
    variance = sum((seconds - mean_seconds) ** 2 for seconds, _ in samples)
    if not variance:
        return 0.0
    return 3600 * sum((seconds - mean_seconds) * (size - mean_bytes) for seconds, size in samples) / variance
