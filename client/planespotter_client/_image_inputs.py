"""Image inputs: read, encode and downscale photos given as paths, bytes, files, PIL images or NumPy arrays."""

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, Union

from planespotter_client._errors import DOWNSCALE_HINT, InvalidRequestError, MissingDependencyError, PhotoReadError
from planespotter_client._extras import install_command
from planespotter_client._types import Limits
from planespotter_photos import PhotoError, formats, inspect_photo

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

Photo = Union[str, os.PathLike[str], bytes, BinaryIO, "Image.Image", "npt.NDArray[np.uint8]"]
"""A photo:

- a path, as a string or a pathlib.Path,
- the bytes of a photo file, or such a file opened in binary mode,
- a PIL image,
- a NumPy array of uint8: [height, width, 3] in RGB order, or [height, width] for grayscale.

JPEG, PNG and WebP files are sent as they are; HEIC, AVIF, TIFF, GIF, BMP and raw photos are converted to JPEG, which
needs the extra "formats". PIL images and arrays are sent as JPEG, which needs Pillow: the images extra.
"""

PhotoWithId = tuple[str, Photo]
"""A photo of a stream or a batch with an id of the caller's choice, which its result has."""

Collection = TypeVar("Collection")

ENVELOPE_BYTES = 1024
"""Upper bound of what a message has in addition to its photos: names, options, lengths."""
ENVELOPE_BYTES_PER_PHOTO = 24

DOWNSCALE_FACTOR = 2
"""Photos are downscaled to this multiple of the network's input, so that the server's resize sees nearly the same."""
MIN_DOWNSCALE = 1.5
"""A photo is downscaled only if it is larger than the target by this factor."""
MAX_LOCAL_BYTES = 256 * 1024 * 1024
"""Maximum size of a file to downscale or convert, which may exceed the limit of the server; more than any photo has."""
MAX_LOCAL_PIXELS, MAX_LOCAL_DECODED_BYTES = 500_000_000, 2 << 30
"""What a photo to downscale may have; it is decoded on this machine, so the limits exceed those of a server."""


