"""The commands of the training room: train, recipes, export, evaluate, compare."""

from pathlib import Path
from typing import Annotated

import typer

from planespotter_training import recipes

app = typer.Typer()

Constructors = Annotated[str, typer.Option(help="Constructors to tell apart, separated by commas.")]


@app.command()
def train(
    catalog: Annotated[Path, typer.Argument(help="Folder of the catalog: catalog.csv and its images.")],
    out: Annotated[Path, typer.Option(help="Folder of the run. If it holds this run already, training goes on.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help=f"How to train. Recipes: {', '.join(recipes.names())}.",
            autocompletion=recipes.names,
            show_default="small",
        ),
    ] = None,
    constructors: Constructors = "Airbus,Boeing",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a setting of the recipe, such as epochs=5. Repeatable. "
            "`planespotter recipes NAME` lists and explains them.",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Begin with the VGG16 weights in this HDF5 file of Keras.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Begin with the trunk of this run or bundle.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Decides all that is drawn at random. `compare` gives mean and range over seeds.", min=0),
    ] = None,
    ladder: Annotated[
        bool, typer.Option("--ladder", help="Train the original's four recipes, one after another, and draw them.")
    ] = False,
    leave_source_out: Annotated[
        list[str] | None,
        typer.Option(help="Keep all photos of this source for the test, and what looks like them. Repeatable."),
    ] = None,
    leave_airlines_out: Annotated[
        str, typer.Option(help="Keep all photos of these airlines, separated by commas, for the test.")
    ] = "",
    memory: Annotated[
        float | None,
        typer.Option(
            help="GiB of photos that may stay on the device; more than that streams from disk. "
            "A quarter of the device's memory if not given.",
            min=0,
        ),
    ] = None,
) -> None:
    """Train a network on the photos of a catalog.

    Photos are split by airframe into training, validation and test. Ctrl-C saves a checkpoint; the same command goes on
    from there. Recipes that begin with the ImageNet weights fetch them once (59 MB).

    All devices of this machine share each batch. To train on several machines, start the same command on each with
    JAX_COORDINATOR_ADDRESS (HOST:PORT of the first), JAX_NUM_PROCESSES and JAX_PROCESS_ID set; they need one disk.

    Example: planespotter train photos --recipe small --out runs/first

    Example: planespotter train photos --ladder --out runs/ladder --set epochs=10

    Example: planespotter train photos --leave-source-out spotters --out runs/without-spotters
    """
    if ladder and recipe is not None:
        raise typer.BadParameter("--ladder has four recipes of its own: leave --recipe out.", param_hint="--recipe")
    from rich.console import Console

    from planespotter_training.loop import devices
    from planespotter_training.loop import train as training
    from planespotter_training.network import pretrained

    console = Console(stderr=True)
    names = _listed(constructors)
    changes = [*(settings or ()), *([] if seed is None else [f"seed={seed}"])]
    left_out = {"sources": leave_source_out or [], "airlines": _listed(leave_airlines_out)}
    limit = None if memory is None else int(memory * 2**30)
    devices.initialise()
    if ladder:
        from planespotter_training.reports.baseline_ladder import climb

        complete = climb(
            catalog,
            changes,
            out,
            names,
            console,
            weights=weights,
            init=init,
            left_out=left_out,
            memory=limit,
        )
        done = f"Trained all four. Look at {out / 'ladder.html'}"
    else:
        recipe = recipe or "small"
        chosen = recipes.load(recipe, changes)
        start = pretrained.choose(chosen, weights, init, console)
        complete = training.train(
            catalog, recipe, chosen, out, names, console, start=start, left_out=left_out, memory=limit
        )
        done = f"Trained. Next: planespotter export {out} --out BUNDLE"
    if not complete:
        typer.echo(f"Stopped early; a checkpoint is in {out}. The same command goes on from there.", err=True)
        raise typer.Exit(130)
    typer.echo(done, err=True)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@app.command(name="recipes")
