"""Draw an airliner as a photographer beside the runway would see it, as a JPEG of 320 by 213 pixels.

A drawing is a pure function of the airliner, its airline and the photo's number. The shape comes from the real
measures; the paint, the light, the weather and the camera are chosen at random, by the photo's number, and know
nothing of the type: so a network has to look at the shape.

Coordinates of the airliner are metres: x from the tip of the nose backwards, y upwards from the middle of the
fuselage. They become pixels of a picture twice as large, which is then halved to smooth the edges.
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
DRAWN = 2  # the drawing is this many times larger

Colour = tuple[int, int, int]
Point = tuple[float, float]

# Where the fuselage begins to taper, in fuselage heights from each end; the shape of the taper (see `_rise`).
# The difference between the constructors is drawn a little stronger than it is, for pictures this small.
NOSES = {"round": (0.95, 2.2, 2.1, -0.14), "pointed": (2.1, 1.5, 1.25, -0.38)}  # length, p, q, height of the tip
TAIL_CONES = {
    "raised": (3.4, 0.92, 0.56),
    "cone": (2.7, 0.4, 0.05),
    "blade": (2.6, 0.5, -0.22),
}  # length, top, bottom


def draw(airliner: Airliner, livery: int, photo: int) -> bytes:
    """Return the JPEG of photo number `photo`, which shows `airliner` in the paint number `livery`."""
    chance = random.Random(photo * 7919 + 1)
    pen = _Pen(airliner, chance)
    background = _background(chance, pen.ground)
    pen.start(background.resize((WIDTH * DRAWN, HEIGHT * DRAWN), Image.Resampling.NEAREST), chance)
    _airliner(pen, airliner, _paint(livery), chance)
    return _develop(pen.picture.reduce(DRAWN), chance)


# ------------------------------------------------------------------------------------------------ the scene


def _background(chance: random.Random, ground_at: float | None) -> Image.Image:
    """Return a sky, and the ground from the row `ground_at` downwards, if any."""
    high, low = chance.choice(
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
    if chance.random() < 0.6:
        cells = chance.randint(4, 9)
        size = (cells * 3 // 2, cells)
        grey = bytes(max(0, chance.randint(-120, 120)) for _ in range(size[0] * size[1]))
        clouds = Image.frombytes("L", size, grey).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        picture.paste(tuple(min(255, value + 40) for value in low), (0, 0), clouds)
    if ground_at is None:
        return picture
    ground = ImageDraw.Draw(picture)
    x = -20.0
    far = chance.choice([(62, 84, 66), (92, 104, 112), (110, 108, 92)])
    while x < WIDTH:  # trees, hangars and hills behind the runway
        step, height = chance.uniform(14, 70), chance.uniform(2, 14)
        if chance.random() < 0.5:
            ground.ellipse((x, ground_at - height, x + step * 1.5, ground_at + height), fill=far)
        else:
            ground.rectangle((x, ground_at - height * 0.8, x + step, ground_at + 2), fill=far)
        x += step
    grass = chance.choice([(96, 122, 66), (140, 134, 88), (84, 98, 72), (214, 220, 224)])
    runway = chance.choice([(104, 104, 106), (132, 130, 126), (78, 80, 84)])
    ground.rectangle((0, ground_at, WIDTH, HEIGHT), fill=grass)
    ground.rectangle((0, ground_at + 6, WIDTH, ground_at + chance.uniform(24, 50)), fill=runway)
    return picture


def _develop(picture: Image.Image, chance: random.Random) -> bytes:
    """Return `picture` as a camera would hand it over: blurred, noisy, lighter or darker, compressed."""
    if chance.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(chance.uniform(0.4, 1.1)))
    # Grain is grey, as a camera's mostly is.
    grain = np.frombuffer(chance.randbytes(HEIGHT * WIDTH), np.uint8).reshape(HEIGHT, WIDTH, 1)
    strength, brightness = chance.uniform(0.01, 0.08), chance.uniform(0.8, 1.12)
    light = np.asarray(picture) * np.float32(brightness) + (grain - np.float32(128)) * np.float32(strength)
    developed = Image.fromarray(light.clip(0, 255).astype(np.uint8))
    data = io.BytesIO()
    developed.save(data, "JPEG", quality=chance.randint(72, 92))
    return data.getvalue()


# ------------------------------------------------------------------------------------------------ the paint


def _paint(livery: int) -> dict[str, Colour | str]:
    """Return the colours and the scheme of an airline."""
    chance = random.Random(livery * 104729 + 3)

    def colour(low: float = 0.3, high: float = 0.95) -> Colour:
        red, green, blue = colorsys.hsv_to_rgb(chance.random(), chance.uniform(0.35, 1.0), chance.uniform(low, high))
        return round(red * 255), round(green * 255), round(blue * 255)

    white = chance.choice([(240, 241, 243), (228, 230, 233), (205, 209, 214)])
    scheme = chance.choice(["fin", "fin", "fin", "stripe", "stripe", "belly", "belly", "rear", "rear", "all"])
    return {
        "scheme": scheme,
        "body": colour(0.45) if scheme == "all" else white,
        "fin": colour(),
        "second": colour(),
        "engine": chance.choice([white, (196, 200, 205), colour()]),
        "wing": chance.choice([(178, 183, 189), (160, 166, 173), (196, 200, 204)]),
    }


def _shade(colour: Colour, factor: float) -> Colour:
    """Return `colour` lighter (`factor` over 1) or darker."""
    red, green, blue = (min(255, max(0, round(value * factor))) for value in colour)
    return red, green, blue


# ------------------------------------------------------------------------------------------------ the camera


class _Pen:
    """Draws polygons given in the airliner's metres into a picture, from where the camera stands.

    The photographer has the airliner in the middle and fills the frame with it, from a little ahead of it or
    behind it, so that it looks shorter than it is. `ground` is the row where the ground begins, None in the air.
    """

    def __init__(self, airliner: Airliner, chance: random.Random) -> None:
        width, height = WIDTH * DRAWN, HEIGHT * DRAWN
        place = chance.choice(["runway", "runway", "low", "sky", "sky"])
        self.gear_down = place == "runway" or chance.random() < 0.5
        self.above = chance.uniform(-0.04, 0.14)  # how far the camera is above the wing, in radians
        turned = chance.uniform(0.74, 0.82)
        fits_across = width * chance.uniform(0.86, 0.95) / (airliner.length * turned)
        self.scale = scale = min(fits_across, height * 0.8 / _tallness(airliner))
        pitch = math.radians(chance.uniform(-1, 1))  # the camera is never quite level
        if place != "runway":
            pitch += math.radians(chance.choice([-1, 1, 1]) * chance.uniform(0, 4))
        facing = chance.choice([-1, 1])  # to the left, to the right
        self.across = (scale * turned * math.cos(pitch) * facing, scale * turned * math.sin(pitch))
        self.along = (-scale * math.sin(pitch) * facing, -scale * math.cos(pitch))
        middle = height * chance.uniform(0.52, 0.56) + airliner.fin * scale * 0.25
        left = width * chance.uniform(0.485, 0.515) - airliner.length * self.across[0] / 2
        self.origin = (left, middle - airliner.length * self.across[1] / 2)
        wheels = (middle + (airliner.body / 2 + _legs(airliner)) * scale) / DRAWN
        self.ground = {
            "runway": wheels - chance.uniform(8, 18),
            "low": min(HEIGHT - 12, wheels + chance.uniform(4, 30)),
            "sky": None,
        }[place]

    def start(self, picture: Image.Image, chance: random.Random) -> None:
        """Draw into `picture` from now on, on some days through haze."""
        self.picture, self.draw = picture, ImageDraw.Draw(picture)
        self.haze = picture.getpixel((WIDTH // 2, HEIGHT // 2)) if chance.random() < 0.15 else None
        self.haze_part = chance.uniform(0.15, 0.4)

    def at(self, x: float, y: float) -> Point:
        """Return the pixel of the point (x, y) of the airliner."""
        return (
            self.origin[0] + x * self.across[0] + y * self.along[0],
            self.origin[1] + x * self.across[1] + y * self.along[1],
        )

    def seen(self, colour: Colour) -> Colour:
        """Return `colour` as the air between the camera and the airliner lets it through."""
        if not isinstance(self.haze, tuple):
            return colour
        part = self.haze_part
        red, green, blue = (round(a * (1 - part) + b * part) for a, b in zip(colour, self.haze, strict=True))
        return red, green, blue

    def shape(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill the polygon `points`."""
        self.draw.polygon([self.at(x, y) for x, y in points], fill=self.seen(colour))

    def line(self, points: Sequence[Point], colour: Colour, thick: float) -> None:
        """Draw a line, `thick` metres wide."""
        pixels = max(1, round(thick * self.scale))
        self.draw.line([self.at(x, y) for x, y in points], fill=self.seen(colour), width=pixels)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a circle."""
        (column, row), pixels = self.at(x, y), radius * self.scale
        self.draw.ellipse((column - pixels, row - pixels, column + pixels, row + pixels), fill=self.seen(colour))


def _legs(airliner: Airliner) -> float:
    """Return how far the wheels reach below the fuselage, in metres."""
    return airliner.body * 0.34 * airliner.legs + 0.5


def _tallness(airliner: Airliner) -> float:
    """Return the height of the airliner from the wheels to the top of the fin, with room around it."""
    return (airliner.body + airliner.fin + _legs(airliner)) * 1.15


# ------------------------------------------------------------------------------------------------ the airliner


def _airliner(pen: _Pen, plane: Airliner, paint: dict[str, Colour | str], chance: random.Random) -> None:
    """Draw the parts from the far ones to the near ones."""
    colours = {name: value for name, value in paint.items() if not isinstance(value, str)}
    scheme = str(paint["scheme"])
    top, bottom = _profile(plane)
    _wing(pen, plane, colours, near=False)
    _tailplane(pen, plane, colours, near=False)
    _fin(pen, plane, colours, scheme)
    _fuselage(pen, plane, colours, scheme, top, bottom)
    _windows(pen, plane, scheme, chance)
    _windscreen(pen, plane, top)
    if pen.gear_down:
        _gear(pen, plane)
    _tailplane(pen, plane, colours, near=True)
    _wing(pen, plane, colours, near=True)


def _rise(t: float, p: float, q: float) -> float:
    """Return the height of a nose, 0 at its tip (t=0) and 1 where it has become the fuselage (t=1).

    The curve is a superellipse: p = q = 2 is an ellipse, smaller powers are more pointed.
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
        if hump:  # the upper deck begins over the nose, with the cockpit in it
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
    """Draw the body with its paint, lighter above and darker below."""
    body = colours["body"]
    # Many stops where the nose curves, few along the tube.
    stops = [(step / 12) ** 2 * 0.16 for step in range(12)] + [0.16 + step / 42 * 0.84 for step in range(43)]
    edges = [(stop, stop * plane.length, bottom(stop * plane.length), top(stop * plane.length)) for stop in stops]

    def band(low: float, high: float, colour: Colour, start: float = 0.0, end: float = 1.0) -> None:
        """Fill the part between two heights, each a fraction from the lower edge (0) to the upper one (1)."""
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
    if plane.tail_cone == "blade":  # the exhaust at the very end, cut off straight
        pen.line([(plane.length, top(plane.length)), (plane.length, bottom(plane.length))], (90, 92, 96), 0.35)


