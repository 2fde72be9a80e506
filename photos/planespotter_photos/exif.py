"""EXIF orientation: read it without a decoder, at a bounded cost."""

import struct
from collections.abc import Iterator

_ORIENTATION = 0x0112
_INTEGER_TYPES = {3: "H", 4: "I"}  # TIFF's SHORT and LONG


def orientation_of(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 to 8; 1 (upright) if there is none or the block is damaged."""
    data = exif.removeprefix(b"Exif\0\0")
    order = ">" if data[:2] == b"MM" else "<"
    for tag, kind, value in ifd_tags(data):
        if tag == _ORIENTATION:
            code = _INTEGER_TYPES.get(kind)
            orientation = struct.unpack_from(order + code, value)[0] if code else 1
            return orientation if 1 <= orientation <= 8 else 1
    return 1


def ifd_tags(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield tag, type and the 4 bytes of the value of each entry in the first directory of a TIFF block."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 10:
        return
    offset = struct.unpack_from(f"{order}I", data, 4)[0]
    if offset + 2 > len(data):
        return
    count = struct.unpack_from(f"{order}H", data, offset)[0]
    for start in range(offset + 2, min(offset + 2 + 12 * count, len(data) - 11), 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, start)
        yield tag, kind, data[start + 8 : start + 12]
