"""Answers: one Parquet file per block of photos, with one row per photo whether it was classified or not.

    part-0000000.parquet ...   the answers of a block, committed by one atomic write
    _job/                      what the job is, who runs it, and what its workers have in hand

The name of a file follows from the number of the block, so a block that is computed again replaces its answers by the
same ones. That makes a row unique without any coordination between workers, and the list of files is the state of the
job.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from planespotter_bulk.manifest import Photo, open_parquet
from planespotter_bulk.storage import Folder
from planespotter_models import Bundle, Level, Prediction

LEVELS = ("constructor", "family", "model")
PREDICTED = tuple(
    name
    for prefix in ("", "best_guess_")
    for level in LEVELS
    for name in (f"{prefix}{level}", f"{prefix}{level}_probability")
)
# The columns of `planespotter classify`, then those that only a job has.
CLASSIFY_COLUMNS = ("file", "time", "level", "name", "probability", *PREDICTED, "candidates", "network", "error")
_CANDIDATE = pa.struct([*((name, pa.string()) for name in ("name", *LEVELS)), ("probability", pa.float64())])


def _type(column: str) -> Any:
    if column == "candidates":
        return pa.list_(_CANDIDATE)
    return pa.float64() if column.endswith("probability") else pa.string()


SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        *((column, _type(column)) for column in CLASSIFY_COLUMNS),
        ("reason", pa.string()),
        ("network_sha256", pa.string()),
    ]
)
PART = re.compile(r"part-\d{7,}\.parquet")


@dataclass(frozen=True)
class Failure:
    """Why a photo has no prediction.

    Attributes:
        reason: A constant of the API, such as PHOTO_UNDECODABLE.
        message: What is wrong, and the fix.
    """

    reason: str
    message: str


Outcome = Prediction | Failure


def committed_parts(answers: Folder) -> set[str]:
    """Return the names of the files of answers that exist."""
    return {entry.name for entry in answers.entries() if PART.fullmatch(entry.name)}


def commit(answers: Folder, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the answers of a block atomically."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), file, compression="zstd")
    answers.write(f"{name}.parquet", file.getvalue())


@dataclass(frozen=True)
class RowWriter:
    """Turns outcomes into rows.

    Attributes:
        network: Name and version of the bundle.
        sha256: Hash of the bundle.
    """

    network: str
    sha256: str

    @classmethod
    def of(cls, bundle: Bundle, sha256: str) -> "RowWriter":
        """Return the writer for the predictions of `bundle`."""
        return cls(f"{bundle.name} {bundle.version}", sha256)

    def row(self, photo: Photo, outcome: Outcome) -> dict[str, Any]:
        """Return the answer for a photo: its values as `planespotter classify` writes them, and the columns of a job.

        Constructor, family and model are filled down to the confidence level, `best_guess_...` along the whole path.
        """
        row = {
            "id": photo.id,
            "file": photo.uri,
            "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "network_sha256": self.sha256,
        }
        if isinstance(outcome, Failure):
            return {**row, "error": outcome.message, "reason": outcome.reason}
        return {**row, **dict(predicted_values(outcome)), "network": self.network}


def predicted_values(prediction: Prediction) -> Iterator[tuple[str, Any]]:
    """Yield the columns of a prediction with their values; probabilities have six decimals."""
    nodes = [
        (level, name, round(probability, 6))
        for level, name, probability in zip(
            LEVELS,
            (prediction.label.constructor, prediction.label.family, prediction.label.model),
            prediction.probabilities,
            strict=True,
        )
        if name
    ]
    depth = list(Level).index(prediction.level)  # UNKNOWN is 0
    confident = [node for node in nodes if LEVELS.index(node[0]) < depth]
    names = [name for _, name, _ in confident]
    yield "level", prediction.level.value
    yield "name", " ".join(names[:1] + names[1:][-1:]) or "unknown"
    yield "probability", (confident or nodes)[-1 if confident else 0][2]
    for prefix, shown in (("", confident), ("best_guess_", nodes)):
        for level, name, probability in shown:
            yield f"{prefix}{level}", name
            yield f"{prefix}{level}_probability", probability
    yield (
        "candidates",
        [
            {
                "name": f"{label.constructor} {label.model or label.family or ''}".rstrip(),
                "constructor": label.constructor,
                "family": label.family or None,
                "model": label.model or None,
                "probability": round(probability, 6),
            }
            for label, probability in prediction.candidates
        ],
    )


def read_answers(answers: Folder, name: str, columns: Sequence[str]) -> Any:
    """Read columns of one file of answers as a table."""
    with open_parquet(answers / name) as file:
        return file.read(columns=list(columns))


def id_array(table: Any) -> Any:
    """Return the ids of a table as int64 [n]."""
    return table["id"].to_numpy().astype(np.int64)
