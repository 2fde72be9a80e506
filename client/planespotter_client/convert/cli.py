"""The command `planespotter convert`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

HELP = """\
Convert results of `classify` into what other tools read.

xmp writes a sidecar next to each photo with a confident name, with flat and hierarchical keywords, which digiKam,
Lightroom and darktable read. Photos are not changed, and sidecars of other programs stay as they are. label-studio
writes tasks with predictions to review, and the labeling configuration next to them. coco writes images, types and
annotations over the whole image. excel writes a workbook with the results and the number of photos by type.

Example: planespotter convert results.csv --to xmp

Example: planespotter convert results.parquet --to label-studio --out tasks.json

Example: planespotter convert results.csv --to coco --root /srv/photos --out coco.json

Example: planespotter convert results.jsonl --to excel --out results.xlsx

Exit codes: 0 done; 1 nothing could be done, and a message says why; 2 wrong usage.
"""


class Target(StrEnum):
    """Formats of other tools."""

    XMP = "xmp"
    LABEL_STUDIO = "label-studio"
    COCO = "coco"
    EXCEL = "excel"


SUFFIXES = {Target.LABEL_STUDIO: ".json", Target.COCO: ".json", Target.EXCEL: ".xlsx"}

Results = Annotated[
    Path,
    typer.Argument(
        help="File of `classify --out` (.csv, .jsonl, .ndjson, .parquet).",
        exists=True,
        dir_okay=False,
        metavar="RESULTS",
    ),
]
To = Annotated[Target, typer.Option(help="Format to convert into.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="File to write; xmp writes next to the photos instead.", dir_okay=False, show_default=False
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        help="Folder that the paths of photos in the results are relative to. (default: the current one)",
        exists=True,
        file_okay=False,
        show_default=False,
    ),
]
ReplaceSuffix = Annotated[
    bool,
    typer.Option("--replace-suffix", help="With xmp: call sidecars photo.xmp, as Lightroom does, not photo.jpg.xmp."),
]
ImageUrl = Annotated[
    str,
    typer.Option(
        help="With label-studio: start of the URL of a photo, which its path follows. The default is a file of the "
        "machine that Label Studio runs on."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="With --out: replace an existing file.")]


@app.command(help=HELP)
def convert(
    results: Results,
    to: To,
    out: Out = None,
    root: Root = None,
    replace_suffix: ReplaceSuffix = False,
    image_url: ImageUrl = "/data/local-files/?d=",
    overwrite: Overwrite = False,
) -> None:
    """Convert results of `classify` into what other tools read."""
    _check_out(results, to, out, overwrite)
    if replace_suffix and to is not Target.XMP:
        raise typer.BadParameter("--replace-suffix needs --to xmp.")

    from planespotter_client.convert import results as reading
    from planespotter_photos.counts import count_noun

    folder = Path() if root is None else root
    rows = reading.read_results(results)
    if out is None:
        from planespotter_client.convert import xmp

        counts = xmp.write_sidecars(rows, results, folder, replace_suffix)
        typer.echo(
            f"{count_noun(counts.written, 'sidecar')} written; {counts.unknown:,} without a confident name, "
            f"{count_noun(counts.missing, 'photo')} not found, "
            f"{count_noun(counts.foreign, 'sidecar')} of other programs left in place."
        )
        if counts.missing and not counts.written:
            typer.echo(f"No photo was found below {folder.resolve()}: name their folder with --root.", err=True)
            raise typer.Exit(1)
        return
    if to is Target.LABEL_STUDIO:
        from planespotter_client.convert import label_studio

        count = label_studio.write_tasks(rows, results, out, image_url, reading.leaves_of(results))
        typer.echo(f"{count_noun(count, 'task')} in {out}; the labeling configuration is in {out.with_suffix('.xml')}.")
    elif to is Target.COCO:
        from planespotter_client.convert import coco

        skipped = coco.write_coco(rows, results, out, folder, reading.leaves_of(results))
        typer.echo(f"Written to {out}; {count_noun(skipped, 'photo')} that cannot be opened skipped.")
    else:
        from planespotter_client.convert import excel

        typer.echo(f"{count_noun(excel.write_workbook(rows, results, out), 'row')} in {out}.")


def _check_out(results: Path, to: Target, out: Path | None, overwrite: bool) -> None:
    if to is Target.XMP:
        if out is not None or overwrite:
            raise typer.BadParameter("--to xmp writes next to the photos, without --out and --overwrite.")
        return
    if out is None:
        raise typer.BadParameter(f"--to {to.value} needs --out, such as {results.stem}{SUFFIXES[to]}.")
    if out.suffix.lower() != SUFFIXES[to]:
        raise typer.BadParameter(f"--to {to.value} writes a {SUFFIXES[to]} file, and {out} is none.")
    if out.exists() and not overwrite:
        raise typer.BadParameter(f"{out} exists: name another --out, or add --overwrite.")
