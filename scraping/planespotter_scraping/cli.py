"""The commands of this room: collect photos, show them on a page, read labels, and serve the sample site."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planespotter_scraping.cli_catalog import catalogs

if TYPE_CHECKING:
    from planespotter_scraping.crawling.result import CrawlResult

app = typer.Typer()
SITES = ["sample", "planespotters", "commons"]
app.add_typer(catalogs, name="catalog")
CATEGORIES = "Sites with categories: commons"


@app.command()
def scrape(
    out: Annotated[
        Path | None, typer.Option(help="Folder of the catalog. An existing one is added to. Needed without --check.")
    ] = None,
    site: Annotated[
        str,
        typer.Option(help=f"Site to read: {', '.join(SITES[:-1])} or {SITES[-1]}.", autocompletion=lambda: SITES),
    ] = "sample",
    url: Annotated[
        str | None,
        typer.Option(help="Where the site is. Default: its own address; the sample site is served meanwhile."),
    ] = None,
    pages: Annotated[
        int | None,
        typer.Option(
            min=1, help="Read this many pages at most, or batches of a list that goes on as one scrolls. Default: all."
        ),
    ] = None,
    constructors: Annotated[
        str, typer.Option(help="Whose aircraft to store, divided by commas, or all.")
    ] = "Airbus,Boeing",
    permission: Annotated[
        str, typer.Option(help="Who allowed the scrape, and when: for sites that forbid it. Kept in the catalog.")
    ] = "",
    contact: Annotated[
        str, typer.Option(help="Your e-mail address or web page, sent with each request. Live sites need it.")
    ] = "",
    storage_state: Annotated[
        Path | None,
        typer.Option(
            help="A login that you made by hand, for sites that need one. Make the file with "
            "`playwright open --save-storage FILE ADDRESS`: log in, then close the window. Keep it secret."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Only look at the first page: say how full the fields are, and end with 1 if they are not as "
            "expected. No photo is stored; what was not as expected is kept in OUT/evidence, or without --out in "
            "evidence here. --url may also be the page.html of evidence.",
        ),
    ] = False,
    category: Annotated[
        list[str] | None,
        typer.Option(
            help='Take the photos of this category, such as "Airbus A320-200"; may be given several times. '
            "Default: one category for each common model.",
            rich_help_panel=CATEGORIES,
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Look into the categories inside, this many levels down. Default: 3.",
            rich_help_panel=CATEGORIES,
        ),
    ] = None,
    per_category: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Take this many photos of each category that you name, so that no model outweighs the others. "
            "Default: 200.",
            rich_help_panel=CATEGORIES,
        ),
    ] = None,
    photos: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Take this many photos in all, with those that the catalog holds. Default: no limit.",
            rich_help_panel=CATEGORIES,
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            help="Width of the images in pixels: 250, 330, 500, 960, 1280, 1920 or 3840. Default: 1280.",
            rich_help_panel=CATEGORIES,
        ),
    ] = None,
) -> None:
    """Collect photos with their labels from a site into a catalog.

    A headless Chromium reads the pages of the site, and each photo becomes an image and a row of
    OUT/catalog.csv. Stop with Ctrl-C at any time: the same command goes on from there, and fetches nothing twice.
    A site's robots.txt and its wish to be left alone for a while are obeyed; if it refuses the crawl, that ends,
    and OUT/evidence keeps what the site showed. So it does if the site was redesigned: when a field that used to be
    there is gone, or the photos are, the crawl ends, and says which line of the site's reader to look at.

    Wikimedia Commons (--site commons) is read through its API. Its photos may be used by anyone who names author
    and licence, which OUT/ATTRIBUTION.md does.

    Example: planespotter scrape --site sample --out photos

    Example: planespotter scrape --check --site sample

    Example: planespotter scrape --site commons --category "Boeing 737-800" --contact you@example.org --out photos
    """
    if check:
        _check(site, out, url, permission, contact, storage_state)
        return
    if out is None:
        raise typer.BadParameter("name the folder of the catalog", param_hint="--out")
    from planespotter_scraping.console import progress, summaries
    from planespotter_scraping.crawling import api_crawl, crawl

    names = [name.strip() for name in constructors.split(",") if name.strip()]
    wanted = None if constructors.strip().lower() == "all" else names
    if wanted == []:
        raise typer.BadParameter("name at least one constructor, or all", param_hint="--constructors")
    stored = 0
    try:
        with progress.crawl_bar(pages) as tell:

            def move(outcome: "CrawlResult") -> None:
                nonlocal stored
                stored = outcome.stored
                tell(outcome)

            outcome = crawl.scrape(
                site,
                out,
                url=url,
                pages=pages,
                constructors=wanted,
                permission=permission,
                contact=contact,
                storage_state=storage_state,
                plan=api_crawl.plan(category, depth, per_category, photos, width),
                progress=move,
            )
    except KeyboardInterrupt:
        typer.echo(f"Stopped: {stored} photos were stored in {out}. The same command goes on from there.", err=True)
        raise typer.Exit(130) from None
    summaries.show(out, outcome)


def _check(
    site: str, out: Path | None, url: str | None, permission: str, contact: str, storage_state: Path | None
) -> None:
    """Print what the reader of a site finds on its first page."""
    from planespotter_scraping.crawling import drift_detection
    from planespotter_scraping.crawling.dry_run import check

    try:
        told = check(site, url=url, out=out, permission=permission, contact=contact, storage_state=storage_state)
    except drift_detection.DriftError as error:
        typer.echo("\n".join([*error.report, ""]))
        raise
    typer.echo("\n".join(told))


@app.command()
def label(
    types: Annotated[list[str], typer.Argument(metavar="TYPE...", help="Types, as a site or a person writes them.")],
    constructor: Annotated[
        str | None, typer.Option(help="Who built them. Default: who makes such a type, if only one does.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Say where a type belongs in the label tree, and why.

    Prints the path from the constructor to the model, as deep as the text is sure, the ICAO designator and the
    roles (freighter, bizjet, military, special), and how the text was read.

    Example: planespotter label "737-8AS" "A321-271NX" --json
    """
    import json

    from planespotter_scraping.labels.parser import infer_constructor, parse_label

    for text in types:
        read = parse_label(infer_constructor(text) if constructor is None else constructor, text)
        if as_json:
            names = {level: name or None for level, name in read.path._asdict().items()}
            typer.echo(json.dumps({"text": text, **names, "icao": read.icao or None, "roles": read.roles}))
            continue
        path = " > ".join(name for name in read.path if name) or "not known"
        marks = ", ".join([*([read.icao] if read.icao else []), *read.roles])
        typer.echo(f"{text}: {path}" + (f" ({marks})" if marks else ""))
        typer.echo(f"    {' '.join(read.explanation)}")


