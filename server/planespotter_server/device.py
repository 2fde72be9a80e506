"""What the networks run on."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """`platform` is JAX's word: "cpu", "gpu"...; `name` is for people."""

    platform: str
    name: str


def find_device() -> Device:
    """Return the device that JAX has chosen."""
    import jax

    first = jax.devices()[0]
    if first.platform == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return Device("cpu", f"CPU, {cores} cores")
    return Device(first.platform, f"{first.platform.upper()}, {first.device_kind}")
