"""Photo inspection: bound what a photo costs to decode, before a decoder sees it.

A file of a few kilobytes can keep a decoder busy for minutes, or make it allocate gigabytes: a progressive JPEG with
thousands of scans, millions of empty segments, one pixel of height and 40 million of width. The inspection walks the
segments or chunks of the file, rejects what is beyond a limit, and returns a slim copy with only the parts that the
pixels depend on. The decoder never reads color profiles, thumbnails or text.

Processor time is bounded by the size of the file, by the number of decoded bytes, and for a JPEG by the blocks that all
scans visit. It imports no decoder.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from planespotter_photos import formats
from planespotter_photos.errors import PhotoError, undecodable
from planespotter_photos.exif import orientation_of
from planespotter_photos.formats import JPEG, PNG, WEBP, PhotoFormat

DEFAULT_MAX_PIXELS = 160_000_000
"""Above the largest cameras. A JPEG of that size is decoded at 1/8 of its sides, which takes little memory."""
DEFAULT_MAX_DECODED_BYTES = 224 << 20
"""What the decoder holds for all pixels of a PNG, WebP or progressive JPEG, which has no decoding at a reduced size."""

MAX_SIDE = 30_000
MAX_ASPECT_RATIO = 50
MAX_SEGMENTS = 2_000
"""Of a JPEG. Extended XMP, such as a depth map, takes some hundred; a scan takes one, and each of its tables."""
MAX_CHUNKS = 20_000
"""Of a PNG or WebP. Encoders write 8 KiB of pixels per chunk and more."""
MAX_TABLE_BYTES = 256 << 10
"""Quantization and Huffman tables of a JPEG; usual are less than 1 KiB, or 3 KiB if progressive."""
MAX_VISITED_BLOCKS = 20_000_000
"""Blocks of 8 x 8 pixels that the scans of a JPEG visit. A progressive photo of 80 megapixels takes 10 million."""


@dataclass(frozen=True)
class InspectedPhoto:
    """A photo that may be decoded.

    Attributes:
        format: JPEG, PNG or WEBP.
        width: Width in pixels, before it is made upright.
        height: Height in pixels, likewise.
        orientation: EXIF orientation, 1 to 8; 1 is upright.
        content: The file without the parts that its pixels do not depend on. Of an animation, the first frame.
        seconds: Estimated processor time to decode it, in seconds: right within a factor of three on current cores.
    """

    format: PhotoFormat
    width: int
    height: int
    orientation: int
    content: bytes
    seconds: float


# Measured seconds per block that a scan of a progressive or a baseline JPEG visits, per byte of entropy-coded data, per
# decoded byte of a PNG, and per pixel of a WebP.
_PROGRESSIVE_SECONDS, _BASELINE_SECONDS, _CODED_SECONDS, _PNG_SECONDS, _WEBP_SECONDS = (
    4e-8,
    1.5e-8,
    1.5e-8,
    4e-9,
    2.5e-8,
)


@dataclass(frozen=True)
class _Limits:
    """Limits of one inspection, and the size of the file for messages."""

    max_pixels: int
    max_decoded_bytes: int
    file_bytes: int


def inspect_photo(
    data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS, max_decoded_bytes: int = DEFAULT_MAX_DECODED_BYTES
) -> InspectedPhoto:
    """Check a JPEG, PNG or WebP file against the limits.

    Args:
        data: Content of the file.
        max_pixels: Limit on the number of pixels.
        max_decoded_bytes: Limit on the memory that the decoder holds for the pixels of a photo that it cannot decode at
            a reduced size.

    Returns:
        What to decode. It may still be damaged.

    Raises:
        PhotoError: PHOTO_EMPTY, PHOTO_FORMAT_UNSUPPORTED, PHOTO_TOO_LARGE or PHOTO_UNDECODABLE.
    """
    if not data:
        raise PhotoError("PHOTO_EMPTY", "The photo is empty: 0 bytes. Send the content of a JPEG, PNG or WebP file.")
    photo_format = formats.sniff(data)
    inspect = None if photo_format is None else _INSPECTORS.get(photo_format)
    if inspect is None:
        raise PhotoError(
            "PHOTO_FORMAT_UNSUPPORTED",
            f"The photo's format is not supported: it is {formats.describe(data)}. Convert it to JPEG, PNG or WebP.",
            bytes=len(data),
        )
    return inspect(data, _Limits(max_pixels, max_decoded_bytes, len(data)))


def _check_size(width: int, height: int, limits: _Limits) -> None:
    """Check sides, aspect ratio and pixels. Raises PhotoError."""
    if not width or not height:
        raise undecodable(limits.file_bytes)
    size = {"width": width, "height": height}
    if width * height > limits.max_pixels:
        raise PhotoError(
            "PHOTO_TOO_LARGE",
            f"The photo has {width} x {height} = {width * height:,} pixels; the limit is {limits.max_pixels:,}. "
            "Scale it down.",
            **size,
            pixels=width * height,
            limit=limits.max_pixels,
        )
    if max(width, height) > MAX_SIDE:
        raise PhotoError(
            "PHOTO_TOO_LARGE",
            f"The photo has {width} x {height} pixels; the limit for a side is {MAX_SIDE:,}. Scale it down.",
            **size,
            limit=MAX_SIDE,
        )
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise PhotoError(
            "PHOTO_TOO_LARGE",
            f"The photo has {width} x {height} pixels, an aspect ratio of {max(width, height) / min(width, height):.0f}"
            f" to 1; the limit is {MAX_ASPECT_RATIO} to 1. Crop it.",
            **size,
            limit=MAX_ASPECT_RATIO,
        )


def _check_decoded_bytes(decoded: int, width: int, height: int, kind: str, limits: _Limits) -> None:
    """Check the memory that decoding all pixels takes. Raises PhotoError."""
    if decoded > limits.max_decoded_bytes:
        raise PhotoError(
            "PHOTO_TOO_LARGE",
            f"The photo is {kind} of {width} x {height} pixels, which takes {decoded:,} bytes to decode; the limit is "
            f"{limits.max_decoded_bytes:,}. Scale it down.",
            width=width,
            height=height,
            decoded_bytes=decoded,
            limit=limits.max_decoded_bytes,
        )


# JPEG

# A marker that is neither an escaped 0xFF nor fill nor a restart marker: it ends entropy-coded data.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_EOI, _SOS, _APP0, _APP1, _APP14 = 0xD9, 0xDA, 0xE0, 0xE1, 0xEE
_TABLES = {0xC4, 0xDB, 0xDD}  # Huffman tables, quantization tables, restart interval
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = 0xC2
_SUPPORTED_FRAMES = {0xC0, 0xC1, _PROGRESSIVE}
_BLOCK_BYTES = 128  # 64 coefficients of two bytes
# What else the pixels depend on, by marker, with the first bytes of the content: two of them tell the color space.
_NEEDED = {_SOS: b"", _EOI: b"", _APP0: b"JFIF\0", _APP14: b"Adobe"}


@dataclass(frozen=True)
class _Frame:
    """The frame header of a JPEG: size, and the blocks of each component by its id."""

    width: int
    height: int
    is_progressive: bool
    blocks: dict[int, int]


def _inspect_jpeg(data: bytes, limits: _Limits) -> InspectedPhoto:
    view = memoryview(data)
    parts: list[bytes | memoryview] = [b"\xff\xd8"]
    frame: _Frame | None = None
    exif: bytes | None = None
    table_bytes = scans = visited_blocks = 0
    for code, start, end in _segments(data):
        if code in _TABLES:
            table_bytes += end - start
            if table_bytes > MAX_TABLE_BYTES:
                raise _too_many("bytes of tables", table_bytes, MAX_TABLE_BYTES)
        elif code in _FRAMES:
            if frame is not None:
                raise undecodable(len(data))
            frame = _read_frame(code, data[start + 4 : end], limits)
        elif code == _APP1:
            if exif is None and data.startswith(b"Exif\0", start + 4):
                exif = data[start + 4 : end]
            continue
        elif code not in _NEEDED or not data[start + 4 : start + 9].startswith(_NEEDED[code]):
            continue
        parts.append(view[start:end])
        if code == _SOS:
            if frame is None:
                raise undecodable(len(data))
            blocks = _scanned_blocks(data[start + 4 : start + 16], frame, len(data))
            is_only_scan = not frame.is_progressive and len(blocks) == len(frame.blocks)
            if not scans and not is_only_scan:
                _check_coefficients(frame, limits)
            scans, visited_blocks = scans + 1, visited_blocks + sum(blocks)
            if visited_blocks > MAX_VISITED_BLOCKS:
                raise _too_many("blocks in its scans", visited_blocks, MAX_VISITED_BLOCKS)
            if scans == 1 and is_only_scan:
                parts.append(b"\xff\xd9")
                break
    if frame is None or not scans:
        raise undecodable(len(data))
    content = b"".join(parts)
    block_seconds = _PROGRESSIVE_SECONDS if frame.is_progressive else _BASELINE_SECONDS
    seconds = block_seconds * visited_blocks + _CODED_SECONDS * len(content)
    return InspectedPhoto(JPEG, frame.width, frame.height, orientation_of(exif or b""), content, seconds)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment of a JPEG, that of a scan with its data; the last is the end marker.

    Fill bytes and garbage between segments are skipped, as decoders do. A file without an end is truncated.
    Raises PhotoError.
    """
    position = 2
    for count in range(1, MAX_SEGMENTS + 2):
        match = _MARKER.search(data, position)
        if match is None:
            raise undecodable(len(data))
        if count > MAX_SEGMENTS:
            raise _too_many("segments", count, MAX_SEGMENTS)
        start, code = match.start(), data[match.end() - 1]
        if code == _EOI:
            yield code, start, start + 2
            return
        length = int.from_bytes(data[start + 2 : start + 4])
        position = start + 2 + length
        if length < 2 or position > len(data):
            raise undecodable(len(data))
        if code == _SOS:
            following = _MARKER.search(data, position)
            if following is None:
                raise undecodable(len(data))
            position = following.start()
        yield code, start, position


