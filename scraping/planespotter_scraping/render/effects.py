"""Picture effects: blur, haze, tone curve, sensor noise and JPEG compression."""

import io

import numpy as np
from PIL import Image

from planespotter_scraping.render.textures import Floats32

JPEG_QUALITIES = (60, 95)


def shift_average(image: Floats32, offsets: np.ndarray, weights: np.ndarray, axis: int) -> Floats32:
    """Return the weighted average of copies shifted along an axis; the border is repeated."""
    reach = int(np.abs(offsets).max())
    padding = [(reach, reach) if number == axis else (0, 0) for number in range(image.ndim)]
    padded = np.pad(image, padding, mode="edge")
    length = image.shape[axis]
    result = np.zeros_like(image)
    for offset, weight in zip(offsets, weights, strict=True):
        start = reach + int(offset)
        result += np.float32(weight) * np.take(padded, range(start, start + length), axis=axis)
    return result


def gaussian_blur(image: Floats32, sigma: float) -> Floats32:
    """Blur an image; shape (height, width, channels), sigma in pixels."""
    if sigma < 0.15:
        return image
    offsets = np.arange(-int(np.ceil(3 * sigma)), int(np.ceil(3 * sigma)) + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    return shift_average(shift_average(image, offsets, weights, 0), offsets, weights, 1)


def motion_blur(image: Floats32, length: int) -> Floats32:
    """Blur an image along its rows, as panning does to the background; length in pixels."""
    if length < 2:
        return image
    offsets = np.arange(length) - length // 2
    return shift_average(image, offsets, np.full(length, 1 / length), 1)


def tone(linear: Floats32, exposure: float) -> Floats32:
    """Convert linear light to display values, 0 to 1, with a shoulder instead of clipped highlights."""
    exposed = np.maximum(linear * np.float32(exposure), 0)
    rolled = np.where(exposed > 0.8, 0.8 + 0.2 * (1 - np.exp(-(exposed - 0.8) / 0.2)), exposed)
    display: Floats32 = np.clip(rolled, 0, 1) ** np.float32(1 / 2.2)
    return display


def develop(image: Floats32, rng: np.random.Generator) -> np.ndarray:
    """Apply white balance, contrast, saturation, vignetting, sharpening and noise at random.

    Args:
        image: Display values, 0 to 1; shape (height, width, 3).
        rng: Source of randomness.

    Returns:
        8-bit RGB of the same shape.
    """
    height, width = image.shape[:2]
    image = image * (1 + rng.normal(0, 0.018, 3)).astype(np.float32)
    image = (image - 0.5) * np.float32(rng.uniform(0.85, 1.25)) + np.float32(0.5 + rng.normal(0, 0.03))
    grey = image.mean(axis=2, keepdims=True)
    image = grey + (image - grey) * np.float32(rng.uniform(0.7, 1.25))
    if rng.random() < 0.3:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        image = image * (1 - rng.uniform(0.05, 0.3) * ((x**2 + y**2) / 2)[..., None] ** 1.5).astype(np.float32)
    if rng.random() < 0.55:
        image = image + np.float32(rng.uniform(0.2, 0.9)) * (image - gaussian_blur(image, rng.uniform(0.6, 1.1)))
    level = abs(rng.normal(0, 0.009))
    noise = rng.normal(0, level, (height, width, 1)) + rng.normal(0, 0.6 * level, image.shape)
    pixels: np.ndarray = (np.clip(image + noise, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels


def encode_jpeg(pixels: np.ndarray, rng: np.random.Generator) -> bytes:
    """Encode 8-bit RGB as JPEG with a random quality."""
    buffer = io.BytesIO()
    low, high = JPEG_QUALITIES
    Image.fromarray(pixels).save(buffer, "JPEG", quality=int(rng.integers(low, high + 1)))
    return buffer.getvalue()
