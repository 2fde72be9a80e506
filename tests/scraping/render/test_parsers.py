"""AC3D and FlightGear XML: geometry, animations, and sentences for broken files."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scraping.render.flightgear_fixture import HEADER, box, write_aircraft

from planespotter_scraping.render.ac3d import read_ac3d
from planespotter_scraping.render.airliner_models import AirlinerModel, airline_name, find_models
from planespotter_scraping.render.errors import ModelError
from planespotter_scraping.render.flightgear_xml import load_model, read_property_list
from planespotter_scraping.render.mesh import face_vectors, rotation_about, triangulate

GEAR_DOWN, GEAR_UP = {"velocities/true-airspeed-kt": 100.0}, {"velocities/true-airspeed-kt": 300.0}


def write_model(folder: Path, text: str) -> Path:
    path = folder / "model.ac"
    path.write_text(text)
    return path


def write_xml(folder: Path, body: str) -> Path:
    write_model(folder, HEADER + "OBJECT world\nkids 1\n" + box("body", (0, 0, 0), (1, 2, 3)) + "\n")
    path = folder / "model.xml"
    path.write_text(f"<PropertyList><path>model.ac</path>{body}</PropertyList>")
    return path


def test_ac3d_objects_have_flightgear_axes_and_outward_unit_normals(tmp_path: Path) -> None:
    path = write_model(tmp_path, HEADER + "OBJECT world\nkids 1\n" + box("body", (0, 0, 0), (1, 2, 3)) + "\n")
    (item,) = read_ac3d(path)
    assert item.names == {"body"}
    assert item.texture == "738-tex.png"
    assert len(item.mesh) == 12
    points = item.mesh.positions.reshape(-1, 3)
    assert points.min(axis=0).tolist() == [0, 0, 0]
    assert points.max(axis=0).tolist() == [1, 2, 3]
    np.testing.assert_allclose(np.linalg.norm(item.mesh.normals, axis=2), 1)
    assert item.mesh.colors.tolist() == [[1, 1, 1, 1]] * 12


def test_ac3d_locations_and_rotations_of_groups_add_up(tmp_path: Path) -> None:
    group = 'OBJECT group\nname "group"\nloc 10 0 0\nrot 0 1 0 -1 0 0 0 0 1\nkids 1\n'
    path = write_model(
        tmp_path, HEADER + group + box("body", (0, 0, 0), (1, 2, 3)).replace("numvert", "loc 5 0 0\nnumvert")
    )
    (item,) = read_ac3d(path)
    assert item.names == {"group", "body"}
    # Row vectors: AC3D's x becomes y, which points up, and y becomes -x.
    np.testing.assert_allclose(item.mesh.positions.reshape(-1, 3).min(axis=0), [7, 0, 5], atol=1e-9)
    np.testing.assert_allclose(item.mesh.positions.reshape(-1, 3).max(axis=0), [10, 2, 6], atol=1e-9)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("solid stl", "does not start with AC3D"),
        ("AC3Db\nOBJECT poly\nnumvert 2\n0 0 0\n", "0 numbers instead of 3"),
        ("AC3Db\nOBJECT poly\nnumvert 1\n0 0 nan\nkids 0\n", "not finite"),
        ("AC3Db\nOBJECT poly\nnumvert x\n", "invalid literal"),
        ("AC3Db\nOBJECT poly\nnumsurf 1\nSURF 0\n", "ends within a surface"),
        ("AC3Db\nOBJECT poly\nnumsurf 1\nSURF 0\nmat 0\nrefs 3\n0 0 0\n1 0 0\n2 0 0\nkids 0", "does not exist"),
        ("AC3Db\n" + "OBJECT group\nkids 1\n" * 200, "nested more than"),
    ],
)
def test_broken_ac3d_is_an_error_that_names_file_line_and_reason(tmp_path: Path, text: str, reason: str) -> None:
    path = write_model(tmp_path, text)
    with pytest.raises(ModelError, match=rf"Line \d+ of the model .*model.ac is not valid AC3D: .*{reason}"):
        read_ac3d(path)


@given(
    st.lists(st.sampled_from(["OBJECT poly", "kids 1", "numvert 1", "0 1 2", "numsurf 1", "SURF 0x10", "refs 3", "x"]))
)
def test_any_text_is_a_model_or_a_model_error(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = write_model(tmp_path_factory.mktemp("ac3d"), "\n".join(["AC3Db", *lines]))
    with suppress(ModelError):
        assert all(len(item.mesh) for item in read_ac3d(path))


@given(st.lists(st.floats(0.3, 3), min_size=3, max_size=12), st.integers(0, 2), st.booleans())
def test_triangles_of_a_star_shaped_polygon_have_its_area_and_winding(
    radii: list[float], axis: int, reverse: bool
) -> None:
    angles = np.arange(len(radii)) / len(radii) * 2 * np.pi
    points = np.zeros((len(radii), 3))
    points[:, (axis + 1) % 3], points[:, (axis + 2) % 3] = radii * np.cos(angles), radii * np.sin(angles)
    if reverse:
        points = points[::-1]
    triangles = triangulate(points)
    assert len(triangles) == len(radii) - 2
    areas = face_vectors(points[np.array(triangles)])[:, axis] / 2
    expected = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)[axis] / 2
    np.testing.assert_allclose(areas.sum(), expected, rtol=1e-9, atol=1e-9)
    if len(radii) > 3:  # a triangle of three corners may wind around the origin either way
        assert (np.sign(areas[np.abs(areas) > 1e-9]) == np.sign(expected)).all()


@given(st.tuples(*[st.floats(-5, 5)] * 3), st.floats(-720, 720), st.tuples(*[st.floats(-9, 9)] * 3))
def test_rotation_keeps_lengths_and_its_center(
    axis: tuple[float, float, float], degrees: float, center: tuple[float, float, float]
) -> None:
    matrix = rotation_about(np.array(axis), degrees, np.array(center))
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(matrix @ [*center, 1], [*center, 1], atol=1e-8)


def test_select_animation_shows_the_gear_below_its_speed(tmp_path: Path) -> None:
    (model,) = find_models(write_aircraft(tmp_path))
    assert isinstance(model, AirlinerModel)
    down, up = (load_model(model.path, tmp_path, properties) for properties in (GEAR_DOWN, GEAR_UP))
    assert {name for part in down for name in part.names} == {"nose", "fuselage", "wing", "fin", "tail", "gear"}
    assert {name for part in up for name in part.names} == {"nose", "fuselage", "wing", "fin", "tail"}


def test_translate_and_rotate_animations_follow_their_property(tmp_path: Path) -> None:
    body = """
      <animation><type>translate</type><object-name>body</object-name><property>gear/gear[0]/position-norm</property>
        <factor>2</factor><axis><x>0</x><y>0</y><z>5</z></axis></animation>
      <animation><type>rotate</type><object-name>body</object-name><property>gear/gear/position-norm</property>
        <interpolation><entry><ind>0</ind><dep>0</dep></entry><entry><ind>1</ind><dep>180</dep></entry></interpolation>
        <axis><x>1</x><y>0</y><z>0</z></axis></animation>"""
    path = write_xml(tmp_path, body)
    (part,) = load_model(path, tmp_path, {"gear/gear/position-norm": 1.0})
    np.testing.assert_allclose(part.mesh.positions.reshape(-1, 3).min(axis=0), [0, -2, -1], atol=1e-9)
    (part,) = load_model(path, tmp_path, {})
    np.testing.assert_allclose(part.mesh.positions.reshape(-1, 3).min(axis=0), [0, 0, 0], atol=1e-9)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("<property>on</property>", 1),
        ("<not><property>/on</property></not>", 0),
        ("<or><property>off</property><property>on</property></or>", 1),
        ("<and><property>off</property><property>on</property></and>", 0),
        ("<equals><property>on</property><value>true</value></equals>", 1),
        ("<greater-than><property>on</property><value>1</value></greater-than>", 0),
        ("<not-equals><property>on</property><property>off</property></not-equals>", 1),
    ],
)
def test_conditions_of_a_select_animation(tmp_path: Path, condition: str, expected: int) -> None:
    path = write_xml(tmp_path, f"<animation><type>select</type><condition>{condition}</condition></animation>")
    assert len(load_model(path, tmp_path, {"on": 1.0})) == expected


def test_model_outside_of_the_folder_is_an_error(tmp_path: Path) -> None:
    write_model(tmp_path, HEADER)
    (tmp_path / "inside").mkdir()
    path = tmp_path / "inside" / "model.xml"
    path.write_text("<PropertyList><path>../model.ac</path></PropertyList>")
    with pytest.raises(ModelError, match=r"names ../model.ac, which is not below"):
        load_model(path, tmp_path / "inside", {})


def test_model_that_includes_itself_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_text('<PropertyList include="model.xml"/>')
    with pytest.raises(ModelError, match="includes itself"):
        read_property_list(path)
    path.write_text("<PropertyList><path>model.xml</path></PropertyList>")
    with pytest.raises(ModelError, match="includes itself"):
        load_model(path, tmp_path, {})


@given(st.text(max_size=40))
def test_any_xml_is_a_property_list_or_a_model_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("xml") / "model.xml"
    path.write_text(f"<PropertyList>{text}</PropertyList>", encoding="utf-8", errors="replace")
    with suppress(ModelError):
        assert read_property_list(path).tag == "PropertyList"


@pytest.mark.parametrize(
    ("stem", "folder", "airline"),
    [
        ("738-AirBerlin", "738", "Air Berlin"),
        ("738-KLM-BXA", "738", "KLM"),
        ("757-200-IcelandAir-cargo", "757", "Icelandair"),
        ("DH4-ANAWings", "DH4", "ANA Wings"),
        ("Embraer-Legacy-AirFrance", "Embraer-Legacy", "Air France"),
        ("738-default", "738", ""),
        ("GL5T-9H-AFR", "CCX", ""),
    ],
)
def test_airline_comes_from_the_name_of_the_livery(stem: str, folder: str, airline: str) -> None:
    assert airline_name(stem, folder) == airline
