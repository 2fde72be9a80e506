"""Camera: place it so that the aircraft fills the picture as a scene asks, and cast a ray through each pixel."""

from dataclasses import dataclass

import numpy as np

from planespotter_scraping.render.mesh import Floats
from planespotter_scraping.render.scene import Scene, horizontal_direction
from planespotter_scraping.render.textures import Floats32

SENSOR_WIDTH = 36.0  # millimetres
MIN_DISTANCE = 3.0  # metres between the camera and the aircraft
FIT_STEPS = 12


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with a shifted lens.

    Attributes:
        eye: Position in metres.
        right, up, forward: Its axes, unit vectors.
        half_width: Tangent of half the horizontal field of view.
        half_height: Tangent of half the vertical field of view.
        shift: What to add to picture coordinates (-1 to 1) so that the aircraft is where it should be.
    """

    eye: Floats
    right: Floats
    up: Floats
    forward: Floats
    half_width: float
    half_height: float
    shift: tuple[float, float] = (0.0, 0.0)

    def project(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Return x and y in the picture (-1 to 1, y up) and the depth in metres of points; shape (n,) each."""
        relative = points - self.eye
        depth = relative @ self.forward
        safe = np.maximum(depth, 1e-3)
        x = relative @ self.right / safe / self.half_width + self.shift[0]
        y = relative @ self.up / safe / self.half_height + self.shift[1]
        return x, y, depth

    def directions(self, x: Floats32, y: Floats32) -> Floats32:
        """Return unit vectors through picture coordinates; shape (n, 3)."""
        across = (x - np.float32(self.shift[0])) * np.float32(self.half_width)
        upward = (y - np.float32(self.shift[1])) * np.float32(self.half_height)
        rays = (
            self.forward.astype(np.float32)
            + across[:, None] * self.right.astype(np.float32)
            + upward[:, None] * self.up.astype(np.float32)
        )
        return np.asarray(rays / np.sqrt(1 + across**2 + upward**2)[:, None], np.float32)


def place_camera(points: Floats, scene: Scene, aspect: float) -> Camera:
    """Place the camera of a scene.

    Args:
        points: Points on the aircraft in the world; shape (n, 3). The ground under an aircraft on it is at z = 0.
        scene: The scene.
        aspect: Width of the picture divided by its height.
    """
    center = (points.min(axis=0) + points.max(axis=0)) / 2
    half_width = SENSOR_WIDTH / 2 / scene.focal_length
    sideways = horizontal_direction(scene.azimuth).astype(float)
    elevation = np.radians(scene.elevation)
    distance = float(np.ptp(points, axis=0).max()) / (2 * half_width * scene.fill)
    for _ in range(FIT_STEPS):
        if scene.on_ground:
            eye = np.array([center[0], center[1], 0.0]) + sideways * max(distance, 8.0)
            eye[2] = min(scene.camera_height, max(distance, 8.0) * 0.35)
        else:
            eye = center + distance * (sideways * np.cos(elevation) + np.array([0, 0, np.sin(elevation)]))
        camera = _look_at(eye, center, scene.tilt, half_width, aspect)
        x, y, depth = camera.project(points)
        if depth.min() < MIN_DISTANCE:
            distance *= 1.4
            continue
        height_limit = 0.95 if scene.fill < 1 else 1.15
        fill = max(np.ptp(x) / 2, np.ptp(y) / 2 / height_limit * scene.fill)
        distance *= fill / scene.fill
    x, y, _ = camera.project(points)
    shift = [
        float(offset * max(1 - np.ptp(values) / 2, 0) - (values.min() + values.max()) / 2)
        for offset, values in zip(scene.offset, (x, y), strict=True)
    ]
    return Camera(
        camera.eye, camera.right, camera.up, camera.forward, half_width, half_width / aspect, (shift[0], shift[1])
    )


def _look_at(eye: Floats, target: Floats, tilt: float, half_width: float, aspect: float) -> Camera:
    forward = (target - eye) / np.linalg.norm(target - eye)
    level = np.cross(forward, [0.0, 0.0, 1.0])
    level /= np.linalg.norm(level)
    upright = np.cross(level, forward)
    cosine, sine = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    right, up = cosine * level + sine * upright, cosine * upright - sine * level
    return Camera(eye, right, up, forward, half_width, half_width / aspect)


def attitude(pitch: float, roll: float) -> Floats:
    """Return the rotation from the axes of an aircraft to the world; shape (3, 3).

    Args:
        pitch: Nose up, in degrees.
        roll: Right wing down, in degrees.
    """
    pitch, roll = np.radians(pitch), np.radians(roll)
    nose_up = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    wing_down = np.array([[1, 0, 0], [0, np.cos(roll), np.sin(roll)], [0, -np.sin(roll), np.cos(roll)]])
    matrix: Floats = nose_up @ wing_down
    return matrix