def show_recipes(
    name: Annotated[str, typer.Argument(help="Recipe to show; all of them in a line each if not given.")] = "",
) -> None:
    """List the recipes, or show the lab notebook of one and each of its settings.

    Example: planespotter recipes best
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from planespotter_training.recipes.config import described

    table = Table.grid(padding=(0, 2))
    if not name:
        for one in recipes.names():
            table.add_row(one, recipes.notebook(one).splitlines()[0])
        Console().print(table)
        return
    recipe = recipes.load(name)
    typer.echo(recipes.notebook(name))
    for setting, meaning in described().items():
        table.add_row(f"{setting}={escape(str(getattr(recipe, setting)))}", escape(meaning))
    Console().print(table)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write.")],
    name: Annotated[str, typer.Option(help="Name of the model; the bundle's folder name if not given.")] = "",
    version: Annotated[str, typer.Option(help="Version of the model.")] = "1",
    weights_8bit: Annotated[
        bool, typer.Option("--weights-8bit", help="Store the weights in 8 bits: a quarter of the size.")
    ] = False,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Let convolutions compute in bfloat16 on a GPU; on a CPU nothing changes.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Prepare it to compute in 8 bits on a CPU, several times as fast, and compare that with float32.",
        ),
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Catalog on whose photos 8 bits are prepared; the run's validation photos if not given."),
    ] = None,
    max_loss: Annotated[
        float, typer.Option(help="Most points of accuracy that 8 bits may lose; else nothing is written.", min=0)
    ] = 0.5,
    precision: Annotated[
        float,
        typer.Option(
            help="Share of the answers that shall be right at the level at which they are given.", min=0.5, max=0.999
        ),
    ] = 0.95,
) -> None:
    """Turn a run into a bundle that can be served: calibrated, measured on its test photos, checked by hashes.

    Each level's threshold is chosen on the validation photos, so that of the answers that end there, at least as many
    as --precision says are right. A higher precision gives fewer answers.

    Example: planespotter export runs/first --out bundles/first
    """
    from rich.console import Console

    from planespotter_training.evaluation.evaluate import table
    from planespotter_training.export import export as exporting

    if calibrate is not None and not int8:
        raise typer.BadParameter("Photos are needed for 8 bits only: add --int8.", param_hint="--calibrate")
    console = Console(stderr=True)
    made = exporting.export(
        run,
        out,
        name or out.resolve().name,
        version,
        console,
        precision,
        quantize_weights=weights_8bit,
        bf16=bf16,
        int8=int8,
        calibrate_on=calibrate,
        max_loss=max_loss,
    )
    Console().print(table(made.metrics))
    typer.echo(f"Wrote {out}. Next: planespotter serve --model {out}", err=True)


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    catalog: Annotated[Path, typer.Argument(help="Folder of the catalog.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write report.html, metrics.json and answers.csv to.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Which photos: train, validation, test (neither of these) or all.")
    ] = "test",
    only_source: Annotated[list[str] | None, typer.Option(help="Only photos of this source. Repeatable.")] = None,
    airline: Annotated[list[str] | None, typer.Option(help="Only photos of this airline. Repeatable.")] = None,
    engine: Annotated[
        str, typer.Option(help="What runs the network, as in serve: auto, jax, openvino or openvino-float32.")
    ] = "auto",
    control: Annotated[
        list[Path] | None,
        typer.Option(
            help="Hold beside it the flat softmax of this run (trained with a control), or this bundle. Repeatable."
        ),
    ] = None,
) -> None:
    """Measure a bundle on the photos of a catalog, by source, with the code that serves it.

    Photos that the bundle was trained or calibrated on are left aside, and with them all photos of the same airframes
    and all that look like them, whichever catalog they are in. Sources and airlines that training left out by name have
    a table of their own. With --out, the report shows every figure with its 95 % interval, what is taken for what, and
    the worst mistakes with what the network looked at.

    Example: planespotter evaluate bundles/first photos --out reports/first
    """
    from rich.console import Console

    from planespotter_models import EngineChoice, read_bundle
    from planespotter_training.data.split import SPLITS
    from planespotter_training.evaluation import evaluate as evaluation

    if split not in (*SPLITS, "all"):
        raise typer.BadParameter(f"{split!r} is none of {', '.join(SPLITS)}, all.", param_hint="--split")
    if engine not in list(EngineChoice):
        raise typer.BadParameter(f"{engine!r} is none of {', '.join(EngineChoice)}.", param_hint="--engine")
    if control and out is None:
        raise typer.BadParameter("A control is shown in the report: give a folder with --out.", param_hint="--control")
    console = Console(stderr=True)
    if out is not None:
        from planespotter_training.evaluation import output_files
        from planespotter_training.evaluation.baseline import check_control
        from planespotter_training.reports import evaluation_report

        output_files.check_free(out)
        for path in control or ():
            check_control(path, read_bundle(bundle))
    found = evaluation.evaluate(bundle, catalog, split, console, only_source or (), airline or (), engine)
    Console().print(evaluation.table(found.metrics))
    left_out = evaluation.table_of_left_out(found)
    if left_out is not None:
        Console().print(left_out)
    for line in evaluation.remarks(found):
        typer.echo(line, err=True)
    if out is not None:
        evaluation_report.write(found, control or (), out, console)
        typer.echo(f"Wrote {out / 'report.html'}, metrics.json and answers.csv.", err=True)


@app.command()
def compare(
    folders: Annotated[
        list[Path], typer.Argument(help="Two or more: runs, bundles or folders that `evaluate --out` wrote.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write the comparison as a page to this file.")] = None,
) -> None:
    """Put trainings side by side: which settings differ, how the epochs went, how well they name aircraft.

    Runs are measured on their test photos. Of those that differ in nothing but the seed, mean and range are given.
    Where two answered the same photos, the difference is given with its 95 % interval, which is much narrower than
    those of the two figures.

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
    if out is not None:
        comparing.write(comparison, out)
        typer.echo(f"Wrote {out}.", err=True)
