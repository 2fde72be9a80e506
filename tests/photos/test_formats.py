"""Photo formats: recognized by content and suffix, and counted by name."""

from collections import Counter

import pytest
from tests.photos.photo_files import dng, encode, heic, scene

from planespotter_photos import formats
from planespotter_photos.formats import AVIF, BMP, GIF, HEIC, JPEG, PNG, RAW, TIFF, WEBP, PhotoFormat


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (encode(scene(), "JPEG"), "", JPEG),
        (encode(scene(), "PNG"), "photo.jpg", PNG),
        (encode(scene(), "WEBP"), "", WEBP),
        (encode(scene(), "GIF"), "", GIF),
        (encode(scene(), "BMP"), "", BMP),
        (encode(scene(), "TIFF"), "", TIFF),
        (encode(scene(), "TIFF"), "scan.tif", TIFF),
        (encode(scene(), "TIFF"), "DSC_1.NEF", RAW),
        (encode(scene(), "AVIF"), "", AVIF),
        (heic(scene()), "photo.jpg", HEIC),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "", AVIF),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "", RAW),
        (b"II*\0\x10\0\0\0CR\2\0", "", RAW),
        (b"FUJIFILMCCD-RAW 0201", "", RAW),
        (dng(scene()), "", RAW),
    ],
)
def test_format_is_recognized_by_content(data: bytes, name: str, expected: PhotoFormat) -> None:
    assert formats.sniff(data, name) is expected
    assert formats.sniff(data[: formats.HEAD_BYTES], name or "x.dng") in (expected, RAW)


@pytest.mark.parametrize(
    ("data", "description"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC photo (iPhone)"),
        (b"\xff\x0a" + bytes(20), "a JPEG XL photo"),
        (b"  <!DOCTYPE html><html>", "a web page"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a video"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "a metadata file of macOS"),
        (b"this is not a photo\n", "text"),
        (b"\x01\x02\x03\xfe", "a file of an unknown format"),
    ],
)
def test_file_that_is_not_a_photo_is_described(data: bytes, description: str) -> None:
    assert formats.describe(data) == description


def test_suffixes_are_unique_and_in_lower_case() -> None:
    suffixes = [
        suffix for kind in (*formats.NATIVE, *formats.CONVERTIBLE, *formats.UNSUPPORTED) for suffix in kind.suffixes
    ]
    assert len(suffixes) == len(set(suffixes)) == len(formats.BY_SUFFIX)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in suffixes)


def test_suffixes_that_can_be_read_depend_on_the_installed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {".jfif", ".jpe", ".heic", ".nef", ".tif", ".avif"} <= formats.readable_suffixes()
    assert ".jxl" not in formats.readable_suffixes()
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    assert formats.readable_suffixes() == formats.NATIVE_SUFFIXES
    assert formats.missing_packages(["HEIC"])
    assert not formats.missing_packages(["JPEG XL"])


def test_unread_files_are_counted_by_name() -> None:
    files = ["a.NEF"] * 5 + ["b.HEIC"] * 8 + ["c.tif", "d.tiff", "e.TIFF", "f.tif", "notes.txt"]
    counts = Counter(name for name in map(formats.name_of, files) if name)
    assert formats.summarize_unread(counts) == "17 files in formats that are not read: 8 HEIC, 5 NEF, 4 TIFF"
