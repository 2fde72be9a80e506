"""Catalog statistics: the counts, as tables and as JSON."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog import COLUMNS, CatalogError
from planespotter_scraping.catalog.stats import compute_stats
from planespotter_scraping.cli import app
from planespotter_scraping.console import tables

PHOTOS = Path(__file__).parents[3] / ".." / "shared" / "photos"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photos: three of one 737-800, one of them a copy; an A320-200 without an airline; two with few labels."""
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
        row |= {"registration": registration, "width": width, "height": height, "source": "own"}
        catalog.append(tmp_path, row, image)
    return tmp_path


def test_photos_labels_sizes_and_copies_are_counted(folder: Path) -> None:
    stats = compute_stats(catalog.read(folder))
    assert stats["photos"] == 6
    assert stats["constructors"] == {"Boeing": 4, "": 1, "Airbus": 1}
    assert stats["airlines"] == {"Ryanair": 3, "": 2, "[bold]KLM": 1}
    assert stats["sources"] == {"own": 6}
    assert set(stats["missing"]) == {*COLUMNS, "family", "model"}
    missing = {column: stats["missing"][column] for column in ("photo_id", "airline", "registration", "licence")}
    assert missing == {"photo_id": 0, "airline": 2, "registration": 2, "licence": 6}
    assert (stats["missing"]["constructor"], stats["missing"]["family"], stats["missing"]["model"]) == (1, 1, 2)
    assert [tuple(row.values()) for row in stats["models"]] == [
        ("Boeing", "737", "737-800", 3, 1),
        ("Boeing", "747", "", 1, 0),
        ("", "", "", 1, 0),
        ("Airbus", "A320", "A320-200", 1, 1),
    ]
    assert (stats["airframes"], stats["photos_per_airframe"]) == (2, {"1": 1, "3": 1})
    assert stats["sizes"]["width"] == {"min": 300, "median": 350, "max": 500}
    assert stats["sizes"]["shorter side"] == {"min": 200, "median": 200, "max": 500}
    assert stats["without_size"] == 2
    assert (stats["exact_duplicates"], stats["duplicated_files"]) == (1, [["1", "3"]])


