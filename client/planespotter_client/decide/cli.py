"""The command `planespotter decide`."""

from pathlib import Path
from typing import Annotated

import typer

from planespotter_client import Prior
from planespotter_client.classify.group_by import GroupBy, parse_group
from planespotter_client.commands import options

app = typer.Typer()

HELP = """\
Decide again: other confidence levels and other evidence for a Parquet file of `classify`, without the network.

`planespotter classify --out results.parquet` keeps the probability of every type. This command decides from them, a
million photos in seconds: from which probability a level is confident, and what else is known besides the photos. The
file stays as it is; --out writes another one. Without --out, it prints what would change.

Example: planespotter decide results.parquet --target-precision 0.9

Example: planespotter decide results.parquet --min-probability 0.5 --out bold.parquet

Example: planespotter decide results.parquet --group prefix --out groups.csv

Example: planespotter decide results.parquet --fleet fleet.csv --airline Lufthansa --out ramp.csv

Example: planespotter decide results.parquet --fleet fleet.csv --airlines catalog.csv --out archive.parquet

--target-precision chooses the lowest thresholds at which the predictions of each confidence level are expected to be
correct that often. The expectation is the mean of their probabilities, which are calibrated on photos like those that
the model was trained on: on other photos, measure it with `planespotter classify --ground-truth`.

Exit codes: 0 done; 1 nothing could be done, and a message says why; 2 wrong usage.
"""

Source = Annotated[
    Path,
    typer.Argument(help="Parquet file of `classify`.", exists=True, dir_okay=False, metavar="RESULTS"),
]
TargetPrecision = Annotated[
    float | None,
    typer.Option(
        help="Expected share of correct predictions at each confidence level, 0 to 1.",
        min=0,
        max=1,
        metavar="P",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="File to write (.parquet or .csv). (default: print a summary)",
        dir_okay=False,
        show_default=False,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        help="Predict groups of photos of one aircraft instead of photos: folder, prefix (the name before a counter), "
        "or seconds:N (taken at most N seconds after the one before). --out is then a .csv file with a row per group.",
        metavar="KEY",
        show_default=False,
    ),
]
Airlines = Annotated[
    Path | None,
    typer.Option(
        help="With --fleet: CSV file with the columns file and airline, like a catalog. Each photo has the fleet of "
        "its airline; without one, the prediction of the network.",
        exists=True,
        dir_okay=False,
        show_default=False,
        rich_help_panel=options.PRIOR_PANEL,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="With --out: replace an existing file.")]


@app.command(help=HELP)
def decide(
    results: Source,
    target_precision: TargetPrecision = None,
    min_probability: options.MinProbability = None,
    candidates: options.Candidates = None,
    fleet: options.Fleet = None,
    airline: options.Airline = None,
    airport: options.Airport = None,
    airlines: Airlines = None,
    prior_odds: options.PriorOdds = None,
    group: Group = None,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Decide again from the probabilities in a Parquet file of `classify`."""
    if target_precision is not None and min_probability is not None:
        raise typer.BadParameter("--target-precision and --min-probability both choose the thresholds: give only one.")
    if overwrite and out is None:
        raise typer.BadParameter("--overwrite needs --out.")
    if out is not None:
        _check_out(results, out, overwrite)
        if group is not None and out.suffix.lower() != ".csv":
            raise typer.BadParameter("--out takes a .csv file with --group.")
    prior = fleets = None
    if airlines is None:
        prior = options.prior(candidates, fleet, airline, airport, prior_odds)
    else:
        if fleet is None or candidates or airline or airport or group:
            raise typer.BadParameter(
                "--airlines needs --fleet; --airline, --airport, --candidates and --group exclude it."
            )
        fleets = Prior.from_fleets(fleet, odds=prior_odds)

    from planespotter_client.decide import redecide

    decisions = redecide.Decisions(target_precision, min_probability, prior, _group(group), fleets, airlines)
    typer.echo(redecide.redecide(results, out, decisions))


def _group(text: str | None) -> GroupBy | None:
    try:
        return None if text is None else parse_group(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _check_out(results: Path, out: Path, overwrite: bool) -> None:
    if out.suffix.lower() not in (".parquet", ".csv"):
        raise typer.BadParameter(f"{out} ends neither in .parquet nor in .csv: name one of these.")
    if out.exists():
        if out.samefile(results):
            raise typer.BadParameter(f"--out {out} is the file that is read: name another.")
        if not overwrite:
            raise typer.BadParameter(f"{out} exists: name another --out, or add --overwrite.")
