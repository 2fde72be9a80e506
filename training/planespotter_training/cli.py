"""Commands of the training package: train, recipes, export, evaluate, compare."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planespotter_training import recipes

if TYPE_CHECKING:
    from rich.console import Console

    from planespotter_training.loop.job import TrainJob

app = typer.Typer()

BaselineLadder = Annotated[
    bool,
    typer.Option(
        "--baseline-ladder",
        help="Train the recipes of the original project one after another (scratch, scratch-augmented, frozen, "
        "fine-tuned, and fine-tuned-rgb with its preprocessing), and chart their loss and accuracy. Excludes --recipe.",
    ),
]
HoldOutSource = Annotated[
    list[str] | None,
    typer.Option(
        help="Source to hold out of training: its photos go to the test split, with all photos of the same airframes "
        "and all near duplicates. Repeatable."
    ),
]
HoldOutAirline = Annotated[
    list[str] | None, typer.Option(help="Airline to hold out of training, in the same way. Repeatable.")
]
TrainOnlySource = Annotated[
    list[str] | None,
    typer.Option(
        help="Source whose photos are used for training only, such as drawings; those of `planespotter render` always "
        "are. Repeatable."
    ),
]
LeaveOneSourceOut = Annotated[
    bool,
    typer.Option(
        "--leave-one-source-out",
        help="Train a run without each source in turn, and measure it on that source. Excludes --hold-out-source.",
    ),
]
DeviceCacheGib = Annotated[
    float | None,
    typer.Option(
        help="Maximum size in GiB of photos cached on the device; larger data sets are streamed from disk. (default: a "
        "quarter of the device's memory)",
        show_default=False,
        min=0,
    ),
]
FeatureCache = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the features of frozen layers, for recipes that keep them (frozen_views). Runs with the same "
        "frozen layers, photo size, augmentation and seed can share it, one after another. (default: in the run)",
        show_default=False,
    ),
]
Init = Annotated[
    Path | None,
    typer.Option(
        help="Run, bundle, or name of an installed model to take the initial weights from: those of its trunk, and "
        "those of its heads if it distinguishes the same types. So a training continues with other settings. "
        "--recipe adapt keeps the types of the bundle, and adds those of the catalog."
    ),
]
HeartbeatTimeout = Annotated[
    int,
    typer.Option(
        help="On several machines: seconds without a sign of life of another process, after which this one ends with "
        "exit code 75. Also the minimum time that a step may take.",
        min=5,
    ),
]
StartTimeout = Annotated[
    int, typer.Option(help="On several machines: seconds to wait until all processes have started.", min=1)
]
StallFactor = Annotated[
    float,
    typer.Option(
        help="On several machines: multiple of the median duration of a step after which a step that has not completed "
        "ends this process with exit code 75.",
        min=2,
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        help=f"Training configuration: {', '.join(recipes.names())}. (default: small)",
        autocompletion=recipes.names,
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Override a setting of the recipe, such as epochs=5. Repeatable. "
        "`planespotter recipes NAME` lists and explains them.",
    ),
]


@app.command()
def train(
    catalog: Annotated[Path, typer.Argument(help="Folder of the catalog: catalog.csv and its images.")],
    out: Annotated[Path, typer.Option(help="Folder of the run. If it holds this run already, training resumes.")],
    recipe: RecipeName = None,
    constructors: Annotated[str, typer.Option(help="Constructors to classify, separated by commas.")] = "Airbus,Boeing",
    settings: Settings = None,
    weights: Annotated[
        Path | None, typer.Option(help="Keras HDF5 file of VGG16 to take the initial weights from.")
    ] = None,
    init: Init = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Bundle to distil: its predictions for the training photos are learnt next to the labels, as the "
            "recipe's distillation_weight says. It must distinguish the same types."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Random seed. `compare` reports mean and range over seeds.", min=0),
    ] = None,
    baseline_ladder: BaselineLadder = False,
    hold_out_source: HoldOutSource = None,
    hold_out_airline: HoldOutAirline = None,
    leave_one_source_out: LeaveOneSourceOut = False,
    train_only_source: TrainOnlySource = None,
    device_cache_gib: DeviceCacheGib = None,
    feature_cache: FeatureCache = None,
    heartbeat_timeout: HeartbeatTimeout = 30,
    start_timeout: StartTimeout = 30,
    stall_factor: StallFactor = 20.0,
) -> None:
    """Train a network on the photos of a catalog.

    Photos are split by airframe into train, validation and test. Each epoch prints two accuracies on the validation
    photos: constructor, and path (constructor, family and model all correct). Ctrl-C saves a checkpoint; the same
    command resumes from it. Recipes that start from the ImageNet weights download them once (59 MB).

    All devices of this machine share each batch. To train on several machines, start the same command on each with
    JAX_COORDINATOR_ADDRESS (HOST:PORT of the first), JAX_NUM_PROCESSES and JAX_PROCESS_ID set; they need a shared disk.
    If one is lost or stuck, the others end with exit code 75: start the same command on each again.

    Example: planespotter train photos --recipe small --out runs/first

    Example: planespotter train photos --baseline-ladder --out runs/baseline-ladder --set epochs=10

    Example: planespotter train photos --hold-out-source spotters --out runs/without-spotters

    Example: planespotter train corrected --recipe adapt --init airliners --out runs/adapted

    Example: planespotter train photos --recipe airliners-small --teacher bundles/large --out runs/small

    Example: planespotter train photos --leave-one-source-out --out runs/leave-one-source-out
    """
    if leave_one_source_out and (baseline_ladder or hold_out_source):
        other = "--baseline-ladder" if baseline_ladder else "--hold-out-source"
        raise typer.BadParameter(f"It holds out each source: omit {other}.", param_hint="--leave-one-source-out")
    if baseline_ladder and recipe is not None:
        raise typer.BadParameter("--baseline-ladder trains its own five recipes: omit --recipe.", param_hint="--recipe")
    from planespotter_training.loop.supervisor import supervised

    with supervised(out):
        from rich.console import Console

        from planespotter_training.loop import devices
        from planespotter_training.loop.job import TrainJob

        console = Console(stderr=True)
        changes = [*(settings or ()), *([] if seed is None else [f"seed={seed}"])]
        job = TrainJob(
            catalog=catalog,
            recipe_name=recipe or "small",
            recipe=recipes.load(recipe or "small", changes),
            out=out,
            constructors=[name.strip() for name in constructors.split(",") if name.strip()],
            held_out={"sources": hold_out_source or [], "airlines": hold_out_airline or []},
            train_only=train_only_source or (),
            cache_bytes=None if device_cache_gib is None else int(device_cache_gib * 2**30),
            feature_cache=feature_cache,
            teacher=teacher,
            timeouts=devices.Timeouts(heartbeat_timeout, start_timeout, stall_factor),
        )
        devices.initialize(job.timeouts)
        if baseline_ladder:
            complete = _baseline_ladder(job, changes, weights, init, console)
            done = f"Trained all of them. See {out / 'baseline_ladder.html'}"
        elif leave_one_source_out:
            complete = _leave_one_source_out(_with_initial_weights(job, weights, init, console), console)
            done = f"Trained a run without each source. See {out / 'leave_one_source_out.html'}"
        else:
            complete = _train(_with_initial_weights(job, weights, init, console), console)
            done = f"Trained. Next: planespotter export {out} --out BUNDLE"
        typer.echo(
            done if complete else f"Stopped early; a checkpoint is in {out}. The same command resumes.", err=True
        )
        raise typer.Exit(0 if complete else 130)


def _train(job: "TrainJob", console: "Console") -> bool:
    from planespotter_training.loop.train import train  # imports JAX

    return train(job, console)


def _with_initial_weights(job: "TrainJob", weights: Path | None, init: Path | None, console: "Console") -> "TrainJob":
    from planespotter_training.network import pretrained

    init = pretrained.find_init(init)
    job = replace(job, recipe=pretrained.fit_recipe(job.recipe, init))
    return replace(job, initial=pretrained.choose(job.recipe, weights, init, console))


def _baseline_ladder(
    job: "TrainJob", changes: list[str], weights: Path | None, init: Path | None, console: "Console"
) -> bool:
    """Train the recipes of the baseline ladder; return whether all are complete."""
    from planespotter_training.network import pretrained
    from planespotter_training.reports.baseline_ladder import InitialSource, train_baseline_ladder

    return train_baseline_ladder(job, changes, InitialSource(weights, pretrained.find_init(init)), console)


def _leave_one_source_out(job: "TrainJob", console: "Console") -> bool:
    """Train a run without each source, and print how each does on its source; return whether all are complete."""
    from rich.console import Console

    from planespotter_training.evaluation.metrics import legend
    from planespotter_training.reports.held_out_table import COLUMNS
    from planespotter_training.reports.leave_one_source_out import train_leave_one_source_out

    table = train_leave_one_source_out(job, console)
    if table is not None:
        Console().print(table, legend(COLUMNS))
    return table is not None


@app.command(name="recipes")
def show_recipes(
    name: Annotated[
        str, typer.Argument(help="Recipe to show. (default: one line for each recipe)", show_default=False)
    ] = "",
) -> None:
    """List the recipes, or show the lab notebook of one and each of its settings.

    Example: planespotter recipes best
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from planespotter_training.recipes.config import descriptions

    table = Table.grid(padding=(0, 2))
    if not name:
        for recipe_name in recipes.names():
            table.add_row(recipe_name, recipes.notebook(recipe_name).splitlines()[0])
        Console().print(table)
        return
    recipe = recipes.load(name)
    typer.echo(recipes.notebook(name))
    for setting, meaning in descriptions().items():
        table.add_row(f"{setting}={escape(str(getattr(recipe, setting)))}", escape(meaning))
    Console().print(table)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write.")],
    name: Annotated[
        str, typer.Option(help="Name of the model. (default: the name of the bundle's folder)", show_default=False)
    ] = "",
    version: Annotated[str, typer.Option(help="Version of the model.")] = "1",
    quantize_weights: Annotated[
        bool, typer.Option("--quantize-weights", help="Store the weights as int8: a quarter of the size.")
    ] = False,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Compute convolutions in bfloat16 on a GPU; a CPU is not affected.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Calibrate for int8 inference on a CPU, several times as fast, and compare it with float32.",
        ),
    ] = False,
    int8_calibration: Annotated[
        Path | None,
        typer.Option(
            help="Catalog whose photos the int8 ranges are calibrated on. (default: the run's validation photos)",
            show_default=False,
        ),
    ] = None,
    calibration_run: Annotated[
        list[Path] | None,
        typer.Option(
            help="Run that held out sources (--hold-out-source) and classifies the same types: temperatures and "
            "thresholds are fitted on these sources, so that they hold for photos from elsewhere. May be RUN itself. "
            "Repeatable. (default: fitted on the validation photos)",
            show_default=False,
        ),
    ] = None,
    max_accuracy_drop: Annotated[
        float,
        typer.Option(
            help="Maximum accuracy that int8 may lose, in percentage points; above it nothing is written.", min=0
        ),
    ] = 0.5,
    target_precision: Annotated[
        float,
        typer.Option(help="Share of predictions at each confidence level that must be correct.", min=0.5, max=0.999),
    ] = 0.95,
) -> None:
    """Export a run as a model bundle that can be served: calibrated, measured on its test photos, verified by hashes.

    The threshold of each confidence level is chosen on the validation photos, so that at least --target-precision of
    the predictions with that level are correct. A higher target leaves more predictions unknown.

    Example: planespotter export runs/first --out bundles/first

    Example: planespotter export runs/all --calibration-run runs/without-spotters --out bundles/all
    """
    from rich.console import Console

    from planespotter_training.evaluation.evaluate import table
    from planespotter_training.evaluation.metrics import legend
    from planespotter_training.export import export as exporting

    if int8_calibration is not None and not int8:
        raise typer.BadParameter("It is used for int8 inference only: add --int8.", param_hint="--int8-calibration")
    options = exporting.ExportOptions(
        target_precision=target_precision,
        quantize_weights=quantize_weights,
        bf16=bf16,
        int8=int8,
        int8_calibration=int8_calibration,
        calibration_runs=calibration_run or (),
        max_accuracy_drop=max_accuracy_drop,
    )
    bundle = exporting.export(run, out, name or out.resolve().name, version, Console(stderr=True), options)
    Console().print(table(bundle.metrics), legend([metric.name for metric in bundle.metrics]))
    confident = next(
        (metric for metric in bundle.metrics if metric.name == "confident_share" and not metric.source), None
    )
    if confident is not None and confident.value == 0:
        typer.echo(
            f"Warning: this network is never confident: {out} would predict unknown for each photo. Train it for more "
            "epochs or on more photos, or export with a lower --target-precision.",
            err=True,
        )
    typer.echo(f"Wrote {out}. Next: planespotter serve --model {out}", err=True)


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    catalog: Annotated[Path, typer.Argument(help="Folder of the catalog.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write report.html, metrics.json and predictions.csv to.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Photos to evaluate: train, validation, test (in neither of these) or all.")
    ] = "test",
    only_source: Annotated[list[str] | None, typer.Option(help="Only photos of this source. Repeatable.")] = None,
    airline: Annotated[list[str] | None, typer.Option(help="Only photos of this airline. Repeatable.")] = None,
    engine: Annotated[
        str, typer.Option(help="Inference engine, as in serve: auto, jax, openvino or openvino-float32.")
    ] = "auto",
    baseline: Annotated[
        list[Path] | None,
        typer.Option(help="Baseline to compare with: a run with a baseline head, or a bundle. Repeatable."),
    ] = None,
) -> None:
    """Evaluate a bundle on the photos of a catalog, by source, with the code that serves it.

    By default, photos that the bundle was trained or calibrated on are excluded, also in other catalogs, and so are all
    photos of the same airframes and all near duplicates. Sources and airlines that were held out of training by name
    have a separate table. With --out, the report shows every metric with its 95 % interval, confusion matrices, and the
    worst mistakes with heat maps.

    Example: planespotter evaluate bundles/first photos --out reports/first
    """
    from rich.console import Console

    from planespotter_models import EngineChoice, read_bundle
    from planespotter_training.data.split import SPLITS
    from planespotter_training.evaluation import evaluate as evaluation
    from planespotter_training.evaluation.metrics import legend

    if split not in (*SPLITS, "all"):
        raise typer.BadParameter(f"{split!r} is not one of {', '.join(SPLITS)}, all.", param_hint="--split")
    if engine not in list(EngineChoice):
        raise typer.BadParameter(f"{engine!r} is not one of {', '.join(EngineChoice)}.", param_hint="--engine")
    if baseline and out is None:
        raise typer.BadParameter("Baselines are in the report: name a folder with --out.", param_hint="--baseline")
    console = Console(stderr=True)
    if out is not None:
        from planespotter_training.evaluation import output_files
        from planespotter_training.evaluation.baseline import check_baseline
        from planespotter_training.reports import evaluation_report

        output_files.check_free(out)
        for path in baseline or ():
            check_baseline(path, read_bundle(bundle))
    result = evaluation.evaluate(bundle, catalog, split, console, only_source or (), airline or (), engine)
    Console().print(evaluation.table(result.metrics))
    held_out = evaluation.held_out_table(result)
    if held_out is not None:
        Console().print(held_out)
    Console().print(legend([metric.name for metric in result.metrics]))
    for line in evaluation.remarks(result):
        typer.echo(line, err=True)
    if out is not None:
        evaluation_report.write(result, baseline or (), out, console)
        typer.echo(f"Wrote {out / 'report.html'}, metrics.json and predictions.csv.", err=True)


