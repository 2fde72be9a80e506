"""Image validation: accept only complete images of a supported format and size before they are stored."""

import io

from PIL import Image, UnidentifiedImageError

IMAGE_BYTES, IMAGE_PIXELS = 32 << 20, 50_000_000  # upper limits, above any photo of an airliner
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}


def validate_image(data: bytes) -> tuple[str, int, int]:
    """Decode an image completely.

    Args:
        data: Encoded image, at most IMAGE_BYTES.

    Returns:
        Format ("JPEG", "PNG" or "WEBP"), width and height in pixels.

    Raises:
        ValueError: If the image is too large, incomplete or in another format. The text states the reason.
    """
    if len(data) > IMAGE_BYTES:
        raise ValueError(f"the image is too large: {len(data)} bytes, limit {IMAGE_BYTES}")
    try:
        with Image.open(io.BytesIO(data), formats=list(SUFFIXES)) as image:
            if image.width * image.height > IMAGE_PIXELS:
                raise ValueError(f"the image is too large: {image.width} x {image.height} pixels, limit {IMAGE_PIXELS}")
            image.load()
            return str(image.format), image.width, image.height
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(describe_error(data, error)) from None


def describe_error(data: bytes, error: Exception) -> str:
    """Return why `data` could not be decoded, as a clause; `error` is what the decoder raised."""
    start = data[:20].strip()
    if not start:
        return "the file is empty"
    if not isinstance(error, UnidentifiedImageError):
        return "it is not a complete image: it is truncated or damaged"
    if start.startswith(b"<"):
        return "it is not an image, but a web page"
    if start.isascii() and start.decode().isprintable():
        return f"it is not an image, but text that begins with {start.decode()!r}"
    return "it is not a JPEG, PNG or WebP image"
