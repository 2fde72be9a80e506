"""Answer the photos of a catalog with a bundle, by the very code that serves it, and judge the answers."""

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
from planespotter_training.data.training_fingerprint import USED, recall
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.metrics import summary
from planespotter_training.evaluation.scoring import Nodes, Rows, judge, number

BATCH = 32


@dataclass(frozen=True)
class Evaluation:
    """A bundle and how it answered the photos of a catalog, each of them once."""

    bundle: Bundle
    engine: Engine
    folder: Path
    """Of the catalog."""
    split: str
    photos: pd.DataFrame
    """The rows of the catalog that were answered, with a column `split` for how the bundle knows them."""
    nodes: Nodes
    rows: Rows
    """One for each of `photos`, in the same order."""
    left_out: Sequence[tuple[str, str]]
    """Files that cannot be decoded, each with the reason."""
    sides: dict[str, int]
    """How many photos of the catalog, before any choice, the bundle was made with: by side."""
    unlabelled: int
    """How many photos that were chosen name no constructor, and so were not answered."""

    @property
    def metrics(self) -> list[Metric]:
        """The summary by source, as a bundle has it."""
        return summary(self.nodes, self.rows)


def evaluate(
    bundle_folder: Path,
    catalog_folder: Path,
    split: str,
    console: Console,
    sources: Sequence[str] = (),
    airlines: Sequence[str] = (),
    engine_name: str = EngineChoice.AUTO,
) -> Evaluation:
    """Answer the photos of the catalog that are, for the bundle, on the side `split`, or all of them if it is "all".

    The side "test" is what the bundle was made without: see `seen.recall`. With `sources` or `airlines`, only their
    photos. A photo that cannot be decoded is named and left out. Raises BundleError, CatalogError or TrainingError.
    """
    model = read_bundle(bundle_folder)
    photos = catalog.read(catalog_folder)
    catalog.check(catalog_folder, photos)
    with console.status("Looking for photos that look alike"):
        looks = catalog.near_duplicate_groups(catalog_folder, photos)
    photos["split"] = recall(model.training.get("training_fingerprint"), photos, catalog_folder, looks)
    sides = {str(side): int(n) for side, n in photos["split"].value_counts().items()}
    chosen = _choose(photos, catalog_folder, split, sources, airlines)
    photos = chosen[chosen["constructor"] != ""]
    catalog.check(catalog_folder, photos, hashes=True)
    if photos.empty:
        raise TrainingError(
            f"None of the {len(chosen):,} photos of {catalog_folder} that were chosen names its constructor, so there "
            "is nothing to hold the answers against. Fill in the column constructor, or choose others."
        )
    engine = load_engine(model, (BATCH,), engine_name)
    outputs, photos, left_out = answer_photos(
        model.tree, (model.height, model.width), engine.run, catalog_folder, photos, console
    )
    if photos.empty:
        raise TrainingError(f"None of the {len(left_out)} photos could be decoded. Check the catalog {catalog_folder}.")
    labels = [Label(*row) for row in photos[["constructor", "family", "model"]].itertuples(index=False)]
    rows = judge(model.tree, model.calibration, outputs, labels, list(photos["source"]), list(airframes(photos)))
    return Evaluation(
        bundle=model,
        engine=engine,
        folder=catalog_folder,
        split=split,
        photos=photos.reset_index(drop=True),
        nodes=number(model.tree),
        rows=rows,
        left_out=left_out,
        sides=sides,
        unlabelled=int((chosen["constructor"] == "").sum()),
    )


