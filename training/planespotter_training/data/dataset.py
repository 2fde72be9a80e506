"""Dataset: the photos of a catalog as TensorFlow Datasets in array_record files, read without TensorFlow.

RUN/dataset/catalog_photos/1.0.0/   train, validation and test: the original image files, with their labels
"""

import contextlib
import io
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds
from numpy.typing import NDArray

from planespotter_models import Label, LabelTree, PhotoError, decode_photo
from planespotter_training.data.split import SPLITS
from planespotter_training.errors import TrainingError
from planespotter_training.network.loss import leaf_mask
from planespotter_training.recipes.config import Recipe

TEXTS = ("photo_id", "source", "constructor", "family", "model")

CACHE_BYTES = 4 * 2**30
"""Up to this size in bytes, decoded photos are cached in memory; larger data sets are decoded on each access."""

MAX_WEIGHT = 4.0
"""Maximum weight of a photo, so that a few photos of a constructor that is rare in its source do not dominate."""


class CatalogPhotos(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Builds the dataset from the rows of a catalog with a column `split`; an empty split is not written."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, photos: pd.DataFrame, folder: Path, **kwargs: Any) -> None:
        self._photos, self._folder = photos, folder
        super().__init__(**kwargs)

    def _info(self) -> Any:
        texts = {name: tfds.features.Text() for name in TEXTS}
        features = tfds.features.FeaturesDict({"photo": tfds.features.Image(shape=(None, None, 3)), **texts})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _: object) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        parts = {split: self._photos[self._photos["split"] == split] for split in SPLITS}
        return {split: self._generate_examples(photos) for split, photos in parts.items() if len(photos)}

    def _generate_examples(self, photos: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
        for row in photos.to_dict("records"):
            data = (self._folder / str(row["file"])).read_bytes()
            yield str(row["photo_id"]), {"photo": data, **{name: row[name] for name in TEXTS}}


def readable(photos: pd.DataFrame, folder: Path, skip: Callable[[str, Exception], None]) -> pd.DataFrame:
    """Select the rows of the catalog in `folder` whose images can be decoded; call `skip` with each other file."""

    def fault(file: str) -> PhotoError | OSError | None:
        try:
            decode_photo((folder / file).read_bytes(), 32, 32)
        except (PhotoError, OSError) as error:
            return error
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = list(pool.map(fault, photos["file"]))
    for file, error in zip(photos["file"], faults, strict=True):
        if error is not None:
            skip(file, error)
    return photos[[error is None for error in faults]]


def prepare(photos: pd.DataFrame, folder: Path, out: Path) -> None:
    """Write the dataset below `out`, replacing an existing one.

    Args:
        photos: Readable rows of the catalog, with a column `split`.
        folder: Folder of the catalog.
        out: Folder of the dataset.

    Raises:
        TrainingError: The train or validation split is empty.
    """
    for split in ("train", "validation"):
        if not (photos["split"] == split).any():
            raise TrainingError(
                f"The {split} split has none of the photos that can be used ({len(photos):,}). Collect more photos."
            )
    shutil.rmtree(out, ignore_errors=True)
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints where it writes
        CatalogPhotos(photos, folder, data_dir=out, file_format="array_record").download_and_prepare()


def share(source: Path, out: Path) -> None:
    """Create the dataset below `out` from the files of the one below `source`, without using more disk space.

    The files are hard links, so either folder may be deleted; on a disk without hard links they are copies.
    """
    shutil.rmtree(out, ignore_errors=True)
    try:
        shutil.copytree(source, out, copy_function=os.link)
    except (OSError, shutil.Error):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(source, out)


def reopen(out: Path) -> dict[str, Sequence[dict[str, Any]]]:
    """Open the dataset that `prepare` wrote below `out`.

    Returns:
        A sequence of examples for each split. An example holds `photo`, the bytes of the file, and TEXTS.

    Raises:
        TrainingError: There is no dataset.
    """
    folder = out / "catalog_photos" / str(CatalogPhotos.VERSION)
    if not folder.is_dir():
        raise TrainingError(f"There is no dataset at {folder}. `planespotter train` writes it; train again.")
    builder = tfds.builder_from_directory(folder)
    decoders = {"photo": tfds.decode.SkipDecoding()}
    return {
        split: builder.as_data_source(split=split, decoders=decoders) if split in builder.info.splits else []
        for split in SPLITS
    }


@dataclass(frozen=True)
class Examples:
    """The examples of one split, in a fixed order; arrays have one entry per photo."""

    photo_ids: list[str]
    sources: list[str]
    labels: list[Label]
    masks: NDArray[np.bool_]
    """Leaves at or below each label: [n, leaves], and whether it is outside the tree, if that is an output."""
    constructor_weights: NDArray[np.float32]
    """Weight of each photo in the constructor head: see `constructor_weights`."""
    pixels: Callable[[int], NDArray[np.uint8]]
    """The photo at an index as uint8 RGB [height, width, 3]."""
    cache: NDArray[np.uint8] | None
    """All photos [n, height, width, 3], unless they are larger than the limit."""
    soft_labels: NDArray[np.float32] | None = None
    """A teacher's log-probabilities [n, leaves (+ 1)] of each photo."""

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, mask: Sequence[bool]) -> Self:
        """Return the examples in `mask` [n]."""
        chosen = np.flatnonzero(mask)
        return replace(
            self,
            photo_ids=[self.photo_ids[index] for index in chosen],
            sources=[self.sources[index] for index in chosen],
            labels=[self.labels[index] for index in chosen],
            masks=self.masks[chosen],
            constructor_weights=self.constructor_weights[chosen],
            pixels=lambda index: self.pixels(int(chosen[index])),
            cache=None,
            soft_labels=None if self.soft_labels is None else self.soft_labels[chosen],
        )


