"""Find photos that look alike: the same picture in another size or quality, or two that differ by little.

A photo's grey 32 x 32 version is turned into frequencies (a DCT). The 64 lowest make its hash, one bit each: whether
it lies above their median (the usual "pHash"). Hashes are small, and pairs of close ones are quickly found. But they
know only the rough distribution of light, and every airliner from the side before a clear sky has the same one: among
4,000 photos of one airport, 3,398 pairs lie within 4 bits, and one of them is a picture that is there twice. So
a close hash makes two photos candidates, and the other frequencies, the detail, decide: their correlation.

Measured on 9,612 photos of airliners: copies in JPEG quality 20, of half the size, as WebP, in grey or squashed to a
square agree in 0.992 and more of their detail, other photos in 0.988 at most. A copy that was cropped by 2 % or made
much brighter agrees in 0.92 and more: that is not told from two aircraft of one airline at one place, and counts as
alike. Within 0.85 lie 271 pairs, in groups of at most 22 photos.
"""

import csv
import hashlib
import io
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from planespotter_scraping.atomic_write import replacing
from planespotter_scraping.images.validation import SUFFIXES, what_is_wrong

SIDE, LOW = 32, 8  # of the grey version, and of the square of its lowest frequencies
FLAT = 3.0  # grey levels of standard deviation; photos of airliners have 13 and more, pictures of one colour none

SAME_BITS, SAME_DETAIL = 4, 0.99  # the same picture: at most so many bits differ, and the detail agrees at least so
ALIKE_BITS, ALIKE_DETAIL = 10, 0.85  # alike: the same place and pose, often the same aircraft

CACHE = ".looks.csv"
CACHED = ("file", "size", "modified", "cut", "sha256", "width", "height", "contrast", "phash", "broken")

T = TypeVar("T")
Pairs = NDArray[np.int64]  # [n, 2], indices of photos, the lower one first


@dataclass(frozen=True)
class Look:
    """What a photo looks like. `broken` says what is wrong with a file that is no whole image; the rest is then 0."""

    sha256: str = ""
    width: int = 0
    height: int = 0
    contrast: float = 0.0  # the standard deviation of its grey levels, 0 to 255
    phash: str = ""  # 16 hexadecimal digits; "" for a picture of one colour, which has none
    broken: str = ""


def phash(data: bytes) -> str:
    """Return the hash of an image as 16 hexadecimal digits, "" if it is of one colour. Raises as Pillow does."""
    with Image.open(io.BytesIO(data)) as image:
        return _phash(_frequencies(_small(image, 0)))


