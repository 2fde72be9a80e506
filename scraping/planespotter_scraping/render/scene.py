"""Scenes: where the aircraft, the sun and the photographer are, drawn at random as spotters take their photos."""

from dataclasses import dataclass

import numpy as np

from planespotter_scraping.render.textures import Floats32

AZIMUTHS = {  # share of photos by view, with the range of degrees from the nose: 90 is broadside
    "broadside": (0.42, 70.0, 110.0),
    "front quarter": (0.28, 25.0, 75.0),
    "rear quarter": (0.20, 105.0, 155.0),
    "nose": (0.06, 0.0, 25.0),
    "tail": (0.04, 155.0, 180.0),
}
MIN_ELEVATION, MAX_ELEVATION = -25.0, 20.0  # degrees of the camera above the aircraft
FOCAL_LENGTHS = (50.0, 400.0)  # millimetres, for a sensor 36 mm wide
LIGHTS = {"sun": 0.6, "overcast": 0.2, "dusk": 0.1, "haze": 0.1}


@dataclass(frozen=True)
class Light:
    """Light of a scene, in linear RGB.

    Attributes:
        kind: A key of LIGHTS.
        direction: Unit vector to the sun; z is up.
        sun: Light of the sun on a surface that faces it.
        sky: Light from above.
        ground: Light from below.
    """

    kind: str
    direction: Floats32
    sun: Floats32
    sky: Floats32
    ground: Floats32


@dataclass(frozen=True)
class Scene:
    """One photo to take.

    Attributes:
        azimuth: Of the camera, in degrees from the nose, positive on the right side; -180 to 180.
        elevation: Of the camera as seen from the aircraft, in degrees; of an aircraft on the ground, `camera_height`
            decides instead.
        camera_height: Of the camera above the ground, in metres.
        focal_length: In millimetres.
        fill: Share of the width of the picture that the aircraft takes; above 1 it is cut.
        gear_down: Whether the landing gear is down.
        on_ground: Whether it stands or rolls on an aerodrome.
        pitch: Nose up, in degrees.
        roll: Right wing down, in degrees.
        tilt: Of the camera, in degrees.
        offset: Shift of the aircraft from the middle, -1 to 1: at 1 it touches the border.
        light: The light.
    """

    azimuth: float
    elevation: float
    camera_height: float
    focal_length: float
    fill: float
    gear_down: bool
    on_ground: bool
    pitch: float
    roll: float
    tilt: float
    offset: tuple[float, float]
    light: Light

    def describe(self) -> str:
        """Return the scene as text, for the catalog."""
        return (
            f"azimuth {self.azimuth:.0f}, elevation {self.elevation:.0f}, {self.focal_length:.0f} mm, "
            f"{self.light.kind}, {'on the ground' if self.on_ground else 'in the air'}, "
            f"gear {'down' if self.gear_down else 'up'}"
        )


def draw_scene(rng: np.random.Generator, *, gear_retracts: bool) -> Scene:
    """Draw a scene at random.

    Args:
        rng: Source of randomness.
        gear_retracts: Whether the model can show its landing gear up.
    """
    shares = [share for share, _, _ in AZIMUTHS.values()]
    _, low, high = list(AZIMUTHS.values())[int(rng.choice(len(shares), p=shares))]
    azimuth = rng.uniform(low, high) * rng.choice([-1, 1])
    gear_down = not (gear_retracts and rng.random() < 0.38)
    on_ground = bool(gear_down and rng.random() < 0.42)
    elevation = float(rng.choice([rng.normal(-7, 5), rng.uniform(-25, -8), rng.uniform(-8, 20)], p=[0.5, 0.28, 0.22]))
    fill = rng.uniform(0.68, 1.0) if rng.random() < 0.84 else rng.uniform(0.35, 0.68)
    if rng.random() < 0.12:
        fill = rng.uniform(1.0, 1.25)
    if on_ground:
        pitch, roll = (0.0 if rng.random() < 0.9 else rng.uniform(3, 8)), 0.0
    else:
        pitch = rng.uniform(-1, 7) if gear_down else rng.uniform(0, 15)
        roll = rng.normal(0, 2) if rng.random() < 0.8 else rng.normal(0, 14)
    return Scene(
        azimuth=float(azimuth),
        elevation=float(np.clip(elevation, MIN_ELEVATION, MAX_ELEVATION)),
        camera_height=float(np.exp(rng.uniform(np.log(1.6), np.log(22)))),
        focal_length=float(np.exp(rng.uniform(*np.log(FOCAL_LENGTHS)))),
        fill=fill,
        gear_down=gear_down,
        on_ground=on_ground,
        pitch=pitch,
        roll=float(np.clip(roll, -35, 35)),
        tilt=rng.normal(0, 1.2),
        offset=(rng.uniform(-0.7, 0.7), rng.uniform(-0.6, 0.6)),
        light=draw_light(rng, azimuth),
    )


def draw_light(rng: np.random.Generator, azimuth: float) -> Light:
    """Draw the light of a scene at random.

    Args:
        rng: Source of randomness.
        azimuth: Of the camera, in degrees: the sun is behind most photographers.
    """
    kind = str(rng.choice(list(LIGHTS), p=list(LIGHTS.values())))
    around = np.radians(azimuth) + rng.normal(0, 0.9) if rng.random() < 0.6 else rng.uniform(0, 2 * np.pi)
    height = np.radians(rng.uniform(2, 12) if kind == "dusk" else rng.uniform(12, 70))
    direction = horizontal_direction(np.degrees(around)) * np.cos(height) + np.array([0, 0, np.sin(height)])
    warm = np.array([1.0, 0.93, 0.82]) if height < 0.5 else np.array([1.0, 0.97, 0.92])
    match kind:
        case "sun":
            sun, sky, ground = warm * rng.uniform(1.0, 1.5), (0.42, 0.52, 0.68), (0.30, 0.29, 0.24)
            sky_level, ground_level = rng.uniform(0.45, 0.8), rng.uniform(0.45, 1.0)
        case "haze":
            sun, sky, ground = warm * rng.uniform(0.5, 0.9), (0.70, 0.73, 0.78), (0.36, 0.35, 0.32)
            sky_level, ground_level = rng.uniform(0.5, 0.7), rng.uniform(0.6, 1.0)
        case "overcast":
            sun, sky, ground = warm * rng.uniform(0.02, 0.15), (0.88, 0.90, 0.93), (0.35, 0.35, 0.34)
            sky_level, ground_level = rng.uniform(0.65, 0.95), rng.uniform(0.6, 1.1)
        case _:
            sun = np.array([1.3, 0.72, 0.38]) * rng.uniform(0.4, 1.1)
            sky, ground = (0.36, 0.42, 0.60), (0.22, 0.20, 0.22)
            sky_level, ground_level = rng.uniform(0.45, 0.8), rng.uniform(0.5, 0.9)
    return Light(
        kind,
        direction.astype(np.float32),
        sun.astype(np.float32),
        (np.array(sky) * sky_level).astype(np.float32),
        (np.array(ground) * ground_level).astype(np.float32),
    )


def horizontal_direction(azimuth: float) -> Floats32:
    """Return the horizontal unit vector at an azimuth from the nose, which points to -x; the right side is +y."""
    angle = np.radians(azimuth)
    return np.array([-np.cos(angle), np.sin(angle), 0.0], np.float32)
