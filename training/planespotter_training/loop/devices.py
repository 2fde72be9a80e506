"""Devices: data-parallel training on any number of devices of one or several hosts.

Several hosts find one another by JAX_COORDINATOR_ADDRESS (host:port of the first), JAX_NUM_PROCESSES and
JAX_PROCESS_ID, which are set for every process; the run folder must be on a shared disk.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from planespotter_training.errors import TrainingError
from planespotter_training.loop import supervisor


@dataclass(frozen=True)
class Timeouts:
    """When one of several processes gives up on the others."""

    heartbeat: int = 30
    """Seconds without a sign of life of another process; also the minimum time that a step may take."""
    start: int = 30
    """Seconds until all processes have started."""
    stall_factor: float = 20.0
    """Multiple of the median duration of a step that a step may take."""


def initialize(timeouts: Timeouts) -> None:
    """Join the other hosts if the environment names them. Call it before any computation.

    Raises:
        TrainingError: The environment is incomplete.
        ProcessLostError: The other processes did not start in time.
    """
    group = supervisor.read_environment()
    if group is None or jax.distributed.is_initialized():
        return
    # It would take SIGTERM for itself. This package stops at a signal by itself, and all processes together.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            group.coordinator,
            group.count,
            group.number,
            initialization_timeout=timeouts.start,
            heartbeat_timeout_seconds=timeouts.heartbeat,
            shutdown_timeout_seconds=timeouts.heartbeat,
        )
    except RuntimeError as error:
        raise supervisor.not_started(group, f" ({supervisor.first_line(error)})") from error


def is_first() -> bool:
    """Whether this process writes the files of the run."""
    return jax.process_index() == 0


def is_alone() -> bool:
    """Whether this process trains without others."""
    return bool(jax.process_count() == 1)


def wait_for_all(where: str) -> None:
    """Barrier: wait until every process has reached this point."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def agree(*flags: bool) -> tuple[bool, ...]:
    """Return for each flag whether it is set in any process."""
    if jax.process_count() == 1:
        return flags
    raised = np.asarray(multihost_utils.process_allgather(np.array(flags))).reshape(-1, len(flags))
    return tuple(bool(raised[:, number].any()) for number in range(len(flags)))


class Layout:
    """Shardings of arrays: replicated on each device (`everywhere`), or split along the first axis (`shared`)."""

    def __init__(self) -> None:
        mesh = jax.make_mesh((jax.device_count(),), ("photos",), axis_types=(AxisType.Auto,))
        self.devices = jax.device_count()
        self.everywhere = NamedSharding(mesh, PartitionSpec())
        self.shared = NamedSharding(mesh, PartitionSpec("photos"))

    def put(self, tree: Any, sharding: NamedSharding) -> Any:
        """Put `tree` on the devices; its arrays must be the same in all processes."""
        if jax.process_count() == 1:
            return jax.device_put(tree, sharding)

        def put_array(array: Any) -> jax.Array:
            local = np.asarray(array)
            return jax.make_array_from_callback(local.shape, sharding, local.__getitem__)

        return jax.tree.map(put_array, tree)

    def put_own(self, array: NDArray[Any]) -> jax.Array:
        """Put an array on the devices of which each process has its own part along the first axis."""
        result: jax.Array = jax.make_array_from_process_local_data(self.shared, array)
        return result

    def put_batch(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, jax.Array]:
        """Put a batch of the sampler on the devices; each process has its own part of the `photos`, if any."""
        return {
            name: self.put_own(array) if name == "photos" else self.put(array, self.shared)
            for name, array in batch.items()
        }


def check_batch_size(batch_size: int, layout: Layout) -> None:
    """Raise TrainingError unless the devices can share a batch evenly."""
    if batch_size % layout.devices:
        raise TrainingError(
            f"batch_size is {batch_size}, which {layout.devices} devices cannot share evenly. "
            f"Choose a multiple of {layout.devices} with --set batch_size=..."
        )


def own_part(batch_size: int) -> slice:
    """Return the part of each batch that this process decodes."""
    size = batch_size // jax.process_count()
    return slice(jax.process_index() * size, (jax.process_index() + 1) * size)


def compute_type(precision: str) -> Any:
    """Return the compute type of convolutions for the recipe's `precision`."""
    on_cpu = jax.default_backend() == "cpu"
    return jnp.bfloat16 if precision == "bf16" or (precision == "auto" and not on_cpu) else jnp.float32


def prefers_winograd(dtype: Any) -> bool:
    """Whether wide convolutions are faster by Winograd's algorithm: on a CPU, which computes in float32."""
    return jax.default_backend() == "cpu" and dtype == jnp.float32


def default_cache_bytes() -> int:
    """Return the default size of the device cache in bytes: a quarter of the device's memory, or of a CPU's host."""
    stats = jax.local_devices()[0].memory_stats() or {}
    total = stats.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(total) // 4


def measure_peak(dtype: Any) -> float:
    """Measure the peak performance of one device: FLOP/s of a product of square matrices."""
    size = 512 if jax.default_backend() == "cpu" else 8192
    # Random values: a GPU multiplies constant ones faster than any network's.
    values = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    matrix = jax.device_put((values / size**0.5).astype(dtype), jax.local_devices()[0])
    multiply = jax.jit(lambda a: a @ a)
    multiply(matrix).block_until_ready()
    best = 0.0
    until = time.perf_counter() + 0.2
    while time.perf_counter() < until:
        since = time.perf_counter()
        for _ in range(4):
            product = multiply(matrix)
        product.block_until_ready()
        best = max(best, 4 * 2.0 * size**3 / (time.perf_counter() - since))
    return best
