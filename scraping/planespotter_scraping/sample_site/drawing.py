"""Drawings: render an airliner as a photographer next to the runway would see it, as a JPEG of 320 by 213 pixels.

A drawing is a pure function of the airliner, the livery and the photo's number. The shape comes from the real
dimensions. Livery, light, weather and camera are pseudorandom, seeded by the photo's number and independent of the
type: a network must learn the shape.

Coordinates of the airliner are metres: x from the tip of the nose backwards, y upwards from the axis of the fuselage.
The picture is drawn at twice its size and then halved, which smooths the edges.
"""

import colorsys
import io
import math
import random
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from planespotter_scraping.sample_site.airliners import Airliner

WIDTH, HEIGHT = 320, 213
SCALE = 2  # supersampling

Colour = tuple[int, int, int]
Point = tuple[float, float]

# Where the fuselage starts to taper, in fuselage heights from each end, and the shape of the taper (see `_rise`).
# Differences between constructors are exaggerated a little, for pictures this small.
NOSES = {"round": (0.95, 2.2, 2.1, -0.14), "pointed": (2.1, 1.5, 1.25, -0.38)}  # length, p, q, height of the tip
TAIL_CONES = {
    "raised": (3.4, 0.92, 0.56),
    "cone": (2.7, 0.4, 0.05),
    "blade": (2.6, 0.5, -0.22),
}  # length, top, bottom


def draw(airliner: Airliner, livery: int, photo: int) -> bytes:
    """Draw a photo.

    Args:
        airliner: The airliner.
        livery: Number of the airline's livery.
        photo: Number of the photo, the seed of everything else.

    Returns:
        The JPEG.
    """
    rng = random.Random(photo * 7919 + 1)
    pen = _Pen(airliner, rng)
    background = _background(rng, pen.ground)
    pen.start(background.resize((WIDTH * SCALE, HEIGHT * SCALE), Image.Resampling.NEAREST), rng)
    _airliner(pen, airliner, _livery(livery), rng)
    return _develop(pen.picture.reduce(SCALE), rng)


# ------------------------------------------------------------------------------------------------ scene


def _background(rng: random.Random, horizon: float | None) -> Image.Image:
    """Return a sky, and ground from the row `horizon` downwards unless it is None."""
    high, low = rng.choice(
        [
            ((58, 112, 190), (160, 198, 232)),  # a clear day
            ((104, 150, 206), (205, 222, 238)),  # thin cloud
            ((150, 158, 168), (200, 204, 208)),  # overcast
            ((112, 118, 128), (150, 154, 160)),  # rain
            ((82, 92, 140), (236, 176, 128)),  # evening
            ((30, 36, 62), (92, 84, 104)),  # dusk
            ((196, 202, 206), (224, 226, 226)),  # fog
        ]
    )
    sky = Image.new("RGB", (1, 2))
    sky.putpixel((0, 0), high)
    sky.putpixel((0, 1), low)
    picture = sky.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    if rng.random() < 0.6:
        cells = rng.randint(4, 9)
        size = (cells * 3 // 2, cells)
        grey = bytes(max(0, rng.randint(-120, 120)) for _ in range(size[0] * size[1]))
        clouds = Image.frombytes("L", size, grey).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        picture.paste(tuple(min(255, value + 40) for value in low), (0, 0), clouds)
    if horizon is None:
        return picture
    ground = ImageDraw.Draw(picture)
    x = -20.0
    far = rng.choice([(62, 84, 66), (92, 104, 112), (110, 108, 92)])
    while x < WIDTH:  # trees, hangars and hills behind the runway
        step, height = rng.uniform(14, 70), rng.uniform(2, 14)
        if rng.random() < 0.5:
            ground.ellipse((x, horizon - height, x + step * 1.5, horizon + height), fill=far)
        else:
            ground.rectangle((x, horizon - height * 0.8, x + step, horizon + 2), fill=far)
        x += step
    grass = rng.choice([(96, 122, 66), (140, 134, 88), (84, 98, 72), (214, 220, 224)])
    runway = rng.choice([(104, 104, 106), (132, 130, 126), (78, 80, 84)])
    ground.rectangle((0, horizon, WIDTH, HEIGHT), fill=grass)
    ground.rectangle((0, horizon + 6, WIDTH, horizon + rng.uniform(24, 50)), fill=runway)
    return picture


def _develop(picture: Image.Image, rng: random.Random) -> bytes:
    """Return `picture` as a JPEG with a camera's blur, noise, exposure and compression."""
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.1)))
    # Monochrome noise, like most of a camera's.
    grain = np.frombuffer(rng.randbytes(HEIGHT * WIDTH), np.uint8).reshape(HEIGHT, WIDTH, 1)
    strength, brightness = rng.uniform(0.01, 0.08), rng.uniform(0.8, 1.12)
    light = np.asarray(picture) * np.float32(brightness) + (grain - np.float32(128)) * np.float32(strength)
    developed = Image.fromarray(light.clip(0, 255).astype(np.uint8))
    data = io.BytesIO()
    developed.save(data, "JPEG", quality=rng.randint(72, 92))
    return data.getvalue()


