"""One run of the command: photos through a stream, and all that is made of the answers."""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from planespotter_client import PhotoAnswer, PlaneSpotter
from planespotter_client._errors import PlaneSpotterError
from planespotter_client.classify import filing, progress, run_manifest, serialization, sources, writers
from planespotter_client.classify.answer_log import Answers, answers_file
from planespotter_client.classify.file_discovery import STANDARD_INPUT
from planespotter_client.classify.parquet import journal_of, parquet_file
from planespotter_client.classify.reconnecting_stream import lasting
from planespotter_client.classify.writers import Format
from planespotter_client.commands.local_server import server_or_own

ALL_WELL, NOTHING_DONE, SOME_FAILED, INTERRUPTED = 0, 1, 3, 130


@dataclass(frozen=True)
class Plan:
    """What is asked for. One of `paths`, `watch` and `video` says which photos."""

    server: str | None
    model: Path | None
    connection: dict[str, Any]
    wait: float
    paths: list[str]
    null: bool
    recursive: bool
    watch: Path | None
    video: str | None
    fps: float
    form: Format | None
    out: Path | None
    overwrite: bool
    retry_failed: bool
    stream: dict[str, Any]
    sort_into: Path | None
    link: filing.Link

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the answers."""
        return serialization.FRAME_COLUMNS if self.video is not None else serialization.COLUMNS


def run(plan: Plan) -> int:
    """Do what `plan` says and return the exit code. Raises the errors of the parts, whose texts are for users."""
    tally = progress.Tally()
    troubles: list[OSError] = []
    try:
        with ExitStack() as stack:
            kept = stack.enter_context(_kept(plan))
            fresh = not (kept and kept.done)
            source = stack.enter_context(_source(plan, kept, tally, troubles))
            if plan.watch is None:
                first = next(source.photos, None)
                if first is None:
                    return _nothing_left(plan, kept, tally, troubles)
                source.photos = itertools.chain([first], source.photos)
            _answer(plan, kept, fresh, source, tally, stack)
    except KeyboardInterrupt:
        _note_damaged(tally)
        go_on = f" and kept in {plan.out}. Run the same command again to go on" if plan.out else ""
        _note(f"\nInterrupted. {progress.photos(tally.answered)} answered{go_on}.")
        return INTERRUPTED
    if plan.out or plan.sort_into or sys.stderr.isatty():
        _note(tally.summary())
    failed_before = kept.done.failed if kept else 0
    if failed_before:
        _note(f"Of those, {failed_before:,} had failed; --retry-failed tries them again.")
    _note_damaged(tally)
    if tally.failed:
        _note(f"{tally.failed:,} of {progress.photos(tally.answered)} failed.")
    some_failed = tally.failed or failed_before or tally.unfiled or tally.damaged or troubles
    return SOME_FAILED if some_failed else ALL_WELL


def _answer(
    plan: Plan, kept: Answers | None, fresh: bool, source: sources.Source, tally: progress.Tally, stack: ExitStack
) -> None:
    """Stream `source` and make of the answers what `plan` says. `fresh` says that no earlier run has `kept` any."""
    address, own = stack.enter_context(server_or_own(plan.server, plan.model))
    spotter = stack.enter_context(PlaneSpotter(address, timeout=plan.wait, **({} if own else plan.connection)))
    # If the server cannot be reached or has no such answers, this says so before anything is written.
    network = spotter.model()
    if plan.out is not None:
        _begin(plan, plan.out, fresh, f"{network.name} {network.version}")
    answers: Iterator[PhotoAnswer]
    if plan.watch is not None and not own:
        answers = lasting(spotter, source.photos, _note_gone, **plan.stream)
    else:
        answers = spotter.stream(source.photos, **plan.stream)
    write = kept.write if kept else stack.enter_context(_writer(plan))
    lines = kept is None and (_says_at_once(plan) or plan.form in (Format.CSV, Format.JSONL))
    bar = not (lines and sys.stdout.isatty())  # they would run into it
    try:
        shown = progress.with_progress(map(source.named, answers), tally, source.total, bar)
        for answer in stack.enter_context(closing(shown)):  # whatever is said next must not run into the bar
            if plan.sort_into is not None and answer.classification is not None:
                try:
                    filing.file_photo(answer.photo_id, answer.classification, plan.sort_into, plan.link)
                except filing.PhotoGoneError as error:  # the others are still there
                    tally.unfiled += 1
                    _note(str(error))
            write(answer)
            if answer.error is not None:
                _note(f"{answer.photo_id}: {answer.error}")
    except PlaneSpotterError as error:
        raise progress.cut_short(error, tally.answered, source.due()) from error


def _begin(plan: Plan, out: Path, fresh: bool, network: str) -> None:
    """Make sure that `out` has answers of `network` alone, which are about to come; note so if it is `fresh`."""
    if fresh:
        run_manifest.note(out, network=network, **_settings(plan))
    else:
        run_manifest.check(out, network=network)


def _settings(plan: Plan) -> dict[str, Any]:
    """Return what, beside the network, decides what answers say."""
    return {name: plan.stream[name] for name in ("alternatives", "shrink")}


def _kept(plan: Plan) -> "AbstractContextManager[Answers | None]":
    if plan.out is None:
        return nullcontext()
    if plan.overwrite:
        for file in (plan.out, journal_of(plan.out)):
            file.unlink(missing_ok=True)
        run_manifest.forget(plan.out)
    run_manifest.check(plan.out, **_settings(plan))
    if plan.form is Format.PARQUET:
        return parquet_file(plan.out, plan.columns, retry_failed=plan.retry_failed)
    return answers_file(plan.out, plan.columns, lines=plan.form is Format.JSONL, retry_failed=plan.retry_failed)


def _source(
    plan: Plan, kept: Answers | None, tally: progress.Tally, troubles: list[OSError]
) -> "AbstractContextManager[sources.Source]":
    def unreadable(error: OSError) -> None:
        troubles.append(error)
        _note(f"{error.filename}: The folder cannot be read ({error.strerror}), so its photos are left out.")

    done = kept.done if kept else None
    if plan.video is not None:
        return sources.filmed(plan.video, plan.fps, done=done, tally=tally)
    if plan.watch is not None:
        return sources.watched(plan.watch, recursive=plan.recursive, leave_out=plan.sort_into, done=done, tally=tally)
    return nullcontext(
        sources.chosen(
            plan.paths,
            recursive=plan.recursive,
            null=plan.null,
            leave_out=plan.sort_into,
            done=done,
            tally=tally,
            unreadable=unreadable,
        )
    )


def _nothing_left(plan: Plan, kept: Answers | None, tally: progress.Tally, troubles: list[OSError]) -> int:
    if not tally.skipped:
        if plan.video:
            _note("There are no frames in this video.")
        elif plan.paths == [STANDARD_INPUT]:
            _note("No photos came on standard input: it takes paths of photos and folders, one a line.")
        else:
            _note("There are no photos (.jpg, .jpeg, .png, .webp) in these folders.")
        return NOTHING_DONE
    failed = kept.done.failed if kept else 0
    again = f" {failed:,} of them failed; --retry-failed tries them again." if failed else ""
    each = "the photo" if tally.skipped == 1 else f"each of the {progress.photos(tally.skipped)}"
    network = run_manifest.with_what(plan.out).get("network") if plan.out else None
    _note(f"{plan.out} has an answer for {each}{f', by {network}' if network else ''}.{again}")
    return SOME_FAILED if failed or troubles else ALL_WELL


def _writer(plan: Plan) -> AbstractContextManager[writers.Write]:
    kinds: dict[Format | None, Callable[[tuple[str, ...]], AbstractContextManager[writers.Write]]] = {
        Format.TABLE: writers.sentences if _says_at_once(plan) else writers.table,
        Format.CSV: writers.csv_lines,
        Format.JSONL: writers.json_lines,
        None: writers.nothing,
    }
    return kinds[plan.form](plan.columns)


def _says_at_once(plan: Plan) -> bool:
    return plan.form is Format.TABLE and (plan.watch or plan.video) is not None


def _note_damaged(tally: progress.Tally) -> None:
    if tally.damaged:
        _note(f"{tally.damaged:,} damaged parts of the video could not be decoded, so their frames are left out.")


def _note_gone(error: PlaneSpotterError) -> None:
    _note(f"{error} Waiting for it; photos that arrive meanwhile are not lost.")


def _note(text: str) -> None:
    typer.echo(text, err=True)
