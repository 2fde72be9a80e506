"""Registration and airline from the names of folders and files, by convention or by the user's pattern."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError
from planespotter_scraping.catalog.path_labels import (
    airframe_from_path,
    compile_pattern,
    labels_from_path,
    match_pattern,
)
from planespotter_scraping.cli import app


def photo(path: Path, red: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40), (red, 100, 200)).save(path)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["catalog", *map(str, arguments)])
    return result.exit_code, result.output + str(result.exception or "")


@pytest.mark.parametrize(
    ("file", "registration", "airline"),
    [
        ("Airbus/A320-200/Lufthansa/D-AIPA/x.jpg", "D-AIPA", "Lufthansa"),
        ("Boeing/737-800/Air France/F-GZHA.jpg", "F-GZHA", "Air France"),
        ("737-800/N8565Z_2023-05-01.jpg", "N8565Z", ""),
        ("737-800/D-AIPA at FRA/x.jpg", "D-AIPA", ""),
        ("737-800/D-AIPA/G-EUPT before.jpg", "D-AIPA", ""),  # the folder counts before the file
        ("737-800/D-AIPA and G-EUPT/x.jpg", "", ""),  # two aircraft
        ("737-800/2023/Frankfurt/x.jpg", "", ""),
        ("737-800/Frankfurt airport/D-AIPA/x.jpg", "D-AIPA", ""),
        ("A320-214/A321-271NX.jpg", "", ""),
        ("737-800/IMG_1234.jpg", "", ""),
        ("No aircraft/Lufthansa/D-AIPA/x.jpg", "", ""),
    ],
)
def test_a_spotters_folders_name_the_airframe_and_the_airline(file: str, registration: str, airline: str) -> None:
    airframe = airframe_from_path(file, labels_from_path(Path("pictures"), file))
    assert (airframe.get("registration", ""), airframe.get("airline", "")) == (registration, airline)


def test_two_photos_in_the_folder_of_a_registration_are_of_one_airframe(tmp_path: Path) -> None:
    for number in (1, 2):
        photo(tmp_path / "mine" / "Airbus" / "A320-200" / "Lufthansa" / "D-AIPA" / f"{number}.jpg", 50 * number)
    code, output = run("import", tmp_path / "mine", "--out", tmp_path / "out")
    assert code == 0, output
    frame = catalog.read(tmp_path / "out")
    assert list(frame["registration"]) == ["D-AIPA", "D-AIPA"]
    assert set(frame["airline"]) == {"Lufthansa"}
    assert set(frame["model"]) == {"A320-200"}
    assert "The registration of 2 photos is known: D-AIPA." in output
    assert "The airline of 2 photos is known: Lufthansa." in output


def test_a_pattern_reads_airline_and_registration_from_file_names(tmp_path: Path) -> None:
    names = ("Lufthansa_D-AIPA_1", "Air_France_F-GKXA_at_CDG", "holiday")
    for number, name in enumerate(names):
        photo(tmp_path / "mine" / "A320-214" / f"{name}.jpg", 50 * number)
    pattern = ("--pattern", "{airline}_{registration}_*")
    code, output = run("import", tmp_path / "mine", *pattern, "--out", tmp_path / "out")
    assert code == 0, output
    frame = catalog.read(tmp_path / "out")
    assert set(zip(frame["airline"], frame["registration"], strict=True)) == {
        ("Lufthansa", "D-AIPA"),
        ("Air France", "F-GKXA"),
        ("", ""),
    }
    assert "1 photo not matched by the pattern, such as A320-214/holiday.jpg." in output


@pytest.mark.parametrize(
    ("pattern", "file", "values"),
    [
        ("{airline}/{registration}/*", "a/Condor/d-abon/1.jpg", {"airline": "Condor", "registration": "D-ABON"}),
        ("{registration}.jpg", "a/N8565Z.jpg", {"registration": "N8565Z"}),
        (
            "{aircraft_type} {registration}",
            "737-8AS EI-DAC.png",
            {"aircraft_type": "737-8AS", "registration": "EI-DAC"},
        ),
        ("{registration}_*", "a/holiday_1.jpg", {}),
        ("{taken_on} *", "a/2023-05-01 morning.heic", {"taken_on": "2023-05-01"}),
    ],
)
def test_a_pattern_describes_the_end_of_a_path(pattern: str, file: str, values: dict[str, str]) -> None:
    assert match_pattern(compile_pattern(pattern), file) == values


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{tail}_*", r"\{tail\} is unknown\. Give each field once, of \{airline\}, \{registration\}"),
        ("{airline}_{airline}", "a field is there twice"),
        ("*.jpg", "no field"),
    ],
)
def test_a_wrong_pattern_says_which_fields_there_are(pattern: str, words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        compile_pattern(pattern)


def test_a_pattern_that_fits_no_photo_stores_nothing(tmp_path: Path) -> None:
    photo(tmp_path / "mine" / "A320-214" / "1.jpg", 50)
    code, output = run("import", tmp_path / "mine", "--pattern", "{airline}_{registration}", "--out", tmp_path / "out")
    assert code != 0
    assert "No photo matches the pattern, not even A320-214/1.jpg." in output
    assert not (tmp_path / "out").exists()


def test_a_table_of_labels_counts_before_the_pattern(tmp_path: Path) -> None:
    photo(tmp_path / "mine" / "Lufthansa_D-AIPA.jpg", 50)
    table = tmp_path / "labels.csv"
    table.write_text("file,aircraft_type,airline\nLufthansa_D-AIPA.jpg,A320-214,Condor\n", encoding="utf-8")
    arguments = ("--labels", table, "--pattern", "{airline}_{registration}", "--out", tmp_path / "out")
    code, output = run("import", tmp_path / "mine", *arguments)
    assert code == 0, output
    [row] = catalog.read(tmp_path / "out").to_dict("records")
    assert (row["airline"], row["registration"], row["model"]) == ("Condor", "D-AIPA", "A320-200")
