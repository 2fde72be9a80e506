"""Turn the bytes of a photo into the pixels that the network takes: one function for training and for serving."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

DEFAULT_MAX_PIXELS = 40_000_000

# The mean colour of ImageNet, on which the trunk of the network was centred: what is filled with it says nothing.
PADDING = (124, 117, 104)

# What brings a photo upright, by its EXIF orientation; other values mean nothing.
TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = {TURNS[orientation] for orientation in (5, 6, 7, 8)}  # these swap width and height


class PhotoError(Exception):
    """A photo that cannot be classified: a sentence, a fixed reason, and the figures in `metadata`."""

    def __init__(self, reason: str, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = {name: str(value) for name, value in metadata.items()}


def decode_photo(data: bytes, height: int, width: int, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP file to uint8 RGB of shape [height, width, 3].

    The photo is turned upright by its EXIF orientation, scaled to fit and centred on a mean-coloured ground, so that
    the proportions of the aircraft stay as they are. Raises PhotoError with the reason PHOTO_EMPTY,
    PHOTO_FORMAT_UNSUPPORTED, PHOTO_UNDECODABLE or, before any pixel is decoded, PHOTO_TOO_LARGE.
    """
    image = _open(data)
    if image.width * image.height > max_pixels:
        raise PhotoError(
            "PHOTO_TOO_LARGE",
            f"The photo has {image.width} x {image.height} = {image.width * image.height:,} pixels; the limit is "
            f"{max_pixels:,}. Scale it down: {width} x {height} is all that the network looks at.",
            width=image.width,
            height=image.height,
            pixels=image.width * image.height,
            limit=max_pixels,
        )
    try:
        return _fit(image, height, width)
    except (
        Exception
    ) as error:  # Pillow raises many kinds for damaged files: OSError, ValueError, SyntaxError, zlib.error...
        raise _undecodable(len(data)) from error


def _open(data: bytes) -> ImageFile.ImageFile:
    """Read the header. The classes are called directly, as Image.open would hide the size of a huge photo."""
    if not data:
        raise PhotoError("PHOTO_EMPTY", "The photo is empty: 0 bytes. Send the bytes of a JPEG, PNG or WebP file.")
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
        f"The {len(data):,} bytes are no JPEG, PNG or WebP file: they begin with {data[:8].hex(' ')}. "
        "Convert the photo to one of these formats.",
        bytes=len(data),
    )


def _undecodable(size: int) -> PhotoError:
    return PhotoError(
        "PHOTO_UNDECODABLE",
        f"The photo is damaged or cut short: its {size:,} bytes begin like a photo but cannot be decoded. "
        "Send it again.",
        bytes=size,
    )


def _fit(image: ImageFile.ImageFile, height: int, width: int) -> NDArray[np.uint8]:
    turn = TURNS.get(_orientation(image))
    lies_on_its_side = turn in LYING
    upright = image.size[::-1] if lies_on_its_side else image.size
    scale = min(width / upright[0], height / upright[1])
    fitted = (max(1, round(upright[0] * scale)), max(1, round(upright[1] * scale)))
    # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size: far quicker. Twice the size asked for keeps it sharp.
    draft = (2 * fitted[0], 2 * fitted[1])
    image.draft("RGB", draft[::-1] if lies_on_its_side else draft)
    rgb = _to_rgb(image)
    if turn is not None:
        rgb = rgb.transpose(turn)
    canvas = Image.new("RGB", (width, height), PADDING)
    canvas.paste(rgb.resize(fitted, Image.Resampling.BILINEAR), ((width - fitted[0]) // 2, (height - fitted[1]) // 2))
    return np.asarray(canvas)


def _orientation(image: ImageFile.ImageFile) -> object:
    """Return what the EXIF block says of how the camera was held; 1, upright, where it is damaged: the photo is not."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as above
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow would cut off all that is brighter than 255
        image = Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (*PADDING, 255))
        ground.alpha_composite(rgba)
        image = ground
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