def _read_frame(code: int, content: bytes, limits: _Limits) -> _Frame:
    """Read a frame header. Raises PhotoError."""
    if len(content) < 6 or len(content) < 6 + 3 * content[5] or content[5] not in (1, 3, 4):
        raise undecodable(limits.file_bytes)
    bits, height, width, count = struct.unpack_from(">BHHB", content)
    if code not in _SUPPORTED_FRAMES or bits != 8:
        variant = "lossless or arithmetic coding" if code not in _SUPPORTED_FRAMES else f"a precision of {bits} bits"
        raise PhotoError(
            "PHOTO_FORMAT_UNSUPPORTED",
            f"The photo is a JPEG with {variant}, which is not supported. Save it as baseline JPEG.",
            bytes=limits.file_bytes,
        )
    _check_size(width, height, limits)
    components = [(content[at], content[at + 1] >> 4, content[at + 1] & 15) for at in range(6, 6 + 3 * count, 3)]
    if not all(1 <= factor <= 4 for _, *factors in components for factor in factors):
        raise undecodable(limits.file_bytes)
    max_x, max_y = max(x for _, x, _ in components), max(y for _, _, y in components)
    blocks = {name: -(-width * x // (8 * max_x)) * -(-height * y // (8 * max_y)) for name, x, y in components}
    if len(blocks) < count:
        raise undecodable(limits.file_bytes)
    return _Frame(width, height, code == _PROGRESSIVE, blocks)


def _scanned_blocks(content: bytes, frame: _Frame, file_bytes: int) -> list[int]:
    """Return the number of blocks of each component in a scan. Raises PhotoError."""
    names = content[1 : 1 + 2 * content[0] : 2] if content else b""
    if not names or not frame.blocks.keys() >= set(names):
        raise undecodable(file_bytes)
    return [frame.blocks[name] for name in names]


def _check_coefficients(frame: _Frame, limits: _Limits) -> None:
    """Check the memory for the coefficients, all of which the decoder holds until the last scan. Raises PhotoError."""
    kind = "a progressive JPEG" if frame.is_progressive else "a JPEG in several scans"
    decoded = _BLOCK_BYTES * sum(frame.blocks.values())
    _check_decoded_bytes(decoded, frame.width, frame.height, kind, limits)


def _too_many(what: str, count: int, limit: int) -> PhotoError:
    return PhotoError(
        "PHOTO_TOO_LARGE",
        f"The photo has too many {what}: at least {count:,}; the limit is {limit:,}. Save it again as baseline JPEG.",
        count=count,
        limit=limit,
    )


# PNG

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type


def _inspect_png(data: bytes, limits: _Limits) -> InspectedPhoto:
    view = memoryview(data)
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise undecodable(len(data))
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    _check_size(width, height, limits)
    if color not in _CHANNELS or depth not in (1, 2, 4, 8, 16):
        raise undecodable(len(data))
    stored = 1 if color in (0, 3) else 4  # bytes of a pixel in memory
    row_bytes = max(stored * width, -(-width * depth * _CHANNELS[color] // 8))
    _check_decoded_bytes(height * row_bytes, width, height, "a PNG", limits)
    parts: list[bytes | memoryview] = [view[:8]]
    exif, has_pixels = b"", False
    for kind, start, end in _png_chunks(data):
        if kind == b"eXIf":
            exif = data[start + 8 : end - 4]
        if kind == b"IDAT":
            has_pixels = True
        if kind in (b"IDAT", b"IEND") or (kind in (b"IHDR", b"PLTE", b"tRNS") and not has_pixels):
            parts.append(view[start:end])
    seconds = _PNG_SECONDS * height * row_bytes
    return InspectedPhoto(PNG, width, height, orientation_of(exif), b"".join(parts), seconds)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of each chunk of a PNG; a truncated one ends with the file. Raises PhotoError."""
    position = 8
    for count in range(1, MAX_CHUNKS + 2):
        if position + 8 > len(data):
            return
        if count > MAX_CHUNKS:
            raise _too_many("chunks", count, MAX_CHUNKS)
        length, kind = struct.unpack_from(">I4s", data, position)
        start, position = position, position + 12 + length
        yield kind, start, min(position, len(data))
        if kind == b"IEND":
            return


# WebP

_DECODER_BYTES = {b"VP8 ": 16, b"VP8L": 20}  # of a pixel: canvas, previous frame, copy, image; and the lossless buffer


def _inspect_webp(data: bytes, limits: _Limits) -> InspectedPhoto:
    exif, alpha, pixels = b"", b"", b""
    width = height = 0
    for kind, place in _webp_chunks(data):
        if kind == b"EXIF":
            exif = data[place]
        elif kind == b"ALPH" and not pixels:
            alpha = _webp_chunk(kind, data[place])
        elif kind in _DECODER_BYTES and not pixels:
            width, height = _webp_size(kind, data[place.start : place.start + 10], len(data))
            _check_size(width, height, limits)
            _check_decoded_bytes(_DECODER_BYTES[kind] * width * height, width, height, "a WebP", limits)
            pixels = _webp_chunk(kind, data[place])
    if not pixels:
        raise undecodable(len(data))
    if alpha:
        canvas = struct.pack("<I", 0x10) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        pixels = _webp_chunk(b"VP8X", canvas) + alpha + pixels
    content = b"RIFF" + struct.pack("<I", 4 + len(pixels)) + b"WEBP" + pixels
    return InspectedPhoto(WEBP, width, height, orientation_of(exif), content, _WEBP_SECONDS * width * height)


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, slice]]:
    """Yield kind and place of each chunk of a WebP, also of those inside the frames of an animation.

    Raises PhotoError.
    """
    position, count = 12, 0
    while position + 8 <= len(data):
        count += 1
        if count > MAX_CHUNKS:
            raise _too_many("chunks", count, MAX_CHUNKS)
        kind, length = struct.unpack_from("<4sI", data, position)
        start, end = position + 8, position + 8 + length
        if end > len(data):
            raise undecodable(len(data))
        yield kind, slice(start, end)
        position = start + 16 if kind == b"ANMF" else end + (length & 1)  # a frame begins with its place


def _webp_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) & 1)


def _webp_size(kind: bytes, head: bytes, file_bytes: int) -> tuple[int, int]:
    """Return width and height in the header of lossy or lossless WebP pixels. Raises PhotoError."""
    if kind == b"VP8L" and len(head) >= 5 and head[0] == 0x2F:
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(head) >= 10 and head[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise undecodable(file_bytes)


_INSPECTORS = {JPEG: _inspect_jpeg, PNG: _inspect_png, WEBP: _inspect_webp}
