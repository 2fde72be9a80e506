"""From whatever a photo is given as to the bytes that are sent."""

import io
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, Union

from planespotter_client._errors import InvalidRequestError, MissingDependencyError, PhotoReadError
from planespotter_client._types import Limits

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

Photo = Union[str, os.PathLike[str], bytes, BinaryIO, "Image.Image", "npt.NDArray[np.uint8]"]
"""What a photo can be given as:

- a path, as text or as a pathlib.Path,
- the bytes of a JPEG, PNG or WebP file, or such a file opened in binary mode,
- a PIL image,
- a NumPy array of uint8: [height, width, 3] in the order red, green, blue, or [height, width] for grey.

PIL images and arrays are sent as JPEG, for which Pillow must be installed: pip install "planespotter[images]".
"""

Several = TypeVar("Several")

# What a message needs beside its photos: names, options, lengths.
ENVELOPE_BYTES = 1024
ENVELOPE_BYTES_PER_PHOTO = 16

JPEG_QUALITY = 92
# A photo is scaled down to so many times the size that the network looks at, and only if it is yet larger by half: then
# the server, which scales by averaging, sees nearly what it would have seen.
SHRUNK_TIMES = 2
WORTH_SHRINKING = 1.5
# More bytes than any photo has, and no trouble to hold: what is scaled down may be larger than what may be sent.
MAX_BYTES_TO_SHRINK = 256 * 1024 * 1024


