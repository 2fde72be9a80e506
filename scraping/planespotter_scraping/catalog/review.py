"""The photos of a catalog whose labels a person should look at, since two readings of them do not agree."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

REMARK = re.compile(r"(?:^|; )([a-z_]+): (.*?)(?=; [a-z_]+: |$)")


@dataclass(frozen=True)
class Remark:
    """What is to look at in one photo: a field, and what was found."""

    photo_id: str
    page_url: str
    file: str
    field: str
    found: str

    @property
    def differs(self) -> bool:
        """Whether two readings say different things, and not one of them nothing."""
        return not self.found.startswith("only ")


def remarks(frame: pd.DataFrame) -> list[Remark]:
    """Return what is to look at in a catalog, one for each field of a photo: first where two readings differ."""
    if "review" not in frame:
        return []
    told = frame[frame["review"] != ""]
    columns = (told[name] for name in ("photo_id", "page_url", "file", "review"))
    found = [
        Remark(photo_id, page_url, file, *remark)
        for photo_id, page_url, file, review in zip(*columns, strict=True)
        for remark in REMARK.findall(review) or [("", review)]
    ]
    return sorted(found, key=lambda remark: not remark.differs)


def as_csv(found: list[Remark]) -> str:
    """Return remarks as CSV, for a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["photo_id", "page_url", "file", "field", "found"])
    writer.writerows([one.photo_id, one.page_url, one.file, one.field, one.found] for one in found)
    return text.getvalue()


def as_lines(found: list[Remark], shown: int) -> Iterator[str]:
    """Yield remarks for people, the first `shown` of them."""
    if not found:
        yield "Nothing to look at: where labels could be read twice, both readings agree."
        return
    photos = len({remark.photo_id for remark in found})
    differing = sum(remark.differs for remark in found)
    yield f"{photos} photos to look at: {differing} labels read in two ways, {len(found) - differing} read only once."
    for remark in found[:shown]:
        yield f"{remark.photo_id}  {remark.field}: {remark.found}"
        yield f"    {remark.page_url or remark.file}"
    if len(found) > shown:
        yield f"... and {len(found) - shown} more: --top {len(found)} shows all, --csv too."
