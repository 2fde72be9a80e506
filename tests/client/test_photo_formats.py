"""Photo formats: what the SDK, the command and the page do with photos of phones, cameras and scanners."""

import dataclasses
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image
from scripts import hostile_photos
from tests.client.classify.command import run

from planespotter_client import AsyncPlaneSpotter, Limits, PhotoReadError, PlaneSpotter
from planespotter_client._image_inputs import Photo, read_photo
from planespotter_client.classify import file_discovery
from planespotter_photos import formats

LIMITS = Limits(**dict.fromkeys((field.name for field in dataclasses.fields(Limits)), 10**6))
Paint = Callable[[str], bytes]
TOO_LARGE = hostile_photos.flat_png(16_000, 10_100, 1, 0)
"""A small file with more pixels than a server accepts."""
PAGE = Path(__file__).parents[2] / "client" / "planespotter_client" / "web" / "page"


def noise() -> Image.Image:
    """Return an image that takes more than the limit as a BMP or TIFF, and less as a JPEG."""
    return Image.effect_noise((900, 600), 20).convert("RGB")


def as_file(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(file)
    else:
        image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["AVIF", "BMP", "GIF", "HEIC", "TIFF"])
def test_photo_in_another_format_is_sent_as_jpeg(kind: str, tmp_path: Path) -> None:
    data = as_file(noise(), kind)
    path = tmp_path / "IMG_0001.JPG"  # phones and programs rename them
    path.write_bytes(data)
    photos: list[Photo] = [path, data, io.BytesIO(data)]
    for photo in photos:
        sent = read_photo(photo, LIMITS)
        assert formats.sniff(sent) is formats.JPEG
        with Image.open(io.BytesIO(sent)) as image:
            assert image.size == (900, 600)


def test_photo_whose_decoder_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(
        PhotoReadError, match=r"IMG_1.HEIC is a HEIC photo \(iPhone\), .* pip install '.*\[formats\]'"
    ) as caught:
        read_photo(as_file(noise(), "HEIC"), LIMITS, "IMG_1.HEIC")
    assert caught.value.reason == "PHOTO_FORMAT_UNSUPPORTED"


def test_damaged_raw_photo_is_named(tmp_path: Path) -> None:
    path = tmp_path / "DSC_1.NEF"
    path.write_bytes(b"MM\0*" + bytes(3000))
    with pytest.raises(PhotoReadError, match="a raw photo of a camera that cannot be decoded"):
        read_photo(path, LIMITS, str(path))


def test_photo_above_the_limit_of_pixels_is_downscaled() -> None:
    sent = read_photo(TOO_LARGE, LIMITS, downscale_to=(128, 192))
    with Image.open(io.BytesIO(sent)) as image:
        assert image.width == 192


async def test_heic_photo_is_classified(address: str, paint: Paint) -> None:
    photo = as_file(Image.open(io.BytesIO(paint("A320neo"))), "HEIC")
    with PlaneSpotter(address) as spotter:
        assert spotter.classify(photo).name
    async with AsyncPlaneSpotter(address) as spotter:
        assert (await spotter.classify(photo)).name


def test_error_of_the_sdk_names_its_parameter(address: str) -> None:
    with (
        PlaneSpotter(address) as spotter,
        pytest.raises(Exception, match="Scale it down, or let the client do so: downscale=True"),
    ):
        spotter.classify(TOO_LARGE)


# Folders


@pytest.fixture
def mixed(tmp_path: Path, paint: Paint) -> Path:
    """A folder with two photos that are read by any installation, and others."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("a.jpg", "b.JFIF"):
        (folder / name).write_bytes(paint("A320neo"))
    for name in ("1.HEIC", "2.heic", "3.jxl", "notes.txt", "video.mp4"):
        (folder / name).write_bytes(b"x")
    (folder / "4.heif").write_bytes(as_file(noise(), "HEIC"))
    return folder


def test_photos_in_formats_that_are_not_read_are_counted(
    address: str, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    file_discovery.readable_suffixes.cache_clear()
    try:
        code = run(mixed, "--server", address, "--out", tmp_path / "out.csv")
    finally:
        file_discovery.readable_suffixes.cache_clear()
    assert code == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert "4 files in formats that are not read: 3 HEIC, 1 JPEG XL. To read more of them: pip install" in shown
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


def test_error_of_the_command_names_its_option(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "large.png").write_bytes(TOO_LARGE)
    code = run(tmp_path / "large.png", "--server", address)
    shown = " ".join(capsys.readouterr().err.split())
    assert code == 3
    assert "Scale it down, or add --downscale." in shown
    assert run(tmp_path / "large.png", "--server", address, "--downscale") == 0


def test_page_offers_every_format_that_the_program_reads() -> None:
    pattern = re.search(
        r'RegExp\("(.+?)", "i"\)', re.sub(r'"\s*\+ "', "", (PAGE / "file_input.js").read_text()), re.DOTALL
    )
    assert pattern
    suffixes = {f".{name}" for name in re.findall(r"\w+", pattern[1].replace("\\\\.", ""))}
    assert suffixes == {suffix for kind in (*formats.NATIVE, *formats.CONVERTIBLE) for suffix in kind.suffixes}


def test_client_loads_no_decoder_for_a_jpeg() -> None:
    code = (
        "import sys, dataclasses; from planespotter_client import Limits; "
        "from planespotter_client._image_inputs import read_photo; "
        "read_photo(b'\\xff\\xd8\\xff', Limits(*[10**6] * len(dataclasses.fields(Limits)))); "
        "print({'PIL.Image', 'numpy', 'rawpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
