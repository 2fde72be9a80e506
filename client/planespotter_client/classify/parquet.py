"""Results in a Parquet file that a later run resumes.

A Parquet file cannot be appended to, and cannot be read before its footer is written. So results go to an answer log
of JSON lines next to it, "results.parquet.log", which is merged into the file when the run ends. The log of a killed
run is merged by the next one.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from planespotter_client._extras import install_command
from planespotter_client.classify import serialization
from planespotter_client.classify.answer_log import (
    DEFAULTS,
    AnswerLog,
    AnswerLogError,
    HashedSet,
    LogOptions,
    open_answer_log,
    read_json_rows,
)
from planespotter_client.commands.atomic_write import atomic_write

BATCH_ROWS = 65_536
METADATA = b"planespotter"
"""Key of the metadata of a file: what `planespotter decide` needs besides the probabilities, as JSON."""


@contextmanager
def open_parquet(
    path: Path,
    columns: tuple[str, ...],
    *,
    options: LogOptions = DEFAULTS,
    describe: Callable[[], Mapping[str, Any] | None] = lambda: None,
) -> Iterator[AnswerLog]:
    """Open the Parquet file at `path` to resume it, or create it; merge the log into it at the end.

    Args:
        path: The Parquet file.
        columns: Columns of a row.
        options: How to open it.
        describe: Returns the description of the model for the metadata of the file, once results are merged into it.

    Raises:
        AnswerLogError: pyarrow is missing, another process writes to the file, or it does not have these columns.
    """
    schema = _schema(columns)
    for _ in _batches(path, schema) if path.exists() else ():
        break  # check the file before there is a log, so that any other file stays as it is
    log_path = log_path_of(path)
    with open_answer_log(log_path, columns, json_lines=True, options=options) as log:
        if options.retry_failed and path.exists():
            _write(path, schema, (batch.filter(batch["error"].is_null()) for batch in _batches(path, schema)))
        merged = HashedSet()
        for batch in _batches(path, schema) if path.exists() else ():
            # A kill between the two last steps below leaves rows in both files: they are merged once.
            keys = ("file", "seconds", "time", "level", *serialization.LEVELS, "error")
            for row in batch.select([name for name in keys if name in columns]).to_pylist():
                merged.add(_row_key(log.add(row), row))
        try:
            yield log
        finally:  # Ctrl-C keeps the results so far
            if log_path.stat().st_size:
                if (description := describe()) is not None:
                    schema = schema.with_metadata({METADATA: json.dumps(description).encode()})
                new = _log_batches(log_path, schema, merged, options.folder)
                _write(path, schema, chain(_batches(path, schema), new) if path.exists() else new)
            log_path.unlink()


def log_path_of(path: Path) -> Path:
    """Return the path of the answer log that is merged into the Parquet file `path`."""
    return path.with_name(f"{path.name}.log")


def _row_key(key: str, row: Mapping[str, Any]) -> str:
    """Return the key of a row: the photo's `key`, and the time, as a photo has several rows with --again."""
    return f"{key}\0{row.get('time')}"


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise AnswerLogError(
            "Parquet files need the package 'pyarrow', which comes with the 'parquet' extra: "
            f"{install_command('parquet')}. Or name a file that ends in .csv or .jsonl."
        ) from error
    return pyarrow


def _schema(columns: tuple[str, ...]) -> Any:
    pyarrow = _pyarrow()

    def arrow_type(column: str) -> Any:
        if column == "candidates":
            texts = [(name, pyarrow.string()) for name in ("name", "constructor", "family", "model")]
            return pyarrow.list_(pyarrow.struct([*texts, ("probability", pyarrow.float64())]))
        if column == serialization.LEAF_PROBABILITIES:
            return pyarrow.list_(pyarrow.float16())
        is_number = column == "seconds" or column.endswith("probability")
        return pyarrow.float64() if is_number else pyarrow.string()

    return pyarrow.schema([(column, arrow_type(column)) for column in columns])


def _batches(path: Path, schema: Any) -> Iterator[Any]:
    """Yield the record batches of the Parquet file `path`.

    Raises:
        AnswerLogError: The file is not Parquet, or has other columns.
    """
    pyarrow = _pyarrow()
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if file.schema_arrow.names != schema.names:
                raise AnswerLogError(
                    f"{path} does not have the columns {', '.join(schema.names)}. Name another --out, or replace the "
                    "file with --overwrite."
                )
            for batch in file.iter_batches(BATCH_ROWS):
                yield batch.cast(schema.remove_metadata())
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the file cannot be opened
            raise
        raise AnswerLogError(
            f"{path} cannot be read as a Parquet file: {str(error).rstrip('.')}. Name another --out, or replace the "
            "file with --overwrite."
        ) from error


def _log_batches(log_path: Path, schema: Any, merged: HashedSet, folder: str) -> Iterator[Any]:
    """Yield the rows of the answer log that are not in `merged`, as record batches."""
    pyarrow = _pyarrow()
    with log_path.open("rb") as file:
        rows = (row.values for row in read_json_rows(log_path, file, tuple(schema.names)))
        keyed = ((_row_key(serialization.photo_key(row, folder), row), row) for row in rows if row is not None)
        new = (_escape(row) for key, row in keyed if key not in merged)
        while batch := list(islice(new, BATCH_ROWS)):
            yield pyarrow.RecordBatch.from_pylist(batch, schema.remove_metadata())


def _escape(row: dict[str, Any]) -> dict[str, Any]:
    """Return `row` with file names that are not UTF-8 escaped as in CSV."""
    return {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


def _write(path: Path, schema: Any, batches: Iterable[Any]) -> None:
    with atomic_write(path) as file, _pyarrow().parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
