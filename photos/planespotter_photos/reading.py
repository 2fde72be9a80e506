"""Photo reading: open an inspected photo with Pillow, and make it upright."""

import io
from collections.abc import Callable

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from planespotter_photos.errors import undecodable
from planespotter_photos.formats import JPEG, PNG, WEBP, PhotoFormat
from planespotter_photos.inspection import InspectedPhoto

_OPENERS: dict[PhotoFormat, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    JPEG: JpegImageFile,
    PNG: PngImageFile,
    WEBP: WebPImageFile,
}

# What makes a photo upright, by EXIF orientation; 1 is upright already.
TRANSPOSE_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SWAPPING_ORIENTATIONS = frozenset({5, 6, 7, 8})  # width becomes height


def open_photo(photo: InspectedPhoto) -> ImageFile.ImageFile:
    """Open a photo without decoding its pixels. `Image.open` would raise for a huge one, which draft mode can decode.

    Raises:
        PhotoError: PHOTO_UNDECODABLE.
    """
    try:
        return _OPENERS[photo.format](io.BytesIO(photo.content))
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error... for damaged files
        raise undecodable(len(photo.content)) from error
