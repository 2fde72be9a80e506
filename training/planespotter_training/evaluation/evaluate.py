"""Evaluation of a bundle on the photos of a catalog, with the code that serves it."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from planespotter_models import (
    Bundle,
    Engine,
    EngineChoice,
    Label,
    LabelTree,
    Metric,
    PhotoError,
    decode_photo,
    load_engine,
    read_bundle,
)
from planespotter_scraping import catalog
from planespotter_training.data.split import airframes
from planespotter_training.data.training_fingerprint import USED, match_splits
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.metrics import METRICS, summarize
from planespotter_training.evaluation.scoring import Nodes, Rows, number_nodes, score
from planespotter_training.phases import phase

BATCH = 32


@dataclass(frozen=True)
class Evaluation:
    """A bundle and its scored predictions for the photos of a catalog, each photo once."""

    bundle: Bundle
    engine: Engine
    folder: Path
    """The catalog's."""
    split: str
    photos: pd.DataFrame
    """The rows of the catalog that were evaluated; column `split` is the split they have in the bundle's training."""
    nodes: Nodes
    rows: Rows
    """One per photo in `photos`, in the same order."""
    skipped: Sequence[tuple[str, str]]
    """Files that cannot be decoded, each with the reason."""
    split_sizes: dict[str, int]
    """Photos of the whole catalog in each split of the bundle's training."""
    unlabelled: int
    """Selected photos without a constructor, which were not evaluated."""

    @property
    def metrics(self) -> list[Metric]:
        """The summary of all photos and of each source, as in a bundle."""
        return summarize(self.nodes, self.rows)


def evaluate(
    bundle_folder: Path,
    catalog_folder: Path,
    split: str,
    console: Console,
    sources: Sequence[str] = (),
    airlines: Sequence[str] = (),
    engine_name: str = EngineChoice.AUTO,
) -> Evaluation:
    """Evaluate a bundle.

    Args:
        bundle_folder: Folder of the bundle.
        catalog_folder: Folder of the catalog.
        split: "train", "validation" or "test" of the bundle's training, by its training fingerprint; or "all". "test"
            is everything that the bundle was not made with.
        console: For progress and photos that are skipped because they cannot be decoded.
        sources: Only photos of these sources; all if empty.
        airlines: Only photos of these airlines; all if empty.
        engine_name: An EngineChoice.

    Raises:
        BundleError: The bundle cannot be read.
        CatalogError: The catalog cannot be read, or an image is missing or altered.
        TrainingError: No photos are left to evaluate.
    """
    model = read_bundle(bundle_folder)
    photos = catalog.read(catalog_folder)
    catalog.check(catalog_folder, photos)
    with phase(console, "Searching for near duplicates"):
        near_duplicates = catalog.near_duplicate_groups(catalog_folder, photos)
    fingerprint = model.training.get("training_fingerprint")
    photos["split"] = match_splits(fingerprint, photos, catalog_folder, near_duplicates)
    split_sizes = {str(name): int(n) for name, n in photos["split"].value_counts().items()}
    selected = _select(photos, catalog_folder, split, sources, airlines)
    photos = selected[selected["constructor"] != ""]
    catalog.check(catalog_folder, photos, hashes=True)
    if photos.empty:
        raise TrainingError(
            f"None of the selected photos of {catalog_folder} ({len(selected):,}) has a constructor, so there is no "
            "ground truth. Fill in the column constructor, or select others."
        )
    engine = load_engine(model, (BATCH,), engine_name)
    outputs, photos, skipped = predict_photos(
        model.tree, (model.height, model.width), engine.run, catalog_folder, photos, console
    )
    if photos.empty:
        raise TrainingError(
            f"None of the photos ({len(skipped):,}) could be decoded. Check the catalog {catalog_folder}."
        )
    labels = [Label(*row) for row in photos[["constructor", "family", "model"]].itertuples(index=False)]
    rows = score(model.tree, model.calibration, outputs, labels, list(photos["source"]), list(airframes(photos)))
    return Evaluation(
        bundle=model,
        engine=engine,
        folder=catalog_folder,
        split=split,
        photos=photos.reset_index(drop=True),
        nodes=number_nodes(model.tree),
        rows=rows,
        skipped=skipped,
        split_sizes=split_sizes,
        unlabelled=int((selected["constructor"] == "").sum()),
    )


def _select(
    photos: pd.DataFrame, folder: Path, split: str, sources: Sequence[str], airlines: Sequence[str]
) -> pd.DataFrame:
    for column, names in (("source", sources), ("airline", airlines)):
        known = {str(name).lower(): str(name) for name in photos[column].unique() if name}
        for name in names:
            if name.lower() not in known:
                some = ", ".join(sorted(known.values())[:12]) or "none"
                raise TrainingError(f"{folder} has no photo of the {column} {name!r}. It has: {some}.")
        if names:
            photos = photos[photos[column].str.lower().isin([name.lower() for name in names])]
    selected = photos if split == "all" else photos[photos["split"] == split]
    if selected.empty:
        raise TrainingError(
            f"None of the selected photos of {folder} ({len(photos):,}) is in the split {split!r} for this bundle. Try "
            "--split all."
        )
    return selected