# ------------------------------------------------------------------------------------------------ livery


def _livery(livery: int) -> dict[str, Colour | str]:
    """Return the colours and the paint scheme of an airline."""
    rng = random.Random(livery * 104729 + 3)

    def colour(low: float = 0.3, high: float = 0.95) -> Colour:
        red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.35, 1.0), rng.uniform(low, high))
        return round(red * 255), round(green * 255), round(blue * 255)

    white = rng.choice([(240, 241, 243), (228, 230, 233), (205, 209, 214)])
    scheme = rng.choice(["fin", "fin", "fin", "stripe", "stripe", "belly", "belly", "rear", "rear", "all"])
    return {
        "scheme": scheme,
        "body": colour(0.45) if scheme == "all" else white,
        "fin": colour(),
        "second": colour(),
        "engine": rng.choice([white, (196, 200, 205), colour()]),
        "wing": rng.choice([(178, 183, 189), (160, 166, 173), (196, 200, 204)]),
    }


def _shade(colour: Colour, factor: float) -> Colour:
    """Return `colour` with its brightness multiplied by `factor`."""
    red, green, blue = (min(255, max(0, round(value * factor))) for value in colour)
    return red, green, blue


# ------------------------------------------------------------------------------------------------ camera


class _Pen:
    """Draw shapes in the airliner's coordinates into a picture, projected from the camera's position.

    The airliner is centred and fills the frame. The camera is a little ahead of it or behind it, which shortens it.
    `ground` is the row of the horizon, None in the air.
    """

    def __init__(self, airliner: Airliner, rng: random.Random) -> None:
        width, height = WIDTH * SCALE, HEIGHT * SCALE
        place = rng.choice(["runway", "runway", "low", "sky", "sky"])
        self.gear_down = place == "runway" or rng.random() < 0.5
        self.above = rng.uniform(-0.04, 0.14)  # elevation of the camera above the wing, in radians
        foreshortening = rng.uniform(0.74, 0.82)
        fits_across = width * rng.uniform(0.86, 0.95) / (airliner.length * foreshortening)
        self.scale = scale = min(fits_across, height * 0.8 / _framed_height(airliner))
        pitch = math.radians(rng.uniform(-1, 1))  # the camera is never exactly level
        if place != "runway":
            pitch += math.radians(rng.choice([-1, 1, 1]) * rng.uniform(0, 4))
        facing = rng.choice([-1, 1])  # left or right
        self.across = (scale * foreshortening * math.cos(pitch) * facing, scale * foreshortening * math.sin(pitch))
        self.along = (-scale * math.sin(pitch) * facing, -scale * math.cos(pitch))
        middle = height * rng.uniform(0.52, 0.56) + airliner.fin * scale * 0.25
        left = width * rng.uniform(0.485, 0.515) - airliner.length * self.across[0] / 2
        self.origin = (left, middle - airliner.length * self.across[1] / 2)
        wheels = (middle + (airliner.body / 2 + _legs(airliner)) * scale) / SCALE
        self.ground = {
            "runway": wheels - rng.uniform(8, 18),
            "low": min(HEIGHT - 12, wheels + rng.uniform(4, 30)),
            "sky": None,
        }[place]

    def start(self, picture: Image.Image, rng: random.Random) -> None:
        """Set the picture to draw into, and choose whether there is haze."""
        self.picture, self.draw = picture, ImageDraw.Draw(picture)
        self.haze = picture.getpixel((WIDTH // 2, HEIGHT // 2)) if rng.random() < 0.15 else None
        self.haze_part = rng.uniform(0.15, 0.4)

    def project(self, x: float, y: float) -> Point:
        """Return the pixel of a point of the airliner."""
        return (
            self.origin[0] + x * self.across[0] + y * self.along[0],
            self.origin[1] + x * self.across[1] + y * self.along[1],
        )

    def through_haze(self, colour: Colour) -> Colour:
        """Return `colour` as seen through the haze."""
        if not isinstance(self.haze, tuple):
            return colour
        part = self.haze_part
        red, green, blue = (round(a * (1 - part) + b * part) for a, b in zip(colour, self.haze, strict=True))
        return red, green, blue

    def shape(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self.draw.polygon([self.project(x, y) for x, y in points], fill=self.through_haze(colour))

    def line(self, points: Sequence[Point], colour: Colour, thick: float) -> None:
        """Draw a line, `thick` metres wide."""
        pixels = max(1, round(thick * self.scale))
        self.draw.line([self.project(x, y) for x, y in points], fill=self.through_haze(colour), width=pixels)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a circle."""
        (column, row), pixels = self.project(x, y), radius * self.scale
        self.draw.ellipse(
            (column - pixels, row - pixels, column + pixels, row + pixels), fill=self.through_haze(colour)
        )


def _legs(airliner: Airliner) -> float:
    """Return the height of the landing gear below the fuselage in metres."""
    return airliner.body * 0.34 * airliner.legs + 0.5


def _framed_height(airliner: Airliner) -> float:
    """Return the height from the wheels to the top of the fin in metres, with a margin."""
    return (airliner.body + airliner.fin + _legs(airliner)) * 1.15


# ------------------------------------------------------------------------------------------------ airliner


def _airliner(pen: _Pen, plane: Airliner, paint: dict[str, Colour | str], rng: random.Random) -> None:
    """Draw all parts, from back to front."""
    colours = {name: value for name, value in paint.items() if not isinstance(value, str)}
    scheme = str(paint["scheme"])
    top, bottom = _profile(plane)
    _wing(pen, plane, colours, near=False)
    _tailplane(pen, plane, colours, near=False)
    _fin(pen, plane, colours, scheme)
    _fuselage(pen, plane, colours, scheme, top, bottom)
    _windows(pen, plane, scheme, rng)
    _windscreen(pen, plane, top)
    if pen.gear_down:
        _gear(pen, plane)
    _tailplane(pen, plane, colours, near=True)
    _wing(pen, plane, colours, near=True)


def _rise(t: float, p: float, q: float) -> float:
    """Return the relative height of a nose: 0 at its tip (t=0), 1 where the fuselage has its full height (t=1).

    The curve is a superellipse: p = q = 2 is an ellipse, smaller exponents are more pointed.
    """
    return float((1 - (1 - min(1.0, max(0.0, t))) ** p) ** (1 / q))


def _profile(plane: Airliner) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Return the upper and the lower edge of the fuselage as functions of x."""
    radius = plane.body / 2
    long, p, q, tip = NOSES[plane.nose]
    tip *= radius * (1.6 if plane.deck == "double" else 1.0)
    nose = long * plane.body * (0.85 if plane.deck != "single" else 1.0)
    cone, cone_top, cone_bottom = TAIL_CONES[plane.tail_cone]
    tail = min(cone * plane.body, 0.34 * plane.length)
    hump = radius * 0.5 if plane.deck == "hump" else 0.0

    def top(x: float) -> float:
        y = tip + (radius - tip) * _rise(x / nose, p, q)
        if hump:  # the upper deck with the cockpit starts over the nose
            end = plane.hump_to * plane.length
            rising = _rise(x / (nose * 1.25), 1.9, 1.5)
            falling = min(1.0, max(0.0, (end + 0.09 * plane.length - x) / (0.09 * plane.length)))
            y += hump * rising * falling * falling * (3 - 2 * falling)
        t = max(0.0, (x - plane.length + tail) / tail)
        return float(y - radius * (1 - cone_top) * t**1.7)

    def bottom(x: float) -> float:
        y = tip - (radius + tip) * _rise(x / (nose * 0.8), p, q)
        t = max(0.0, (x - plane.length + tail) / tail)
        return float(y + radius * (1 + cone_bottom) * t**1.35)

    return top, bottom


def _fuselage(
    pen: _Pen,
    plane: Airliner,
    colours: dict[str, Colour],
    scheme: str,
    top: Callable[[float], float],
    bottom: Callable[[float], float],
) -> None:
    """Draw the fuselage with its livery, lighter at the top and darker at the bottom."""
    body = colours["body"]
    # Many stops along the curve of the nose, few along the tube.
    stops = [(step / 12) ** 2 * 0.16 for step in range(12)] + [0.16 + step / 42 * 0.84 for step in range(43)]
    edges = [(stop, stop * plane.length, bottom(stop * plane.length), top(stop * plane.length)) for stop in stops]

    def band(low: float, high: float, colour: Colour, start: float = 0.0, end: float = 1.0) -> None:
        """Fill the band between two heights, fractions from the lower edge (0) to the upper one (1)."""
        inside = [(x, low_y, high_y - low_y) for stop, x, low_y, high_y in edges if start <= stop <= end]
        edge = [(x, y + size * high) for x, y, size in inside]
        edge += [(x, y + size * low) for x, y, size in reversed(inside)]
        pen.shape(edge, colour)

    band(0, 1, body)
    if scheme == "belly":
        band(0, 0.36, colours["second"])
    if scheme == "rear":
        for step in range(8):
            band(0, 1, colours["fin"], start=0.66 + step * 0.02)
            band(0, 1 - step * 0.05, body, end=0.66 + step * 0.02)
        band(0, 1, colours["fin"], start=0.8)
    if scheme == "stripe":
        band(0.44, 0.56, colours["second"], start=0.03, end=0.97)
    low = colours["second"] if scheme == "belly" else body
    band(0.0, 0.22, _shade(low, 0.72), end=0.78)
    band(0.0, 0.1, _shade(low, 0.55), start=0.02, end=0.8)
    band(0.9, 0.97, _shade(body, 1.12), start=0.05, end=0.66)
    if plane.tail_cone == "blade":  # the exhaust at the end, cut off vertically
        pen.line([(plane.length, top(plane.length)), (plane.length, bottom(plane.length))], (90, 92, 96), 0.35)


def _windows(pen: _Pen, plane: Airliner, scheme: str, rng: random.Random) -> None:
    """Draw the window rows, the doors, and the airline's name as dark strokes."""
    radius, dark = plane.body / 2, (62, 70, 82)
    rows = [(0.12, 0.82, 0.14)]
    if plane.deck == "double":
        rows = [(0.12, 0.82, -0.12), (0.13, 0.76, 0.42)]
    if plane.deck == "hump":
        rows = [(0.1, 0.82, 0.1), (0.09, plane.hump_to + 0.01, 0.92)]
    for start, end, high in rows:
        x, y = start * plane.length, high * radius
        while x < end * plane.length:
            pen.line([(x, y), (x, y + 0.34)], dark, 0.25)
            x += 0.55
    for part in (0.11, 0.3, 0.62, 0.83) if plane.length > 45 else (0.12, 0.82):
        x = part * plane.length
        pen.line([(x, -0.3 * radius), (x, 0.35 * radius)], (120, 126, 134), 0.5)
    if scheme != "stripe" and plane.deck != "hump":
        x = plane.length * rng.uniform(0.14, 0.2)
        for _ in range(rng.randint(3, 9)):
            pen.line([(x, 0.5 * radius), (x, 0.74 * radius)], (70, 76, 110), 0.5)
            x += 0.018 * plane.length


def _windscreen(pen: _Pen, plane: Airliner, top: Callable[[float], float]) -> None:
    """Draw the cockpit windows, the small feature that distinguishes the constructors best."""
    radius, dark = plane.body / 2, (34, 40, 50)
    nose = NOSES[plane.nose][0] * plane.body * (0.85 if plane.deck != "single" else 1.0)
    x, y, wide, high = 0.24 * nose, 0.2 * radius, 0.42 * plane.body, 0.46 * radius
    if plane.deck == "hump":
        x, y = 0.38 * nose, 0.8 * radius
    elif plane.deck == "double":
        y = -0.28 * radius
    elif plane.nose == "pointed":
        x, y = 0.26 * nose, 0.12 * radius
    if plane.windscreen == "notched":  # a level band with a corner cut off at the rear
        outline = [(0, 0), (0.22, 1), (0.78, 1), (1, 0.55), (1, 0)]
    elif plane.windscreen == "mask":  # painted black around the glass, round at the rear
        outline = [(-0.12, -0.3), (0.1, 1.1), (0.8, 1.15), (1.12, 0.8), (1.15, 0.1), (0.9, -0.35)]
    elif plane.windscreen == "smooth":
        outline = [(0, 0.05), (0.35, 1), (1.1, 0.95), (0.9, 0.2)]
    else:  # the lower edge has a V in the middle
        outline = [(0, 0.3), (0.28, 1), (0.95, 1), (1, 0.45), (0.5, -0.25)]
    glass = [(x + a * wide, y + b * high) for a, b in outline]
    pen.shape([(a, min(b, top(a) - 0.05 * radius)) for a, b in glass], dark)


def _fin(pen: _Pen, plane: Airliner, colours: dict[str, Colour], scheme: str) -> None:
    """Draw the fin, and its dorsal fillet if the type has one."""
    radius, high = plane.body / 2, plane.fin
    base = radius * 0.6
    boeing = plane.nose == "pointed"
    chord, tip, lean = (1.04, 0.3, 1.0) if boeing else (1.1, 0.5, 0.72)
    start = plane.length - plane.body * (0.35 if boeing else 0.5) - chord * high
    points = [
        (start, base),
        (start + lean * high, base + high + radius * 0.35),
        (start + (lean + tip) * high, base + high + radius * 0.35),
        (start + (chord + 0.06) * high, base),
    ]
    colour = colours["fin"] if scheme != "all" else colours["second"]
    if plane.dorsal:
        near_top = (start + lean * high * 0.38, base + high * 0.4)
        pen.shape([(start - 0.75 * high, base), near_top, (start + 0.5 * high, base)], colour)
    pen.shape(points, colour)
    rudder = [(start + (lean + tip * 0.7) * high, base + high), (start + chord * 0.78 * high, base)]
    pen.line(rudder, _shade(colour, 0.75), 0.15)
    stripe = [
        (start + lean * high * 0.55 + 0.1 * high, base + high * 0.6),
        (start + lean * high * 0.7 + 0.1 * high, base + high * 0.76),
        (start + (chord + 0.14) * high, base + high * 0.6),
        (start + (chord + 0.08) * high, base + high * 0.44),
    ]
    pen.shape(stripe, colours["second"] if scheme != "all" else colours["body"])


def _tailplane(pen: _Pen, plane: Airliner, colours: dict[str, Colour], *, near: bool) -> None:
    """Draw one half of the tailplane; on top of the fin for propeller aircraft."""
    radius, reach = plane.body / 2, plane.span * 0.17
    x, y, chord = plane.length - plane.body * 1.45, radius * 0.42, plane.fin * 0.66
    if plane.propellers:
        x, y, chord, reach = (
            plane.length - plane.fin * 0.5,
            radius * 0.9 + plane.fin,
            plane.fin * 0.4,
            plane.span * 0.13,
        )
    lift = reach * (math.sin(0.11) + (-pen.above if near else pen.above))
    back = reach * (0.1 if plane.propellers else 0.68)
    points = [(x, y), (x + back, y + lift), (x + back + chord * 0.4, y + lift), (x + chord, y)]
    colour = colours["wing"] if near else _shade(colours["wing"], 0.7)
    pen.shape(points, colour)
    pen.line([points[0], points[1]], _shade(colour, 0.8), 0.22)


def _wing(pen: _Pen, plane: Airliner, colours: dict[str, Colour], *, near: bool) -> None:
    """Draw one wing with its engines."""
    reach = plane.span / 2 - plane.body / 2
    root = plane.span * (0.1 if plane.propellers else 0.2)
    x, y = plane.wing_at * plane.length, plane.body / 2 * (1.0 if plane.propellers else -0.5)
    lift = reach * ((0.0 if plane.propellers else math.sin(0.1)) + (-pen.above if near else pen.above))
    back = reach * math.tan(math.radians(plane.sweep))
    tip = root * (0.6 if plane.propellers else 0.24)

    def leading(part: float) -> Point:
        return x + back * part, y + lift * part

    kink = 0.0 if plane.propellers else 0.34  # the trailing edge is straight up to here
    outline = [leading(0), leading(1), (leading(1)[0] + tip, y + lift)]
    outline += [(x + root * 1.05 + back * 0.08, y + lift * kink), (x + root, y - 0.1 * plane.body)]
    colour = colours["wing"] if near else _shade(colours["wing"], 0.68)

    def surface() -> None:
        pen.shape(outline, colour)
        pen.line([leading(0), leading(1)], _shade(colour, 0.82), 0.07 * plane.body)
        _wingtip(pen, plane, leading(1), tip, colours if near else dict.fromkeys(colours, colour))

    def engines() -> None:
        for part in plane.engines_at if near else reversed(plane.engines_at):
            _engine(pen, plane, leading(part), colours["engine"] if near else _shade(colours["engine"], 0.62))

    for drawn in (engines, surface) if near and pen.above > 0.08 else (surface, engines):
        drawn()


def _wingtip(pen: _Pen, plane: Airliner, at: Point, chord: float, colours: dict[str, Colour]) -> None:
    """Draw the wingtip device."""
    x, y = at
    high = plane.span * 0.07
    if plane.wingtip in ("upturned", "split"):
        pen.shape([(x, y), (x + chord * 1.1, y + high), (x + chord * 1.6, y + high), (x + chord, y)], colours["fin"])
    if plane.wingtip == "split":
        lower = [(x, y), (x + chord * 0.9, y - high * 0.5), (x + chord * 1.3, y - high * 0.5), (x + chord, y)]
        pen.shape(lower, colours["fin"])
    if plane.wingtip == "fence":
        half = high * 0.32
        pen.shape([(x, y), (x + chord, y + half), (x + chord * 1.2, y), (x + chord, y - half)], colours["fin"])
    if plane.wingtip == "raked":
        pen.shape([(x, y), (x + chord * 2.1, y + plane.span * 0.012), (x + chord, y)], colours["wing"])


def _engine(pen: _Pen, plane: Airliner, at: Point, colour: Colour) -> None:
    """Draw a nacelle ahead of and below the wing with inlet, exhaust and pylon, or a propeller."""
    size = plane.engine
    if plane.propellers:
        x, y = at[0] - 1.9 * size, at[1] - 0.25 * size
        pen.shape([(x, y + 0.25 * size), (x, y - 0.25 * size), (x + 2 * size, y - 0.6 * size),
                   (x + 4 * size, y), (x + 2 * size, y + 0.5 * size)], colour)  # fmt: skip
        pen.line([(x, y - 1.6 * size), (x, y + 1.6 * size)], (70, 72, 78), 0.22)
        return
    long = 1.55 * size
    x, y = at[0] - 0.62 * long, at[1] - 0.62 * size
    half = size / 2
    pen.shape([(x + 0.4 * long, y + 0.3 * half), (x + 0.9 * long, at[1]), (x + 1.5 * long, at[1] - 0.1 * size),
               (x + 1.05 * long, y)], _shade(colour, 0.75))  # fmt: skip
    pen.shape([(x + 0.85 * long, y + 0.5 * half), (x + 1.3 * long, y + 0.12 * half), (x + 1.3 * long, y - 0.12 * half),
               (x + 0.85 * long, y - 0.5 * half)], (96, 96, 98))  # fmt: skip
    pen.shape([(x, y + 0.86 * half), (x + 0.3 * long, y + half), (x + 0.7 * long, y + 0.92 * half),
               (x + long, y + 0.62 * half), (x + long, y - 0.62 * half), (x + 0.7 * long, y - 0.92 * half),
               (x + 0.3 * long, y - half), (x, y - 0.86 * half)], colour)  # fmt: skip
    pen.shape([(x + 0.1 * long, y - 0.4 * half), (x + long, y - 0.3 * half), (x + 0.7 * long, y - 0.92 * half),
               (x + 0.3 * long, y - half), (x, y - 0.86 * half)], _shade(colour, 0.72))  # fmt: skip
    pen.line([(x, y + 0.86 * half), (x, y - 0.86 * half)], (58, 60, 66), 0.12 * size)


def _gear(pen: _Pen, plane: Airliner) -> None:
    """Draw the nose wheel and the main wheels."""
    radius, legs, dark = plane.body / 2, _legs(plane), (40, 42, 46)
    wheel = 0.12 * plane.body + 0.12
    main = (plane.wing_at + 0.115) * plane.length
    long_bogie = plane.length > 55
    feet = [(0.1 * plane.length, 0.8), (main, 1.0)]
    if long_bogie:
        feet += [(main - 1.9 * wheel, 1.0), (main + 1.9 * wheel, 1.0)]
    if plane.deck != "single":
        feet += [(main + 4.2 * wheel, 1.0), (main + 6.1 * wheel, 1.0)]
    for x, size in feet[:2]:
        pen.line([(x, -0.8 * radius), (x, -radius - legs + wheel)], (150, 152, 156), 0.1 * plane.body * size)
    for x, size in feet:
        pen.disc(x, -radius - legs + wheel * size, wheel * size, dark)