def _windows(pen: _Pen, plane: Airliner, scheme: str, chance: random.Random) -> None:
    """Draw the rows of windows, the doors, and the airline's name as a few dark marks."""
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
        x = plane.length * chance.uniform(0.14, 0.2)
        for _ in range(chance.randint(3, 9)):
            pen.line([(x, 0.5 * radius), (x, 0.74 * radius)], (70, 76, 110), 0.5)
            x += 0.018 * plane.length


def _windscreen(pen: _Pen, plane: Airliner, top: Callable[[float], float]) -> None:
    """Draw the cockpit windows, which differ between the constructors more than anything else of their size."""
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
    else:  # the lower edge falls to a V in the middle
        outline = [(0, 0.3), (0.28, 1), (0.95, 1), (1, 0.45), (0.5, -0.25)]
    glass = [(x + a * wide, y + b * high) for a, b in outline]
    pen.shape([(a, min(b, top(a) - 0.05 * radius)) for a, b in glass], dark)


def _fin(pen: _Pen, plane: Airliner, colours: dict[str, Colour], scheme: str) -> None:
    """Draw the fin, with the fillet in front of it where there is one."""
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
    """Draw one half of the tailplane; on top of the fin where the airliner has propellers."""
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
    """Draw one wing with what hangs below it."""
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
    """Draw what ends the wing."""
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
    """Draw a nacelle ahead of and below the wing, with its inlet, exhaust and pylon; or a propeller."""
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