def predict_photos(
    tree: LabelTree,
    size: tuple[int, int],
    run: Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]],
    folder: Path,
    photos: pd.DataFrame,
    console: Console,
) -> tuple[dict[str, NDArray[np.float32]], pd.DataFrame, list[tuple[str, str]]]:
    """Decode and predict photos of a catalog.

    Args:
        tree: Label tree of the network.
        size: Height and width of its input in pixels.
        run: Takes at most BATCH photos uint8 [n, *size, 3]; returns log-probabilities [n, classes] per head of `tree`.
        folder: Folder of the catalog.
        photos: Rows of the catalog.
        console: For progress and photos that are skipped.

    Returns:
        Log-probabilities [n, classes] per head; the n rows of `photos` that have them; and the files that cannot be
        decoded, each with the reason.
    """
    skipped: list[tuple[str, str]] = []

    def decode(file: str) -> NDArray[np.uint8] | None:
        try:
            return decode_photo((folder / file).read_bytes(), *size)
        except (PhotoError, OSError) as error:
            console.print(f"Skipped {file}: {error}", style="yellow", highlight=False, soft_wrap=True)
            skipped.append((file, str(error)))
            return None

    outputs: list[dict[str, NDArray[np.float32]]] = []
    readable: list[bool] = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        Progress(console=console, disable=not console.is_terminal) as progress,
    ):
        bar = progress.add_task("evaluating", total=len(photos))
        for start in range(0, len(photos), BATCH):
            decoded = list(pool.map(decode, photos["file"][start : start + BATCH]))
            readable += [pixels is not None for pixels in decoded]
            if any(pixels is not None for pixels in decoded):
                outputs.append(run(np.stack([pixels for pixels in decoded if pixels is not None])))
            progress.advance(bar, len(decoded))
    joined = {head: np.concatenate([part[head] for part in outputs]) for head in tree.heads} if outputs else {}
    return joined, photos[np.array(readable, bool)], skipped


def held_out_groups(evaluation: Evaluation) -> dict[str, Rows]:
    """Group the rows by the sources and airlines that were held out of training, and "others"; {} if none were."""
    held_out = evaluation.bundle.training.get("held_out") or {}
    photos, remaining = evaluation.photos, np.ones(len(evaluation.photos), bool)
    groups: dict[str, Rows] = {}
    for column in ("source", "airline"):
        for name in held_out.get(f"{column}s", ()):
            mask = (photos[column].str.lower() == name.lower()).to_numpy()
            if mask.any():
                groups[f"{column} {name}"] = evaluation.rows[mask]
            remaining &= ~mask
    return groups | ({"others": evaluation.rows[remaining]} if groups and remaining.any() else {})


def remarks(evaluation: Evaluation) -> list[str]:
    """Describe in sentences which photos the metrics were measured on."""
    sizes, used = evaluation.split_sizes, evaluation.photos["split"].isin(USED).sum()
    sentences = [
        f"{catalog.count_noun(len(evaluation.rows), 'photo')}, each counted once, predicted by "
        f"{evaluation.engine.description}."
    ]
    if used:
        sentences.append(
            f"WARNING: the bundle was trained or calibrated on {used:,} of them: these metrics are too optimistic."
        )
    elif sizes.get("train") or sizes.get("validation"):
        sentences.append(
            f"Excluded: {sizes.get('train', 0):,} that the bundle was trained on, "
            f"{sizes.get('validation', 0):,} that it was calibrated on."
        )
    if evaluation.skipped:
        sentences.append(f"{len(evaluation.skipped):,} could not be decoded: not counted.")
    if evaluation.unlabelled:
        sentences.append(f"{evaluation.unlabelled:,} without a constructor: not evaluated.")
    return sentences


def held_out_table(evaluation: Evaluation) -> Table | None:
    """Return a table of the held-out groups next to the other photos; None if nothing was held out by name."""
    summaries = {name: summarize(evaluation.nodes, part) for name, part in held_out_groups(evaluation).items()}
    metrics = [replace(metric, source=name) for name, part in summaries.items() for metric in part if not metric.source]
    return table(metrics, "held out of training") if metrics else None


def table(metrics: list[Metric] | tuple[Metric, ...], title: str = "metric (photos)") -> Table:
    """Return a table with a row per metric and a column per source; cells hold value and number of photos."""
    sources = list(dict.fromkeys(metric.source for metric in metrics))
    names = list(dict.fromkeys(metric.name for metric in metrics))
    cells = {(metric.source, metric.name): f"{metric.value:.1%}\n({metric.photos:,})" for metric in metrics}
    result = Table(title, *(Column(source or "all", no_wrap=True) for source in sources))
    for name in names:
        title = METRICS[name].title if name in METRICS else name.replace("_", " ")
        result.add_row(title, *(cells.get((source, name), "") for source in sources))
    return result