def _choose(
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
    found = photos if split == "all" else photos[photos["split"] == split]
    if found.empty:
        raise TrainingError(
            f"None of the {len(photos):,} photos of {folder} that were chosen is on the side {split!r} for this "
            "bundle. Try --split all."
        )
    return found


def answer_photos(
    tree: LabelTree,
    size: tuple[int, int],
    run: Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]],
    folder: Path,
    photos: pd.DataFrame,
    console: Console,
) -> tuple[dict[str, NDArray[np.float32]], pd.DataFrame, list[tuple[str, str]]]:
    """Return log-probabilities [n, classes] per head, the n rows of `photos` that have them, and what was left out.

    `run` takes at most BATCH photos uint8 [n, *size, 3] and returns log-probabilities [n, classes] for each head of
    `tree`. What is left out are files that cannot be decoded, each with the reason.
    """
    left_out: list[tuple[str, str]] = []

    def decode(file: str) -> NDArray[np.uint8] | None:
        try:
            return decode_photo((folder / file).read_bytes(), *size)
        except (PhotoError, OSError) as error:
            console.print(f"Left out {file}: {error}", style="yellow", highlight=False, soft_wrap=True)
            left_out.append((file, str(error)))
            return None

    outputs: list[dict[str, NDArray[np.float32]]] = []
    kept: list[bool] = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        Progress(console=console, disable=not console.is_terminal) as progress,
    ):
        bar = progress.add_task("evaluating", total=len(photos))
        for start in range(0, len(photos), BATCH):
            decoded = list(pool.map(decode, photos["file"][start : start + BATCH]))
            kept += [pixels is not None for pixels in decoded]
            if any(pixels is not None for pixels in decoded):
                outputs.append(run(np.stack([pixels for pixels in decoded if pixels is not None])))
            progress.advance(bar, len(decoded))
    together = {head: np.concatenate([part[head] for part in outputs]) for head in tree.heads} if outputs else {}
    return together, photos[np.array(kept, bool)], left_out


def left_out_of_training(evaluation: Evaluation) -> dict[str, Rows]:
    """Return the rows of each source and airline that training left out by name, and of the others; {} if none was."""
    named = evaluation.bundle.training.get("held_out") or {}
    photos, others = evaluation.photos, np.ones(len(evaluation.photos), bool)
    groups: dict[str, Rows] = {}
    for column in ("source", "airline"):
        for name in named.get(f"{column}s", ()):
            mask = (photos[column].str.lower() == name.lower()).to_numpy()
            if mask.any():
                groups[f"{column} {name}"] = evaluation.rows[mask]
            others &= ~mask
    return groups | ({"others": evaluation.rows[others]} if groups and others.any() else {})


def remarks(evaluation: Evaluation) -> list[str]:
    """Return sentences on what the figures were measured on, for whoever reads them."""
    sides, used = evaluation.sides, evaluation.photos["split"].isin(USED).sum()
    said = [f"{len(evaluation.rows):,} photos, each counted once, answered by {evaluation.engine.description}."]
    if used:
        said.append(f"WARNING: the bundle was trained or calibrated on {used:,} of them: these figures flatter.")
    elif sides.get("train") or sides.get("validation"):
        said.append(
            f"Left aside: {sides.get('train', 0):,} that the bundle was trained on, "
            f"{sides.get('validation', 0):,} that it was calibrated on."
        )
    if evaluation.left_out:
        said.append(f"{len(evaluation.left_out):,} could not be decoded and count nowhere.")
    if evaluation.unlabelled:
        said.append(f"{evaluation.unlabelled:,} name no constructor and were not answered.")
    return said


def table_of_left_out(evaluation: Evaluation) -> Table | None:
    """Return what training left out beside the others as a table, or None if nothing was left out by name."""
    groups = left_out_of_training(evaluation)
    found = {name: summary(evaluation.nodes, part) for name, part in groups.items()}
    metrics = [replace(one, source=name) for name, part in found.items() for one in part if not one.source]
    return table(metrics, "left out of training") if metrics else None


def table(metrics: list[Metric] | tuple[Metric, ...], title: str = "measured (photos)") -> Table:
    """Return `metrics` as a table: a line for each metric, a column for each source, with the number of photos."""
    sources = list(dict.fromkeys(metric.source for metric in metrics))
    names = list(dict.fromkeys(metric.name for metric in metrics))
    cells = {(metric.source, metric.name): f"{metric.value:.1%}\n({metric.photos:,})" for metric in metrics}
    made = Table(title, *(Column(source or "all", no_wrap=True) for source in sources))
    for name in names:
        made.add_row(name.replace("_", " "), *(cells.get((source, name), "") for source in sources))
    return made
