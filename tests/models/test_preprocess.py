"""Preprocessing: formats, EXIF orientation, padding, and the reasons for which a photo is rejected."""

import contextlib
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scripts import hostile_photos
from tests.photos.photo_files import encode, scene

from planespotter_models import PhotoError, decode_photo
from planespotter_models.preprocess import PADDING

RED, BLUE = (220, 30, 30), (30, 30, 220)


def two_halves(width: int = 120, height: int = 80) -> Image.Image:
    """Return an image whose left half is red and whose right half is blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def png(width: int, height: int, bits: int, color_type: int, rows: bytes) -> bytes:
    """Encode a PNG from `rows` of pixels, as Pillow cannot write all combinations of bit depth and color type."""
    pixels = hostile_photos.chunk(b"IDAT", zlib.compress(rows))
    return hostile_photos.png(width, height, bits, color_type, [pixels])


def bare_png(width: int, height: int) -> bytes:
    """Return a PNG header for any size, without pixels."""
    return png(width, height, 8, 2, b"\0" * 1000)


def close_to(color: np.ndarray, expected: tuple[int, int, int]) -> bool:
    return bool(np.abs(color.astype(int) - expected).max() < 12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_jpeg_png_and_webp_decode_to_the_same_pixels(kind: str) -> None:
    pixels = decode_photo(encode(two_halves(), kind, quality=95), 40, 60)
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    assert close_to(pixels[20, 10], RED)
    assert close_to(pixels[20, 50], BLUE)


def test_aspect_ratio_is_kept_and_padding_has_the_mean_color() -> None:
    pixels = decode_photo(encode(two_halves(100, 100), "PNG"), 40, 60)
    assert close_to(pixels[20, 5], PADDING)
    assert close_to(pixels[20, 15], RED)
    assert close_to(pixels[20, 45], BLUE)
    assert close_to(pixels[20, 55], PADDING)


def test_rotated_photo_is_made_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was rotated: left in the file is up
    pixels = decode_photo(encode(two_halves(), "JPEG", quality=95, exif=exif), 60, 40)
    assert close_to(pixels[10, 20], RED)
    assert close_to(pixels[50, 20], BLUE)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "LA", "1"])
def test_other_pixel_modes_become_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    pixels = decode_photo(encode(Image.new("RGB", (60, 40), (255, 255, 255)).convert(mode), kind), 40, 60)
    assert close_to(pixels[20, 30], (255, 255, 255))


def test_16_bit_grayscale_keeps_its_brightness() -> None:
    image = Image.fromarray(np.full((40, 60), 0x8000, np.uint16))
    assert close_to(decode_photo(encode(image, "PNG"), 40, 60)[20, 30], (128, 128, 128))


def test_transparent_pixels_get_the_mean_color() -> None:
    pixels = decode_photo(encode(Image.new("RGBA", (60, 40), (255, 0, 0, 0)), "PNG"), 40, 60)
    assert close_to(pixels[20, 30], PADDING)


# How a camera stores an upright scene if it is held so that decoding must apply this orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def difference(data: bytes, expected: Image.Image) -> float:
    """Return the mean absolute difference, from 0 to 255, between `data`, decoded, and `expected`."""
    expected_pixels = decode_photo(encode(expected, "PNG"), 40, 60).astype(int)
    return float(np.abs(decode_photo(data, 40, 60).astype(int) - expected_pixels).mean())


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_exif_orientation_is_made_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    transpose = STORED[orientation]
    stored = scene() if transpose is None else scene().transpose(transpose)
    assert difference(encode(stored, kind, quality=95, exif=exif), scene()) < 4


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
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns about it
def test_invalid_exif_orientation_is_ignored(kind: str, exif: bytes) -> None:
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
    ids=["progressive", "CMYK", "palette", "animated WebP", "animated PNG", "JPEG with several images"],
)
def test_other_encodings_decode_to_the_same_pixels_and_animations_to_their_first_frame(data: bytes) -> None:
    assert difference(data, scene()) < 4


@pytest.mark.parametrize(("channels", "color_type"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_16_bit_png_decodes_to_the_same_pixels_as_8_bit(channels: int, color_type: int) -> None:
    eight = np.asarray(scene())[..., :3]
    if channels < 3:
        eight = eight[..., :1]
    opaque = np.full((*eight.shape[:2], 1), 255, np.uint8)
    pixels = np.concatenate([eight, opaque], axis=-1) if channels % 2 == 0 else eight
    rows = (pixels.astype(">u2") * 257).astype(">u2")
    data = png(240, 150, 16, color_type, b"".join(b"\0" + row.tobytes() for row in rows))
    assert difference(data, Image.fromarray(eight.squeeze())) == 0


def test_large_jpeg_decodes_nearly_like_a_downscaled_one() -> None:
    large = two_halves(1200, 800)
    difference = decode_photo(encode(large, "JPEG", quality=95), 40, 60).astype(int) - decode_photo(
        encode(large.resize((120, 80)), "PNG"), 40, 60
    )
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "LA", "I;16"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_large_png_is_reduced_in_bands_to_nearly_the_same_pixels(mode: str, orientation: int) -> None:
    large = scene().resize((1801, 1203), Image.Resampling.NEAREST)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(large.convert("L")).astype(np.uint16) * 257)
    else:
        image = large.convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(128)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode_photo(encode(image, "PNG", exif=exif), 40, 60).astype(int)
    small = image.convert("L" if mode == "1" else mode).resize((240, 160), Image.Resampling.BOX)
    expected = decode_photo(encode(small if mode != "P" else small.convert("RGB"), "PNG", exif=exif), 40, 60)
    assert np.abs(pixels - expected).mean() < (20 if mode == "P" else 5)


@pytest.mark.slow
def test_jpeg_of_120_megapixels_is_decoded() -> None:
    data = encode(scene().resize((13_920, 8_700), Image.Resampling.NEAREST), "JPEG", quality=50)
    assert difference(data, scene()) < 6


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"", "PHOTO_EMPTY", "0 bytes"),
        (b"not a photo at all", "PHOTO_FORMAT_UNSUPPORTED", "JPEG, PNG or WebP"),
        (encode(two_halves(), "GIF"), "PHOTO_FORMAT_UNSUPPORTED", "a GIF image"),
        (encode(two_halves(), "JPEG")[:400], "PHOTO_UNDECODABLE", "truncated"),
        (encode(two_halves(), "PNG")[:60], "PHOTO_UNDECODABLE", "truncated"),
        (encode(two_halves(), "WEBP")[:60], "PHOTO_UNDECODABLE", "truncated"),
        (b"\xff\xd8\xff", "PHOTO_UNDECODABLE", "3 bytes"),
        (bare_png(30_000, 30_000), "PHOTO_TOO_LARGE", "900,000,000 pixels; the limit is 160,000,000"),
    ],
)
def test_invalid_photo_is_rejected_with_a_reason_and_its_size(data: bytes, reason: str, message: str) -> None:
    with pytest.raises(PhotoError, match=message) as caught:
        decode_photo(data, 40, 60)
    assert caught.value.reason == reason


def test_sizes_in_the_message_of_a_rejection_are_in_its_metadata() -> None:
    with pytest.raises(PhotoError) as caught:
        decode_photo(bare_png(30_000, 30_000), 40, 60)
    assert caught.value.metadata == {
        "width": "30000",
        "height": "30000",
        "pixels": "900000000",
        "limit": "160000000",
    }


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.data())
def test_damaged_photo_is_decoded_or_rejected_but_never_raises_another_error(kind: str, data: st.DataObject) -> None:
    content = bytearray(encode(two_halves(24, 16), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    with contextlib.suppress(PhotoError):  # and nothing else
        assert decode_photo(bytes(content[:cut]), 32, 48).shape == (32, 48, 3)