def test_labels_are_counted_by_depth_and_types_without_a_model_are_listed(folder: Path) -> None:
    stats = compute_stats(catalog.read(folder))
    assert stats["label_depth"] == {"model": 4, "family": 1, "constructor": 0, "none": 1}
    assert list(stats["label_depth"]) == ["model", "family", "constructor", "none"]
    assert stats["unresolved_types"] == [
        {"constructor": "Boeing", "aircraft_type": "747", "level": "family", "photos": 1}
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
    lines = [f"{number},{number}.jpg,{constructor},{airline},web" for number, (airline, constructor) in enumerate(rows)]
    (tmp_path / "catalog.csv").write_text("\n".join(["photo_id,file,constructor,airline,source", *lines, ""]))
    stats = compute_stats(catalog.read(tmp_path))
    assert stats["airline_mix"] == [
        {"name": "KLM", "photos": 3, "constructors": {"Airbus": 1, "Boeing": 2}},
        {"name": "Wizz Air", "photos": 1, "constructors": {"Airbus": 1}},
    ]
    assert (stats["single_constructor_airlines"], stats["single_constructor_airline_photos"]) == ({"Airbus": 1}, 1)
    assert stats["source_mix"] == [{"name": "web", "photos": 5, "constructors": {"Airbus": 2, "Boeing": 3}}]
    assert stats["missing_by_source"]["web"]["constructor"] == 1
    assert stats["airlines_for_half"] == 1  # KLM has 3 of the 5 photos with an airline


def test_valid_dates_are_counted_by_month_and_source(tmp_path: Path) -> None:
    dates = ["2024-02-29", "2024-02", "2024-13-01", "summer", "", "2023-12-31T23:59:59+00:00", "2024-021"]
    lines = [f"{number},{number}.jpg,Boeing,{date},{'ab'[number % 2]}" for number, date in enumerate(dates)]
    (tmp_path / "catalog.csv").write_text("\n".join(["photo_id,file,constructor,taken_on,source", *lines, ""]))
    stats = compute_stats(catalog.read(tmp_path))
    assert stats["months"] == {"taken_on": {"2023-12": {"b": 1}, "2024-02": {"a": 1, "b": 1}}, "scraped_at": {}}
    assert stats["date_ranges"] == {"taken_on": ["2023-12-31", "2024-02-29"], "scraped_at": []}


def test_dates_that_a_spreadsheet_changed_are_reported_instead_of_lost(tmp_path: Path) -> None:
    lines = ["1,1.jpg,Boeing,30.06.2026", "2,2.jpg,Boeing,1.7.2026", "3,3.jpg,Boeing,2026-07-02", "4,4.jpg,Boeing,"]
    (tmp_path / "catalog.csv").write_text("\n".join(["photo_id,file,constructor,taken_on", *lines, ""]))
    stats = compute_stats(catalog.read(tmp_path))
    assert stats["invalid_dates"] == {"taken_on": ["30.06.2026", "1.7.2026"], "scraped_at": []}
    assert "taken_on: 2 dates not counted, such as 30.06.2026: write YYYY-MM-DD." in tables.sentences(stats)


def test_names_of_folders_are_not_counted_as_constructors_without_a_word(tmp_path: Path) -> None:
    lines = [
        f"{number},{number}.jpg,{name}" for number, name in enumerate(["Boeing", "Military", "Cessna", "no plane"])
    ]
    (tmp_path / "catalog.csv").write_text("\n".join(["photo_id,file,constructor", *lines, ""]))
    stats = compute_stats(catalog.read(tmp_path))
    assert stats["other_names"] == ["Military"]
    titles = [title for title, _ in tables.tables(stats, 10, plain=True)]
    assert "3 constructors; not known as constructors: Military" in titles


def test_contradicting_labels_are_counted_by_field(tmp_path: Path) -> None:
    review = "airline: the card says A; B, the address C; aircraft_type: only the address says 737"
    lines = ["photo_id,file,constructor,review", f'1,1.jpg,Boeing,"{review}"', "2,2.jpg,,", ""]
    (tmp_path / "catalog.csv").write_text("\n".join(lines))
    stats = compute_stats(catalog.read(tmp_path))["review"]
    assert (stats["photos"], stats["fields"]) == (1, {"aircraft_type": 1, "airline": 1})
    assert stats["examples"] == [{"photo_id": "1", "review": review}]


def test_the_folder_adds_file_sizes_and_scans_add_broken_images_and_near_duplicates(folder: Path) -> None:
    frame = catalog.read(folder)
    assert (
        compute_stats(frame)["files"],
        compute_stats(frame)["broken_images"],
        compute_stats(frame)["near_duplicates"],
    ) == (
        None,
        None,
        None,
    )
    (folder / frame["file"][0]).unlink()
    files = compute_stats(frame, folder)["files"]
    assert files == {
        "bytes": sum(map(len, (b"second", b"first", b"third", b"fourth", b"fifth"))),
        "missing": [frame["file"][0]],
    }
    result = CliRunner().invoke(app, ["catalog", "stats", str(folder), "--json", "--scan-images"])
    assert result.exit_code == 0, result.output
    stats = json.loads(result.output)
    assert set(stats["broken_images"]) == set(frame["file"])  # none of these is an image
    assert stats["near_duplicates"] == []


def test_sizes_are_counted_and_images_below_the_input_side_of_the_network(folder: Path) -> None:
    stats = compute_stats(catalog.read(folder))
    assert {"width": 300, "height": 200, "photos": 2} in stats["dimensions"]
    assert sum(row["photos"] for row in stats["dimensions"]) == 4
    assert stats["under_224"] == 3


def test_an_empty_catalog_has_statistics(tmp_path: Path) -> None:
    (tmp_path / "catalog.csv").write_text("photo_id,file,constructor\n")
    stats = compute_stats(catalog.read(tmp_path))
    assert (stats["photos"], stats["models"], stats["sizes"], stats["exact_duplicates"]) == (0, [], {}, 0)
    assert CliRunner().invoke(app, ["catalog", "stats", str(tmp_path)]).exit_code == 0


def test_json_output_equals_compute_stats(folder: Path) -> None:
    result = CliRunner().invoke(app, ["catalog", "stats", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == compute_stats(catalog.read(folder), folder)


def test_piped_tables_are_plain_text_without_markup(folder: Path) -> None:
    result = CliRunner().invoke(app, ["catalog", "stats", str(folder)])
    assert result.exit_code == 0, result.output
    assert result.output.isascii()
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert "Boeing 737-800 3 1" in lines
    assert "Boeing 747, model unknown 1 0" in lines
    assert "[bold]KLM 1 16.7%" in lines
    assert "image sizes in pixels (2 photos without a size)" in lines
    assert "1 exact copy: 1 = 3." in lines


def test_a_terminal_gets_rules_and_long_lists_are_truncated(folder: Path) -> None:
    output = io.StringIO()
    tables.show_all(compute_stats(catalog.read(folder)), Console(file=output, force_terminal=True, width=80), top=1)
    assert "\u2500" in output.getvalue()
    assert "2 airlines, the first 1" in output.getvalue()
    assert "KLM" not in output.getvalue()
    assert "more, up to 3" in output.getvalue()


def test_a_folder_without_a_catalog_is_a_catalog_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["catalog", "stats", str(tmp_path)])
    assert isinstance(result.exception, CatalogError)


def test_the_counts_of_the_photo_catalog_add_up() -> None:
    if not PHOTOS.exists():
        pytest.skip("the photo catalog is not on this machine")
    frame = catalog.read(PHOTOS)
    stats = compute_stats(frame)
    photos = stats["photos"]
    assert photos == len(frame) > 0
    aircraft = photos - stats["no_aircraft"]
    assert sum(stats["constructors"].values()) == aircraft
    assert sum(stats["airlines"].values()) == aircraft
    assert sum(stats["sources"].values()) == photos
    assert sum(stats["label_depth"].values()) == aircraft
    assert sum(row["photos"] for row in stats["models"]) == aircraft
    assert sum(row["photos"] for row in stats["dimensions"]) == photos - stats["without_size"]
    with_registration = aircraft - stats["missing"]["registration"]
    assert sum(int(count) * airframes for count, airframes in stats["photos_per_airframe"].items()) == with_registration
