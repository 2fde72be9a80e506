"""Decide again: levels, names and candidates from the probabilities of the leaves in a Parquet file of `classify`.

The file is read in batches of rows, and each batch is decided with arrays: no row is a Python object, so that a million
of them take seconds.
"""

import contextlib
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from planespotter_client import Prior
from planespotter_client.classify import grouping, run_manifest, serialization
from planespotter_client.classify.group_by import GroupBy
from planespotter_client.classify.grouping import NEVER, DecisionModel
from planespotter_client.classify.parquet import BATCH_ROWS, METADATA
from planespotter_client.commands.atomic_write import atomic_write
from planespotter_models import NETWORK, LabelTree, PriorError, Thresholds, decide
from planespotter_models import Decisions as Decided
from planespotter_models import Prior as TreePrior
from planespotter_photos.counts import count_noun

MIN_THRESHOLD = 0.5
"""A level that is less probable than not is never confident by a target precision."""
LEVELS = ("unknown", *serialization.LEVELS)
Floats = NDArray[np.floating[Any]]


class DecideError(Exception):
    """The file has no probabilities to decide from; the text says why and how to fix it."""


@dataclass(frozen=True)
class Decisions:
    """How to decide.

    Attributes:
        target_precision: Expected share of correct predictions at each level; excludes `min_probability`.
        min_probability: Minimum probability of each confident name.
        prior: What is known besides all photos.
        group: Predict groups of photos instead; excludes `fleets`.
        fleets: What is known by the airline of a photo, in lower case; excludes `prior`.
        airlines: Table with the columns file and airline, from which the airline of a photo is.
    """

    target_precision: float | None = None
    min_probability: float | None = None
    prior: Prior | None = None
    group: GroupBy | None = None
    fleets: Mapping[str, Prior] | None = None
    airlines: Path | None = None


@dataclass(frozen=True)
class Evidence:
    """What is known besides the photos.

    Attributes:
        prior: For all photos; None for nothing.
        by_airline: For the photos of an airline, by its name in lower case.
        airline_of: Airline in lower case, by the key of a photo.
        root: Folder that the paths in the results are relative to.
    """

    prior: TreePrior | None = None
    by_airline: Mapping[str, TreePrior] = field(default_factory=dict)
    airline_of: Mapping[str, str] = field(default_factory=dict)
    root: str = ""

    def __bool__(self) -> bool:
        return self.prior is not None or bool(self.by_airline)

    def apply(self, table: Floats, files: Sequence[str]) -> tuple[Floats, list[str]]:
        """Return the posterior [n, leaves] of photos, and the evidence of each."""
        if self.prior is not None:
            return self.prior.apply(table), [f"{NETWORK}+{self.prior.name}"] * len(table)
        evidence = [NETWORK] * len(table)
        if not self.by_airline:
            return table, evidence
        posterior = table.astype(np.float64)
        rows_of: dict[str, list[int]] = {}
        for row, file in enumerate(files):
            airline = self.airline_of.get(serialization.photo_key({"file": file}, self.root), "")
            if airline in self.by_airline:
                rows_of.setdefault(airline, []).append(row)
        for airline, rows in rows_of.items():
            prior = self.by_airline[airline]
            posterior[rows] = prior.apply(table[rows])
            for row in rows:
                evidence[row] = f"{NETWORK}+{prior.name}"
        return posterior, evidence


@dataclass(frozen=True)
class Summary:
    """What was decided, for a person."""

    photos: int
    failed: int
    earlier: Mapping[str, int]
    now: Mapping[str, int]
    expected: Mapping[str, float]
    thresholds: Thresholds
    out: Path | None
    groups: int | None = None

    def __str__(self) -> str:
        lines = [f"{'level':12}{'earlier':>10}{'now':>10}{'threshold':>11}{'expected precision':>20}"]
        for level in reversed(LEVELS):
            threshold = getattr(self.thresholds, level, None)
            shown = "" if threshold is None else "never" if threshold > 1 else f"{threshold:.3f}"
            precision = f"{self.expected[level]:.1%}" if level in self.expected else ""
            lines.append(f"{level:12}{self.earlier[level]:>10,}{self.now[level]:>10,}{shown:>11}{precision:>20}")
        failed = f", and {count_noun(self.failed, 'failed one')} without a prediction" if self.failed else ""
        where = f" Written to {self.out}." if self.out else " Nothing is written without --out."
        where = f" {count_noun(self.groups, 'group')}.{where}" if self.groups is not None else where
        return "\n".join([*lines, f"{count_noun(self.photos, 'photo')} with probabilities{failed}.{where}"])


