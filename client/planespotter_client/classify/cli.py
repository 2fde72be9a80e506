"""The command `planespotter classify`: its options, and what goes with what."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from planespotter_client.classify import file_discovery as found
from planespotter_client.classify.filing import Link
from planespotter_client.classify.writers import Format
from planespotter_client.commands import options

app = typer.Typer()

OUTPUT = "What is made of the answers"
OTHERS = "Photos from elsewhere"
TRUTH = "Comparing with the truth"
SUFFIXES = {".csv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".parquet": Format.PARQUET}


@app.command()
def classify(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Photos, folders of photos (JPEG, PNG, WebP), patterns such as 'archive/**/*.jpg', and - for paths on "
            "standard input, one a line.",
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    server: options.Server = None,
    model: options.Model = None,
    wait: Annotated[
        float,
        typer.Option(
            help="How many seconds to wait for a server that went away; --watch has no end of patience.",
            min=0.1,
            metavar="SECONDS",
        ),
    ] = 60.0,
    alternatives: Annotated[
        int, typer.Option(help="How many of the most probable labels to list for each photo.", min=0)
    ] = 0,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Write answers in the order of the photos, not as they come.")
    ] = False,
    shrink: Annotated[
        bool,
        typer.Option(
            "--shrink",
            help="Scale large photos down before they are sent, for slow connections; answers may differ a little. "
            "Needs the images extra.",
        ),
    ] = False,
    recursive: Annotated[bool, typer.Option(help="Also look into the folders below a folder.")] = True,
    null: Annotated[
        bool, typer.Option("--null", help="With -: the paths end with a NUL, as `find -print0` writes them.")
    ] = False,
    output_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="How to write answers. (default: by the ending of --out; else table on a terminal, else csv)",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write answers to this file (.csv, .jsonl or .ndjson, .parquet). If it is there already, the photos "
            "that it has an answer for are skipped and the others added, by the same network and settings.",
            dir_okay=False,
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --out: begin the file anew.", rich_help_panel=OUTPUT)
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="With --out: try the photos again that failed in an earlier run.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    sort_into: Annotated[
        Path | None,
        typer.Option(
            help="Copy each photo into this folder by what it shows: Boeing/737-800, Boeing/737, Boeing, unknown. "
            "Nothing is moved or overwritten; what was filed before is not filed twice.",
            file_okay=False,
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    link: Annotated[
        Link, typer.Option(help="With --sort-into: copies of photos, or links to them.", rich_help_panel=OUTPUT)
    ] = Link.COPY,
    watch: Annotated[
        Path | None,
        typer.Option(
            help="Classify the photos in this folder and those that arrive, each once, as soon as it is complete, "
            "until Ctrl-C. If the server goes away, wait for it.",
            exists=True,
            file_okay=False,
            show_default=False,
            rich_help_panel=OTHERS,
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="Classify frames of this video: a file, or the address of a stream (rtsp://, http://).",
            metavar="VIDEO",
            show_default=False,
            rich_help_panel=OTHERS,
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            help="With --frames: how many frames to take from each second. (default: 1)",
            min=0.001,
            max=1000,
            show_default=False,
            rich_help_panel=OTHERS,
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Classify the photos that this CSV file lists and print how often the answers are right. Columns: "
            "file and constructor, and family, model and source if known; an empty cell means not known.",
            exists=True,
            dir_okay=False,
            show_default=False,
            rich_help_panel=TRUTH,
        ),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            help="With --truth: the folder that its paths start from, if not its own.",
            exists=True,
            file_okay=False,
            show_default=False,
            rich_help_panel=TRUTH,
        ),
    ] = None,
    show: Annotated[
        int,
        typer.Option(
            help="With --truth: print this many answers beside the truth.", min=0, metavar="N", rich_help_panel=TRUTH
        ),
    ] = 0,
    tls: options.Tls = False,
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    tls_name: options.TlsName = None,
    token_file: options.TokenFile = None,
    insecure: options.Insecure = False,
) -> None:
    """Classify photos with a server, or without one.

    Where no server is named and none answers on this machine, the command starts one for itself, with the network that
    is installed or the one that --model names. That takes some seconds, and needs the server extra.

    Example: planespotter classify photo.jpg

    Example: planespotter classify photos/ --format csv > answers.csv

    Example: planespotter classify photos/ --model bundles/first

    Example: planespotter classify archive/ --out answers.parquet

    Example: find archive -name '*.jpg' -print0 | planespotter classify - --null --out answers.csv

    Example: planespotter classify archive/ --sort-into by-type/ --link symbolic

    Example: planespotter classify --watch camera/ --out seen.csv --server planes.example:50051

    Example: planespotter classify --frames approach.mp4 --fps 2 --out approach.csv

    Example: planespotter classify --truth held_out.csv --photos catalog/ --show 20

    Example: planespotter classify photos/ --server planes.example:50051 --tls-ca ca.pem --token-file archive.token

    Answers are written as they come, so their order is not that of the photos without --ordered (a table is sorted).
    Each photo that fails is named on stderr as it comes, with the reason, and counted at the end.

    With --out each answer is in the file as soon as it is there. After Ctrl-C, a kill or a broken connection the same
    command goes on with the photos that have no answer yet, be it a million. Photos that are skipped so are not filed
    by --sort-into again.

    Exit codes: 0 every photo has an answer; 1 nothing could be done, or the server was lost on the way, and a sentence
    says why; 2 wrong usage; 3 some photos failed, in this run or, with --out, in an earlier one, or some folders could
    not be read; 130 ended by Ctrl-C, as --watch always is; 143 ended by SIGTERM.
    """
    if sum(map(bool, (paths, truth, watch, frames))) != 1:
        raise typer.BadParameter("give either photos and folders to classify, or one of --truth, --watch and --frames.")
    if truth is None and (photos or show):
        raise typer.BadParameter("--photos and --show belong to --truth.")
    if truth is not None and (output_format or alternatives or ordered or shrink or out or sort_into):
        raise typer.BadParameter(
            "--format, --alternatives, --ordered, --shrink, --out and --sort-into do not go with --truth, which "
            "prints a comparison."
        )
    options.check_one_server(server, model)
    if out is None and (overwrite or retry_failed):
        raise typer.BadParameter("--overwrite and --retry-failed belong to --out.")
    if sort_into is None and link is not Link.COPY:
        raise typer.BadParameter("--link belongs to --sort-into.")
    read = {os.path.realpath(path) for path in ([watch] if watch is not None else paths or ())}
    if sort_into is not None and os.path.realpath(sort_into) in read:
        raise typer.BadParameter(
            f"--sort-into {sort_into} is the folder whose photos are read, and what is filed is never read again: name "
            f"another, such as {sort_into / 'by-type'}."
        )
    if frames is not None and sort_into is not None:
        raise typer.BadParameter("--sort-into files photos, and a frame of a video is in no file of its own.")
    if frames is None and fps is not None:
        raise typer.BadParameter("--fps belongs to --frames.")
    if null and found.STANDARD_INPUT not in (paths or ()):
        raise typer.BadParameter("--null belongs to -, which reads paths from standard input.")
    if nowhere := found.find_nothing(paths or ()):
        raise typer.BadParameter(f"there is nothing at {', '.join(nowhere)}.")
    form = _format(output_format, out, sort_into)
    secured = options.connection(tls, tls_ca, tls_cert, tls_key, tls_name, token_file, insecure)

    from planespotter_client.classify.run import ALL_WELL, SOME_FAILED, Plan, run

    before = signal.signal(signal.SIGTERM, _terminate)  # else a server of our own would be left behind
    try:
        if truth is not None:
            from planespotter_client import PlaneSpotter
            from planespotter_client.classify.accuracy import compare_with_truth
            from planespotter_client.commands.local_server import server_or_own

            with (
                server_or_own(server, model) as (address, own),
                PlaneSpotter(address, timeout=wait, **({} if own else secured)) as spotter,
            ):
                raise typer.Exit(ALL_WELL if compare_with_truth(spotter, truth, photos, show) else SOME_FAILED)
        raise typer.Exit(
            run(
                Plan(
                    server=server,
                    model=model,
                    connection=secured,
                    wait=wait,
                    paths=paths or [],
                    null=null,
                    recursive=recursive,
                    watch=watch,
                    video=frames,
                    fps=fps or 1.0,
                    form=form,
                    out=out,
                    overwrite=overwrite,
                    retry_failed=retry_failed,
                    stream={"alternatives": alternatives, "ordered": ordered, "shrink": shrink},
                    sort_into=sort_into,
                    link=link,
                )
            )
        )
    finally:
        signal.signal(signal.SIGTERM, before)


def _format(asked: Format | None, out: Path | None, sort_into: Path | None) -> Format | None:
    """Return how answers are written; None: not at all."""
    if out is not None:
        form = asked or SUFFIXES.get(out.suffix.lower())
        if form is None:
            raise typer.BadParameter(f"{out} ends in none of {', '.join(SUFFIXES)}: say with --format what it is.")
        if form is Format.TABLE:
            raise typer.BadParameter("a table is for the terminal: --out takes csv, jsonl or parquet.")
        return form
    if asked is Format.PARQUET:
        raise typer.BadParameter("Parquet needs a file: --out answers.parquet.")
    if asked is None and sort_into is not None:
        return None
    return asked or (Format.TABLE if sys.stdout.isatty() else Format.CSV)


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)
