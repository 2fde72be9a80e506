"""Hardware detection: accelerators, int8 instructions and usable CPU cores."""

import contextlib
import importlib.metadata
import importlib.util
import math
import os
from pathlib import Path


def has_accelerator() -> bool:
    """Return whether JAX has a device other than a CPU; import JAX only if a plugin for one is installed."""
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    built_in = any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
    if os.environ.get("JAX_PLATFORMS") == "cpu" or not (plugins or built_in):
        return False
    import jax

    return bool(jax.default_backend() != "cpu")


def multiplies_int8() -> bool:
    """Return whether this processor has int8 dot product instructions (VNNI).

    Without them int8 inference is hardly faster, and less accurate: pairs of products are summed as int16, which
    saturates.
    """
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many CPU cores this process may use: its affinity, capped by the container's CPU quota.

    With more threads than the quota allows, the kernel throttles all of them for the rest of every 100 ms period.

    Args:
        quota: cgroup v2 file with the quota and the period in microseconds; may be missing.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max": unlimited
        time, period = map(int, quota.read_text(encoding="ascii").split())
        usable = min(usable, max(1, math.ceil(time / period)))
    return usable
