"""Near-duplicate search: perceptual hash (pHash) for candidates, correlation of the detail to confirm them.

The perceptual hash comes from the DCT of the image's 32 x 32 grayscale version: one bit for each of the 64 lowest
frequencies, set if the coefficient lies above their median. Pairs of hashes with a small Hamming distance are found
quickly, but such a hash holds only the coarse distribution of light, and every airliner in side view before a clear sky
has the same one: among 4,000 photos of one airport, 3,398 pairs are within 4 bits, and only one of them is the same
picture. So a small Hamming distance makes two photos candidates, and the correlation of the remaining frequencies, the
detail, confirms them.

Measured on 9,612 photos of airliners: copies that are recompressed at JPEG quality 20, scaled to half the size, saved
as WebP, in grayscale or squashed to a square correlate at 0.992 and more, different photos at 0.988 and less. A copy
that is cropped by 2 % or much brighter correlates at 0.92 and more, as do two aircraft of one airline at one place: the
looser thresholds for groups cover these. They select 271 pairs, in groups of at most 22 photos.
"""

import csv
import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from planespotter_scraping.atomic_write import atomic_write
from planespotter_scraping.images.validation import (
    DECODE_ERRORS,
    ORIENTATION,
    describe_error,
    open_image,
    validate_image,
)

SIDE, LOW = 32, 8  # sides of the grayscale version and of the square of its lowest frequencies
MIN_CONTRAST = 3.0  # standard deviation of the gray levels; photos of airliners have 13 and more

MAX_HAMMING, MIN_CORRELATION = 4, 0.99  # near duplicates: the same picture
GROUP_MAX_HAMMING, GROUP_MIN_CORRELATION = 10, 0.85  # groups: the same place and pose, often the same aircraft

CACHE = ".phash_cache.csv"
CACHED = ("file", "size", "modified", "crop", "sha256", "width", "height", "contrast", "phash", "broken")

T = TypeVar("T")
Pairs = NDArray[np.int64]  # [n, 2], indices of photos, the lower one first


@dataclass(frozen=True)
class ImageScan:
    """What one pass over an image file yields.

    Attributes:
        sha256: Hash of the file, "" if it cannot be read.
        width: Width in pixels, in the EXIF orientation and without the cropped rows; 0 if broken.
        height: Height in pixels, likewise.
        contrast: Standard deviation of the gray levels, 0 to 255.
        phash: Perceptual hash, 16 hexadecimal digits; "" if the image is a uniform color.
        broken: Why the file is not a complete image; "" if it is one.
    """

    sha256: str = ""
    width: int = 0
    height: int = 0
    contrast: float = 0.0
    phash: str = ""
    broken: str = ""


def phash(data: bytes) -> str:
    """Return the perceptual hash of an encoded image.

    Returns:
        16 hexadecimal digits; "" if the image is a uniform color.

    Raises:
        PhotoError: If it is damaged, in another format or beyond a limit. Pillow raises OSError, SyntaxError and
            ValueError as well.
    """
    with open_image(data) as image:
        return _hash_image(image)


def validate_and_hash(data: bytes) -> tuple[str, int, int, str]:
    """Validate an image and return its perceptual hash, in one pass over its data.

    Returns:
        Format ("JPEG", "PNG" or "WEBP"), width and height in pixels, and the hash as `phash` returns it.

    Raises:
        ValueError: If the image is too large, incomplete or in another format. The text states the reason.
    """
    return validate_image(data, _hash_image)


def _hash_image(image: Image.Image) -> str:
    return _phash(_dct(_grayscale(image, 0)))


