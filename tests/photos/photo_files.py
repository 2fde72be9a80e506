"""Pictures in the formats that tests of photos need."""

import io
import struct

import numpy as np
import pillow_heif
from PIL import Image

ROTATED = 6  # EXIF orientation: the camera was rotated, left in the file is up


def scene() -> Image.Image:
    """Return an image without symmetry: no transpose maps it onto itself."""
    blocks = np.random.default_rng(0).integers(0, 255, (5, 8, 3))
    return Image.fromarray(np.kron(blocks, np.ones((30, 30, 1))).astype(np.uint8))


def rotated_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    return exif


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def heic(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=95, **options)
    return file.getvalue()


def difference(data: bytes, expected: Image.Image) -> float:
    """Return the mean absolute difference, from 0 to 255, between an encoded picture and `expected`."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB").resize(expected.size)).astype(int)
    return float(np.abs(pixels - np.asarray(expected)).mean())


def dng(preview: Image.Image, orientation: int = 1) -> bytes:
    """Return a raw photo: the preview as JPEG, and 64 x 48 gray raw pixels."""
    jpeg, raw = encode(preview, "JPEG", quality=95), np.full((48, 64), 8000, "<u2").tobytes()
    make = b"Maker\0"

    def directory(entries: list[tuple[int, int, int, int]], offset: int) -> bytes:
        """Encode entries of tag, type, count and value; a SHORT of count 1 and a LONG have the same bytes."""
        body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
        return struct.pack("<H", len(entries)) + body + struct.pack("<I", offset)

    raw_start, raw_entries = 8, 12
    jpeg_start = raw_start + 2 + 12 * raw_entries + 4
    pixels_start = jpeg_start + len(jpeg)
    make_start = pixels_start + len(raw)
    first = make_start + len(make)
    raw_directory = directory(
        [
            (254, 4, 1, 0),
            (256, 4, 1, 64),
            (257, 4, 1, 48),
            (258, 3, 1, 16),
            (259, 3, 1, 1),
            (262, 3, 1, 32803),
            (273, 4, 1, pixels_start),
            (277, 3, 1, 1),
            (278, 4, 1, 48),
            (279, 4, 1, len(raw)),
            (33421, 3, 2, 0x00020002),
            (33422, 1, 4, 0x02010100),
        ],
        0,
    )
    main = directory(
        [
            (254, 4, 1, 1),
            (256, 4, 1, preview.width),
            (257, 4, 1, preview.height),
            (258, 3, 1, 8),
            (259, 3, 1, 7),
            (262, 3, 1, 6),
            (271, 2, len(make), make_start),
            (272, 2, len(make), make_start),
            (273, 4, 1, jpeg_start),
            (274, 3, 1, orientation),
            (277, 3, 1, 3),
            (278, 4, 1, preview.height),
            (279, 4, 1, len(jpeg)),
            (330, 4, 1, raw_start),
            (50706, 1, 4, 0x00000401),
        ],
        0,
    )
    return b"II*\0" + struct.pack("<I", first) + raw_directory + jpeg + raw + make + main
