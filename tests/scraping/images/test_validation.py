"""Image validation: incomplete files and other formats are rejected with the reason."""

import io

import pytest
from PIL import Image
from scripts import hostile_photos

from planespotter_scraping.images import validation
from planespotter_scraping.images.similarity import phash, validate_and_hash


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), "navy").save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_complete_image_has_a_format_and_a_size(kind: str) -> None:
    assert validate_and_hash(encoded(kind)) == (kind, 60, 40, "")  # one color has no hash


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"\n<!doctype html><p>Not found", "not an image, but a web page"),
        (b"No such photo.", "not an image, but text that begins with 'No such photo.'"),
        (b"\xff\xd8\xff", "not a complete image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "not a complete image"),
        (b"GIF89a\x01\x00\x01\x00\x80\x00\x00", "it is a GIF image, not a JPEG, PNG or WebP image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", r"it is a HEIC photo \(iPhone\), not a JPEG"),
        (b"\x01\x02\x03\xfe", "it is not an image, but a file of an unknown format"),
        (hostile_photos.progressive_scans(8000), "too many blocks in its scans"),
        (encoded("JPEG")[:400], "not a complete image"),
    ],
)
def test_anything_else_is_rejected_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        validate_and_hash(data)


def test_an_image_above_the_limits_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("PNG")
    monkeypatch.setattr(validation, "IMAGE_PIXELS", 60 * 40 - 1)
    with pytest.raises(ValueError, match="60 x 40 = 2,400 pixels; the limit is 2,399"):
        validate_and_hash(data)
    monkeypatch.setattr(validation, "IMAGE_BYTES", len(data) - 1)
    with pytest.raises(ValueError, match=f"{len(data)} bytes, limit {len(data) - 1}"):
        validate_and_hash(data)


def test_photo_of_a_camera_with_120_megapixels_is_accepted() -> None:
    image = hostile_photos.baseline_empty(4 << 20, 12_640, 9_500)
    assert validate_and_hash(image)[:3] == ("JPEG", 12_640, 9_500)


def test_hash_of_a_validated_image_is_the_perceptual_hash() -> None:
    file = io.BytesIO()
    Image.radial_gradient("L").resize((300, 200)).convert("RGB").save(file, "JPEG")
    assert validate_and_hash(file.getvalue())[3] == phash(file.getvalue()) != ""
