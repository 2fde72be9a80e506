"""Hostile photos: small files that cost a careless decoder minutes or gigabytes, each made by code.

Each generator takes a size in bytes, which it hardly exceeds, and returns a photo. They are seeds of the fuzzer and of
tests. `python -m scripts.hostile_photos` decodes all of them at 16 MiB, and prints processor time and memory.
"""

import gc
import io
import re
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from planespotter_models import PhotoError, decode_photo
from planespotter_server.serving.memory_limiter import trim_heap

MAX_SECONDS, MAX_BYTES = 2.0, 300 << 20
"""What decoding a photo of up to 16 MiB may cost: processor time, and memory in addition to that of the process."""
HEIGHT, WIDTH = 96, 144

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"


def segment(marker: int, content: bytes = b"") -> bytes:
    """Return a segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def encoded(kind: str, width: int = 64, height: int = 48, **options: object) -> bytes:
    """Return a small ordinary photo."""
    gradient = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.stack([gradient, 255 - gradient, gradient], axis=-1)).save(file, kind, **options)
    return file.getvalue()


# JPEG


def jpeg_header(marker: int, width: int, height: int, components: int, dc: bytes, ac: bytes) -> bytes:
    """Return a JPEG up to its first scan. `dc` and `ac` are the symbols of codes of 4 bits, or of 1 bit if one each."""

    def table(ident: int, symbols: bytes) -> bytes:
        bits = 0 if len(symbols) == 1 else 3
        return segment(0xC4, bytes((ident, *(len(symbols) if at == bits else 0 for at in range(16)))) + symbols)

    planes = b"".join(bytes((number + 1, 0x11, 0)) for number in range(components))
    frame = struct.pack(">BHHB", 8, height, width, components) + planes
    quantization = segment(0xDB, b"\0" + b"\1" * 64)
    return JPEG_START + quantization + segment(marker, frame) + table(0, dc) + table(0x10, ac)


def scan(components: int, start: int, end: int, approximation: int, data: bytes) -> bytes:
    """Return a scan of a JPEG."""
    selectors = b"".join(bytes((number + 1, 0)) for number in range(components))
    return segment(0xDA, bytes((components,)) + selectors + bytes((start, end, approximation))) + data


def progressive_scans(size: int, width: int = 6320, height: int = 6320, max_scans: int = 10**9) -> bytes:
    """Return a progressive JPEG with as many scans as fit; each skips over all blocks in 8 bytes of data and less."""
    left, bits = -(-width // 8) * -(-height // 8), ""
    while left:
        exponent = min(14, left.bit_length() - 1)
        run = min(left, (2 << exponent) - 1)
        bits += f"{exponent:04b}" + (f"{run - (1 << exponent):0{exponent}b}" if exponent else "")
        left -= run
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\0")
    end_of_band_runs = bytes(number << 4 for number in range(15))
    start = jpeg_header(0xC2, width, height, 1, b"\0", end_of_band_runs)
    start += scan(1, 0, 0, 0, b"") + scan(1, 1, 63, 0x01, data)
    again = scan(1, 1, 63, 0x10, data)
    return start + again * max(1, min(max_scans - 2, (size - len(start)) // len(again))) + JPEG_END


def progressive_dense(size: int) -> bytes:
    """Return a progressive JPEG in which all coefficients of as many blocks as fit are set, then refined."""
    side = int((size / 40) ** 0.5)  # 16 bytes of a block, and 8 per refinement
    blocks = side * side
    start = jpeg_header(0xC2, 8 * side, 8 * side, 1, b"\0", b"\1") + scan(1, 0, 0, 0, bytes(blocks // 8 + 1))
    start += scan(1, 1, 63, 0x03, bytes(blocks * 126 // 8 + 1))
    refinement = segment(0xC4, bytes((0x10, 1, *([0] * 15), 0)))  # end of band, and a bit for each coefficient
    for bit in (0x32, 0x21, 0x10):
        refinement += scan(1, 1, 63, bit, bytes(blocks * 64 // 8 + 1))
    return start + refinement + JPEG_END


def many_segments(marker: int, content: bytes = b"") -> Callable[[int], bytes]:
    """Return the generator of a JPEG with as many segments before its pixels as fit."""
    photo, repeated = encoded("JPEG"), segment(marker, content)
    return lambda size: JPEG_START + repeated * max(1, (size - len(photo)) // len(repeated)) + photo[2:]


def fill_bytes(size: int) -> bytes:
    """Return a JPEG with 0xFF, which decoders skip, before its pixels."""
    photo = encoded("JPEG")
    return JPEG_START + b"\xff" * (size - len(photo)) + photo[2:]


def fill_without_end(size: int) -> bytes:
    """Return a JPEG that ends in 0xFF."""
    photo = encoded("JPEG")
    return photo[:-2] + b"\xff" * (size - len(photo))


def baseline_empty(size: int, width: int = 12_640, height: int = 12_640) -> bytes:
    """Return a baseline JPEG with as many pixels as possible, of two bits per block."""
    blocks = -(-width // 8) * -(-height // 8)
    data = bytes(min(size, 3 * blocks // 4 + 1))
    return jpeg_header(0xC0, width, height, 3, b"\0", b"\0") + scan(3, 0, 63, 0, data) + JPEG_END


def baseline_dense(size: int) -> bytes:
    """Return a baseline JPEG in which all coefficients of as many blocks as fit are set, with two bits each."""
    side = int((size / 16) ** 0.5)
    data = bytes(side * side * 127 // 8 + 1)
    return jpeg_header(0xC0, 8 * side, 8 * side, 1, b"\0", b"\1") + scan(1, 0, 63, 0, data) + JPEG_END


def restart_markers(size: int) -> bytes:
    """Return a baseline JPEG with a restart marker after each block."""
    side = min(1580, int((size / 3) ** 0.5))
    rounds = b"".join(b"\x3f\xff" + bytes((0xD0 + number,)) for number in range(8))
    start = jpeg_header(0xC0, 8 * side, 8 * side, 1, b"\0", b"\0") + segment(0xDD, b"\0\1")
    return start + scan(1, 0, 63, 0, rounds * (side * side // 8 + 1)) + JPEG_END


def several_scans(size: int) -> bytes:
    """Return a baseline JPEG with one scan per component, for which a decoder holds all coefficients."""
    side = min(9_600, 8 * int(size**0.5))
    data = bytes(side * side // 64 // 4 + 1)
    start = jpeg_header(0xC0, side, side, 3, b"\0", b"\0")
    scans = (segment(0xDA, bytes((1, number + 1, 0, 0, 63, 0))) + data for number in range(3))
    return start + b"".join(scans) + JPEG_END


def color_profile(size: int) -> bytes:
    """Return a JPEG with a color profile of nearly `size` bytes."""
    return encoded("JPEG", icc_profile=bytes(min(size, 16_000_000)))


# PNG


def png(width: int, height: int, depth: int, color: int, chunks: Iterable[bytes], interlaced: int = 0) -> bytes:
    """Return a PNG with `chunks` between its header and its end."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return PNG_START + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND")


