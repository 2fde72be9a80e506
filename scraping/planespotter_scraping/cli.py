"""Commands: scrape photos, parse labels, explore a catalog, and serve the sample site."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planespotter_photos.counts import count_noun
from planespotter_scraping.cli_catalog import catalogs

if TYPE_CHECKING:
    from planespotter_scraping.crawling.result import CrawlResult

app = typer.Typer()
SITES = ["sample", "planespotters", "commons"]
app.add_typer(catalogs, name="catalog")
sites = typer.Typer(no_args_is_help=True, help="Describe photo sites.")
app.add_typer(sites, name="site")
CATEGORIES = "Sites with categories: commons"

Out = Annotated[
    Path | None,
    typer.Option(help="Folder of the catalog; photos are added to an existing one. Required without --dry-run."),
]
SiteName = Annotated[
    str,
    typer.Option(
        help=f"Site: {', '.join(SITES)}, one of an installed package, or a TOML file that describes one.",
        autocompletion=lambda: SITES,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        help="URL to crawl. Default: the usual URL of the site; for the sample site, a server that this command starts "
        "on this machine."
    ),
]
Pages = Annotated[
    int | None, typer.Option(min=1, help="Maximum list pages to read, or batches of an endless list. Default: all.")
]
Constructors = Annotated[str, typer.Option(help="Constructors whose aircraft to store, separated by commas, or all.")]
Permission = Annotated[
    str,
    typer.Option(
        help="Who allowed the crawl and when, for sites that require permission or that opt out of AI training (noai, "
        "TDM-Reservation, Content-Signal, robots.txt). Stored in the catalog."
    ),
]
Contact = Annotated[
    str, typer.Option(help="Your e-mail address or web page, sent with each request. Required for live sites.")
]
StorageState = Annotated[
    Path | None,
    typer.Option(
        help="File with a login that you made by hand, for sites that require one. Create it with "
        "`playwright open --save-storage FILE ADDRESS`: log in, then close the window. Keep it secret."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Read only the first page, print the fill rate of each field, and store no photo. If the page is not as "
        "expected, exit with code 1 and save a snapshot of it in OUT/snapshots, or without --out in ./snapshots. With "
        "this option, --url can also be a file, such as the page.html of a snapshot.",
    ),
]
Categories = Annotated[
    list[str] | None,
    typer.Option(
        help='Category to take photos from, such as "Airbus A320-200"; repeatable. '
        "Default: one category for each common model.",
        rich_help_panel=CATEGORIES,
    ),
]
Depth = Annotated[
    int | None,
    typer.Option(min=0, help="Levels of subcategories to search. Default: 3.", rich_help_panel=CATEGORIES),
]
PerCategory = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Maximum photos of each --category, so that no model dominates. Default: 200.",
        rich_help_panel=CATEGORIES,
    ),
]
Photos = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Maximum photos in total, including those in the catalog. Default: no limit.",
        rich_help_panel=CATEGORIES,
    ),
]
Width = Annotated[
    int | None,
    typer.Option(
        help="Width of the images in pixels: 250, 330, 500, 960, 1280, 1920 or 3840. Default: 1280.",
        rich_help_panel=CATEGORIES,
    ),
]


@app.command()
def scrape(
    out: Out = None,
    site: SiteName = "sample",
    url: Url = None,
    pages: Pages = None,
    constructors: Constructors = "Airbus,Boeing",
    permission: Permission = "",
    contact: Contact = "",
    storage_state: StorageState = None,
    dry_run: DryRun = False,
    category: Categories = None,
    depth: Depth = None,
    per_category: PerCategory = None,
    photos: Photos = None,
    width: Width = None,
) -> None:
    """Collect photos with their labels from a site into a catalog.

    A headless Chromium reads the pages of the site; each photo becomes an image
    and a row of OUT/catalog.csv. Stop with Ctrl-C at any time: the same command
    resumes, and downloads nothing twice.

    robots.txt, Retry-After and opt-outs of AI training are obeyed. If photos of
    the list may be missing, the crawl says why and exits with code 1. If the site denies access, or its
    markup has drifted (a field or all photos disappeared), the crawl stops,
    saves a snapshot of the page in OUT/snapshots, and names the line of the
    parser to check.

    Wikimedia Commons (--site commons) is read through its API. Its photos may
    be reused with attribution, which is in OUT/ATTRIBUTION.md.

    Example: planespotter scrape --site sample --out photos

    Example: planespotter scrape --dry-run --site sample

    Example: planespotter scrape --site site.toml --contact you@example.org --out photos

    Example: planespotter scrape --site commons --category "Boeing 737-800" --contact you@example.org --out photos
    """
    if dry_run:
        _dry_run(site, out, url, permission, contact, storage_state)
        return
    if out is None:
        raise typer.BadParameter("pass the folder of the catalog", param_hint="--out")
    from planespotter_scraping.console import progress, summaries
    from planespotter_scraping.crawling import api_crawl, crawl

    names = [name.strip() for name in constructors.split(",") if name.strip()]
    wanted = None if constructors.strip().lower() == "all" else names
    if wanted == []:
        raise typer.BadParameter("pass at least one constructor, or all", param_hint="--constructors")
    stored = 0
    try:
        with progress.crawl_bar(pages) as update_bar:

            def update(result: "CrawlResult") -> None:
                nonlocal stored
                stored = result.stored
                update_bar(result)

            result = crawl.scrape(
                site,
                out,
                url=url,
                pages=pages,
                constructors=wanted,
                permission=permission,
                contact=contact,
                storage_state=storage_state,
                plan=api_crawl.make_plan(category, depth, per_category, photos, width),
                progress=update,
            )
    except KeyboardInterrupt:
        gc.freeze()  # otherwise the interpreter takes a second or more to collect everything before it exits
        typer.echo(
            f"Stopped. {count_noun(stored, 'photo')} stored in {out}. The same command resumes the crawl.", err=True
        )
        raise typer.Exit(130) from None
    summaries.show(out, result)
    if result.incomplete:
        raise typer.Exit(1)


def _dry_run(
    site: str, out: Path | None, url: str | None, permission: str, contact: str, storage_state: Path | None
) -> None:
    """Print what the parser of a site finds on its first page."""
    from planespotter_scraping.crawling.drift_detection import DriftError
    from planespotter_scraping.crawling.dry_run import dry_run

    try:
        lines = dry_run(site, url=url, out=out, permission=permission, contact=contact, storage_state=storage_state)
    except DriftError as error:
        typer.echo("\n".join([*error.report, ""]))
        raise
    typer.echo("\n".join(lines))


@sites.command("init")
def init_site(
    url: Annotated[str, typer.Argument(help="URL of a page that lists photos, or a saved page.")],
    out: Annotated[
        Path | None,
        typer.Option(help="TOML file to write. Default: NAME.toml.", dir_okay=False, show_default=False),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the site. Default: derived from the page.")] = "",
    permission: Permission = "",
    contact: Contact = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the file and what it reads from the page, without writing it.")
    ] = False,
) -> None:
    """Describe a photo site in a TOML file, from a page that lists photos.

    Opens the page in a headless Chromium and looks for elements that repeat
    with a picture each, and in them for types, registrations, airlines,
    photographers and dates: by schema.org microdata, JSON-LD, class names, the
    paths of links, and how the values look. Check the file and complete it:
    it is a start, and what you may do with the photos is up to their owners.

    Example: planespotter site init https://photos.example/latest --contact you@example.org

    Example: planespotter site init page.html --name spotters --dry-run
    """
    from planespotter_scraping.atomic_write import atomic_write_text
    from planespotter_scraping.crawling.site_init import init_site as suggest
    from planespotter_scraping.sites.suggest import describe

    suggestion = suggest(url, name=name, permission=permission, contact=contact)
    if dry_run:
        typer.echo(suggestion.text)
        typer.echo("\n".join(describe(suggestion)))
        return
    file = out or Path(f"{suggestion.name}.toml")
    if file.exists():
        raise typer.BadParameter(f"{file} exists. Name another file, or remove it.", param_hint="--out")
    atomic_write_text(file, suggestion.text)
    typer.echo("\n".join(describe(suggestion)))
    typer.echo(f"Check {file}, and try it: planespotter scrape --site {file} --dry-run")


@app.command()
def label(
    types: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TYPE...]", help="Types, as a site or a person writes them; - for standard input."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="File with one type per line, in UTF-8; - for standard input.")
    ] = None,
    constructor: Annotated[
        str | None, typer.Option(help="Constructor of the types. Default: inferred if only one builds such a type.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header, for spreadsheets.")] = False,
) -> None:
    """Parse types into label tree paths, with an explanation.

    Prints the path from the constructor to the model as deep as the text is
    unambiguous, the ICAO designator, the roles (freighter, bizjet, military,
    special), and how the text was parsed. Types are read one per line from a
    file or standard input, and each label is printed at once.

    Example: planespotter label "737-8AS" "A321-271NX" --json

    Example: planespotter label --file registry.txt --csv > labels.csv
    """
    if not types and file is None:
        raise typer.BadParameter("pass one or more types, - for standard input, or --file", param_hint="TYPE")
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other. Pass one of them.", param_hint="--csv")
    from planespotter_scraping.console import label_output

    if as_csv:
        typer.echo(label_output.csv_row(label_output.COLUMNS))
    write = label_output.as_json if as_json else label_output.as_csv if as_csv else label_output.as_text
    for text in label_output.read_types(types or (), file):
        typer.echo(write(label_output.label_of(text, constructor)))


@app.command()
def explore(
    folder: Annotated[Path, typer.Argument(metavar="CATALOG", help="Folder of the catalog.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="HTML file to write; an existing one is replaced.")],
    per_class: Annotated[int, typer.Option(min=0, max=1000, help="Maximum photos to show per class.")] = 12,
    min_photos: Annotated[
        int,
        typer.Option(min=1, help="Mark models with fewer photos, for example min_photos of your recipe."),
    ] = 20,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of predictions of the catalog's photos (planespotter classify CATALOG --out FILE): the "
            "report lists the labels that a confident one contradicts.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a report on a catalog: charts, contact sheets, and what to do next.

    The report is a single HTML file with embedded pictures (at most 15 MB) that
    needs no network: open it in any browser. Image scans are cached in
    CATALOG/.phash_cache.csv, so that the next report is faster. The
    photographers keep the rights to the photos.

    Example: planespotter explore photos --out report.html
    """
    from planespotter_scraping.console import progress
    from planespotter_scraping.explore import page

    with progress.work_bar() as update_bar:
        report = page.write(
            folder, out, per_class=per_class, min_photos=min_photos, progress=update_bar, predictions=predictions
        )
    typer.echo(
        f"{out} shows {count_noun(report.photos, 'photo')}, {report.thumbnails} of them as thumbnails, "
        f"in {report.bytes / 1e6:.1f} MB."
    )
    for line in report.advice:
        typer.echo(f"- {line}")


@app.command()
def sample_site(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 for a free one.")] = 8000,
    photos: Annotated[int, typer.Option(min=1, help="Number of photos on the site.")] = 600,
    endless: Annotated[bool, typer.Option("--endless", help="Infinite scroll instead of numbered pages.")] = False,
) -> None:
    """Serve the sample photo site on this machine, to view or scrape it.

    Its photos are generated drawings of airliners. Stop with Ctrl-C.

    Example: planespotter sample-site --port 8000
    """
    import threading
    from contextlib import suppress

    from planespotter_scraping.sample_site.server import SampleSite, serve

    with suppress(KeyboardInterrupt), serve(SampleSite(photos=photos, endless=endless), port) as address:
        typer.echo(f"Serving {count_noun(photos, 'photo')} at {address} until Ctrl-C.")
        threading.Event().wait()


@app.command()
def install_browser() -> None:
    """Find a Chromium for scraping, or install one.

    Uses an installed one, else downloads Playwright's, else installs the
    distribution's package where that is allowed. Set PLANESPOTTER_CHROMIUM to
    use a specific program.

    Example: planespotter install-browser
    """
    from planespotter_scraping.crawling import browser

    typer.echo(f"Chromium: {browser.ensure_chromium()}")
