"""AC3D reader: the objects of an .ac file as triangle meshes in FlightGear's axes.

The format is text: materials, then a tree of objects. An object has a location and rotation relative to its parent, a
texture, vertices, polygons ("surfaces") and children ("kids").
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from planespotter_scraping.render.errors import ModelError
from planespotter_scraping.render.mesh import Floats, Mesh, face_vectors, smooth_normals, triangulate

MAX_DEPTH = 100  # objects within each other
DEFAULT_CREASE = 61.0  # degrees
SURFACE_KIND, SURFACE_SMOOTH = 0x0F, 0x10  # flags of a surface; kind 0 is a polygon, others are lines
WELD = 2000  # vertices closer than 1 / WELD metres are smoothed as one


@dataclass(frozen=True)
class Ac3dObject:
    """One object with polygons.

    Attributes:
        names: Its name and those of the groups around it, "" excluded.
        texture: Name of the texture file as written, "" for none.
        mesh: Its triangles.
    """

    names: frozenset[str]
    texture: str
    mesh: Mesh


@dataclass
class _Surface:
    flags: int = 0
    material: int = 0
    corners: list[tuple[int, float, float]] = field(default_factory=list)


@dataclass
class _Node:
    name: str = ""
    texture: str = ""
    texture_scale: tuple[float, float] = (1.0, 1.0)
    texture_offset: tuple[float, float] = (0.0, 0.0)
    crease: float = DEFAULT_CREASE
    location: Floats = field(default_factory=lambda: np.zeros(3))
    rotation: Floats = field(default_factory=lambda: np.eye(3))
    vertices: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    surfaces: list[_Surface] = field(default_factory=list)


def read_ac3d(path: Path) -> list[Ac3dObject]:
    """Read an AC3D file.

    Args:
        path: The .ac file.

    Returns:
        Objects that have polygons, in the order of the file; x points aft, y right, z up, lengths in metres.

    Raises:
        ModelError: If the file cannot be read or is not AC3D.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ModelError(f"The model {path} cannot be read: {error.strerror}. Check the path.") from None
    reader = _Reader(text)
    try:
        return reader.read()
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"Line {reader.number} of the model {path} is not valid AC3D: {error}. Get a complete copy of the file."
        ) from None


class _Reader:
    """A cursor over the lines of a file."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.number = 0  # of the line read last, from 1
        self.materials: list[list[float]] = []
        self.objects: list[Ac3dObject] = []

    def next(self) -> tuple[str, str]:
        """Return keyword and rest of the next line that is not blank; two empty strings at the end."""
        while self.number < len(self.lines):
            self.number += 1
            line = self.lines[self.number - 1].strip()
            if line:
                word, _, rest = line.partition(" ")
                return word, rest.strip()
        return "", ""

    def floats(self, count: int) -> list[float]:
        """Return the first `count` numbers of the next line."""
        word, rest = self.next()
        return _floats(f"{word} {rest}", count)

    def read(self) -> list[Ac3dObject]:
        word, _ = self.next()
        if not word.startswith("AC3D"):
            raise ValueError("it does not start with AC3D")
        while True:
            word, rest = self.next()
            if word == "MATERIAL":
                self.materials.append(_material(rest))
            elif word == "OBJECT":
                self.read_object(rest, np.eye(4), frozenset(), 0)
            elif not word:
                return self.objects

    def read_object(self, kind: str, parent: Floats, groups: frozenset[str], depth: int) -> None:
        """Read one object and its children; `parent` is the transform of the parent in AC3D's axes."""
        if depth > MAX_DEPTH:
            raise ValueError(f"objects are nested more than {MAX_DEPTH} deep")
        node = _Node()
        while True:
            word, rest = self.next()
            match word:
                case "name":
                    node.name = _unquote(rest)
                case "data":
                    self.skip_text(int(rest))
                case "texture":
                    node.texture = _unquote(rest)
                case "texrep":
                    node.texture_scale = (_floats(rest, 2)[0], _floats(rest, 2)[1])
                case "texoff":
                    node.texture_offset = (_floats(rest, 2)[0], _floats(rest, 2)[1])
                case "rot":
                    node.rotation = np.array(_floats(rest, 9)).reshape(3, 3).T  # written for row vectors
                case "loc":
                    node.location = np.array(_floats(rest, 3))
                case "crease":
                    node.crease = _floats(rest, 1)[0]
                case "numvert":
                    node.vertices = np.array([self.floats(3) for _ in range(int(rest))]).reshape(-1, 3)
                case "numsurf":
                    node.surfaces = [self.read_surface() for _ in range(int(rest))]
                case "kids":
                    break
                case "":
                    raise ValueError("the file ends within an object")
        local = np.eye(4)
        local[:3, :3], local[:3, 3] = node.rotation, node.location
        matrix = parent @ local
        names = groups | ({node.name} if node.name else set())
        mesh = _mesh(node, matrix, self.materials) if kind.split()[:1] != ["light"] else None
        if mesh is not None:
            self.objects.append(Ac3dObject(names, node.texture, mesh))
        for _ in range(int(rest)):
            word, kind = self.next()
            if not word:
                return  # exporters often count more children than they write
            if word != "OBJECT":
                raise ValueError(f"{word!r} stands where a child should be")
            self.read_object(kind, matrix, names, depth + 1)

    def skip_text(self, length: int) -> None:
        """Skip the free text of an object: `length` characters from the next line on."""
        skipped = 0
        while skipped < length and self.number < len(self.lines):
            skipped += len(self.lines[self.number]) + 1
            self.number += 1

    def read_surface(self) -> _Surface:
        surface = _Surface()
        while True:
            word, rest = self.next()
            match word:
                case "SURF":
                    surface.flags = int(rest, 0)
                case "mat":
                    surface.material = int(rest)
                case "refs":
                    for _ in range(int(rest)):
                        word, rest = self.next()
                        u, v = _floats(rest, 2) if rest else (0.0, 0.0)
                        surface.corners.append((int(word), u, v))
                    return surface
                case "":
                    raise ValueError("the file ends within a surface")


