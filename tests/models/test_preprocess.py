"""Decoding: what comes in, right or refused, is the same for training and serving."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from planespotter_models import PhotoError, decode_photo
from planespotter_models.preprocess import PADDING

RED, BLUE = (220, 30, 30), (30, 30, 220)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def two_halves(width: int = 120, height: int = 80) -> Image.Image:
    """Return a picture whose left half is red and whose right half is blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """Return a PNG of the pixels in `rows`, written by hand: Pillow writes few kinds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def bare_png(width: int, height: int) -> bytes:
    """Return the header of a PNG of any size, and no pixels."""
    return png(width, height, 8, 2, b"\0" * 1000)


def close_to(colour: np.ndarray, expected: tuple[int, int, int]) -> bool:
    return bool(np.abs(colour.astype(int) - expected).max() < 12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_three_formats_give_the_same_picture(kind: str) -> None:
    pixels = decode_photo(encode(two_halves(), kind, quality=95), 40, 60)
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    assert close_to(pixels[20, 10], RED)
    assert close_to(pixels[20, 50], BLUE)


def test_the_proportions_stay_and_the_rest_is_mean_coloured() -> None:
    pixels = decode_photo(encode(two_halves(100, 100), "PNG"), 40, 60)
    assert close_to(pixels[20, 5], PADDING)
    assert close_to(pixels[20, 15], RED)
    assert close_to(pixels[20, 45], BLUE)
    assert close_to(pixels[20, 55], PADDING)


def test_a_photo_that_lies_on_its_side_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is left in the file is up
    pixels = decode_photo(encode(two_halves(), "JPEG", quality=95, exif=exif), 60, 40)
    assert close_to(pixels[10, 20], RED)
    assert close_to(pixels[50, 20], BLUE)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "LA", "1"])
def test_other_kinds_of_pixels_become_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    pixels = decode_photo(encode(Image.new("RGB", (60, 40), (255, 255, 255)).convert(mode), kind), 40, 60)
    assert close_to(pixels[20, 30], (255, 255, 255))


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    image = Image.fromarray(np.full((40, 60), 0x8000, np.uint16))
    assert close_to(decode_photo(encode(image, "PNG"), 40, 60)[20, 30], (128, 128, 128))


def test_what_is_transparent_shows_the_mean_colour() -> None:
    pixels = decode_photo(encode(Image.new("RGBA", (60, 40), (255, 0, 0, 0)), "PNG"), 40, 60)
    assert close_to(pixels[20, 30], PADDING)


# How a camera writes an upright scene when it is held so that this orientation turns it back.
HELD = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene() -> Image.Image:
    """Return a picture that no turn maps onto itself."""
    blocks = np.random.default_rng(0).integers(0, 255, (5, 8, 3))
    return Image.fromarray(np.kron(blocks, np.ones((30, 30, 1))).astype(np.uint8))


def difference(data: bytes, expected: Image.Image) -> float:
    """Return the mean difference between `data`, decoded, and `expected`."""
    wanted = decode_photo(encode(expected, "PNG"), 40, 60).astype(int)
    return float(np.abs(decode_photo(data, 40, 60).astype(int) - wanted).mean())


@pytest.mark.parametrize("orientation", HELD)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_orientation_comes_out_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = HELD[orientation]
    held = scene() if turn is None else scene().transpose(turn)
    assert difference(encode(held, kind, quality=95, exif=exif), scene()) < 4


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\xff\xff\xff\x7f\0\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\x006\0\0\0\0\0\0\0",  # the text "6"
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0",  # the number 9
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's word on it
def test_an_orientation_that_makes_no_sense_is_left_out(kind: str, exif: bytes) -> None:
    assert difference(encode(scene(), kind, quality=95, exif=exif), scene()) < 4


@pytest.mark.parametrize(
    "data",
    [
        encode(scene(), "JPEG", quality=95, progressive=True),
        encode(scene().convert("CMYK"), "JPEG", quality=95),
        encode(scene().quantize(40), "PNG"),
        encode(scene(), "WEBP", lossless=True, save_all=True, append_images=[two_halves(240, 150)]),
        encode(scene(), "PNG", save_all=True, append_images=[two_halves(240, 150)]),
        encode(scene(), "MPO", quality=95, save_all=True, append_images=[two_halves(240, 150)]),
    ],
    ids=["progressive", "CMYK", "palette", "animated WebP", "animated PNG", "JPEG of several pictures"],
)
def test_other_ways_to_write_a_photo_give_the_same_and_animations_their_first_picture(data: bytes) -> None:
    assert difference(data, scene()) < 4


@pytest.mark.parametrize(("channels", "colour"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_sixteen_bits_give_the_same_as_eight(channels: int, colour: int) -> None:
    eight = np.asarray(scene())[..., :3]
    if channels < 3:
        eight = eight[..., :1]
    opaque = np.full((*eight.shape[:2], 1), 255, np.uint8)
    pixels = np.concatenate([eight, opaque], axis=-1) if channels % 2 == 0 else eight
    rows = (pixels.astype(">u2") * 257).astype(">u2")
    data = png(240, 150, 16, colour, b"".join(b"\0" + row.tobytes() for row in rows))
    assert difference(data, Image.fromarray(eight.squeeze())) == 0


def test_a_large_jpeg_is_nearly_the_same_as_one_that_was_scaled_down_before() -> None:
    large = two_halves(1200, 800)
    difference = decode_photo(encode(large, "JPEG", quality=95), 40, 60).astype(int) - decode_photo(
        encode(large.resize((120, 80)), "PNG"), 40, 60
    )
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (b"", "PHOTO_EMPTY", "0 bytes"),
        (b"not a photo at all", "PHOTO_FORMAT_UNSUPPORTED", "JPEG, PNG or WebP"),
        (encode(two_halves(), "GIF"), "PHOTO_FORMAT_UNSUPPORTED", "47 49 46"),
        (encode(two_halves(), "JPEG")[:400], "PHOTO_UNDECODABLE", "cut short"),
        (encode(two_halves(), "PNG")[:60], "PHOTO_UNDECODABLE", "cut short"),
        (encode(two_halves(), "WEBP")[:60], "PHOTO_UNDECODABLE", "cut short"),
        (b"\xff\xd8\xff", "PHOTO_UNDECODABLE", "3 bytes"),
        (bare_png(30_000, 30_000), "PHOTO_TOO_LARGE", "900,000,000 pixels; the limit is 40,000,000"),
    ],
)
def test_what_is_no_photo_is_refused_with_a_reason_and_the_figures(data: bytes, reason: str, says: str) -> None:
    with pytest.raises(PhotoError, match=says) as caught:
        decode_photo(data, 40, 60)
    assert caught.value.reason == reason


def test_the_figures_of_a_refusal_are_in_its_metadata() -> None:
    with pytest.raises(PhotoError) as caught:
        decode_photo(bare_png(30_000, 30_000), 40, 60)
    assert caught.value.metadata == {
        "width": "30000",
        "height": "30000",
        "pixels": "900000000",
        "limit": "40000000",
    }


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.data())
def test_a_damaged_photo_is_decoded_or_refused_but_never_breaks_anything(kind: str, data: st.DataObject) -> None:
    content = bytearray(encode(two_halves(24, 16), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    with contextlib.suppress(PhotoError):  # and nothing else
        assert decode_photo(bytes(content[:cut]), 32, 48).shape == (32, 48, 3)
