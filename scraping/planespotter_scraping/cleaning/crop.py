"""Cut the bar with the photographer's name or a site's own from the bottom of images, at their native size."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import get_sampling

from planespotter_scraping.images.similarity import upright_size
from planespotter_scraping.images.validation import SUFFIXES

LOOKED_AT = 40  # photos of a source, in search of a bar
MOST_OF_THEM = 0.6  # that have a bar of the same height make it a rule of the source
FEWEST = 12  # with fewer photos, what they share may be chance


def room_for(path: Path, rows: int) -> int:
    """Return `rows` if at least half of the image at `path` would stay, else 0; 0 too if it is no image."""
    try:
        with Image.open(path, formats=list(SUFFIXES)) as image:
            return rows if upright_size(image)[1] >= 2 * rows else 0
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 0


def cut_bottom(data: bytes, rows: int) -> bytes:
    """Return an image without its lowest `rows` rows, in the same format.

    A JPEG is written with the tables that it was written with before. Its blocks begin at the top left and so stay
    where they were: next to nothing changes in them. Notes of the camera and colour profiles are kept.
    """
    with Image.open(io.BytesIO(data), formats=list(SUFFIXES)) as image:
        upright = ImageOps.exif_transpose(image)
        kept = upright.crop((0, 0, upright.width, upright.height - rows))
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
        kept.save(file, str(image.format), **options)
        return file.getvalue()


def suggest(paths: Sequence[Path]) -> int:
    """Return the height of the bar that most of a source's photos end with, in rows; 0 if they have none."""
    if len(paths) < FEWEST:
        return 0
    chosen = paths[:: max(1, len(paths) // LOOKED_AT)][:LOOKED_AT]
    heights = Counter(filter(None, map(_bar_of, chosen)))
    if not heights:
        return 0
    usual, _ = heights.most_common(1)[0]
    near = {height: count for height, count in heights.items() if abs(height - usual) <= 1}
    if sum(near.values()) < MOST_OF_THEM * len(chosen):
        return 0
    # A bar in a picture that was made smaller may end within a row: take the whole of it.
    return max(height for height, count in near.items() if count >= 0.1 * len(chosen))


def _bar_of(path: Path) -> int:
    """Return the height of the bar at the bottom of the image at `path`; 0 if there is none, or no image."""
    try:
        with Image.open(path, formats=list(SUFFIXES)) as image:
            return bar_height(np.asarray(ImageOps.exif_transpose(image).convert("L")))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 0


def bar_height(grey: NDArray[np.uint8]) -> int:
    """Return the height of a bar at the bottom of a grey image [height, width], in rows; 0 if there is none.

    A bar is a strip of one colour, but for the text on it, that begins with an edge across the whole width. A runway
    or a sky may be of one colour too, but ends in no such edge.
    """
    height = len(grey)
    lowest = grey[height - height // 4 :].astype(np.int16)
    if len(lowest) < 8:
        return 0
    edges = (np.abs(np.diff(lowest, axis=0)) > 12).mean(axis=1)[:-3]  # bars of fewer than 4 rows are none
    row = int(np.argmax(edges)) + 1
    bar = lowest[row + 1 :]  # the row at the edge is a mixture
    is_bar = edges[row - 1] >= 0.6 and bool((np.abs(bar - np.median(bar)) <= 12).mean() >= 0.6)
    return len(lowest) - row if is_bar else 0
