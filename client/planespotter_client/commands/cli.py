"""The commands of the client: `planespotter classify`, `web`, `bench`, `health` and `demo`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from planespotter_client.bench.cli import bench
from planespotter_client.classify.cli import classify
from planespotter_client.commands.health import health
from planespotter_client.web.cli import web

app = typer.Typer()
for command in (bench, health, web, classify):
    app.command()(command)


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
    from planespotter_client.commands.demo import run_demo

    run_demo(out, pages, epochs, Console())
