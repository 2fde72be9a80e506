"""GPU run: train, export and measure everything that takes a GPU, within a few minutes and into one folder.

    python -m scripts.gpu_run CATALOG WEIGHTS OUT [--minutes 8] [--work DIR] [--only STEP ...] [--set NAME=VALUE ...]

Steps are processes, each with a time budget. One that fails or runs out of its budget is recorded with the reason, and
the others continue. The same command runs again what is not done; trainings resume from their last checkpoint.

OUT/results.json         state, seconds and metrics of each step, or the reason why it has none; the machine; the files
OUT/airliners.tar        the bundle of the seed with the best validation accuracy, at most 16 MB
OUT/airliners-small.tar  the bundle of the student, at most 16 MB
OUT/baseline_ladder.*    the chart of the baseline ladder
WORK                     unpacked catalog, runs, bundles and a log of each step (default: next to OUT)
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tarfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

MAX_BUNDLE_BYTES = 16_000_000
GRACE_SECONDS = 10.0
"""Seconds from the request to stop a step to its kill: a training saves its checkpoint."""

MIN_SECONDS = 5.0
"""A step with less time is skipped."""

CONSTRUCTORS = ("Airbus", "Boeing")
TEACHER, STUDENT = "airliners", "airliners-small"
"""Names of the bundles; the student's recipe has the same name."""

BEST = ("height=144", "width=224", "epochs=15")
TRAINING_SHARE = 0.5
"""Share of a seed's budget for training steps. The rest is reading photos, compiling, and the GPU's other work."""

TINY = (
    "height=32",
    "width=48",
    "batch_size=8",
    "min_photos=5",
    "epochs=2",
    "steps_per_epoch=3",
    "warmup_epochs=0",
)
"""Settings that let every step end within seconds on a CPU; the accuracy means nothing."""


@dataclass(frozen=True)
class Options:
    """What to run, and where."""

    catalog: Path
    """Folder of the catalog, or a tar file of it."""
    weights: Path
    """Keras HDF5 file of VGG16."""
    out: Path
    work: Path
    minutes: float = 8.0
    """Maximum duration of everything."""
    seeds: int = 3
    settings: tuple[str, ...] = ()
    """Overrides of every recipe."""
    measured_seconds: float = 6.0
    """Duration of each measurement of throughput."""

    def __post_init__(self) -> None:
        for name in ("catalog", "weights", "out", "work"):  # JSON has texts only
            object.__setattr__(self, name, Path(getattr(self, name)))
        object.__setattr__(self, "settings", tuple(self.settings))

    @property
    def request(self) -> dict[str, Any]:
        """What decides the results: work of another request is not resumed."""
        files = {"catalog": str(self.catalog.resolve()), "weights": str(self.weights.resolve())}
        return files | {"seeds": self.seeds, "settings": list(self.settings)}


@dataclass(frozen=True)
class Outcome:
    """What became of a step."""

    status: str
    """done, stopped (by its budget; resumable), skipped or failed."""
    reason: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


# ---------------------------------------------------------------------------------------------------- the steps


def throughput(options: Options, _: float) -> Outcome:
    """Measure the photos per second of training `best`, and the peak of a product of matrices."""
    from scripts.bench import training

    settings = [*BEST, *options.settings]
    machine = training.device()
    folder = options.work / "throughput" / str(os.getpid())
    rate = training.train_here("best", settings, folder, options.measured_seconds)["photos_per_second"]
    flops = training.step_flops("best", settings)
    metrics = {
        "device": machine["name"],
        "compute_type": machine["type"],
        "peak_tflops": machine["peak"] / 1e12,
        "photos_per_second": rate,
        "gflop_per_photo": flops / 1e9,
        "share_of_peak": rate * flops / machine["peak"],
    }
    return Outcome("done", metrics=metrics)


def best(options: Options, seconds: float, seed: int) -> Outcome:
    """Train `best` with a seed, for as many steps as fit into `seconds` at the measured throughput."""
    from planespotter_training import recipes, run_folder

    runs = options.work / "runs"
    run, first = runs / f"best-seed-{seed}", runs / "best-seed-0"
    if (run / "run.json").is_file():
        recipe = run_folder.read(run).recipe  # to resume it, its length must not change
    else:
        recipe = recipes.load("best", [*BEST, *options.settings, f"seed={seed}"])
        rate = _outcome(options, "throughput").metrics.get("photos_per_second", 0)
        steps = int(rate * seconds * TRAINING_SHARE / recipe.batch_size / recipe.epochs)
        if steps and not recipe.steps_per_epoch:
            recipe = recipes.load("best", [*BEST, *options.settings, f"seed={seed}", f"steps_per_epoch={steps}"])
    complete = _train(options, "best", recipe, run, first if seed else None, None)
    return _of_training(run, complete)


