"""The photos of a catalog as a TensorFlow Datasets data set in array_record files, which needs no TensorFlow.

RUN/dataset/catalog_photos/1.0.0/   train, validation and test: the image files as they were, with their labels
"""

import contextlib
import io
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

# Up to this size in bytes, decoded photos are held in memory; beyond it they are decoded each time they are drawn.
MEMORY = 4 * 2**30

# A few photos of a constructor that a source hardly shows must not outshout all others.
LARGEST_WEIGHT = 4.0


class CatalogPhotos(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Builds the data set from the rows of a catalog, with a column `split`; a side without photos is left out."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, photos: pd.DataFrame, folder: Path, **kwargs: Any) -> None:
        self._photos, self._folder = photos, folder
        super().__init__(**kwargs)

    def _info(self) -> Any:
        texts = {name: tfds.features.Text() for name in TEXTS}
        features = tfds.features.FeaturesDict({"photo": tfds.features.Image(shape=(None, None, 3)), **texts})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _: object) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        sides = {split: self._photos[self._photos["split"] == split] for split in SPLITS}
        return {split: self._generate_examples(photos) for split, photos in sides.items() if len(photos)}

    def _generate_examples(self, photos: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
        for row in photos.to_dict("records"):
            data = (self._folder / str(row["file"])).read_bytes()
            yield str(row["photo_id"]), {"photo": data, **{name: row[name] for name in TEXTS}}


def readable(photos: pd.DataFrame, folder: Path, skip: Callable[[str, Exception], None]) -> pd.DataFrame:
    """Return the rows of `photos`, of the catalog in `folder`, whose images can be decoded; `skip` hears of others."""

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
    """Write the data set below `out`, in place of one that is there.

    `photos` are readable rows of the catalog in `folder` with a column `split`. Raises TrainingError if there are too
    few to train on.
    """
    for split in ("train", "validation"):
        if not (photos["split"] == split).any():
            raise TrainingError(
                f"None of the {len(photos)} photos that can be used falls to the {split} side. Collect more photos."
            )
    shutil.rmtree(out, ignore_errors=True)
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # it would print where it wrote
        CatalogPhotos(photos, folder, data_dir=out, file_format="array_record").download_and_prepare()


def share(of: Path, out: Path) -> None:
    """Make the data set below `out` from the files of the one below `of`, which take no room a second time.

    They are hard links, so either folder may go; where the disk knows none, copies.
    """
    shutil.rmtree(out, ignore_errors=True)
    try:
        shutil.copytree(of, out, copy_function=os.link)
    except (OSError, shutil.Error):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(of, out)


def reopen(out: Path) -> dict[str, Sequence[dict[str, Any]]]:
    """Return the sides of the data set that `prepare` wrote below `out`, as sequences of examples.

    An example holds `photo`, the bytes of the file, and TEXTS. Raises TrainingError if there is no data set.
    """
    folder = out / "catalog_photos" / str(CatalogPhotos.VERSION)
    if not folder.is_dir():
        raise TrainingError(f"There is no data set at {folder}. `planespotter train` writes it; train again.")
    builder = tfds.builder_from_directory(folder)
    decoders = {"photo": tfds.decode.SkipDecoding()}
    return {
        split: builder.as_data_source(split=split, decoders=decoders) if split in builder.info.splits else []
        for split in SPLITS
    }


@dataclass(frozen=True)
class Examples:
    """The examples of one split, in a fixed order; arrays have one entry for each photo."""

    photo_ids: list[str]
    sources: list[str]
    labels: list[Label]
    masks: NDArray[np.bool_]
    """Which leaves lie at or below each label: [n, leaves]."""
    constructor_weights: NDArray[np.float32]
    """How much each photo counts for the constructor head: see `constructor_weights`."""
    pixels: Callable[[int], NDArray[np.uint8]]
    """The photo at an index as uint8 RGB [height, width, 3]."""
    held: NDArray[np.uint8] | None
    """All photos [n, height, width, 3], unless they are too many for the memory."""

    def __len__(self) -> int:
        return len(self.labels)


def load(
    source: Sequence[dict[str, Any]],
    tree: LabelTree,
    recipe: Recipe,
    counts: Mapping[str, Mapping[str, int]],
    memory: int = MEMORY,
) -> Examples:
    """Return the examples of `source`, labelled for `tree` and sized by `recipe`.

    `counts` says how many training photos each source has of each constructor, `memory` how many bytes photos may take.
    """
    shape = (len(source), recipe.height, recipe.width, 3)
    held = np.empty(shape, np.uint8) if math.prod(shape) <= memory else None

    def read(index: int) -> dict[str, str]:
        row = source[index]
        if held is not None:
            held[index] = decode_photo(row["photo"], recipe.height, recipe.width)
        return {name: row[name].decode() for name in TEXTS}

    def fetch(index: int) -> NDArray[np.uint8]:
        return decode_photo(source[index]["photo"], recipe.height, recipe.width)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = list(pool.map(read, range(len(source))))
    labels = [Label(row["constructor"], row["family"], row["model"]) for row in texts]
    leaves = sum(len(of_one) for of_one in tree.leaves.values())
    masks = np.zeros((len(labels), leaves), bool)
    for index, label in enumerate(labels):
        if tree.clip(label).constructor:
            masks[index] = leaf_mask(tree, tree.clip(label))
    return Examples(
        photo_ids=[row["photo_id"] for row in texts],
        sources=[row["source"] for row in texts],
        labels=labels,
        masks=masks,
        constructor_weights=constructor_weights([row["source"] for row in texts], labels, counts, recipe.lone_weight),
        pixels=fetch if held is None else held.__getitem__,
        held=held,
    )


def constructor_weights(
    sources: Sequence[str], labels: Sequence[Label], counts: Mapping[str, Mapping[str, int]], lone_weight: float
) -> NDArray[np.float32]:
    """Return how much each photo counts for the constructor head: [n], 0 where the constructor is not in `counts`.

    Within each source, all constructors weigh the same together, up to LARGEST_WEIGHT for a photo; the mean
    is about 1. Photos of a source with one constructor weigh `lone_weight`. With full weight, they would teach the head
    how the photos of that source look, and not the aircraft; with none, it never sees that constructor in that setting.
    """
    weights = np.zeros(len(labels), np.float32)
    for index, (source, label) in enumerate(zip(sources, labels, strict=True)):
        of_source = counts.get(source, {})
        if label.constructor in of_source:
            balance = sum(of_source.values()) / len(of_source) / of_source[label.constructor]
            weights[index] = min(LARGEST_WEIGHT, balance) if len(of_source) > 1 else lone_weight
    return weights
