"""Where training computes: any number of devices of one host or of several, each with its share of every batch.

Several hosts find one another by JAX_COORDINATOR_ADDRESS (host:port of the first), JAX_NUM_PROCESSES and
JAX_PROCESS_ID, which are set for every process; the run folder must be on a disk that all of them see.
"""

import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from planespotter_training.errors import TrainingError


def initialise() -> None:
    """Join the other hosts if the environment names them. To be called before anything is computed."""
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    if not address or jax.distributed.is_initialized():
        return
    try:
        count, number = int(os.environ["JAX_NUM_PROCESSES"]), int(os.environ["JAX_PROCESS_ID"])
    except (KeyError, ValueError) as error:
        raise TrainingError(
            f"JAX_COORDINATOR_ADDRESS is {address}, so this is one of several processes, but JAX_NUM_PROCESSES and "
            "JAX_PROCESS_ID are not both whole numbers. Set them, or unset the address to train on this host alone."
        ) from error
    jax.distributed.initialize(address, count, number)


def is_first() -> bool:
    """Whether this process is the one that writes what is written once."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Go on when every process has come to this point."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def agree(*flags: bool) -> tuple[bool, ...]:
    """Return for each flag whether any process has raised it."""
    if jax.process_count() == 1:
        return flags
    raised = np.asarray(multihost_utils.process_allgather(np.array(flags))).reshape(-1, len(flags))
    return tuple(bool(raised[:, number].any()) for number in range(len(flags)))


class Layout:
    """How arrays lie on the devices: whole on each (`everywhere`), or along their first axis in shares (`shared`)."""

    def __init__(self) -> None:
        mesh = jax.make_mesh((jax.device_count(),), ("photos",), axis_types=(AxisType.Auto,))
        self.devices = jax.device_count()
        self.everywhere = NamedSharding(mesh, PartitionSpec())
        self.shared = NamedSharding(mesh, PartitionSpec("photos"))

    def put(self, tree: Any, sharding: NamedSharding) -> Any:
        """Return `tree` on the devices; its arrays must be the same in all processes."""
        if jax.process_count() == 1:
            return jax.device_put(tree, sharding)

        def put_one(array: Any) -> jax.Array:
            held = np.asarray(array)
            return jax.make_array_from_callback(held.shape, sharding, held.__getitem__)

        return jax.tree.map(put_one, tree)

    def put_own(self, array: NDArray[Any]) -> jax.Array:
        """Return an array of which each process holds the part along the first axis that its devices compute."""
        made: jax.Array = jax.make_array_from_process_local_data(self.shared, array)
        return made


def compute_type(precision: str) -> Any:
    """Return what convolutions compute with: see the recipe's `precision`."""
    on_cpu = jax.default_backend() == "cpu"
    return jnp.bfloat16 if precision == "bf16" or (precision == "auto" and not on_cpu) else jnp.float32


def memory_for_photos() -> int:
    """Return how many bytes of photos may stay on a device: a quarter of its memory, or of the host's for a CPU."""
    stats = jax.local_devices()[0].memory_stats() or {}
    total = stats.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(total) // 4


def measure_peak(dtype: Any) -> float:
    """Return the operations per second of one device in its largest easy task, a product of square matrices."""
    size = 512 if jax.default_backend() == "cpu" else 8192
    matrix = jax.device_put(jnp.ones((size, size), dtype), jax.local_devices()[0])
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