def downscale_target(input_size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the size to downscale to for a network with `input_size`; both are (height, width).

    None if the server does not report an input size.
    """
    if min(input_size) < 1:
        return None
    return (DOWNSCALE_FACTOR * input_size[0], DOWNSCALE_FACTOR * input_size[1])


def photo_id(photo: Photo, index: int | None = None) -> str:
    """Return the id of `photo` for the user: its path, else its index, else an empty string."""
    if isinstance(photo, str | os.PathLike):
        return os.fspath(photo)
    name = getattr(photo, "name", None)
    if isinstance(name, str):
        return name
    return "" if index is None else str(index)


def split_id(photo: "Photo | PhotoWithId", index: int) -> PhotoWithId:
    """Return the id and the photo of the `index`-th photo, which may be a pair of both.

    Raises:
        TypeError: `photo` is a tuple, but not of an id and a photo.
    """
    if not isinstance(photo, tuple):
        return photo_id(photo, index), photo
    if len(photo) != 2 or not isinstance(photo[0], str):
        raise TypeError("A photo with an id is a pair of both: (id, photo), with the id as a string.")
    return photo


def check_is_collection(photos: Collection) -> Collection:
    """Return `photos`. Raises TypeError for a single path or file, whose parts are not photos."""
    if isinstance(photos, str | bytes | bytearray | memoryview | os.PathLike):
        kind = type(photos).__name__
        raise TypeError(f"photos is a single {kind}. Give several, such as [photo], or use classify().")
    return photos


def read_photo(photo: Photo, limits: Limits, name: str = "", downscale_to: tuple[int, int] | None = None) -> bytes:
    """Return the encoded photo to send.

    Args:
        photo: The photo.
        limits: Limits of the server.
        name: Id of the photo, for errors.
        downscale_to: (height, width) to downscale a much larger photo to; None to send it unchanged.

    Raises:
        PhotoReadError: The file cannot be read, or the image cannot be encoded.
        InvalidRequestError: The photo is too large, or the array is not a photo.
        TypeError: `photo` is not a photo.
    """
    limit = limits.max_photo_bytes if downscale_to is None else max(limits.max_photo_bytes, MAX_LOCAL_BYTES)
    if _is_image(photo):
        data = _encode(photo, name, downscale_to)
    elif _is_array(photo):
        data = _encode(_image_of(photo, name), name, downscale_to)
    else:
        data = _content(photo, limit, limits, name)
        if is_convertible(data, name):
            data = _converted(data, name)
        if downscale_to is not None:
            data = downscaled(data, downscale_to)
    _check_size(len(data), limits, name)
    return data


def _content(photo: Any, limit: int, limits: Limits, name: str) -> bytes:
    """Return the bytes of a path, a file or bytes; at most one more than `limit`, which shows that it is too large.

    The limit of a photo that will be converted is MAX_LOCAL_BYTES.
    """
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    if isinstance(photo, str | os.PathLike):
        try:
            if not os.fspath(photo):  # a Path makes "." of it
                raise ValueError("the path is empty")
            data, size = _read_file(Path(photo), limit, name)
        except (OSError, ValueError) as error:  # ValueError: a null byte in the path
            path, why = os.fspath(photo) or "''", getattr(error, "strerror", None) or error
            raise PhotoReadError(
                f"The photo {path} cannot be read: {why}.",
                reason="PHOTO_UNREADABLE",
                photo_id=name,
            ) from error
        if not data and size:
            _check_size(size, limits, name)
        return data
    if hasattr(photo, "read"):
        try:
            content = photo.read(formats.HEAD_BYTES)
            content += photo.read(_byte_limit(content, name, limit) + 1 - len(content))
        except (UnicodeDecodeError, TypeError):  # TypeError: text has no format
            content = ""
        if not isinstance(content, bytes):
            raise TypeError("The photo is a file in text mode. Open it in binary mode: open(path, 'rb').")
        return content
    raise TypeError(
        "A photo is a path, bytes, a file opened in binary mode, a PIL image or a NumPy array, not "
        f"{type(photo).__name__}."
    )


def is_convertible(head: bytes, name: str) -> bool:
    """Return whether a file that begins with `head` is a photo that is converted to JPEG before it is sent."""
    return formats.sniff(head, name) in formats.CONVERTIBLE


def _byte_limit(head: bytes, name: str, limit: int) -> int:
    """Return the maximum size of a file that begins with `head`."""
    return max(limit, MAX_LOCAL_BYTES) if is_convertible(head, name) else limit


def _converted(data: bytes, name: str) -> bytes:
    """Return a photo in a convertible format as JPEG. Raises PhotoReadError."""
    photo_format = formats.sniff(data, name)
    if photo_format is not None and not formats.is_installed(photo_format):
        raise PhotoReadError(
            f"{name or 'The photo'} is {photo_format.description}, which needs a package that is not installed: "
            f"{install_command('formats')}. Or convert it to JPEG.",
            reason="PHOTO_FORMAT_UNSUPPORTED",
            photo_id=name,
        )
    from planespotter_photos.conversion import convert_photo

    try:
        return convert_photo(data, name)
    except PhotoError as error:
        raise PhotoReadError(str(error), reason=error.reason, metadata=error.metadata, photo_id=name) from error


def _read_file(path: Path, limit: int, name: str) -> tuple[bytes, int]:
    """Return the content of a file and its size; no content if it is larger than its limit.

    Raises OSError or ValueError.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would block, and a device may be infinite
        raise ValueError("it is a folder, a pipe, a socket or a device, not a regular file")
    with path.open("rb") as file:
        head = file.read(formats.HEAD_BYTES)
        limit = _byte_limit(head, name, limit)
        if status.st_size > limit:
            return b"", status.st_size
        data = head + file.read(limit + 1 - len(head))  # it may grow meanwhile, and files of the kernel report no size
    return (b"" if len(data) > limit else data), len(data)


def _check_size(size: int, limits: Limits, name: str) -> None:
    limit = min(limits.max_photo_bytes, limits.max_message_bytes - ENVELOPE_BYTES)
    if size > limit:
        raise InvalidRequestError(
            f"The photo{f' {name}' if name else ''} is too large: at least {size:,} bytes; the server's limit is "
            f"{limit:,}. Scale it down, {DOWNSCALE_HINT}.",
            reason="PHOTO_TOO_LARGE",
            metadata={"bytes": str(size), "limit": str(limit)},
            photo_id=name,
        )


# Pillow and NumPy are looked up among the imported modules. If the program has not imported them, nothing can be an
# image or an array, and importing them would dominate the import time of this package.


def _is_image(photo: Any) -> bool:
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(photo, pil.Image)


def _is_array(photo: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(photo, numpy.ndarray)


def _image_of(array: Any, name: str) -> "Image.Image":
    images = import_pillow("A NumPy array is sent as JPEG")
    shape = array.shape[:2] if array.ndim == 3 and array.shape[2] == 1 else array.shape
    is_photo = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    if array.dtype != "uint8" or not is_photo or 0 in shape:
        hint = ""
        if array.dtype.kind == "f":
            hint = " For values from 0 to 1: (255 * array).round().astype('uint8')."
        elif len(shape) == 3 and shape[2] == 4:
            hint = " To drop the alpha channel: array[..., :3]."
        raise InvalidRequestError(
            f"The array is not a photo: {array.dtype} of shape {list(array.shape)}. It must be uint8 of shape [height, "
            f"width, 3] (RGB) or [height, width] (grayscale).{hint}",
            reason="ARRAY_UNSUPPORTED",
            metadata={"dtype": str(array.dtype), "shape": str(list(array.shape))},
            photo_id=name,
        )
    image: Image.Image = images.fromarray(array.reshape(shape))
    return image


def _encode(image: Any, name: str, downscale_to: tuple[int, int] | None) -> bytes:
    try:
        return _to_file(_upright(image), downscale_to)
    except Exception as error:  # Pillow decodes lazily, and raises many types for a damaged file
        raise PhotoReadError(
            f"The PIL image{f' {name}' if name else ''} cannot be encoded as JPEG: {error}.",
            reason="PHOTO_UNREADABLE",
            photo_id=name,
        ) from error


def downscaled(data: bytes, downscale_to: tuple[int, int]) -> bytes:
    """Return the photo in `data` downscaled, or `data` itself if that saves nothing or Pillow cannot read it.

    A damaged file is left to the server, whose errors are more precise.

    Args:
        data: A JPEG, PNG or WebP file.
        downscale_to: Target (height, width).
    """
    import_pillow("Photos are downscaled before they are sent")
    from planespotter_photos.reading import SWAPPING_ORIENTATIONS, TRANSPOSE_BY_ORIENTATION, open_photo

    try:
        photo = inspect_photo(data, MAX_LOCAL_PIXELS, MAX_LOCAL_DECODED_BYTES)
        with open_photo(photo) as image:
            size = image.size[::-1] if photo.orientation in SWAPPING_ORIENTATIONS else image.size
            if _scale(size, downscale_to) is None:
                return data
            side = 2 * max(downscale_to)  # a JPEG can be decoded at 1/2, 1/4 or 1/8 of its size
            image.draft("RGB", (side, side))
            transpose = TRANSPOSE_BY_ORIENTATION.get(photo.orientation)
            smaller = _to_file(image if transpose is None else image.transpose(transpose), downscale_to)
    except Exception:  # see _encode
        return data
    return smaller if len(smaller) < len(data) else data


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    # The JPEG that is encoded has no EXIF orientation.
    return ImageOps.exif_transpose(image)


def _scale(size: tuple[int, int], downscale_to: tuple[int, int]) -> float | None:
    """Return the factor to scale an image of `size` (width, height) by; None if it is not worth it."""
    height, width = downscale_to
    scale = min(width / size[0], height / size[1])  # the server also fits the whole photo into its input
    return scale if scale < 1 / MIN_DOWNSCALE else None


def _to_file(image: Any, downscale_to: tuple[int, int] | None) -> bytes:
    from planespotter_photos.conversion import encode_photo

    scale = None if downscale_to is None else _scale(image.size, downscale_to)
    return encode_photo(image, scale or 1.0)


def import_pillow(purpose: str) -> Any:
    """Return the module PIL.Image.

    Args:
        purpose: Start of the error message: what needs Pillow.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{purpose}, which needs Pillow: {install_command('images')}.", reason="PILLOW_MISSING"
        ) from error
    return Image
