"""Triangle meshes: polygon triangulation, smooth normals, affine transforms."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MAX_SMOOTHED_FACES = 64  # faces around one vertex that are smoothed; more are the hub of a fan


@dataclass(frozen=True)
class Mesh:
    """Triangles that share no vertices, so that each corner has its own normal and texture coordinates.

    Attributes:
        positions: Corners in metres; shape (triangles, 3, 3). In a FlightGear model x points aft, y right and z up.
        normals: Unit normals of the corners; shape (triangles, 3, 3).
        uvs: Texture coordinates of the corners; shape (triangles, 3, 2). v grows upwards.
        colors: RGBA of the material of each triangle, 0 to 1; shape (triangles, 4).
    """

    positions: Floats
    normals: Floats
    uvs: Floats
    colors: Floats

    def __len__(self) -> int:
        return len(self.positions)

    def transformed(self, matrix: Floats) -> "Mesh":
        """Apply a rigid transform.

        Args:
            matrix: Rotation and translation; shape (4, 4), for column vectors.
        """
        rotation, translation = matrix[:3, :3], matrix[:3, 3]
        positions = self.positions @ rotation.T + translation
        return replace(self, positions=positions, normals=self.normals @ rotation.T)


def concatenate(meshes: Sequence[Mesh]) -> Mesh:
    """Concatenate at least one mesh."""
    return Mesh(
        np.concatenate([mesh.positions for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.uvs for mesh in meshes]),
        np.concatenate([mesh.colors for mesh in meshes]),
    )


def rotation_about(axis: Floats, degrees: float, center: Floats) -> Floats:
    """Return the 4x4 matrix of a rotation about an axis through `center`; the identity for an axis of length 0."""
    matrix = np.eye(4)
    length = float(np.linalg.norm(axis))
    if length < 1e-9:
        return matrix
    x, y, z = axis / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross  # Rodrigues' formula
    matrix[:3, :3] = rotation
    matrix[:3, 3] = center - rotation @ center
    return matrix


def triangulate(points: Floats) -> list[tuple[int, int, int]]:
    """Triangulate a polygon: a fan if it is convex, else ear clipping.

    Args:
        points: Corners of a roughly planar polygon; shape (corners, 3).

    Returns:
        Triples of corner indices with the winding of the polygon, always `corners - 2` of them.
    """
    count = len(points)
    remaining = list(range(count))
    if count < 4:
        return _fan(remaining)
    flat = _project(points.tolist())

    def turn(a: int, b: int, c: int) -> float:
        (ax, ay), (bx, by), (cx, cy) = flat[a], flat[b], flat[c]
        return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)

    def is_ear(place: int) -> bool:
        a, b, c = remaining[place - 1], remaining[place], remaining[(place + 1) % len(remaining)]
        if turn(a, b, c) <= 0:
            return False
        inside = (turn(a, b, p) > 0 and turn(b, c, p) > 0 and turn(c, a, p) > 0 for p in remaining)
        return not any(inside)

    if all(turn(i - 1, i, (i + 1) % count) >= 0 for i in range(count)):
        return _fan(remaining)
    triangles = []
    while len(remaining) > 3:
        ear = next((place for place in range(len(remaining)) if is_ear(place)), None)
        if ear is None:  # a polygon that intersects itself
            break
        triangles.append((remaining[ear - 1], remaining[ear], remaining[(ear + 1) % len(remaining)]))
        remaining.pop(ear)
    return triangles + _fan(remaining)


def _project(points: list[list[float]]) -> list[tuple[float, float]]:
    """Project a polygon along the main axis of its normal, so that it winds counterclockwise."""
    normal = [0.0, 0.0, 0.0]  # Newell's method
    for (ax, ay, az), (bx, by, bz) in zip(points, points[1:] + points[:1], strict=True):
        normal[0] += (ay - by) * (az + bz)
        normal[1] += (az - bz) * (ax + bx)
        normal[2] += (ax - bx) * (ay + by)
    dropped = max(range(3), key=lambda axis: abs(normal[axis]))
    first, second = ((1, 2), (2, 0), (0, 1))[dropped]
    mirror = 1 if normal[dropped] >= 0 else -1
    return [(mirror * point[first], point[second]) for point in points]


def _fan(corners: list[int]) -> list[tuple[int, int, int]]:
    return [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]


def face_vectors(positions: Floats) -> Floats:
    """Return the normals of triangles, each twice as long as the triangle's area; shape (triangles, 3)."""
    return np.cross(positions[:, 1] - positions[:, 0], positions[:, 2] - positions[:, 0])


def smooth_normals(positions: Floats, vertices: NDArray[np.intp], smooth: NDArray[np.bool_], crease: float) -> Floats:
    """Average the normals of the faces around each vertex, except across creases.

    Args:
        positions: Corners of triangles with an area; shape (triangles, 3, 3).
        vertices: Index of the vertex at each corner; shape (triangles, 3).
        smooth: Whether a triangle is shaded smooth; shape (triangles,).
        crease: Maximum angle between two faces that are smoothed together, in degrees.

    Returns:
        Unit normals of the corners; shape (triangles, 3, 3).
    """
    areas = face_vectors(positions)
    units = areas / np.linalg.norm(areas, axis=1, keepdims=True)
    order = np.argsort(vertices.ravel(), kind="stable")
    vertex, face = vertices.ravel()[order], np.repeat(np.arange(len(positions)), 3)[order]
    totals = areas[face]
    limit = np.cos(np.radians(crease))
    max_corners = int(np.bincount(vertex).max())
    for shift in range(1, min(max_corners, MAX_SMOOTHED_FACES)):  # compare each corner with the `shift`-th next one
        first, second = face[:-shift], face[shift:]
        cosine = np.einsum("ij,ij->i", units[first], units[second])
        # Faces of the opposite winding count with their normal reversed.
        pair = (vertex[:-shift] == vertex[shift:]) & smooth[first] & smooth[second] & (np.abs(cosine) >= limit)
        sign = np.where(pair, np.sign(cosine), 0.0)[:, None]
        totals[:-shift] += areas[second] * sign
        totals[shift:] += areas[first] * sign
    lengths = np.linalg.norm(totals, axis=1, keepdims=True)
    normals = np.empty_like(totals)
    normals[order] = np.where(lengths > 1e-12, totals / np.maximum(lengths, 1e-12), units[face])
    return normals.reshape(-1, 3, 3)