def png_pixels(row_bytes: int, rows: int, filter_type: int = 0) -> bytes:
    """Return the chunk of pixels of value 0."""
    compressor = zlib.compressobj(1)
    row = bytes((filter_type,)) + bytes(row_bytes)
    return chunk(b"IDAT", b"".join(compressor.compress(row) for _ in range(rows)) + compressor.flush())


def flat_png(width: int, height: int, depth: int, color: int, filter_type: int = 0, interlaced: int = 0) -> bytes:
    """Return a PNG of one color; its size depends on the number of pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    palette = [chunk(b"PLTE", bytes(3)), chunk(b"tRNS", bytes(1))] if color == 3 else []
    # Interlaced rows are shorter and more: the zeros of twice the rows are enough.
    pixels = png_pixels(-(-width * depth * channels // 8), (1 + interlaced) * height, filter_type)
    return png(width, height, depth, color, [*palette, pixels], interlaced)


def many_chunks(kind: bytes, content: bytes = b"") -> Callable[[int], bytes]:
    """Return the generator of a PNG with as many chunks before its pixels as fit."""
    repeated = chunk(kind, content)
    return lambda size: png(96, 64, 8, 2, [repeated * max(1, size // len(repeated)), png_pixels(288, 64)])


def pixels_in_chunks(size: int) -> bytes:
    """Return a PNG of random pixels in as many chunks as the limit allows."""
    rows = size // 3001
    noise = zlib.compress(b"".join(b"\4" + np.random.default_rng(row).bytes(3000) for row in range(rows)), 1)
    step = max(1, len(noise) // 19_990 + 1)
    return png(1000, rows, 8, 2, [chunk(b"IDAT", noise[at : at + step]) for at in range(0, len(noise), step)])


def exif_of(entries: int, value_bytes: int) -> bytes:
    """Return an EXIF block whose entries all point to the same value."""
    directory = b"".join(struct.pack(">HHLL", number, 1, value_bytes, 8) for number in range(entries))
    block = b"MM\0*\0\0\0\x08" + struct.pack(">H", entries) + directory + b"\0" * 4
    return block.ljust(value_bytes + 8, b"\0")


def exif_entries(size: int) -> bytes:
    """Return a PNG whose EXIF entries claim much more than its size."""
    return png(96, 64, 8, 2, [chunk(b"eXIf", exif_of(min(65_000, size // 24), size // 2)), png_pixels(288, 64)])


def compressed_text(size: int) -> bytes:
    """Return a PNG with compressed text that expands a thousandfold."""
    bomb = zlib.compress(bytes(1_000_000), 9)
    texts = (chunk(b"zTXt", b"key%d\0\0" % number + bomb) for number in range(size // 1200))
    return png(96, 64, 8, 2, [*texts, png_pixels(288, 64)])


def compressed_profile(size: int) -> bytes:
    """Return a PNG with a color profile that expands a thousandfold."""
    profile = zlib.compress(bytes(min(size, 1 << 20) * 1000), 1)
    return png(96, 64, 8, 2, [chunk(b"iCCP", b"p\0\0" + profile), png_pixels(288, 64)])


# WebP


def webp(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a WebP of `chunks`."""
    parts = (kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2) for kind, content in chunks)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_chunks(size: int) -> bytes:
    """Return a WebP with as many chunks before its pixels as fit."""
    return webp([*[(b"JUNK", b"")] * (size // 8), (b"VP8 ", encoded("WEBP")[20:])])


def webp_canvas(size: int) -> bytes:
    """Return an animation with a small frame on a huge canvas."""
    del size
    photo = encoded("WEBP")
    frame = bytes(6) + (63).to_bytes(3, "little") + (47).to_bytes(3, "little") + bytes(4) + photo[12:]
    canvas = (16_382).to_bytes(3, "little")
    return webp([(b"VP8X", b"\2\0\0\0" + canvas + canvas), (b"ANIM", bytes(6)), (b"ANMF", frame)])


def webp_noise(size: int, *, lossless: bool) -> bytes:
    """Return a WebP of random pixels that takes nearly `size` bytes."""
    side = max(8, int((size / (3.2 if lossless else 2.8)) ** 0.5))
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=lossless, quality=0 if lossless else 100, method=0)
    return file.getvalue()


def webp_flat(width: int, height: int, *, lossless: bool, mode: str = "RGB") -> bytes:
    """Return a WebP of one color."""
    file = io.BytesIO()
    color = (1, 2, 3, 100)[: len(mode)]
    Image.new(mode, (width, height), color).save(file, "WEBP", lossless=lossless, quality=0, method=0)
    return file.getvalue()


GENERATORS: dict[str, Callable[[int], bytes]] = {
    "progressive scans": progressive_scans,
    "progressive scans of a small photo": lambda size: progressive_scans(size, 800, 600),
    "progressive, dense": progressive_dense,
    "APP5 segments": many_segments(0xE5),
    "comments": many_segments(0xFE),
    "quantization tables": many_segments(0xDB, b"\0" + b"\1" * 64),
    "Huffman tables": many_segments(0xC4, b"\0" + bytes(16)),
    "EXIF in pieces": many_segments(0xE1, b"Exif\0\0" + b"x" * 12),
    "fill bytes": fill_bytes,
    "fill bytes without end": fill_without_end,
    "baseline, empty": baseline_empty,
    "baseline, dense": baseline_dense,
    "restart markers": restart_markers,
    "several scans": several_scans,
    "color profile": color_profile,
    "private chunks": many_chunks(b"prVt"),
    "text chunks": many_chunks(b"tEXt", b"a\0"),
    "empty pixel chunks": many_chunks(b"IDAT"),
    "pixels in many chunks": pixels_in_chunks,
    "palettes": many_chunks(b"PLTE", bytes(768)),
    "EXIF entries": exif_entries,
    "compressed text": compressed_text,
    "compressed profile": compressed_profile,
    "WebP chunks": webp_chunks,
    "WebP canvas": webp_canvas,
    "lossless WebP noise": lambda size: webp_noise(size, lossless=True),
    "lossy WebP noise": lambda size: webp_noise(size, lossless=False),
}
"""Generators by name, for which a larger photo is a worse one."""

LARGEST: dict[str, Callable[[], bytes]] = {
    "one row": lambda: flat_png(40_000_000, 1, 1, 0),
    "one column": lambda: flat_png(1, 39_999_999, 8, 6),
    "PNG, RGBA": lambda: flat_png(7_600, 7_600, 8, 6, filter_type=4),
    "PNG, RGBA, interlaced": lambda: flat_png(7_600, 7_600, 8, 6, filter_type=4, interlaced=1),
    "PNG, deep RGBA": lambda: flat_png(5_400, 5_400, 16, 6, filter_type=4),
    "PNG, deep RGBA, interlaced": lambda: flat_png(5_400, 5_400, 16, 6, filter_type=4, interlaced=1),
    "PNG, deep gray": lambda: flat_png(7_600, 7_600, 16, 0, filter_type=4),
    "PNG, RGB": lambda: flat_png(7_600, 7_600, 8, 2, filter_type=3),
    "PNG, palette": lambda: flat_png(12_600, 12_600, 8, 3),
    "PNG, 1 bit": lambda: flat_png(12_600, 12_600, 1, 0),
    "PNG, aspect ratio": lambda: flat_png(29_900, 600, 8, 6, filter_type=4),
    "WebP, lossless": lambda: webp_flat(3_420, 3_420, lossless=True),
    "WebP, lossless, transparent": lambda: webp_flat(3_420, 3_420, lossless=True, mode="RGBA"),
    "WebP, lossy": lambda: webp_flat(3_820, 3_820, lossless=False),
    "WebP, lossy, transparent": lambda: webp_flat(3_820, 3_820, lossless=False, mode="RGBA"),
    "progressive JPEG of many pixels": lambda: progressive_scans(1 << 24, 10_800, 10_800, max_scans=10),
    "progressive JPEG of many scans": lambda: progressive_scans(1 << 24, 800, 800, max_scans=1_990),
    "huge JPEG": lambda: baseline_empty(1 << 20, 65_535, 65_535),
}
"""Photos with as many pixels as the limits allow, or more."""


def decoding_cost(data: bytes) -> tuple[str, float, int]:
    """Decode a photo, and return the outcome, processor time in seconds and peak memory in bytes (Linux only).

    Raises:
        AssertionError: It costs more than MAX_SECONDS or MAX_BYTES.
    """
    gc.collect()
    trim_heap()  # freed memory that the process keeps would hide what it needs again
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    start_bytes, started = _resident_bytes("VmRSS"), time.process_time()
    try:
        decode_photo(data, HEIGHT, WIDTH)
        outcome = "decoded"
    except PhotoError as error:
        outcome = f"{error.reason}: {error}"
    seconds = time.process_time() - started
    peak = _resident_bytes("VmHWM") - start_bytes
    assert seconds <= MAX_SECONDS, f"{seconds:.2f} s of processor time: {outcome}"
    assert peak <= MAX_BYTES, f"{peak / 2**20:.0f} MiB of memory: {outcome}"
    return outcome, seconds, peak


def _resident_bytes(field: str) -> int:
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return 1024 * int(match[1])


def all_photos(size: int) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield name and maker of every hostile photo, those of GENERATORS with `size` bytes."""
    for name, generate in GENERATORS.items():
        yield name, partial(generate, size)
    yield from LARGEST.items()


def main() -> int:
    """Print what each photo costs; return the exit code."""
    worst_seconds, worst_bytes = 0.0, 0
    for name, make in all_photos(16 << 20):
        data = make()
        try:
            outcome, seconds, peak = decoding_cost(data)
        except AssertionError as error:
            print(f"FAILED {name}: {error}")
            return 1
        worst_seconds, worst_bytes = max(worst_seconds, seconds), max(worst_bytes, peak)
        print(f"{name:36}{len(data):>11,} B {seconds:7.3f} s {peak / 2**20:6.0f} MiB  {outcome[:80]}")
    print(f"worst: {worst_seconds:.2f} s of processor time, {worst_bytes / 2**20:.0f} MiB of memory")
    return 0


if __name__ == "__main__":
    sys.exit(main())
