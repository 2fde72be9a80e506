"""Label review: photos whose labels need a person, because two readings of the label disagree."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from planespotter_photos.counts import count_noun

REMARK = re.compile(r"(?:^|; )([a-z_]+): (.*?)(?=; [a-z_]+: |$)")


@dataclass(frozen=True)
class Remark:
    """A disagreement about one field of a photo; `finding` states it."""

    photo_id: str
    page_url: str
    file: str
    field: str
    finding: str

    @property
    def differs(self) -> bool:
        """Whether two readings contradict each other, rather than one of them being empty."""
        return not self.finding.startswith("only ")


def remarks(frame: pd.DataFrame) -> list[Remark]:
    """Return the remarks in a catalog's column `review`, one per field and photo, contradictions first."""
    if "review" not in frame:
        return []
    rows = frame[frame["review"] != ""]
    columns = (rows[name] for name in ("photo_id", "page_url", "file", "review"))
    result = [
        Remark(photo_id, page_url, file, *remark)
        for photo_id, page_url, file, review in zip(*columns, strict=True)
        for remark in REMARK.findall(review) or [("", review)]
    ]
    return sorted(result, key=lambda remark: not remark.differs)


def as_csv(entries: list[Remark]) -> str:
    """Return remarks as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["photo_id", "page_url", "file", "field", "finding"])
    writer.writerows([entry.photo_id, entry.page_url, entry.file, entry.field, entry.finding] for entry in entries)
    return text.getvalue()


def as_lines(entries: list[Remark], top: int) -> Iterator[str]:
    """Yield a summary and the first `top` remarks as text."""
    if not entries:
        yield "No labels to review: where a label was read twice, both readings agree."
        return
    photos = len({entry.photo_id for entry in entries})
    differing = sum(entry.differs for entry in entries)
    yield (
        f"{count_noun(photos, 'photo')} to review: {count_noun(differing, 'label')} with two different values, "
        f"{len(entries) - differing} with one value only."
    )
    for entry in entries[:top]:
        yield f"{entry.photo_id}  {entry.field}: {entry.finding}"
        yield f"    {entry.page_url or entry.file}"
    if len(entries) > top:
        yield f"... and {len(entries) - top} more: use --top {len(entries)} or --csv."
