"""Image inputs: what is sent for paths, bytes, files, PIL images and arrays."""

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
from planespotter_client._image_inputs import downscale_target, downscaled, read_photo
from planespotter_models import decode_photo

LIMITS = Limits(**dict.fromkeys((field.name for field in dataclasses.fields(Limits)), 10**6))
SMALL = dataclasses.replace(LIMITS, max_photo_bytes=50_000)
INPUT = (64, 96)
TARGET = (128, 192)


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


def difference(first: bytes, second: bytes) -> float:
    """Mean absolute difference of two photos in the network's input, from 0 to 255."""
    seen = [decode_photo(data, *INPUT).astype(int) for data in (first, second)]
    return float(np.abs(seen[0] - seen[1]).mean())


def size(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "LA", "1", "I;16"])
def test_image_of_any_mode_is_encoded_as_the_server_would_convert_it(mode: str) -> None:
    grey = np.tile(np.linspace(0, 255, 90).astype(np.uint8), (60, 1))
    image = Image.fromarray(grey.astype(np.uint16) * 256) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    assert image.mode == mode
    file_format = {"CMYK": "TIFF"}.get(mode, "PNG")
    as_it_is = as_file(image.convert("RGB") if file_format == "TIFF" else image, "PNG")
    assert difference(read_photo(image, LIMITS), as_it_is) < 3


def test_transparency_is_preserved() -> None:
    image = Image.new("RGBA", (90, 60), (255, 0, 0, 0))
    assert difference(read_photo(image, LIMITS), as_file(image, "PNG")) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_is_sent_upright_for_every_exif_orientation(orientation: int) -> None:
    data = as_file(halves(90, 60), orientation=orientation)
    sent = read_photo(Image.open(io.BytesIO(data)), LIMITS)
    assert Image.open(io.BytesIO(sent)).getexif().get(ExifTags.Base.Orientation, 1) == 1
    assert difference(sent, data) < 8


def test_array_is_rgb_or_grayscale() -> None:
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
def test_array_that_is_not_a_photo_is_rejected_with_its_shape(array: Any) -> None:
    with pytest.raises(InvalidRequestError, match="It must be uint8 of shape") as raised:
        read_photo(array, LIMITS, "7")
    assert (raised.value.reason, raised.value.photo_id) == ("ARRAY_UNSUPPORTED", "7")
    assert raised.value.metadata["shape"] == str(list(array.shape))


def test_error_of_an_array_has_a_fix_if_one_is_known() -> None:
    photos: list[tuple[Any, str]] = [
        (np.zeros((60, 90, 3), np.float32), r"values from 0 to 1: \(255 \* array\)"),
        (np.zeros((60, 90, 4), np.uint8), r"alpha channel: array\[..., :3\]\.$"),
        (np.zeros((3, 60, 90), np.uint8), r"uint8 of shape \[3, 60, 90\]\. .* \(grayscale\)\.$"),
    ]
    for array, words in photos:
        with pytest.raises(InvalidRequestError, match=words):
            read_photo(array, LIMITS)


def test_file_in_text_mode_is_a_type_error_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(as_file(halves(90, 60)))
    with (
        (tmp_path / "photo.jpg").open(encoding="utf-8") as file,
        pytest.raises(TypeError, match=r"binary mode: open\(path, 'rb'\)"),
    ):
        read_photo(file, LIMITS)  # type: ignore[arg-type]


def test_empty_path_is_quoted() -> None:
    with pytest.raises(PhotoReadError, match=r"The photo '' cannot be read: the path is empty\."):
        read_photo("", LIMITS)


def test_truncated_pil_image_is_a_photo_read_error() -> None:
    image = Image.open(io.BytesIO(as_file(halves(900, 600))[:2000]))
    with pytest.raises(PhotoReadError, match="cannot be encoded"):
        read_photo(image, LIMITS)


def test_missing_pillow_is_a_missing_dependency_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    for photo, downscale_to in ((np.zeros((60, 90, 3), np.uint8), None), (as_file, TARGET)):
        with pytest.raises(MissingDependencyError, match=r"which needs Pillow: pip install '.*\[images\]'"):
            read_photo(b"" if callable(photo) else photo, LIMITS, downscale_to=downscale_to)


# Downscaling


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_downscaled_photo_looks_the_same_to_the_network(file_format: str, orientation: int) -> None:
    data = as_file(halves(1200, 800), file_format, orientation)
    small = downscaled(data, TARGET)
    assert size(small) == ((192, 128) if orientation < 5 else (85, 128))
    assert len(small) < len(data)
    assert difference(small, data) < 5


@pytest.mark.slow
@given(width=st.integers(1, 900), height=st.integers(1, 900))
def test_photo_is_never_upscaled_or_downscaled_below_the_target(width: int, height: int) -> None:
    data = as_file(Image.effect_noise((width, height), 60), "PNG")
    small = downscaled(data, TARGET)
    if small is data:
        return
    new = size(small)
    assert new[0] <= min(width, 192)
    assert new[1] <= min(height, 128)
    assert new[0] in (192, 191) or new[1] in (128, 127)


def test_slightly_larger_photo_is_sent_unchanged() -> None:
    data = as_file(halves(280, 190))
    assert downscaled(data, TARGET) is data


def test_unreadable_photo_is_sent_unchanged(bad_photos: dict[str, tuple[bytes, str]]) -> None:
    for data, _ in bad_photos.values():
        assert downscaled(data, TARGET) is data


def test_photo_above_the_limit_is_downscaled_below_it(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.effect_noise((600, 400), 60).save(path)
    assert path.stat().st_size > SMALL.max_photo_bytes
    for photo in (path, path.read_bytes(), io.BytesIO(path.read_bytes()), Image.open(path)):
        assert len(read_photo(photo, SMALL, downscale_to=TARGET)) < SMALL.max_photo_bytes
    with pytest.raises(InvalidRequestError, match="downscale=True"):
        read_photo(path, SMALL)


def test_unknown_input_size_disables_downscaling() -> None:
    assert downscale_target((0, 0)) is None
    assert downscale_target(INPUT) == TARGET
