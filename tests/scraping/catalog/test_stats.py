"""The numbers of a catalog, for people and for programs."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog import COLUMNS, CatalogError
from planespotter_scraping.catalog.stats import numbers
from planespotter_scraping.cli import app
from planespotter_scraping.console import tables

PHOTOS = Path(__file__).parents[3] / ".." / "shared" / "photos"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photos: three of one 737-800, one copied; an A320-200 without an airline; two that say little."""
    rows = [
        ("1", "Boeing", "737-8AS", "Ryanair", "EI-DAC", b"first", "300", "200"),
        ("2", "Boeing", "737-8AS", "Ryanair", "EI-DAC", b"second", "400", "200"),
        ("3", "Boeing", "737-800", "Ryanair", "EI-DAC", b"first", "300", "200"),
        ("4", "Airbus", "A320-214", "", "D-AIPA", b"third", "500", "600"),
        ("5", "Boeing", "747", "[bold]KLM", "", b"fourth", "", ""),
        ("6", "", "", "", "", b"fifth", "", ""),
    ]
    for photo_id, constructor, aircraft_type, airline, registration, image, width, height in rows:
        row = {"photo_id": photo_id, "constructor": constructor, "aircraft_type": aircraft_type, "airline": airline}
        row |= {"registration": registration, "width": width, "height": height, "source": "mine"}
        catalog.append(tmp_path, row, image)
    return tmp_path


def test_the_numbers_are_those_of_the_rows(folder: Path) -> None:
    found = numbers(catalog.read(folder))
    assert found["photos"] == 6
    assert found["constructors"] == {"Boeing": 4, "": 1, "Airbus": 1}
    assert found["airlines"] == {"Ryanair": 3, "": 2, "[bold]KLM": 1}
    assert found["sources"] == {"mine": 6}
    assert set(found["missing"]) == {*COLUMNS, "family", "model"}
    missing = {column: found["missing"][column] for column in ("photo_id", "airline", "registration", "licence")}
    assert missing == {"photo_id": 0, "airline": 2, "registration": 2, "licence": 6}
    assert (found["missing"]["constructor"], found["missing"]["family"], found["missing"]["model"]) == (1, 1, 2)
    assert [tuple(row.values()) for row in found["models"]] == [
        ("Boeing", "737", "737-800", 3, 1),
        ("Boeing", "747", "", 1, 0),
        ("", "", "", 1, 0),
        ("Airbus", "A320", "A320-200", 1, 1),
    ]
    assert (found["airframes"], found["photos_per_airframe"]) == (2, {"1": 1, "3": 1})
    assert found["sizes"]["width"] == {"smallest": 300, "median": 350, "largest": 500}
    assert found["sizes"]["smallest side"] == {"smallest": 200, "median": 200, "largest": 500}
    assert found["without_size"] == 2
    assert (found["exact_duplicates"], found["duplicated_files"]) == (1, [["1", "3"]])


def test_the_labels_are_counted_by_depth_and_what_names_no_model_is_listed(folder: Path) -> None:
    found = numbers(catalog.read(folder))
    assert found["label_depth"] == {"model": 4, "family": 1, "constructor": 0, "nothing": 1}
    assert list(found["label_depth"]) == ["model", "family", "constructor", "nothing"]
    assert found["unplaced_types"] == [
        {"constructor": "Boeing", "aircraft_type": "747", "reaches": "family", "photos": 1}
    ]


def test_airlines_and_sources_are_counted_by_constructor(tmp_path: Path) -> None:
    rows = [
        ("KLM", "Boeing"),
        ("KLM", "Airbus"),
        ("KLM", "Boeing"),
        ("Wizz Air", "Airbus"),
        ("Ryanair", ""),
        ("", "Boeing"),
    ]
    lines = [f"{place},{place}.jpg,{maker},{airline},web" for place, (airline, maker) in enumerate(rows)]
    (tmp_path / "catalog.csv").write_text("\n".join(["photo_id,file,constructor,airline,source", *lines, ""]))
    found = numbers(catalog.read(tmp_path))
    assert found["airline_mix"] == [
        {"name": "KLM", "photos": 3, "constructors": {"Airbus": 1, "Boeing": 2}},
        {"name": "Wizz Air", "photos": 1, "constructors": {"Airbus": 1}},
    ]
    assert (found["one_constructor_airlines"], found["one_constructor_airline_photos"]) == ({"Airbus": 1}, 1)
    assert found["source_mix"] == [{"name": "web", "photos": 5, "constructors": {"Airbus": 2, "Boeing": 3}}]
    assert found["missing_by_source"]["web"]["constructor"] == 1
    assert found["airlines_of_half"] == 1  # KLM has 3 of the 5 photos with an airline


