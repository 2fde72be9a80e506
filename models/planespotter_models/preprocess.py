"""Preprocessing: decode an image file to the pixels that the network takes, the same way in training and serving."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

DEFAULT_MAX_PIXELS = 40_000_000

PADDING = (124, 117, 104)
"""RGB mean of ImageNet, on which the trunk is centered: padding in this color is close to zero for the network."""

# What makes a photo upright, by EXIF orientation. Value 1 is upright already; others are invalid.
TRANSPOSE_BY_ORIENTATION: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SWAP_AXES = {TRANSPOSE_BY_ORIENTATION[orientation] for orientation in (5, 6, 7, 8)}  # width becomes height


class PhotoError(Exception):
    """A photo cannot be decoded.

    Attributes:
        reason: A constant of the API: PHOTO_EMPTY, PHOTO_FORMAT_UNSUPPORTED, PHOTO_TOO_LARGE or PHOTO_UNDECODABLE.
        metadata: The sizes in the message, as text, by name.
    """

    def __init__(self, reason: str, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = {name: str(value) for name, value in metadata.items()}


def decode_photo(data: bytes, height: int, width: int, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP file to the input of the network.

    The photo is made upright by its EXIF orientation, scaled to fit, and centered on a background in the mean color:
    the aspect ratio of the aircraft does not change.

    Args:
        data: Content of the file.
        height: Height of the output in pixels.
        width: Width of the output in pixels.
        max_pixels: Limit on the number of pixels of the photo, checked before any is decoded.

    Returns:
        uint8 RGB [height, width, 3].

    Raises:
        PhotoError: PHOTO_EMPTY, PHOTO_FORMAT_UNSUPPORTED, PHOTO_TOO_LARGE or PHOTO_UNDECODABLE.
    """
    image = _open(data)
    if image.width * image.height > max_pixels:
        raise PhotoError(
            "PHOTO_TOO_LARGE",
            f"The photo has {image.width} x {image.height} = {image.width * image.height:,} pixels; the limit is "
            f"{max_pixels:,}. Scale it down: the network sees only {width} x {height}.",
            width=image.width,
            height=image.height,
            pixels=image.width * image.height,
            limit=max_pixels,
        )
    try:
        return _fit(image, height, width)
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, zlib.error... for damaged files
        raise _undecodable(len(data)) from error


def _open(data: bytes) -> ImageFile.ImageFile:
    """Read the header only. `Image.open` would raise for a huge photo before its size is known."""
    if not data:
        raise PhotoError("PHOTO_EMPTY", "The photo is empty: 0 bytes. Send the content of a JPEG, PNG or WebP file.")
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return JpegImageFile(io.BytesIO(data))
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return PngImageFile(io.BytesIO(data))
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return WebPImageFile(io.BytesIO(data))
    except Exception as error:  # as above
        raise _undecodable(len(data)) from error
    raise PhotoError(
        "PHOTO_FORMAT_UNSUPPORTED",
        f"The photo's format is not supported: its {len(data):,} bytes begin with {data[:8].hex(' ')}. "
        "Convert it to JPEG, PNG or WebP.",
        bytes=len(data),
    )


def _undecodable(size: int) -> PhotoError:
    return PhotoError(
        "PHOTO_UNDECODABLE",
        f"The photo is damaged or truncated: its {size:,} bytes have a valid header but cannot be decoded. "
        "Send it again.",
        bytes=size,
    )


def _fit(image: ImageFile.ImageFile, height: int, width: int) -> NDArray[np.uint8]:
    transpose = TRANSPOSE_BY_ORIENTATION.get(_orientation(image))
    swapped = transpose in SWAP_AXES
    upright = image.size[::-1] if swapped else image.size
    scale = min(width / upright[0], height / upright[1])
    fitted = (max(1, round(upright[0] * scale)), max(1, round(upright[1] * scale)))
    # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, which is much faster. Twice the target size keeps it sharp.
    draft = (2 * fitted[0], 2 * fitted[1])
    image.draft("RGB", draft[::-1] if swapped else draft)
    rgb = _to_rgb(image)
    if transpose is not None:
        rgb = rgb.transpose(transpose)
    canvas = Image.new("RGB", (width, height), PADDING)
    canvas.paste(rgb.resize(fitted, Image.Resampling.BILINEAR), ((width - fitted[0]) // 2, (height - fitted[1]) // 2))
    return np.asarray(canvas)


def _orientation(image: ImageFile.ImageFile) -> object:
    """Return the EXIF orientation; 1 (upright) if the EXIF block is damaged, which does not make the photo invalid."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as above
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grayscale: Pillow would clip values above 255
        image = Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        background = Image.new("RGBA", rgba.size, (*PADDING, 255))
        background.alpha_composite(rgba)
        image = background
    return image if image.mode == "RGB" else image.convert("RGB")  # convert() copies