def load(
    source: Sequence[dict[str, Any]],
    tree: LabelTree,
    recipe: Recipe,
    counts: Mapping[str, Mapping[str, int]],
    cache_bytes: int = CACHE_BYTES,
) -> Examples:
    """Load the examples of a split.

    Args:
        source: From `reopen`.
        tree: Label tree of the network.
        recipe: For the input size and the weight of single-constructor sources.
        counts: Number of training photos of each constructor, by source.
        cache_bytes: Maximum size of decoded photos in bytes up to which they are cached.
    """
    shape = (len(source), recipe.height, recipe.width, 3)
    cache = np.empty(shape, np.uint8) if math.prod(shape) <= cache_bytes else None

    def read(index: int) -> dict[str, str]:
        row = source[index]
        if cache is not None:
            cache[index] = decode_photo(row["photo"], recipe.height, recipe.width)
        return {name: row[name].decode() for name in TEXTS}

    def fetch(index: int) -> NDArray[np.uint8]:
        return decode_photo(source[index]["photo"], recipe.height, recipe.width)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = list(pool.map(read, range(len(source))))
    labels = [Label(row["constructor"], row["family"], row["model"]) for row in texts]
    masks = np.zeros((len(labels), len(tree.all_leaves) + tree.other), bool)
    for index, label in enumerate(labels):
        masks[index] = leaf_mask(tree, tree.clip(label))
    sources = [row["source"] for row in texts]
    return Examples(
        photo_ids=[row["photo_id"] for row in texts],
        sources=sources,
        labels=labels,
        masks=masks,
        constructor_weights=constructor_weights(sources, labels, counts, tree, recipe.single_constructor_weight),
        pixels=fetch if cache is None else cache.__getitem__,
        cache=cache,
    )


def constructor_weights(
    sources: Sequence[str],
    labels: Sequence[Label],
    counts: Mapping[str, Mapping[str, int]],
    tree: LabelTree,
    single_constructor_weight: float,
) -> NDArray[np.float32]:
    """Compute the weight of each photo in the constructor head.

    Within a source, each output of the head has the same total weight, up to MAX_WEIGHT per photo; the mean is about 1.
    Photos of a source with a single constructor get `single_constructor_weight`. At full weight, they would teach the
    head to recognise the source instead of the aircraft; at 0, it would never see that constructor in that setting. A
    source with none of the tree's constructors has full weight: it is there to teach the `other` output.

    Args:
        sources: Source of each photo.
        labels: Label of each photo.
        counts: Number of training photos of each constructor, by source.
        tree: Label tree; all constructors outside it count as one.
        single_constructor_weight: Weight of the photos of a source with one constructor of the tree and nothing else.

    Returns:
        Weights [n], 0 where training saw no photos of that constructor in that source.
    """
    outputs: dict[str, Counter[str]] = {}
    for source, of_source in counts.items():
        for name, n in of_source.items():
            outputs.setdefault(source, Counter())[tree.clip(Label(name)).constructor] += n
    weights = np.zeros(len(labels), np.float32)
    for index, (source, label) in enumerate(zip(sources, labels, strict=True)):
        constructor, seen = tree.clip(label).constructor, outputs.get(source, Counter())
        if not seen[constructor] or not (constructor or tree.other):
            continue
        if len(seen) > 1:
            weights[index] = min(MAX_WEIGHT, seen.total() / len(seen) / seen[constructor])
        else:
            weights[index] = single_constructor_weight if constructor else 1
    return weights
