"""FlightGear model XML: assemble an aircraft from its .ac files, with the animations of one moment applied.

A model file names geometry (`path`), further models (`model`) with offsets, and animations that depend on properties of
the simulation. Rotations, translations and selections are evaluated for fixed properties, such as those of a lowered
landing gear. Cockpits, cabins, lights and effects are skipped by name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from planespotter_scraping.render.ac3d import read_ac3d
from planespotter_scraping.render.errors import ModelError
from planespotter_scraping.render.mesh import Floats, Mesh, rotation_about

Properties = Mapping[str, float]

MAX_DEPTH = 20  # files that include each other
SKIPPED_MODELS = re.compile(
    r"cockpit|flight-?deck|instrument|interior|cabin|panel|pilot|seat|pax|effects?/|lights?[/.]|light|strobe|beacon"
    r"|contrail|smoke|vapou?r|particle|shadow|pushback|truck|stairs|jetway|chock|refuel",
    re.IGNORECASE,
)
SKIPPED_OBJECTS = re.compile(
    r"shadow|flash|nav-?light|light-?cone|strobe|beacon|halo|glow|cockpit|flight-?deck|interior|cabin|seat|panel"
    r"|prop-?dis[ck]|prop-?blur|rotor-?dis[ck]|hotspot|clickspot|chock|stairs|jetway",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Part:
    """Geometry with one texture.

    Attributes:
        names: Names of the object, its groups and the models around it, by which animations refer to it.
        texture: Name of the texture file as written, "" for none.
        folders: Folders to search for the texture, best first.
        mesh: Triangles in the axes of the aircraft.
    """

    names: frozenset[str]
    texture: str
    folders: tuple[Path, ...]
    mesh: Mesh


def load_model(path: Path, root: Path, properties: Properties) -> list[Part]:
    """Load an aircraft.

    Args:
        path: Model XML, or an .ac file.
        root: Folder that no file of the model may lie outside of.
        properties: Values of simulation properties by name without a leading slash; others are 0.

    Returns:
        The parts to draw.

    Raises:
        ModelError: If a file is missing or invalid.
    """
    return _Loader(root.resolve(), properties).load(path, 0)


def read_property_list(path: Path, depth: int = 0) -> Element:
    """Parse a property list, with the file that its `include` attribute names.

    Elements of the including file replace those of the same name in the included file, except models and animations,
    which add up.

    Raises:
        ModelError: If the file is missing or is not XML, or if files include each other.
    """
    if depth > MAX_DEPTH:
        raise ModelError(f"The model {path} includes itself. Remove its include.")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ModelError(f"The model {path} cannot be read: {error.strerror}. Check the path.") from None
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)  # many have "--" in comments, which XML forbids
    text = re.sub(r"^[^<]*|<\?xml.*?\?>|<!DOCTYPE[^>]*>", "", text)  # the text is decoded already
    try:
        element = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ModelError(f"The model {path} is not valid XML: {error}. Get a complete copy of the file.") from None
    include = element.get("include")
    if include:
        own = {child.tag for child in element} - {"model", "animation"}
        included = read_property_list(path.parent / include, depth + 1)
        for place, child in enumerate(child for child in included if child.tag not in own):
            element.insert(place, child)
    return element


def find_texture(part: Part, livery: Path | None, root: Path) -> Path | None:
    """Return the texture file of a part.

    Args:
        part: Part of an aircraft.
        livery: Folder whose textures replace those of the same name.
        root: Folder that the file may not lie outside of.
    """
    name = part.texture.replace("\\", "/")
    if not name:
        return None
    for folder in ([livery] if livery else []) + list(part.folders):
        for candidate in dict.fromkeys((name.rpartition("/")[2], name)):
            path = folder / candidate
            if path.is_file() and path.resolve().is_relative_to(root.resolve()):
                return path
    return None


class _Loader:
    def __init__(self, root: Path, properties: Properties) -> None:
        self.root = root
        self.properties = properties

    def load(self, path: Path, depth: int, folders: tuple[Path, ...] = ()) -> list[Part]:
        """Load one file and those that it names."""
        if depth > MAX_DEPTH:
            raise ModelError(f"The model {path} includes itself. Remove its include.")
        if path.suffix.lower() == ".ac":
            objects = [item for item in read_ac3d(path) if not any(map(SKIPPED_OBJECTS.search, item.names))]
            search = (*folders, path.parent)
            return [Part(item.names, item.texture, search, item.mesh) for item in objects]
        element = read_property_list(path)
        texture_path = _text(element, "texture-path")
        if texture_path:
            folders = (path.parent / texture_path, *folders)
        parts = []
        geometry = _text(element, "path")
        if geometry:
            parts += self.load(self.resolve(path, geometry), depth + 1, folders)
        for model in element.findall("model"):
            parts += self.load_submodel(path, model, depth, folders)
        # FlightGear nests the groups of later animations within those of earlier ones.
        for animation in reversed(element.findall("animation")):
            parts = self.animate(parts, animation)
        return _transform(parts, _offsets(element.find("offsets")))

    def load_submodel(self, path: Path, model: Element, depth: int, folders: tuple[Path, ...]) -> list[Part]:
        """Load a `model` element of the file at `path`; nothing if it does not show."""
        name = _text(model, "path")
        condition = model.find("condition")
        if not name or SKIPPED_MODELS.search(name) or (condition is not None and not self.all_true(condition)):
            return []
        offsets = model.find("offsets")
        parts = self.load(self.resolve(path, name), depth + 1, folders)
        parts = _transform(parts, _offsets(model if offsets is None else offsets))
        label = _text(model, "name")
        return [replace(part, names=part.names | {label}) for part in parts] if label else parts

    def resolve(self, path: Path, name: str) -> Path:
        """Return the file that `name` in the file at `path` means: relative to it, or to one of its parent folders.

        Raises:
            ModelError: If there is no such file below the root.
        """
        name = name.replace("\\", "/").lstrip("/")
        for folder in path.resolve().parents:
            candidate = (folder / name).resolve()
            if candidate.is_file() and candidate.is_relative_to(self.root):
                return candidate
            if folder == self.root:
                break
        raise ModelError(f"The model {path} names {name}, which is not below {self.root}. Get a complete copy.")

    def animate(self, parts: list[Part], animation: Element) -> list[Part]:
        """Apply one animation to the parts that it names, or to all if it names none."""
        kind = _text(animation, "type")
        names = {(name.text or "").strip() for name in animation.findall("object-name")} - {""}
        condition = animation.find("condition")
        true = condition is None or self.all_true(condition)
        selected = [not names or bool(names & part.names) for part in parts]
        if kind == "select":
            return [part for part, chosen in zip(parts, selected, strict=True) if true or not chosen]
        if kind not in ("rotate", "translate") or not true:
            return parts
        matrix = self.motion(animation, kind)
        return [
            replace(part, mesh=part.mesh.transformed(matrix)) if chosen else part
            for part, chosen in zip(parts, selected, strict=True)
        ]

    def motion(self, animation: Element, kind: str) -> Floats:
        """Return the transform of a `rotate` or `translate` animation."""
        unit = "deg" if kind == "rotate" else "m"
        amount = self.property(_text(animation, "property"))
        table = animation.find("interpolation")
        if table is not None:
            entries = sorted((_number(entry, "ind"), _number(entry, "dep")) for entry in table.findall("entry"))
            if entries:
                amount = float(np.interp(amount, [x for x, _ in entries], [y for _, y in entries]))
        else:
            amount = amount * _number(animation, "factor", 1.0) + _number(animation, f"offset-{unit}")
            low, high = _number(animation, f"min-{unit}", -np.inf), _number(animation, f"max-{unit}", np.inf)
            amount = min(max(amount, low), high)
        axis, center = animation.find("axis"), animation.find("center")
        origin = _vector(center, "{}-m")
        if axis is not None and axis.find("x1-m") is not None:
            origin = _vector(axis, "{}1-m")
            direction = _vector(axis, "{}2-m") - origin
        else:
            direction = _vector(axis, "{}")
        if kind == "rotate":
            return rotation_about(direction, amount, origin)
        matrix = np.eye(4)
        matrix[:3, 3] = direction / max(float(np.linalg.norm(direction)), 1e-9) * amount
        return matrix

    def all_true(self, condition: Element) -> bool:
        """Return whether all children of a condition are true."""
        return all(self.is_true(child) for child in condition)

    def is_true(self, element: Element) -> bool:
        """Evaluate one element of a condition. An unknown kind is true."""
        match element.tag:
            case "property":
                return self.property(element.text or "") != 0
            case "and":
                return self.all_true(element)
            case "or":
                return any(self.is_true(child) for child in element)
            case "not":
                return not self.all_true(element)
        operands = [
            self.property(child.text or "") if child.tag == "property" else _parse(child.text)
            for child in element
            if child.tag in ("property", "value")
        ]
        if len(operands) != 2:
            return True
        left, right = operands
        results = {
            "equals": left == right,
            "not-equals": left != right,
            "less-than": left < right,
            "less-than-equals": left <= right,
            "greater-than": left > right,
            "greater-than-equals": left >= right,
        }
        return results.get(element.tag, True)

    def property(self, name: str) -> float:
        """Return the value of a simulation property, 0 if unknown."""
        return self.properties.get(name.strip().lstrip("/").replace("[0]", ""), 0.0)


def _transform(parts: Sequence[Part], matrix: Floats) -> list[Part]:
    return [replace(part, mesh=part.mesh.transformed(matrix)) for part in parts]


def _offsets(element: Element | None) -> Floats:
    """Return the transform of offsets: roll, pitch, heading, then a translation."""
    matrix = np.eye(4)
    for axis, name in (((1, 0, 0), "roll-deg"), ((0, 1, 0), "pitch-deg"), ((0, 0, 1), "heading-deg")):
        matrix = rotation_about(np.array(axis, dtype=float), _number(element, name), np.zeros(3)) @ matrix
    matrix[:3, 3] = _vector(element, "{}-m")
    return matrix


def _vector(element: Element | None, pattern: str) -> Floats:
    """Return three numbers whose elements are named by `pattern` with x, y and z; 0 where missing."""
    return np.array([_number(element, pattern.format(axis)) for axis in "xyz"])


def _text(element: Element, name: str) -> str:
    """Return the text of a child, "" if missing."""
    return (element.findtext(name) or "").strip()


def _number(element: Element | None, name: str, default: float = 0.0) -> float:
    """Return the number in a child, `default` if it is missing or not a number."""
    text = element.findtext(name) if element is not None else None
    return default if text is None else _parse(text, default)


def _parse(text: str | None, default: float = 0.0) -> float:
    """Return the number in `text`; 1 for true, `default` if it is not a finite number."""
    word = (text or "").strip()
    if word == "true":
        return 1.0
    try:
        number = float(word)
    except ValueError:
        return default
    return number if np.isfinite(number) else default
