"""Account: compare the answers of a job with its manifest, photo by photo.

Every id of the manifest must have exactly one answer: a prediction, or the reason why there is none. All ids are in
memory, 8 bytes each, and 2 for the reason: 500 MB for 50 million photos, and as much again while they are sorted.
"""

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from planespotter_bulk.answers import committed_parts, id_array, read_answers
from planespotter_bulk.errors import BulkError
from planespotter_bulk.manifest import Manifest, open_parquet, read_manifest
from planespotter_bulk.storage import Folder
from planespotter_photos.counts import count_noun

ANSWERED, MISSING, DUPLICATE = "answered", "missing", "duplicate"
MAX_EXAMPLES = 5


@dataclass
class Account:
    """The result.

    Attributes:
        photos: Photos of the manifest.
        statuses: Photos by status: answered, failed, missing or duplicate.
        reasons: Failed photos by reason.
        repeated_ids: Ids that the manifest has more than once.
        unknown_ids: Answers whose id is not in the manifest.
        examples: URIs of missing and duplicate photos, the first of them.
    """

    photos: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    repeated_ids: int = 0
    unknown_ids: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether every photo has exactly one answer, and every answer its photo."""
        wrong = self.statuses[MISSING] + self.statuses[DUPLICATE] + self.repeated_ids + self.unknown_ids
        return not wrong

    def lines(self) -> Iterator[str]:
        """Yield the result in lines."""
        yield f"photos     {self.photos:>14,}"
        yield f"answered   {self.statuses[ANSWERED]:>14,}"
        failed = self.reasons.total()
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.reasons.most_common())
        yield f"failed     {failed:>14,}{f'   {reasons}' if failed else ''}"
        yield f"missing    {self.statuses[MISSING]:>14,}"
        yield f"duplicate  {self.statuses[DUPLICATE]:>14,}"
        for example in self.examples:
            yield f"           {example}"
        if self.unknown_ids:
            yield (
                f"{count_noun(self.unknown_ids, 'answer')} for ids that the manifest does not have: the answers "
                "belong to another manifest."
            )
        if self.repeated_ids:
            yield (
                f"{count_noun(self.repeated_ids, 'id')} more than once in the manifest: ids must be unique. Create the "
                "manifest again."
            )
        if self.statuses[MISSING]:
            yield "Run the job again: it answers the missing photos."


def account(manifest_folder: Folder, answers: Folder, out: Folder | None = None) -> Account:
    """Compare `answers` with the manifest.

    Args:
        manifest_folder: Folder of the manifest.
        answers: Folder of the answers.
        out: Folder for the status of every photo, as Parquet: id, uri, status and reason; None for none.

    Raises:
        BulkError: The manifest or the answers cannot be read, or there are no answers.
    """
    manifest = read_manifest(manifest_folder)
    ids, codes, reasons = _read_all(answers)
    order = np.argsort(ids, kind="stable")
    ids, codes = ids[order], codes[order]
    result = Account()
    listed: list[NDArray[np.int64]] = []
    for file, photo_ids, uris in _photos(manifest):
        starts = np.searchsorted(ids, photo_ids, "left")
        counts = np.searchsorted(ids, photo_ids, "right") - starts
        photo_codes = np.zeros(len(photo_ids), np.int16)
        photo_codes[counts == 1] = codes[starts[counts == 1]]
        failed = (counts == 1) & (photo_codes > 0)
        statuses = np.select([counts == 0, counts > 1, failed], [MISSING, DUPLICATE, "failed"], ANSWERED)
        result.photos += len(photo_ids)
        result.statuses.update(Counter(statuses.tolist()))
        result.reasons.update({reasons[code]: int(n) for code, n in enumerate(np.bincount(photo_codes[failed])) if n})
        for index in np.flatnonzero(counts != 1)[: MAX_EXAMPLES - len(result.examples)].tolist():
            result.examples.append(f"{statuses[index]}: id {photo_ids[index]}, {uris[index].as_py()}")
        listed.append(photo_ids)
        if out is not None:
            texts = [reasons[code] or None for code in photo_codes]
            _write(out, file, pa.table({"id": photo_ids, "uri": uris, "status": statuses.tolist(), "reason": texts}))
    unique = np.unique(np.concatenate(listed))
    result.repeated_ids = result.photos - len(unique)
    result.unknown_ids = int((~np.isin(ids, unique, assume_unique=False)).sum())
    return result


def _read_all(answers: Folder) -> tuple[NDArray[np.int64], NDArray[np.int16], list[str]]:
    """Return the id and the reason of all answers; a reason is an index into the list, 0 for a prediction."""
    names = sorted(committed_parts(answers))
    if not names:
        raise BulkError(f"{answers} has no answers. Run the job first: planespotter bulk run MANIFEST --out {answers}")
    numbers: dict[str | None, int] = {None: 0}
    ids, codes = [], []
    for name in names:
        table = read_answers(answers, name, ("id", "reason"))
        ids.append(id_array(table))
        column = table["reason"].to_pylist()
        codes.append(np.array([numbers.setdefault(reason, len(numbers)) for reason in column], np.int16))
    return np.concatenate(ids), np.concatenate(codes), [reason or "" for reason in numbers]


def _photos(manifest: Manifest) -> Iterator[tuple[str, NDArray[np.int64], pa.ChunkedArray]]:
    """Yield name, ids and URIs of each file of the manifest."""
    for name in manifest.files:
        with open_parquet(manifest.folder / name) as file:
            table = file.read(columns=["id", "uri"])
        yield name, id_array(table), table["uri"]


def _write(folder: Folder, name: str, table: pa.Table) -> None:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    folder.write(name, file.getvalue())
