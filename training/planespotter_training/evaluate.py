"""Measure a bundle on a catalog, with the very code that serves it."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from planespotter_scraping import catalog
from planespotter_training import bundle
from planespotter_training.bundle import Label, Metric, PhotoError
from planespotter_training.errors import TrainingError
from planespotter_training.metrics import measure
from planespotter_training.split import assign

BATCH = 32


def evaluate(bundle_folder: Path, catalog_folder: Path, split: str, console: Console) -> list[Metric]:
    """Return the metrics of the bundle on the photos of the catalog that are on the side `split`, or on "all".

    A photo that cannot be decoded is named and left out. Raises BundleError, CatalogError or TrainingError.
    """
    model = bundle.read(bundle_folder)
    photos = catalog.read(catalog_folder)
    photos = photos if split == "all" else photos[assign(photos) == split]
    photos = photos[photos["constructor"] != ""]
    catalog.check(catalog_folder, photos, hashes=True)
    if photos.empty:
        raise TrainingError(
            f"The catalog {catalog_folder} has no labelled photo on the side {split!r}. Try --split all."
        )
    engine = bundle.load_engine(model, (BATCH,))
    rows = photos[["file", "source", "constructor", "family", "model"]].to_dict("records")

    def decode(row: dict[str, str]) -> np.ndarray | None:
        try:
            return bundle.decode((catalog_folder / row["file"]).read_bytes(), model.height, model.width)
        except (PhotoError, OSError) as error:
            console.print(f"Left out {row['file']}: {error}", style="yellow", highlight=False, soft_wrap=True)
            return None

    outputs: list[dict[str, np.ndarray]] = []
    kept = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        Progress(console=console, disable=not console.is_terminal) as progress,
    ):
        bar = progress.add_task("evaluating", total=len(rows))
        for start in range(0, len(rows), BATCH):
            chunk = rows[start : start + BATCH]
            decoded = [
                (row, pixels) for row, pixels in zip(chunk, pool.map(decode, chunk), strict=True) if pixels is not None
            ]
            kept += [row for row, _ in decoded]
            if decoded:
                outputs.append(engine.run(np.stack([pixels for _, pixels in decoded])))
            progress.advance(bar, len(chunk))
    if not kept:
        raise TrainingError(f"None of the {len(rows)} photos could be decoded. Check the catalog {catalog_folder}.")
    together = {head: np.concatenate([part[head] for part in outputs]) for head in model.tree.heads}
    labels = [Label(row["constructor"], row["family"], row["model"]) for row in kept]
    return measure(model.tree, model.calibration, together, labels, [row["source"] for row in kept])


def table(metrics: list[Metric] | tuple[Metric, ...]) -> Table:
    """Return `metrics` as a table: a line for each metric, a column for each source, with the number of photos."""
    sources = list(dict.fromkeys(metric.source for metric in metrics))
    names = list(dict.fromkeys(metric.name for metric in metrics))
    cells = {(metric.source, metric.name): f"{metric.value:.1%}\n({metric.photos:,})" for metric in metrics}
    made = Table("measured (photos)", *(Column(source or "all", no_wrap=True) for source in sources))
    for name in names:
        made.add_row(name.replace("_", " "), *(cells.get((source, name), "") for source in sources))
    return made
