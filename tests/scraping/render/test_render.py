"""Rendering: scenes, cameras, paint, and whole runs into a catalog."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.scraping.render.flightgear_fixture import write_aircraft
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.render.airliner_models import AirlinerModel, find_models
from planespotter_scraping.render.camera import attitude, place_camera
from planespotter_scraping.render.cli import app
from planespotter_scraping.render.errors import RenderError
from planespotter_scraping.render.liveries import invent_livery, unpaint
from planespotter_scraping.render.pictures import ModelRenderer
from planespotter_scraping.render.run import render_catalog
from planespotter_scraping.render.scene import draw_scene
from planespotter_scraping.render.textures import TextureAtlas

SIZE = (96, 64)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_aircraft(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def renderer(models: Path) -> ModelRenderer:
    (model,) = find_models(models)
    assert isinstance(model, AirlinerModel)
    return ModelRenderer(model, models)


def test_rays_hit_the_fuselage_and_its_shadow_falls_below(renderer: ModelRenderer) -> None:
    origins = np.array([[0, 30, 4], [0, 30, 20], [0, 0, -5]], np.float32)
    directions = np.array([[0, -1, 0], [0, -1, 0], [0, 0, 1]], np.float32)
    hits = renderer.down.trace(origins, directions)
    assert hits.ray.tolist() == [0, 2]
    np.testing.assert_allclose(hits.distance, [30 - 1.9, 5], rtol=1e-3)
    np.testing.assert_allclose(hits.weights.sum(axis=1), 1, rtol=1e-5)
    assert renderer.down.occluded(origins, directions).tolist() == [True, False, True]


def test_anatomy_measures_the_aircraft(renderer: ModelRenderer) -> None:
    anatomy = renderer.down.anatomy
    assert anatomy.length == pytest.approx(38)
    assert anatomy.radius == pytest.approx(1.9)
    assert anatomy.half_span == pytest.approx(17)
    assert anatomy.ground == pytest.approx(0)
    assert renderer.up is not None
    assert renderer.up.anatomy.ground == pytest.approx(2)


@given(st.integers(0, 10_000), st.booleans())
def test_camera_fills_the_picture_as_the_scene_asks(seed: int, gear_retracts: bool) -> None:
    scene = draw_scene(np.random.default_rng(seed), gear_retracts=gear_retracts)
    assert gear_retracts or scene.gear_down
    assert -25 <= scene.elevation <= 20
    assert 50 <= scene.focal_length <= 400
    corners = (
        np.array(np.meshgrid([-19, 19], [-17, 17], [0, 12], indexing="ij")).reshape(3, -1).T
        @ attitude(scene.pitch, scene.roll).T
    )
    camera = place_camera(corners, scene, 1.5)
    x, y, depth = camera.project(corners)
    assert depth.min() > 1
    assert np.ptp(x) / 2 < scene.fill * 1.1
    assert np.ptp(y) / 2 < 1.3
    if scene.fill < 0.95:
        assert np.abs(x).max() < 1.05
        assert np.abs(y).max() < 1.05


def test_camera_stands_where_azimuth_and_elevation_say() -> None:
    scene = draw_scene(np.random.default_rng(0), gear_retracts=False)
    corners = np.array([[-19.0, 0, 0], [19, 0, 0], [0, -17, 0], [0, 17, 0]])
    for azimuth, axis, sign in ((0, 0, -1), (90, 1, 1), (180, 0, 1)):
        changed = type(scene)(**{**vars(scene), "azimuth": azimuth, "elevation": 10.0, "on_ground": False})
        eye = place_camera(corners, changed, 1.5).eye
        assert np.sign(eye[axis]) == sign
        assert np.degrees(np.arcsin(eye[2] / np.linalg.norm(eye))) == pytest.approx(10, abs=0.1)


def test_texture_sampling_repeats_and_averages_small_textures() -> None:
    checks = np.zeros((64, 64, 4), np.uint8)
    checks[..., 3] = 255
    checks[::2, ::2, :3] = checks[1::2, 1::2, :3] = 255
    atlas = TextureAtlas([np.full((1, 1, 4), 255, np.uint8), checks])
    texture = np.array([0, 1, 1, 1])
    uv = np.array([[0.3, 0.7], [0.5 / 64, 1 - 0.5 / 64], [1 + 0.5 / 64, -0.5 / 64], [0.4, 0.4]], np.float32)
    colors = atlas.sample(texture, uv, np.array([1, 1, 1, 8], np.float32))
    np.testing.assert_allclose(colors[:, 0], [1, 1, 1, 0.5], atol=0.02)


def test_unpainting_keeps_windows_and_removes_the_colours_of_airlines() -> None:
    images = []
    for color in ((220, 30, 30), (30, 30, 220), (250, 250, 250), (30, 200, 30), (240, 220, 20)):
        image = np.full((64, 64, 4), 255, np.uint8)
        image[..., :3] = color
        image[30:34, 30:34, :3] = 10  # a window
        images.append(image)
    plain = unpaint(images)
    assert plain[8, 8, :3].min() > 200
    assert plain[31, 31, :3].max() < 40


@pytest.mark.parametrize("seed", range(5))
def test_invented_liveries_paint_both_sides_of_the_fuselage_the_same_colour(seed: int, renderer: ModelRenderer) -> None:
    livery = invent_livery(np.random.default_rng(seed))
    positions = np.array([[0, 1.9, 2.3], [0, -1.9, 2.3]], np.float32)
    normals = np.array([[0, 1, 0], [0, -1, 0]], np.float32)
    white = np.ones((2, 3), np.float32)
    left, right = livery.paint(white, positions, normals, np.zeros(2, bool), renderer.down.anatomy)
    np.testing.assert_allclose(left, right)
    assert left.min() >= 0
    assert left.max() <= 1.1


def test_same_seed_renders_the_same_picture(models: Path, renderer: ModelRenderer) -> None:
    first = renderer.picture(3, 5, SIZE)
    again = ModelRenderer(renderer.model, models).picture(3, 5, SIZE)
    other = renderer.picture(4, 5, SIZE)
    assert first == again
    assert other.jpeg != first.jpeg
    image = Image.open(io.BytesIO(first.jpeg))
    assert image.size == SIZE
    assert np.asarray(image).std() > 3


def test_run_writes_a_catalog_and_a_second_run_continues(tmp_path: Path, models: Path) -> None:
    out = tmp_path / "out"
    result = render_catalog(models, out, count=3, size=SIZE, seed=1)
    assert (result.stored, result.known, result.models, result.skipped) == (3, 0, 1, {})
    first_rows = (out / "catalog.csv").read_bytes()
    frame = catalog.read(out)
    catalog.check(out, frame, hashes=True)
    assert set(frame["source"]) == {"render"}
    assert set(frame["model"]) == {"737-800"}
    assert set(frame["licence"]) == {"GPL-2.0-or-later"}
    assert set(frame["photographer"]) == {"FlightGear model by Jane Doe"}
    assert set(frame["airline"]) <= {"", "Air Berlin"}
    result = render_catalog(models, out, count=5, size=SIZE, seed=1)
    assert (result.stored, result.known) == (2, 3)
    assert (out / "catalog.csv").read_bytes().startswith(first_rows)
    assert len(catalog.read(out)) == 5


@pytest.mark.slow
def test_processes_render_the_same_pictures_in_the_same_order(tmp_path: Path, models: Path) -> None:
    render_catalog(models, tmp_path / "one", count=10, size=SIZE)
    render_catalog(models, tmp_path / "two", count=10, size=SIZE, workers=2)
    first, second = (catalog.read(tmp_path / name) for name in ("one", "two"))
    assert first["photo_id"].tolist() == second["photo_id"].tolist()
    assert first["sha256"].tolist() == second["sha256"].tolist()


def test_broken_model_is_skipped_with_a_sentence(tmp_path: Path) -> None:
    models = write_aircraft(tmp_path / "models")
    (models / "AI" / "Aircraft" / "738" / "Textures" / "AirBerlin" / "738-tex.png").write_bytes(b"no image")
    (models / "AI" / "Aircraft" / "738" / "Textures" / "default" / "738-tex.png").write_bytes(b"no image")
    result = render_catalog(models, tmp_path / "out", count=2, size=SIZE)
    assert result.stored == 0
    assert "738-tex.png cannot be read: it is not a complete image." in result.skipped["738"]
    (models / "AI" / "Aircraft" / "738" / "738-main.xml").write_text("<PropertyList>")
    with pytest.raises(RenderError, match="has no airliner model"):
        render_catalog(models, tmp_path / "out", count=2, size=SIZE)


def test_command_renders_with_photos_and_writes_a_contact_sheet(tmp_path: Path, models: Path) -> None:
    backgrounds = tmp_path / "backgrounds"
    backgrounds.mkdir()
    Image.new("RGB", (120, 90), (90, 120, 40)).save(backgrounds / "field.jpg")
    sheet = tmp_path / "sheet.png"
    arguments = [str(models), "--out", str(tmp_path / "out"), "--count", "4", "--size", "96x64"]
    arguments += ["--backgrounds", str(backgrounds), "--contact-sheet", str(sheet), "--model", "73*"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "4 pictures of 1 model stored, 0 known already, 0 models skipped." in result.output
    with Image.open(sheet) as image:
        assert image.size == (960, 160)


@pytest.mark.parametrize("size", ["480", "0x0", "99999x20", "axb"])
def test_invalid_size_is_wrong_usage(tmp_path: Path, models: Path, size: str) -> None:
    result = CliRunner().invoke(app, [str(models), "--out", str(tmp_path / "out"), "--size", size])
    assert result.exit_code == 2


def test_folder_without_models_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="has no airliner model whose name matches"):
        render_catalog(tmp_path, tmp_path / "out", count=1)
