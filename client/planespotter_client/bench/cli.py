"""The command `planespotter bench`."""

import json
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planespotter_client._channels import DEFAULT_ADDRESS
from planespotter_client.bench.load_generator import Load, Mode
from planespotter_client.bench.measurements import BenchError
from planespotter_client.commands import options

if TYPE_CHECKING:
    from planespotter_client.bench.sweep import Step
    from planespotter_client.bench.workers import Crew

app = typer.Typer()

# What one process of the generator holds of photos; of more, the first are taken.
MOST_BYTES = 256 * 1024 * 1024
SOAK_RECONNECT_SECONDS, SOAK_CANCEL_SHARE = 5.0, 0.1
MEMORY_EVERY_SECONDS = 1.0


@app.command()
def bench(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Photos and folders of photos to send, again and again (JPEG, PNG, WebP).",
            exists=True,
            show_default=False,
        ),
    ],
    server: Annotated[str, typer.Option(help="Address of the server.", metavar="HOST:PORT")] = DEFAULT_ADDRESS,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="Single calls, calls with batches, or streams. (default: unary; with --soak all three)",
            show_default=False,
        ),
    ] = None,
    callers: Annotated[
        int, typer.Option(help="Closed loop: callers who each wait for their answer. Open loop: streams.", min=1)
    ] = 8,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Open loop: photos per second, at random times, whether the server keeps up or not.",
            min=0.01,
            show_default="none: closed loop",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long each load is measured.", min=0.5)] = 10.0,
    photos: Annotated[
        int | None,
        typer.Option(help="End each load after so many photos.", min=1, show_default="as many as the time allows"),
    ] = None,
    warm_up: Annotated[
        float, typer.Option(help="Seconds of load before each measurement; 0 with --photos.", min=0)
    ] = 1.0,
    deadline: Annotated[float, typer.Option(help="Seconds within which an answer is good.", min=0.01)] = 10.0,
    batch_size: Annotated[int, typer.Option(help="Photos in a batch, with --mode batch.", min=1)] = 32,
    window: Annotated[
        int | None,
        typer.Option(
            help="Photos that each stream of a closed loop has on the way.",
            min=1,
            show_default="what the server works on at a time",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(help="Processes that send; one sends some thousand photos a second.", min=1, max=64)
    ] = 1,
    sweep: Annotated[
        str | None,
        typer.Option(
            help="Measure several loads one after the other.", metavar="callers=1,2,...|rate=50,...", show_default=False
        ),
    ] = None,
    find_peak: Annotated[
        bool,
        typer.Option("--find-peak", help="Raise the callers until more bring nothing, then 70 % and 200 % of that."),
    ] = False,
    soak: Annotated[
        float | None,
        typer.Option(
            help="For so many minutes, with callers who drop connections and cancel calls.",
            min=0.05,
            metavar="MINUTES",
            show_default=False,
        ),
    ] = None,
    server_pid: Annotated[
        int | None,
        typer.Option(help="Process of a server on this machine, to watch what it uses.", show_default=False),
    ] = None,
    max_minutes: Annotated[float, typer.Option(help="Refuse what would take longer than this.", min=0.1)] = 10.0,
    seed: Annotated[int, typer.Option(help="Seed of the random times.")] = 0,
    tls: options.Tls = False,
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    tls_name: options.TlsName = None,
    token_file: options.TokenFile = None,
    insecure: options.Insecure = False,
    out: Annotated[
        Path | None, typer.Option(help="Write a page with pictures here (.html).", dir_okay=False, show_default=False)
    ] = None,
    json_out: Annotated[
        Path | None,
        typer.Option("--json", help="Write all figures here.", dir_okay=False, show_default=False),
    ] = None,
) -> None:
    """Put a load on a server and measure how it bears it.

    Example: planespotter bench photos/ --callers 32 --seconds 20 --out report.html

    Example: planespotter bench photos/ --mode stream --find-peak --json peak.json

    Latency runs from the moment at which a photo was meant to be sent. "in time" is the share of photos that were
    answered within the deadline. The photos are yours: take such as the server will get, for large ones take longer.

    Ctrl-C ends it and prints what was measured; a second one ends it at once.

    Exit codes: 0 photos were answered; 1 none was, or the server was not reachable; 2 wrong usage; 130 ended by Ctrl-C.
    """
    from planespotter_client import PlaneSpotter
    from planespotter_client._credentials import security
    from planespotter_client.bench import process_stats
    from planespotter_client.bench import sweep as load_sweep
    from planespotter_client.bench.workers import Crew

    if sum((sweep is not None, find_peak, soak is not None)) > 1:
        raise typer.BadParameter("--sweep, --find-peak and --soak exclude each other.")
    if rate is not None and (sweep is not None or find_peak or soak is not None):
        raise typer.BadParameter("--rate does not go with --sweep, --find-peak and --soak, which set the load.")
    if soak is not None and photos is not None:
        raise typer.BadParameter("--photos does not go with --soak, which lasts its minutes.")
    sweep_of = None if sweep is None else load_sweep.read_sweep(sweep)
    base = Load(
        modes=(mode,) if mode else (Mode.UNARY,) if soak is None else tuple(Mode),
        callers=callers,
        rate=rate,
        seconds=seconds if soak is None else soak * 60,
        photos=photos,
        warm_up=0.0 if photos is not None else warm_up,
        deadline=deadline,
        batch_size=batch_size,
        cancel_share=0.0 if soak is None else SOAK_CANCEL_SHARE,
        reconnect_seconds=None if soak is None else SOAK_RECONNECT_SECONDS,
        seed=seed,
    )
    steps = len(sweep_of[1]) if sweep_of else load_sweep.most_steps_to_the_peak() if find_peak else 1
    planned = load_sweep.planned_seconds(base, steps) / 60
    if planned > max_minutes:
        raise BenchError(
            f"This would take {planned:.1f} minutes ({steps} loads of {base.warm_up + base.seconds:g} s); the limit is "
            f"{max_minutes:g}. Raise it with --max-minutes {planned:.0f}, or measure less."
        )
    if server_pid is not None:
        process_stats.resident_bytes(server_pid)
    files = _choose_photos(paths)
    for file in filter(None, (out, json_out)):
        file.parent.mkdir(parents=True, exist_ok=True)  # now rather than after minutes of work

    connection = options.connection(tls, tls_ca, tls_cert, tls_key, tls_name, token_file, insecure)
    security(server, **connection)  # says what is wrong with them before anything is started
    with Crew(server, files, processes, connection) as crew:
        with PlaneSpotter(server, **connection) as spotter:
            model = spotter.model()
        base = _within_limits(base, model.limits.max_batch_photos, window or model.limits.stream_window)
        about: dict[str, Any] = {
            "server": server,
            "model": f"{model.name} {model.version}",
            "mode": ", ".join(base.modes),
            "photos": f"{len(files):,} files, {sum(file.stat().st_size for file in files) / len(files) / 1024:,.0f} KiB"
            " on average",
            "deadline": f"{deadline:g} s",
            "processes": processes,
            "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        }
        with _interruptible() as stop:
            run = _runner(crew, stop, server_pid)
            if sweep_of:
                measured = _until_stopped(load_sweep.sweep(base, *sweep_of, run))
            elif find_peak:
                measured = _until_stopped(load_sweep.find_peak(base, run))
            else:
                name = f"{soak:g} min soak" if soak else f"{rate:g}/s" if rate else f"{callers} callers"
                measured = [run(name, base)]
            _show(measured, about, out, json_out)
    if any(step.interrupted for step in measured):
        raise typer.Exit(130)
    raise typer.Exit(0 if any(step.recording.answers.total for step in measured) else 1)


def _choose_photos(paths: list[Path]) -> list[Path]:
    from planespotter_client.classify.file_discovery import find_photos

    chosen: list[Path] = []
    size = 0
    for name in find_photos(paths):
        size += Path(name).stat().st_size
        if chosen and size > MOST_BYTES:
            typer.echo(f"The first {len(chosen):,} photos are sent; more would need too much memory.", err=True)
            break
        chosen.append(Path(name))
    if not chosen:
        raise BenchError("There are no photos (.jpg, .jpeg, .png, .webp) in these folders. Name some to send.")
    return chosen


def _within_limits(load: Load, max_batch_photos: int, window: int) -> Load:
    from dataclasses import replace

    if Mode.BATCH in load.modes and load.batch_size > max_batch_photos:
        typer.echo(f"The server takes {max_batch_photos:,} photos in a batch, so that many are sent.", err=True)
    return replace(load, batch_size=min(load.batch_size, max_batch_photos), window=window)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Make Ctrl-C set the event, and a second one end the program."""
    stop = threading.Event()

    def on_signal(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _runner(crew: "Crew", stop: threading.Event, server_pid: int | None) -> Any:
    """Return a function that runs one load, with progress on stderr if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from planespotter_client.bench import process_stats
    from planespotter_client.bench.sweep import Step

    def run(name: str, load: Load) -> Step:
        console = Console(stderr=True)
        columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]:,} photos")]
        memory: list[tuple[float, int]] = []
        processor: list[tuple[float, float]] = []
        if not console.is_terminal:
            typer.echo(f"{name}: {load.warm_up + load.seconds:g} s at most.", err=True)
        began = time.monotonic()
        with Progress(
            *columns,
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            redirect_stdout=False,
        ) as progress:
            task = progress.add_task(name, total=load.warm_up + load.seconds, done=0)

            def on_progress(done: int) -> None:
                since = time.monotonic() - began
                progress.update(task, completed=min(since, load.warm_up + load.seconds), done=done)
                if server_pid is None or since < load.warm_up:
                    return
                used = process_stats.processor_seconds(server_pid)
                if not math.isnan(used) and since <= load.warm_up + load.seconds:
                    processor.append((since, used))
                if not memory or since - memory[-1][0] >= MEMORY_EVERY_SECONDS:
                    memory.append((since, process_stats.resident_bytes(server_pid)))

            recording = crew.run(load, on_progress, stop)
        return Step(name, load, recording, memory, processor, interrupted=stop.is_set())

    return run


def _until_stopped(steps: "Iterator[Step]") -> "list[Step]":
    measured: list[Step] = []
    for step in steps:
        measured.append(step)
        if step.interrupted:
            break
    return measured


def _show(steps: "list[Step]", about: dict[str, Any], out: Path | None, json_out: Path | None) -> None:
    from rich.console import Console

    from planespotter_client.bench import console_report, html_report

    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    for name, value in about.items():
        console.print(f"{name:<10} {value}", markup=False)
    console.print()
    console.print(console_report.table(steps))
    for note in console_report.notes(steps):
        console.print(note, markup=False)
    if json_out is not None:
        json_out.write_text(json.dumps(console_report.as_json(steps, about), indent=2) + "\n", encoding="utf-8")
    if out is not None:
        out.write_text(html_report.page(steps, about), encoding="utf-8")
        typer.echo(f"The report is in {out}.", err=True)
