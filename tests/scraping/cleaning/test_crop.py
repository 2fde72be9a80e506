"""Crop and stretch: caption bars and squashed photos, and their detection."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from planespotter_scraping.cleaning.crop import bar_height, can_crop, crop_and_stretch, suggest_crop, suggest_stretch


def scene(seed: int, size: tuple[int, int] = (300, 200)) -> Image.Image:
    random = np.random.default_rng(seed)
    noise = Image.fromarray(random.integers(0, 255, (12, 18, 3), np.uint8))
    return noise.resize(size, Image.Resampling.BICUBIC)


def with_bar(image: Image.Image, rows: int, color: str = "black") -> Image.Image:
    barred = Image.new("RGB", (image.width, image.height + rows), color)
    barred.paste(image, (0, 0))
    text = "white" if color == "black" else "black"
    ImageDraw.Draw(barred).text((8, image.height + rows / 2 - 6), "(c) A. Spotter, 2026", fill=text)
    return barred


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def gray(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L"), np.float32)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_jpeg_hardly_changes_above_the_crop(subsampling: int) -> None:
    original = saved(with_bar(scene(1), 20), "JPEG", quality=70, subsampling=subsampling)
    cropped = crop_and_stretch(original, 20)
    assert gray(cropped).shape == (200, 300)
    assert np.abs(gray(cropped) - gray(original)[:200]).mean() < 0.5
    assert len(cropped) < len(original)  # the quality is not raised


def test_a_png_does_not_change_above_the_crop() -> None:
    original = saved(with_bar(scene(2), 14), "PNG")
    assert (gray(crop_and_stretch(original, 14)) == gray(original)[:200]).all()


def test_other_formats_and_pixel_modes_are_cropped() -> None:
    for data, kind in [
        (saved(with_bar(scene(3), 10), "WEBP"), "WEBP"),
        (saved(with_bar(scene(3), 10).convert("L"), "JPEG"), "JPEG"),
        (saved(with_bar(scene(3), 10).convert("CMYK"), "JPEG"), "JPEG"),
        (saved(with_bar(scene(3), 10).convert("P"), "PNG"), "PNG"),
    ]:
        with Image.open(io.BytesIO(crop_and_stretch(data, 10))) as image:
            assert (image.format, image.size) == (kind, (300, 200))


def test_the_bottom_is_that_of_the_exif_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    exif[0x013B] = "A. Spotter"
    rotated = saved(with_bar(scene(4), 20).rotate(90, expand=True), "JPEG", exif=exif, quality=95)
    with Image.open(io.BytesIO(crop_and_stretch(rotated, 20))) as image:
        assert image.size == (300, 200)
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif()[0x013B] == "A. Spotter"
        assert np.abs(np.asarray(image.convert("L"), np.float32) - np.asarray(scene(4).convert("L"))).mean() < 2


@pytest.mark.parametrize(("rows", "color"), [(20, "black"), (14, "white"), (37, "black")])
def test_the_height_of_a_bar_is_measured(rows: int, color: str) -> None:
    for seed in range(6):
        data = saved(with_bar(scene(seed, (420, 280)), rows, color), "JPEG", quality=80)
        assert abs(bar_height(gray(data).astype(np.uint8)) - rows) <= 1


def test_skies_and_runways_are_not_bars() -> None:
    for seed in range(6):
        image = np.array(scene(seed).convert("L"))
        assert bar_height(image) == 0
        image[150:] = 120 + np.random.default_rng(seed).integers(0, 4, (50, 300))
        image[140:150] = np.linspace(image[139], image[150], 12)[1:-1]  # a soft edge, as of grass to a runway
        assert bar_height(image) == 0
    assert bar_height(np.full((200, 300), 90, np.uint8)) == 0
    assert bar_height(np.zeros((3, 3), np.uint8)) == 0


def test_a_crop_is_suggested_if_most_photos_of_a_source_have_a_bar(tmp_path: Path) -> None:
    paths = []
    for seed in range(20):
        image = with_bar(scene(seed), 20) if seed % 4 else scene(seed)
        paths.append(tmp_path / f"{seed}.jpg")
        paths[-1].write_bytes(saved(image, "JPEG", quality=85))
    paths[3].write_bytes(b"broken")
    assert abs(suggest_crop(paths) - 20) <= 1
    assert suggest_crop(paths[:8]) == 0  # too few photos
    assert suggest_crop([path for number, path in enumerate(paths) for _ in range(1 if number % 4 else 9)]) == 0


def test_an_image_is_not_cropped_by_more_than_half(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(scene(1, (60, 40)), "PNG"))
    assert can_crop(tmp_path / "a.png", 20)
    assert not can_crop(tmp_path / "a.png", 21)
    assert not can_crop(tmp_path / "nowhere.png", 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_squashed_photo_gets_its_shape_back(kind: str) -> None:
    original = scene(6)
    squashed = saved(original.resize((200, 200), Image.Resampling.LANCZOS), kind, quality=95)
    stretched = crop_and_stretch(squashed, factor=1.5)
    with Image.open(io.BytesIO(stretched)) as image:
        assert (image.format, image.size) == (kind, (300, 200))
    assert np.abs(gray(stretched) - np.asarray(original.convert("L"), np.float32)).mean() < 3


def test_stretching_is_suggested_for_squares_of_one_size_only() -> None:
    assert suggest_stretch([(200, 200)] * 14)
    assert not suggest_stretch([(200, 200)] * 5)
    assert not suggest_stretch([(300, 200)] * 14)
    assert not suggest_stretch([(200, 200), (220, 220)] * 7)
