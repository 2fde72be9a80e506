"""`planespotter demo`: run the whole pipeline on the built-in sample site, by the commands that a user would type.

The packages of the pipeline meet on disk and on the wire only, so each command runs as a separate process.
"""

import csv
import importlib.util
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from planespotter_client._extras import install_command
from planespotter_client.commands.local_server import SERVE, local_server

app = typer.Typer()

# A module of each extra, to report a missing one before anything starts.
REQUIRED_MODULES = {"scraping": "playwright", "training": "flax", "server": "grpc_health"}


class DemoError(Exception):
    """The demo cannot continue; the text says why and how to fix it."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo writes.", file_okay=False)] = Path(
        "demo"
    ),
    pages: Annotated[int, typer.Option(help="Pages of the sample site to scrape, 48 photos each.", min=1)] = 13,
    epochs: Annotated[int, typer.Option(help="Training epochs; fewer are faster and less accurate.", min=1)] = 30,
) -> None:
    """Run the whole pipeline on the built-in sample site: scrape, train, export, serve, classify.

    It takes a few minutes, and reuses what the folder already contains; delete the folder to start from scratch.

    Example: planespotter demo --out demo
    """
    run_demo(out, pages, epochs, Console())


def run_demo(out: Path, pages: int, epochs: int, console: Console) -> None:
    """Run the demo: scrape, train, export, serve and classify.

    Args:
        out: Folder for all results. Those of an earlier run are reused.
        pages: Pages of the sample site to scrape.
        epochs: Training epochs.
        console: Where to report the steps.

    Raises:
        DemoError: An extra is missing, or a step failed.
    """
    missing = [extra for extra, module in REQUIRED_MODULES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise DemoError(f"The demo needs the extras {', '.join(missing)}: {install_command('all')}")
    started = time.monotonic()
    photos, run, model = out / "photos", out / "run", out / "model"
    scrape = ("scrape", "--site", "sample", "--pages", str(pages), "--out", photos)
    train = ("train", photos, "--recipe", "small", "--set", f"epochs={epochs}", "--out", run)

    _step(console, "Scrape the sample site with a real browser", *scrape)
    _step(console, "Train a small network on the photos", *train)
    _step(console, "Export a calibrated and evaluated bundle", "export", run, "--out", model, "--name", "demo")
    _announce(console, "Serve it over gRPC", (*SERVE, "--model", model))
    with local_server(out / "server.log", model) as (address, _):
        console.print(f"Listening at {address}.", highlight=False)
        heldout = ("--ground-truth", run / "heldout.csv", "--show", "12", "--server", address)
        _step(console, "Classify the held-out photos", "classify", *heldout)
    console.rule(f"Done in {time.monotonic() - started:.0f} s", align="left")
    console.print(_next_steps(out), highlight=False, markup=False, soft_wrap=True)


def _command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "planespotter_client.commands.main", *map(str, arguments)]


def _announce(console: Console, title: str, arguments: tuple[str | Path, ...]) -> None:
    console.rule(title, align="left")
    console.print(f"$ planespotter {shlex.join(map(str, arguments))}", style="dim", highlight=False, soft_wrap=True)


def _step(console: Console, title: str, *arguments: str | Path) -> None:
    _announce(console, title, arguments)
    code = subprocess.run(_command(*arguments), check=False).returncode
    if code:
        raise DemoError(
            f"The step above ended with code {code}. Run the same demo again to resume there; if its first run had "
            "other options, name another --out."
        )


def _next_steps(out: Path) -> str:
    with (out / "run" / "heldout.csv").open(encoding="utf-8", newline="") as file:
        photo = next(csv.DictReader(file))["file"]
    model, folder = shlex.quote(str(out / "model")), shlex.quote(str(out / "photos" / "images"))
    return f"""Everything is in {out}/. Try next:

  planespotter serve --model {model} --port 50051 &
  planespotter classify {folder} --format csv
  grpcurl -plaintext 127.0.0.1:50051 planespotter.v1.ClassifierService/GetModel
  base64 -w0 {shlex.quote(photo)} | sed 's/.*/{{"photo": {{"content": "&"}}}}/' |
    grpcurl -plaintext -d @ 127.0.0.1:50051 planespotter.v1.ClassifierService/Classify

Then use your photos:

  planespotter catalog import FOLDER --out CATALOG
  planespotter train CATALOG --out RUN"""
