"""Photo conversion: photos of phones, cameras and scanners become JPEG."""

import io

import numpy as np
import pytest
from PIL import Image
from tests.photos.photo_files import difference, dng, encode, heic, rotated_exif, scene

from planespotter_photos import PhotoError, formats
from planespotter_photos.conversion import CONVERTED_SIDE, convert_photo


def stored_rotated() -> Image.Image:
    """Return the scene as a rotated camera stores it."""
    return scene().transpose(Image.Transpose.ROTATE_90)


@pytest.mark.parametrize(
    "data",
    [
        encode(scene(), "BMP"),
        encode(scene(), "GIF", save_all=True, append_images=[scene().rotate(90)]),
        encode(scene(), "TIFF", compression="tiff_lzw"),
        encode(stored_rotated(), "TIFF", exif=rotated_exif()),
        encode(stored_rotated(), "AVIF", exif=rotated_exif(), quality=95),
        heic(scene()),
        heic(stored_rotated(), exif=rotated_exif().tobytes()),
    ],
    ids=["BMP", "GIF", "TIFF", "rotated TIFF", "rotated AVIF", "HEIC", "rotated HEIC"],
)
def test_photo_becomes_an_upright_jpeg(data: bytes) -> None:
    converted = convert_photo(data)
    assert formats.sniff(converted) is formats.JPEG
    assert difference(converted, scene()) < 5


def test_16_bit_tiff_keeps_its_brightness() -> None:
    gray = np.asarray(scene().convert("L"))
    converted = convert_photo(encode(Image.fromarray(gray.astype(np.uint16) * 257), "TIFF"))
    assert difference(converted, scene().convert("L").convert("RGB")) < 5


def test_transparent_photo_becomes_png() -> None:
    image = scene().convert("RGBA")
    image.putalpha(100)
    assert formats.sniff(convert_photo(encode(image, "TIFF"))) is formats.PNG


def test_large_photo_is_scaled_down() -> None:
    with Image.open(io.BytesIO(convert_photo(encode(scene().resize((6000, 4000)), "BMP")))) as image:
        assert image.size == (CONVERTED_SIDE, round(CONVERTED_SIDE * 2 / 3))


def test_raw_photo_is_read_by_its_upright_preview() -> None:
    preview = scene().resize((960, 600), Image.Resampling.NEAREST)
    assert difference(convert_photo(dng(preview)), preview) < 5
    assert difference(convert_photo(dng(preview.transpose(Image.Transpose.ROTATE_90), 6)), preview) < 5


def test_raw_photo_with_a_tiny_preview_is_developed() -> None:
    with Image.open(io.BytesIO(convert_photo(dng(scene().resize((160, 100)))))) as image:
        assert image.size == (32, 24)  # half of its raw pixels
        assert np.ptp(np.asarray(image)) < 60  # which are gray


@pytest.mark.parametrize(
    ("data", "name", "reason", "message"),
    [
        (b"\xff\x0a" + bytes(500), "photo.jxl", "PHOTO_FORMAT_UNSUPPORTED", "a JPEG XL photo. Convert it"),
        (b"MM\0*" + bytes(3000), "DSC_1.NEF", "PHOTO_UNDECODABLE", "a raw photo of a camera that cannot be decoded"),
        (heic(scene())[:300], "IMG_1.HEIC", "PHOTO_UNDECODABLE", r"a HEIC photo \(iPhone\) that cannot be decoded"),
        (encode(scene(), "TIFF")[:100], "scan.tif", "PHOTO_UNDECODABLE", "a TIFF image that cannot be decoded"),
    ],
)
def test_photo_that_cannot_be_converted_is_named(data: bytes, name: str, reason: str, message: str) -> None:
    with pytest.raises(PhotoError, match=message) as caught:
        convert_photo(data, name)
    assert caught.value.reason == reason


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(
        PhotoError,
        match=r"a HEIC photo \(iPhone\), which needs a further package: pip install '\.\[formats\]' in a checkout",
    ):
        convert_photo(heic(scene()))
