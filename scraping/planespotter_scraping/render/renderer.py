"""Ray tracer: one picture of an aircraft in a scene, with supersampling, cast shadows and translucent surfaces.

Rays are traced in the axes of the aircraft, so that one acceleration structure serves all scenes; light and camera are
in the world, where z is up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planespotter_scraping.render import effects
from planespotter_scraping.render.aircraft import OFFSET, Aircraft, Hits, unit
from planespotter_scraping.render.background import Ground, Sky, draw_photo
from planespotter_scraping.render.camera import Camera, attitude, place_camera
from planespotter_scraping.render.mesh import Floats
from planespotter_scraping.render.scene import Light, Scene
from planespotter_scraping.render.textures import Floats32, TextureAtlas

SUPERSAMPLING = 2  # rays per pixel along each side
MAX_LAYERS = 4  # translucent surfaces behind each other
MIN_ALPHA = 0.03
FIT_POINTS = 4000
SHADOW_RANGE = 4.0  # lengths of the aircraft around it in which the ground is checked for its shadow
SKY_GRID, SKY_RAYS = 64, 24  # cells along a side, and rays per cell, of the map of skylight under the aircraft


@dataclass(frozen=True)
class Appearance:
    """Surface of an aircraft in one picture.

    Attributes:
        atlas: Its textures.
        repaint: Function of texture colour, positions, normals and triangles that returns linear RGB; None for the
            textures as they are.
    """

    atlas: TextureAtlas
    repaint: Callable[[Floats32, Floats32, Floats32, np.ndarray], Floats32] | None = None


@dataclass(frozen=True)
class _Placement:
    """Position of the aircraft: world = rotation @ (point - pivot)."""

    rotation: Floats32
    pivot: Floats32

    def to_world(self, points: Floats) -> Floats:
        moved: Floats = (points - self.pivot) @ self.rotation.T
        return moved

    def to_aircraft(self, points: Floats32) -> Floats32:
        return (points @ self.rotation + self.pivot).astype(np.float32)

    def turn_to_aircraft(self, vectors: Floats32) -> Floats32:
        return (vectors @ self.rotation).astype(np.float32)

    def turn_to_world(self, vectors: Floats32) -> Floats32:
        return (vectors @ self.rotation.T).astype(np.float32)


def render(
    aircraft: Aircraft,
    appearance: Appearance,
    scene: Scene,
    rng: np.random.Generator,
    size: tuple[int, int],
    backgrounds: Sequence[Path] = (),
) -> np.ndarray:
    """Render one picture.

    Args:
        aircraft: The aircraft, with its landing gear as the scene says.
        appearance: Its surface.
        scene: The scene.
        rng: Source of randomness for everything that the scene leaves open.
        size: Width and height in pixels.
        backgrounds: Photos to use for half of the pictures of aircraft in the air.

    Returns:
        8-bit RGB; shape (height, width, 3).
    """
    width, height = size
    placement = _place(aircraft, scene)
    points = aircraft.positions.reshape(-1, 3)
    extremes = np.concatenate([points.argmin(axis=0), points.argmax(axis=0)])
    chosen = np.concatenate([np.arange(0, len(points), max(1, len(points) // FIT_POINTS)), extremes])
    world = placement.to_world(points[chosen])
    camera = place_camera(world, scene, width / height)
    x, y = _picture_grid(width * SUPERSAMPLING, height * SUPERSAMPLING)
    sky = Sky(rng, scene.light.kind)
    ground = Ground(rng, scene, sky.horizon)
    in_front = _trace_aircraft(aircraft, appearance, placement, camera, scene.light, rng.uniform(0.3, 1.1), (x, y))
    use_photo = bool(backgrounds) and not scene.on_ground and rng.random() < 0.5
    if use_photo:
        behind = draw_photo(rng, backgrounds, width, height)
    else:
        ground_level = _ground_level(scene, camera, rng)
        colors = _trace_background(aircraft, placement, camera, scene, sky, ground, ground_level, (x, y))
        behind = _downsample(colors, width, height)
    front = _downsample(in_front, width, height)
    behind = effects.gaussian_blur(behind, rng.uniform(0.2, 2.0) if use_photo else rng.uniform(0.1, 1.0))
    if rng.random() < 0.3:
        behind = effects.motion_blur(behind, int(rng.uniform(3, 22) * width / 384))
    haze = rng.uniform(0, 0.08) if rng.random() < 0.84 else rng.uniform(0.08, 0.3)
    color, alpha = front[..., :3], front[..., 3:]
    color = color + (sky.horizon * alpha - color) * np.float32(haze)
    front = np.concatenate([color, alpha], axis=2)
    if rng.random() < 0.35:
        front = effects.motion_blur(front, int(rng.uniform(2, 4.5) * width / 384))
    front = effects.gaussian_blur(front, abs(rng.normal(0, 0.45)) * width / 384)
    linear = behind * (1 - front[..., 3:]) + front[..., :3]
    return effects.develop(effects.tone(linear, rng.uniform(0.85, 1.2)), rng)


def _place(aircraft: Aircraft, scene: Scene) -> _Placement:
    """Put the main gear of an aircraft on the ground at the origin, or its middle there if it flies."""
    anatomy = aircraft.anatomy
    if scene.on_ground:
        pivot = np.array([anatomy.main_gear, 0, anatomy.ground])
    else:
        points = aircraft.positions.reshape(-1, 3)
        pivot = (points.min(axis=0) + points.max(axis=0)) / 2
    rotation = attitude(scene.pitch, scene.roll)
    return _Placement(rotation.astype(np.float32), pivot.astype(np.float32))


def _ground_level(scene: Scene, camera: Camera, rng: np.random.Generator) -> float:
    """Return the height of the ground in the world: the photographer stands on it, or flies above it."""
    if scene.on_ground:
        return 0.0
    if scene.elevation < 3:
        return float(camera.eye[2]) - scene.camera_height
    return float(camera.eye[2]) - float(np.exp(rng.uniform(np.log(150), np.log(2500))))


def _picture_grid(width: int, height: int) -> tuple[Floats32, Floats32]:
    """Return picture coordinates (-1 to 1, y up) of the centres of all samples, row by row."""
    across = (np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1
    upward = 1 - (np.arange(height, dtype=np.float32) + 0.5) / height * 2
    x, y = np.meshgrid(across, upward)
    return np.asarray(x.ravel(), np.float32), np.asarray(y.ravel(), np.float32)


def _downsample(samples: Floats32, width: int, height: int) -> Floats32:
    """Average the samples of each pixel."""
    blocks = samples.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING, -1)
    averaged: Floats32 = blocks.mean(axis=(1, 3), dtype=np.float32)
    return averaged


def _trace_aircraft(
    aircraft: Aircraft,
    appearance: Appearance,
    placement: _Placement,
    camera: Camera,
    light: Light,
    gloss: float,
    grid: tuple[Floats32, Floats32],
) -> Floats32:
    """Return premultiplied linear RGB and alpha of each sample; shape (n, 4)."""
    directions = camera.directions(*grid)
    pixel_angle = 2 * camera.half_width / np.sqrt(len(grid[0])) * SUPERSAMPLING
    result = np.zeros((len(directions), 4), np.float32)
    clear = np.ones(len(directions), np.float32)  # share of light that comes from behind what was hit so far
    active = np.arange(len(directions))
    eye = camera.eye.astype(np.float32)
    origins = np.broadcast_to(eye, directions.shape)
    for _ in range(MAX_LAYERS):
        local = placement.turn_to_aircraft(directions[active])
        hits = aircraft.trace(placement.to_aircraft(origins[active]), local)
        if not len(hits.ray):
            break
        active = active[hits.ray]
        view = directions[active]
        texture = _surface_color(aircraft, appearance.atlas, hits, pixel_angle, origins[active], eye)
        positions = np.einsum("nc,ncd->nd", hits.weights, aircraft.positions[hits.triangle]).astype(np.float32)
        smooth, geometric = aircraft.normals(hits)
        albedo = texture[:, :3]
        if appearance.repaint is not None:
            albedo = appearance.repaint(albedo, positions, smooth, hits.triangle)
        geometric = placement.turn_to_world(geometric)
        geometric *= -np.sign(np.einsum("nd,nd->n", geometric, view))[:, None]
        smooth = placement.turn_to_world(smooth)
        smooth *= np.where(np.einsum("nd,nd->n", smooth, geometric) < 0, -1, 1)[:, None].astype(np.float32)
        starts = positions + placement.turn_to_aircraft(geometric) * np.float32(OFFSET)
        lit = np.einsum("nd,d->n", geometric, light.direction) > 0
        sunlit = lit.astype(np.float32)
        toward_sun = placement.turn_to_aircraft(light.direction[None])
        sunlit[lit] = ~aircraft.occluded(starts[lit], np.broadcast_to(toward_sun, (int(lit.sum()), 3)))
        color = _shade(albedo, smooth, view, sunlit, light, np.where(aircraft.is_gear[hits.triangle], 0.1, gloss))
        alpha = np.where(texture[:, 3] < MIN_ALPHA, 0, texture[:, 3])
        share = (alpha * clear[active])[:, None]
        result[active, :3] += color * share
        result[active, 3:] += share
        clear[active] *= 1 - alpha
        origins = np.array(origins)
        origins[active] += view * (hits.distance + OFFSET)[:, None]
        active = active[clear[active] > MIN_ALPHA]
        if not len(active):
            break
    return result


def _surface_color(
    aircraft: Aircraft, atlas: TextureAtlas, hits: Hits, pixel_angle: float, origins: Floats32, eye: Floats32
) -> Floats32:
    """Return linear RGB and alpha at hits: material times texture; shape (n, 4)."""
    index = aircraft.texture_index[hits.triangle]
    distance = hits.distance + np.linalg.norm(origins - eye, axis=1)
    texels = distance * np.float32(pixel_angle) * aircraft.uv_density[hits.triangle] * atlas.sides[index]
    sampled = atlas.sample(index, aircraft.uvs(hits), texels.astype(np.float32))
    color: Floats32 = sampled * aircraft.colors[hits.triangle]
    return color


def _shade(
    albedo: Floats32, normals: Floats32, view: Floats32, sunlit: Floats32, light: Light, gloss: np.ndarray
) -> Floats32:
    """Return the light that surfaces reflect to the camera: diffuse, ambient, and a clear coat; shape (n, 3)."""
    facing = np.maximum(normals @ light.direction, 0) * sunlit
    upward = np.clip((normals[:, 2] * 0.5 + 0.5 - 0.05) / 0.9, 0, 1)[:, None]
    ambient = light.ground + (light.sky - light.ground) * (upward**2 * (3 - 2 * upward))
    color = albedo * (light.sun * facing[:, None] + ambient)
    cosine = np.einsum("nd,nd->n", normals, view)
    mirrored = view - 2 * cosine[:, None] * normals
    fresnel = 0.03 + 0.6 * (1 - np.clip(-cosine, 0, 1)) ** 5
    above = np.clip((mirrored[:, 2:] + 0.12) / 0.24, 0, 1)
    surroundings = light.ground * 0.8 + (light.sky * 1.1 - light.ground * 0.8) * above
    highlight = np.maximum(unit(light.direction - view)[:, :] * normals, -1).sum(axis=1).clip(0) ** 60 * sunlit
    coat = fresnel[:, None] * surroundings + highlight[:, None] * light.sun * 0.25
    return np.asarray(color + gloss[:, None] * coat, np.float32)


def _trace_background(
    aircraft: Aircraft,
    placement: _Placement,
    camera: Camera,
    scene: Scene,
    sky: Sky,
    ground: Ground,
    ground_level: float,
    grid: tuple[Floats32, Floats32],
) -> Floats32:
    """Return linear RGB of sky and ground for each sample; shape (n, 3)."""
    x, y = grid
    directions = camera.directions(x, y)
    color = ground.tree_line(directions, sky.color(x, y))
    down = np.nonzero(directions[:, 2] < -1e-4)[0]
    if not len(down):
        return color
    rays = directions[down]
    distance = (ground_level - camera.eye[2]) / rays[:, 2]
    points = camera.eye.astype(np.float32) + rays * distance[:, None].astype(np.float32)
    light = scene.light
    near = np.linalg.norm(points, axis=1) < SHADOW_RANGE * aircraft.anatomy.length
    sunlit = np.ones(len(points), np.float32)
    skylit = np.ones(len(points), np.float32)
    if near.any():
        starts = placement.to_aircraft(points[near] + np.array([0, 0, OFFSET], np.float32))
        toward_sun = placement.turn_to_aircraft(light.direction[None])
        sunlit[near] = ~aircraft.occluded(starts, np.broadcast_to(toward_sun, starts.shape))
        if scene.on_ground:
            skylit[near] = _skylight(aircraft, placement, points[near, :2])
    falling = light.sun * (light.direction[2] * sunlit)[:, None] + light.sky * skylit[:, None]
    color[down] = ground.color(points[:, :2], distance.astype(np.float32), falling)
    return color


def _skylight(aircraft: Aircraft, placement: _Placement, points: Floats32) -> Floats32:
    """Return the share of the sky that points on the ground see past the aircraft; shape (n,)."""
    reach = aircraft.anatomy.length
    cells = (np.arange(SKY_GRID, dtype=np.float32) + 0.5) / SKY_GRID * 2 - 1
    x, y = np.meshgrid(cells * reach, cells * reach)
    centers = np.stack([x.ravel(), y.ravel(), np.full(x.size, OFFSET, np.float32)], axis=1)
    number = np.arange(SKY_RAYS) + 0.5
    tilt, turn = np.sqrt(number / SKY_RAYS), number * np.pi * (3 - np.sqrt(5))  # a spiral, denser overhead by cosine
    rays = np.stack([tilt * np.cos(turn), tilt * np.sin(turn), np.sqrt(1 - tilt**2)], axis=1).astype(np.float32)
    origins = placement.to_aircraft(np.repeat(centers.astype(np.float32), SKY_RAYS, axis=0))
    blocked = aircraft.occluded(origins, np.tile(placement.turn_to_aircraft(rays), (len(centers), 1)))
    visible = 1 - blocked.reshape(SKY_GRID, SKY_GRID, SKY_RAYS).mean(axis=2, dtype=np.float32)
    column, row = ((points / reach + 1) / 2 * SKY_GRID - 0.5).T
    column, row = np.clip(column, 0, SKY_GRID - 1.001), np.clip(row, 0, SKY_GRID - 1.001)
    left, top = column.astype(np.int64), row.astype(np.int64)
    across, down = column - left, row - top
    upper = visible[top, left] * (1 - across) + visible[top, left + 1] * across
    lower = visible[top + 1, left] * (1 - across) + visible[top + 1, left + 1] * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)