def _mesh(node: _Node, matrix: Floats, materials: list[list[float]]) -> Mesh | None:
    """Return the polygons of an object as triangles; None if it has none."""
    count = len(node.vertices)
    world = node.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    points = np.stack([world[:, 0], -world[:, 2], world[:, 1]], axis=1)  # AC3D: y up; FlightGear: z up
    vertices, uvs, colors, smooth = [], [], [], []
    for surface in node.surfaces:
        corners = surface.corners
        if surface.flags & SURFACE_KIND or len(corners) < 3:
            continue
        if not all(0 <= corner[0] < count for corner in corners):
            raise ValueError(f"a surface of {node.name!r} names a vertex that does not exist")
        material = materials[surface.material] if 0 <= surface.material < len(materials) else [1.0] * 4
        for triple in triangulate(points[[corner[0] for corner in corners]]):
            vertices.append([corners[i][0] for i in triple])
            uvs.append([corners[i][1:] for i in triple])
            colors.append(material)
            smooth.append(bool(surface.flags & SURFACE_SMOOTH))
    if not vertices:
        return None
    indices = np.array(vertices)
    positions = points[indices]
    solid = np.linalg.norm(face_vectors(positions), axis=1) > 1e-12
    if not solid.any():
        return None
    positions = positions[solid]
    _, welded = np.unique(np.round(points * WELD), axis=0, return_inverse=True)
    normals = smooth_normals(positions, welded.reshape(-1)[indices[solid]], np.array(smooth)[solid], node.crease)
    scaled = np.array(uvs, dtype=float)[solid] * node.texture_scale + node.texture_offset
    return Mesh(positions, normals, scaled, np.array(colors)[solid])


def _material(text: str) -> list[float]:
    """Return RGBA of a MATERIAL line: its colour and 1 - its transparency."""
    values = {"rgb": [1.0, 1.0, 1.0], "trans": [0.0]}
    for name, numbers in re.findall(r"\b(rgb|trans)((?:\s+-?[\d.]+(?:e-?\d+)?)+)", text):
        values[name] = [float(number) for number in numbers.split()]
    rgba = [*values["rgb"][:3], 1 - values["trans"][0]]
    return [min(max(value, 0.0), 1.0) for value in rgba]


def _floats(text: str, count: int) -> list[float]:
    """Return the first `count` numbers in `text`."""
    numbers = [float(number) for number in text.split()[:count]]
    if len(numbers) < count:
        raise ValueError(f"{len(numbers)} numbers instead of {count}")
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a number is not finite")
    return numbers


def _unquote(text: str) -> str:
    """Return the first quoted string in `text`, or its first word."""
    match = re.match(r'"([^"]*)"|(\S*)', text)
    return (match[1] or match[2] or "").strip() if match else ""
