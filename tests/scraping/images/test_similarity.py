"""Near-duplicate search: copies in another size or quality are found, different photos are not."""

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps

from planespotter_scraping.images import similarity
from planespotter_scraping.images.similarity import (
    ImageScan,
    connected_components,
    find_near_duplicates,
    hamming_pairs,
    phash,
    scan_image,
    scan_images,
)

PHOTOS = Path(__file__).parents[3] / ".." / "shared" / "photos"


def scene(seed: int, size: tuple[int, int] = (300, 200)) -> Image.Image:
    """Draw a picture with the frequencies of a photo; each seed yields a different one."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 255, (6, 9, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    fine = Image.fromarray(random.integers(0, 255, (24, 36, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return Image.blend(coarse, fine, 0.4)


def jpeg(image: Image.Image, quality: int = 90, exif: Image.Exif | None = None) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, exif=exif or Image.Exif())
    return file.getvalue()


def as_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def rotated(image: Image.Image) -> bytes:
    """Return the picture rotated by 90 degrees, with the EXIF orientation that undoes it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(image.rotate(90, expand=True), exif=exif)


def store(folder: Path, **images: bytes) -> list[str]:
    for name, data in images.items():
        (folder / f"{name}.jpg").write_bytes(data)
    return [f"{name}.jpg" for name in images]


def pairs_of(folder: Path, files: list[str], **options: float) -> set[tuple[str, str]]:
    pairs = find_near_duplicates(folder, files, [scan_image(folder / file).phash for file in files], **options)  # type: ignore[arg-type]
    return {(files[pair.first], files[pair.second]) for pair in pairs}


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "at low quality": lambda image: jpeg(image, 25),
    "at half the size": lambda image: jpeg(image.resize((150, 100), Image.Resampling.LANCZOS)),
    "at twice the size": lambda image: jpeg(image.resize((600, 400), Image.Resampling.BICUBIC), 70),
    "squashed to a square": lambda image: jpeg(image.resize((192, 192))),
    "as PNG": as_png,
    "in grayscale": lambda image: jpeg(ImageOps.grayscale(image)),
    "rotated by EXIF": rotated,
    "a little brighter": lambda image: jpeg(image.point(lambda value: int(min(255, value * 1.05 + 4)))),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("seed", range(3))
def test_a_copy_is_a_near_duplicate(tmp_path: Path, how: str, seed: int) -> None:
    files = store(tmp_path, original=jpeg(scene(seed)), copy=COPIES[how](scene(seed)), other=jpeg(scene(seed + 100)))
    assert pairs_of(tmp_path, files) == {("original.jpg", "copy.jpg")}


def test_a_close_hash_alone_does_not_make_a_near_duplicate(tmp_path: Path) -> None:
    # Two scenes in the same light: the low frequencies agree, the detail does not.
    sky = scene(1).filter(ImageFilter.GaussianBlur(20))
    files = store(tmp_path, first=jpeg(Image.blend(sky, scene(2), 0.04)), second=jpeg(Image.blend(sky, scene(3), 0.04)))
    hashes = np.array([int(scan_image(tmp_path / file).phash, 16) for file in files], np.uint64)
    assert len(hamming_pairs(hashes, similarity.MAX_HAMMING)) == 1
    assert pairs_of(tmp_path, files) == set()


def test_photos_of_one_place_share_a_group_but_are_not_near_duplicates(tmp_path: Path) -> None:
    image = scene(5)
    moved = image.crop((4, 2, 300, 200)).resize(image.size)
    files = store(tmp_path, first=jpeg(image), second=jpeg(moved), third=jpeg(scene(6)))
    assert pairs_of(tmp_path, files) == set()
    assert pairs_of(
        tmp_path, files, max_hamming=similarity.GROUP_MAX_HAMMING, min_correlation=similarity.GROUP_MIN_CORRELATION
    ) == {("first.jpg", "second.jpg")}


def test_uniform_images_have_no_hash_and_no_near_duplicates(tmp_path: Path) -> None:
    flat = [jpeg(Image.new("RGB", (80, 60), color)) for color in ("white", "white", "navy")]
    assert [phash(data) for data in flat] == ["", "", ""]
    files = store(tmp_path, a=flat[0], b=flat[1], c=flat[2])
    assert pairs_of(tmp_path, files) == set()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_pixel_mode_has_a_hash(mode: str) -> None:
    file = io.BytesIO()
    scene(3).convert("L" if mode == "I;16" else "RGB").convert(mode).save(file, "JPEG" if mode == "CMYK" else "PNG")
    assert len(phash(file.getvalue())) == 16


def test_a_caption_bar_can_be_cropped_before_hashing(tmp_path: Path) -> None:
    image = scene(4)
    with_bar = Image.new("RGB", (300, 220), "black")
    with_bar.paste(image, (0, 0))
    files = store(tmp_path, plain=jpeg(image), captioned=jpeg(with_bar))
    assert pairs_of(tmp_path, files) == set()
    scan = scan_image(tmp_path / "captioned.jpg", crop=20)
    assert (scan.width, scan.height) == (300, 200)
    pairs = find_near_duplicates(
        tmp_path, files, [scan_image(tmp_path / "plain.jpg").phash, scan.phash], crops={"captioned.jpg": 20}
    )
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1)]


