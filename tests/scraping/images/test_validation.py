"""Image validation: incomplete files and other formats are rejected with the reason."""

import io

import pytest
from PIL import Image

from planespotter_scraping.images import validation


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), "navy").save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_complete_image_has_a_format_and_a_size(kind: str) -> None:
    assert validation.validate_image(encoded(kind)) == (kind, 60, 40)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"\n<!doctype html><p>Not found", "not an image, but a web page"),
        (b"No such photo.", "not an image, but text that begins with 'No such photo.'"),
        (b"\xff\xd8\xff", "not a JPEG, PNG or WebP image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "not a JPEG, PNG or WebP image"),
        (b"GIF89a\x01\x00\x01\x00\x80\x00\x00", "not a JPEG, PNG or WebP image"),
        (encoded("JPEG")[:400], "not a complete image"),
    ],
)
def test_anything_else_is_rejected_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        validation.validate_image(data)


def test_an_image_above_the_limits_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("PNG")
    monkeypatch.setattr(validation, "IMAGE_PIXELS", 60 * 40 - 1)
    with pytest.raises(ValueError, match="60 x 40 pixels, limit 2399"):
        validation.validate_image(data)
    monkeypatch.setattr(validation, "IMAGE_BYTES", len(data) - 1)
    with pytest.raises(ValueError, match=f"{len(data)} bytes, limit {len(data) - 1}"):
        validation.validate_image(data)