def test_dates_are_counted_by_month_and_source_where_they_can_be_read(tmp_path: Path) -> None:
    dates = ["2024-02-29", "2024-02", "2024-13-01", "summer", "", "2023-12-31T23:59:59+00:00", "2024-021"]
    lines = [f"{place},{place}.jpg,Boeing,{date},{'ab'[place % 2]}" for place, date in enumerate(dates)]
    (tmp_path / "catalog.csv").write_text("\n".join(["photo_id,file,constructor,taken_on,source", *lines, ""]))
    found = numbers(catalog.read(tmp_path))
    assert found["months"] == {"taken_on": {"2023-12": {"b": 1}, "2024-02": {"a": 1, "b": 1}}, "scraped_at": {}}
    assert found["spans"] == {"taken_on": ["2023-12-31", "2024-02-29"], "scraped_at": []}


def test_what_two_readings_disagree_about_is_counted_by_field(tmp_path: Path) -> None:
    says = "airline: the card says A; B, the address C; aircraft_type: only the address says 737"
    lines = ["photo_id,file,constructor,review", f'1,1.jpg,Boeing,"{says}"', "2,2.jpg,,", ""]
    (tmp_path / "catalog.csv").write_text("\n".join(lines))
    found = numbers(catalog.read(tmp_path))["review"]
    assert (found["photos"], found["fields"]) == (1, {"aircraft_type": 1, "airline": 1})
    assert found["examples"] == [{"photo_id": "1", "review": says}]


def test_with_the_folder_the_files_are_counted_and_with_looks_what_is_in_them(folder: Path) -> None:
    frame = catalog.read(folder)
    assert (numbers(frame)["files"], numbers(frame)["broken_images"], numbers(frame)["look_alikes"]) == (
        None,
        None,
        None,
    )
    (folder / frame["file"][0]).unlink()
    files = numbers(frame, folder)["files"]
    assert files == {
        "bytes": sum(map(len, (b"second", b"first", b"third", b"fourth", b"fifth"))),
        "missing": [frame["file"][0]],
    }
    result = CliRunner().invoke(app, ["catalog", "stats", str(folder), "--json", "--look"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert set(found["broken_images"]) == set(frame["file"])  # none of these is an image at all
    assert found["look_alikes"] == []


def test_sizes_are_counted_and_those_below_what_the_network_sees(folder: Path) -> None:
    found = numbers(catalog.read(folder))
    assert {"width": 300, "height": 200, "photos": 2} in found["dimensions"]
    assert sum(row["photos"] for row in found["dimensions"]) == 4
    assert found["under_224"] == 3


def test_a_catalog_without_photos_has_numbers_too(tmp_path: Path) -> None:
    (tmp_path / "catalog.csv").write_text("photo_id,file,constructor\n")
    found = numbers(catalog.read(tmp_path))
    assert (found["photos"], found["models"], found["sizes"], found["exact_duplicates"]) == (0, [], {}, 0)
    assert CliRunner().invoke(app, ["catalog", "stats", str(tmp_path)]).exit_code == 0


def test_programs_get_the_same_numbers_as_one_object(folder: Path) -> None:
    result = CliRunner().invoke(app, ["catalog", "stats", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == numbers(catalog.read(folder), folder)


def test_piped_tables_are_plain_text_with_names_as_they_are(folder: Path) -> None:
    result = CliRunner().invoke(app, ["catalog", "stats", str(folder)])
    assert result.exit_code == 0, result.output
    assert result.output.isascii()
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert "Boeing 737-800 3 1" in lines
    assert "Boeing 747, model not said 1 0" in lines
    assert "[bold]KLM 1 16.7%" in lines
    assert "image sizes in pixels (2 photos do not give theirs)" in lines
    assert "1 photo is an exact copy of others: 1 = 3." in lines


def test_a_terminal_gets_lines_and_long_lists_are_cut(folder: Path) -> None:
    output = io.StringIO()
    tables.show_all(numbers(catalog.read(folder)), Console(file=output, force_terminal=True, width=80), top=1)
    assert "\u2500" in output.getvalue()
    assert "2 airlines, the first 1" in output.getvalue()
    assert "KLM" not in output.getvalue()
    assert "more, up to 3" in output.getvalue()


def test_a_folder_without_a_catalog_is_a_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["catalog", "stats", str(tmp_path)])
    assert isinstance(result.exception, CatalogError)


def test_the_numbers_of_the_photo_catalog_add_up() -> None:
    if not PHOTOS.exists():
        pytest.skip("the photo catalog is not on this machine")
    frame = catalog.read(PHOTOS)
    found = numbers(frame)
    photos = found["photos"]
    assert photos == len(frame) > 0
    assert sum(found["constructors"].values()) == photos
    assert sum(found["airlines"].values()) == photos
    assert sum(found["sources"].values()) == photos
    assert sum(found["label_depth"].values()) == photos
    assert sum(row["photos"] for row in found["models"]) == photos
    assert sum(row["photos"] for row in found["dimensions"]) == photos - found["without_size"]
    with_registration = photos - found["missing"]["registration"]
    assert sum(int(count) * airframes for count, airframes in found["photos_per_airframe"].items()) == with_registration
