"""Textures: mipmapped, bilinear sampling of several images at once, in linear light."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from planespotter_scraping.render.errors import ModelError

Pixels = NDArray[np.uint8]
Floats32 = NDArray[np.float32]

MAX_SIDE = 1024  # pixels; larger textures are scaled down
MAX_PIXELS = 1 << 26  # of a texture file
LEVELS = 11  # of the mipmap of a texture of MAX_SIDE
LINEAR = (np.arange(256) / 255) ** 2.2  # of an 8-bit value; gamma 2.2 is near enough to sRGB


def to_linear(color: Floats32) -> Floats32:
    """Convert display values, 0 to 1, to linear light."""
    return np.maximum(color, 0) ** np.float32(2.2)


def read_texture(path: Path) -> Pixels:
    """Read an image as RGBA.

    Args:
        path: Image in a format that Pillow reads, such as PNG, SGI or DDS.

    Returns:
        Pixels with at most MAX_SIDE rows and columns; shape (height, width, 4).

    Raises:
        ModelError: If the file cannot be read.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ModelError(f"The texture {path} has more than {MAX_PIXELS} pixels. Scale it down.")
            rgba = image.convert("RGBA")
    except (OSError, ValueError, SyntaxError, NotImplementedError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "it is not a complete image"
        raise ModelError(f"The texture {path} cannot be read: {reason}. Get a complete copy of the file.") from None
    scale = MAX_SIDE / max(rgba.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in rgba.size)
        rgba = rgba.resize((width, height), Image.Resampling.BOX)
    return np.asarray(rgba)


class TextureAtlas:
    """Mipmaps of several textures in one array."""

    def __init__(self, images: Sequence[Pixels]) -> None:
        """Build the mipmaps.

        Args:
            images: At least one RGBA image; shape (height, width, 4).
        """
        pieces: list[Floats32] = []
        self._offsets = np.zeros((len(images), LEVELS), np.int64)
        self._widths = np.ones((len(images), LEVELS), np.int64)
        self._heights = np.ones((len(images), LEVELS), np.int64)
        self.sides = np.array([np.sqrt(image.shape[0] * image.shape[1]) for image in images])
        total = 0
        for number, image in enumerate(images):
            rgb, alpha = LINEAR[image[..., :3]], image[..., 3:] / 255
            level = np.asarray(np.concatenate([rgb, alpha], axis=2), np.float32)
            height, width = image.shape[:2]
            for step in range(LEVELS):
                if step == 0 or height * width > 1:
                    level = _halve(level) if step else level
                    pieces.append(level.reshape(-1, 4))
                    total += pieces[-1].shape[0]
                height, width = level.shape[0], level.shape[1]
                self._offsets[number, step] = total - height * width
                self._widths[number, step], self._heights[number, step] = width, height
        self._texels = np.concatenate(pieces)

    def sample(self, texture: NDArray[np.intp], uv: Floats32, texels: Floats32) -> Floats32:
        """Sample with bilinear interpolation; textures repeat.

        Args:
            texture: Index of the image; shape (n,).
            uv: Texture coordinates; shape (n, 2). v grows upwards.
            texels: Texels of the full image that one sample covers along one side; shape (n,).

        Returns:
            Linear RGB and alpha; shape (n, 4).
        """
        level = np.clip(np.log2(np.maximum(texels, 1)).astype(np.int64), 0, LEVELS - 1)
        offset = self._offsets[texture, level]
        width, height = self._widths[texture, level], self._heights[texture, level]
        x = np.mod(uv[:, 0], 1) * width - 0.5
        y = np.mod(1 - uv[:, 1], 1) * height - 0.5
        left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        right_share = (x - left).astype(np.float32)[:, None]
        bottom_share = (y - top).astype(np.float32)[:, None]
        columns = (np.mod(left, width), np.mod(left + 1, width))
        rows = (offset + np.mod(top, height) * width, offset + np.mod(top + 1, height) * width)
        upper = (
            self._texels[rows[0] + columns[0]] * (1 - right_share) + self._texels[rows[0] + columns[1]] * right_share
        )
        lower = (
            self._texels[rows[1] + columns[0]] * (1 - right_share) + self._texels[rows[1] + columns[1]] * right_share
        )
        blended: Floats32 = upper * (1 - bottom_share) + lower * bottom_share
        return blended


def _halve(image: Floats32) -> Floats32:
    """Average blocks of two by two pixels; an odd last row or column is dropped."""
    for axis in (0, 1):
        even = image.shape[axis] // 2 * 2
        if even:
            first, second = (np.take(image, range(start, even, 2), axis) for start in (0, 1))
            image = np.asarray((first + second) / 2, np.float32)
    return image
