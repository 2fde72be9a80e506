"""Accuracy: compare predictions with the ground truth, for the constructor and for the type.

The type is a leaf of the model's label tree. It is compared for photos that are labelled down to a leaf: "Boeing
737-800" is correct if the whole path is; where the tree has other 737s but no 737-800, such a photo counts for the
constructor only. The most probable path is compared, at any confidence level. A photo whose constructor is not in the
tree is out of taxonomy: the only correct prediction is UNKNOWN, so these photos are counted separately.
"""

import csv
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from planespotter_client._errors import PlaneSpotterError
from planespotter_client._types import Level, PhotoResult, Prediction
from planespotter_client.classify import progress
from planespotter_photos.counts import count_noun

if TYPE_CHECKING:
    from planespotter_client import PlaneSpotter

COLUMNS = ("file", "constructor", "family", "model", "source", "aircraft_type")
LABEL_COLUMNS = ("constructor", "aircraft_type")  # one of them is required
CAPTION = (
    "Path accuracy: constructor, family and model are all correct, of photos labelled down to a model, or to a family "
    "that the label tree does not divide. Both accuracies include predictions that are not confident."
)
MAX_UNRESOLVED = 10  # types that are named in a message
Tree = Mapping[str, Mapping[str, Sequence[str]]]


class GroundTruthError(PlaneSpotterError):
    """The ground truth file cannot be used; the text says why and how to fix it."""


@dataclass(frozen=True)
class GroundTruth:
    """The labels of a photo; "" from the level on that is unknown.

    Attributes:
        photo: Path of the photo.
        constructor: Constructor.
        family: Family.
        model: Model.
        source: Source of the photo.
        unresolved: Type text from which the label rules took no family, "" if there is none.
    """

    photo: str
    constructor: str
    family: str
    model: str
    source: str
    unresolved: str = ""

    def __str__(self) -> str:
        return f"{self.constructor} {self.model or self.family}".strip() or "unlabelled"


