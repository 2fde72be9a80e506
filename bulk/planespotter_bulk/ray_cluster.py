"""Ray: start it on this machine or connect to a cluster, and run a worker pool over blocks with Ray Data.

On one machine, Ray listens on loopback only and requires a token; usage statistics are off everywhere. Ray Data
schedules the blocks, restarts workers that die, and repeats their blocks. What makes a block exactly-once is in
`answers.py`.
"""

import logging
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from planespotter_bulk.errors import BulkError, TemporaryError
from planespotter_bulk.manifest import Block
from planespotter_models import Bundle, cores
from planespotter_photos.counts import count_noun

WORKER_CPUS = 1
"""On two cores, two workers are 12 % faster than one with both, as the threads of one share the interpreter lock."""
MAX_GPU_WORKER_CPUS = 16
RESERVED_STORE_BYTES = 128 << 20
SHUTDOWN_SECONDS = 30.0


@dataclass(frozen=True)
class Pool:
    """The workers of a job.

    Attributes:
        workers: Number of workers.
        cpus: Processor cores of each.
        gpus: GPUs of each.
    """

    workers: int
    cpus: int
    gpus: int

    def __str__(self) -> str:
        each = f"{self.cpus} core{'s' if self.cpus > 1 else ''}"
        if self.gpus:
            each += " and a GPU"
        return f"{count_noun(self.workers, 'worker')} with {each}{' each' if self.workers > 1 else ''}"


