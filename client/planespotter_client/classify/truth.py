"""Answers beside the truth, for `--truth`."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from planespotter_client._errors import PlaneSpotterError
from planespotter_client.classify import accuracy, progress

if TYPE_CHECKING:
    from planespotter_client import PhotoAnswer, PlaneSpotter


def compare_with_truth(spotter: "PlaneSpotter", table: Path, photos: Path | None, show: int) -> bool:
    """Classify the photos that `table` lists, print how good the answers are; return whether none failed."""
    truths = accuracy.read_truth(table, photos)
    comparison = accuracy.Comparison(spotter.model().tree)
    shown: list[tuple[accuracy.Truth, PhotoAnswer]] = []
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
        broken = cut_short(error, comparison.total.photos, len(truths))
    comparison.seconds = time.monotonic() - started
    console = Console(width=None if sys.stdout.isatty() else 160)
    if shown:
        console.print(accuracy.rows(sorted(shown, key=lambda pair: pair[1].index)))
    console.print(comparison.summary())
    console.print(
        f"{progress.photos(comparison.total.photos)} in {comparison.seconds:.1f} s, "
        f"{comparison.photos_per_second:.1f} photos/s."
    )
    if broken:
        raise broken
    return comparison.total.failed == 0


def cut_short(error: PlaneSpotterError, done: int, total: int | None) -> PlaneSpotterError:
    """Return `error`, which ended a stream after `done` of `total` answers (None: not known), with what is missing."""
    missing = f"Only {progress.photos(done)} {'has' if done == 1 else 'have'} an answer"
    if total is not None:
        missing = f"{total - done:,} of {progress.photos(total)} {'has' if total - done == 1 else 'have'} no answer"
    return type(error)(
        f"{missing}, because the stream broke off. {error}", reason=error.reason, metadata=error.metadata
    )
