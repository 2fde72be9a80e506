"""Attribution page: author, licence and source of each photo in a catalog that has a licence.

Licences such as CC BY require this wherever the photos go, so the page is in the folder of the catalog. It is generated
from the rows alone: the same rows yield the same page.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from planespotter_scraping import catalog
from planespotter_scraping.atomic_write import atomic_write
from planespotter_scraping.catalog import CatalogError, count_noun

FILE = "ATTRIBUTION.md"
HEAD = """# Photo credits

Anyone may use the {photos} below if they name the authors and licences, as this page does. Keep it with the
photos and with everything derived from them. "Scaled down from" gives the size of the original in pixels, "cropped" the
rows that were cut from the bottom of the image; nothing else was changed. ShareAlike licences (CC BY-SA) apply to
modified photos too.

"""


def write(folder: Path) -> int:
    """Write ATTRIBUTION.md for a catalog. Without any licence, the page is removed.

    Args:
        folder: Folder of the catalog.

    Returns:
        Number of photos on the page.

    Raises:
        CatalogError: If the catalog cannot be read or the page cannot be written.
    """
    frame = catalog.read(folder)
    rows: list[dict[str, str]] = frame[frame["licence"].str.strip() != ""].to_dict("records")  # type: ignore[assignment]
    page = folder / FILE
    try:
        if not rows:
            page.unlink(missing_ok=True)
            return 0
        with atomic_write(page) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as handle:
            handle.write(HEAD.format(photos=count_noun(len(rows), "photo")))
            handle.writelines(f"- {_line(row)}\n" for row in rows)
    except OSError as error:
        raise CatalogError(
            f"{page} cannot be written: {error.strerror}. Free disk space or fix its permissions, and run "
            f"`planespotter catalog attribution {folder}`."
        ) from None
    return len(rows)


def refresh(folder: Path) -> None:
    """Update the attribution page of a catalog that has one.

    The page stays as it is if the catalog has no licensed photo left: dropped photos keep their images, and the drop
    may be undone.

    Raises:
        CatalogError: See `write`.
    """
    if (folder / FILE).exists() and (catalog.read(folder)["licence"].str.strip() != "").any():
        write(folder)


def _line(row: Mapping[str, str]) -> str:
    """Return the entry of one photo in Markdown."""
    title = _escape(row.get("title") or row["photo_id"])
    author = _escape(row["photographer"]) or "an unknown author"
    parts = [f"{_link(title, row['page_url'])} by {author}"]
    credit = _escape(row.get("credit", ""))
    if credit and credit.casefold() not in ("own work", author.casefold()):
        parts.append(f"credit: {credit}")
    parts.append(_link(_escape(row["licence"]), row.get("licence_url", "")))
    original = row.get("original_size", "")
    cropped = row.get("cropped_bottom", "")
    cropped = cropped if cropped.isdecimal() else ""
    full = int(row["height"]) + int(cropped) if cropped and row["height"].isdecimal() else row["height"]
    stretched = row.get("stretched", "")
    stretched = stretched if re.fullmatch(r"\d+(\.\d+)?", stretched) else ""
    wide = round(int(row["width"]) / float(stretched)) if stretched and row["width"].isdecimal() else row["width"]
    if re.fullmatch(r"\d+x\d+", original) and original != f"{wide}x{full}":
        parts.append(f"scaled down from {original}")
    if cropped:
        parts.append(f"cropped by {cropped} rows")
    if stretched:
        parts.append(f"stretched to {stretched} times its width")
    return f"{', '.join(parts)}: `{row['file'].replace('`', '')}`"


def _link(text: str, address: str) -> str:
    """Return a Markdown link, or the text alone if the address is not an HTTP URL."""
    if re.match(r"https?://", address) is None:
        return text
    safe = "".join(f"%{ord(letter):02X}" if letter in ' <>()"\\`' else letter for letter in " ".join(address.split()))
    return f"[{text}]({safe})"


def _escape(text: str) -> str:
    """Escape untrusted text for Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(text.split()))
