"""Backgrounds made by code: skies with clouds, an aerodrome, fields and a tree line; or the user's own photos."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from planespotter_scraping.render.errors import RenderError
from planespotter_scraping.render.scene import Scene
from planespotter_scraping.render.textures import Floats32, to_linear

NOISE_SIDE = 512
SKIES = {  # display colours high up and at the horizon, and the probability of clouds, by kind of light
    "sun": [((0.28, 0.50, 0.82), (0.68, 0.82, 0.95), 0.6), ((0.10, 0.28, 0.62), (0.35, 0.58, 0.86), 0.4)],
    "haze": [((0.62, 0.72, 0.82), (0.85, 0.88, 0.90), 0.5), ((0.78, 0.80, 0.83), (0.88, 0.89, 0.90), 0.3)],
    "overcast": [((0.66, 0.68, 0.71), (0.82, 0.83, 0.84), 0.8), ((0.48, 0.51, 0.55), (0.66, 0.68, 0.70), 0.8)],
    "dusk": [((0.38, 0.45, 0.62), (0.93, 0.74, 0.56), 0.7), ((0.48, 0.51, 0.55), (0.66, 0.62, 0.62), 0.7)],
}
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@lru_cache(maxsize=4)
def fractal_noise(seed: int, exponent: float = 1.8) -> Floats32:
    """Return noise with a power spectrum of 1 / f**exponent that tiles; shape (512, 512), mean 0.5, in 0 to 1."""
    rng = np.random.default_rng(seed)
    frequencies = np.fft.fftfreq(NOISE_SIDE)
    power = frequencies[:, None] ** 2 + frequencies**2
    power[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(NOISE_SIDE, NOISE_SIDE))) / power ** (exponent / 2)
    noise = np.real(np.fft.ifft2(spectrum))
    noise = (noise - noise.mean()) / (4 * noise.std()) + 0.5
    return np.asarray(np.clip(noise, 0, 1), np.float32)


def sample_noise(noise: Floats32, x: Floats32, y: Floats32) -> Floats32:
    """Sample tiling noise with bilinear interpolation at coordinates in pixels; shape (n,)."""
    left, top = np.floor(x), np.floor(y)
    right_share, bottom_share = x - left, y - top
    columns = [np.mod(left + step, NOISE_SIDE).astype(np.int64) for step in (0, 1)]
    rows = [np.mod(top + step, NOISE_SIDE).astype(np.int64) for step in (0, 1)]
    upper = noise[rows[0], columns[0]] * (1 - right_share) + noise[rows[0], columns[1]] * right_share
    lower = noise[rows[1], columns[0]] * (1 - right_share) + noise[rows[1], columns[1]] * right_share
    return np.asarray(upper * (1 - bottom_share) + lower * bottom_share, np.float32)


class Sky:
    """A sky with its clouds, drawn at random."""

    def __init__(self, rng: np.random.Generator, kind: str) -> None:
        skies = SKIES[kind]
        high, horizon, cloud_probability = skies[int(rng.integers(len(skies)))]
        jitter = rng.normal(0, 0.012, 3) + rng.normal(0, 0.025)
        self.high = to_linear(np.clip(np.array(high) + jitter, 0, 1).astype(np.float32))
        self.horizon = to_linear(np.clip(np.array(horizon) + jitter, 0, 1).astype(np.float32))
        self.start = rng.uniform(0, 0.6)
        self.span = rng.uniform(0.2, 0.6)
        self.noise = fractal_noise(int(rng.integers(4)), 1.9)
        self.origin = rng.uniform(0, NOISE_SIDE, 2)
        self.scale = rng.uniform(100, 420)
        self.stretch = rng.uniform(1.0, 3.0)
        self.threshold, self.softness = rng.uniform(0.35, 0.65), rng.uniform(0.1, 0.35)
        self.cover = rng.uniform(0.3, 1.0) if rng.random() < cloud_probability else 0.0
        bright = {"sun": 0.95, "dusk": 0.45}.get(kind, rng.uniform(0.5, 0.9))
        self.cloud = (np.float32(bright) * (self.horizon / self.horizon.max() * 0.3 + 0.7)).astype(np.float32)

    def color(self, x: Floats32, y: Floats32) -> Floats32:
        """Return linear RGB at picture coordinates (-1 to 1, y up); shape (n, 3)."""
        height = np.clip(self.start + self.span * (y + 1) / 2, 0, 1)[:, None]
        color = self.horizon + (self.high - self.horizon) * height
        if self.cover:
            across = self.origin[0] + (x + 1) / 2 * self.scale
            upward = self.origin[1] + (y + 1) / 2 * self.scale * 0.66 * self.stretch
            density = np.clip((sample_noise(self.noise, across, upward) - self.threshold) / self.softness, 0, 1)
            share = (density**2 * (3 - 2 * density) * self.cover)[:, None]
            shade = 1 - 0.35 * sample_noise(self.noise, across * 0.7 + 90, upward * 0.7)[:, None]
            color = color + (self.cloud * shade - color) * share
        return color.astype(np.float32)


class Ground:
    """An aerodrome, or fields seen from above, drawn at random."""

    def __init__(self, rng: np.random.Generator, scene: Scene, horizon: Floats32) -> None:
        """Draw the ground of a scene.

        Args:
            rng: Source of randomness.
            scene: The scene.
            horizon: Linear RGB of the sky at the horizon, which distance fades to.
        """
        self.paved = scene.on_ground
        heading = rng.normal(0, 0.03) if rng.random() < 0.75 else rng.uniform(-1, 1)
        self.direction = np.array([np.cos(heading), np.sin(heading)], np.float32)
        apron = rng.random() < 0.3
        self.half_width = rng.uniform(70, 300) if apron else rng.uniform(9, 30)
        self.center = rng.uniform(-40, 40) if apron else rng.uniform(-1, 1)
        self.line_width = 0.15 if rng.random() < 0.6 else 0.45
        self.dashed = rng.random() < 0.4
        self.edge_line = rng.random() < 0.5
        line = [0.9, 0.9, 0.88] if rng.random() < 0.5 else [0.85, 0.7, 0.15]
        grass = np.array([0.30, 0.36, 0.16]) if rng.random() < 0.7 else np.array([0.52, 0.47, 0.31])
        if rng.random() < 0.06:
            grass = np.array([0.85, 0.87, 0.90])  # snow
        grey = rng.uniform(0.28, 0.62) * np.array([1, rng.uniform(0.97, 1.0), rng.uniform(0.93, 1.02)])
        grass = np.clip(grass * rng.uniform(0.7, 1.2), 0, 1)
        self.line, self.pavement, self.grass = (
            to_linear(np.asarray(color, np.float32)) for color in (line, grey, grass)
        )
        self.noise = fractal_noise(10, 1.5)
        self.origin = rng.uniform(0, NOISE_SIDE, 2).astype(np.float32)
        self.haze, self.horizon = rng.uniform(0.0001, 0.0009), horizon
        self.trees = rng.uniform(0.001, 0.02) if rng.random() < 0.9 else 0.0  # radians above the horizon
        self.tree_color = to_linear((np.array([0.22, 0.28, 0.18]) * rng.uniform(0.6, 1.5)).astype(np.float32))
        self.tree_haze = rng.uniform(0.1, 0.6)

    def color(self, points: Floats32, distance: Floats32, light: Floats32) -> Floats32:
        """Return linear RGB of points on the ground.

        Args:
            points: x and y in metres; shape (n, 2).
            distance: From the camera in metres; shape (n,).
            light: Light that falls on each; shape (n, 3).
        """
        along = points @ self.direction
        across = points @ np.array([-self.direction[1], self.direction[0]], np.float32)
        ox, oy = self.origin
        fine = np.exp(-distance / 400)
        texture = 0.5 + 0.8 * (sample_noise(self.noise, along * 0.4 + ox, across * 0.4 + oy) - 0.5)
        texture = texture + 0.7 * np.exp(-distance / 1500) * (
            sample_noise(self.noise, along * 6 + oy, across * 10 + ox) - 0.5
        )
        texture = texture + 0.6 * fine * (sample_noise(self.noise, along * 40 + ox, across * 40) - 0.5)
        color = self.grass * (0.5 + texture[:, None])
        if self.paved:
            offset = across - self.center
            on = np.abs(offset) < self.half_width
            surface = self.pavement * (0.75 + 0.5 * texture[:, None])
            marked = np.abs(offset) < self.line_width
            if self.dashed:
                marked &= np.mod(along, 30) < 15
            if self.edge_line:
                marked |= np.abs(np.abs(offset) - 0.93 * self.half_width) < 0.35
            surface = np.where(marked[:, None], self.line * 0.8 + surface * 0.2, surface)
            color = np.where(on[:, None], surface, color)
        lit = color * light
        clear = np.exp(-distance * self.haze)[:, None]
        return np.asarray(self.horizon + (lit - self.horizon) * clear, np.float32)

    def tree_line(self, directions: Floats32, sky: Floats32) -> Floats32:
        """Draw trees at the horizon over the colour of the sky; shape (n, 3)."""
        if not self.trees:
            return sky
        around = np.arctan2(directions[:, 1], directions[:, 0])
        profile = 0.3 + sample_noise(self.noise, around * 1500 + self.origin[0], np.full_like(around, 7.0))
        texture = 0.6 + 0.8 * sample_noise(self.noise, around * 4000, directions[:, 2] * 4000)
        color = self.tree_color * texture[:, None]
        color = color + (self.horizon - color) * np.float32(self.tree_haze)
        return np.where((directions[:, 2] < self.trees * profile)[:, None], color, sky).astype(np.float32)


def read_backgrounds(folder: Path) -> list[Path]:
    """Return the photos in a folder, searched recursively.

    Raises:
        RenderError: If there are none.
    """
    photos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise RenderError(f"The folder {folder} has no photos (JPEG, PNG or WebP). Choose another for --backgrounds.")
    return photos


def draw_photo(rng: np.random.Generator, photos: Sequence[Path], width: int, height: int) -> Floats32:
    """Return a random part of a random photo in linear light; shape (height, width, 3).

    Raises:
        RenderError: If the photo cannot be read.
    """
    path = photos[int(rng.integers(len(photos)))]
    try:
        with Image.open(path) as image:
            photo = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise RenderError(f"The background {path} is not a complete image. Remove it.") from None
    if rng.random() < 0.5:
        photo = ImageOps.mirror(photo)
    part = rng.uniform(0.45, 1.0)
    size = max(1, round(photo.width * part)), max(1, round(photo.height * part))
    left, top = (int(rng.integers(full - cut + 1)) for full, cut in zip(photo.size, size, strict=True))
    fitted = ImageOps.fit(photo.crop((left, top, left + size[0], top + size[1])), (width, height))
    return to_linear(np.asarray(fitted, np.float32) / np.float32(255))