def look_at(path: Path, cut: int = 0) -> Look:
    """Return what the image at `path` looks like without its lowest `cut` rows. Reads the whole file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return Look(broken=f"it cannot be read: {error.strerror}")
    try:
        with Image.open(io.BytesIO(data), formats=list(SUFFIXES)) as image:
            width, height = upright_size(image)
            small = _small(image, cut)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return Look(sha256=hashlib.sha256(data).hexdigest(), broken=what_is_wrong(data, error))
    contrast = float(small.std())
    return Look(hashlib.sha256(data).hexdigest(), width, height - cut, round(contrast, 2), _phash(_frequencies(small)))


def look_at_all(
    folder: Path, files: Mapping[str, int], progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Look]:
    """Return what each of `files` looks like: paths below `folder`, each with the rows to leave out at its bottom.

    What was found is kept in a file of `folder`, if that may be written to, and looked up there for images that
    have not changed since (by size and time). `progress` is called with the images done, and with all.
    """
    known = _read_cache(folder / CACHE)
    looks, stamps, todo = {}, {}, []
    for file, cut in files.items():
        with suppress(OSError):
            status = (folder / file).stat()
            stamps[file] = (str(status.st_size), str(status.st_mtime_ns), str(cut))
        key = (file, *stamps.get(file, ()))
        if key in known:
            looks[file] = known[key]
        else:
            todo.append(file)
    progress(len(looks), len(files))
    try:
        with closing(_in_threads(lambda file: look_at(folder / file, files[file]), todo)) as found:
            for file, look in zip(todo, found, strict=True):
                looks[file] = look
                progress(len(looks), len(files))
    finally:
        if todo:
            others = {key: look for key, look in known.items() if key[-1] != str(files.get(key[0], ""))}
            now = {(file, *stamps[file]): look for file, look in looks.items() if file in stamps}
            _write_cache(folder / CACHE, others | now)
    return {file: looks[file] for file in files}


def close_pairs(hashes: NDArray[np.uint64], bits: int) -> Pairs:
    """Return all pairs of `hashes` of which at most `bits` bits differ, in order.

    Of bits + 1 bands of a hash, one at least is the same in both: so only hashes that share a band are compared.
    """
    count, found = len(hashes), [np.empty(0, np.int64)]
    for low, high in pairwise(np.linspace(0, 64, bits + 2).astype(int).tolist()):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        edges = np.flatnonzero(np.diff(band[order])) + 1
        for start, end in pairwise([0, *edges.tolist(), count]):
            members = order[start:end]
            for block in range(0, len(members) - 1, 512):
                some = members[block : block + 512]
                near = np.bitwise_count(hashes[some][:, None] ^ hashes[members][None, block:]) <= bits
                first, second = np.nonzero(np.triu(near, 1))
                one, other = some[first], members[block + second]
                found.append(np.minimum(one, other) * count + np.maximum(one, other))
    keys = np.unique(np.concatenate(found))
    return np.stack([keys // max(count, 1), keys % max(count, 1)], axis=1)


def distances(hashes: NDArray[np.uint64], pairs: Pairs) -> NDArray[np.int64]:
    """Return how many bits differ in each pair."""
    return np.asarray(np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]), np.int64)


@dataclass(frozen=True)
class Alike:
    """Two photos that look alike: their indices, how many bits of the hash differ, and how far the detail agrees."""

    first: int
    second: int
    bits: int
    detail: float


def find_alike(
    folder: Path,
    files: Sequence[str],
    phashes: Sequence[str],
    *,
    bits: int = SAME_BITS,
    detail: float = SAME_DETAIL,
    cuts: Mapping[str, int] | None = None,
) -> list[Alike]:
    """Return the pairs of `files` that look alike: at most `bits` of their hash differ, and `detail` agrees.

    Photos whose hash is "" are like no other. Only the images of candidates are read.
    """
    hashed = [index for index, text in enumerate(phashes) if text]
    hashes = np.array([int(phashes[index], 16) for index in hashed], np.uint64)
    pairs = close_pairs(hashes, bits)
    needed = np.unique(pairs)
    place = np.zeros(len(hashes), np.int64)
    place[needed] = np.arange(len(needed))
    chosen = [files[hashed[index]] for index in needed]
    table = np.empty((len(needed), SIDE * SIDE), np.float16)  # 2 kB for each candidate
    with closing(_in_threads(lambda file: _detail_of(folder / file, (cuts or {}).get(file, 0)), chosen)) as details:
        for row, vector in zip(table, details, strict=True):
            row[:] = vector
    found = []
    for start in range(0, len(pairs), 4096):
        some = pairs[start : start + 4096]
        ones, others = (table[place[some[:, side]]].astype(np.float32) for side in (0, 1))
        agreement = np.einsum("ij,ij->i", ones, others)
        close = agreement >= detail
        for (one, other), differ, agreed in zip(
            some[close], distances(hashes, some[close]), agreement[close], strict=True
        ):
            found.append(Alike(hashed[one], hashed[other], int(differ), round(float(agreed), 3)))
    return found


def _in_threads(work: Callable[[str], T], items: Sequence[str]) -> Generator[T, None, None]:
    """Yield what `work` makes of each item, in order. Decoding lets other threads run, so all processors are used.

    When it is closed, as after Ctrl-C, what has not begun is not begun any more.
    """
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return a group number for each of `count` photos, such that the two of each pair share one. From 0, in order."""
    parents = list(range(count))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parents[high] = low
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(index), len(numbers)) for index in range(count)]


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an image as it is to be seen, which the camera may have noted beside it."""
    turned = image.getexif().get(0x0112, 1) >= 5
    return (image.height, image.width) if turned else image.size


def _small(image: Image.Image, cut: int) -> NDArray[np.float32]:
    """Return the grey version of an image without its lowest `cut` rows: [SIDE, SIDE], from 0 to 255."""
    _, height = upright_size(image)
    if not 0 <= cut < height:
        raise ValueError(f"{cut} rows cannot be cut from {height}")
    image.draft("L", (4 * SIDE, 4 * SIDE))  # JPEG: decodes a smaller version, which is quicker
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGBA").convert("RGB")
    grey = ImageOps.exif_transpose(image).convert("L")
    box = (0.0, 0.0, float(grey.width), grey.height * (1 - cut / height))
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box), np.float32)


def _dct_matrix() -> NDArray[np.float32]:
    """Return the orthonormal matrix of the DCT (type II): [frequency, position]."""
    steps = np.arange(SIDE)
    matrix = np.cos(np.pi / SIDE * (steps[None, :] + 0.5) * steps[:, None]) * np.sqrt(2 / SIDE)
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, np.float32)


DCT = _dct_matrix()


def _frequencies(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the frequencies of a grey version: [vertical, horizontal]. Those of one without contrast are all 0."""
    return np.asarray(DCT @ small @ DCT.T if small.std() >= FLAT else 0 * small, np.float32)


def _phash(frequencies: NDArray[np.float32]) -> str:
    """Return the hash of these frequencies, "" if they are all 0."""
    if not frequencies.any():
        return ""
    low = frequencies[:LOW, :LOW].ravel()
    return np.packbits(low > np.median(low)).tobytes().hex()


def _detail_of(path: Path, cut: int) -> NDArray[np.float32]:
    """Return the detail of an image, as a vector of length 1. All 0 if the image has none, or is gone."""
    try:
        with Image.open(path, formats=list(SUFFIXES)) as image:
            detail = _frequencies(_small(image, cut))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        detail = np.zeros((SIDE, SIDE), np.float32)
    detail[:LOW, :LOW] = 0
    return (detail / max(float(np.linalg.norm(detail)), 1e-6)).ravel()


def _read_cache(path: Path) -> dict[tuple[str, ...], Look]:
    """Return what is kept of images that were looked at, by file, size, time and cut; nothing if it cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return dict(_cached(csv.DictReader(handle)))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}


def _cached(rows: Iterable[Mapping[str, str]]) -> Iterator[tuple[tuple[str, ...], Look]]:
    for row in rows:
        look = Look(
            row["sha256"],
            int(row["width"]),
            int(row["height"]),
            float(row["contrast"]),
            f"{int(row['phash'], 16):016x}" if row["phash"] else "",
            row["broken"],
        )
        yield (row["file"], row["size"], row["modified"], row["cut"]), look


def _write_cache(path: Path, looks: Mapping[tuple[str, ...], Look]) -> None:
    """Keep what was found, if the folder may be written to: it is there for speed only."""
    with (
        suppress(OSError, UnicodeEncodeError),
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as handle,
    ):
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(CACHED)
        for key, look in looks.items():
            writer.writerow([*key, look.sha256, look.width, look.height, look.contrast, look.phash, look.broken])
