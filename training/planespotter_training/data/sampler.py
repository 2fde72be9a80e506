"""Sampler: a grain pipeline of class-balanced training batches, whose position can be saved and restored."""

import os
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np

from planespotter_training.data.dataset import Examples


def batches(
    examples: Examples,
    *,
    batch_size: int,
    source_balance: float,
    type_balance: float = 1.0,
    seed: int,
    own: slice | None = slice(None),
) -> Any:
    """Sample endless batches, balanced over sources and types.

    Args:
        examples: The training split.
        batch_size: Photos per batch, over all processes.
        source_balance: A source with n photos is sampled in proportion to n ** source_balance: 1 in proportion to its
            photos, 0 all sources equally.
        type_balance: The same for the types within a source.
        seed: Random seed of the order.
        own: The part of each batch that this process decodes; None leaves `photos` out of the batch.

    Returns:
        A grain DatasetIterator over dicts of `masks`, `constructor_weights`, `index` and, where the examples have them,
        `soft_labels` [batch, ...], and `photos` uint8 [own part, height, width, 3].
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, (source, label) in enumerate(zip(examples.sources, examples.labels, strict=True)):
        groups.setdefault((source,) if type_balance == 1 else (source, *label), []).append(index)
    weights = np.array([_weight(groups, key, source_balance, type_balance) for key in groups])

    def fetch(index: Any) -> dict[str, Any]:
        batch = {
            "index": index,
            "masks": examples.masks[index],
            "constructor_weights": examples.constructor_weights[index],
        }
        if examples.soft_labels is not None:
            batch["soft_labels"] = examples.soft_labels[index]
        if own is not None:
            batch["photos"] = np.stack([examples.pixels(int(number)) for number in index[own]])
        return batch

    def draw(indices: Sequence[int], number: int) -> Any:
        return grain.MapDataset.source(indices).seed(seed + number).shuffle().repeat()

    drawn = [draw(indices, number) for number, indices in enumerate(groups.values())]
    mixed = grain.MapDataset.mix(drawn, weights=(weights / weights.sum()).tolist()) if len(drawn) > 1 else drawn[0]
    dataset = mixed.batch(batch_size).map(fetch)
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=os.cpu_count() or 1, prefetch_buffer_size=4)))


def _weight(
    groups: dict[tuple[str, ...], list[int]], key: tuple[str, ...], source_balance: float, type_balance: float
) -> float:
    """Return the sampling weight of the group `key`: its source's weight, times the group's share in its source."""
    of_source = [len(indices) for other, indices in groups.items() if other[0] == key[0]]
    share = len(groups[key]) ** type_balance / sum(n**type_balance for n in of_source)
    return float(sum(of_source) ** source_balance * share)
