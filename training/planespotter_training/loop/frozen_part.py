"""Frozen part: compute the layers that are not trained once per view of a photo, and keep the result on disk.

A view is one random augmentation of a photo. The features of a view are quantized to uint8, with one scale per channel.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from planespotter_training.data.augment import Augmentation, augment
from planespotter_training.data.dataset import Examples
from planespotter_training.data.feature_cache import FeatureCache, Features, content_key, open_cache
from planespotter_training.errors import TrainingError
from planespotter_training.loop.job import TrainJob
from planespotter_training.network.model import Classifier
from planespotter_training.recipes.config import Recipe

CHUNK = 16
"""Photos per compiled call; a last chunk is padded."""

PLAIN = 255
"""View without augmentation, for validation."""

SCALE_PHOTOS = 256
"""Photos on which the scales are measured."""

HEADROOM = 1.25
"""Factor on the largest value measured, as augmented photos have larger ones; what exceeds it saturates."""


class FrozenPart:
    """The frozen layers of a network, with a cache of their output."""

    def __init__(self, trunk: Any, recipe: Recipe, cache: FeatureCache) -> None:
        self._recipe, self._cache = recipe, cache
        self.scale = np.array(cache.meta["scale"], np.float32).reshape(1, 1, 1, -1)
        """Step of each channel of the quantized features: [1, 1, 1, channels]."""
        graph, state = nnx.split(trunk)
        state = jax.tree.map(jnp.copy, state)  # the train step overwrites the original
        settings = Augmentation.of(recipe)

        def compute(state: Any, photos: jax.Array, numbers: jax.Array, plain: jax.Array) -> jax.Array:
            keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.key(recipe.seed), number))(numbers)
            views = jax.vmap(lambda photo, key: augment(photo[None], key, settings)[0])(photos, keys)
            views = jnp.where(plain[:, None, None, None], photos, views)
            features = nnx.merge(graph, state).frozen_part(views).astype(jnp.float32)
            return jnp.clip(jnp.round(features / self.scale), 0, 255).astype(jnp.uint8)

        self._compute = partial(jax.jit(compute), state)

    def training_batch(
        self, batch: Mapping[str, NDArray[Any]], examples: Examples, step: int
    ) -> dict[str, NDArray[Any]]:
        """Add to a batch of the sampler the `features` of a view of each photo, chosen at random by step.

        Returns:
            The batch with `features` uint8 [n, rows, columns, channels].
        """
        random = np.random.default_rng((self._recipe.seed, step))
        views = random.integers(self._recipe.frozen_views, size=len(batch["index"]))
        return {**batch, "features": self._features(examples, batch["index"], views)}

    def plain(self, examples: Examples, indices: NDArray[np.int64]) -> Features:
        """Return the features of photos as they are: uint8 [n, rows, columns, channels]."""
        return self._features(examples, indices, np.full(len(indices), PLAIN))

    def _features(self, examples: Examples, indices: NDArray[np.int64], views: NDArray[np.int64]) -> Features:
        photos = [examples.pixels(int(index)) for index in indices]
        keys = [content_key(photo, int(view)) for photo, view in zip(photos, views, strict=True)]

        def compute(missing: list[int]) -> Features:
            parts = []
            for start in range(0, len(missing), CHUNK):
                chosen = missing[start : start + CHUNK]
                padded = chosen + chosen[:1] * (CHUNK - len(chosen))
                numbers = np.array([int.from_bytes(hashlib.sha256(keys[index]).digest()[:4]) for index in padded])
                plain = np.array([views[index] == PLAIN for index in padded])
                computed = self._compute(
                    np.stack([photos[index] for index in padded]), numbers.astype(np.uint32), plain
                )
                parts.append(np.asarray(computed)[: len(chosen)])
            return np.concatenate(parts)

        return self._cache.get(keys, compute)


@contextmanager
def open_frozen_part(network: Classifier, job: TrainJob, training: Examples) -> Iterator[FrozenPart]:
    """Open the feature cache of a training.

    Args:
        network: The network with its initial weights.
        job: The training; its recipe has `frozen_views` above 0.
        training: The training photos, on which the scales of a new cache are measured.

    Raises:
        TrainingError: The folder holds other features, or there are several processes.
    """
    if jax.process_count() > 1:
        raise TrainingError(
            "The features of frozen layers are kept for one process only. Train with --set frozen_views=0."
        )
    recipe, trunk = job.recipe, network.trunk
    shape = jax.eval_shape(trunk.frozen_part, jax.ShapeDtypeStruct((1, recipe.height, recipe.width, 3), np.uint8)).shape
    digest = hashlib.sha256()
    for name in trunk.frozen:
        layers = [trunk.layers[name], *([trunk.norms[name]] if name in trunk.norms else [])]
        for array in jax.tree.leaves([nnx.state(layer) for layer in layers]):
            digest.update(np.asarray(array).tobytes())
    identity = {
        "weights": digest.hexdigest(),
        "train_from": recipe.train_from,
        "size": (recipe.height, recipe.width),
        "augmentation": asdict(Augmentation.of(recipe)),
        "seed": recipe.seed,
    }
    if recipe.preprocessing != "bgr-mean":  # else absent, so that earlier caches remain valid
        identity["preprocessing"] = recipe.preprocessing
    folder = job.feature_cache or job.out / "frozen_features"
    with open_cache(folder, identity, shape[1:], lambda: {"scale": _measure_scale(trunk, training)}) as cache:
        yield FrozenPart(trunk, recipe, cache)


def _measure_scale(trunk: Any, training: Examples) -> list[float]:
    """Return the step of each channel: its largest value in some of the photos, with headroom, over 255."""
    graph, state = nnx.split(trunk)
    compute = jax.jit(
        lambda state, photos: nnx.merge(graph, state).frozen_part(photos).astype(jnp.float32).max((0, 1, 2))
    )
    chosen = np.random.default_rng(0).permutation(len(training))[:SCALE_PHOTOS]
    chosen = np.resize(chosen, -(-len(chosen) // CHUNK) * CHUNK)  # repeats some, so that one program fits all chunks
    largest = [
        np.asarray(compute(state, np.stack([training.pixels(int(index)) for index in part])))
        for part in chosen.reshape(-1, CHUNK)
    ]
    return [float(value) for value in np.maximum(np.max(largest, axis=0), 1e-3) * HEADROOM / 255]
