"""Answers in a Parquet file that a later run goes on with.

A Parquet file cannot be added to, and cannot be read before it has its end. So answers go to a journal of JSON lines
beside it, "answers.parquet.journal", which becomes part of the file when the run ends. What a killed run has left in
its journal goes in with the next one's.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from planespotter_client.classify import serialization
from planespotter_client.classify.answer_log import Answers, AnswersError, Done, answers_file, json_records, replacing

ROWS_AT_A_TIME = 65_536


@contextmanager
def parquet_file(path: Path, columns: tuple[str, ...], *, retry_failed: bool = False) -> Iterator[Answers]:
    """Open `path` to go on with it; a new file if there is none.

    `retry_failed` takes out the rows of photos that failed, so that they count as not done. Raises AnswersError.
    """
    schema = _schema(columns)
    for _ in _batches(path, schema) if path.exists() else ():
        break  # before there is a journal: what is no such file is to be left alone
    journal = journal_of(path)
    with answers_file(journal, columns, lines=True, retry_failed=retry_failed) as waiting:
        if retry_failed and path.exists():
            _write(path, schema, (batch.filter(batch["error"].is_null()) for batch in _batches(path, schema)))
        held = Done()
        for batch in _batches(path, schema) if path.exists() else ():
            # What the next run after a kill between two steps of the last `_write` finds twice is taken once.
            named = batch.select([name for name in ("file", "seconds") if name in columns])
            for row in named.to_pylist():
                held.add(serialization.identity(row))
                waiting.done.add(serialization.identity(row))
            waiting.done.failed += len(batch) - batch["error"].null_count
        try:
            yield waiting
        finally:  # Ctrl-C keeps what is done
            if journal.stat().st_size:
                new = _gathered(journal, schema, held)
                _write(path, schema, chain(_batches(path, schema), new) if path.exists() else new)
            journal.unlink()


def journal_of(path: Path) -> Path:
    """Return where answers wait to become part of the Parquet file `path`."""
    return path.with_name(f"{path.name}.journal")


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise AnswersError(
            "Parquet files need the package 'pyarrow', which comes with the 'parquet' extra: "
            "pip install 'planespotter[parquet]'. Or name a file that ends in .csv or .jsonl."
        ) from error
    return pyarrow


def _schema(columns: tuple[str, ...]) -> Any:
    pyarrow = _pyarrow()

    def kind(column: str) -> Any:
        if column == "alternatives":
            texts = [(name, pyarrow.string()) for name in ("name", "constructor", "family", "model")]
            return pyarrow.list_(pyarrow.struct([*texts, ("probability", pyarrow.float64())]))
        number = column == "seconds" or column.endswith("_probability")
        return pyarrow.float64() if number else pyarrow.string()

    return pyarrow.schema([(column, kind(column)) for column in columns])


def _batches(path: Path, schema: Any) -> Iterator[Any]:
    """Yield what is in the Parquet file `path`. Raises AnswersError if that is no answers of this kind."""
    pyarrow = _pyarrow()
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if file.schema_arrow.names != schema.names:
                raise AnswersError(
                    f"{path} has not the columns {', '.join(schema.names)}. Name another --out, or begin it anew with "
                    "--overwrite."
                )
            for batch in file.iter_batches(ROWS_AT_A_TIME):
                yield batch.cast(schema)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the file cannot be opened
            raise
        raise AnswersError(
            f"{path} is no Parquet file that can be read: {str(error).rstrip('.')}. Name another --out, or begin "
            "it anew with --overwrite."
        ) from error


def _gathered(journal: Path, schema: Any, held: Done) -> Iterator[Any]:
    """Yield the rows of `journal` that `held` does not have."""
    pyarrow = _pyarrow()
    with journal.open("rb") as file:
        written = (record.values for record in json_records(journal, file, tuple(schema.names)))
        new = (_text(values) for values in written if values is not None and serialization.identity(values) not in held)
        while some := list(islice(new, ROWS_AT_A_TIME)):
            yield pyarrow.RecordBatch.from_pylist(some, schema)


def _text(values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` with a name that is no UTF-8 written as in CSV."""
    return {
        name: cell.encode("utf-8", "backslashreplace").decode() if isinstance(cell, str) else cell
        for name, cell in values.items()
    }


def _write(path: Path, schema: Any, batches: Iterable[Any]) -> None:
    with replacing(path) as file, _pyarrow().parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