def size_to_send(input_size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the size to scale photos down to for a network that looks at `input_size`; both are (height, width).

    None if the server does not say what the network looks at.
    """
    if min(input_size) < 1:
        return None
    return (SHRUNK_TIMES * input_size[0], SHRUNK_TIMES * input_size[1])


def photo_id(photo: Photo, index: int | None = None) -> str:
    """Return what to call `photo` towards the user: its path, else its index among many, else ""."""
    if isinstance(photo, str | os.PathLike):
        return os.fspath(photo)
    name = getattr(photo, "name", None)
    if isinstance(name, str):
        return name
    return "" if index is None else str(index)


def several(photos: Several) -> Several:
    """Return `photos`. Raises TypeError for one path or the bytes of one file: their parts are no photos."""
    if isinstance(photos, str | bytes | bytearray | memoryview | os.PathLike):
        raise TypeError(f"Give several photos, such as [photo]; one {type(photos).__name__} is for classify().")
    return photos


def read_photo(photo: Photo, limits: Limits, name: str = "", shrink_to: tuple[int, int] | None = None) -> bytes:
    """Return the bytes to send for `photo`, scaled down if it is much larger than `shrink_to` (height, width).

    Raises PhotoReadError, and InvalidRequestError for what is too large or an array that is no photo.
    """
    limit = limits.max_photo_bytes if shrink_to is None else max(limits.max_photo_bytes, MAX_BYTES_TO_SHRINK)
    if _is_image(photo):
        data = _encoded(photo, name, shrink_to)
    elif _is_array(photo):
        data = _encoded(_image_of(photo, name), name, shrink_to)
    else:
        data = _content(photo, limit, limits, name)
        if shrink_to is not None:
            data = shrunk(data, shrink_to)
    _check_size(len(data), limits, name)
    return data


def _content(photo: Any, limit: int, limits: Limits, name: str) -> bytes:
    """Return the bytes of a path, a file or bytes; one more than `limit` is enough to know that there are too many."""
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    if isinstance(photo, str | os.PathLike):
        try:
            if not os.fspath(photo):  # a Path makes "." of it
                raise ValueError("its path is empty")
            data, size = _read_file(Path(photo), limit)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            path, why = os.fspath(photo) or "''", getattr(error, "strerror", None) or error
            raise PhotoReadError(
                f"The photo {path} cannot be read: {why}.",
                reason="PHOTO_UNREADABLE",
                photo_id=name,
            ) from error
        if size > limit:
            _check_size(size, limits, name)
        return data
    if hasattr(photo, "read"):
        try:
            content = photo.read(limit + 1)
        except UnicodeDecodeError:
            content = ""
        if not isinstance(content, bytes):
            raise TypeError("A photo given as a file must be opened in binary mode: open(path, 'rb').")
        return content
    raise TypeError(
        "A photo is a path, bytes, a file opened in binary mode, a PIL image or a NumPy array, not "
        f"{type(photo).__name__}."
    )


def _read_file(path: Path, limit: int) -> tuple[bytes, int]:
    """Return what is in the file, at most one byte more than `limit`, and its size. Raises OSError and ValueError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, and a device may never end
        raise ValueError("it is no file with a content of its own but a folder, a pipe, a socket or a device")
    if status.st_size > limit:
        return b"", status.st_size
    with path.open("rb") as file:  # it may grow meanwhile, and files of the kernel have no size at all
        data = file.read(limit + 1)
    return data, len(data)


def _check_size(size: int, limits: Limits, name: str) -> None:
    limit = min(limits.max_photo_bytes, limits.max_message_bytes - ENVELOPE_BYTES)
    if size > limit:
        raise InvalidRequestError(
            f"The photo{f' {name}' if name else ''} has at least {size:,} bytes; the server's limit is {limit:,}. "
            "Scale it down, or let the client do so: downscale=True.",
            reason="PHOTO_TOO_LARGE",
            metadata={"bytes": str(size), "limit": str(limit)},
            photo_id=name,
        )


# Pillow and NumPy are looked for among the modules that the program has imported: where they are not, nothing is an
# image or an array, and importing them would be the longest part of this package's own import.


def _is_image(photo: Any) -> bool:
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(photo, pil.Image)


def _is_array(photo: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(photo, numpy.ndarray)


def _image_of(array: Any, name: str) -> "Image.Image":
    images = pillow("A photo given as a NumPy array is sent as JPEG")
    shape = array.shape[:2] if array.ndim == 3 and array.shape[2] == 1 else array.shape
    is_photo = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    if array.dtype != "uint8" or not is_photo or 0 in shape:
        hint = ""
        if array.dtype.kind == "f":
            hint = " For values from 0 to 1: (255 * array).round().astype('uint8')."
        elif len(shape) == 3 and shape[2] == 4:
            hint = " To leave out what is transparent: array[..., :3]."
        raise InvalidRequestError(
            "A photo given as an array is of uint8 and of shape [height, width, 3] (red, green, blue) or [height, "
            f"width] (grey), not of {array.dtype} and {list(array.shape)}.{hint}",
            reason="ARRAY_UNSUPPORTED",
            metadata={"dtype": str(array.dtype), "shape": str(list(array.shape))},
            photo_id=name,
        )
    image: Image.Image = images.fromarray(array.reshape(shape))
    return image


def _encoded(image: Any, name: str, shrink_to: tuple[int, int] | None) -> bytes:
    try:
        return _file(_upright(image), shrink_to)
    except Exception as error:  # Pillow raises many kinds for a file that it finds damaged only now
        raise PhotoReadError(
            f"The PIL image{f' {name}' if name else ''} cannot be encoded as JPEG: {error}.",
            reason="PHOTO_UNREADABLE",
            photo_id=name,
        ) from error


def shrunk(data: bytes, shrink_to: tuple[int, int]) -> bytes:
    """Return the photo in `data` scaled down, or `data` itself where that saves nothing or Pillow cannot read it.

    `shrink_to` is (height, width). The server says better than Pillow what is wrong with a file.
    """
    images = pillow("Photos are to be scaled down before they are sent")
    try:
        with images.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            lies = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            if _scale(image.size[::-1] if lies else image.size, shrink_to) is None:
                return data
            side = 2 * max(shrink_to)  # a JPEG can be decoded at a half, a quarter or an eighth of its size
            image.draft("RGB", (side, side))
            smaller = _file(_upright(image), shrink_to)
    except Exception:  # see _encoded
        return data
    return smaller if len(smaller) < len(data) else data


_ORIENTATION = 0x0112  # EXIF's number for how the camera was held


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    # The JPEG that is made of it tells nothing of how the camera was held.
    return ImageOps.exif_transpose(image)


def _scale(size: tuple[int, int], shrink_to: tuple[int, int]) -> float | None:
    """Return by how much to scale an image of `size` (width, height); None if that is not worth it."""
    height, width = shrink_to
    scale = min(width / size[0], height / size[1])  # the whole photo then fits into these, as the server has it
    return scale if scale < 1 / WORTH_SHRINKING else None


def _file(image: Any, shrink_to: tuple[int, int] | None) -> bytes:
    """Return `image` as a JPEG file, or as PNG if parts of it are transparent, which the server fills as it likes."""
    images = pillow("A PIL image is sent as JPEG")
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow would cut off all that is brighter than 255
        image = image.point(lambda value: value / 256).convert("L")
    transparent = image.has_transparency_data
    if transparent or image.mode != "L":
        image = image.convert("RGBA" if transparent else "RGB")
    scale = None if shrink_to is None else _scale(image.size, shrink_to)
    if scale is not None:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, images.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "PNG" if transparent else "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def pillow(purpose: str) -> Any:
    """Return the module PIL.Image. Raises MissingDependencyError, whose text begins with `purpose`."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'{purpose}, which needs Pillow: pip install "planespotter[images]".', reason="PILLOW_MISSING"
        ) from error
    return Image