def redecide(source: Path, out: Path | None, decisions: Decisions) -> Summary:
    """Decide again for all photos of `source`; write them to `out` unless it is None.

    Raises:
        DecideError: The file is not a Parquet file with probabilities.
        PriorError: The prior lists no type of the model.
    """
    model = read_model(source)
    evidence = _evidence(source, model, decisions)
    calibration = model.calibration
    if decisions.min_probability is not None:
        calibration = replace(calibration, thresholds=Thresholds(*3 * (decisions.min_probability,)))
    valid, earlier, probabilities = _decide_all(source, model, evidence)
    if decisions.target_precision is not None:
        calibration = replace(calibration, thresholds=expected_thresholds(probabilities, decisions.target_precision))
    after = _depths(probabilities, calibration.thresholds)
    groups = None
    if decisions.group is not None:
        decided = replace(model, calibration=calibration)
        groups = grouping.read_groups(source, grouping.Groups(decisions.group, decided, prior=decisions.prior))
    if out is not None and groups is not None:
        grouping.write_groups(out, groups)
    elif out is not None:
        _write(source, out, replace(model, calibration=calibration), evidence)
    confident = probabilities[np.arange(len(after)), np.maximum(after - 1, 0)]
    shown = set(after.tolist()) - {0}
    return Summary(
        photos=len(after),
        failed=int((~valid).sum()),
        earlier=_count(earlier[valid]),
        now=_count(after),
        expected={LEVELS[depth]: float(confident[after == depth].mean()) for depth in shown},
        thresholds=calibration.thresholds,
        out=out,
        groups=None if groups is None else len(groups),
    )


def _evidence(source: Path, model: DecisionModel, decisions: Decisions) -> Evidence:
    """Return what is known besides the photos, for the types of `model`.

    Raises:
        PriorError: The prior lists no type of the model.
        DecideError: No photo has an airline whose fleet is known.
    """
    if decisions.fleets is None or decisions.airlines is None:
        return Evidence(model.prior(decisions.prior))
    by_airline = {}
    for airline, prior in decisions.fleets.items():
        with contextlib.suppress(PriorError):  # a fleet of types that the model does not know says nothing
            by_airline[airline] = model.prior(prior)
    airline_of = read_airlines(decisions.airlines)
    if not set(airline_of.values()) & by_airline.keys():
        raise DecideError(f"{decisions.airlines} has no photo of an airline whose fleet is known.")
    known = {name: prior for name, prior in by_airline.items() if prior is not None}
    return Evidence(None, known, airline_of, str(run_manifest.read(source).get("folder", "")))


