"""Look at the bytes of an image before they are stored: a whole photo of a kind that the catalog holds, or not."""

import io

from PIL import Image, UnidentifiedImageError

IMAGE_BYTES, IMAGE_PIXELS = 32 << 20, 50_000_000  # more than any photo of an airliner needs
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}


def examine(data: bytes) -> tuple[str, int, int]:
    """Return the format, width and height of an image. Raises ValueError if `data` is no image that can be used."""
    if len(data) > IMAGE_BYTES:
        raise ValueError(f"the image has {len(data)} bytes, and more than {IMAGE_BYTES} are not read")
    try:
        with Image.open(io.BytesIO(data), formats=list(SUFFIXES)) as image:
            if image.width * image.height > IMAGE_PIXELS:
                raise ValueError(f"the image has {image.width} x {image.height} pixels, over {IMAGE_PIXELS} in all")
            image.load()
            return str(image.format), image.width, image.height
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(what_is_wrong(data, error)) from None


def what_is_wrong(data: bytes, error: Exception) -> str:
    """Say why `data` could not be read as an image, when that has brought `error`."""
    start = data[:20].strip()
    if not start:
        return "the file is empty"
    if not isinstance(error, UnidentifiedImageError):
        return "it is not a whole image: its end is missing, or it is damaged"
    if start.startswith(b"<"):
        return "it is not a whole image, but a web page"
    if start.isascii() and start.decode().isprintable():
        return f"it is not a whole image, but text that begins {start.decode()!r}"
    return "it is not a whole image, but a file of another kind"
