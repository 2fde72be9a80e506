"""The commands of the training room: train, export, evaluate."""

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
    recipe: Annotated[str, typer.Option(help=f"How to train. Recipes: {', '.join(recipes.names())}.")] = "small",
    constructors: Constructors = "Airbus,Boeing",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a setting of the recipe, such as epochs=5. Repeatable. "
            f"Settings: {', '.join(recipes.settings())}.",
        ),
    ] = None,
) -> None:
    """Train a network on the photos of a catalog.

    Photos are split by airframe into training, validation and test. Ctrl-C saves a checkpoint; the same command goes on
    from there.

    Example: planespotter train photos --recipe small --out runs/first
    """
    from rich.console import Console

    from planespotter_training import train as training

    console = Console(stderr=True)
    names = [name.strip() for name in constructors.split(",") if name.strip()]
    complete = training.train(catalog, recipe, recipes.load(recipe, settings or ()), out, names, console)
    if not complete:
        typer.echo(f"Stopped early; a checkpoint is in {out}. The same command goes on from there.", err=True)
        raise typer.Exit(130)
    typer.echo(f"Trained. Next: planespotter export {out} --out BUNDLE", err=True)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write.")],
    name: Annotated[str, typer.Option(help="Name of the model; the bundle's folder name if not given.")] = "",
    version: Annotated[str, typer.Option(help="Version of the model.")] = "1",
) -> None:
    """Turn a run into a bundle that can be served: calibrated, measured on its test photos, checked by hashes.

    Example: planespotter export runs/first --out models/first
    """
    from rich.console import Console

    from planespotter_training import export as exporting
    from planespotter_training.evaluate import table

    console = Console(stderr=True)
    made = exporting.export(run, out, name or out.resolve().name, version, console)
    Console().print(table(made.metrics))
    typer.echo(f"Wrote {out}. Next: planespotter serve --model {out}", err=True)


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    catalog: Annotated[Path, typer.Argument(help="Folder of the catalog.")],
    split: Annotated[str, typer.Option(help="Which photos: train, validation, test or all.")] = "test",
) -> None:
    """Measure a bundle on the photos of a catalog, by source, with the code that serves it.

    The sides are decided by the airframe alone, so "test" are the same aircraft in training and here.

    Example: planespotter evaluate models/first photos
    """
    from rich.console import Console

    from planespotter_training import evaluate as evaluation
    from planespotter_training.split import SPLITS

    if split not in (*SPLITS, "all"):
        raise typer.BadParameter(f"{split!r} is none of {', '.join(SPLITS)}, all.", param_hint="--split")
    found = evaluation.evaluate(bundle, catalog, split, Console(stderr=True))
    Console().print(evaluation.table(found.metrics))
