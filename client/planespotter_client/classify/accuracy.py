"""Compare answers with the truth: how often the constructor is right, and how often the type is.

Stage 1 is the constructor. The type is a leaf of the model's label tree, and is compared for photos that are labelled
down to one: "Boeing 737-800" is right if the whole path is; where the tree knows no 737-800 but tells other 737s apart,
such a photo counts for stage 1 only. Names are compared whether or not the network was sure of them. A constructor that
the tree does not know can only be answered well with UNKNOWN, so such photos are counted apart.
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
from planespotter_client._types import Classification, Level, PhotoAnswer
from planespotter_client.classify import progress

if TYPE_CHECKING:
    from planespotter_client import PlaneSpotter

COLUMNS = ("file", "constructor", "family", "model", "source")
NEEDED = COLUMNS[:2]
Tree = Mapping[str, Mapping[str, Sequence[str]]]


class TruthError(PlaneSpotterError):
    """The file with the truth cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class Truth:
    """What a photo shows; "" from the level on that is not known."""

    photo: str
    constructor: str
    family: str
    model: str
    source: str

    def __str__(self) -> str:
        return f"{self.constructor} {self.model or self.family}".strip() or "not known"


def read_truth(table: Path, photos: Path | None = None) -> list[Truth]:
    """Read a CSV file with the columns file and constructor; family, model and source may stand beside them.

    Paths in `file` are relative to `photos`, else to the folder of the CSV file. Raises TruthError.
    """
    folder = table.parent if photos is None else photos
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [column for column in NEEDED if column not in (rows.fieldnames or [])]
            if missing:
                raise TruthError(
                    f"{table} has no column {' and no column '.join(missing)}; its first line must name "
                    f"{' and '.join(NEEDED)}, and may name {', '.join(COLUMNS[len(NEEDED) :])}, in any order."
                )
            cells = []
            for row in rows:
                cells.append([(row.get(column) or "").strip() for column in COLUMNS])
                if not cells[-1][0]:
                    raise TruthError(
                        f"Row {len(cells):,} of {table} (line {rows.line_num:,}) names no photo: its column file is "
                        "empty. Fill it in, or take the row out."
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TruthError(f"{table} cannot be read as a CSV file in UTF-8: {error}.") from error
    if not cells:
        raise TruthError(f"{table} has no rows, so there is nothing to compare with.")
    return [Truth(str(folder / name), *labels) for name, *labels in cells]


@dataclass
class Tally:
    """Counts over photos. An accuracy of nothing is None."""

    photos: int = 0
    failed: int = 0
    unlabelled: int = 0
    constructors: int = 0
    constructors_right: int = 0
    types: int = 0
    types_right: int = 0
    strangers: int = 0
    strangers_unknown: int = 0

    @property
    def constructor_accuracy(self) -> float | None:
        """Share of the photos with a known constructor whose constructor is right."""
        return self.constructors_right / self.constructors if self.constructors else None

    @property
    def type_accuracy(self) -> float | None:
        """Share of the photos labelled down to a leaf of the tree whose whole path is right."""
        return self.types_right / self.types if self.types else None

    @property
    def strangers_unknown_share(self) -> float | None:
        """Share of the photos of constructors that the model does not know that were answered UNKNOWN."""
        return self.strangers_unknown / self.strangers if self.strangers else None

    def add(self, truth: Truth, answer: Classification | None, tree: Tree) -> None:
        """Count one photo; `answer` is None if it failed."""
        self.photos += 1
        if answer is None:
            self.failed += 1
        elif not truth.constructor:
            self.unlabelled += 1
        elif truth.constructor not in tree:
            self.strangers += 1
            self.strangers_unknown += answer.level is Level.UNKNOWN
        else:
            expected = clip(truth, tree)
            path = (answer.constructor.name, answer.family.name, answer.model.name)
            self.constructors += 1
            self.constructors_right += path[0] == expected[0]
            if _is_leaf(expected, tree):
                self.types += 1
                self.types_right += path[: len(expected)] == expected


def _is_leaf(path: tuple[str, ...], tree: Tree) -> bool:
    """Return whether `tree` tells nothing apart below `path`, a constructor alone excepted: that is no type."""
    return len(path) == 3 or (len(path) == 2 and not tree[path[0]][path[1]])


def clip(truth: Truth, tree: Tree) -> tuple[str, ...]:
    """Return the path of `truth` as deep as it is labelled and `tree` goes. `tree` must have its constructor."""
    families = tree[truth.constructor]
    if truth.family not in families:
        return (truth.constructor,)
    if truth.model not in families[truth.family]:
        return (truth.constructor, truth.family)
    return (truth.constructor, truth.family, truth.model)


@dataclass
class Comparison:
    """Answers beside the truth. `seconds` is how long the stream took, from its first photo to its last answer."""

    tree: Tree
    total: Tally = field(default_factory=Tally)
    by_source: dict[str, Tally] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, truth: Truth, answer: PhotoAnswer) -> None:
        """Count the answer to one photo."""
        for tally in (self.total, self.by_source.setdefault(truth.source, Tally())):
            tally.add(truth, answer.classification, self.tree)

    @property
    def photos_per_second(self) -> float:
        """Photos that went through the stream in a second."""
        return self.total.photos / self.seconds if self.seconds else 0.0

    def summary(self) -> Table:
        """Return a table of the accuracies, overall and by source."""
        table = Table("source", title="Accuracy")
        for heading in ("photos", "constructor", "type", "unknown constructor: answered unknown", "failed"):
            table.add_column(heading, justify="right")
        for source, tally in sorted(self.by_source.items()):
            table.add_row(escape(source) or "(none)", *_figures(tally))
        if len(self.by_source) != 1:
            table.add_section()
            table.add_row("all", *_figures(self.total))
        return table


