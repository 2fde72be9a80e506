"""Photo conversion: turn a HEIC, AVIF, TIFF, GIF, BMP or raw photo into a JPEG, on the machine of its owner.

Servers and catalogs take JPEG, PNG and WebP only: each further decoder would be more code for an attacker to exploit.
AVIF, TIFF, GIF and BMP are read by Pillow, HEIC by pillow-heif. A raw photo is read by the JPEG preview that the camera
embedded, which LibRaw (rawpy) finds; one whose preview is tiny is developed.
"""

import io
from typing import Any

from PIL import Image, ImageOps

from planespotter_photos.errors import PhotoError
from planespotter_photos.formats import HEIC, RAW, is_installed, sniff

CONVERTED_SIDE = 2048
"""Longest side of a converted photo in pixels: many times what a network sees, and a small file."""
JPEG_QUALITY = 92
MIN_PREVIEW_SIDE = 640
_BITMAP_ROTATIONS = {3: Image.Transpose.ROTATE_180, 5: Image.Transpose.ROTATE_90, 6: Image.Transpose.ROTATE_270}


def convert_photo(data: bytes, name: str = "") -> bytes:
    """Convert the first frame of a photo to an upright JPEG, or to PNG if it has transparency.

    Args:
        data: Content of a file in one of the CONVERTIBLE formats.
        name: Name of the file, if it has one: tells a raw photo from a TIFF file.

    Returns:
        A file with sides of at most CONVERTED_SIDE.

    Raises:
        PhotoError: PHOTO_FORMAT_UNSUPPORTED or PHOTO_UNDECODABLE.
    """
    photo_format = sniff(data, name)
    if photo_format is None or not photo_format.packages:
        description = "in an unknown format" if photo_format is None else photo_format.description
        raise PhotoError("PHOTO_FORMAT_UNSUPPORTED", f"The photo is {description}. Convert it to JPEG.")
    if not is_installed(photo_format):
        raise PhotoError(
            "PHOTO_FORMAT_UNSUPPORTED",
            f"The photo is {photo_format.description}, which needs a further package: pip install '.[formats]' in a "
            "checkout of planespotter. Or convert it to JPEG.",
        )
    try:
        image = _READERS.get(photo_format, _read_with_pillow)(data)
        return encode_photo(image, CONVERTED_SIDE / max(image.size))
    except Exception as error:  # each decoder raises its own types
        raise PhotoError(
            "PHOTO_UNDECODABLE",
            f"The photo is {photo_format.description} that cannot be decoded: it is damaged, or of an unknown variant. "
            "Convert it to JPEG.",
            bytes=len(data),
        ) from error


def _read_with_pillow(data: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data), formats=("AVIF", "BMP", "GIF", "TIFF")))


def _read_heic(data: bytes) -> Image.Image:
    import pillow_heif

    # libheif rotates by the container's own boxes; the EXIF orientation repeats them.
    image: Image.Image = pillow_heif.open_heif(io.BytesIO(data)).to_pillow()
    return image


def _read_raw(data: bytes) -> Image.Image:
    import rawpy

    with rawpy.imread(io.BytesIO(data)) as raw:
        try:
            preview = _preview(raw.extract_thumb(), raw.sizes.flip)
        except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
            preview = None
        if preview is not None and max(preview.size) >= MIN_PREVIEW_SIDE:
            return preview
        return Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True))


def _preview(thumbnail: Any, flip: int) -> Image.Image:
    """Return the preview of a raw photo. LibRaw gives a JPEG the orientation of the raw photo, but not a bitmap."""
    if isinstance(thumbnail.data, bytes):
        return ImageOps.exif_transpose(Image.open(io.BytesIO(thumbnail.data), formats=("JPEG",)))
    bitmap = Image.fromarray(thumbnail.data)
    return bitmap.transpose(_BITMAP_ROTATIONS[flip]) if flip in _BITMAP_ROTATIONS else bitmap


_READERS = {HEIC: _read_heic, RAW: _read_raw}


def encode_photo(image: Image.Image, scale: float = 1.0) -> bytes:
    """Encode an image of any mode as JPEG, or as PNG if it has transparency.

    Args:
        image: The image.
        scale: Factor to scale its sides by; 1 and more keep its size.
    """
    if image.mode.startswith("I"):  # deeper than 255 levels: Pillow would clip everything above 255
        image = image.point(lambda value: value / 256).convert("L")
    transparent = image.has_transparency_data
    if transparent or image.mode != "L":
        image = image.convert("RGBA" if transparent else "RGB")
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "PNG" if transparent else "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
