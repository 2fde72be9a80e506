"""Run the network of a bundle: uint8 photos in, log-probabilities per head out.

jax               the exported function under XLA; on a CPU or an accelerator
openvino          the same network, built from its weights, under OpenVINO; on a CPU; in 8 bits if the bundle has
                  what that takes
openvino-float32  the same, but never in 8 bits
auto              jax on an accelerator, else OpenVINO where it is installed, else jax; in 8 bits only where the
                  processor has instructions for them
"""

import contextlib
import importlib.metadata
import importlib.util
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from planespotter_models.bundle_format import Bundle, BundleError

DEFAULT_BATCH_SIZES = (1, 2, 4, 8, 16, 32)
# To run a few photos more than there are costs less than to run twice: this share of a batch may be padding.
PADDING = 1 / 8

Outputs = dict[str, NDArray[np.float32]]


class EngineChoice(StrEnum):
    """Which engine to use."""

    AUTO = "auto"
    JAX = "jax"
    OPENVINO = "openvino"
    OPENVINO_FLOAT32 = "openvino-float32"


class EngineMode(StrEnum):
    """What an engine on a CPU is tuned for."""

    LATENCY = "latency"
    """All cores work on one batch: each is answered as soon as can be."""
    THROUGHPUT = "throughput"
    """Each core works on a batch of its own: more photos in all, but each waits for longer."""


class Engine(Protocol):
    """Runs one network. Several threads may call it at a time."""

    @property
    def description(self) -> str:
        """What runs it, and on what, for people."""

    @property
    def batch_sizes(self) -> Sequence[int]:
        """The numbers of photos for which it is compiled, ascending; other numbers are made up of these."""

    @property
    def in_flight(self) -> int:
        """How many threads it takes to keep the device busy."""

    def run(self, photos: NDArray[np.uint8]) -> Outputs:
        """Return log-probabilities [n, classes] for each head, for photos [n, height, width, 3] of any n from 1."""


class FixedSizes(ABC):
    """The part that engines share: any number of photos becomes batches of the sizes that are compiled."""

    def __init__(self, bundle: Bundle, batch_sizes: Sequence[int], *, padding: float = PADDING) -> None:
        self.batch_sizes = tuple(sorted(set(batch_sizes)))
        if not self.batch_sizes or self.batch_sizes[0] < 1:
            raise ValueError(f"batch_sizes must be one number of photos or more, each at least 1; got {batch_sizes}")
        self._photo_shape = (bundle.height, bundle.width, 3)
        self._padding = padding

    def run(self, photos: NDArray[np.uint8]) -> Outputs:
        """Return log-probabilities [n, classes] for each head, for photos [n, height, width, 3] of any n from 1."""
        if photos.dtype != np.uint8 or photos.shape[1:] != self._photo_shape or not len(photos):
            raise ValueError(
                f"photos must be uint8 [n, *{self._photo_shape}], n >= 1; got {photos.dtype} {photos.shape}"
            )
        outputs, start = [], 0
        for size in divide(len(photos), self.batch_sizes, self._padding):
            part = photos[start : start + size]
            if len(part) < size:
                part = np.concatenate([part, np.zeros((size - len(part), *self._photo_shape), np.uint8)])
            outputs.append(self._run(size, part))
            start += size
        if len(outputs) == 1 and start == len(photos):
            return outputs[0]
        return {head: np.concatenate([part[head] for part in outputs])[: len(photos)] for head in outputs[0]}

    @abstractmethod
    def _run(self, size: int, photos: NDArray[np.uint8]) -> Outputs:
        """Run exactly `size` photos, one of the batch sizes."""


def divide(photos: int, sizes: Sequence[int], padding: float) -> list[int]:
    """Return which of `sizes`, ascending, together hold so many photos; only the last has room left over.

    That room is at most the share `padding` of its size, unless it is the smallest.
    """
    parts = []
    while photos > 0:
        enough = next((size for size in sizes if size >= photos), sizes[-1])
        below = max((size for size in sizes if size <= photos), default=enough)
        parts.append(enough if enough - photos <= padding * enough else below)
        photos -= parts[-1]
    return parts


def load_engine(
    bundle: Bundle,
    batch_sizes: Sequence[int] = DEFAULT_BATCH_SIZES,
    engine: str = EngineChoice.AUTO,
    mode: str = EngineMode.LATENCY,
    threads: int = 0,
    cache: Path | None = None,
) -> Engine:
    """Compile the network of `bundle` for `batch_sizes` and run each once, so that no later call waits for it.

    `engine` is an EngineChoice and `mode` an EngineMode; `threads` is for engines on a CPU that can be told, 0 for one
    per core; `cache` is where compiled networks are kept, None for the user's own folder. Raises BundleError, and
    ValueError for an engine or a mode that there is not, and for batch sizes below 1.
    """
    chosen = choose(bundle, engine)
    loaded: Engine
    if chosen == EngineChoice.JAX:
        from planespotter_models.engines.jax import JaxEngine

        loaded = JaxEngine(bundle, batch_sizes, cache)
    else:
        from planespotter_models.engines.openvino import OpenVinoEngine

        int8 = chosen == EngineChoice.OPENVINO and bundle.int8 is not None
        if engine == EngineChoice.AUTO:
            int8 = int8 and multiplies_int8()
        loaded = OpenVinoEngine(bundle, batch_sizes, int8=int8, mode=EngineMode(mode), threads=threads)
    for size in loaded.batch_sizes:
        loaded.run(np.zeros((size, bundle.height, bundle.width, 3), np.uint8))
    return loaded


def choose(bundle: Bundle, engine: str = EngineChoice.AUTO) -> EngineChoice:
    """Return the engine to use where `engine` is asked for. Raises BundleError if it cannot run this bundle here."""
    wanted = EngineChoice(engine)
    installed = importlib.util.find_spec("openvino") is not None
    if wanted == EngineChoice.AUTO:
        return EngineChoice.OPENVINO if installed and bundle.layers and not has_accelerator() else EngineChoice.JAX
    if wanted != EngineChoice.JAX:
        if not installed:
            raise BundleError(
                f"The engine {wanted} needs OpenVINO, which is not installed. Install planespotter[server], or choose "
                "the engine jax."
            )
        if bundle.layers is None:
            raise BundleError(
                f"The bundle {bundle.name} {bundle.version} does not say how its layers follow each other, so only the "
                "engine jax can run it. Export it again from its run, or choose the engine jax."
            )
    return wanted


def has_accelerator() -> bool:
    """Whether JAX has something better than a CPU; JAX is imported only where that can be."""
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    built_in = any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
    if os.environ.get("JAX_PLATFORMS") == "cpu" or not (plugins or built_in):
        return False
    import jax

    return bool(jax.default_backend() != "cpu")


def multiplies_int8() -> bool:
    """Whether this processor has instructions that multiply and add numbers of 8 bits without cutting sums off.

    Without these (VNNI), 8 bits are hardly faster, and less exact: two products are added up in 16 bits.
    """
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use; in a container, where `quota` is, as many as it may use the time of.

    More threads than that would be stopped together, all at once, for the rest of each tenth of a second.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # there is none, or it says "max"
        time, period = map(int, quota.read_text(encoding="ascii").split())
        usable = min(usable, max(1, math.ceil(time / period)))
    return usable
