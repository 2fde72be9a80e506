"""One run of `planespotter classify`: connect, resume, stream photos, write results, and choose the exit code.

Photos that the output has a result for are skipped. The exit code is if TYPE_CHECKING:
    from planespotter_client.classify import grouping

SUCCESS, NOTHING_DONE, SOME_FAILED or INTERRUPTED;
an exception means that the run could not start or that the stream was lost.
"""

import dataclasses
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from planespotter_client import Model, PhotoResult, PlaneSpotter, Prior
from planespotter_client._errors import DOWNSCALE_HINT, PlaneSpotterError, ProtocolError
from planespotter_client._types import NETWORK
from planespotter_client.classify import (
    accuracy,
    filing,
    model_description,
    progress,
    run_manifest,
    serialization,
    sources,
    writers,
)
from planespotter_client.classify.answer_log import AnswerLog, LogOptions, open_answer_log
from planespotter_client.classify.file_discovery import STANDARD_INPUT
from planespotter_client.classify.group_by import GroupBy
from planespotter_client.classify.notify import Notifier, NotifyConfig
from planespotter_client.classify.parquet import log_path_of, open_parquet
from planespotter_client.classify.reconnecting_stream import reconnecting_stream
from planespotter_client.classify.writers import Format
from planespotter_client.commands.local_server import connect_or_start
from planespotter_photos.counts import count_noun

if TYPE_CHECKING:
    from planespotter_client.classify import grouping

SUCCESS, NOTHING_DONE, SOME_FAILED, INTERRUPTED = 0, 1, 3, 130


