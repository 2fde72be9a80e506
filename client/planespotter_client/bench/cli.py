"""The command `planespotter bench`: plan the loads, run them, and report."""

import json
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planespotter_client.bench.load_generator import Load, Mode
from planespotter_client.bench.measurements import BenchError
from planespotter_client.commands import options
from planespotter_photos.counts import count_noun

if TYPE_CHECKING:
    from planespotter_client.bench.sweep import RunLoad, Step
    from planespotter_client.bench.workers import WorkerPool

app = typer.Typer()

# Bytes of photos that each process keeps in memory; further photos are skipped.
MAX_BYTES = 256 * 1024 * 1024
SOAK_RECONNECT_SECONDS, SOAK_CANCEL_SHARE = 5.0, 0.1
MEMORY_INTERVAL = 1.0

HELP = """\
Load-test a server: throughput, latency percentiles and goodput.

Example: planespotter bench photos/ --callers 32 --seconds 20 --out report.html

Example: planespotter bench photos/ --mode stream --find-peak --json peak.json

Latency is measured from the time at which a photo was scheduled. "in time" is the share of photos with a result
within the deadline. Use photos like those that the server will receive: large ones take longer.

Ctrl-C ends it and prints the results so far; a second one ends it immediately.

Exit codes: 0 photos were classified; 1 none was, or the server was unreachable; 2 wrong usage; 130 ended by Ctrl-C.
"""

Paths = Annotated[
    list[Path],
    typer.Argument(
        help="Photos and folders of photos to send in a cycle (JPEG, PNG, WebP, HEIC...).",
        metavar="PATH",
        exists=True,
        show_default=False,
    ),
]
LoadMode = Annotated[
    Mode | None,
    typer.Option(
        help="Unary requests, batches, or streams. (default: unary; with --soak all three)",
        show_default=False,
    ),
]
Callers = Annotated[
    int, typer.Option(help="Closed loop: callers that each wait for their result. Open loop: streams.", min=1)
]
Rate = Annotated[
    float | None,
    typer.Option(
        help="Open loop: photos per second, at random times, also if the server cannot keep up. (default: closed loop)",
        min=0.01,
        show_default=False,
    ),
]
Seconds = Annotated[float, typer.Option(help="Seconds to measure each load.", min=0.5)]
Photos = Annotated[
    int | None,
    typer.Option(
        help="Photos after which each load ends. (default: as many as the time allows)", min=1, show_default=False
    ),
]
WarmUp = Annotated[float, typer.Option(help="Seconds of load before each measurement; 0 with --photos.", min=0)]
Deadline = Annotated[float, typer.Option(help="Seconds within which a result is in time.", min=0.01)]
BatchSize = Annotated[int, typer.Option(help="Photos per batch, with --mode batch.", min=1)]
MaxInFlight = Annotated[
    int | None,
    typer.Option(
        help="Maximum photos in flight per stream of a closed loop. (default: the server's limit)",
        min=1,
        show_default=False,
    ),
]
Processes = Annotated[
    int, typer.Option(help="Worker processes; one sends a few thousand photos per second.", min=1, max=64)
]
Sweep = Annotated[
    str | None,
    typer.Option(help="Several loads to measure in a row.", metavar="callers=1,2,...|rate=50,...", show_default=False),
]
FindPeak = Annotated[
    bool,
    typer.Option("--find-peak", help="Raise the callers until throughput peaks, then offer 70 % and 200 % of it."),
]
Soak = Annotated[
    float | None,
    typer.Option(
        help="Minutes of a soak test, with callers that drop connections and cancel calls.",
        min=0.05,
        metavar="MINUTES",
        show_default=False,
    ),
]
ServerPid = Annotated[
    int | None,
    typer.Option(help="Process id of a server on this machine, to measure its CPU and memory.", show_default=False),
]
MaxMinutes = Annotated[float, typer.Option(help="Maximum planned duration in minutes.", min=0.1)]
Seed = Annotated[int, typer.Option(help="Seed of the random times.")]
Out = Annotated[
    Path | None, typer.Option(help="HTML report to write, with charts.", dir_okay=False, show_default=False)
]
JsonOut = Annotated[
    Path | None,
    typer.Option("--json", help="JSON file to write, with all measurements.", dir_okay=False, show_default=False),
]


