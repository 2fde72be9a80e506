"""Pictures without an aircraft: the constructor NO_AIRCRAFT in labels, import, statistics, cleaning and the report."""

import io
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog import NO_AIRCRAFT
from planespotter_scraping.catalog.folder_import import import_folder
from planespotter_scraping.catalog.stats import compute_stats
from planespotter_scraping.cleaning import clean, rules
from planespotter_scraping.cli import app
from planespotter_scraping.console.summaries import import_sentences
from planespotter_scraping.labels.parser import LabelPath, infer_constructor, is_known_constructor, parse_label


def picture(shade: int) -> bytes:
    output = io.BytesIO()
    noise = Image.effect_noise((320, 240), 60).point(lambda value: (value + shade) % 256)
    noise.save(output, "JPEG")
    return output.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two airliners and two pictures without an aircraft."""
    folder = tmp_path / "photos"
    for shade, name in enumerate(["Boeing/737-800", "Airbus/A320-214", "No aircraft", "negatives/no_plane"]):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.jpg").write_bytes(picture(shade * 40))
    return folder


@pytest.mark.parametrize(
    "spelling",
    [
        "No aircraft",
        "no aircraft",
        " NO_AIRCRAFT ",
        "no-plane",
        "no airplane",
        "without aircraft",
        "noaircraft",
        "none",
    ],
)
def test_a_constructor_column_can_state_that_there_means_no_aircraft(spelling: str) -> None:
    label = parse_label(spelling, "Boeing 737-800")
    assert (label.path, label.icao, label.roles) == (LabelPath(NO_AIRCRAFT), "", ())
    assert is_known_constructor(spelling)


def test_a_type_text_can_state_that_there_means_no_aircraft() -> None:
    assert infer_constructor("no plane") == NO_AIRCRAFT
    assert parse_label("", "No aircraft").path == LabelPath(NO_AIRCRAFT)
    assert infer_constructor("none") == ""  # an unknown type
    assert parse_label("Boeing", "no aircraft").path == LabelPath("Boeing")


@pytest.mark.parametrize("text", ["nonesuch", "No 1 aircraft", "aircraft", "no airline", "N/A", ""])
def test_other_texts_do_not_state_that_there_means_no_aircraft(text: str) -> None:
    assert parse_label(text, "").path.constructor != NO_AIRCRAFT


def test_folders_named_no_aircraft_are_imported_as_such(photos: Path, tmp_path: Path) -> None:
    result = import_folder(photos, tmp_path / "out")
    frame = catalog.read(tmp_path / "out")
    assert sorted(frame["constructor"]) == ["Airbus", "Boeing", NO_AIRCRAFT, NO_AIRCRAFT]
    assert set(frame["aircraft_type"][frame["constructor"] == NO_AIRCRAFT]) == {""}
    assert not result.without_family
    assert not any("without a family" in sentence for sentence in import_sentences(result))


def test_pictures_without_an_aircraft_are_counted_apart_and_miss_no_type(photos: Path, tmp_path: Path) -> None:
    import_folder(photos, tmp_path / "out")
    stats = compute_stats(catalog.read(tmp_path / "out"))
    assert (stats["photos"], stats["no_aircraft"]) == (4, 2)
    assert stats["constructors"] == {"Airbus": 1, "Boeing": 1}
    assert (stats["missing"]["aircraft_type"], stats["missing"]["model"], stats["missing"]["licence"]) == (0, 0, 4)
    assert stats["label_depth"] == {"model": 2, "family": 0, "constructor": 0, "none": 0}
    assert stats["source_mix"] == [{"name": "photos", "photos": 2, "constructors": {"Airbus": 1, "Boeing": 1}}]
    shown = CliRunner().invoke(app, ["catalog", "stats", str(tmp_path / "out")])
    assert f"2 photos without an aircraft (constructor {NO_AIRCRAFT})." in shown.output


def test_cleaning_keeps_pictures_without_an_aircraft(photos: Path, tmp_path: Path) -> None:
    import_folder(photos, tmp_path / "out")
    clean.clean(tmp_path / "out", rules.Options(per_model=1, per_airline=1, per_airframe=1))
    assert list(catalog.read(tmp_path / "out")["constructor"]).count(NO_AIRCRAFT) == 2


@pytest.mark.parametrize("only_negatives", [False, True])
def test_the_report_shows_pictures_without_an_aircraft_as_a_class(
    photos: Path, tmp_path: Path, only_negatives: bool
) -> None:
    import_folder(photos / "negatives" if only_negatives else photos, tmp_path / "out")
    done = CliRunner().invoke(app, ["explore", str(tmp_path / "out"), "--out", str(tmp_path / "report.html")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert NO_AIRCRAFT in page