@app.command()
def explore(
    folder: Annotated[Path, typer.Argument(metavar="CATALOG", help="Folder of the catalog.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="HTML file to write. One that is there is replaced.")],
    per_class: Annotated[int, typer.Option(min=0, max=1000, help="Show this many photos of each class at most.")] = 12,
    min_photos: Annotated[
        int, typer.Option(min=1, help="Mark models of fewer photos: min_photos of the recipe that will train.")
    ] = 20,
) -> None:
    """Show a catalog on one page: charts, contact sheets, and what to do next.

    The page is a single HTML file that holds its pictures and needs no
    network: open it in any browser. Its pictures take 15 MB at most. What
    was seen in the images is kept in CATALOG/.phash_cache.csv, so that the next
    time is quicker. The photos' rights stay with their photographers.

    Example: planespotter explore photos --out report.html
    """
    from planespotter_scraping.console import progress
    from planespotter_scraping.explore import page

    with progress.work_bar() as move:
        written = page.write(folder, out, per_class=per_class, min_photos=min_photos, progress=move)
    typer.echo(
        f"{out} shows {written.photos} photos, {written.thumbnails} of them as thumbnails, "
        f"in {written.bytes / 1e6:.1f} MB."
    )
    for line in written.advice:
        typer.echo(f"- {line}")


@app.command()
def sample_site(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 takes a free one.")] = 8000,
    photos: Annotated[int, typer.Option(min=1, help="How many photos it shows.")] = 600,
    endless: Annotated[bool, typer.Option("--endless", help="One page that goes on as one scrolls.")] = False,
) -> None:
    """Serve the sample photo site on this machine, to look at it or to scrape it.

    Its photos are drawings of airliners, made by code. Ctrl-C ends it.

    Example: planespotter sample-site --port 8000
    """
    import threading
    from contextlib import suppress

    from planespotter_scraping.sample_site.server import SampleSite, serve

    with suppress(KeyboardInterrupt), serve(SampleSite(photos=photos, endless=endless), port) as address:
        typer.echo(f"Serving {photos} photos at {address} until Ctrl-C.")
        threading.Event().wait()


@app.command()
def install_browser() -> None:
    """Make sure that there is a Chromium for scraping.

    Takes one that is installed, else downloads Playwright's, else installs the distribution's package where that
    is allowed. Set PLANESPOTTER_CHROMIUM to use a certain one.

    Example: planespotter install-browser
    """
    from planespotter_scraping.crawling import browser

    typer.echo(f"Chromium: {browser.ensure_chromium()}")