def test_a_scan_has_the_oriented_size_or_the_reason_why_an_image_is_broken(tmp_path: Path) -> None:
    complete = jpeg(scene(1))
    store(tmp_path, complete=complete, rotated=rotated(scene(1)), short=complete[:-300], text=b"<html>", empty=b"")
    assert (scan_image(tmp_path / "complete.jpg").width, scan_image(tmp_path / "complete.jpg").height) == (300, 200)
    assert (scan_image(tmp_path / "rotated.jpg").width, scan_image(tmp_path / "rotated.jpg").height) == (300, 200)
    for name, words in {
        "short": "not a complete image",
        "text": "not an image, but a web page",
        "empty": "the file is empty",
        "nowhere": "cannot be read: No such file",
    }.items():
        assert words in scan_image(tmp_path / f"{name}.jpg").broken


def test_scans_are_cached_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = dict.fromkeys(store(tmp_path, a=jpeg(scene(1)), b=b"broken"), 0)
    steps: list[tuple[int, int]] = []
    first = scan_images(tmp_path, files, lambda done, total: steps.append((done, total)))
    assert steps[-1] == (2, 2)
    scanned: list[Path] = []

    def recorded(path: Path, cut: int = 0) -> ImageScan:
        scanned.append(path)
        return scan_image(path, cut)

    monkeypatch.setattr(similarity, "scan_image", recorded)
    assert scan_images(tmp_path, files) == first
    assert scanned == []
    assert scan_images(tmp_path, {"a.jpg": 10})["a.jpg"].height == 190
    (tmp_path / "b.jpg").write_bytes(jpeg(scene(2)))
    assert scan_images(tmp_path, files)["b.jpg"].broken == ""
    assert [path.name for path in scanned] == ["a.jpg", "b.jpg"]
    (tmp_path / similarity.CACHE).write_text("file,nonsense\na.jpg,x\n")
    assert scan_images(tmp_path, files)["a.jpg"] == first["a.jpg"]


def test_an_interrupted_scan_ends_soon_and_caches_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = dict.fromkeys(store(tmp_path, **{f"p{number}": jpeg(scene(1)) for number in range(200)}), 0)
    scanned: list[Path] = []
    cancelled = threading.Event()

    def recorded(path: Path, cut: int = 0) -> ImageScan:
        scanned.append(path)
        if len(scanned) > 20:
            assert cancelled.wait(300)
        return scan_image(path, cut)

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            cancelled.set()
            super().shutdown(wait=wait)

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(similarity, "scan_image", recorded)
    with monkeypatch.context() as patch:
        patch.setattr(similarity, "ThreadPoolExecutor", lambda _: Pool(3))
        with pytest.raises(KeyboardInterrupt):
            scan_images(tmp_path, files, interrupt)
    interrupted_at = len(scanned)
    assert interrupted_at <= 20 + 3, "queued scans are cancelled"
    assert len(scan_images(tmp_path, files)) == 200
    assert len(scanned) == interrupted_at + 195


@settings(max_examples=60)
@given(
    centres=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4),
    flips=st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(0, 63), max_size=8)), max_size=25),
    bits=st.integers(0, 12),
)
def test_hamming_pairs_are_exactly_those_within_the_distance(
    centres: list[int], flips: list[tuple[int, set[int]]], bits: int
) -> None:
    values = [*centres, *(centres[i % len(centres)] ^ sum(1 << bit for bit in changed) for i, changed in flips)]
    expected = {(i, j) for i, j in combinations(range(len(values)), 2) if (values[i] ^ values[j]).bit_count() <= bits}
    hashes = np.array(values, np.uint64)
    pairs = hamming_pairs(hashes, bits)
    assert {(int(i), int(j)) for i, j in pairs} == expected
    assert similarity.hamming_distances(hashes, pairs).tolist() == [
        (values[i] ^ values[j]).bit_count() for i, j in pairs
    ]


def test_an_empty_catalog_has_no_pairs(tmp_path: Path) -> None:
    assert hamming_pairs(np.empty(0, np.uint64), 4).shape == (0, 2)
    assert find_near_duplicates(tmp_path, [], []) == []


def test_connected_components_join_pairs_transitively() -> None:
    assert connected_components(7, [(1, 4), (5, 2), (4, 6)]) == [0, 1, 2, 3, 1, 2, 1]
    assert connected_components(0, []) == []


def test_real_copies_are_near_duplicates_and_sister_aircraft_are_not() -> None:
    if not PHOTOS.exists():
        pytest.skip("the photo catalog is not on this machine")
    names = ["las/las-boeing2017", "las/las-boeing2016", "las/las-boeing1610", "las/las-boeing1688"]
    names += ["jet/jet-A320-dfa67da55c", "mix/mix-train-Airbus_A320-civil_35", "las/las-boeing53", "las/las-boeing43"]
    files = [f"images/{name}.jpg" for name in names]
    assert pairs_of(PHOTOS, files) == {(files[0], files[1]), (files[4], files[5])}