@dataclass(frozen=True)
class RunConfig:
    """Options of a run. One of `paths`, `watch` and `video` is the source."""

    server: str | None
    model: Path | None
    connection: dict[str, Any]
    reconnect_timeout: float
    paths: list[str]
    null: bool
    recursive: bool
    watch: Path | None
    video: str | None
    fps: float
    top_k: int
    preserve_order: bool
    downscale: bool
    output_format: Format | None
    out: Path | None
    overwrite: bool
    retry_failed: bool
    sort_into: Path | None
    link: filing.Link
    quiet: bool = False
    min_probability: float | None = None
    again: bool = False
    prior: Prior | None = None
    group: GroupBy | None = None
    notify: NotifyConfig | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the output."""
        columns = serialization.FRAME_COLUMNS if self.video is not None else serialization.COLUMNS
        if self.prior is not None:
            columns += serialization.PRIOR_COLUMNS
        return (*columns, serialization.LEAF_PROBABILITIES) if self.keeps_probabilities else columns

    @property
    def keeps_probabilities(self) -> bool:
        """Whether the output has the probability of every leaf."""
        return self.output_format is Format.PARQUET

    @property
    def stream_options(self) -> dict[str, Any]:
        """Parameters of `PlaneSpotter.stream`."""
        return {
            "top_k": self.top_k,
            "preserve_order": self.preserve_order,
            "downscale": self.downscale,
            "min_probability": self.min_probability,
            "prior": self.prior,
            "leaf_probabilities": self.keeps_probabilities or self.group is not None,
        }

    @property
    def manifest_settings(self) -> dict[str, Any]:
        """Settings, other than the model, that change results."""
        return {
            "top_k": self.top_k,
            "downscale": self.downscale,
            "min_probability": self.min_probability,
            "prior": None if self.prior is None else self.prior.fingerprint,
        }


def run(config: RunConfig) -> int:
    """Run `config` and return the exit code.

    Raises:
        PlaneSpotterError: The server cannot be reached, or was lost.
        AnswerLogError: The output file cannot be resumed.
        FilingError: Photos cannot be filed.
        VideoError: The video cannot be read.
    """
    stats = progress.RunStats()
    folder_errors: list[OSError] = []
    live = LiveGroups(config)
    try:
        with ExitStack() as stack:
            notifier = None if config.notify is None else stack.enter_context(closing(Notifier(config.notify, _report)))
            log = stack.enter_context(_open_log(config, notifier))
            is_new = not (log and log.answered)
            source = stack.enter_context(_source(config, log, stats, folder_errors))
            if not source.is_endless:
                first = next(source.photos, None)
                if first is None:
                    live.report()
                    return _report_nothing_to_do(config, log, stats, folder_errors)
                source.photos = itertools.chain([first], source.photos)
            _classify(config, log, is_new, source, stats, stack, Observers(live, notifier))
        live.report()
    except KeyboardInterrupt:
        live.report()
        _report_damaged_packets(stats)
        resume = f" and stored in {config.out}. Run the same command again to resume" if config.out else ""
        if config.sort_into is not None:
            _report(progress.filing_summary(stats, config.sort_into))
        _report(f"\nInterrupted. {count_noun(stats.answered, 'photo')} answered{resume}.")
        return INTERRUPTED
    if not config.quiet and (config.out or config.sort_into or sys.stderr.isatty()):
        _report(stats.summary())
        if config.sort_into is not None:
            _report(progress.filing_summary(stats, config.sort_into))
    _report_unread(stats)
    failed_earlier = log.failed if log else 0
    if failed_earlier:
        _report(f"Of the skipped ones, {failed_earlier:,} had failed; --retry-failed retries them.")
    _report_damaged_packets(stats)
    if stats.failed:
        _report(f"{stats.failed:,} of {count_noun(stats.answered, 'photo')} failed.")
    some_failed = stats.failed or failed_earlier or stats.unfiled or stats.damaged_packets or folder_errors
    return SOME_FAILED if some_failed else SUCCESS


def run_ground_truth(config: RunConfig, table: Path, root: Path | None, show: int) -> bool:
    """Print the accuracy on the photos of a ground truth `table`; return whether no photo failed."""
    with ExitStack() as stack:
        return accuracy.measure_accuracy(_connect(config, stack)[0], table, root, show)


def _connect(config: RunConfig, stack: ExitStack) -> tuple[PlaneSpotter, bool]:
    """Return a client, which `stack` closes, and whether its server was started for this run."""
    address, is_local = stack.enter_context(connect_or_start(config.server, config.model))
    connection = {} if is_local else config.connection
    return stack.enter_context(PlaneSpotter(address, timeout=config.reconnect_timeout, **connection)), is_local


def _classify(
    config: RunConfig,
    log: AnswerLog | None,
    is_new: bool,
    source: sources.Source,
    stats: progress.RunStats,
    stack: ExitStack,
    observers: "Observers",
) -> None:
    """Stream `source` and write the results. `is_new` says that no earlier run has written to `log`."""
    spotter, is_local = _connect(config, stack)
    # Fails before anything is written if the server cannot be reached.
    model = spotter.get_model()
    if config.out is not None:
        _update_manifest(config, config.out, is_new, model)
    observers.groups.start(model)
    results: Iterator[PhotoResult]
    if source.is_endless and not is_local:
        results = reconnecting_stream(spotter, source.photos, _report_lost_server, **config.stream_options)
    else:
        results = spotter.stream(source.photos, **config.stream_options)
    write = log.append if log else stack.enter_context(_writer(config))
    line_formats = (Format.CSV, Format.EXCEL, Format.JSONL)
    writes_lines = log is None and (_writes_text_lines(config) or config.output_format in line_formats)
    show_bar = not config.quiet and not (writes_lines and sys.stdout.isatty())  # lines and the bar would mix
    try:
        tracked = progress.track_progress(
            map(_for_the_command, map(source.with_id, results)), stats, source.total, show_bar
        )
        for result in stack.enter_context(closing(tracked)):  # closes the bar before the next message
            if config.prior is not None:
                _check_evidence(result, spotter.address)
            if config.sort_into is not None and result.prediction is not None:
                names = [node.name for node in result.prediction.confident_path]
                if config.video is None:
                    _file_photo(config, result.photo_id, names, stats)
                elif names:
                    _count_filed(
                        filing.file_frame(result.photo, result.photo_id, names, config.sort_into), names, stats
                    )
            write(result)
            observers.groups.add(result)
            if observers.notifier is not None:
                observers.notifier.add(result, config.columns)
            if result.error is not None:
                _report(f"{result.photo_id}: {result.error}")
    except PlaneSpotterError as error:
        raise progress.aborted_stream_error(error, stats.answered, source.planned()) from error


class Observers(NamedTuple):
    """What else sees each result, besides the output."""

    groups: "LiveGroups"
    notifier: Notifier | None


class LiveGroups:
    """The groups of a run: shown as they end, and written at the end. Does nothing without --group.

    A Parquet output has the probabilities of earlier runs, too: its groups are made of the file once it is complete.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._groups: grouping.Groups | None = None
        self._ended: list[dict[str, Any]] = []

    def start(self, model: Model) -> None:
        """Begin with the photos of `model`."""
        if self._config.group is not None:
            self._groups = self._new(model_description.describe(model))

    def _new(self, description: Mapping[str, Any], root: str = "") -> "grouping.Groups":
        from planespotter_client.classify import grouping

        config = self._config
        assert config.group is not None
        model = grouping.DecisionModel.from_description(description)
        return grouping.Groups(config.group, model, config.min_probability, config.prior, root)

    def add(self, result: PhotoResult) -> None:
        """Add a result, and show the group that it ends."""
        if self._groups is None or result.prediction is None:
            return
        from planespotter_client.classify import grouping

        evidence = grouping.evidence_of(result)
        if evidence is None:
            raise ProtocolError(
                "The server does not return the probabilities of all types, which --group needs: it is older than this "
                "command. Update it.",
                reason="LEAF_PROBABILITIES_UNSUPPORTED",
            )
        ended = self._groups.add(serialization.to_row(result, self._config.columns), evidence)
        if ended is not None:
            self._show(ended)

    def _show(self, group: dict[str, Any]) -> None:
        if self._config.watch is not None or self._config.video is not None:
            _report(writers.group_line(group))
        else:
            self._ended.append(group)

    def report(self) -> None:
        """Show the groups that have not ended, or all of them if photos do not arrive one by one; write them."""
        config, out = self._config, self._config.out
        if config.group is None:
            return
        for group in self._groups.close() if self._groups is not None else ():
            self._show(group)
        if out is None:
            writers.draw_groups(self._ended)
            return
        from planespotter_client.classify import grouping

        manifest = run_manifest.read(out)
        if out.exists() and manifest.get("decisions"):
            rows = grouping.read_groups(out, self._new(manifest["decisions"], str(manifest.get("folder", ""))))
            path = out.with_suffix(".groups.csv")
            grouping.write_groups(path, rows)
            _report(f"{count_noun(len(rows), 'group')} in {path}.")


