"""Leave one source out: train a run without each source in turn, and measure it on that source.

DIR/without-SOURCE             the run without a source
DIR/frozen_features            the features of frozen layers, which all runs share
DIR/leave_one_source_out.html  a page with the metrics of each run on its source, and their mean
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from planespotter_scraping import catalog
from planespotter_training import run_folder
from planespotter_training.atomic_write import write_text
from planespotter_training.errors import TrainingError
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.prepare_run import train_only_sources
from planespotter_training.loop.train import train
from planespotter_training.reports.compare_runs import compare, held_out_groups
from planespotter_training.reports.held_out_table import COLUMNS, held_out_table
from planespotter_training.reports.pages import page

NAME = "leave_one_source_out"


def train_leave_one_source_out(job: TrainJob, console: Console) -> Table | None:
    """Train a run without each source into folders of `job.out`, and measure them. Runs that are complete are kept.

    Args:
        job: What to train; each run holds out one source in addition.
        console: For progress.

    Returns:
        The metrics of each run on its source, and their mean; None if training was stopped.

    Raises:
        TrainingError, CatalogError: See `train` and `sources_to_hold_out`.
    """
    sources = sources_to_hold_out(job)
    folders = [job.out / f"without-{quote(source, safe=' ')}" for source in sources]
    cache = job.feature_cache or job.out / "frozen_features"
    for number, (source, folder) in enumerate(zip(sources, folders, strict=True), start=1):
        console.rule(f"{number} of {len(sources)}: without {source}")
        held_out = {**job.held_out, "sources": [source]}
        if not train(replace(job, out=folder, held_out=held_out, feature_cache=cache), console):
            return None
    return write_table(job.out, folders, console)


def sources_to_hold_out(job: TrainJob) -> list[str]:
    """Return the sources with photos of the constructors of `job`, without those for training only.

    Raises:
        TrainingError: There is no such source, or one of them has all photos of a constructor.
        CatalogError: The catalog cannot be read.
    """
    photos = catalog.read(job.catalog)
    folded = {name.lower() for name in job.constructors}
    inside = photos[photos["constructor"].str.lower().isin(folded)]
    for_training = train_only_sources(job, photos)
    candidates = inside["source"][~inside["source"].isin([*for_training, ""])]
    sources = sorted({source.lower(): source for source in candidates}.values())
    if not sources:
        raise TrainingError(
            f"The catalog {job.catalog} has no source to hold out: it needs named sources with photos of "
            f"{', '.join(job.constructors)} that are not for training only."
        )
    for source in sources:
        rest = inside["constructor"][inside["source"].str.lower() != source.lower()]
        if missing := sorted(set(inside["constructor"]) - set(rest)):
            raise TrainingError(
                f"Without the source {source!r}, the catalog has no photo of {', '.join(missing)}. Collect photos of "
                "them from other sources, or exclude them with --constructors."
            )
    return sources


def write_table(out: Path, folders: Sequence[Path], console: Console) -> Table:
    """Measure the runs in `folders`, write the page to `out`, and return its table for a terminal."""
    groups = held_out_groups(compare(folders, console).subjects)
    run = run_folder.read(folders[0])
    write_text(out / f"{NAME}.html", page(f"{NAME}.html", run=run, held_out=groups, held_out_columns=COLUMNS))
    return held_out_table(groups)