def read_airlines(table: Path) -> dict[str, str]:
    """Return the airline of each photo in a CSV file with the columns file and airline, in lower case, by its key.

    Raises:
        DecideError: The file is not such a table.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines)
            missing = {"file", "airline"} - set(rows.fieldnames or ())
            if missing:
                raise DecideError(f"{table} has no column {min(missing)}. Its header must name file and airline.")
            folder = str(table.parent.absolute())
            return {
                serialization.photo_key(row, folder): row["airline"].strip().casefold()
                for row in rows
                if row["file"] and row["airline"]
            }
    except (UnicodeDecodeError, csv.Error) as error:
        raise DecideError(f"{table} cannot be read as a CSV file in UTF-8: {error}.") from error


def _decide_all(
    source: Path, model: DecisionModel, evidence: Evidence
) -> tuple[NDArray[np.bool_], NDArray[np.intp], Floats]:
    """Return which rows [n] have probabilities, the levels [n] so far, and the probabilities [m, 3] of the m paths."""
    valid: list[Any] = [np.empty(0, bool)]
    earlier: list[Any] = [np.empty(0, np.intp)]
    probabilities: list[Any] = [np.empty((0, 3), np.float32)]
    for batch in read_batches(source, (serialization.LEAF_PROBABILITIES, "level", "file")):
        table, is_valid, levels = _table(batch, model)
        posterior, _ = evidence.apply(table, _files(batch, evidence))
        valid.append(is_valid)
        earlier.append(levels)
        probabilities.append(decide(model.tree, model.calibration, posterior[is_valid]).probabilities)
    return np.concatenate(valid), np.concatenate(earlier), np.concatenate(probabilities)


def _count(depths: NDArray[np.intp]) -> dict[str, int]:
    return dict(zip(LEVELS, np.bincount(depths, minlength=len(LEVELS)).tolist(), strict=True))


def _depths(probabilities: Floats, thresholds: Thresholds) -> NDArray[np.intp]:
    reached = probabilities >= np.array([thresholds.constructor, thresholds.family, thresholds.model])
    depths: NDArray[np.intp] = np.logical_and.accumulate(reached & (probabilities > 0), axis=1).sum(axis=1)
    return depths


def expected_thresholds(probabilities: Floats, target_precision: float) -> Thresholds:
    """Choose the lowest thresholds at which each confidence level is expected to be correct often enough.

    Args:
        probabilities: Calibrated probability [n, 3] of the constructor, family and model of each path; 0 below its end.
        target_precision: Minimum mean probability of the predictions whose confidence level is exactly that level.

    Returns:
        A threshold per level, at least MIN_THRESHOLD; NEVER for a level that no threshold makes precise enough.
    """
    thresholds = [NEVER, NEVER, NEVER]
    open_rows = np.ones(len(probabilities), bool)  # not confident at a deeper level
    for depth in (2, 1, 0):
        ordered = np.sort(probabilities[open_rows, depth])[::-1]
        ordered = ordered[ordered >= MIN_THRESHOLD]
        means = np.cumsum(ordered, dtype=np.float64) / np.arange(1, len(ordered) + 1)
        enough = np.flatnonzero(means >= target_precision)
        if len(enough):
            thresholds[depth] = float(ordered[enough[-1]])
        open_rows &= probabilities[:, depth] < thresholds[depth]
    return Thresholds(*thresholds)


def _files(batch: pa.RecordBatch, evidence: Evidence) -> list[str]:
    """Return the files of a batch, if the evidence depends on them."""
    return list(batch["file"].to_pylist()) if evidence.by_airline else []


def read_model(source: Path) -> DecisionModel:
    """Read which model the probabilities in `source` are by.

    Raises:
        DecideError: The file has none.
    """
    try:
        schema = pq.read_schema(source)
    except (pa.ArrowException, OSError) as error:
        raise DecideError(f"{source} cannot be read as a Parquet file: {str(error).rstrip('.')}.") from error
    text = (schema.metadata or {}).get(METADATA)
    if text is None or serialization.LEAF_PROBABILITIES not in schema.names:
        raise DecideError(
            f"{source} does not have the probabilities of all types. Make one that has with "
            "`planespotter classify PHOTOS --out results.parquet`."
        )
    return DecisionModel.from_description(json.loads(text))


def read_batches(source: Path, columns: tuple[str, ...] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `source` in batches."""
    with pq.ParquetFile(source) as file:
        yield from file.iter_batches(BATCH_ROWS, columns=columns)


def _table(batch: pa.RecordBatch, model: DecisionModel) -> tuple[Floats, NDArray[np.bool_], NDArray[np.intp]]:
    """Return the probabilities [n, leaves] of a batch, which rows [n] have them, and their levels [n] so far."""
    lists = batch["leaf_probabilities"]
    valid = pc.is_valid(lists).to_numpy(zero_copy_only=False)
    leaves = len(model.tree.all_leaves)
    lengths = pc.list_value_length(lists).drop_null()
    if not pc.all(pc.equal(lengths, leaves)).as_py() and len(lengths):
        raise DecideError(
            f"A row does not have the probabilities of the {count_noun(leaves, 'type')} of {model.name}: classify "
            "the photos again."
        )
    table = np.zeros((len(batch), leaves), np.float32)
    table[valid] = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, leaves)
    levels = pc.index_in(batch["level"], pa.array(LEVELS)).fill_null(0).to_numpy(zero_copy_only=False)
    return table, valid, levels.astype(np.intp)


def _write(source: Path, out: Path, model: DecisionModel, evidence: Evidence) -> None:
    """Write the rows of `source` with the decisions to `out`, a Parquet or CSV file."""
    schema = _schema(pq.read_schema(source), bool(evidence))
    out.parent.mkdir(parents=True, exist_ok=True)
    as_csv = out.suffix.lower() == ".csv"
    if as_csv:
        columns = tuple(name for name in schema.names if name != serialization.LEAF_PROBABILITIES)
    with atomic_write(out) as file:
        if as_csv:
            file.write(serialization.csv_line(columns).encode("utf-8", "backslashreplace"))
        writer = None if as_csv else pq.ParquetWriter(file, schema, compression="zstd")
        for batch in read_batches(source):
            decided = _decide_batch(batch, schema, model, evidence)
            if writer is not None:
                writer.write_batch(decided)
                continue
            for row in decided.select(columns).to_pylist():
                cells = serialization.csv_cells({**row, "candidates": row["candidates"] or ()}, columns)
                file.write(serialization.csv_line(cells).encode("utf-8", "backslashreplace"))
        if writer is not None:
            writer.close()