def read_ground_truth(table: Path, root: Path | None = None) -> list[GroundTruth]:
    """Read a CSV file with the column file, and the labels in constructor, family and model, or in aircraft_type.

    A type ("737-8AS") is parsed with the label rules of a catalog, unless the row names a family. Without a
    constructor, the only one that builds the type is used. The column source is optional.

    Args:
        table: The CSV file.
        root: Folder that the paths in the column file are relative to; by default the folder of `table`.

    Raises:
        GroundTruthError: The file is not CSV in UTF-8, lacks a column, or has no rows.
    """
    folder = table.parent if root is None else root
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            header = rows.fieldnames or []
            missing = ["file"] if "file" not in header else []
            if not set(LABEL_COLUMNS) & set(header):
                missing.append(" or ".join(LABEL_COLUMNS))
            if missing:
                raise GroundTruthError(
                    f"{table} has no column {' and no column '.join(missing)}. Its header must name file and "
                    "constructor, and may name family, model, source and aircraft_type, in any order."
                )
            ground_truths = []
            for row in rows:
                cells = {column: (row.get(column) or "").strip() for column in COLUMNS}
                ground_truths.append(_ground_truth(folder, cells))
                if not cells["file"]:
                    raise GroundTruthError(
                        f"Row {len(ground_truths):,} of {table} (line {rows.line_num:,}) names no photo: its column "
                        "file is empty. Fill it in, or delete the row."
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GroundTruthError(f"{table} cannot be read as a CSV file in UTF-8: {error}.") from error
    if not ground_truths:
        raise GroundTruthError(f"{table} has no rows, so there is nothing to compare with.")
    return ground_truths


def _ground_truth(folder: Path, cells: Mapping[str, str]) -> GroundTruth:
    """Return the labels of a row, by column."""
    from planespotter_scraping.labels.parser import infer_constructor, label_path

    photo, text = str(folder / cells["file"]), cells["aircraft_type"]
    if cells["family"] or cells["model"]:
        constructor = cells["constructor"] or infer_constructor(cells["model"] or cells["family"])
        return GroundTruth(photo, constructor, cells["family"], cells["model"], cells["source"])
    path = label_path(cells["constructor"] or infer_constructor(text), text)
    unresolved = "" if path.family else text
    return GroundTruth(photo, path.constructor, path.family or "", path.model or "", cells["source"], unresolved)


@dataclass
class AccuracyCounts:
    """Counts over photos. The accuracy of no photos is None."""

    photos: int = 0
    failed: int = 0
    unlabelled: int = 0
    constructors: int = 0
    constructors_correct: int = 0
    types: int = 0
    types_correct: int = 0
    out_of_taxonomy: int = 0
    out_of_taxonomy_unknown: int = 0

    @property
    def constructor_accuracy(self) -> float | None:
        """Share of the photos with a constructor of the tree whose constructor is correct."""
        return self.constructors_correct / self.constructors if self.constructors else None

    @property
    def path_accuracy(self) -> float | None:
        """Share of the photos labelled down to a leaf of the tree whose whole path is correct."""
        return self.types_correct / self.types if self.types else None

    @property
    def out_of_taxonomy_recall(self) -> float | None:
        """Share of the out-of-taxonomy photos that are predicted UNKNOWN."""
        return self.out_of_taxonomy_unknown / self.out_of_taxonomy if self.out_of_taxonomy else None

    def add(self, ground_truth: GroundTruth, prediction: Prediction | None, tree: Tree) -> None:
        """Count a photo; `prediction` is None if it failed."""
        self.photos += 1
        if prediction is None:
            self.failed += 1
        elif not ground_truth.constructor:
            self.unlabelled += 1
        elif ground_truth.constructor not in tree:
            self.out_of_taxonomy += 1
            self.out_of_taxonomy_unknown += prediction.level is Level.UNKNOWN
        else:
            expected = clip_to_tree(ground_truth, tree)
            path = tuple(node.name for node in prediction.path)
            self.constructors += 1
            self.constructors_correct += path[0] == expected[0]
            if _is_leaf(expected, tree):
                self.types += 1
                self.types_correct += path[: len(expected)] == expected


def _is_leaf(path: tuple[str, ...], tree: Tree) -> bool:
    """Return whether `path` is a leaf of `tree`. A constructor alone is never one: it is not a type."""
    return len(path) == 3 or (len(path) == 2 and not tree[path[0]][path[1]])


def clip_to_tree(ground_truth: GroundTruth, tree: Tree) -> tuple[str, ...]:
    """Return the path of `ground_truth` as deep as it is labelled and `tree` goes. `tree` must have its constructor."""
    families = tree[ground_truth.constructor]
    if ground_truth.family not in families:
        return (ground_truth.constructor,)
    if ground_truth.model not in families[ground_truth.family]:
        return (ground_truth.constructor, ground_truth.family)
    return (ground_truth.constructor, ground_truth.family, ground_truth.model)


@dataclass
class Comparison:
    """Results compared with the ground truth, overall and by source."""

    tree: Tree
    total: AccuracyCounts = field(default_factory=AccuracyCounts)
    by_source: dict[str, AccuracyCounts] = field(default_factory=dict)
    seconds: float = 0.0
    """Duration of the stream, from its first photo to its last result."""

    def add(self, ground_truth: GroundTruth, result: PhotoResult) -> None:
        """Count the result for a photo."""
        for counts in (self.total, self.by_source.setdefault(ground_truth.source, AccuracyCounts())):
            counts.add(ground_truth, result.prediction, self.tree)

    @property
    def photos_per_second(self) -> float:
        """Throughput of the stream."""
        return self.total.photos / self.seconds if self.seconds else 0.0

    def summary(self) -> Table:
        """Return a table of the accuracies, by source and overall."""
        table = Table("source", title="Accuracy", caption=CAPTION, caption_justify="left")
        headings = ("photos", "constructor accuracy", "path accuracy", "out of taxonomy, predicted unknown", "failed")
        for heading in headings:
            table.add_column(heading, justify="right")
        for source, counts in sorted(self.by_source.items()):
            table.add_row(escape(source) or "(none)", *_cells(counts))
        if len(self.by_source) != 1:
            table.add_section()
            table.add_row("all", *_cells(self.total))
        return table


def _cells(counts: AccuracyCounts) -> Iterator[str]:
    yield f"{counts.photos:,}"
    yield _share(counts.constructor_accuracy, counts.constructors)
    yield _share(counts.path_accuracy, counts.types)
    yield _share(counts.out_of_taxonomy_recall, counts.out_of_taxonomy)
    yield f"{counts.failed:,}"


def _share(share: float | None, total: int) -> str:
    return "-" if share is None else f"{100 * share:.1f} % of {total:,}"


def examples_table(pairs: Iterable[tuple[GroundTruth, PhotoResult]]) -> Table:
    """Return a table of predictions next to the ground truth."""
    table = Table("photo", "ground truth", "prediction", "most probable path", title="Predictions and ground truth")
    for ground_truth, result in pairs:
        prediction = result.prediction
        name = Path(ground_truth.photo).name
        if prediction is None:
            table.add_row(*map(escape, (name, str(ground_truth), f"failed: {result.error}", "")))
            continue
        path = " / ".join(node.name for node in prediction.path)
        table.add_row(*map(escape, (name, str(ground_truth), str(prediction), path)))
    return table


def measure_accuracy(spotter: "PlaneSpotter", table: Path, root: Path | None, show: int) -> bool:
    """Classify the photos of a ground truth file and print the accuracy.

    Args:
        spotter: The client.
        table: The ground truth, see `read_ground_truth`.
        root: Folder that its paths are relative to; by default its own.
        show: How many predictions to print next to the ground truth, spread over the file.

    Returns:
        Whether no photo failed.
    """
    ground_truths = read_ground_truth(table, root)
    comparison = Comparison(spotter.get_model().tree)
    examples: list[tuple[GroundTruth, PhotoResult]] = []
    stride = max(1, len(ground_truths) // show) if show else 0  # the file may be sorted
    aborted: PlaneSpotterError | None = None
    started = time.monotonic()
    try:
        results = spotter.stream([ground_truth.photo for ground_truth in ground_truths])
        for result in progress.track_progress(results, progress.RunStats(), lambda: len(ground_truths)):
            ground_truth = ground_truths[result.index]
            comparison.add(ground_truth, result)
            if result.error is not None:
                typer.echo(f"{result.photo_id}: {result.error}", err=True)
            if stride and result.index % stride == 0 and result.index // stride < show:
                examples.append((ground_truth, result))
    except PlaneSpotterError as error:
        aborted = progress.aborted_stream_error(error, comparison.total.photos, len(ground_truths))
    comparison.seconds = time.monotonic() - started
    console = Console(width=None if sys.stdout.isatty() else 160)
    if unresolved := sorted({item.unresolved for item in ground_truths if item.unresolved}):
        typer.echo(f"Types without a family in the label rules: {', '.join(unresolved[:MAX_UNRESOLVED])}.", err=True)
    if examples:
        console.print(examples_table(sorted(examples, key=lambda pair: pair[1].index)))
    console.print(comparison.summary())
    console.print(
        f"{count_noun(comparison.total.photos, 'photo')} in {comparison.seconds:.1f} s, "
        f"{comparison.photos_per_second:.1f} photos/s."
    )
    if aborted:
        raise aborted
    return comparison.total.failed == 0