def baseline_ladder(options: Options, _: float) -> Outcome:
    """Train the baseline ladder at the original's length, on the photos with exact labels."""
    from rich.console import Console

    from planespotter_training import recipes
    from planespotter_training.loop.job import TrainJob
    from planespotter_training.reports.baseline_ladder import NAME, InitialSource, train_baseline_ladder

    folder = options.work / "runs" / "baseline-ladder"
    changes = ["exact_labels=true", *options.settings]
    job = TrainJob(_catalog(options), "scratch", recipes.load("scratch", changes), folder, CONSTRUCTORS)
    complete = train_baseline_ladder(job, changes, InitialSource(weights=options.weights), Console(width=200))
    metrics = {name: _metrics(folder / name) for name in recipes.BASELINE_LADDER if (folder / name).is_dir()}
    if not complete:
        return Outcome("stopped", f"{len(metrics)} of {len(recipes.BASELINE_LADDER)} steps were reached", metrics)
    for kind in ("svg", "png"):
        (options.out / f"{NAME}.{kind}").write_bytes((folder / f"{NAME}.{kind}").read_bytes())
    return Outcome("done", metrics=metrics)


def export(options: Options, _: float) -> Outcome:
    """Export the seed with the best validation accuracy, with weights quantized to int8."""
    scores = {run: _metrics(run).get("best_validation") for run in (options.work / "runs").glob("best-seed-*")}
    scored = {run: score for run, score in scores.items() if score is not None}
    if not scored:
        return Outcome("skipped", "No seed of best has finished an epoch.")
    chosen = max(sorted(scored), key=scored.__getitem__)
    return _export(options, chosen, TEACHER)


def student(options: Options, _: float) -> Outcome:
    """Train a narrow network on the soft labels of the exported one, and export it."""
    from planespotter_training import recipes

    teacher, run = options.work / "bundles" / TEACHER, options.work / "runs" / STUDENT
    if not teacher.is_dir():
        return Outcome("skipped", "There is no exported bundle to learn from.")
    recipe = recipes.load(STUDENT, options.settings)
    complete = _train(options, STUDENT, recipe, run, options.work / "runs" / "best-seed-0", teacher)
    trained = _of_training(run, complete)
    if not complete:
        return trained
    exported = _export(options, run, STUDENT)
    return Outcome(exported.status, exported.reason, {"training": trained.metrics, **exported.metrics})