@app.command(help=HELP)
def bench(
    paths: Paths,
    server: options.SingleServer = None,
    mode: LoadMode = None,
    callers: Callers = 8,
    rate: Rate = None,
    seconds: Seconds = 10.0,
    photos: Photos = None,
    warm_up: WarmUp = 1.0,
    deadline: Deadline = 10.0,
    batch_size: BatchSize = 32,
    max_in_flight: MaxInFlight = None,
    processes: Processes = 1,
    sweep: Sweep = None,
    find_peak: FindPeak = False,
    soak: Soak = None,
    server_pid: ServerPid = None,
    max_minutes: MaxMinutes = 10.0,
    seed: Seed = 0,
    tls: options.Tls = False,
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    tls_name: options.TlsName = None,
    token_file: options.TokenFile = None,
    insecure: options.Insecure = False,
    verbose: options.Verbose = False,
    out: Out = None,
    json_out: JsonOut = None,
) -> None:
    """Load-test a server: throughput, latency percentiles and goodput."""
    from planespotter_client._credentials import security
    from planespotter_client.bench import process_stats
    from planespotter_client.bench import sweep as sweeps
    from planespotter_client.bench.workers import WorkerPool

    if sum((sweep is not None, find_peak, soak is not None)) > 1:
        raise typer.BadParameter("--sweep, --find-peak and --soak exclude each other.")
    if rate is not None and (sweep is not None or find_peak or soak is not None):
        raise typer.BadParameter("--rate excludes --sweep, --find-peak and --soak, which set the load.")
    if soak is not None and photos is not None:
        raise typer.BadParameter("--photos excludes --soak, which has a duration.")
    sweep_values = None if sweep is None else sweeps.parse_sweep(sweep)
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
    step_count = len(sweep_values[1]) if sweep_values else sweeps.max_peak_steps() if find_peak else 1
    _check_duration(base, step_count, max_minutes)
    if server_pid is not None:
        process_stats.resident_bytes(server_pid)
    files = _choose_photos(paths)
    for file in filter(None, (out, json_out)):
        file.parent.mkdir(parents=True, exist_ok=True)  # fail now rather than after minutes of load

    address, tls = options.single_server(server, tls)
    connection = options.connection(tls, tls_ca, tls_cert, tls_key, tls_name, token_file, insecure)
    security(address, **connection)  # validates them before any process starts
    with WorkerPool(address, files, processes, connection) as workers:
        base, model = _apply_limits(base, max_in_flight, address, connection)
        context = _context(address, model, base, files, processes)
        with _stop_on_ctrl_c() as stop:
            run = _step_runner(workers, stop, server_pid)
            if sweep_values:
                steps = _until_interrupted(sweeps.sweep(base, *sweep_values, run))
            elif find_peak:
                steps = _until_interrupted(sweeps.find_peak(base, run))
            else:
                name = f"{soak:g} min soak" if soak else f"{rate:g}/s" if rate else f"{callers} callers"
                steps = [run(name, base)]
            _report(steps, context, out, json_out)
    if any(step.interrupted for step in steps):
        raise typer.Exit(130)
    raise typer.Exit(0 if any(step.measurements.latencies.total for step in steps) else 1)


def _check_duration(base: Load, steps: int, max_minutes: float) -> None:
    from planespotter_client.bench.sweep import planned_seconds

    minutes = planned_seconds(base, steps) / 60
    if minutes > max_minutes:
        raise BenchError(
            f"This would take {minutes:.1f} minutes ({steps} loads of {base.warm_up + base.seconds:g} s); the limit is "
            f"{max_minutes:g}. Raise it with --max-minutes {minutes:.0f}, or measure less."
        )


def _choose_photos(paths: list[Path]) -> list[Path]:
    from planespotter_client.classify.file_discovery import find_photos

    chosen: list[Path] = []
    size = 0
    for name in find_photos(paths):
        size += Path(name).stat().st_size
        if chosen and size > MAX_BYTES:
            typer.echo(
                f"Only the first {count_noun(len(chosen), 'photo is', 'photos are')} sent, to limit the memory.",
                err=True,
            )
            break
        chosen.append(Path(name))
    if not chosen:
        raise BenchError("There are no photos in these folders. Name some to send, such as photo.jpg.")
    return chosen


