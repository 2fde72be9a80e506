"""Engine interface, and batch splitting: run any number of photos in the batch sizes that are compiled."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from planespotter_models.bundle_format import Bundle

MAX_PADDING = 1 / 8
"""Share of a batch that may be padding: to run a few rows of zeros costs less than a second batch."""

Outputs = dict[str, NDArray[np.float32]]
"""Log-probabilities [n, classes] by head."""


class EngineChoice(StrEnum):
    """Which engine to use."""

    AUTO = "auto"
    """JAX on an accelerator, else OpenVINO if installed, else JAX; int8 only on a processor with int8 instructions."""
    JAX = "jax"
    """The exported function, compiled by XLA; on a CPU or an accelerator."""
    OPENVINO = "openvino"
    """The same network, rebuilt from its weights, on a CPU; int8 inference if the bundle is calibrated for it."""
    OPENVINO_FLOAT32 = "openvino-float32"
    """OpenVINO, always in float32."""


class EngineMode(StrEnum):
    """What an engine on a CPU is optimized for."""

    LATENCY = "latency"
    """All cores work on one batch, which is ready as soon as possible."""
    THROUGHPUT = "throughput"
    """Each core works on a separate batch: more photos per second, but each takes longer."""


class Engine(Protocol):
    """Runs one network. Thread-safe."""

    @property
    def description(self) -> str:
        """Software and device, for people."""

    @property
    def batch_sizes(self) -> Sequence[int]:
        """The batch sizes that are compiled, ascending; other numbers of photos are split into these."""

    @property
    def in_flight(self) -> int:
        """How many batches must be in flight to keep the device busy."""

    def run(self, photos: NDArray[np.uint8]) -> Outputs:
        """Run the network on `photos` [n, height, width, 3], n >= 1; return log-probabilities [n, classes] by head."""


class FixedBatchEngine(ABC):
    """Base of the engines: splits any number of photos into the batch sizes that are compiled, and pads the last."""

    def __init__(self, bundle: Bundle, batch_sizes: Sequence[int], *, max_padding: float = MAX_PADDING) -> None:
        self.batch_sizes = tuple(sorted(set(batch_sizes)))
        if not self.batch_sizes or self.batch_sizes[0] < 1:
            raise ValueError(f"batch_sizes must be one number of photos or more, each at least 1; got {batch_sizes}")
        self._photo_shape = (bundle.height, bundle.width, 3)
        self._max_padding = max_padding

    def run(self, photos: NDArray[np.uint8]) -> Outputs:
        """Run the network.

        Args:
            photos: uint8 [n, height, width, 3], n >= 1.

        Returns:
            Log-probabilities [n, classes] by head.

        Raises:
            ValueError: `photos` has another shape or type.
        """
        if photos.dtype != np.uint8 or photos.shape[1:] != self._photo_shape or not len(photos):
            raise ValueError(
                f"photos must be uint8 [n, *{self._photo_shape}], n >= 1; got {photos.dtype} {photos.shape}"
            )
        outputs, start = [], 0
        for size in split_into_batches(len(photos), self.batch_sizes, self._max_padding):
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


def split_into_batches(photos: int, sizes: Sequence[int], max_padding: float) -> list[int]:
    """Split `photos` into batches of the given sizes; only the last batch may have padding.

    Args:
        photos: Number of photos, at least 1.
        sizes: Batch sizes to choose from, ascending.
        max_padding: Maximum share of the last batch that is padding, unless it has the smallest size.

    Returns:
        The batch sizes, in order; their sum is `photos` or more.
    """
    batches = []
    while photos > 0:
        enough = next((size for size in sizes if size >= photos), sizes[-1])
        below = max((size for size in sizes if size <= photos), default=enough)
        batches.append(enough if enough - photos <= max_padding * enough else below)
        photos -= batches[-1]
    return batches
