"""From whatever a photo is given as to the bytes that are sent."""

import dataclasses
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from planespotter_client import InvalidRequestError, Limits, MissingDependencyError, PhotoReadError
from planespotter_client._image_inputs import read_photo, shrunk, size_to_send
from planespotter_models import decode_photo

LIMITS = Limits(**dict.fromkeys((field.name for field in dataclasses.fields(Limits)), 10**6))
SMALL = dataclasses.replace(LIMITS, max_photo_bytes=50_000)
INPUT = (64, 96)
TO_SEND = (128, 192)


def halves(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right, white along the top."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    image.paste("white", (0, 0, width, height // 4))
    return image


def as_file(image: Image.Image, file_format: str = "JPEG", orientation: int | None = None) -> bytes:
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    file = io.BytesIO()
    image.save(file, file_format, quality=95, exif=exif)
    return file.getvalue()


def difference(one: bytes, other: bytes) -> float:
    """How much two photos differ to the network: the mean over all values of 0 to 255."""
    seen = [decode_photo(data, *INPUT).astype(int) for data in (one, other)]
    return float(np.abs(seen[0] - seen[1]).mean())


def size(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "LA", "1", "I;16"])
def test_an_image_of_any_mode_is_sent_as_what_the_server_would_make_of_it(mode: str) -> None:
    grey = np.tile(np.linspace(0, 255, 90).astype(np.uint8), (60, 1))
    image = Image.fromarray(grey.astype(np.uint16) * 256) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    assert image.mode == mode
    file_format = {"CMYK": "TIFF"}.get(mode, "PNG")
    as_it_is = as_file(image.convert("RGB") if file_format == "TIFF" else image, "PNG")
    assert difference(read_photo(image, LIMITS), as_it_is) < 3


def test_what_is_transparent_stays_transparent() -> None:
    image = Image.new("RGBA", (90, 60), (255, 0, 0, 0))
    assert difference(read_photo(image, LIMITS), as_file(image, "PNG")) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_sent_upright_however_the_camera_was_held(orientation: int) -> None:
    data = as_file(halves(90, 60), orientation=orientation)
    sent = read_photo(Image.open(io.BytesIO(data)), LIMITS)
    assert Image.open(io.BytesIO(sent)).getexif().get(ExifTags.Base.Orientation, 1) == 1
    assert difference(sent, data) < 8


def test_an_array_is_red_green_and_blue_or_grey() -> None:
    array = np.asarray(halves(90, 60))
    assert difference(read_photo(array, LIMITS), as_file(halves(90, 60), "PNG")) < 5
    grey = np.full((60, 90), 200, np.uint8)
    for photo in (grey, grey[..., np.newaxis], np.asfortranarray(grey), grey[::-1]):
        assert np.abs(np.asarray(Image.open(io.BytesIO(read_photo(photo, LIMITS)))).astype(int) - 200).max() <= 1


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((60, 90, 3), np.float32),
        np.zeros((60, 90, 4), np.uint8),
        np.zeros((3, 60, 90), np.uint8),
        np.zeros(60, np.uint8),
        np.zeros((0, 90, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_an_array_that_is_no_photo_is_refused_with_its_shape(array: Any) -> None:
    with pytest.raises(InvalidRequestError, match="is of uint8 and of shape") as refused:
        read_photo(array, LIMITS, "7")
    assert (refused.value.reason, refused.value.photo_id) == ("ARRAY_UNSUPPORTED", "7")
    assert refused.value.metadata["shape"] == str(list(array.shape))


def test_what_to_do_with_an_array_is_said_where_that_is_known() -> None:
    photos: list[tuple[Any, str]] = [
        (np.zeros((60, 90, 3), np.float32), r"values from 0 to 1: \(255 \* array\)"),
        (np.zeros((60, 90, 4), np.uint8), r"transparent: array\[..., :3\]\.$"),
        (np.zeros((3, 60, 90), np.uint8), r"not of uint8 and \[3, 60, 90\]\.$"),
    ]
    for array, words in photos:
        with pytest.raises(InvalidRequestError, match=words):
            read_photo(array, LIMITS)


def test_a_file_that_is_open_as_text_is_told_how_to_be_opened(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(as_file(halves(90, 60)))
    with (
        (tmp_path / "photo.jpg").open(encoding="utf-8") as file,
        pytest.raises(TypeError, match=r"binary mode: open\(path, 'rb'\)"),
    ):
        read_photo(file, LIMITS)  # type: ignore[arg-type]


def test_an_empty_path_is_shown_as_one() -> None:
    with pytest.raises(PhotoReadError, match=r"The photo '' cannot be read: its path is empty\."):
        read_photo("", LIMITS)


def test_an_image_whose_file_is_damaged_is_unreadable() -> None:
    image = Image.open(io.BytesIO(as_file(halves(900, 600))[:2000]))
    with pytest.raises(PhotoReadError, match="cannot be encoded"):
        read_photo(image, LIMITS)


def test_without_pillow_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    for photo, shrink_to in ((np.zeros((60, 90, 3), np.uint8), None), (as_file, TO_SEND)):
        with pytest.raises(MissingDependencyError, match=r"which needs Pillow: pip install \"planespotter\[images\]\""):
            read_photo(b"" if callable(photo) else photo, LIMITS, shrink_to=shrink_to)


# Scaled down


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_large_photo_is_scaled_down_and_looks_the_same_to_the_network(file_format: str, orientation: int) -> None:
    data = as_file(halves(1200, 800), file_format, orientation)
    small = shrunk(data, TO_SEND)
    assert size(small) == ((192, 128) if orientation < 5 else (85, 128))
    assert len(small) < len(data)
    assert difference(small, data) < 5


@pytest.mark.slow
@given(width=st.integers(1, 900), height=st.integers(1, 900))
def test_no_photo_is_scaled_up_or_below_what_the_network_looks_at(width: int, height: int) -> None:
    data = as_file(Image.effect_noise((width, height), 60), "PNG")
    small = shrunk(data, TO_SEND)
    if small is data:
        return
    new = size(small)
    assert new[0] <= min(width, 192)
    assert new[1] <= min(height, 128)
    assert new[0] in (192, 191) or new[1] in (128, 127)


def test_a_photo_that_is_not_much_too_large_is_sent_as_it_is() -> None:
    data = as_file(halves(280, 190))
    assert shrunk(data, TO_SEND) is data


def test_what_pillow_cannot_read_is_sent_as_it_is(bad_photos: dict[str, tuple[bytes, str]]) -> None:
    for data, _ in bad_photos.values():
        assert shrunk(data, TO_SEND) is data


def test_a_photo_beyond_the_limit_is_scaled_down_below_it(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.effect_noise((600, 400), 60).save(path)
    assert path.stat().st_size > SMALL.max_photo_bytes
    for photo in (path, path.read_bytes(), io.BytesIO(path.read_bytes()), Image.open(path)):
        assert len(read_photo(photo, SMALL, shrink_to=TO_SEND)) < SMALL.max_photo_bytes
    with pytest.raises(InvalidRequestError, match="downscale=True"):
        read_photo(path, SMALL)


def test_a_server_that_does_not_say_what_it_looks_at_gets_photos_as_they_are() -> None:
    assert size_to_send((0, 0)) is None
    assert size_to_send(INPUT) == TO_SEND
