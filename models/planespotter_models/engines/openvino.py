"""OpenVINO engine: run the network of a bundle on a CPU, in float32 or with int8 inference."""

import queue
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planespotter_models.bundle_format import Bundle, BundleError
from planespotter_models.engines.base import EngineMode, FixedBatchEngine, Outputs
from planespotter_models.engines.hardware import cores
from planespotter_models.engines.openvino_graph import build_graph
from planespotter_models.engines.openvino_import import openvino as ov


class OpenVinoEngine(FixedBatchEngine):
    """Runs the network, rebuilt from its weights and compiled for each batch size."""

    def __init__(
        self,
        bundle: Bundle,
        batch_sizes: Sequence[int],
        *,
        int8: bool,
        mode: EngineMode = EngineMode.LATENCY,
        threads: int = 0,
    ) -> None:
        """Rebuild and compile the network, which takes seconds.

        Args:
            bundle: The bundle; its architecture must be known.
            batch_sizes: Batch sizes to compile for, each at least 1. Other numbers of photos are split into these.
            int8: Whether to run int8 inference; the bundle must be calibrated for it.
            mode: Whether all threads work on one batch (LATENCY), or each on its own (THROUGHPUT).
            threads: Number of threads to compute with; 0 for one per core.

        Raises:
            BundleError: The weights do not form a network, or its heads differ from the label tree.
            ValueError: `batch_sizes` is empty or has a number below 1.
        """
        super().__init__(bundle, batch_sizes)
        assert bundle.architecture is not None, "choose_engine() has checked this"
        threads = threads or cores()
        streams = 1 if mode == EngineMode.LATENCY else threads
        self.in_flight = streams + 1  # one batch is prepared while the others run
        tree_heads = list(bundle.tree.heads)
        try:
            network = build_graph(
                bundle.architecture,
                bundle.weights,
                tree_heads,
                bundle.height,
                bundle.width,
                int8=bundle.int8_calibration if int8 else None,
            )
            heads = {head: int(network.output(head).partial_shape[1].get_length()) for head in tree_heads}
            compiled = {size: self._compile(network, size, threads, streams) for size in self.batch_sizes}
        except Exception as error:  # openvino raises many types for weights that do not fit each other
            raise BundleError(
                f"The weights of the bundle {bundle.name} {bundle.version} do not form a network under OpenVINO "
                f"{ov.__version__} ({type(error).__name__}). Export it again from its run, or choose the engine jax."
            ) from error
        if heads != bundle.tree.heads:
            raise BundleError(
                f"The network of the bundle {bundle.name} {bundle.version} has the heads {heads}, but its label tree "
                f"has {bundle.tree.heads}. Export it again."
            )
        # An infer request holds the results of one run: per batch size, as many as there are batches in flight.
        self._requests: dict[int, queue.SimpleQueue[Any]] = {}
        for size, model in compiled.items():
            self._requests[size] = queue.SimpleQueue()
            for _ in range(self.in_flight):
                self._requests[size].put(model.create_infer_request())
        self.description = (
            f"OpenVINO in {'int8' if int8 else 'float32'} on CPU, {threads} "
            f"{'thread' if threads == 1 else 'threads'}{', each with its own batch' if streams > 1 else ''}"
        )

    def _compile(self, network: ov.Model, size: int, threads: int, streams: int) -> Any:
        network.reshape([size, *self._photo_shape])
        settings = {
            # Otherwise OpenVINO rounds to bfloat16 wherever the processor supports it, even where that is slower.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            # The threads share their cores with those that decode photos and serve clients.
            "ENABLE_CPU_PINNING": False,
        }
        return ov.Core().compile_model(network, "CPU", settings)

    def _run(self, size: int, photos: NDArray[np.uint8]) -> Outputs:
        request = self._requests[size].get()
        try:
            results = request.infer({0: np.ascontiguousarray(photos)}, share_inputs=True)
            return {port.get_any_name(): np.array(values, np.float32) for port, values in results.items()}
        finally:
            self._requests[size].put(request)