def _apply_limits(load: Load, max_in_flight: int | None, server: str, connection: dict[str, Any]) -> tuple[Load, str]:
    """Return `load` within the limits of the server, and the name of its model."""
    from planespotter_client import PlaneSpotter

    with PlaneSpotter(server, **connection) as spotter:
        model, limits = spotter.get_model(), spotter.get_server_info().limits
    if Mode.BATCH in load.modes and load.batch_size > limits.max_batch_photos:
        typer.echo(
            f"The batch size is reduced to the server's limit of {count_noun(limits.max_batch_photos, 'photo')}.",
            err=True,
        )
    load = replace(
        load,
        batch_size=min(load.batch_size, limits.max_batch_photos),
        max_in_flight=max_in_flight or limits.max_in_flight_per_stream,
        photos_per_message=max(1, limits.max_photos_per_message),
    )
    return load, f"{model.name} {model.version}"


def _context(server: str, model: str, load: Load, files: list[Path], processes: int) -> dict[str, Any]:
    """Return what the report says about the load test."""
    mean_kib = sum(file.stat().st_size for file in files) / len(files) / 1024
    return {
        "server": server,
        "model": model,
        "mode": ", ".join(load.modes),
        "photos": f"{count_noun(len(files), 'file')}, {mean_kib:,.0f} KiB on average",
        "deadline": f"{load.deadline:g} s",
        "processes": processes,
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


@contextmanager
def _stop_on_ctrl_c() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets; a second Ctrl-C ends the program."""
    stop = threading.Event()

    def on_signal(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = signal.signal(signal.SIGINT, on_signal)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


def _step_runner(workers: "WorkerPool", stop: threading.Event, server_pid: int | None) -> "RunLoad":
    """Return a function that runs a load, with a progress bar on stderr if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from planespotter_client.bench import process_stats
    from planespotter_client.bench.sweep import Step

    def run(name: str, load: Load) -> Step:
        console = Console(stderr=True)
        columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]:,} photos")]
        memory: list[tuple[float, int]] = []
        cpu: list[tuple[float, float]] = []
        duration = load.warm_up + load.seconds
        if not console.is_terminal:
            typer.echo(f"{name}: {duration:g} s at most.", err=True)
        started = time.monotonic()
        with Progress(
            *columns,
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            redirect_stdout=False,
        ) as progress:
            task = progress.add_task(name, total=duration, done=0)

            def on_progress(done: int) -> None:
                elapsed = time.monotonic() - started
                progress.update(task, completed=min(elapsed, duration), done=done)
                if server_pid is None or elapsed < load.warm_up:
                    return
                cpu_seconds = process_stats.cpu_seconds(server_pid)
                if not math.isnan(cpu_seconds) and elapsed <= duration:
                    cpu.append((elapsed, cpu_seconds))
                if not memory or elapsed - memory[-1][0] >= MEMORY_INTERVAL:
                    memory.append((elapsed, process_stats.resident_bytes(server_pid)))

            measurements = workers.run(load, on_progress, stop)
        return Step(name, load, measurements, memory, cpu, interrupted=stop.is_set())

    return run


def _until_interrupted(steps: "Iterator[Step]") -> "list[Step]":
    completed: list[Step] = []
    for step in steps:
        completed.append(step)
        if step.interrupted:
            break
    return completed


def _report(steps: "list[Step]", context: dict[str, Any], out: Path | None, json_out: Path | None) -> None:
    """Print the results, and write the reports that are asked for."""
    from rich.console import Console

    from planespotter_client.bench import console_report, html_report
    from planespotter_client.commands.atomic_write import atomic_write

    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    for name, value in context.items():
        console.print(f"{name:<10} {value}", markup=False)
    console.print()
    console.print(console_report.table(steps))
    for note in console_report.notes(steps):
        console.print(note, markup=False)
    if json_out is not None:
        with atomic_write(json_out) as file:
            file.write((json.dumps(console_report.as_json(steps, context), indent=2) + "\n").encode())
    if out is not None:
        with atomic_write(out) as file:
            file.write(html_report.html_report(steps, context).encode())
        typer.echo(f"The report is in {out}.", err=True)
