"""Paint: an airline's livery as it is, with shifted colours, or an invented one on an unpainted aircraft.

Invented liveries keep a network from learning airlines instead of shapes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from planespotter_scraping.render.aircraft import Anatomy
from planespotter_scraping.render.textures import Floats32, Pixels, to_linear

ORIGINAL, SHIFTED, REPAINTED = "livery", "shifted colours", "repainted"
PAINT_SHARES = {ORIGINAL: 0.42, SHIFTED: 0.18, REPAINTED: 0.40}
UNPAINTED = 235  # grey of an unpainted fuselage, of 255
MIN_LIVERIES = 4  # from which the median of their textures is free of paint
SYLLABLES = (
    *("air", "sky", "jet", "fly", "nor", "wes", "pa", "ci", "lo", "ta", "ro", "ma", "al", "an"),
    *("ka", "ne", "tu", "gol", "star", "blu", "ter", "na", "va", "li", "do", "sa", "ri"),
)
TITLE_SIZE, EMBLEM_SIZE = (512, 80), 128  # pixels


def shift_colors(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Shift hue and saturation of an RGBA image at random."""
    hsv = np.array(Image.fromarray(image[..., :3]).convert("HSV")).astype(np.int32)
    hsv[..., 0] = (hsv[..., 0] + rng.integers(20, 236)) % 256
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.choice([0.2, 0.6, 1.0, 1.0, 1.4]), 0, 255)
    rgb = np.asarray(Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB"))
    return np.concatenate([rgb, image[..., 3:]], axis=2)


def unpaint(images: Sequence[Pixels]) -> Pixels:
    """Remove the paint from the texture of a model: keep windows, doors, seams and bare metal.

    Args:
        images: The same texture in several liveries; shape (height, width, 4). The first gives size and alpha.

    Returns:
        The texture of the aircraft without paint; shape (height, width, 4).
    """
    height, width = images[0].shape[:2]
    stack = [np.asarray(Image.fromarray(image[..., :3]).resize((width, height))).astype(np.float32) for image in images]
    details = np.median([_details(image) for image in stack], axis=0)
    plain = np.repeat((details * UNPAINTED)[..., None], 3, axis=2)
    if len(stack) >= MIN_LIVERIES:
        median = np.median(stack, axis=0)
        # Where the liveries agree on a grey, it is not paint: wings, engine lips, windows.
        spread = np.mean(stack, axis=3).std(axis=0) / 255
        saturation = np.ptp(median, axis=2) / 255
        agreed = np.clip(1 - spread / 0.10, 0, 1) * np.clip(1 - saturation / 0.25, 0, 1)
        plain = plain + (median - plain) * agreed[..., None]
    return np.concatenate([np.clip(plain, 0, 255).astype(np.uint8), images[0][..., 3:]], axis=2)


def _details(image: Floats32, block: int = 16) -> Floats32:
    """Return brightness relative to the brightest nearby pixel, 0 to 1, which lines and windows lower."""
    height, width = image.shape[:2]
    grey = image.mean(axis=2) / 255
    rows, columns = -(-height // block), -(-width // block)
    padded = np.pad(grey, ((0, rows * block - height), (0, columns * block - width)), mode="edge")
    brightest = padded.reshape(rows, block, columns, block).max(axis=(1, 3))
    smooth = Image.fromarray(brightest.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    near = np.asarray(smooth)
    # Dark paint has no contrast to tell windows by.
    return np.where(near < 0.15, 1, np.clip(grey / np.maximum(near, 0.04), 0, 1)).astype(np.float32)


@dataclass(frozen=True)
class Stripe:
    """A band along the fuselage: heights between 0 (bottom) and 1 (top)."""

    low: float
    high: float
    color: Floats32


@dataclass(frozen=True)
class InventedLivery:
    """Colours of the zones of an aircraft, in linear light.

    Attributes:
        fuselage, belly, fin, fin_pattern, engine, tip, title: RGB of the zones.
        belly_height: Height below which the fuselage has the colour of the belly, 0 to 1.
        tail_start: Share of the length from which the fuselage has the colour of the fin; above 1 for nowhere.
        tail_slope: How far aft that border moves from bottom to top, as a share of the length.
        stripes: Bands along the fuselage.
        pattern: Of the fin: 0 plain, 1 split, 2 band, 3 gradient, 4 bands.
        pattern_slope, pattern_start: Where the pattern is.
        title_place: Start, end (share of the length), bottom and top (height on the fuselage) of the title.
        title_mask: Name of the invented airline; shape (height, width), 0 to 1.
        emblem_mask: Emblem on the fin; shape (size, size), 0 to 1.
        emblem_size: Side of the emblem in radii of the fuselage, 0 for none.
    """

    fuselage: Floats32
    belly: Floats32
    fin: Floats32
    fin_pattern: Floats32
    engine: Floats32
    tip: Floats32
    title: Floats32
    belly_height: float
    tail_start: float
    tail_slope: float
    stripes: tuple[Stripe, ...]
    pattern: int
    pattern_slope: float
    pattern_start: float
    title_place: tuple[float, float, float, float]
    title_mask: Floats32
    emblem_mask: Floats32
    emblem_size: float

    def paint(
        self, unpainted: Floats32, positions: Floats32, normals: Floats32, is_engine: np.ndarray, anatomy: Anatomy
    ) -> Floats32:
        """Paint points on the surface of an aircraft.

        Args:
            unpainted: Linear RGB of its unpainted texture; shape (n, 3).
            positions: In the axes of the aircraft; shape (n, 3).
            normals: Unit normals in these axes; shape (n, 3).
            is_engine: Whether a point is on an engine; shape (n,).
            anatomy: Measures of the aircraft.

        Returns:
            Linear RGB; shape (n, 3).
        """
        x, y, z = positions.T
        radius = anatomy.radius
        along = (x - anatomy.nose) / anatomy.length
        height = (z - anatomy.bottom) / (anatomy.top - anatomy.bottom)
        narrow = np.where(along > 0.75, np.maximum(1 - (along - 0.75) * 3, 0.2), 1) * radius * 1.04  # the tail cone
        is_fin = (along > 0.7) & (z > anatomy.top - 0.1 * radius) & (np.abs(y) < 0.42 * radius)
        is_fuselage = ~is_fin & ~is_engine & (np.abs(y) < narrow) & (height > -0.25)
        is_tip = ~is_fin & ~is_fuselage & ~is_engine & (np.abs(y) > 0.955 * anatomy.half_span)

        color = np.ones((len(x), 3), np.float32)
        color[is_engine], color[is_tip] = self.engine, self.tip
        body = np.where((height < self.belly_height)[:, None], self.belly, self.fuselage)
        for stripe in self.stripes:
            body[(height > stripe.low) & (height < stripe.high)] = stripe.color
        body[along > self.tail_start + self.tail_slope * height] = self.fin
        start, end, low, high = self.title_place
        side = np.abs(normals[:, 1]) > 0.35
        across = np.where(y > 0, end - along, along - start) / (end - start)  # readable from both sides
        mask = _sample_mask(self.title_mask, across, (height - low) / (high - low)) * side
        body += (self.title - body) * mask[:, None]
        color[is_fuselage] = body[is_fuselage]
        color[is_fin] = self._fin_color(x, y, z, anatomy)[is_fin]

        shade = np.minimum(unpainted.mean(axis=1, keepdims=True) * 1.2, 1.05)
        zones = (is_engine | is_tip | is_fin | is_fuselage)[:, None]
        return np.where(zones, color * shade, unpainted).astype(np.float32)

    def _fin_color(self, x: Floats32, y: Floats32, z: Floats32, anatomy: Anatomy) -> Floats32:
        up = (z - anatomy.top) / anatomy.radius
        aft = (x - anatomy.nose - 0.7 * anatomy.length) / anatomy.radius
        slanted = up - self.pattern_slope * aft - self.pattern_start
        share = {
            1: slanted > 0,
            2: np.abs(slanted) < 0.4,
            3: np.clip(up * 0.35, 0, 1),
            4: np.mod(slanted * 0.7, 1) < 0.45,
        }.get(self.pattern, np.zeros(len(x)))
        color = self.fin + (self.fin_pattern - self.fin) * np.asarray(share, np.float32)[:, None]
        if self.emblem_size:
            middle = anatomy.length * 0.2 / anatomy.radius  # of the fin, aft of its start
            across = (aft - middle) / self.emblem_size * np.where(y > 0, -1, 1) + 0.5
            mask = _sample_mask(self.emblem_mask, across, (up - 1.4) / self.emblem_size + 0.5)
            color += (self.title - color) * mask[:, None]
        return color


def invent_livery(rng: np.random.Generator) -> InventedLivery:
    """Draw a livery at random: mostly a light fuselage and a strong fin, as airlines have."""
    fuselage = _light(rng)
    fin = _strong(rng) if rng.random() < 0.85 else fuselage
    belly = _pick(rng, [(0.5, fuselage), (0.3, _grey(rng, 0.55, 0.8)), (0.2, _strong(rng))])
    stripes = []
    if rng.random() < 0.45:
        low = rng.uniform(0.3, 0.65)
        stripes.append(Stripe(low, low + rng.uniform(0.02, 0.2), _pick(rng, [(0.5, fin), (0.5, _strong(rng))])))
        if rng.random() < 0.5:
            stripes.append(Stripe(low - rng.uniform(0.03, 0.08), low - 0.005, _any_color(rng)))
    start = rng.uniform(0.10, 0.26)
    low, high = (0.62, 0.88) if rng.random() < 0.6 else (0.22, 0.42)
    dark_body = fuselage.mean() < 0.2
    title = np.full(3, 0.9, np.float32) if dark_body else _pick(rng, [(0.3, fin), (0.7, _strong(rng))])
    return InventedLivery(
        fuselage=fuselage,
        belly=belly,
        fin=fin,
        fin_pattern=_pick(rng, [(0.6, _any_color(rng)), (0.4, fuselage)]),
        engine=_pick(rng, [(0.4, fuselage), (0.3, fin), (0.2, _grey(rng, 0.5, 0.8)), (0.1, _any_color(rng))]),
        tip=_pick(rng, [(0.4, fin), (0.4, _grey(rng, 0.92, 0.92)), (0.2, _any_color(rng))]),
        title=title,
        belly_height=rng.uniform(0.12, 0.5),
        tail_start=rng.uniform(0.62, 0.88) if rng.random() < 0.4 else 2.0,
        tail_slope=rng.uniform(-0.2, 0.15),
        stripes=tuple(stripes),
        pattern=int(rng.integers(5)),
        pattern_slope=rng.uniform(-0.6, 0.9),
        pattern_start=rng.uniform(0.2, 2.0),
        title_place=(start, start + rng.uniform(0.12, 0.3), low, high),
        title_mask=_title(rng) if rng.random() < 0.75 else np.zeros((1, 1), np.float32),
        emblem_mask=_emblem(rng),
        emblem_size=rng.uniform(0.7, 1.6) if rng.random() < 0.6 else 0.0,
    )


def _title(rng: np.random.Generator) -> Floats32:
    """Draw the name of an airline that does not exist."""
    text = "".join(rng.choice(SYLLABLES) for _ in range(rng.integers(2, 5)))
    text = text.upper() if rng.random() < 0.5 else text.capitalize()
    font = ImageFont.load_default(64)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    image = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(image).text((-left, -top), text, fill=255, font=font)
    return np.asarray(image.resize(TITLE_SIZE), np.float32) / np.float32(255)


def _emblem(rng: np.random.Generator) -> Floats32:
    """Draw a disc, a triangle, a star or a crescent."""
    size = EMBLEM_SIZE
    image = Image.new("L", (size, size))
    draw = ImageDraw.Draw(image)
    match rng.integers(4):
        case 0:
            draw.ellipse((8, 8, size - 8, size - 8), fill=255)
        case 1:
            draw.regular_polygon((size // 2, size // 2, size // 2), 3, fill=255)
        case 2:
            turns = np.arange(10) * np.pi / 5 - np.pi / 2
            reach = np.where(np.arange(10) % 2, 0.2, 0.48) * size
            draw.polygon(
                [(size / 2 + r * np.cos(t), size / 2 + r * np.sin(t)) for r, t in zip(reach, turns, strict=True)], 255
            )
        case _:
            draw.ellipse((8, 8, size - 8, size - 8), fill=255)
            draw.ellipse((36, 20, size + 4, size - 16), fill=0)
    return np.asarray(image, np.float32) / np.float32(255)


def _sample_mask(mask: Floats32, x: Floats32, y: Floats32) -> Floats32:
    """Sample a mask at x (0 left, 1 right) and y (0 bottom, 1 top); 0 outside."""
    height, width = mask.shape
    inside = (x >= 0) & (x < 1) & (y > 0) & (y <= 1)
    columns = np.clip((x * width).astype(np.int64), 0, width - 1)
    rows = np.clip(((1 - y) * height).astype(np.int64), 0, height - 1)
    return np.where(inside, mask[rows, columns], 0).astype(np.float32)


def _pick(rng: np.random.Generator, choices: Sequence[tuple[float, Floats32]]) -> Floats32:
    """Return one of the colours, each with its probability."""
    return choices[int(rng.choice(len(choices), p=[share for share, _ in choices]))][1]


def _grey(rng: np.random.Generator, low: float, high: float) -> Floats32:
    return to_linear(np.full(3, rng.uniform(low, high), np.float32))


def _light(rng: np.random.Generator) -> Floats32:
    """Return white for most, else a light grey or any colour."""
    return _pick(rng, [(0.65, _grey(rng, 0.88, 1.0)), (0.2, _grey(rng, 0.65, 0.85)), (0.15, _any_color(rng))])


def _strong(rng: np.random.Generator) -> Floats32:
    """Return a saturated, rather dark colour for half, mostly blue or red; else any colour."""
    hue = float(rng.choice([0.6, 0.63, 0.66, 0.0, 0.98, 0.38, 0.55, 0.08, 0.83]))
    return _pick(rng, [(0.5, _hsv(hue, rng.uniform(0.7, 1), rng.uniform(0.25, 0.75))), (0.5, _any_color(rng))])


def _any_color(rng: np.random.Generator) -> Floats32:
    return _hsv(rng.random(), rng.uniform(0.3, 1.0), rng.uniform(0.2, 1.0))


def _hsv(hue: float, saturation: float, value: float) -> Floats32:
    """Return linear RGB."""
    ramp = np.clip(np.abs(np.mod(hue * 6 + np.array([0, 4, 2]), 6) - 3) - 1, 0, 1)
    return to_linear((value * (1 + saturation * (ramp - 1))).astype(np.float32))
