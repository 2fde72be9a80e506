"""The commands of the client: `planespotter classify`, `bench`, `health` and `demo`."""

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from planespotter_client import _options
from planespotter_client._errors import PlaneSpotterError
from planespotter_client._shared import DEFAULT_ADDRESS
from planespotter_client.bench.cli import bench
from planespotter_client.health import health
from planespotter_client.web.cli import web

if TYPE_CHECKING:
    from planespotter_client import Alternative, PhotoAnswer, PlaneSpotter

app = typer.Typer()
app.command()(bench)
app.command()(health)
app.command()(web)

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
COLUMNS = (
    "file",
    "level",
    "constructor",
    "constructor_probability",
    "family",
    "family_probability",
    "model",
    "model_probability",
    "alternatives",
    "error",
)


class Format(StrEnum):
    """How answers are written."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"


@app.command()
def classify(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Photos, and folders of photos (JPEG, PNG, WebP).", exists=True, show_default=False),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            help=f"Address of the server. (default: {DEFAULT_ADDRESS} if one answers there, else a server of its own)",
            metavar="HOST:PORT",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Start a server of its own for this bundle, as long as the command takes.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[
        Format | None,
        typer.Option(
            "--format", help="How to write answers. (default: table on a terminal, else csv)", show_default=False
        ),
    ] = None,
    alternatives: Annotated[
        int, typer.Option(help="How many of the most probable labels to list for each photo.", min=0)
    ] = 0,
    recursive: Annotated[bool, typer.Option(help="Also look into the folders below a folder.")] = True,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Classify the photos that this CSV file lists and print how often the answers are right. Columns: "
            "file, constructor, family, model, source; an empty cell means not known.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            help="With --truth: the folder that its paths start from, if not its own.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        int, typer.Option(help="With --truth: print this many answers beside the truth.", min=0, metavar="N")
    ] = 0,
    tls: _options.Tls = False,
    tls_ca: _options.TlsCa = None,
    tls_cert: _options.TlsCert = None,
    tls_key: _options.TlsKey = None,
    token_file: _options.TokenFile = None,
    insecure: _options.Insecure = False,
) -> None:
    """Classify photos with a server, or without one.

    Where no server is named and none answers on this machine, the command starts one for itself, with the network that
    is installed or the one that --model names. That takes some seconds, and needs planespotter[server].

    Example: planespotter classify photo.jpg

    Example: planespotter classify photos/ --format csv > answers.csv

    Example: planespotter classify photos/ --model bundles/first

    Example: planespotter classify --truth held_out.csv --photos catalog/ --show 20

    Example: planespotter classify photos/ --server planes.example:50051 --tls-ca ca.pem --token-file archive.token

    Answers are written as they come, so their order is not that of the photos (a table is sorted). Each photo that
    fails is named on stderr as it comes, with the reason, and counted at the end.

    Exit code 0: all photos were classified. 1: some failed or have no answer, or the server was not reachable.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else gRPC tells of handshakes in its own words
    from planespotter_client import PlaneSpotter
    from planespotter_client.local_server import server_or_own

    if (truth is None) == (not paths):
        raise typer.BadParameter("give photos and folders to classify, or --truth FILE.csv, and not both.")
    if truth is None and (photos or show):
        raise typer.BadParameter("--photos and --show belong to --truth.")
    if truth is not None and (output_format or alternatives):
        raise typer.BadParameter("--format and --alternatives do not go with --truth, which prints a comparison.")
    if model is not None and server is not None:
        raise typer.BadParameter("--model starts a server, and --server names one: give one of them.")
    secured = _options.connection(tls, tls_ca, tls_cert, tls_key, token_file, insecure)
    with server_or_own(server, model) as (address, own), PlaneSpotter(address, **({} if own else secured)) as spotter:
        if truth is not None:
            all_well = _compare(spotter, truth, photos, show)
        else:
            unreadable: list[OSError] = []
            found = list(find_photos(paths or [], recursive, unreadable.append))
            for error in unreadable:
                _note(f"{error.filename}: The folder cannot be read ({error.strerror}), so its photos are left out.")
            all_well = _classify(spotter, found, output_format, alternatives) and not unreadable
    raise typer.Exit(0 if all_well else 1)