def _check_evidence(result: PhotoResult, address: str) -> None:
    """Check that the server has used the prior: one that does not know of priors ignores them."""
    if result.prediction is not None and result.prediction.evidence == NETWORK:
        raise ProtocolError(
            f"The server at {address} ignores the prior: it is older than this command. Update it, or omit the prior.",
            reason="PRIOR_UNSUPPORTED",
        )


def _file_photo(config: RunConfig, photo: str, names: Sequence[str], stats: progress.RunStats) -> None:
    """File a photo whose prediction has these confident `names` into the folder of --sort-into, and count it."""
    assert config.sort_into is not None
    try:
        filed = filing.file_photo(photo, names, config.sort_into, config.link)
    except filing.PhotoMissingError as error:
        stats.unfiled += 1
        _report(str(error))
        return
    _count_filed(filed, names, stats)


def _count_filed(filed: filing.FiledPhoto, names: Sequence[str], stats: progress.RunStats) -> None:
    if filed.is_new:
        stats.filed[" ".join(filing.subfolders(names))] += 1
    else:
        stats.already_filed += 1


def _update_manifest(config: RunConfig, out: Path, is_new: bool, model: Model) -> None:
    """Write the manifest of a new output; check that an existing one has results of the same `model`."""
    name = f"{model.name} {model.version}"
    if is_new:
        decisions = model_description.describe(model) if config.keeps_probabilities else None
        folder = os.getcwd()  # noqa: PTH109
        run_manifest.write(out, model=name, folder=folder, decisions=decisions, **config.manifest_settings)
    else:
        run_manifest.check(out, model=name)


def _open_log(config: RunConfig, notifier: Notifier | None) -> "AbstractContextManager[AnswerLog | None]":
    if config.out is None:
        return nullcontext()
    if config.overwrite:
        for file in (config.out, log_path_of(config.out)):
            file.unlink(missing_ok=True)
        run_manifest.delete(config.out)
    run_manifest.check(config.out, **config.manifest_settings)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    options = LogOptions(
        retry_failed=config.retry_failed,
        keep_names=config.sort_into is not None,
        keep_times=config.again,
        on_row=None if notifier is None else notifier.detector.load,
        folder=str(run_manifest.read(config.out).get("folder", "")),
        byte_order_mark=config.output_format is Format.EXCEL,
    )
    if config.output_format is Format.PARQUET:
        out = config.out
        return open_parquet(
            out, config.columns, options=options, describe=lambda: run_manifest.read(out).get("decisions")
        )
    json_lines = config.output_format is Format.JSONL
    return open_answer_log(config.out, config.columns, json_lines=json_lines, options=options)


