"""The command `planespotter review`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planespotter_client.commands import options

if TYPE_CHECKING:
    from planespotter_scraping.reviewing import DecisionLog, Reviewable

app = typer.Typer()
ORDER_NAMES = ["least-confident", "balanced", "disagreements", "label-errors", "random"]


@app.command()
def review(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CATALOG_OR_ANSWERS",
            help="Folder of a catalog, or a file of predictions (planespotter classify PHOTOS --out FILE).",
        ),
    ],
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of predictions of a catalog's photos, or by a second network; repeatable.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the catalog for the photos of a file of predictions.", show_default=False),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder that relative paths in the predictions are relative to.", show_default=False),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            help=f"Which photos come first: {', '.join(ORDER_NAMES)}. Default: label-errors or disagreements if there "
            "are any, else least-confident.",
            autocompletion=lambda: ORDER_NAMES,
            show_default=False,
        ),
    ] = None,
    random_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the photos to draw at random, from which accuracy is measured."),
    ] = 0.25,
    photos: Annotated[
        int | None, typer.Option(min=1, help="Maximum photos to review. Default: all.", show_default=False)
    ] = None,
    reviewer: Annotated[
        str | None,
        typer.Option(help="Name of the reviewer that the page proposes. Default: your user name.", show_default=False),
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Apply the decisions so far and print the summary, without a page.")
    ] = False,
    port: options.PagePort = 8081,
    host: options.PageHost = "127.0.0.1",
    allow_remote: options.AllowRemote = False,
    open_page: options.OpenPage = False,
) -> None:
    """Review photos on a web page by keyboard, and get a catalog to train on.

    The page shows one photo at a time, with its label or its prediction. One key decides: accept, correct by typing
    three letters of a type, unknown, no aircraft, skip, undo. The photos that teach most come first, and a share is
    drawn at random, so that the accuracy by level that the command prints at its end is an honest one.

    Several people can review at a time, each in a browser. Each decision is written to review.jsonl in the catalog
    before the next photo appears, with who and when, so a kill loses none; the same command resumes.

    A reviewed catalog gets the corrected labels, and `catalog clean --undo` restores the former ones. Predictions need
    --out: the photos with a decision are copied there.

    Example: planespotter review answers.csv --out reviewed --open

    Example: planespotter review photos --predictions answers.csv --order label-errors

    Example: planespotter review photos --finish

    The first line on stdout ends with the address of the page. Ctrl-C or SIGTERM ends the review.

    Exit codes: 0 ended; 1 it could not start; 2 wrong usage.
    """
    from planespotter_scraping.reviewing import DecisionLog, exclusive_lock, load

    if order is not None and order not in ORDER_NAMES:
        raise typer.BadParameter(f"{order!r} is not one of {', '.join(ORDER_NAMES)}", param_hint="--order")
    reviewable = load(source, predictions or (), out, root)
    with exclusive_lock(reviewable.out), DecisionLog(reviewable.out) as log:
        if not finish:
            _serve(reviewable, log, order, random_share, photos, reviewer, (host, port, allow_remote), open_page)
        _finish(reviewable, log)


def _serve(
    reviewable: "Reviewable",
    log: "DecisionLog",
    order: str | None,
    random_share: float,
    limit: int | None,
    reviewer: str | None,
    address: tuple[str, int, bool],
    open_page: bool,
) -> None:
    """Serve the page until a signal."""
    import asyncio
    import getpass

    from planespotter_client.review.app import build_app
    from planespotter_client.web import server
    from planespotter_scraping.reviewing import ReviewSession, default_order

    host, port, allow_remote = address
    listener = server.listen(host, port, allow_remote)
    is_remote = server.is_remote(listener)
    try:
        name = reviewer if reviewer is not None else "" if is_remote else getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        name = ""
    order = order or default_order(reviewable.photos)
    session = ReviewSession(reviewable.photos, log, order, random_share, limit)
    title = (reviewable.folder or reviewable.out).resolve().name

    on_ready = options.announce("Review photos on", open_page)
    with listener, server.exit_on_signal():
        asyncio.run(server.serve_app(build_app(session, host, is_remote, title, name), listener, host, on_ready))


def _finish(reviewable: "Reviewable", log: "DecisionLog") -> None:
    """Apply the decisions and print what was learnt."""
    from planespotter_photos.counts import count_noun
    from planespotter_scraping.reviewing import apply_review, ranked, summarize, summary_sentences

    keys = {photo.key for photo in reviewable.photos} | log.decisions.keys()
    applied = apply_review(reviewable, log.decisions)
    for line in summary_sentences(summarize(ranked(keys), log.decisions)):
        typer.echo(line)
    for file, reason in list(applied.imported.unreadable.items())[:5]:
        typer.echo(f"Skipped {file}: {reason.rstrip('.')}.")
    changes = [
        (applied.imported.stored, "stored"),
        (applied.corrected, "with a corrected label"),
        (applied.dropped, "dropped, as nobody could name them"),
    ]
    texts = [f"{count_noun(count, 'photo')} {what}" for count, what in changes if count]
    if texts:
        typer.echo(f"{reviewable.out}: {', '.join(texts)}.")
    if log.decisions and applied.photos:
        typer.echo(f"Train on them with: planespotter train {reviewable.out} --out runs/reviewed")
