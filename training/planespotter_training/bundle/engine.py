"""Run the network of a bundle: uint8 photos in, log-probabilities per head out."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from planespotter_training.bundle.format import Bundle, BundleError
from planespotter_training.bundle.operations import strange_operation

DEFAULT_BATCH_SIZES = (1, 2, 4, 8, 16, 32)


class Engine(Protocol):
    """Runs one network. Not for several threads at once."""

    @property
    def batch_sizes(self) -> Sequence[int]:
        """The numbers of photos for which it is compiled, ascending; other numbers are padded to the next of them."""

    def run(self, photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Return log-probabilities [n, classes] for each head, for photos [n, height, width, 3]."""


class JaxEngine:
    """Runs the exported function under XLA, compiled ahead of time for each batch size."""

    def __init__(self, bundle: Bundle, batch_sizes: Sequence[int] = DEFAULT_BATCH_SIZES) -> None:
        import jax
        import jax.export

        self.batch_sizes = tuple(sorted(set(batch_sizes)))
        self._photo_shape = (bundle.height, bundle.width, 3)
        try:
            exported = jax.export.deserialize(bytearray(bundle.network))
            strange = strange_operation(exported.mlir_module_serialized)
            if strange is not None:
                raise BundleError(
                    f"The network of the bundle {bundle.name} {bundle.version} would do more than calculate: it holds "
                    f"the operation {strange}. Do not use it; `planespotter export` never writes such a thing."
                )
            self._weights = jax.device_put(dict(bundle.weights))
            step = jax.jit(exported.call)
            self._compiled = {
                size: step.lower(self._weights, jax.ShapeDtypeStruct((size, *self._photo_shape), np.uint8)).compile()
                for size in self.batch_sizes
            }
        except BundleError:
            raise
        except Exception as error:  # jax raises many kinds for a function that does not fit this machine
            raise BundleError(
                f"The network of the bundle {bundle.name} {bundle.version}, exported with jax {bundle.jax_version}, "
                f"does not run under jax {jax.__version__} on {jax.default_backend()} ({type(error).__name__}). "
                "Export it again from its run with the jax that is installed here."
            ) from error
        found = {head: list(output.shape[1:]) for head, output in self._compiled[self.batch_sizes[0]].out_info.items()}
        expected = {head: [classes] for head, classes in bundle.tree.heads.items()}
        if found != expected:
            raise BundleError(
                f"The network of the bundle {bundle.name} {bundle.version} has the heads {found}, but its label tree "
                f"has {expected}. Export it again."
            )

    def run(self, photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Return log-probabilities [n, classes] for each head, for photos [n, height, width, 3] of any n from 1."""
        if photos.dtype != np.uint8 or photos.shape[1:] != self._photo_shape or not len(photos):
            raise ValueError(
                f"photos must be uint8 [n, *{self._photo_shape}], n >= 1; got {photos.dtype} {photos.shape}"
            )
        largest = self.batch_sizes[-1]
        parts = [self._run_padded(photos[start : start + largest]) for start in range(0, len(photos), largest)]
        return {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}

    def _run_padded(self, photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        import jax

        size = next(size for size in self.batch_sizes if size >= len(photos))
        padded = np.zeros((size, *self._photo_shape), np.uint8)
        padded[: len(photos)] = photos
        outputs = jax.device_get(self._compiled[size](self._weights, padded))
        return {head: output[: len(photos)] for head, output in outputs.items()}


def load_engine(bundle: Bundle, batch_sizes: Sequence[int] = DEFAULT_BATCH_SIZES) -> Engine:
    """Compile the network of `bundle` for `batch_sizes` and run each once, so that no later call waits for it."""
    engine = JaxEngine(bundle, batch_sizes)
    for size in engine.batch_sizes:
        engine.run(np.zeros((size, bundle.height, bundle.width, 3), np.uint8))
    return engine