def _figures(tally: Tally) -> Iterator[str]:
    yield f"{tally.photos:,}"
    yield _share(tally.constructor_accuracy, tally.constructors)
    yield _share(tally.type_accuracy, tally.types)
    yield _share(tally.strangers_unknown_share, tally.strangers)
    yield f"{tally.failed:,}"


def _share(share: float | None, of: int) -> str:
    return "-" if share is None else f"{100 * share:.1f} % of {of:,}"


def rows(pairs: Iterable[tuple[Truth, PhotoAnswer]]) -> Table:
    """Return a table of answers beside the truth."""
    table = Table("photo", "truth", "answer", "network's path", title="Answers beside the truth")
    for truth, answer in pairs:
        said = answer.classification
        if said is None:
            table.add_row(*map(escape, (Path(truth.photo).name, str(truth), f"failed: {answer.error}", "")))
            continue
        path = " / ".join(filter(None, (said.constructor.name, said.family.name, said.model.name)))
        table.add_row(*map(escape, (Path(truth.photo).name, str(truth), str(said), path)))
    return table


def compare_with_truth(spotter: "PlaneSpotter", table: Path, photos: Path | None, show: int) -> bool:
    """Classify the photos that `table` lists, print how good the answers are; return whether none failed."""
    truths = read_truth(table, photos)
    comparison = Comparison(spotter.model().tree)
    shown: list[tuple[Truth, PhotoAnswer]] = []
    every = max(1, len(truths) // show) if show else 0  # spread over the file, which may be sorted
    broken: PlaneSpotterError | None = None
    started = time.monotonic()
    try:
        answers = spotter.stream([truth.photo for truth in truths])
        for answer in progress.with_progress(answers, progress.Tally(), lambda: len(truths)):
            truth = truths[answer.index]
            comparison.add(truth, answer)
            if answer.error is not None:
                typer.echo(f"{answer.photo_id}: {answer.error}", err=True)
            if every and answer.index % every == 0 and answer.index // every < show:
                shown.append((truth, answer))
    except PlaneSpotterError as error:
        broken = progress.cut_short(error, comparison.total.photos, len(truths))
    comparison.seconds = time.monotonic() - started
    console = Console(width=None if sys.stdout.isatty() else 160)
    if shown:
        console.print(rows(sorted(shown, key=lambda pair: pair[1].index)))
    console.print(comparison.summary())
    console.print(
        f"{progress.photos(comparison.total.photos)} in {comparison.seconds:.1f} s, "
        f"{comparison.photos_per_second:.1f} photos/s."
    )
    if broken:
        raise broken
    return comparison.total.failed == 0