def _schema(schema: pa.Schema, has_prior: bool) -> pa.Schema:
    if not has_prior or "evidence" in schema.names:
        return schema
    at = schema.get_field_index(serialization.LEAF_PROBABILITIES)
    for name in reversed(serialization.PRIOR_COLUMNS):
        kind = pa.float64() if name.endswith("probability") else pa.string()
        schema = schema.insert(at, pa.field(name, kind))
    return schema


def _decide_batch(batch: pa.RecordBatch, schema: pa.Schema, model: DecisionModel, evidence: Evidence) -> pa.RecordBatch:
    """Return a batch with the columns of `schema`, decided again; rows without probabilities stay as they are."""
    table, valid, _ = _table(batch, model)
    posterior, names = evidence.apply(table, _files(batch, evidence))
    columns = _prediction_columns(decide(model.tree, model.calibration, posterior), model.tree)
    if "evidence" in schema.names:  # also of an earlier prior, which no longer counts
        used = pa.array([name != NETWORK for name in names], pa.bool_())
        network = _prediction_columns(decide(model.tree, model.calibration, table), model.tree)
        for name, values in network.items():
            if name.startswith("best_guess"):
                nothing = pa.scalar(None, values.type)
                columns[name.replace("best_guess", "unadjusted")] = pc.if_else(used, values, nothing)
        columns["evidence"] = pa.array(names, pa.string())
        columns["candidates"] = _candidates(batch["candidates"], posterior, model.tree)
    arrays = []
    for column in schema:
        old = batch[column.name] if column.name in batch.schema.names else pa.nulls(len(batch), column.type)
        new = columns.get(column.name)
        arrays.append(old if new is None else pc.if_else(pa.array(valid), new.cast(column.type), old))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _prediction_columns(decided: Decided, tree: LabelTree) -> dict[str, pa.Array]:
    """Return the columns of a result that follow from the decisions."""
    leaves, depths, probabilities = decided.leaves, decided.depths, decided.probabilities
    rows = np.arange(len(leaves))
    texts = [
        "unknown" if not depth else " ".join([leaf[0], *leaf[1:depth][-1:]])
        for leaf in tree.all_leaves
        for depth in range(len(LEVELS))
    ]
    columns = {
        "level": pa.array(LEVELS).take(pa.array(depths)),
        "name": pa.array(texts).take(pa.array(leaves * len(LEVELS) + depths)),
        "probability": pa.array(probabilities[rows, np.maximum(depths - 1, 0)].astype(np.float64).round(6)),
    }
    for index, level in enumerate(serialization.LEVELS):
        names = pa.array([leaf[index] or None for leaf in tree.all_leaves]).take(pa.array(leaves))
        ends = ~pc.is_valid(names).to_numpy(zero_copy_only=False)
        values = probabilities[:, index].astype(np.float64).round(6)
        for prefix, hidden in (("", ends | (depths <= index)), ("best_guess_", ends)):
            columns[f"{prefix}{level}"] = pc.if_else(pa.array(hidden), pa.scalar(None, pa.string()), names)
            columns[f"{prefix}{level}_probability"] = pa.array(values, mask=hidden)
    return columns


def _candidates(old: pa.Array, posterior: Floats, tree: LabelTree) -> pa.Array:
    """Return the most probable leaves of each row, as many as it had."""
    counts = pc.list_value_length(old).fill_null(0).to_numpy(zero_copy_only=False)
    count = int(counts.max(initial=0))
    if not count:
        return old
    ranking = np.argsort(-posterior, axis=1, kind="stable")[:, :count]
    leaves = [
        {
            "name": f"{leaf.constructor} {leaf.model or leaf.family}".rstrip(),
            "constructor": leaf.constructor,
            "family": leaf.family or None,
            "model": leaf.model or None,
        }
        for leaf in tree.all_leaves
    ]
    rows = (
        [{**leaves[leaf], "probability": round(float(row[leaf]), 6)} for leaf in ranked[:length]]
        for row, ranked, length in zip(posterior, ranking, counts, strict=True)
    )
    return pa.array(rows, old.type)
