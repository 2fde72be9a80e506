"""Image validation: accept only complete images of a supported format and bounded cost before they are stored."""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from PIL import Image, ImageFile

from planespotter_photos import DEFAULT_MAX_PIXELS, InspectedPhoto, PhotoError, formats, inspect_photo
from planespotter_photos.reading import open_photo

IMAGE_BYTES, IMAGE_PIXELS = 32 << 20, DEFAULT_MAX_PIXELS  # training decodes what is within these limits
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}

T = TypeVar("T")

ORIENTATION = 0x0112  # the EXIF tag

DECODE_ERRORS = (OSError, SyntaxError, ValueError, PhotoError, Image.DecompressionBombError)
"""What opening and decoding an image raises if it is damaged or beyond a limit."""


def validate_image(data: bytes, decode: Callable[[ImageFile.ImageFile], T]) -> tuple[str, int, int, T]:
    """Decode an image completely.

    Args:
        data: Encoded image, at most IMAGE_BYTES.
        decode: Decodes the opened image, perhaps at a reduced scale, and returns what is of interest.

    Returns:
        Format ("JPEG", "PNG" or "WEBP"), width and height in pixels, and the result of `decode`.

    Raises:
        ValueError: If the image is too large, incomplete or in another format. The text states the reason.
    """
    if len(data) > IMAGE_BYTES:
        raise ValueError(f"the image is too large: {len(data)} bytes, limit {IMAGE_BYTES}")
    try:
        photo = _inspect(data)
        with _open(photo) as image:
            result = decode(image)
    except DECODE_ERRORS as error:
        raise ValueError(describe_error(data, error)) from None
    return photo.format.name.upper(), photo.width, photo.height, result


def open_image(data: bytes, *, with_metadata: bool = False) -> ImageFile.ImageFile:
    """Open an image whose cost is bounded. Its EXIF block has the orientation only, unless `with_metadata`.

    Raises:
        PhotoError: If it is damaged, in another format or beyond a limit.
    """
    photo = _inspect(data)
    if with_metadata:
        return open_photo(dataclasses.replace(photo, content=data))
    return _open(photo)


def _open(photo: InspectedPhoto) -> ImageFile.ImageFile:
    image = open_photo(photo)
    if photo.orientation != 1:
        image.getexif()[ORIENTATION] = photo.orientation
    return image


def _inspect(data: bytes) -> InspectedPhoto:
    return inspect_photo(data, IMAGE_PIXELS)


def describe_error(data: bytes, error: Exception) -> str:
    """Return why `data` could not be decoded, as a clause; `error` is what opening or decoding it raised."""
    start = data[:20].strip()
    if not start:
        return "the file is empty"
    if isinstance(error, PhotoError) and error.reason == "PHOTO_TOO_LARGE":
        text = str(error).rstrip(".")
        return text[0].lower() + text[1:]
    photo_format = formats.sniff(data)
    if photo_format in formats.NATIVE:
        return "it is not a complete image: it is truncated or damaged"
    if photo_format is not None and photo_format.suffixes:
        return f"it is {photo_format.description}, not a JPEG, PNG or WebP image"
    if photo_format is None and start.isascii() and start.decode().isprintable():
        return f"it is not an image, but text that begins with {start.decode()!r}"
    return f"it is not an image, but {formats.describe(data)}"
