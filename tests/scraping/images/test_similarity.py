"""What photos look like: copies in another size or quality are found, and other photos are not taken for them."""

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
from planespotter_scraping.images.similarity import Look, close_pairs, find_alike, groups, look_at, look_at_all, phash

PHOTOS = Path(__file__).parents[3] / ".." / "shared" / "photos"


def scene(seed: int, size: tuple[int, int] = (300, 200)) -> Image.Image:
    """Draw something with the softness and the detail of a photo, another thing for each seed."""
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


def turned(image: Image.Image) -> bytes:
    """Return the picture stored lying on its side, with the note of a camera that it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(image.rotate(90, expand=True), exif=exif)


def store(folder: Path, **images: bytes) -> list[str]:
    for name, data in images.items():
        (folder / f"{name}.jpg").write_bytes(data)
    return [f"{name}.jpg" for name in images]


def pairs_of(folder: Path, files: list[str], **options: float) -> set[tuple[str, str]]:
    found = find_alike(folder, files, [look_at(folder / file).phash for file in files], **options)  # type: ignore[arg-type]
    return {(files[pair.first], files[pair.second]) for pair in found}


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "in a low quality": lambda image: jpeg(image, 25),
    "of half the size": lambda image: jpeg(image.resize((150, 100), Image.Resampling.LANCZOS)),
    "of twice the size": lambda image: jpeg(image.resize((600, 400), Image.Resampling.BICUBIC), 70),
    "squashed to a square": lambda image: jpeg(image.resize((192, 192))),
    "as PNG": as_png,
    "in grey": lambda image: jpeg(ImageOps.grayscale(image)),
    "turned by a note": turned,
    "a little brighter": lambda image: jpeg(image.point(lambda value: int(min(255, value * 1.05 + 4)))),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("seed", range(3))
def test_a_copy_is_found(tmp_path: Path, how: str, seed: int) -> None:
    files = store(tmp_path, original=jpeg(scene(seed)), copy=COPIES[how](scene(seed)), other=jpeg(scene(seed + 100)))
    assert pairs_of(tmp_path, files) == {("original.jpg", "copy.jpg")}


def test_a_close_hash_alone_makes_no_duplicates(tmp_path: Path) -> None:
    # Two scenes under the same light: their low frequencies agree, and their details do not.
    sky = scene(1).filter(ImageFilter.GaussianBlur(20))
    files = store(tmp_path, one=jpeg(Image.blend(sky, scene(2), 0.04)), two=jpeg(Image.blend(sky, scene(3), 0.04)))
    hashes = np.array([int(look_at(tmp_path / file).phash, 16) for file in files], np.uint64)
    assert len(close_pairs(hashes, similarity.SAME_BITS)) == 1
    assert pairs_of(tmp_path, files) == set()


def test_photos_of_one_place_are_alike_and_no_duplicates(tmp_path: Path) -> None:
    image = scene(5)
    moved = image.crop((4, 2, 300, 200)).resize(image.size)
    files = store(tmp_path, one=jpeg(image), two=jpeg(moved), three=jpeg(scene(6)))
    assert pairs_of(tmp_path, files) == set()
    assert pairs_of(tmp_path, files, bits=similarity.ALIKE_BITS, detail=similarity.ALIKE_DETAIL) == {
        ("one.jpg", "two.jpg")
    }


def test_pictures_of_one_colour_have_no_hash_and_are_like_no_other(tmp_path: Path) -> None:
    flat = [jpeg(Image.new("RGB", (80, 60), colour)) for colour in ("white", "white", "navy")]
    assert [phash(data) for data in flat] == ["", "", ""]
    files = store(tmp_path, a=flat[0], b=flat[1], c=flat[2])
    assert pairs_of(tmp_path, files) == set()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixels_has_a_hash(mode: str) -> None:
    file = io.BytesIO()
    scene(3).convert("L" if mode == "I;16" else "RGB").convert(mode).save(file, "TIFF" if mode == "CMYK" else "PNG")
    assert len(phash(file.getvalue())) == 16


def test_the_rows_at_the_bottom_can_be_left_out(tmp_path: Path) -> None:
    image = scene(4)
    with_bar = Image.new("RGB", (300, 220), "black")
    with_bar.paste(image, (0, 0))
    files = store(tmp_path, plain=jpeg(image), barred=jpeg(with_bar))
    assert pairs_of(tmp_path, files) == set()
    look = look_at(tmp_path / "barred.jpg", cut=20)
    assert (look.width, look.height) == (300, 200)
    found = find_alike(tmp_path, files, [look_at(tmp_path / "plain.jpg").phash, look.phash], cuts={"barred.jpg": 20})
    assert [(pair.first, pair.second) for pair in found] == [(0, 1)]


def test_a_look_tells_the_upright_size_and_what_is_broken(tmp_path: Path) -> None:
    whole = jpeg(scene(1))
    store(tmp_path, whole=whole, turned=turned(scene(1)), short=whole[:-300], text=b"<html>", empty=b"")
    assert (look_at(tmp_path / "whole.jpg").width, look_at(tmp_path / "whole.jpg").height) == (300, 200)
    assert (look_at(tmp_path / "turned.jpg").width, look_at(tmp_path / "turned.jpg").height) == (300, 200)
    for name, words in {
        "short": "not a whole image",
        "text": "not a whole image",
        "empty": "the file is empty",
        "nowhere": "cannot be read: No such file",
    }.items():
        assert words in look_at(tmp_path / f"{name}.jpg").broken


def test_what_was_seen_is_kept_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = dict.fromkeys(store(tmp_path, a=jpeg(scene(1)), b=b"broken"), 0)
    steps: list[tuple[int, int]] = []
    first = look_at_all(tmp_path, files, lambda done, total: steps.append((done, total)))
    assert steps[-1] == (2, 2)
    seen: list[Path] = []

    def watched(path: Path, cut: int = 0) -> Look:
        seen.append(path)
        return look_at(path, cut)

    monkeypatch.setattr(similarity, "look_at", watched)
    assert look_at_all(tmp_path, files) == first
    assert seen == []
    assert look_at_all(tmp_path, {"a.jpg": 10})["a.jpg"].height == 190
    (tmp_path / "b.jpg").write_bytes(jpeg(scene(2)))
    assert look_at_all(tmp_path, files)["b.jpg"].broken == ""
    assert [path.name for path in seen] == ["a.jpg", "b.jpg"]
    (tmp_path / similarity.CACHE).write_text("file,nonsense\na.jpg,x\n")
    assert look_at_all(tmp_path, files)["a.jpg"] == first["a.jpg"]


def test_an_interrupted_look_ends_soon_and_keeps_what_it_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = dict.fromkeys(store(tmp_path, **{f"p{number}": jpeg(scene(1)) for number in range(200)}), 0)
    seen: list[Path] = []
    cancelled = threading.Event()

    def watched(path: Path, cut: int = 0) -> Look:
        seen.append(path)
        if len(seen) > 20:
            assert cancelled.wait(300)
        return look_at(path, cut)

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            cancelled.set()
            super().shutdown(wait=wait)

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(similarity, "look_at", watched)
    with monkeypatch.context() as patch:
        patch.setattr(similarity, "ThreadPoolExecutor", lambda _: Pool(3))
        with pytest.raises(KeyboardInterrupt):
            look_at_all(tmp_path, files, interrupt)
    before = len(seen)
    assert before <= 20 + 3, "what had not begun was not begun any more"
    assert len(look_at_all(tmp_path, files)) == 200
    assert len(seen) == before + 195


@settings(max_examples=60)
@given(
    centres=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4),
    flips=st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(0, 63), max_size=8)), max_size=25),
    bits=st.integers(0, 12),
)
def test_all_close_pairs_are_found_and_no_others(
    centres: list[int], flips: list[tuple[int, set[int]]], bits: int
) -> None:
    values = [*centres, *(centres[i % len(centres)] ^ sum(1 << bit for bit in changed) for i, changed in flips)]
    expected = {(i, j) for i, j in combinations(range(len(values)), 2) if (values[i] ^ values[j]).bit_count() <= bits}
    hashes = np.array(values, np.uint64)
    found = close_pairs(hashes, bits)
    assert {(int(i), int(j)) for i, j in found} == expected
    assert similarity.distances(hashes, found).tolist() == [(values[i] ^ values[j]).bit_count() for i, j in found]


def test_no_photos_have_no_pairs(tmp_path: Path) -> None:
    assert close_pairs(np.empty(0, np.uint64), 4).shape == (0, 2)
    assert find_alike(tmp_path, [], []) == []


def test_groups_join_all_that_hang_together() -> None:
    assert groups(7, [(1, 4), (5, 2), (4, 6)]) == [0, 1, 2, 3, 1, 2, 1]
    assert groups(0, []) == []


def test_among_real_photos_the_copies_are_found_and_sister_aircraft_are_not() -> None:
    if not PHOTOS.exists():
        pytest.skip("the real photographs are not on this machine")
    names = ["las/las-boeing2017", "las/las-boeing2016", "las/las-boeing1610", "las/las-boeing1688"]
    names += ["jet/jet-A320-dfa67da55c", "mix/mix-train-Airbus_A320-civil_35", "las/las-boeing53", "las/las-boeing43"]
    files = [f"images/{name}.jpg" for name in names]
    assert pairs_of(PHOTOS, files) == {(files[0], files[1]), (files[4], files[5])}
