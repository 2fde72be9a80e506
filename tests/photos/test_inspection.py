"""Photo inspection: what a decoder gets to see, and what is rejected before it."""

import io
import struct
import subprocess
import sys

import pytest
from PIL import Image
from scripts import hostile_photos
from tests.photos.photo_files import difference, encode, rotated_exif, scene

from planespotter_photos import PhotoError, inspect_photo, inspection
from planespotter_photos.reading import open_photo

MIB = 1 << 20


def with_segments(photo: bytes, *segments: bytes) -> bytes:
    """Return a JPEG with further segments after its start."""
    return photo[:2] + b"".join(segments) + photo[2:]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_blocks": 3}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 95}),
    ],
)
def test_metadata_is_dropped_and_pixels_and_orientation_stay(kind: str, options: dict[str, object]) -> None:
    bare = encode(scene(), kind, **options)
    data = encode(scene(), kind, exif=rotated_exif(), icc_profile=b"\0" * 200_000, **options)
    photo = inspect_photo(data)
    assert (photo.format.name.upper(), photo.width, photo.height, photo.orientation) == (kind, 240, 150, 6)
    assert len(photo.content) <= len(bare)
    with Image.open(io.BytesIO(bare)) as image:
        assert open_photo(photo).convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_color_space_markers_of_a_jpeg_stay() -> None:
    cmyk = encode(scene().convert("CMYK"), "JPEG", quality=95)  # an Adobe marker says that its values are inverted
    assert difference(inspect_photo(cmyk).content, scene()) < 8
    rgb = encode(scene(), "JPEG", quality=95, keep_rgb=True)
    assert difference(inspect_photo(rgb).content, scene()) < 8


def test_transparency_of_a_lossy_webp_stays() -> None:
    image = scene().convert("RGBA")
    image.putalpha(77)
    data = encode(image, "WEBP", exif=rotated_exif(), icc_profile=b"\0" * 5000)
    with Image.open(io.BytesIO(data)) as original:
        assert open_photo(inspect_photo(data)).tobytes() == original.convert("RGBA").tobytes()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animation_is_reduced_to_its_first_frame(kind: str) -> None:
    frames = [scene().rotate(angle) for angle in range(1, 30)]
    data = encode(scene(), kind, save_all=True, append_images=frames, lossless=True, exif=rotated_exif())
    photo = inspect_photo(data)
    assert len(photo.content) < len(data) / 10
    assert difference(photo.content, scene()) == 0
    assert photo.orientation == 6


def test_second_image_in_a_jpeg_is_dropped() -> None:
    data = encode(scene(), "MPO", save_all=True, append_images=[scene()])
    assert len(inspect_photo(data).content) < 0.6 * len(data)


def test_garbage_and_fill_bytes_between_segments_are_skipped() -> None:
    photo = encode(scene(), "JPEG", quality=95)
    assert difference(inspect_photo(with_segments(photo, b"\xff" * 1000, b"\xff\0garbage")).content, scene()) < 4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (hostile_photos.progressive_scans(8000), "blocks in its scans: at least 20,"),
        (hostile_photos.progressive_scans(MIB, 800, 600), "segments: at least 2,001; the limit is 2,000"),
        (hostile_photos.several_scans(2 * MIB), "JPEG in several scans of 9600 x 9600 pixels"),
        (hostile_photos.GENERATORS["EXIF in pieces"](MIB), "segments: at least 2,001"),
        (hostile_photos.GENERATORS["private chunks"](MIB), "chunks: at least 20,001; the limit is 20,000"),
        (hostile_photos.GENERATORS["WebP chunks"](MIB), "chunks: at least 20,001"),
        (
            with_segments(hostile_photos.encoded("JPEG"), *[hostile_photos.segment(0xDB, bytes(60_000))] * 5),
            "bytes of tables: at least 300,",
        ),
        (hostile_photos.flat_png(30_001, 1000, 1, 0), "30001 x 1000 pixels; the limit for a side is 30,000"),
        (hostile_photos.flat_png(20_000, 10, 1, 0), "an aspect ratio of 2000 to 1; the limit is 50 to 1"),
        (hostile_photos.baseline_empty(100, 16_000, 10_001), "160,016,000 pixels; the limit is 160,000,000"),
        (hostile_photos.flat_png(7700, 7700, 8, 6), "a PNG of 7700 x 7700 pixels, which takes 237,160,000 bytes"),
        (hostile_photos.flat_png(5500, 5500, 16, 6), "takes 242,000,000 bytes to decode; the limit is 234,881,024"),
        (hostile_photos.webp_flat(3900, 3900, lossless=False), "a WebP of 3900 x 3900 pixels"),
    ],
)
def test_photo_beyond_a_limit_is_rejected_with_the_value_and_the_limit(data: bytes, message: str) -> None:
    with pytest.raises(PhotoError) as caught:
        inspect_photo(data)
    assert message in str(caught.value)
    assert caught.value.reason == "PHOTO_TOO_LARGE"
    assert "limit" in caught.value.metadata


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (hostile_photos.jpeg_header(0xC9, 64, 48, 1, b"\0", b"\0"), "lossless or arithmetic coding"),
        (hostile_photos.jpeg_header(0xC3, 64, 48, 1, b"\0", b"\0"), "lossless or arithmetic coding"),
        (
            hostile_photos.jpeg_header(0xC1, 64, 48, 1, b"\0", b"\0").replace(b"\x08\0\x30", b"\x0c\0\x30"),
            "a precision of 12 bits",
        ),
    ],
)
def test_variant_of_jpeg_that_is_not_decoded_is_named(frame: bytes, message: str) -> None:
    with pytest.raises(PhotoError, match=message) as caught:
        inspect_photo(frame + hostile_photos.scan(1, 0, 63, 0, b"\0") + hostile_photos.JPEG_END)
    assert caught.value.reason == "PHOTO_FORMAT_UNSUPPORTED"


