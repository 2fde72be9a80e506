"""Preprocessing: decode an image file to the pixels that the network takes, the same way in training and serving."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from planespotter_photos.errors import ExpensivePhotoError, undecodable
from planespotter_photos.inspection import DEFAULT_MAX_DECODED_BYTES, DEFAULT_MAX_PIXELS, inspect_photo
from planespotter_photos.reading import SWAPPING_ORIENTATIONS, TRANSPOSE_BY_ORIENTATION, open_photo

PADDING = (124, 117, 104)
"""RGB mean of ImageNet, on which the trunk is centered: padding in this color is close to zero for the network."""

BAND_PIXELS = 1 << 20
"""A large photo is converted to RGB and reduced in bands of about this many pixels, which bounds the memory."""


def decode_photo(
    data: bytes,
    height: int,
    width: int,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    max_decoded_bytes: int = DEFAULT_MAX_DECODED_BYTES,
    max_seconds: float = math.inf,
) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP file to the input of the network.

    The photo is made upright by its EXIF orientation, scaled to fit, and centered on a background in the mean color:
    the aspect ratio of the aircraft does not change.

    Args:
        data: Content of the file.
        height: Height of the output in pixels.
        width: Width of the output in pixels.
        max_pixels: Limit on the number of pixels of the photo, checked before any is decoded.
        max_decoded_bytes: Limit on the memory for the pixels of a photo that cannot be decoded at a reduced size,
            likewise.
        max_seconds: Limit on the estimated processor time in seconds, likewise.

    Returns:
        uint8 RGB [height, width, 3].

    Raises:
        PhotoError: PHOTO_EMPTY, PHOTO_FORMAT_UNSUPPORTED, PHOTO_TOO_LARGE or PHOTO_UNDECODABLE.
        ExpensivePhotoError: The photo is within the other limits, but above `max_seconds`.
    """
    photo = inspect_photo(data, max_pixels, max_decoded_bytes)
    if photo.seconds > max_seconds:
        raise ExpensivePhotoError(photo.seconds)
    image = open_photo(photo)
    try:
        return _fit(image, photo.orientation, height, width)
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, zlib.error... for damaged files
        raise undecodable(len(data)) from error


def _fit(image: ImageFile.ImageFile, orientation: int, height: int, width: int) -> NDArray[np.uint8]:
    swapped = orientation in SWAPPING_ORIENTATIONS
    upright = image.size[::-1] if swapped else image.size
    scale = min(width / upright[0], height / upright[1])
    fitted = (max(1, round(upright[0] * scale)), max(1, round(upright[1] * scale)))
    stored = fitted[::-1] if swapped else fitted
    # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, which is much faster. Twice the target size keeps it sharp.
    image.draft("RGB", (2 * stored[0], 2 * stored[1]))
    rgb = _to_rgb(image, max(1, min(image.width // (2 * stored[0]), image.height // (2 * stored[1]))))
    if orientation in TRANSPOSE_BY_ORIENTATION:
        rgb = rgb.transpose(TRANSPOSE_BY_ORIENTATION[orientation])
    canvas = Image.new("RGB", (width, height), PADDING)
    canvas.paste(rgb.resize(fitted, Image.Resampling.BILINEAR), ((width - fitted[0]) // 2, (height - fitted[1]) // 2))
    return np.asarray(canvas)


def _to_rgb(image: Image.Image, factor: int) -> Image.Image:
    """Return an image in RGB; a large one with both sides divided by `factor`."""
    rows = factor * max(1, BAND_PIXELS // (image.width * factor))
    if factor == 1 or image.height <= rows:
        return _opaque(image)
    reduced = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        reduced.paste(_opaque(band).reduce(factor), (0, top // factor))
    return reduced


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grayscale: Pillow would clip values above 255
        image = Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        background = Image.new("RGBA", rgba.size, (*PADDING, 255))
        background.alpha_composite(rgba)
        image = background
    return image if image.mode == "RGB" else image.convert("RGB")  # convert() copies