def serving(options: Options, _: float) -> Outcome:
    """Measure the photos per second of a real server on loopback, with each engine, for the exported bundle."""
    from planespotter_client.bench.load_generator import Load, Mode
    from planespotter_client.bench.workers import WorkerPool
    from planespotter_client.commands.local_server import LocalServerError, local_server
    from planespotter_scraping import catalog

    bundle, folder = options.work / "bundles" / TEACHER, _catalog(options)
    if not bundle.is_dir():
        return Outcome("skipped", "There is no exported bundle to serve.")
    photos = [folder / file for file in catalog.read(folder)["file"][:64]]
    processes = max(1, min(4, (os.cpu_count() or 1) // 4))
    measured: dict[str, Any] = {"photos_per_second": {}}
    for engine in ("jax", *(["openvino"] if find_spec("openvino") else [])):
        flags = ("--engine", engine, "--engine-cache", str(options.work / "engine_cache"))
        try:
            with (
                local_server(options.work / "logs" / f"server-{engine}.log", bundle, *flags) as (address, _pid),
                WorkerPool(address, photos, processes) as workers,
            ):
                loads = {
                    mode: Load((mode,), 4 * processes, seconds=options.measured_seconds, deadline=60.0)
                    for mode in (Mode.BATCH, Mode.STREAM)
                }
                rates = {str(mode): workers.run(load).throughput for mode, load in loads.items()}
        except LocalServerError as error:
            measured[f"{engine}_failed"] = str(error)
        else:
            measured["photos_per_second"][engine] = rates
    if not measured["photos_per_second"]:
        return Outcome("failed", "No engine could serve the bundle.", measured)
    return Outcome("done", metrics=measured)


def _train(options: Options, name: str, recipe: Any, run: Path, shared: Path | None, teacher: Path | None) -> bool:
    from rich.console import Console

    from planespotter_training.loop.job import TrainJob
    from planespotter_training.loop.train import train
    from planespotter_training.network import pretrained

    console = Console(width=200)
    initial = pretrained.choose(recipe, options.weights if recipe.pretrained else None, None, console)
    job = TrainJob(
        catalog=_catalog(options),
        recipe_name=name,
        recipe=recipe,
        out=run,
        constructors=CONSTRUCTORS,
        initial=initial,
        teacher=teacher,
        shared_dataset=shared,
    )
    return train(job, console)


def _of_training(run: Path, complete: bool) -> Outcome:
    metrics = _metrics(run)
    if complete:
        return Outcome("done", metrics=metrics)
    return Outcome("stopped", f"{metrics.get('epochs', 0):g} of {metrics['planned_epochs']} epochs fit", metrics)


def _metrics(run: Path) -> dict[str, Any]:
    """Return what a run has reached: epochs, validation accuracy, photos per second, and metrics on test photos."""
    from planespotter_training import run_folder

    description = run_folder.read(run)
    metrics: dict[str, Any] = {
        "planned_epochs": description.recipe.epochs,
        "steps_per_epoch": description.recipe.steps_per_epoch,
        "photos": description.photos,
    }
    lines = run_folder.read_lines(run / run_folder.LOG)
    if lines:
        scores = [line["validation"].get("all/constructor_accuracy", 0.0) for line in lines]
        metrics |= {
            "epochs": lines[-1]["epoch"],
            "best_validation": max(scores),
            "last_validation": scores[-1],
            "photos_per_second": lines[-1]["photos_per_second"],
            "share_of_peak": lines[-1]["share_of_peak"],
        }
    if final := run_folder.read_final_metrics(run):
        test = final.get("test", {}).get("hierarchical", {})
        metrics["test"] = {name: metric["value"] for name, metric in test.items()}
    return metrics


def _export(options: Options, run: Path, name: str) -> Outcome:
    """Export a run to WORK/bundles/NAME and OUT/NAME.tar, for int8 inference too unless that loses accuracy."""
    from rich.console import Console

    from planespotter_training.errors import TrainingError
    from planespotter_training.export.export import ExportOptions
    from planespotter_training.export.export import export as write

    folder, reason = options.work / "bundles" / name, ""
    console = Console(width=200)
    if find_spec("openvino") is None:
        reason = "OpenVINO is not installed, so the bundle is not calibrated for int8 inference."
        bundle = write(run, folder, name, "1", console, ExportOptions(quantize_weights=True))
    else:
        try:
            bundle = write(run, folder, name, "1", console, ExportOptions(quantize_weights=True, int8=True))
        except TrainingError as error:
            reason = f"Not calibrated for int8 inference. {error}"
            bundle = write(run, folder, name, "1", console, ExportOptions(quantize_weights=True))
    size = sum(path.stat().st_size for path in folder.iterdir())
    metrics = {
        "run": run.name,
        "bytes": size,
        "int8_calibration": asdict(bundle.int8_calibration)["comparison"] if bundle.int8_calibration else None,
        "test": [asdict(metric) for metric in bundle.metrics],
    }
    if size > MAX_BUNDLE_BYTES:
        return Outcome("failed", f"The bundle has {size:,} bytes, more than {MAX_BUNDLE_BYTES:,}.", metrics)
    partial = options.out / f".{name}.tar"
    with tarfile.open(partial, "w") as archive:
        archive.add(folder, arcname=name)
    partial.replace(options.out / f"{name}.tar")
    return Outcome("done", reason, metrics)


def _catalog(options: Options) -> Path:
    """Return the folder of the catalog, which `unpack` has unpacked if it is a tar file."""
    return options.catalog if options.catalog.is_dir() else _with_catalog(options.work / "catalog")


def _with_catalog(folder: Path) -> Path:
    """Return `folder`, or the folder in it, that holds catalog.csv."""
    return next((path.parent for path in sorted(folder.glob("**/catalog.csv"))), folder)


# ---------------------------------------------------------------------------------------------------- running them


@dataclass(frozen=True)
class Step:
    """A step and its share of the time."""

    work: Callable[[Options, float], Outcome]
    share: float


def steps(options: Options) -> dict[str, Step]:
    """Return all steps by name."""

    def seed_step(seed: int) -> Step:
        return Step(lambda options, seconds: best(options, seconds, seed), 0.47 / options.seeds)

    return {
        "throughput": Step(throughput, 0.08),
        **{f"best-seed-{seed}": seed_step(seed) for seed in range(options.seeds)},
        "export": Step(export, 0.12),
        "student": Step(student, 0.14),
        "baseline-ladder": Step(baseline_ladder, 0.73),
        "serving": Step(serving, 0.12),
    }


def stages(options: Options) -> list[list[list[str]]]:
    """Return the order of the steps: stages, each of lanes that share the GPU, each of steps one after another.

    Small batches leave a GPU idle between their kernels, so the baseline ladder trains alongside `best`. What is timed
    runs alone.
    """
    trainings = [f"best-seed-{seed}" for seed in range(options.seeds)]
    return [[["throughput"]], [[*trainings, "export", "student"], ["baseline-ladder"]], [["serving"]]]


def run_process(command: Sequence[str], seconds: float, log: Path, stop: threading.Event) -> str:
    """Run a process and its children for at most `seconds`; its output goes to `log`.

    Returns:
        "" if it ended well, or else what happened.
    """
    environment = {
        # Several processes share the GPU, so none may take all of its memory.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_COMPILATION_CACHE_DIR": str(log.parent.parent / "xla"),
        "PYTHONUNBUFFERED": "1",
        **os.environ,
    }
    with (
        log.open("a", encoding="utf-8") as output,
        subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        ) as process,
    ):
        until = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < until and not stop.is_set():
            time.sleep(0.05)
        in_time = process.poll() is not None
        if not in_time:
            process.terminate()
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        _kill_group(process.pid)
    if not in_time:
        return "it was interrupted" if stop.is_set() else f"its budget of {seconds:.0f} s ran out"
    return "" if process.returncode == 0 else f"it ended with exit status {process.returncode}; see {log}"


def _kill_group(leader: int) -> None:
    """Kill what is left of the process group of a step, such as its server."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


class Results:
    """The results file: written after every step, atomically."""

    def __init__(self, options: Options) -> None:
        self._options, self._lock, self._start = options, threading.Lock(), time.monotonic()
        self.outcomes = {name: _outcome(options, name) for name in steps(options)}

    def add(self, name: str, outcome: Outcome) -> None:
        """Record the outcome of a step."""
        with self._lock:
            self.outcomes[name] = outcome
            _write_json(_outcome_file(self._options, name), asdict(outcome))
            self.write()

    def write(self) -> None:
        """Write results.json."""
        out = self._options.out
        files = {path.name: path.stat().st_size for path in sorted(out.glob("[!.]*")) if path.is_file()}
        content = {
            "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
            "request": self._options.request | {"minutes": self._options.minutes},
            "seconds": round(time.monotonic() - self._start, 1),
            "steps": {name: asdict(outcome) for name, outcome in self.outcomes.items()},
            "files": {name: size for name, size in files.items() if name != "results.json"},
        }
        _write_json(out / "results.json", content)


def run_all(options: Options, only: Sequence[str], stop: threading.Event) -> Results:
    """Run every step that is not done yet, or those named in `only`."""
    deadline = time.monotonic() + 60 * options.minutes
    results, table = Results(options), steps(options)

    def run_lane(names: Sequence[str]) -> None:
        for name in names:
            if _outcome(options, name).status == "done" or (only and name not in only):
                continue
            since = time.monotonic()
            seconds = min(table[name].share * 60 * options.minutes, deadline - since - GRACE_SECONDS)
            outcome = Outcome("skipped", "The total time was used up.")
            if seconds >= MIN_SECONDS and not stop.is_set():
                print(f"{name}: at most {seconds:.0f} s", file=sys.stderr, flush=True)
                outcome = run_step(options, name, seconds, stop)
            elif stop.is_set():
                outcome = Outcome("skipped", "The run was interrupted.")
            took = time.monotonic() - since
            results.add(name, Outcome(outcome.status, outcome.reason, outcome.metrics, round(took, 1)))
            print(f"{name}: {outcome.status} after {took:.0f} s. {outcome.reason}", file=sys.stderr, flush=True)

    for lanes in stages(options):
        with ThreadPoolExecutor(len(lanes)) as pool:
            list(pool.map(run_lane, lanes))
    results.write()
    return results


def run_step(options: Options, name: str, seconds: float, stop: threading.Event) -> Outcome:
    """Run a step in a separate process, which holds the device until it ends."""
    file = _outcome_file(options, name)
    file.unlink(missing_ok=True)
    plan = json.dumps({**asdict(options), "step": name, "seconds": seconds}, default=str)
    command = [sys.executable, "-m", "scripts.gpu_run", "--run-step", plan]
    problem = run_process(command, seconds, options.work / "logs" / f"{name}.log", stop)
    if file.is_file():
        return _outcome(options, name)
    return Outcome("failed", f"The step has no result: {problem or 'it wrote none'}.")


def run_step_here(plan: Mapping[str, Any]) -> None:
    """Run a step in this process, and write its outcome."""
    options = Options(**{name: plan[name] for name in Options.__dataclass_fields__})
    try:
        outcome = steps(options)[plan["step"]].work(options, plan["seconds"])
    except Exception as error:  # anything may fail on a machine that nobody has tried
        traceback.print_exc()
        outcome = Outcome("failed", f"{type(error).__name__}: {error}")
    _write_json(_outcome_file(options, plan["step"]), asdict(outcome))


def _outcome_file(options: Options, name: str) -> Path:
    return options.work / "steps" / f"{name}.json"


def _outcome(options: Options, name: str) -> Outcome:
    """Return the recorded outcome of a step, from this run or an earlier one."""
    file = _outcome_file(options, name)
    return Outcome(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else Outcome("skipped", "Not run.")


def _write_json(path: Path, content: Any) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
    part.replace(path)


def unpack(options: Options) -> None:
    """Create the folders, check the request and unpack the catalog.

    Raises:
        SystemExit: The inputs are missing, or the work folder is of another request.
    """
    if not options.weights.is_file():
        raise SystemExit(f"There is no file {options.weights}. Name the Keras HDF5 file of VGG16.")
    for folder in (options.out, options.work / "steps", options.work / "logs", options.work / "runs"):
        folder.mkdir(parents=True, exist_ok=True)
    request = options.work / "request.json"
    if request.is_file() and json.loads(request.read_text(encoding="utf-8")) != options.request:
        raise SystemExit(f"{options.work} holds the work of other arguments. Name another folder with --work.")
    if options.catalog.is_file() and not (options.work / "catalog").is_dir():
        part = options.work / ".catalog.part"
        try:
            with tarfile.open(options.catalog) as archive:
                archive.extractall(part, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise SystemExit(f"{options.catalog} cannot be unpacked: {error}. Name a tar file or a folder.") from error
        part.rename(options.work / "catalog")
    if not (_catalog(options) / "catalog.csv").is_file():
        raise SystemExit(f"{options.catalog} has no catalog.csv. Name the folder of a catalog, or a tar file of it.")
    _write_json(request, options.request)


def parse(arguments: Sequence[str] | None) -> tuple[Options, list[str]]:
    """Return the options of the command line, and the steps to run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog", type=Path, help="folder of the catalog, or a tar file of it")
    parser.add_argument("weights", type=Path, help="Keras HDF5 file of VGG16")
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--work", type=Path, help="folder of everything else (default: OUT-work)")
    parser.add_argument("--minutes", type=float, default=8, help="maximum duration (default: 8)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of best (default: 3)")
    parser.add_argument("--only", nargs="+", default=[], metavar="STEP", help="run only these steps")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--tiny", action="store_true", help="shrink everything, to try the script itself on a CPU")
    parsed = parser.parse_args(arguments)
    options = Options(
        catalog=parsed.catalog.resolve(),
        weights=parsed.weights.resolve(),
        out=parsed.out.resolve(),
        work=(parsed.work or parsed.out.with_name(f"{parsed.out.name}-work")).resolve(),
        minutes=parsed.minutes,
        seeds=parsed.seeds,
        settings=(*(TINY if parsed.tiny else ()), *parsed.settings),
        measured_seconds=0.5 if parsed.tiny else 6,
    )
    unknown = [name for name in parsed.only if name not in steps(options)]
    if unknown or options.seeds < 1 or options.minutes <= 0:
        parser.error(f"--only takes {', '.join(steps(options))}; --seeds and --minutes must be above 0")
    return options, parsed.only


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the steps; exit with status 1 if one has failed."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["--run-step"]:
        run_step_here(json.loads(words[1]))
        return
    options, only = parse(words)
    unpack(options)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    results = run_all(options, only, stop)
    failed = [name for name, outcome in results.outcomes.items() if outcome.status == "failed"]
    print(f"Wrote {options.out / 'results.json'}.", file=sys.stderr)
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}. The reasons are in results.json.")


if __name__ == "__main__":
    main()
