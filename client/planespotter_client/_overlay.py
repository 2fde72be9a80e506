"""Overlay of a heat map on its photo, as an image to look at."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planespotter_client._errors import MissingDependencyError, PhotoReadError
from planespotter_client._extras import install_command
from planespotter_photos import PhotoError, inspect_photo

if TYPE_CHECKING:
    from PIL import Image

MAX_OPACITY = 190
"""Opacity of the strongest cell, 0 to 255, so that the photo shows through."""


def overlay(cells: Sequence[Sequence[int]], photo: Any) -> "Image.Image":
    """Draw a heat map over its photo, from transparent to orange.

    Args:
        cells: Rows of cells from 0 to 255. They cover the input of the network, in which the photo is centered.
        photo: Path or bytes of a JPEG, PNG or WebP file, or a PIL image.

    Returns:
        RGB image of the size of the upright photo.

    Raises:
        MissingDependencyError: Pillow is not installed.
        PhotoReadError: The photo cannot be read.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"A heat map is drawn on a photo by Pillow: {install_command('images')}.", reason="PILLOW_MISSING"
        ) from error
    image = (ImageOps.exif_transpose(photo) if isinstance(photo, Image.Image) else _open(photo)).convert("RGB")
    rows, columns = len(cells), len(cells[0])
    # The smallest area with the aspect ratio of the network's input that holds the centered photo.
    width = max(image.width, round(image.height * columns / rows))
    height = max(image.height, round(image.width * rows / columns))
    heat = Image.frombytes("L", (columns, rows), bytes(cell for row in cells for cell in row))
    left, top = (width - image.width) // 2, (height - image.height) // 2
    box = (left, top, left + image.width, top + image.height)
    heat = heat.resize((width, height), Image.Resampling.BICUBIC).crop(box)
    full, none = (Image.new("L", image.size, value) for value in (255, 0))
    color = Image.merge("RGB", (full, heat.point([level * 230 // 255 for level in range(256)]), none))
    opacity = heat.point([round(MAX_OPACITY * (level / 255) ** 1.5) for level in range(256)])
    return Image.composite(color, image, opacity)


def _open(photo: Any) -> "Image.Image":
    """Return the upright image in a file, given its path or its bytes."""
    from planespotter_photos.reading import TRANSPOSE_BY_ORIENTATION, open_photo

    try:
        data = Path(photo).read_bytes() if isinstance(photo, str | os.PathLike) else bytes(photo)
        inspected = inspect_photo(data)
        image = open_photo(inspected)
        image.load()
    except PhotoError as error:
        raise PhotoReadError(str(error), reason=error.reason, metadata=error.metadata) from error
    except OSError as error:
        raise PhotoReadError(
            f"The photo {photo if isinstance(photo, str | os.PathLike) else ''} cannot be read: "
            f"{error.strerror or error}.",
            reason="PHOTO_UNREADABLE",
        ) from error
    transpose = TRANSPOSE_BY_ORIENTATION.get(inspected.orientation)
    return image if transpose is None else image.transpose(transpose)
