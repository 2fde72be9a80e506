"""XMP sidecars: keywords next to each photo, flat and as a hierarchy, which photo managers read.

`dc:subject` has the flat keywords, `lr:hierarchicalSubject` ("Aircraft|Boeing|737") is for Lightroom and darktable,
`digiKam:TagsList` ("Aircraft/Boeing/737") for digiKam. Photos are not changed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from xml.sax.saxutils import escape

from planespotter_client.commands.atomic_write import atomic_write
from planespotter_client.convert.results import Row, check_photos, locate

TOP = "Aircraft"
TOOL = "planespotter"
MARK = f"<xmp:CreatorTool>{TOOL}".encode()
TEMPLATE = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/">
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
   <dc:subject>
    <rdf:Bag>
{keywords}
    </rdf:Bag>
   </dc:subject>
   <lr:hierarchicalSubject>
    <rdf:Bag>
{hierarchy}
    </rdf:Bag>
   </lr:hierarchicalSubject>
   <digiKam:TagsList>
    <rdf:Seq>
{tags}
    </rdf:Seq>
   </digiKam:TagsList>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


@dataclass
class Sidecars:
    """What was written."""

    written: int = 0
    unknown: int = 0
    missing: int = 0
    foreign: int = 0
    """Sidecars of other programs, which stay as they are."""


def write_sidecars(rows: Iterable[Row], source: Path, root: Path, replace_suffix: bool) -> Sidecars:
    """Write a sidecar for each photo that has a confident name.

    Args:
        rows: Results.
        source: File that they are from.
        root: Folder that their paths are relative to.
        replace_suffix: Whether sidecars are called photo.xmp, as Lightroom expects, instead of photo.jpg.xmp.

    Raises:
        ConvertError: The results are frames of a video.
    """
    counts = Sidecars()
    for row in rows:
        check_photos(row, source)
        photo = locate(row, root)
        sidecar = photo.with_suffix(".xmp") if replace_suffix else photo.with_name(f"{photo.name}.xmp")
        if not row.confident:
            counts.unknown += 1
        elif not photo.exists():
            counts.missing += 1
        elif sidecar.exists() and f"<xmp:CreatorTool>{TOOL}" not in sidecar.read_text(
            encoding="utf-8", errors="replace"
        ):
            counts.foreign += 1
        else:
            with atomic_write(sidecar) as file:
                file.write(sidecar_text(row).encode())
            counts.written += 1
    return counts


def sidecar_text(row: Row) -> str:
    """Return the sidecar of a photo."""
    names = (TOP, *row.confident)
    return TEMPLATE.format(
        tool=escape(f"{TOOL} {row.network}".strip()),
        keywords="\n".join(_items(row.confident)),
        hierarchy="\n".join(_items(accumulate(names, "{}|{}".format))),
        tags="\n".join(_items(accumulate(names, "{}/{}".format))),
    )


def _items(values: Iterable[str]) -> Iterator[str]:
    return (f"     <rdf:li>{escape(value)}</rdf:li>" for value in values)
