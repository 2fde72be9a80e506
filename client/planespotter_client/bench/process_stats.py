"""What a process on this machine uses of it, as Linux tells."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from planespotter_client.bench.measurements import BenchError


def resident_bytes(pid: int) -> int:
    """Return how many bytes of memory the process holds. Raises BenchError."""
    try:
        status = Path("/proc", str(pid), "status").read_text(encoding="utf-8")
    except OSError as error:
        raise BenchError(
            f"The memory of the process {pid} cannot be read: {error.strerror}. --server-pid is the number of a server "
            "that runs on this machine, which must be a Linux."
        ) from error
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0  # a process that has just ended has none


def processor_seconds(pid: int) -> float:
    """Return how many seconds of the processor the process has used; nan where that is not told."""
    try:
        fields = Path("/proc", str(pid), "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def growth(samples: Sequence[tuple[float, int]]) -> float:
    """Return by how many bytes an hour (seconds, bytes) grew: the slope of the straight line nearest to the samples."""
    if len(samples) < 2:
        return 0.0
    middle = sum(second for second, _ in samples) / len(samples)
    mean = sum(size for _, size in samples) / len(samples)
    spread = sum((second - middle) ** 2 for second, _ in samples)
    if not spread:
        return 0.0
    return 3600 * sum((second - middle) * (size - mean) for second, size in samples) / spread
