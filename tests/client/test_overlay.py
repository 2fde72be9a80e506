"""A heat map drawn over its photo, for a notebook or a report."""

import io
from pathlib import Path

import pytest
from PIL import Image

from planespotter_client import HeatMap, PhotoReadError

LEFT_HALF = HeatMap(((255, 255, 0, 0), (255, 255, 0, 0)))
BLUE = (10, 20, 200)


def photo(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), BLUE)


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def color(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    pixel = image.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel


def test_heat_is_drawn_where_the_network_saw_it() -> None:
    image = LEFT_HALF.overlay(photo(400, 200))
    assert (image.mode, image.size) == ("RGB", (400, 200))
    assert color(image, 20, 100)[0] > 150, "orange"
    assert color(image, 380, 100) == BLUE


@pytest.mark.parametrize(("width", "height"), [(200, 200), (400, 100)])
def test_a_photo_of_another_shape_is_centered_as_in_the_input_of_the_network(width: int, height: int) -> None:
    image = LEFT_HALF.overlay(photo(width, height))
    assert image.size == (width, height)
    assert color(image, width // 4, height // 2)[0] > 150
    assert color(image, 3 * width // 4, height // 2) == BLUE


def test_a_photo_has_no_heat_from_the_padding_around_it() -> None:
    edge = HeatMap(((255, 0, 0, 255),))  # the photo is in the two cells in the middle
    assert color(edge.overlay(photo(100, 50)), 50, 25) == BLUE


def test_paths_bytes_and_photos_on_their_side_are_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate to the right
    data = jpeg(photo(200, 400), exif=exif)
    (tmp_path / "photo.jpg").write_bytes(data)
    for source in (data, tmp_path / "photo.jpg", str(tmp_path / "photo.jpg")):
        assert LEFT_HALF.overlay(source).size == (400, 200)


def test_a_photo_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotoReadError, match=r"none\.jpg cannot be read: No such file"):
        LEFT_HALF.overlay(tmp_path / "none.jpg")
    with pytest.raises(PhotoReadError, match=r"damaged|format"):
        LEFT_HALF.overlay(b"\xff\xd8\xff damaged")
