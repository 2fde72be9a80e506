"""The commands `planespotter catalog ...`: make catalogs of photos, look into them, and clean them."""

from pathlib import Path
from typing import Annotated

import typer

catalogs = typer.Typer(no_args_is_help=True, help="Make catalogs of photos, and look into them.")


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
    from planespotter_scraping.catalog import folder_import
    from planespotter_scraping.console import progress, summaries

    with progress.import_bar() as move:
        outcome = folder_import.import_folder(folder, out, labels=labels, source=source, link=link, progress=move)
    for sentence in summaries.import_sentences(outcome):
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
    from planespotter_scraping import catalog
    from planespotter_scraping.catalog import review

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

    from planespotter_scraping import catalog
    from planespotter_scraping.catalog import stats
    from planespotter_scraping.console import progress, tables

    frame, seen = catalog.read(folder), None
    if look:
        from planespotter_scraping.images import similarity

        with progress.work_bar() as move:
            seen = similarity.look_at_all(folder, dict.fromkeys(frame["file"], 0), partial(move, "images looked at"))
    found = stats.numbers(frame, folder, seen)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        tables.show_all(found, tables.console_for_tables(), top)


@catalogs.command("attribution")
def write_attribution(
    folder: Annotated[Path, typer.Argument(metavar="CATALOG", help="Folder of the catalog.")],
) -> None:
    """Write the page that names the authors of the photos.

    CATALOG/ATTRIBUTION.md has author, licence and source of each photo
    that has a licence. A scrape of Wikimedia Commons writes it by itself,
    and a clean or an import writes again the one that is there; write it
    anew after you have merged or edited a catalog.

    Example: planespotter catalog attribution photos
    """
    from planespotter_scraping.catalog import attribution

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

    from planespotter_scraping.cleaning import clean, rules, summary
    from planespotter_scraping.console import progress, tables

    if undo and dry_run:
        raise typer.BadParameter("--undo cannot be tried without doing it: leave --dry-run out", param_hint="--undo")
    if undo:
        back, restored = clean.undo(folder)
        typer.echo(
            json.dumps({"photos_back": back, "rows_restored": restored})
            if as_json
            else summary.undo_sentence(folder, back, restored)
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
    with progress.work_bar() as move:
        outcome = clean.clean(folder, options, dry_run=dry_run, progress=partial(move, "images looked at"))
    if as_json:
        typer.echo(json.dumps(summary.as_json(outcome, dry_run=dry_run)))
    else:
        summary.show(folder, outcome, dry_run=dry_run, console=tables.console_for_tables())


def _source_and_rows(text: str) -> tuple[str, int]:
    """Return the source and the number of rows of SOURCE=ROWS."""
    source, equals, rows = text.rpartition("=")
    if not equals or not rows.isdecimal():
        raise typer.BadParameter(f"{text!r} is not SOURCE=ROWS, such as fgvc=20", param_hint="--crop-bottom")
    return source, int(rows)
