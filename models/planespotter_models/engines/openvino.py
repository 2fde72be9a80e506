"""Run the network of a bundle under OpenVINO, on the CPU, in float32 or in 8 bits."""

import queue
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planespotter_models.bundle_format import Bundle, BundleError
from planespotter_models.engines.base import EngineMode, FixedSizes, Outputs, cores
from planespotter_models.engines.openvino_graph import build
from planespotter_models.engines.openvino_import import openvino as ov


class OpenVinoEngine(FixedSizes):
    """Runs the network as OpenVINO compiles it for each batch size."""

    def __init__(
        self,
        bundle: Bundle,
        batch_sizes: Sequence[int],
        *,
        int8: bool,
        mode: EngineMode = EngineMode.LATENCY,
        threads: int = 0,
    ) -> None:
        super().__init__(bundle, batch_sizes)
        assert bundle.layers is not None, "choose() has seen to this"
        threads = threads or cores()
        streams = 1 if mode == EngineMode.LATENCY else threads
        self.in_flight = streams + 1  # one is made ready while the others run
        heads = list(bundle.tree.heads)
        try:
            network = build(
                bundle.layers, bundle.weights, heads, bundle.height, bundle.width, int8=bundle.int8 if int8 else None
            )
            found = {head: int(network.output(head).partial_shape[1].get_length()) for head in heads}
            compiled = {size: self._compile(network, size, threads, streams) for size in self.batch_sizes}
        except Exception as error:  # openvino raises many kinds for weights that do not fit each other
            raise BundleError(
                f"The weights of the bundle {bundle.name} {bundle.version} make no network under OpenVINO "
                f"{ov.__version__} ({type(error).__name__}). Export it again from its run, or choose the engine jax."
            ) from error
        if found != bundle.tree.heads:
            raise BundleError(
                f"The network of the bundle {bundle.name} {bundle.version} has the heads {found}, but its label tree "
                f"has {bundle.tree.heads}. Export it again."
            )
        # A request holds the results of one run: as many as there are runs at a time, for each size.
        self._requests: dict[int, queue.SimpleQueue[Any]] = {}
        for size, model in compiled.items():
            self._requests[size] = queue.SimpleQueue()
            for _ in range(self.in_flight):
                self._requests[size].put(model.create_infer_request())
        self.description = (
            f"OpenVINO in {'8 bits' if int8 else 'float32'} on CPU, {threads} "
            f"{'thread' if threads == 1 else 'threads'}{', each for a batch' if streams > 1 else ''}"
        )

    def _compile(self, network: ov.Model, size: int, threads: int, streams: int) -> Any:
        network.reshape([size, *self._photo_shape])
        settings = {
            # Without this it would round to bfloat16 where the processor can, and be slower where it can but barely.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            # The threads share their cores with those that decode photos and speak with callers.
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
