"""Name the authors: a page beside the catalog with author, licence and source of each photo that has a licence.

Licences such as CC BY ask for that wherever the photos go, so the page lies in the catalog's folder and goes with it.
It is made from the rows of the catalog alone, and the same rows always make the same page.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from planespotter_scraping import catalog
from planespotter_scraping.atomic_write import replacing
from planespotter_scraping.catalog import CatalogError

FILE = "ATTRIBUTION.md"
HEAD = """# Whose photos these are

{count} photos in this folder may be used by anyone who names their authors and licences, as this page does. Keep it
with the photos, and with what is made from them. Where a size is given, the image here was scaled down from its
original of that size, in pixels, and where rows are, so many were cut off at its bottom; nothing else was changed.
Share-alike licences (CC BY-SA) apply to changed photos too.

"""


def write(folder: Path) -> int:
    """Write ATTRIBUTION.md for the catalog in `folder`, and return how many photos it names.

    If none has a licence, there is no such page, and an old one is removed. Raises CatalogError if the catalog cannot
    be read or the page not be written.
    """
    frame = catalog.read(folder)
    rows: list[dict[str, str]] = frame[frame["licence"].str.strip() != ""].to_dict("records")  # type: ignore[assignment]
    page = folder / FILE
    try:
        if not rows:
            page.unlink(missing_ok=True)
            return 0
        with replacing(page) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as handle:
            handle.write(HEAD.format(count=len(rows)))
            handle.writelines(f"- {_line(row)}\n" for row in rows)
    except OSError as error:
        raise CatalogError(
            f"{page} cannot be written: {error.strerror}. Make room or mend its permissions, and run "
            f"`planespotter catalog attribution {folder}`."
        ) from None
    return len(rows)


def refresh(folder: Path) -> None:
    """Write ATTRIBUTION.md again if the catalog in `folder` has one, for rows that have changed.

    A page none of whose photos is left stays: their images do too, and what took the rows away may be undone. Raises
    CatalogError as `write` does.
    """
    if (folder / FILE).exists() and (catalog.read(folder)["licence"].str.strip() != "").any():
        write(folder)


def _line(row: Mapping[str, str]) -> str:
    """Return what is to be said of one photo."""
    title = _text(row.get("title") or row["photo_id"])
    author = _text(row["photographer"]) or "an author who is not named"
    parts = [f"{_link(title, row['page_url'])} by {author}"]
    credit = _text(row.get("credit", ""))
    if credit and credit.casefold() not in ("own work", author.casefold()):
        parts.append(f"credit: {credit}")
    parts.append(_link(_text(row["licence"]), row.get("licence_url", "")))
    original = row.get("original_size", "")
    cut = row.get("cropped_bottom", "")
    cut = cut if cut.isdecimal() else ""
    whole = int(row["height"]) + int(cut) if cut and row["height"].isdecimal() else row["height"]
    if re.fullmatch(r"\d+x\d+", original) and original != f"{row['width']}x{whole}":
        parts.append(f"scaled down from {original}")
    if cut:
        parts.append(f"without its lowest {cut} rows")
    return f"{', '.join(parts)}: `{row['file'].replace('`', '')}`"


def _link(text: str, address: str) -> str:
    """Return a link in Markdown, or the text alone if there is no address of the web to lead to."""
    if re.match(r"https?://", address) is None:
        return text
    safe = "".join(f"%{ord(letter):02X}" if letter in ' <>()"\\`' else letter for letter in " ".join(address.split()))
    return f"[{text}]({safe})"


def _text(text: str) -> str:
    """Return text of a stranger as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(text.split()))