@app.command()
def compare(
    folders: Annotated[
        list[Path], typer.Argument(help="Two or more runs, bundles or folders that `evaluate --out` wrote.")
    ],
    out: Annotated[Path | None, typer.Option(help="HTML file to write the comparison to.")] = None,
) -> None:
    """Compare trainings: settings that differ, loss and accuracy by epoch, metrics, and whether one is clearly better.

    Runs are measured on their test photos. Trainings that differ only in the seed are summarised by mean and range.
    Where two predicted the same photos, the paired difference has a 95 % interval that is much narrower than those of
    the two metrics. The last line says whether one is clearly better than the first: by a difference in accuracy whose
    interval excludes 0 and that McNemar's test finds significant.

    Example: planespotter compare runs/first runs/second --out comparison.html

    Example: planespotter compare runs/seed-0 runs/seed-1 runs/seed-2
    """
    from rich.console import Console

    from planespotter_training.reports import compare_runs as comparing

    if len(folders) < 2:
        raise typer.BadParameter("Name two folders or more to compare.", param_hint="FOLDERS")
    comparison = comparing.compare(folders, Console(stderr=True))
    for table in comparing.tables(comparison):
        Console().print(table)
    Console().print(comparing.tables_legend(comparison))
    for sentence in comparing.verdicts(comparison):
        Console().print(sentence, style="bold", highlight=False, soft_wrap=True)
    if out is not None:
        comparing.write(comparison, out)
        typer.echo(f"Wrote {out}.", err=True)