def _source(
    config: RunConfig, log: AnswerLog | None, stats: progress.RunStats, folder_errors: list[OSError]
) -> "AbstractContextManager[sources.Source]":
    def on_error(error: OSError) -> None:
        folder_errors.append(error)
        _report(f"{error.filename}: The folder cannot be read ({error.strerror}), so its photos are skipped.")

    def on_skipped(photo: str) -> None:
        if config.sort_into is not None and log is not None and log.names is not None:
            names = log.names.get(serialization.photo_key({"file": photo}))
            if names is not None:
                _file_photo(config, photo, names, stats)

    if config.video is not None:
        return sources.from_video(config.video, config.fps, log=log, stats=stats, on_lost=_report)
    if config.watch is not None:
        return sources.from_folder(
            config.watch,
            recursive=config.recursive,
            exclude=config.sort_into,
            log=log,
            stats=stats,
            on_skipped=on_skipped,
            again=config.again,
        )
    return nullcontext(
        sources.from_paths(
            config.paths,
            recursive=config.recursive,
            null=config.null,
            exclude=config.sort_into,
            log=log,
            stats=stats,
            on_error=on_error,
            on_skipped=on_skipped,
        )
    )


def _report_nothing_to_do(
    config: RunConfig, log: AnswerLog | None, stats: progress.RunStats, folder_errors: list[OSError]
) -> int:
    """Report why there is nothing to classify; return the exit code."""
    if not stats.skipped:
        if config.video:
            _report("There are no frames in this video.")
        elif config.paths == [STANDARD_INPUT]:
            _report("Standard input has no photos: it takes paths of photos and folders, one per line.")
        else:
            _report("There are no photos in these folders: no file name has the suffix of one, such as .jpg.")
            _report_unread(stats)
        return NOTHING_DONE
    failed = log.failed if log else 0
    retry = f" {failed:,} of them failed; --retry-failed retries them." if failed else ""
    each = "the photo" if stats.skipped == 1 else f"each of the {count_noun(stats.skipped, 'photo')}"
    model = run_manifest.read(config.out).get("model") if config.out else None
    _report(f"{config.out} has a result for {each}{f', by {model}' if model else ''}.{retry}")
    if config.sort_into is not None:
        _report(progress.filing_summary(stats, config.sort_into))
    return SOME_FAILED if failed or folder_errors or stats.unfiled else SUCCESS


def _writer(config: RunConfig) -> AbstractContextManager[writers.Write]:
    kinds: dict[Format | None, Callable[[tuple[str, ...]], AbstractContextManager[writers.Write]]] = {
        Format.TABLE: writers.text_lines if _writes_text_lines(config) else writers.table,
        Format.CSV: writers.csv_lines,
        Format.EXCEL: writers.excel_lines,
        Format.JSONL: writers.json_lines,
        None: writers.discard,
    }
    return kinds[config.output_format](config.columns)


def _writes_text_lines(config: RunConfig) -> bool:
    return config.output_format is Format.TABLE and (config.watch or config.video) is not None


def _report_damaged_packets(stats: progress.RunStats) -> None:
    if stats.damaged_packets:
        _report(
            f"{count_noun(stats.damaged_packets, 'damaged packet')} of the video could not be decoded; frames are "
            "missing."
        )


def _report_unread(stats: progress.RunStats) -> None:
    for summary in filter(None, (stats.unread_summary(), stats.housekeeping_summary())):
        _report(summary)


def _for_the_command(result: PhotoResult) -> PhotoResult:
    """Return a result whose error advises with the option instead of the parameter of the SDK."""
    if result.error is None or DOWNSCALE_HINT not in str(result.error):
        return result
    text = str(result.error).replace(DOWNSCALE_HINT, "or add --downscale")
    return dataclasses.replace(result, error=result.error.with_message(text))


def _report_lost_server(error: PlaneSpotterError) -> None:
    _report(f"{error} Waiting for it; photos that arrive meanwhile are not lost.")


def _report(text: str) -> None:
    typer.echo(text, err=True)