def scan_image(path: Path, crop: int = 0) -> ImageScan:
    """Read an image file and return its hashes, size and contrast.

    Args:
        path: Image file. One that is missing or broken yields a scan whose `broken` states the reason.
        crop: Rows to cut from the bottom before hashing.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        return ImageScan(broken=f"it cannot be read: {error.strerror}")
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        with open_image(data) as image:
            width, height = oriented_size(image)
            gray = _grayscale(image, crop)
    except DECODE_ERRORS as error:
        return ImageScan(sha256=sha256, broken=describe_error(data, error))
    return ImageScan(sha256, width, height - crop, round(float(gray.std()), 2), _phash(_dct(gray)))


def scan_images(
    folder: Path, crops: Mapping[str, int], progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, ImageScan]:
    """Scan images in parallel, with a cache in `folder`.

    The cache is keyed by path, size, modification time and crop. It is not written if `folder` is read-only.

    Args:
        folder: Folder of the catalog.
        crops: Paths relative to `folder`, each with the rows to cut from its bottom.
        progress: Called with the numbers of images scanned and in all.

    Returns:
        The scan of each path, in the order of `crops`.
    """
    cached = _read_cache(folder / CACHE)
    scans, stamps, todo = {}, {}, []
    for file, crop in crops.items():
        with suppress(OSError):
            status = (folder / file).stat()
            stamps[file] = (str(status.st_size), str(status.st_mtime_ns), str(crop))
        key = (file, *stamps.get(file, ()))
        if key in cached:
            scans[file] = cached[key]
        else:
            todo.append(file)
    progress(len(scans), len(crops))
    try:
        with closing(parallel_map(lambda file: scan_image(folder / file, crops[file]), todo)) as results:
            for file, scan in zip(todo, results, strict=True):
                scans[file] = scan
                progress(len(scans), len(crops))
    finally:
        if todo:
            unaffected = {key: scan for key, scan in cached.items() if key[-1] != str(crops.get(key[0], ""))}
            current = {(file, *stamps[file]): scan for file, scan in scans.items() if file in stamps}
            _write_cache(folder / CACHE, unaffected | current)
    return {file: scans[file] for file in crops}


def hamming_pairs(hashes: NDArray[np.uint64], max_hamming: int) -> Pairs:
    """Return all pairs of hashes within a Hamming distance, by multi-index hashing.

    Two hashes that differ in at most `max_hamming` bits agree in at least one of `max_hamming` + 1 bands, so only
    hashes that share a band are compared.

    Args:
        hashes: 64-bit hashes, [n].
        max_hamming: Maximum number of differing bits.

    Returns:
        Indices of the pairs, [m, 2], sorted, the lower index first.
    """
    count, keys = len(hashes), [np.empty(0, np.int64)]
    for low, high in pairwise(np.linspace(0, 64, max_hamming + 2).astype(int).tolist()):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        edges = np.flatnonzero(np.diff(band[order])) + 1
        for start, end in pairwise([0, *edges.tolist(), count]):
            members = order[start:end]
            for block in range(0, len(members) - 1, 512):
                rows = members[block : block + 512]
                near = np.bitwise_count(hashes[rows][:, None] ^ hashes[members][None, block:]) <= max_hamming
                row, column = np.nonzero(np.triu(near, 1))
                left, right = rows[row], members[block + column]
                keys.append(np.minimum(left, right) * count + np.maximum(left, right))
    unique = np.unique(np.concatenate(keys))
    return np.stack([unique // max(count, 1), unique % max(count, 1)], axis=1)


def hamming_distances(hashes: NDArray[np.uint64], pairs: Pairs) -> NDArray[np.int64]:
    """Return the number of differing bits of each pair, [m]."""
    return np.asarray(np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]), np.int64)


@dataclass(frozen=True)
class NearDuplicate:
    """A pair of photos: their indices, the Hamming distance of their hashes, and the correlation of their detail."""

    first: int
    second: int
    hamming: int
    correlation: float


def find_near_duplicates(
    folder: Path,
    files: Sequence[str],
    phashes: Sequence[str],
    *,
    max_hamming: int = MAX_HAMMING,
    min_correlation: float = MIN_CORRELATION,
    crops: Mapping[str, int] | None = None,
) -> list[NearDuplicate]:
    """Find the pairs of photos with close perceptual hashes and correlated detail.

    Only the images of candidates are read.

    Args:
        folder: Folder of the catalog.
        files: Images, relative to `folder`.
        phashes: Perceptual hash of each of `files`; one of "" has no near duplicates.
        max_hamming: Maximum Hamming distance, 0 to 64 bits.
        min_correlation: Minimum correlation of the detail, 0 to 1.
        crops: Rows to cut from the bottom, by file.

    Returns:
        The pairs, as indices into `files`.
    """
    hashed = [index for index, text in enumerate(phashes) if text]
    hashes = np.array([int(phashes[index], 16) for index in hashed], np.uint64)
    pairs = hamming_pairs(hashes, max_hamming)
    candidates = np.unique(pairs)
    row_of = np.zeros(len(hashes), np.int64)
    row_of[candidates] = np.arange(len(candidates))
    images = [files[hashed[index]] for index in candidates]
    table = np.empty((len(candidates), SIDE * SIDE), np.float16)  # 2 kB for each candidate
    with closing(parallel_map(lambda file: _detail_of(folder / file, (crops or {}).get(file, 0)), images)) as details:
        for row, vector in zip(table, details, strict=True):
            row[:] = vector
    duplicates = []
    for start in range(0, len(pairs), 4096):
        chunk = pairs[start : start + 4096]
        left, right = (table[row_of[chunk[:, side]]].astype(np.float32) for side in (0, 1))
        correlations = np.einsum("ij,ij->i", left, right)
        close = correlations >= min_correlation
        for (first, second), hamming, correlation in zip(
            chunk[close], hamming_distances(hashes, chunk[close]), correlations[close], strict=True
        ):
            duplicates.append(NearDuplicate(hashed[first], hashed[second], int(hamming), round(float(correlation), 3)))
    return duplicates


def parallel_map(work: Callable[[str], T], items: Sequence[str]) -> Generator[T, None, None]:
    """Yield `work` of each item, in order, from a thread pool: Pillow releases the GIL while it decodes.

    At most a few results per core wait to be consumed. Closing the generator, as after Ctrl-C, cancels items that have
    not started.
    """
    threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[T]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > 4 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def connected_components(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Group items that are connected by pairs, directly or not (union-find).

    Args:
        count: Number of items.
        pairs: Indices of connected items.

    Returns:
        A group number for each item, counted from 0 in the order of the items.
    """
    parents = list(range(count))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parents[high] = low
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(index), len(numbers)) for index in range(count)]


