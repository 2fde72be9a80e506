"""Commands `planespotter catalog ...`: import, review, statistics, attribution and cleaning of photo catalogs."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

catalogs = typer.Typer(no_args_is_help=True, help="Create, inspect and clean photo catalogs.")

Folder = Annotated[Path, typer.Argument(metavar="CATALOG", help="Folder of the catalog.")]


@catalogs.command("import")
def import_photos(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of photos, searched recursively. With --answers it may be omitted.", show_default=False
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder of the catalog. Photos are added to an existing one.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="File with labels: CSV with the columns file (relative to FOLDER), constructor, aircraft_type, "
            "airline, registration, photographer, taken_on, licence..., COCO's JSON, or FGVC-Aircraft's text. Default: "
            "the names of the folders, and the label files in FOLDER."
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            help="File of predictions with a column 'correction' that you have filled in, the corrections that the "
            "page saves, or a JSON export of Label Studio. Only corrected photos are stored."
        ),
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="With --answers: also store predictions with at least this probability."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OURS=THEIRS",
            help="Column of the labels, such as aircraft_type=Classes; repeatable. Default: common names are known.",
        ),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="What the ends of the paths say, such as '{airline}_{registration}_*' or "
            "'{airline}/{registration}/*'. Default: registrations and airlines are recognized in folder and file names."
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Name of the source, for metrics by source. Default: the name of the folder.")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Create hard links to the images instead of copies.")] = False,
) -> None:
    """Create a catalog from your photos.

    The names of the folders are the labels: Boeing/737-800/*.jpg, or one
    folder for each type; registrations and airlines in them are read, too. Your
    files are only read. Exact copies are stored once, and running the same
    command again adds only new photos.

    Data sets are read as they are unpacked: FGVC-Aircraft, COCO, Roboflow, and
    tables such as Kaggle's. Further columns are ignored.

    Example: planespotter catalog import ~/Pictures/planes --out photos

    Example: planespotter catalog import fleet --pattern '{airline}_{registration}_*' --out photos

    Answers are labels, too: classify photos, correct the predictions, import
    them, and train with --init.

    Example: planespotter catalog import --answers answers.csv --out photos

    Example: planespotter catalog import kaggle --labels kaggle/train.csv --column aircraft_type=Classes --out photos
    """
    from planespotter_scraping.catalog import answers as answer_import
    from planespotter_scraping.catalog import folder_import, label_files
    from planespotter_scraping.console import progress, summaries

    _check_import(folder, labels, answers, min_probability, column, pattern, link=link)

    columns = {}
    for pair in column or []:
        ours, _, theirs = pair.partition("=")
        if ours not in label_files.SYNONYMS or not theirs:
            raise typer.BadParameter(
                f"{pair!r} is invalid. Give OURS=THEIRS, where OURS is one of {', '.join(label_files.SYNONYMS)}",
                param_hint="--column",
            )
        columns[ours] = theirs
    with progress.import_bar() as update:
        if answers is not None:
            result = answer_import.import_answers(
                answers, out, folder=folder, min_probability=min_probability, source=source, progress=update
            )
        else:
            assert folder is not None  # _check_import
            result = folder_import.import_folder(
                folder, out, labels=labels, columns=columns, pattern=pattern, source=source, link=link, progress=update
            )
    for sentence in summaries.import_sentences(result):
        typer.echo(sentence)
    if result.stored + result.known == 0:
        raise typer.Exit(1)  # not one photo was usable


def _check_import(
    folder: Path | None,
    labels: Path | None,
    answers: Path | None,
    min_probability: float | None,
    column: list[str] | None,
    pattern: str | None,
    *,
    link: bool,
) -> None:
    """Raise BadParameter for options of an import that exclude each other."""
    if answers is None:
        if folder is None:
            raise typer.BadParameter("pass the folder of the photos, or --answers", param_hint="FOLDER")
        if min_probability is not None:
            raise typer.BadParameter("it needs --answers.", param_hint="--min-probability")
        return
    labelling = {"--labels": labels, "--column": column, "--pattern": pattern, "--link": link}
    if used := next((name for name, value in labelling.items() if value), None):
        raise typer.BadParameter(f"--answers has the labels: omit {used}.", param_hint="--answers")


@catalogs.command("review")
def show_review(
    folder: Folder,
    top: Annotated[int, typer.Option(min=1, help="Number of labels to show.")] = 20,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all of them as CSV, for a spreadsheet.")] = False,
) -> None:
    """List labels that a person should review.

    Some sites print a label twice, such as on the card of a photo and in the
    URL of its page. A label is listed if its two readings differ, or if only
    the URL has it. So are duplicates with different labels, once the catalog
    is cleaned.

    Example: planespotter catalog review photos --csv > review.csv
    """
    from planespotter_scraping import catalog
    from planespotter_scraping.catalog import review

    remarks = review.remarks(catalog.read(folder))
    if as_csv:
        typer.echo(review.as_csv(remarks), nl=False)
    else:
        for line in review.as_lines(remarks, top):
            typer.echo(line)


@catalogs.command("stats")
def show_stats(
    folder: Folder,
    top: Annotated[int, typer.Option(min=1, help="Number of rows to show of long lists, such as airlines.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print all statistics as one JSON object.")] = False,
    scan_images: Annotated[
        bool, typer.Option("--scan-images", help="Open each image too, to find broken images and near duplicates.")
    ] = False,
) -> None:
    """Show the statistics of a catalog.

    Photos by constructor, model and airline, depth of the labels, missing
    values, photos per airframe, image sizes, dates, sources and copies. The
    same statistics as in planespotter explore.

    Example: planespotter catalog stats photos --top 20
    """
    import json
    from functools import partial

    from planespotter_scraping import catalog
    from planespotter_scraping.catalog import stats
    from planespotter_scraping.console import progress, tables

    frame, scans = catalog.read(folder), None
    if scan_images:
        from planespotter_scraping.images import similarity

        with progress.work_bar() as update:
            scans = similarity.scan_images(folder, dict.fromkeys(frame["file"], 0), partial(update, "images scanned"))
    result = stats.compute_stats(frame, folder, scans)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        tables.show_all(result, tables.console_for_tables(), top)


@catalogs.command("attribution")
def write_attribution(folder: Folder) -> None:
    """Write the page that names the authors of the photos.

    CATALOG/ATTRIBUTION.md has author, licence and source of each licensed
    photo. A scrape of Wikimedia Commons writes it; cleaning and import
    refresh an existing one. Run this command after merging or editing a
    catalog.

    Example: planespotter catalog attribution photos
    """
    from planespotter_scraping.catalog import attribution, count_noun

    count = attribution.write(folder)
    typer.echo(
        f"{folder / attribution.FILE} names the authors of {count_noun(count, 'photo')}."
        if count
        else f"No photo in {folder} has a licence, so there is no {attribution.FILE}."
    )


@catalogs.command("clean")
def clean_catalog(
    folder: Folder,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show which photos would be dropped, and why.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Undo the last clean. Repeat to undo the one before it.")
    ] = False,
    min_side: Annotated[
        int, typer.Option(min=0, help="Minimum shorter side of an image in pixels; 0: no limit.")
    ] = 192,
    max_aspect_ratio: Annotated[
        float, typer.Option(min=0, help="Maximum ratio of the longer side to the shorter; 0: no limit.")
    ] = 3.0,
    min_bytes: Annotated[int, typer.Option(min=0, help="Minimum size of an image file in bytes.")] = 2000,
    placeholder_ids: Annotated[
        int, typer.Option(min=0, help="Maximum photos of one source that may share one file; 0: no limit.")
    ] = 3,
    caption_word: Annotated[
        list[str] | None,
        typer.Option(help="Word or phrase of captions whose photos to drop as well. Repeatable."),
    ] = None,
    max_hamming: Annotated[
        int, typer.Option(min=0, max=16, help="Maximum Hamming distance of near duplicates, of 64 bits.")
    ] = 4,
    min_correlation: Annotated[
        float, typer.Option(min=0, max=1, help="Minimum correlation of the detail of near duplicates.")
    ] = 0.99,
    crop_bottom: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE=ROWS", help="Rows of pixels to crop from the photos of a source. Repeatable."),
    ] = None,
    stretch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE=FACTOR",
            help="Factor to widen the photos of a source by, which squashed them to squares: 1.5 if they were 3:2. "
            "Repeatable.",
        ),
    ] = None,
    per_airframe: Annotated[int | None, typer.Option(min=1, help="Maximum photos of each registration.")] = None,
    per_airline: Annotated[int | None, typer.Option(min=1, help="Maximum photos of each airline.")] = None,
    per_model: Annotated[int | None, typer.Option(min=1, help="Maximum photos of each model.")] = None,
    skip_rule: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="Rule to skip, such as near-duplicate. Repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Drop photos that are not worth training on.

    The rules: broken, small, aspect-ratio, placeholder, caption (cockpits,
    cabins, details, models), exact-duplicate and near-duplicate (the best
    copy is kept), and the caps per airframe, airline and model. The dropped
    rows move to CATALOG/dropped.csv with the reason; a scrape does not fetch
    them again. Images are never changed or deleted, and --undo restores all.

    Example: planespotter catalog clean photos --dry-run --per-airframe 5
    """
    import json
    from functools import partial

    from planespotter_scraping.cleaning import clean, rules, summary
    from planespotter_scraping.console import progress, tables

    if undo and dry_run:
        raise typer.BadParameter("--undo has no dry run. Use it without --dry-run.", param_hint="--undo")
    if undo:
        back, restored = clean.undo(folder)
        typer.echo(
            json.dumps({"photos_back": back, "rows_restored": restored})
            if as_json
            else summary.undo_sentence(folder, back, restored)
        )
        return
    crops = _by_source("--crop-bottom", crop_bottom, "ROWS", r"\d+", "fgvc=20")
    factors = _by_source("--stretch", stretch, "FACTOR", r"\d+(\.\d+)?", "fgvc=1.5")
    options = rules.Options(
        min_side=min_side,
        max_aspect_ratio=max_aspect_ratio,
        min_bytes=min_bytes,
        placeholder_ids=placeholder_ids,
        caption_words=tuple(caption_word or ()),
        max_hamming=max_hamming,
        min_correlation=min_correlation,
        crop_bottom={source: int(rows) for source, rows in crops.items()},
        stretch={source: float(factor) for source, factor in factors.items()},
        per_airframe=per_airframe,
        per_airline=per_airline,
        per_model=per_model,
        skip_rules=frozenset(skip_rule or ()),
    )
    with progress.work_bar() as update:
        result = clean.clean(folder, options, dry_run=dry_run, progress=partial(update, "images scanned"))
    if as_json:
        typer.echo(json.dumps(summary.as_json(result, dry_run=dry_run)))
    else:
        summary.show(folder, result, dry_run=dry_run, console=tables.console_for_tables())


def _by_source(option: str, texts: Sequence[str] | None, what: str, pattern: str, example: str) -> dict[str, str]:
    """Parse the values of an option, each SOURCE=`what`; the last one of a source counts."""
    values = {}
    for text in texts or ():
        source, equals, value = text.rpartition("=")
        if not equals or not re.fullmatch(pattern, value):
            raise typer.BadParameter(f"{text!r} is not SOURCE={what}, such as {example}", param_hint=option)
        values[source] = value
    return values
