"""Ray tracing target: an aircraft's triangles in an Embree scene, with their surface attributes and its anatomy.

The anatomy, the positions of nose, fuselage, wings and wheels in metres, is measured from the geometry. Invented
liveries, the ground and the shadow are placed by it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from planespotter_scraping.render.airliner_models import AirlinerModel
from planespotter_scraping.render.errors import ModelError
from planespotter_scraping.render.flightgear_xml import Part, find_texture, load_model
from planespotter_scraping.render.mesh import Floats, concatenate
from planespotter_scraping.render.textures import Floats32

GEAR = re.compile(r"gear|wheel|ty?ire|tyre|strut|bogie|oleo", re.IGNORECASE)
ENGINE = re.compile(r"engine|nacelle|cowl", re.IGNORECASE)
OFFSET = 0.004  # metres between a surface and the start of a ray from it


@dataclass(frozen=True)
class Anatomy:
    """Measures of an aircraft, in metres of its axes: x aft, y right, z up.

    Attributes:
        nose: Smallest x.
        length: Length over all.
        radius: Half the width of the fuselage.
        top: Top of the fuselage.
        bottom: Bottom of the fuselage.
        half_span: Half the wingspan.
        ground: Bottom of the wheels.
        main_gear: x of the main landing gear.
    """

    nose: float
    length: float
    radius: float
    top: float
    bottom: float
    half_span: float
    ground: float
    main_gear: float


@dataclass(frozen=True)
class Hits:
    """Where rays meet an aircraft.

    Attributes:
        ray: Index of each ray that meets it; shape (n,).
        triangle: Index of the triangle; shape (n,).
        distance: In metres, if directions are unit vectors; shape (n,).
        weights: Barycentric weights of the corners; shape (n, 3).
    """

    ray: NDArray[np.intp]
    triangle: NDArray[np.intp]
    distance: Floats32
    weights: Floats32


class Aircraft:
    """One model with its landing gear up or down.

    Attributes:
        positions: Corners of the triangles; shape (triangles, 3, 3).
        anatomy: Its measures.
        textures: Texture file of each texture index without a livery; None where it is missing.
        parts: One part for each texture index, to find its texture in a livery.
        is_gear: Whether a triangle belongs to the landing gear; shape (triangles,).
        is_engine: Whether a triangle belongs to an engine; shape (triangles,).
    """

    def __init__(self, parts: Sequence[Part], root: Path, wingspan: float | None = None) -> None:
        """Build the acceleration structure.

        Args:
            parts: At least one part.
            root: Folder of the models.
            wingspan: Wingspan to stretch the wings to, in metres; None to leave them.
        """
        meshes = [part.mesh for part in parts]
        mesh = concatenate(meshes)
        counts = [len(mesh) for mesh in meshes]
        self.is_gear = np.repeat([any(map(GEAR.search, part.names)) for part in parts], counts)
        self.is_engine = np.repeat([any(map(ENGINE.search, part.names)) for part in parts], counts)
        positions = mesh.positions
        self.anatomy = measure(positions, self.is_gear)
        if wingspan is not None:
            positions = _stretch_wings(positions, self.anatomy, wingspan)
            self.anatomy = measure(positions, self.is_gear)
        self.positions = positions
        self._normals = mesh.normals.astype(np.float32)
        self._uvs = mesh.uvs.astype(np.float32)
        self.parts: list[Part] = []
        indices: dict[str, int] = {}
        for part in parts:
            if part.texture not in indices:
                indices[part.texture] = len(self.parts)
                self.parts.append(part)
        self.textures = [find_texture(part, None, root) for part in self.parts]
        self.texture_index = np.repeat([indices[part.texture] for part in parts], counts)
        self.colors = _material_colors(mesh.colors, np.repeat([part.texture != "" for part in parts], counts))
        # Texture units per metre, to choose the level of a mipmap.
        edges = positions[:, 1:] - positions[:, :1]
        area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
        uv_edges = mesh.uvs[:, 1:] - mesh.uvs[:, :1]
        uv_area = np.abs(uv_edges[:, 0, 0] * uv_edges[:, 1, 1] - uv_edges[:, 0, 1] * uv_edges[:, 1, 0])
        self.uv_density = np.sqrt(uv_area / np.maximum(area, 1e-9)).astype(np.float32)
        self._scene = EmbreeScene()
        corners = positions.reshape(-1, 3).astype(np.float32)
        TriangleMesh(self._scene, corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))

    def trace(self, origins: Floats32, directions: Floats32) -> Hits:
        """Find the closest triangle on each ray.

        Args:
            origins: Starts of the rays; shape (n, 3).
            directions: Unit vectors; shape (n, 3).
        """
        result = self._scene.run(
            np.ascontiguousarray(origins, np.float32), np.ascontiguousarray(directions, np.float32), output=True
        )
        ray = np.nonzero(result["primID"] >= 0)[0]
        second, third = result["u"][ray], result["v"][ray]
        weights = np.stack([1 - second - third, second, third], axis=1)
        return Hits(ray, result["primID"][ray].astype(np.intp), result["tfar"][ray], weights)

    def occluded(self, origins: Floats32, directions: Floats32) -> NDArray[np.bool_]:
        """Return whether the aircraft blocks each ray; shape (n,)."""
        result = self._scene.run(
            np.ascontiguousarray(origins, np.float32), np.ascontiguousarray(directions, np.float32), query="OCCLUDED"
        )
        blocked: NDArray[np.bool_] = result >= 0
        return blocked

    def normals(self, hits: Hits) -> tuple[Floats32, Floats32]:
        """Return the interpolated and the geometric unit normals at hits; shape (n, 3) each."""
        corners = self.positions[hits.triangle]
        geometric = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        smooth = np.einsum("nc,ncd->nd", hits.weights, self._normals[hits.triangle])
        return unit(smooth.astype(np.float32)), unit(geometric.astype(np.float32))

    def uvs(self, hits: Hits) -> Floats32:
        """Return the texture coordinates at hits; shape (n, 2)."""
        return np.asarray(np.einsum("nc,ncd->nd", hits.weights, self._uvs[hits.triangle]), np.float32)


def load_aircraft(model: AirlinerModel, root: Path, *, gear_down: bool) -> Aircraft:
    """Load a model with its landing gear up or down.

    Raises:
        ModelError: If a file of the model cannot be used, or if it has no geometry.
    """
    position = float(gear_down)
    speed = 100.0 if gear_down else 300.0  # knots; many models show the gear by speed
    properties = {
        "velocities/true-airspeed-kt": speed,
        "velocities/airspeed-kt": speed,
        "controls/gear/gear-down": position,
        "gear/gear/position-norm": position,
        **{f"gear/gear[{number}]/position-norm": position for number in range(1, 6)},
        "sim/signals/fdm-initialized": 1.0,  # shows the winglets of some
        **dict(model.variant.properties),
    }
    parts = load_model(model.path, root, properties)
    if not parts:
        raise ModelError(f"The model {model.path} has no geometry. Get a complete copy of the file.")
    return Aircraft(parts, root, model.variant.wingspan)


def unit(vectors: Floats32) -> Floats32:
    """Scale vectors to length 1; shape (n, 3)."""
    scaled: Floats32 = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return scaled


def measure(positions: Floats, is_gear: NDArray[np.bool_]) -> Anatomy:
    """Measure an aircraft.

    Args:
        positions: Corners of its triangles; shape (triangles, 3, 3).
        is_gear: Whether a triangle belongs to the landing gear; shape (triangles,).
    """
    everything = positions.reshape(-1, 3)
    points = positions[~is_gear].reshape(-1, 3) if not is_gear.all() else everything
    low, high = points.min(axis=0), points.max(axis=0)
    nose, length = float(low[0]), max(float(high[0] - low[0]), 1e-3)
    along = (points[:, 0] - nose) / length
    front = points[(along > 0.08) & (along < 0.22)]  # ahead of the wing
    radius = float(np.percentile(np.abs(front[:, 1]), 99)) if len(front) else float(high[1]) * 0.1
    radius = max(radius, 1e-3)
    middle = points[(along > 0.3) & (along < 0.68) & (np.abs(points[:, 1]) < radius * 0.3)]
    top = float(np.percentile(middle[:, 2], 99.5)) if len(middle) else float(high[2]) * 0.6
    ground = float(everything[:, 2].min())
    wheels = everything[everything[:, 2] < ground + 0.25, 0]
    aft = wheels[wheels > nose + length * 0.35]
    return Anatomy(
        nose=nose,
        length=length,
        radius=radius,
        top=top,
        bottom=top - 2.1 * radius,
        half_span=float(np.abs(points[:, 1]).max()),
        ground=ground,
        main_gear=float(np.median(aft if len(aft) else wheels)),
    )


def _stretch_wings(positions: Floats, anatomy: Anatomy, wingspan: float) -> Floats:
    """Stretch the wings to a span; fuselage and tail stay as they are."""
    factor = (wingspan / 2 - anatomy.radius) / (anatomy.half_span - anatomy.radius)
    stretched = positions.copy()
    y = stretched[..., 1]
    ahead_of_tail = positions[..., 0] < anatomy.nose + 0.8 * anatomy.length
    outside = np.abs(y) - anatomy.radius
    y[...] = np.where(ahead_of_tail & (outside > 0), np.sign(y) * (anatomy.radius + outside * factor), y)
    return stretched


def _material_colors(colors: Floats, textured: NDArray[np.bool_]) -> Floats32:
    """Return the linear RGBA that multiplies the texture: light grey materials do not darken a texture."""
    brightest = colors[:, :3].max(axis=1)
    scale = np.where(textured & (brightest > 0.4), 1 / np.maximum(brightest, 0.4), 1.0)
    rgb = np.clip(colors[:, :3] * scale[:, None], 0, 1) ** 2.2
    return np.concatenate([rgb, colors[:, 3:]], axis=1).astype(np.float32)
