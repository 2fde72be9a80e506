"""The order in which training photos are drawn: a grain pipeline whose position can be saved and restored."""

import os
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np

from planespotter_training.dataset import Examples


def batches(examples: Examples, *, batch_size: int, source_balance: float, seed: int) -> Any:
    """Return a grain DatasetIterator over endless batches, drawn from each source by its share.

    A source with n photos is drawn in proportion to n ** source_balance: 1 is in proportion to its photos, 0 is all
    sources alike. A batch is a dict of `photos` uint8 [batch, height, width, 3], `masks`, `constructor_weights` and
    `index`.
    """
    by_source: dict[str, list[int]] = {}
    for index, source in enumerate(examples.sources):
        by_source.setdefault(source, []).append(index)
    weights = np.array([len(indices) ** source_balance for indices in by_source.values()])

    def fetch(index: int) -> dict[str, Any]:
        return {
            "photos": examples.pixels(index),
            "masks": examples.masks[index],
            "constructor_weights": examples.constructor_weights[index],
            "index": np.int64(index),
        }

    def draw(indices: Sequence[int], number: int) -> Any:
        return grain.MapDataset.source(indices).seed(seed + number).shuffle().repeat()

    drawn = [draw(indices, number) for number, indices in enumerate(by_source.values())]
    mixed = grain.MapDataset.mix(drawn, weights=(weights / weights.sum()).tolist()) if len(drawn) > 1 else drawn[0]
    dataset = mixed.map(fetch).batch(batch_size)
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=os.cpu_count() or 1, prefetch_buffer_size=4)))