def oriented_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an image in its EXIF orientation."""
    rotated = image.getexif().get(ORIENTATION, 1) >= 5
    return (image.height, image.width) if rotated else image.size


def _grayscale(image: Image.Image, crop: int) -> NDArray[np.float32]:
    """Return the grayscale version of an image without its lowest `crop` rows: [SIDE, SIDE], from 0 to 255."""
    _, height = oriented_size(image)
    if not 0 <= crop < height:
        raise ValueError(f"{crop} rows cannot be cut from {height}")
    image.draft("L", (4 * SIDE, 4 * SIDE))  # JPEG: decode at a reduced scale, which is faster
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGBA").convert("RGB")
    gray = ImageOps.exif_transpose(image).convert("L")
    box = (0.0, 0.0, float(gray.width), gray.height * (1 - crop / height))
    return np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box), np.float32)


def _dct_matrix() -> NDArray[np.float32]:
    """Return the orthonormal matrix of the DCT (type II): [frequency, position]."""
    steps = np.arange(SIDE)
    matrix = np.cos(np.pi / SIDE * (steps[None, :] + 0.5) * steps[:, None]) * np.sqrt(2 / SIDE)
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, np.float32)


DCT = _dct_matrix()


def _dct(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the DCT coefficients of a grayscale version, [vertical, horizontal]; all 0 below MIN_CONTRAST."""
    return np.asarray(DCT @ gray @ DCT.T if gray.std() >= MIN_CONTRAST else 0 * gray, np.float32)


def _phash(coefficients: NDArray[np.float32]) -> str:
    """Return the perceptual hash of DCT coefficients, "" if they are all 0."""
    if not coefficients.any():
        return ""
    low = coefficients[:LOW, :LOW].ravel()
    return np.packbits(low > np.median(low)).tobytes().hex()


def _detail_of(path: Path, crop: int) -> NDArray[np.float32]:
    """Return the high frequencies of an image as a unit vector; all 0 if it has none or cannot be read."""
    try:
        with open_image(path.read_bytes()) as image:
            detail = _dct(_grayscale(image, crop))
    except DECODE_ERRORS:
        detail = np.zeros((SIDE, SIDE), np.float32)
    detail[:LOW, :LOW] = 0
    return (detail / max(float(np.linalg.norm(detail)), 1e-6)).ravel()


def _read_cache(path: Path) -> dict[tuple[str, ...], ImageScan]:
    """Return the cached scans by file, size, modification time and crop; empty if the cache cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return dict(_parse_cache(csv.DictReader(handle)))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}


def _parse_cache(rows: Iterable[Mapping[str, str]]) -> Iterator[tuple[tuple[str, ...], ImageScan]]:
    for row in rows:
        scan = ImageScan(
            row["sha256"],
            int(row["width"]),
            int(row["height"]),
            float(row["contrast"]),
            f"{int(row['phash'], 16):016x}" if row["phash"] else "",
            row["broken"],
        )
        yield (row["file"], row["size"], row["modified"], row["crop"]), scan


def _write_cache(path: Path, scans: Mapping[tuple[str, ...], ImageScan]) -> None:
    """Write the cache, if the folder is writable."""
    with (
        suppress(OSError, UnicodeEncodeError),
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as handle,
    ):
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(CACHED)
        for key, scan in scans.items():
            writer.writerow([*key, scan.sha256, scan.width, scan.height, scan.contrast, scan.phash, scan.broken])
