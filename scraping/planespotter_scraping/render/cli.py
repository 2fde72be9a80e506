"""Command `planespotter render`: pictures of airliners from 3D models."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from planespotter_scraping.render.run import RenderResult

app = typer.Typer()
MIN_SIDE, MAX_SIDE = 32, 4096  # pixels
SHEET_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@app.command()
def render(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of models.")],
    out: Annotated[Path, typer.Option(help="Folder of the catalog. Pictures are added to an existing one.")],
    count: Annotated[int, typer.Option(min=1, max=99_999, help="Pictures per model.")] = 20,
    model: Annotated[str, typer.Option(help='Glob of the names of models to render, such as "a3*" or "738".')] = "*",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed: the same one renders the same pictures.")] = 0,
    size: Annotated[str, typer.Option(help="Width and height of the pictures in pixels.")] = "480x320",
    workers: Annotated[int, typer.Option(min=1, max=256, help="Number of processes that render.")] = 1,
    backgrounds: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of your photos, without aircraft, for backgrounds."),
    ] = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Image file for thumbnails of the new pictures.")
    ] = None,
) -> None:
    """Render labelled pictures of airliners from 3D models into a catalog.

    The models are yours, in FlightGear's format: the Debian package
    flightgear-data-ai, unpacked, or a clone of FlightGear's data. Liveries,
    views, light and backgrounds vary at random. Ctrl-C loses nothing: run
    the same command again to continue.

    Example: planespotter render flightgear-data-ai --out renders --count 50
    """
    width, height = _parse_size(size)
    if contact_sheet is not None and contact_sheet.suffix.lower() not in SHEET_SUFFIXES:
        raise typer.BadParameter(f"it must end in {', '.join(SHEET_SUFFIXES)}.", param_hint="--contact-sheet")
    from planespotter_scraping.catalog import count_noun
    from planespotter_scraping.console import progress
    from planespotter_scraping.render.contact_sheet import ContactSheet
    from planespotter_scraping.render.run import render_catalog

    sheet, stored = ContactSheet(), 0
    try:
        with progress.work_bar("loading models") as update:

            def show(result: "RenderResult") -> None:
                nonlocal stored
                stored = result.stored
                update("pictures rendered", result.stored, result.total)

            result = render_catalog(
                folder,
                out,
                count=count,
                models=model,
                seed=seed,
                size=(width, height),
                workers=workers,
                backgrounds=backgrounds,
                progress=show,
                on_picture=sheet.add if contact_sheet else lambda picture: None,
            )
    except KeyboardInterrupt:
        typer.echo(
            f"Stopped: {count_noun(stored, 'picture')} stored in {out}. Run the same command to continue.", err=True
        )
        raise typer.Exit(130) from None
    if contact_sheet is not None:
        sheet.save(contact_sheet)
    for sentence in result.skipped.values():
        typer.echo(f"Skipped: {sentence}", err=True)
    typer.echo(
        f"{count_noun(result.stored, 'picture')} of {count_noun(result.models, 'model')} stored, {result.known} known "
        f"already, {count_noun(len(result.skipped), 'model')} skipped."
    )
    if result.stored + result.known == 0:
        raise typer.Exit(1)


def _parse_size(size: str) -> tuple[int, int]:
    """Return width and height of a size such as "480x320"."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size.strip().lower())
    sides = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
        raise typer.BadParameter(
            f"{size!r} is not WIDTHxHEIGHT with {MIN_SIDE} to {MAX_SIDE} pixels each, such as 480x320.",
            param_hint="--size",
        )
    return sides