def _configure() -> None:
    """Set the environment that Ray reads when it is imported, where the user has not set it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Ray would print to stdout that a worker died; the summary of the job counts it.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")


def _configure_local() -> None:
    # Despite its name, 0 makes Ray listen on loopback on every system.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if "RAY_AUTH_MODE" not in os.environ:  # other users of this machine reach the ports too
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextmanager
def connect(address: str | None, bundle_bytes: int = 0) -> Iterator[None]:
    """Connect to a cluster, or start Ray on this machine; disconnect or stop it at the end.

    Args:
        address: Address of a cluster (ray://HOST:10001, HOST:6379, or "auto" on one of its machines); None for this
            machine alone.
        bundle_bytes: Size of the bundle, for the object store on this machine.

    Raises:
        BulkError: The cluster cannot be reached, or Ray cannot be started.
    """
    _configure()
    if address is None:
        _configure_local()
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"address": address}
    if address is None:
        memory = RESERVED_STORE_BYTES + 2 * bundle_bytes
        options = {"address": "local", "num_cpus": cores(), "object_store_memory": memory, "include_dashboard": False}
    try:
        with _silent_stderr():
            ray.init(**options, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError...
        detail = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        if address is None:
            raise BulkError(f"Ray cannot be started on this machine: {detail}.") from error
        raise BulkError(
            f"No Ray cluster responds at {address}: {detail}. Check the address, that the cluster has the same "
            "versions of Python and Ray, and its token (RAY_AUTH_TOKEN)."
        ) from error
    try:
        yield
    finally:
        # Ray may wait for a worker that hangs.
        give_up = threading.Timer(SHUTDOWN_SECONDS, os._exit, (TemporaryError.exit_code,))
        give_up.daemon = True
        give_up.start()
        ray.shutdown()
        give_up.cancel()


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what the C++ part of Ray logs to stderr before it knows its log level; errors are raised in Python."""
    saved = os.dup(2)
    with open(os.devnull, "wb") as null:  # noqa: PTH123
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def plan_pool(workers: int | None, worker_cpus: int | None) -> Pool:
    """Divide the machines of the cluster into workers.

    Args:
        workers: Number of workers; None for all that fit.
        worker_cpus: Processor cores of each; None for one, or the share of a GPU.

    Raises:
        BulkError: No machine has that number of cores.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    if not nodes:
        raise BulkError("The Ray cluster has no machine with a processor core for workers. Add worker machines.")
    gpu_nodes = [node for node in nodes if node.get("GPU", 0) >= 1]
    gpus = 1 if gpu_nodes else 0
    usable = gpu_nodes or nodes
    default = WORKER_CPUS
    if gpus:
        default = max(1, min(MAX_GPU_WORKER_CPUS, *(int(node["CPU"] // node["GPU"]) for node in usable)))
    cpus = worker_cpus or default
    capacity = sum(int(min(node["CPU"] // cpus, node.get("GPU", 0) if gpus else node["CPU"])) for node in usable)
    if not capacity and workers is None:
        largest = max(int(node["CPU"]) for node in usable)
        raise BulkError(
            f"No machine has {cpus} cores for a worker; the largest has {largest}. Use a lower --worker-cpus."
        )
    return Pool(workers or capacity, cpus, gpus)


MakeWorker = Callable[[Callable[[], Bundle]], Any]
"""Creates a BlockWorker from a function that returns the bundle."""


def run_blocks(blocks: Iterable[Block], pool: Pool, bundle: Bundle, make_worker: MakeWorker) -> Iterator[str]:
    """Run the worker pool over blocks; yield the summary of each as JSON, in the order in which they end.

    Args:
        blocks: The blocks.
        pool: The workers.
        bundle: The bundle, which reaches the workers through Ray.
        make_worker: Is called in the process of each worker.

    Raises:
        TemporaryError: Ray failed.
        BulkError: A machine lacks a package.
    """
    import ray

    run = _run_from_client if ray.util.client.ray.is_connected() else _run_ray_data
    try:
        yield from run([asdict(block) for block in blocks], pool, bundle, make_worker)
    except ray.exceptions.RayTaskError as error:
        if not isinstance(error.cause, ray.exceptions.RayError) or "No module named" in str(error):
            _raise_missing_package(error)
            raise  # a bug in a worker
        raise _ended(error.cause) from error
    except (ray.exceptions.RayError, ConnectionError) as error:
        _raise_missing_package(error)
        raise _ended(error) from error


def _ended(error: Exception) -> TemporaryError:
    detail = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return TemporaryError(f"Ray ended the job: {detail}. Run the same command again: it resumes.")


def _raise_missing_package(error: Exception) -> None:
    missing = re.search(r"No module named '([\w.]+)'", str(error))
    if missing:
        raise BulkError(
            f"A machine of the cluster lacks the package {missing[1]}. Install planespotter with the bulk extra there, "
            "in the version of this machine."
        ) from error


def _run_from_client(
    rows: Sequence[Mapping[str, Any]], pool: Pool, bundle: Bundle, make_worker: MakeWorker
) -> Iterator[str]:
    """Run Ray Data in an actor on the cluster: it needs generators of object references, which ray:// cannot carry."""
    import ray

    class Driver:
        def __init__(self, bundle: Bundle) -> None:
            self._summaries = _run_ray_data(rows, pool, bundle, make_worker)

        def next_summary(self) -> str | None:
            return next(self._summaries, None)

    driver = ray.remote(num_cpus=0)(Driver).remote(ray.put(bundle))
    while (summary := ray.get(driver.next_summary.remote())) is not None:
        yield summary


def _run_ray_data(
    rows: Sequence[Mapping[str, Any]], pool: Pool, bundle: Bundle, make_worker: MakeWorker
) -> Iterator[str]:
    import ray
    import ray.data

    from planespotter_bulk.worker import CONCURRENT_BLOCKS

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    reference = ray.put(bundle)

    class Actor:
        def __init__(self) -> None:
            self._worker = make_worker(lambda: ray.get(reference))

        def __call__(self, batch: Mapping[str, Sequence[Any]]) -> Any:
            return self._worker(batch)

    dataset = ray.data.from_items(list(rows), override_num_blocks=len(rows)).map_batches(
        Actor,
        batch_size=None,
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=pool.workers,
            initial_size=pool.workers,
            max_tasks_in_flight_per_actor=CONCURRENT_BLOCKS,
            max_concurrent_calls_per_actor=CONCURRENT_BLOCKS,
            enable_true_multi_threading=True,
        ),
    )
    for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
        yield from map(str, batch["summary"])
