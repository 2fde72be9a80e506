"""The commands `planespotter bulk list`, `run` and `account`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from planespotter_bulk.listing import ListResult

app = typer.Typer()
bulk_app = typer.Typer(
    name="bulk", help="Classify millions of photos, on one machine or a Ray cluster.", no_args_is_help=True
)
app.add_typer(bulk_app)

ManifestArgument = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="Folder or URI of the manifest.", show_default=False)
]


@bulk_app.command("list")
def list_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Folder or URI of the photos (s3://, gs://, az://), or a CSV file with a column of their paths or "
            "URIs.",
            show_default=False,
        ),
    ],
    out: Annotated[str, typer.Option(help="Folder or URI for the manifest.", metavar="<folder>", show_default=False)],
    column: Annotated[
        str, typer.Option(help="Column of the CSV file with the paths or URIs.", metavar="<name>")
    ] = "uri",
    shard_photos: Annotated[int, typer.Option(help="Photos per file of the manifest.", min=1)] = 100_000,
) -> None:
    """List photos in a manifest, which `planespotter bulk run` reads.

    Example: planespotter bulk list s3://airport/photos --out manifest/

    Example: planespotter bulk list library.csv --column path --out s3://airport/manifest

    The manifest is Parquet with the columns id, uri, bytes and modified. A run that was interrupted resumes where it
    ended; a complete manifest stays as it is.
    """
    from planespotter_bulk.listing import list_photos
    from planespotter_bulk.storage import open_folder
    from planespotter_photos.counts import count_noun

    def report(result: "ListResult") -> None:
        typer.echo(f"{count_noun(result.photos, 'photo')} ...", err=True)

    result = list_photos(source, open_folder(out), column, shard_photos, report)
    typer.echo(f"{result.summary()} Manifest: {out}")


@bulk_app.command()
def run(
    manifest: ManifestArgument,
    out: Annotated[
        str, typer.Option(help="Folder or URI for the answers, Parquet.", metavar="<folder>", show_default=False)
    ],
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Model bundle on this machine; Ray takes it to the others. (default: the installed model)",
            metavar="<folder>",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster: ray://HOST:10001, HOST:6379, or auto on one of its machines. (default: this machine)",
            show_default=False,
        ),
    ] = None,
    top_k: Annotated[int, typer.Option(help="Candidates per photo.", min=0, max=20)] = 0,
    max_photo_bytes: Annotated[int, typer.Option(help="Maximum size of a photo, in bytes.", min=1)] = 16 << 20,
    engine: Annotated[
        str, typer.Option(help="Engine that runs the network: auto, jax, openvino or openvino-float32.")
    ] = "auto",
    block_photos: Annotated[
        int,
        typer.Option(help="Photos per block. A block is committed at once, and repeated if its worker dies.", min=1),
    ] = 2048,
    workers: Annotated[
        int | None, typer.Option(help="Number of workers. (default: all that fit)", min=1, show_default=False)
    ] = None,
    worker_cpus: Annotated[
        int | None,
        typer.Option(
            help="Processor cores of a worker. (default: 1, or the share of a GPU)", min=1, show_default=False
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of a worker that fetch and decode photos. (default: 4 per core)", min=1, show_default=False
        ),
    ] = None,
    stall_minutes: Annotated[
        float,
        typer.Option(help="Minutes without a committed block after which the job ends with exit code 75.", min=0.1),
    ] = 15.0,
    accept_unreadable: Annotated[
        bool,
        typer.Option(
            "--accept-unreadable", help="Answer also blocks of which no photo exists any more, or may be read by you."
        ),
    ] = False,
) -> None:
    """Classify all photos of a manifest on Ray; write one row per photo.

    Example: planespotter bulk run manifest/ --out answers/

    Example: planespotter bulk run s3://airport/manifest --bundle bundles/first --address ray://head:10001
    --out s3://airport/answers

    The same command resumes: blocks that have answers are skipped. Answers have the columns of `planespotter classify`,
    and `reason` for a photo without a prediction.

    Exit codes: 0 every photo has an answer; 1 an error; 2 wrong usage; 75 run the same command again: the store or the
    cluster cannot be reached, or nothing was committed for a long time.
    """
    from planespotter_bulk.classifier import Options
    from planespotter_bulk.job import default_bundle
    from planespotter_bulk.run import Resources, run_job
    from planespotter_bulk.storage import open_folder
    from planespotter_models import EngineChoice

    if engine not in list(EngineChoice):
        raise typer.BadParameter(f"{engine!r} is not one of {', '.join(EngineChoice)}.", param_hint="--engine")
    progress = run_job(
        open_folder(manifest),
        open_folder(out),
        bundle or default_bundle(),
        Options(top_k, max_photo_bytes, engine, block_photos),
        Resources(address, workers, worker_cpus, threads, stall_minutes, accept_unreadable),
        lambda text: typer.echo(text, err=True),
    )
    typer.echo(f"{progress.summary()} Answers: {out}")


@bulk_app.command()
def account(
    manifest: ManifestArgument,
    answers: Annotated[
        str, typer.Argument(metavar="ANSWERS", help="Folder or URI of the answers.", show_default=False)
    ],
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder or URI for the status of every photo, Parquet.", metavar="<folder>", show_default=False
        ),
    ] = None,
) -> None:
    """Compare answers with their manifest: answered, failed with reason, missing, duplicate.

    Example: planespotter bulk account manifest/ answers/ --out status/

    Exit codes: 0 every photo has exactly one answer; 1 it does not, or an error; 2 wrong usage.
    """
    from planespotter_bulk.account import account as compare
    from planespotter_bulk.storage import open_folder

    result = compare(open_folder(manifest), open_folder(answers), None if out is None else open_folder(out))
    for line in result.lines():
        typer.echo(line)
    if not result.is_complete:
        raise typer.Exit(1)
