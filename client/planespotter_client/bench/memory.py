"""The memory of a process on this machine, as Linux tells it."""

import re
from collections.abc import Sequence
from pathlib import Path

from planespotter_client.bench.load import BenchError


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
