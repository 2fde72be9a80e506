"""The commands of this room: collect photos, and look at the sample site."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from planespotter_scraping.crawl import Outcome

app = typer.Typer()


@app.command()
def scrape(
    out: Annotated[Path, typer.Option(help="Folder of the catalog. An existing one is added to.")],
    site: Annotated[str, typer.Option(help="Site to read: sample.")] = "sample",
    url: Annotated[
        str | None, typer.Option(help="Where the site is. By default the built-in sample site is served.")
    ] = None,
    pages: Annotated[int | None, typer.Option(min=1, help="Read this many pages at most. [default: all]")] = None,
    constructors: Annotated[
        str, typer.Option(help="Whose aircraft to store, divided by commas, or all.")
    ] = "Airbus,Boeing",
) -> None:
    """Collect photos with their labels from a site into a catalog.

    A headless Chromium reads the pages of the site, and each photo becomes an image and a row of
    OUT/catalog.csv. Stop with Ctrl-C at any time: the same command goes on from there, and fetches nothing twice.

    Example: planespotter scrape --site sample --out photos
    """
    from planespotter_scraping import crawl, summary

    names = [name.strip() for name in constructors.split(",") if name.strip()]
    wanted = None if constructors.strip().lower() == "all" else names
    if wanted == []:
        raise typer.BadParameter("name at least one constructor, or all", param_hint="--constructors")
    with summary.progress_bar(pages) as progress:
        outcome: Outcome = crawl.scrape(site, out, url=url, pages=pages, constructors=wanted, progress=progress)
    summary.show(out, outcome)


@app.command()
def sample_site(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 takes a free one.")] = 8000,
    photos: Annotated[int, typer.Option(min=1, help="How many photos it shows.")] = 600,
) -> None:
    """Serve the sample photo site on this machine, to look at it or to scrape it.

    Its photos are drawings of airliners, made by code. Ctrl-C ends it.

    Example: planespotter sample-site --port 8000
    """
    import threading
    from contextlib import suppress

    from planespotter_scraping.sample_site.server import SampleSite, serve

    with suppress(KeyboardInterrupt), serve(SampleSite(photos=photos), port) as address:
        typer.echo(f"Serving {photos} photos at {address} until Ctrl-C.")
        threading.Event().wait()


@app.command()
def install_browser() -> None:
    """Make sure that there is a Chromium for scraping.

    Takes one that is installed, else downloads Playwright's, else installs the distribution's package where that
    is allowed. Set PLANESPOTTER_CHROMIUM to use a certain one.

    Example: planespotter install-browser
    """
    from planespotter_scraping import browser

    typer.echo(f"Chromium: {browser.ensure_chromium()}")
