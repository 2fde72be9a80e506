"""Crop and stretch: caption bars at the bottom of a source's images, and photos that a data set squashed to squares."""

import io
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import get_sampling

from planespotter_scraping.images.similarity import oriented_size
from planespotter_scraping.images.validation import DECODE_ERRORS, open_image

SAMPLE_SIZE = 40  # photos of a source that are searched for a bar
MIN_SHARE = 0.6  # of them must have a bar of the same height
MIN_PHOTOS = 12  # of a source; in fewer, the same height may be chance


def can_crop(path: Path, rows: int) -> bool:
    """Return whether at least half of an image remains after cropping `rows`; False if it is not an image."""
    try:
        with open_image(path.read_bytes()) as image:
            return oriented_size(image)[1] >= 2 * rows
    except DECODE_ERRORS:
        return False


def crop_and_stretch(data: bytes, rows: int = 0, factor: float = 1.0) -> bytes:
    """Crop an image at the bottom, and widen the rest.

    A JPEG is encoded with its own quantization tables. Its blocks start at the top left and keep their positions, so
    the pixels of a cropped image hardly change. EXIF data and color profiles are kept.

    Args:
        data: Encoded image.
        rows: Rows to crop, in the EXIF orientation.
        factor: Factor to widen it by.

    Returns:
        The image in the same format.
    """
    with open_image(data, with_metadata=True) as image:
        upright = ImageOps.exif_transpose(image)
        edited = upright.crop((0, 0, upright.width, upright.height - rows))
        if factor != 1:
            edited = edited.resize((round(edited.width * factor), edited.height), Image.Resampling.LANCZOS)
        options: dict[str, Any] = {"icc_profile": image.info.get("icc_profile")}
        if exif := upright.getexif().tobytes():
            options["exif"] = exif
        if image.format == "JPEG":
            options["qtables"] = image.quantization  # type: ignore[attr-defined]
            if (sampling := get_sampling(image)) >= 0:
                options["subsampling"] = sampling
        elif image.format == "WEBP":
            options["quality"] = 95
        file = io.BytesIO()
        edited.save(file, str(image.format), **options)
        return file.getvalue()


def suggest_crop(paths: Sequence[Path]) -> int:
    """Return the height in rows of the bar at the bottom of most of a source's photos; 0 if there is none."""
    if len(paths) < MIN_PHOTOS:
        return 0
    chosen = paths[:: max(1, len(paths) // SAMPLE_SIZE)][:SAMPLE_SIZE]
    heights = Counter(filter(None, map(_bar_of, chosen)))
    if not heights:
        return 0
    usual, _ = heights.most_common(1)[0]
    near = {height: count for height, count in heights.items() if abs(height - usual) <= 1}
    if sum(near.values()) < MIN_SHARE * len(chosen):
        return 0
    # In a scaled picture, a bar may end within a row: include that row.
    return max(height for height, count in near.items() if count >= 0.1 * len(chosen))


def suggest_stretch(sizes: Collection[tuple[int, int]]) -> bool:
    """Return whether the photos of a source seem to have been squashed to squares: all have one size, a square."""
    different = set(sizes)
    return len(sizes) >= MIN_PHOTOS and len(different) == 1 and len(set(*different)) == 1


def _bar_of(path: Path) -> int:
    """Return the height of the bar at the bottom of an image; 0 if there is none, or if it is not an image."""
    try:
        with open_image(path.read_bytes()) as image:
            return bar_height(np.asarray(ImageOps.exif_transpose(image).convert("L")))
    except DECODE_ERRORS:
        return 0


def bar_height(gray: NDArray[np.uint8]) -> int:
    """Measure the bar at the bottom of an image.

    A bar is a strip of one color, except for its text, that starts with an edge across the full width. A runway or a
    sky may be of one color too, but does not start with such an edge.

    Args:
        gray: Gray levels, [height, width].

    Returns:
        Height in rows; 0 if there is no bar.
    """
    height = len(gray)
    lowest = gray[height - height // 4 :].astype(np.int16)
    if len(lowest) < 8:
        return 0
    edges = (np.abs(np.diff(lowest, axis=0)) > 12).mean(axis=1)[:-3]  # a bar has at least 4 rows
    row = int(np.argmax(edges)) + 1
    bar = lowest[row + 1 :]  # the row at the edge mixes both sides
    is_bar = edges[row - 1] >= 0.6 and bool((np.abs(bar - np.median(bar)) <= 12).mean() >= 0.6)
    return len(lowest) - row if is_bar else 0