@pytest.mark.parametrize(
    "data",
    [
        encode(scene(), "JPEG")[:-2],
        encode(scene(), "JPEG")[:500],
        encode(scene(), "JPEG", progressive=True)[:-2],
        b"\xff\xd8\xff\xd9",
        hostile_photos.fill_without_end(10_000),
        hostile_photos.jpeg_header(0xC0, 64, 0, 1, b"\0", b"\0") + b"\xff\xd9",
        hostile_photos.jpeg_header(0xC0, 64, 48, 1, b"\0", b"\0") + b"\xff\xd9",
        with_segments(
            encode(scene(), "JPEG"), hostile_photos.segment(0xC0, struct.pack(">BHHB", 8, 9, 9, 1) + b"\1\x11\0")
        ),
        hostile_photos.jpeg_header(0xC0, 64, 48, 1, b"\0", b"\0") + hostile_photos.segment(0xDA, b"\1\7\0\0\0\0"),
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBP",
        encode(scene(), "WEBP")[:100],
    ],
)
def test_damaged_photo_is_rejected(data: bytes) -> None:
    with pytest.raises(PhotoError) as caught:
        inspect_photo(data)
    assert caught.value.reason == "PHOTO_UNDECODABLE"


def test_phone_photo_names_its_format_instead_of_its_bytes() -> None:
    with pytest.raises(PhotoError, match=r"it is a HEIC photo \(iPhone\). Convert it to JPEG, PNG or WebP"):
        inspect_photo(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))


def test_photo_of_a_camera_with_120_megapixels_is_accepted() -> None:
    assert inspect_photo(hostile_photos.baseline_empty(4 * MIB, 13_000, 9_300)).width == 13_000


def test_inspection_loads_no_decoder() -> None:
    code = "import sys, planespotter_photos; print({'PIL', 'numpy', 'rawpy', 'pillow_heif'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_limits_are_above_what_encoders_write() -> None:
    image = Image.effect_noise((1600, 1200), 60)
    for kind in ("PNG", "WEBP"):
        assert inspect_photo(encode(image, kind)).width == 1600
    assert inspect_photo(encode(image, "JPEG", progressive=True, quality=95)).width == 1600
    assert inspection.MAX_VISITED_BLOCKS > 8 * 80e6 / 64  # the usual script of 10 scans, of 80 megapixels


def test_estimated_time_tells_expensive_photos_from_ordinary_ones() -> None:
    ordinary = [encode(scene().resize((1600, 1200)), kind) for kind in ("JPEG", "PNG", "WEBP")]
    assert max(inspect_photo(data).seconds for data in ordinary) < 0.1
    expensive = ("PNG, RGBA", "WebP, lossy", "progressive JPEG of many pixels", "progressive JPEG of many scans")
    assert min(inspect_photo(hostile_photos.LARGEST[name]()).seconds for name in expensive) > 0.25
