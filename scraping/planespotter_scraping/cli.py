"""The commands of this room: collect photos, and look at the sample site."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from planespotter_scraping.outcome import Outcome

app = typer.Typer()
CATEGORIES = "Sites with categories: commons"
catalogs = typer.Typer(no_args_is_help=True, help="Make catalogs of photos, and look into them.")
app.add_typer(catalogs, name="catalog")


@app.command()
def scrape(
    out: Annotated[
        Path | None, typer.Option(help="Folder of the catalog. An existing one is added to. Needed without --check.")
    ] = None,
    site: Annotated[str, typer.Option(help="Site to read: sample, planespotters or commons.")] = "sample",
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
            "expected. Nothing is stored; --url may also be the page.html of evidence.",
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
    from planespotter_scraping import crawl, progress, summary, walk_api

    names = [name.strip() for name in constructors.split(",") if name.strip()]
    wanted = None if constructors.strip().lower() == "all" else names
    if wanted == []:
        raise typer.BadParameter("name at least one constructor, or all", param_hint="--constructors")
    stored = 0
    try:
        with progress.crawl_bar(pages) as tell:

            def move(outcome: "Outcome") -> None:
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
                plan=walk_api.plan(category, depth, per_category, photos, width),
                progress=move,
            )
    except KeyboardInterrupt:
        typer.echo(f"Stopped: {stored} photos were stored in {out}. The same command goes on from there.", err=True)
        raise typer.Exit(130) from None
    summary.show(out, outcome)


def _check(
    site: str, out: Path | None, url: str | None, permission: str, contact: str, storage_state: Path | None
) -> None:
    """Print what the reader of a site finds on its first page."""
    from planespotter_scraping import watch
    from planespotter_scraping.check import check

    try:
        told = check(site, url=url, out=out, permission=permission, contact=contact, storage_state=storage_state)
    except watch.RedesignError as error:
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

    from planespotter_scraping.labels import explain, maker

    for text in types:
        read = explain(maker(text) if constructor is None else constructor, text)
        if as_json:
            names = {level: name or None for level, name in read.path._asdict().items()}
            typer.echo(json.dumps({"text": text, **names, "icao": read.icao or None, "roles": read.roles}))
            continue
        path = " > ".join(name for name in read.path if name) or "not known"
        marks = ", ".join([*([read.icao] if read.icao else []), *read.roles])
        typer.echo(f"{text}: {path}" + (f" ({marks})" if marks else ""))
        typer.echo(f"    {' '.join(read.why)}")


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
    was seen in the images is kept in CATALOG/.looks.csv, so that the next
    time is quicker. The photos' rights stay with their photographers.

    Example: planespotter explore photos --out report.html
    """
    from planespotter_scraping import summary
    from planespotter_scraping.explore import page

    with summary.work_bar() as move:
        written = page.write(folder, out, per_class=per_class, few=min_photos, progress=move)
    typer.echo(
        f"{out} shows {written.photos} photos, {written.pictures} of them as pictures, in {written.bytes / 1e6:.1f} MB."
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
    from planespotter_scraping import browser

    typer.echo(f"Chromium: {browser.ensure_chromium()}")


@catalogs.command("import")
def import_photos(
    folder: Annotated[Path, typer.Argument(help="Folder of photos; those in the folders inside it count too.")],
    out: Annotated[Path, typer.Option(help="Folder of the catalog. An existing one is added to.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the labels: the columns file (relative to FOLDER), constructor, aircraft_type, airline, "
            "registration, photographer, taken_on, licence... Default: the names of the folders."
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Name of the source, for reports by source. Default: the folder's name.")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Make hard links to the images instead of copies.")] = False,
) -> None:
    """Make a catalog of your own photos.

    The names of the folders are the labels: Boeing/737-800/*.jpg, or one
    folder for each type. Your files are only read. Exact copies are stored
    once, and running the same command again adds only what is new.

    Example: planespotter catalog import ~/Pictures/planes --out photos
    """
    from planespotter_scraping import folders, summary

    with summary.import_bar() as progress:
        outcome = folders.import_folder(folder, out, labels=labels, source=source, link=link, progress=progress)
    for sentence in summary.import_sentences(outcome):
        typer.echo(sentence)
    if outcome.stored + outcome.known == 0:
        raise typer.Exit(1)  # not one photo could be used


@catalogs.command("review")
def show_review(
    folder: Annotated[Path, typer.Argument(metavar="CATALOG", help="Folder of the catalog.")],
    top: Annotated[int, typer.Option(min=1, help="Show this many labels.")] = 20,
    as_csv: Annotated[bool, typer.Option("--csv", help="All of them as CSV, for a spreadsheet.")] = False,
) -> None:
    """List the labels that a person should look at.

    Some sites say a label twice: on the card of a photo, and in the
    address of its page. Where the two differ, the card counts, and the
    label is listed here; so it is where only one of them says it.

    Example: planespotter catalog review photos --csv > review.csv
    """
    from planespotter_scraping import catalog, review

    found = review.remarks(catalog.read(folder))
    if as_csv:
        typer.echo(review.as_csv(found), nl=False)
    else:
        for line in review.as_lines(found, top):
            typer.echo(line)


@catalogs.command("stats")
def show_stats(
    folder: Annotated[Path, typer.Argument(metavar="CATALOG", help="Folder of the catalog.")],
    top: Annotated[int, typer.Option(min=1, help="Show this many of the longest lists, such as airlines.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as one JSON object, for programs.")] = False,
    look: Annotated[
        bool, typer.Option("--look", help="Open each image too: tells of broken ones, and of those that look alike.")
    ] = False,
) -> None:
    """Show the numbers of a catalog.

    How many photos of which constructors, models and airlines there are,
    how far the labels reach, which values are missing, how many photos show
    the same airframe, how large the images are, when and where they come
    from, and which are copies. The same numbers as planespotter explore.

    Example: planespotter catalog stats photos --top 20
    """
    import json
    from functools import partial

    from planespotter_scraping import catalog, stats, summary

    frame, seen = catalog.read(folder), None
    if look:
        from planespotter_scraping import looks

        with summary.work_bar() as move:
            seen = looks.look_at_all(folder, dict.fromkeys(frame["file"], 0), partial(move, "images looked at"))
    found = stats.numbers(frame, folder, seen)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        stats.show_all(found, stats.console_for_tables(), top)


@catalogs.command("attribution")
def write_attribution(
    folder: Annotated[Path, typer.Argument(metavar="CATALOG", help="Folder of the catalog.")],
) -> None:
    """Write the page that names the authors of the photos.

    CATALOG/ATTRIBUTION.md has author, licence and source of each photo
    that has a licence. A scrape of Wikimedia Commons writes it by itself;
    write it anew after you have merged, cleaned or edited a catalog.

    Example: planespotter catalog attribution photos
    """
    from planespotter_scraping import attribution

    count = attribution.write(folder)
    typer.echo(
        f"{folder / attribution.FILE} names the authors of {count} photos."
        if count
        else f"No photo in {folder} has a licence, so there is no {attribution.FILE}."
    )


@catalogs.command("clean")
def clean_catalog(
    folder: Annotated[Path, typer.Argument(metavar="CATALOG", help="Folder of the catalog.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be dropped, and why.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back the last clean; once more takes back the one before it.")
    ] = False,
    smallest_side: Annotated[
        int, typer.Option(min=0, help="Drop images whose smaller side has fewer pixels; 0 for none.")
    ] = 192,
    largest_aspect: Annotated[
        float, typer.Option(min=0, help="Drop images of which one side is more than so many times the other; 0: none.")
    ] = 3.0,
    smallest_file: Annotated[int, typer.Option(min=0, help="Drop images of fewer bytes.")] = 2000,
    placeholder_ids: Annotated[
        int, typer.Option(min=0, help="Drop a file that more photos of one source share; 0 for none.")
    ] = 3,
    caption_word: Annotated[
        list[str] | None,
        typer.Option(help="Also drop photos whose captions have this word or phrase. May be repeated."),
    ] = None,
    near_bits: Annotated[
        int, typer.Option(min=0, max=16, help="Near duplicates differ in so many of the 64 bits of their hash at most.")
    ] = 4,
    near_detail: Annotated[
        float, typer.Option(min=0, max=1, help="Near duplicates agree in this share of their detail at least.")
    ] = 0.99,
    crop_bottom: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE=ROWS", help="Cut so many rows off the photos of a source. May be repeated."),
    ] = None,
    per_airframe: Annotated[int | None, typer.Option(min=1, help="Keep so many photos of each registration.")] = None,
    per_airline: Annotated[int | None, typer.Option(min=1, help="Keep so many photos of each airline.")] = None,
    per_model: Annotated[int | None, typer.Option(min=1, help="Keep so many photos of each model.")] = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="Leave out a rule, such as near. May be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as one JSON object, for programs.")] = False,
) -> None:
    """Drop the photos that are not worth training on, and say why of each.

    The rules: broken, small, shape, placeholder, caption (cockpits, cabins,
    details, models), exact and near (copies: the best one stays), and the
    limits per airframe, airline and model. Rows that are dropped move to
    CATALOG/dropped.csv with the reason; a scrape does not fetch them again.
    No image is changed or removed, and --undo brings all back.

    Example: planespotter catalog clean photos --dry-run --per-airframe 5
    """
    import json
    from functools import partial

    from planespotter_scraping import clean, clean_summary, rules, stats, summary

    if undo:
        back, restored = clean.undo(folder)
        typer.echo(
            json.dumps({"photos_back": back, "rows_restored": restored})
            if as_json
            else clean_summary.undo_sentence(folder, back, restored)
        )
        return
    options = rules.Options(
        smallest_side=smallest_side,
        largest_aspect=largest_aspect,
        smallest_file=smallest_file,
        placeholder_ids=placeholder_ids,
        caption_words=tuple(caption_word or ()),
        near_bits=near_bits,
        near_detail=near_detail,
        crop_bottom=dict(map(_source_and_rows, crop_bottom or ())),
        per_airframe=per_airframe,
        per_airline=per_airline,
        per_model=per_model,
        without=frozenset(without or ()),
    )
    with summary.work_bar() as move:
        outcome = clean.clean(folder, options, dry_run=dry_run, progress=partial(move, "images looked at"))
    if as_json:
        typer.echo(json.dumps(clean_summary.as_json(outcome, dry_run=dry_run)))
    else:
        clean_summary.show(folder, outcome, dry_run=dry_run, console=stats.console_for_tables())


def _source_and_rows(text: str) -> tuple[str, int]:
    """Return the source and the number of rows of SOURCE=ROWS."""
    source, equals, rows = text.rpartition("=")
    if not equals or not rows.isdecimal():
        raise typer.BadParameter(f"{text!r} is not SOURCE=ROWS, such as fgvc=20", param_hint="--crop-bottom")
    return source, int(rows)