def find_photos(
    paths: Iterable[Path], recursive: bool = True, unreadable: Callable[[OSError], None] | None = None
) -> Iterator[str]:
    """Yield the files among `paths`, and the photos in the folders among them in the order of their names.

    `unreadable` is called with the error of each folder that cannot be looked into.
    """
    for path in paths:
        if not path.is_dir():
            yield str(path)
            continue
        for folder, below, files in os.walk(path, onerror=unreadable):
            below[:] = sorted(below) if recursive else []
            for file in sorted(files):
                if Path(file).suffix.lower() in PHOTO_SUFFIXES:
                    yield str(Path(folder, file))


def _classify(spotter: "PlaneSpotter", photos: list[str], output_format: Format | None, alternatives: int) -> bool:
    if not photos:
        typer.echo("There are no photos (.jpg, .jpeg, .png, .webp) in these folders.", err=True)
        return False
    if output_format is None:
        output_format = Format.TABLE if sys.stdout.isatty() else Format.CSV
    # Lines that appear on the same terminal would run into the bar.
    bar = output_format is Format.TABLE or not sys.stdout.isatty()
    done = failed = 0
    # If the server cannot be reached or has no such answers, say so before anything is written.
    answers = spotter.stream(photos, alternatives=alternatives)
    begin, write, end = {Format.TABLE: _table, Format.CSV: _csv, Format.JSONL: _jsonl}[output_format]()
    try:
        begin()
        for answer in _with_progress(answers, len(photos), bar):
            write(answer)
            done += 1
            failed += answer.error is not None
            if answer.error is not None:
                _note(f"{answer.photo_id}: {answer.error}")
    except PlaneSpotterError as error:
        raise _cut_short(error, done, len(photos)) from error
    finally:  # Ctrl-C keeps what is done
        end()
    if failed:
        typer.echo(f"{failed:,} of {len(photos):,} photos failed.", err=True)
    return not failed


