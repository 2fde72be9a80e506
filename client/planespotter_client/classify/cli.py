"""The command `planespotter classify`: its options, and which of them exclude each other."""

import dataclasses
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from planespotter_client.classify import file_discovery
from planespotter_client.classify.filing import Link
from planespotter_client.classify.group_by import GroupBy, parse_group
from planespotter_client.classify.writers import Format
from planespotter_client.commands import options

if TYPE_CHECKING:
    from planespotter_client.classify.notify import NotifyConfig
    from planespotter_client.classify.run import RunConfig

app = typer.Typer()

OUTPUT = "Output"
SOURCES = "Other sources"
ACCURACY = "Accuracy"
EVENTS = "Events"
SUFFIXES = {".csv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".parquet": Format.PARQUET}
UNSUPPORTED_SUFFIXES = {
    ".json": "a list in JSON cannot be appended to. Name a .jsonl file, which has one object per line; `jq -s .` makes "
    "a list of it.",
    ".xlsx": "an Excel workbook cannot be appended to. Name a .csv file, and convert it at the end: `planespotter "
    "convert results.csv --to excel --out results.xlsx`.",
    ".xls": "an Excel workbook cannot be appended to. Name a .csv file, and convert it at the end: `planespotter "
    "convert results.csv --to excel --out results.xlsx`.",
}

HELP = """\
Classify photos with a running server, or with one that this command starts.

If --server is not given and no server runs on this machine, the command starts one for itself, with the installed
model or the one that --model names. That takes a few seconds and needs the server extra.

Example: planespotter classify photo.jpg

Example: planespotter classify photos/ --format csv > results.csv

Example: planespotter classify photos/ --model bundles/first

Example: planespotter classify archive/ --out results.parquet

Example: find archive -name '*.jpg' -print0 | planespotter classify - --null --out results.csv

Example: planespotter classify archive/ --sort-into by-type/ --link symbolic

Example: planespotter classify --watch camera/ --out seen.csv --server planes.example:50051

Example: planespotter classify --watch camera/ --out seen.csv --notify http://127.0.0.1:8123/api/webhook/planes

Example: planespotter classify --video approach.mp4 --fps 2 --out approach.csv

Example: planespotter classify ramp/ --fleet fleet.csv --airline Lufthansa --out ramp.csv

Example: planespotter classify ramp/ --group seconds:5 --out ramp.parquet

Example: planespotter classify --ground-truth held_out.csv --root catalog/ --show 20

Example: planespotter classify photos/ --server planes.example:50051 --tls-ca ca.pem --token-file archive.token

Results are written as they arrive. With --preserve-order they have the order of the photos. A table is sorted by path.
Each failed photo is named on stderr with the reason, and counted at the end.

With --out each result is in the file at once. After Ctrl-C, a kill or a lost connection the same command resumes
with the photos that have no result yet, also with millions of them. --sort-into files the skipped photos too, by their
results in the file.

Exit codes: 0 every photo has a prediction; 1 nothing could be done, or the server was lost, and a message says why;
2 wrong usage; 3 some photos failed, in this run or, with --out, in an earlier one, or some folders could not be
read; 130 ended by Ctrl-C, as --watch always is; 143 ended by SIGTERM.
"""

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        help="Photos, folders of photos (JPEG, PNG, WebP, HEIC, raw, TIFF...), glob patterns such as "
        "'archive/**/*.jpg', and - for paths on standard input, one per line.",
        metavar="PATH",
        show_default=False,
    ),
]
ReconnectTimeout = Annotated[
    float,
    typer.Option(help="Seconds to wait for a lost server; with --watch there is no limit.", min=0.1, metavar="SECONDS"),
]
TopK = Annotated[int, typer.Option(help="Number of most probable candidates per photo.", min=0, metavar="K")]
PreserveOrder = Annotated[
    bool, typer.Option("--preserve-order", help="Write results in the order of the photos, not as they arrive.")
]
Downscale = Annotated[
    bool,
    typer.Option(
        "--downscale",
        help="Scale large photos down before they are sent, for slow connections; predictions may differ a little. "
        "Needs the images extra.",
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive/--no-recursive", "-r", help="Search subfolders too.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print no progress and no summary; errors are still printed.")
]
Null = Annotated[bool, typer.Option("--null", help="With -: paths end with NUL, as `find -print0` writes them.")]
OutputFormat = Annotated[
    Format | None,
    typer.Option(
        "--format",
        help="Output format; excel is CSV for Excel. (default: by the suffix of --out; else table on a "
        "terminal, else csv)",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Output file (.csv, .jsonl or .ndjson, .parquet). An existing one is resumed with the same model and "
        "settings: the photos that it has a result for are skipped. Missing folders are created.",
        dir_okay=False,
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="With --out: replace an existing file.", rich_help_panel=OUTPUT)
]
RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed",
        help="With --out: retry the photos that failed in an earlier run.",
        rich_help_panel=OUTPUT,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        help="Predict each group of photos of one aircraft, too: folder, prefix (the name before a counter), "
        "or seconds:N (taken at most N seconds after the one before). With --out results.parquet, groups are in "
        "results.groups.csv.",
        metavar="KEY",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
SortInto = Annotated[
    Path | None,
    typer.Option(
        help="Folder to copy each photo into by what it shows: Boeing/737-800, Boeing/737, Boeing, unknown. "
        "Nothing is moved or overwritten, and no photo is filed twice. With --out, also photos with a result; with "
        "--video, frames with a confident prediction.",
        file_okay=False,
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
LinkKind = Annotated[Link, typer.Option(help="With --sort-into: copy photos, or link to them.", rich_help_panel=OUTPUT)]
Watch = Annotated[
    Path | None,
    typer.Option(
        help="Folder to watch: classify its photos and those that arrive, each once, as soon as it is complete, "
        "until Ctrl-C. If the server is lost, wait for it.",
        exists=True,
        file_okay=False,
        show_default=False,
        rich_help_panel=SOURCES,
    ),
]
Again = Annotated[
    bool,
    typer.Option(
        "--again",
        help="With --watch: classify a photo again when it changes, such as a snapshot that a camera overwrites.",
        rich_help_panel=SOURCES,
    ),
]
Video = Annotated[
    str | None,
    typer.Option(
        help="Video whose frames to classify: a file, or a live stream (rtsp://, http://, /dev/video0), which is "
        "reconnected until Ctrl-C.",
        metavar="VIDEO",
        show_default=False,
        rich_help_panel=SOURCES,
    ),
]
Fps = Annotated[
    float | None,
    typer.Option(
        help="With --video: frames to classify per second. (default: 1)",
        min=0.001,
        max=1000,
        show_default=False,
        rich_help_panel=SOURCES,
    ),
]
Notify = Annotated[
    str | None,
    typer.Option(
        help="With --watch or --video, and --out: post events to this URL as JSON: the first of a type today, a rare "
        "type, many photos in a row without a confident name. Events wait next to --out until they are accepted.",
        metavar="URL",
        show_default=False,
        rich_help_panel=EVENTS,
    ),
]
NotifyCooldown = Annotated[
    float,
    typer.Option(
        help="With --notify: seconds in which the same event for the same type is posted once.",
        min=0,
        metavar="SECONDS",
        rich_help_panel=EVENTS,
    ),
]
NotifyRare = Annotated[
    float,
    typer.Option(
        help="With --notify: share of the confident photos below which a type is rare, once there are 100.",
        min=0,
        max=1,
        metavar="SHARE",
        rich_help_panel=EVENTS,
    ),
]
NotifyStreak = Annotated[
    int,
    typer.Option(
        help="With --notify: number of photos in a row without a confident name to post.",
        min=1,
        metavar="N",
        rich_help_panel=EVENTS,
    ),
]
GroundTruth = Annotated[
    Path | None,
    typer.Option(
        help="CSV file with the ground truth: classify its photos and print the accuracy. Columns: file and "
        "constructor, and optionally family and model, or aircraft_type (as a site or a person writes it), and "
        "source; an empty cell is unknown.",
        exists=True,
        dir_okay=False,
        show_default=False,
        rich_help_panel=ACCURACY,
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        help="With --ground-truth: folder that the paths in it are relative to. (default: the folder of the CSV file)",
        exists=True,
        file_okay=False,
        show_default=False,
        rich_help_panel=ACCURACY,
    ),
]
Show = Annotated[
    int,
    typer.Option(
        help="With --ground-truth: number of predictions to print next to the ground truth.",
        min=0,
        metavar="N",
        rich_help_panel=ACCURACY,
    ),
]


@app.command(help=HELP)
def classify(
    paths: Paths = None,
    server: options.Server = None,
    model: options.Model = None,
    reconnect_timeout: ReconnectTimeout = 60.0,
    top_k: TopK = 0,
    min_probability: options.MinProbability = None,
    preserve_order: PreserveOrder = False,
    downscale: Downscale = False,
    recursive: Recursive = True,
    null: Null = False,
    quiet: Quiet = False,
    output_format: OutputFormat = None,
    out: Out = None,
    overwrite: Overwrite = False,
    retry_failed: RetryFailed = False,
    sort_into: SortInto = None,
    link: LinkKind = Link.COPY,
    group: Group = None,
    watch: Watch = None,
    again: Again = False,
    video: Video = None,
    fps: Fps = None,
    candidates: options.Candidates = None,
    fleet: options.Fleet = None,
    airline: options.Airline = None,
    airport: options.Airport = None,
    prior_odds: options.PriorOdds = None,
    notify: Notify = None,
    notify_cooldown: NotifyCooldown = 600.0,
    notify_rare: NotifyRare = 0.01,
    notify_streak: NotifyStreak = 20,
    ground_truth: GroundTruth = None,
    root: Root = None,
    show: Show = 0,
    tls: options.Tls = False,
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    tls_name: options.TlsName = None,
    token_file: options.TokenFile = None,
    insecure: options.Insecure = False,
    verbose: options.Verbose = False,
) -> None:
    """Classify photos with a running server, or with one that this command starts."""
    from planespotter_client.classify import run

    config = run.RunConfig(
        server=server,
        model=model,
        connection=options.connection(tls, tls_ca, tls_cert, tls_key, tls_name, token_file, insecure),
        reconnect_timeout=reconnect_timeout,
        paths=paths or [],
        null=null,
        recursive=recursive,
        watch=watch,
        video=video,
        fps=fps or 1.0,
        top_k=top_k,
        preserve_order=preserve_order,
        downscale=downscale,
        output_format=output_format,
        out=out,
        overwrite=overwrite,
        retry_failed=retry_failed,
        sort_into=sort_into,
        link=link,
        quiet=quiet,
        again=again,
        min_probability=min_probability,
        group=_group(group),
        prior=options.prior(candidates, fleet, airline, airport, prior_odds),
    )
    if notify is not None:
        config = dataclasses.replace(
            config, notify=_notify(config, notify, notify_cooldown, notify_rare, notify_streak)
        )
    _check_source(config, ground_truth, fps)
    if ground_truth is None and (root or show):
        raise typer.BadParameter("--root and --show need --ground-truth.")
    changes_output = output_format or out or sort_into or group or preserve_order
    if ground_truth is not None and (changes_output or top_k or min_probability or downscale or config.prior):
        raise typer.BadParameter(
            "--format, --top-k, --min-probability, --preserve-order, --downscale, --out, --sort-into, --group, "
            "--fleet and --candidates exclude --ground-truth, which prints a comparison."
        )
    options.check_server_or_model(server, model)
    _check_output(config)
    config = dataclasses.replace(config, output_format=_output_format(config))
    with _exit_on_sigterm():
        if ground_truth is None:
            raise typer.Exit(run.run(config))
        succeeded = run.run_ground_truth(config, ground_truth, root, show)
        raise typer.Exit(run.SUCCESS if succeeded else run.SOME_FAILED)


def _notify(config: "RunConfig", url: str, cooldown: float, rare_share: float, streak: int) -> "NotifyConfig":
    from planespotter_client.classify.notify import NotifyConfig, check_url

    if config.watch is None and config.video is None:
        raise typer.BadParameter("--notify needs --watch or --video: other photos are not events.")
    if config.out is None:
        raise typer.BadParameter("--notify needs --out: events wait next to it, and it says what was seen before.")
    try:
        outbox = config.out.with_name(f".{config.out.name}.outbox")
        return NotifyConfig(check_url(url), outbox, cooldown, rare_share, streak=streak)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _group(text: str | None) -> GroupBy | None:
    """Return what --group names; None without it."""
    try:
        return None if text is None else parse_group(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _check_source(config: "RunConfig", ground_truth: Path | None, fps: float | None) -> None:
    """Check that there is a single source, which exists, with options that belong to it."""
    if sum(map(bool, (config.paths, ground_truth, config.watch, config.video))) != 1:
        raise typer.BadParameter("give either photos and folders, or one of --ground-truth, --watch and --video.")
    if config.video is None and fps is not None:
        raise typer.BadParameter("--fps needs --video.")
    if config.again and config.watch is None:
        raise typer.BadParameter("--again needs --watch.")
    if config.null and file_discovery.STANDARD_INPUT not in config.paths:
        raise typer.BadParameter("--null needs -, which reads paths from standard input.")
    if missing := file_discovery.without_match(config.paths):
        raise typer.BadParameter(f"there is nothing at {', '.join(missing)}.")


def _check_output(config: "RunConfig") -> None:
    """Check that the options of the output have what they need, and that photos are not filed into their source."""
    if config.out is None and (config.overwrite or config.retry_failed):
        raise typer.BadParameter("--overwrite and --retry-failed need --out.")
    if config.group is not None and config.out is not None and _output_format(config) is not Format.PARQUET:
        raise typer.BadParameter(
            "--group needs the probabilities of all photos, also of earlier runs: name a .parquet file with --out."
        )
    if config.group is not None and config.out is None and _output_format(config) is not Format.TABLE:
        raise typer.BadParameter("--group needs --format table, or --out results.parquet.")
    if config.sort_into is None:
        if config.link is not Link.COPY:
            raise typer.BadParameter("--link needs --sort-into.")
        return
    sources = [config.watch] if config.watch is not None else config.paths
    if os.path.realpath(config.sort_into) in map(os.path.realpath, sources):
        raise typer.BadParameter(
            f"--sort-into {config.sort_into} is the source folder, and filed photos are never read again: name another "
            f"folder, such as {config.sort_into / 'by-type'}."
        )


def _output_format(config: "RunConfig") -> Format | None:
    """Return the output format; None if results are not written."""
    if config.out is not None:
        if config.output_format is None and (advice := UNSUPPORTED_SUFFIXES.get(config.out.suffix.lower())):
            raise typer.BadParameter(f"{config.out}: {advice}")
        chosen = config.output_format or SUFFIXES.get(config.out.suffix.lower())
        if chosen is None:
            raise typer.BadParameter(f"{config.out} ends in none of {', '.join(SUFFIXES)}: name its --format.")
        if chosen is Format.TABLE:
            raise typer.BadParameter("a table is for the terminal: --out takes csv, jsonl or parquet.")
        return chosen
    if config.output_format is Format.PARQUET:
        raise typer.BadParameter("Parquet needs a file: --out results.parquet.")
    if config.output_format is None and config.sort_into is not None:
        return None
    return config.output_format or (Format.TABLE if sys.stdout.isatty() else Format.CSV)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that a server that this command has started is stopped."""

    def on_signal(*_: object) -> NoReturn:
        raise SystemExit(128 + signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