def _compare(spotter: "PlaneSpotter", table: Path, photos: Path | None, show: int) -> bool:
    from planespotter_client import compare

    truths = compare.read_truth(table, photos)
    comparison = compare.Comparison(spotter.model().tree)
    shown: list[tuple[compare.Truth, PhotoAnswer]] = []
    every = max(1, len(truths) // show) if show else 0  # spread over the file, which may be sorted
    broken: PlaneSpotterError | None = None
    started = time.monotonic()
    try:
        for answer in _with_progress(spotter.stream([truth.photo for truth in truths]), len(truths)):
            truth = truths[answer.index]
            comparison.add(truth, answer)
            if answer.error is not None:
                _note(f"{answer.photo_id}: {answer.error}")
            if every and answer.index % every == 0 and answer.index // every < show:
                shown.append((truth, answer))
    except PlaneSpotterError as error:
        broken = _cut_short(error, comparison.total.photos, len(truths))
    comparison.seconds = time.monotonic() - started
    console = Console(width=None if sys.stdout.isatty() else 160)
    if shown:
        console.print(compare.rows(sorted(shown, key=lambda pair: pair[1].index)))
    console.print(comparison.summary())
    console.print(
        f"{comparison.total.photos:,} photos in {comparison.seconds:.1f} s: "
        f"{comparison.photos_per_second:.1f} photos per second through the stream."
    )
    if broken:
        raise broken
    return comparison.total.failed == 0


def _cut_short(error: PlaneSpotterError, done: int, total: int) -> PlaneSpotterError:
    """Return `error`, which ended a stream after `done` of `total` answers, with what is missing."""
    return type(error)(
        f"{total - done:,} of {total:,} photos have no answer, because the stream broke off. {error}",
        reason=error.reason,
        metadata=error.metadata,
    )


def _note(text: str) -> None:
    typer.echo(text, err=True)


def _with_progress(answers: "Iterable[PhotoAnswer]", total: int, bar: bool = True) -> "Iterator[PhotoAnswer]":
    """Pass `answers` on, with a progress bar on stderr if that is a terminal and `bar` is true."""
    console = Console(stderr=True)
    columns = [
        TextColumn("classifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} photos/s"),
        TimeRemainingColumn(),
    ]
    hidden = not (bar and console.is_terminal)
    # stdout is not redirected: that would send it to stderr, where the bar is.
    with Progress(*columns, console=console, disable=hidden, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("", total=total, rate=0.0)
        started = time.monotonic()
        for done, answer in enumerate(answers, 1):
            progress.update(task, completed=done, rate=done / max(1e-9, time.monotonic() - started))
            yield answer


def _row(answer: "PhotoAnswer") -> dict[str, Any]:
    """Return `answer` as values for programs."""
    said = answer.classification
    if said is None:
        return {"file": answer.photo_id, "error": str(answer.error)}
    return {
        "file": answer.photo_id,
        "level": said.level.value,
        "constructor": said.constructor.name,
        "constructor_probability": round(said.constructor.probability, 6),
        "family": said.family.name,
        "family_probability": round(said.family.probability, 6),
        "model": said.model.name,
        "model_probability": round(said.model.probability, 6),
        "alternatives": [
            {"name": _leaf_name(leaf), "probability": round(leaf.probability, 6)} for leaf in said.alternatives
        ],
    }


def _leaf_name(leaf: "Alternative") -> str:
    return " ".join(filter(None, (leaf.constructor, leaf.model or leaf.family)))


Writer = tuple[Callable[[], None], Callable[["PhotoAnswer"], None], Callable[[], None]]


def _nothing() -> None:
    pass


def _jsonl() -> Writer:
    def write(answer: "PhotoAnswer") -> None:
        row = _row(answer)
        line = json.dumps(row, ensure_ascii=False)
        try:
            line.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:  # JSON has its own way to write what the output cannot hold
            line = json.dumps(row)
        typer.echo(line)

    return _nothing, write, _nothing


def _csv() -> Writer:
    writer = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")

    def write(answer: "PhotoAnswer") -> None:
        row = _row(answer)
        alternatives = "; ".join(
            f"{leaf['name']} {_decimal(leaf['probability'])}" for leaf in row.get("alternatives", [])
        )
        cells = {name: _decimal(cell) if isinstance(cell, float) else cell for name, cell in row.items()}
        writer.writerow({**cells, "alternatives": alternatives})
        sys.stdout.flush()

    return writer.writeheader, write, _nothing


def _table() -> Writer:
    answers: list[PhotoAnswer] = []

    def end() -> None:
        from planespotter_client._results import percent

        with_alternatives = any(answer.classification and answer.classification.alternatives for answer in answers)
        table = Table("photo", "answer", "constructor", "family", "model")
        if with_alternatives:
            table.add_column("alternatives")
        for answer in sorted(answers, key=lambda answer: answer.photo_id):
            said = answer.classification
            if said is None:
                table.add_row(escape(answer.photo_id), "failed")
                continue
            labels = [
                f"{label.name} {percent(label.probability)}" if label.name else ""
                for label in (said.constructor, said.family, said.model)
            ]
            alternatives = "; ".join(f"{_leaf_name(leaf)} {percent(leaf.probability)}" for leaf in said.alternatives)
            cells = (answer.photo_id, str(said), *labels, *([alternatives] if with_alternatives else []))
            table.add_row(*map(escape, cells))
        Console().print(table)

    return _nothing, answers.append, end


def _decimal(probability: float) -> str:
    """Return a probability for programs, never as 7.1e-05."""
    return f"{probability:.6f}"


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.", file_okay=False)] = Path("demo"),
    pages: Annotated[int, typer.Option(help="Pages of the sample site to scrape, 48 photos each.", min=1)] = 13,
    epochs: Annotated[int, typer.Option(help="How long to train; fewer is quicker and worse.", min=1)] = 30,
) -> None:
    """Run the whole line on the built-in sample site: scrape, train, export, serve, classify. Takes some minutes.

    What is in the folder already is used again; delete it to start anew.

    Example: planespotter demo --out demo
    """
    from planespotter_client.demo import run_demo

    run_demo(out, pages, epochs, Console())
