"""Output files in use: opened in a spreadsheet, annotated, resumed from another folder, sorted afterwards."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from tests.client.classify.command import csv_rows, files_in, run

Paint = Callable[..., bytes]
ALL = ["photos/737-800.jpg", "photos/A320neo.jpg", "photos/below/747.jpg"]


def test_photos_are_sorted_by_the_results_that_the_csv_file_has(
    address: str, here: Path, paint: Paint, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "photos/unknown.jpg").write_bytes(paint("nothing known"))
    (here / "photos/bad.jpg").write_bytes(b"not a photo")
    assert run("photos", "--server", address, "--out", "a.csv") == 3
    capsys.readouterr()
    assert run("photos", "--server", "127.0.0.1:1", "--out", "a.csv", "--sort-into", "sorted") == 3, "no server needed"
    message = capsys.readouterr().err
    assert "a.csv has a result for each of the 5 photos" in message
    assert "4 photos filed in sorted (" in message
    assert "Boeing 747 1" in message
    filed = sorted(str(path.relative_to("sorted")) for path in Path("sorted").rglob("*.jpg"))
    expected = ["Airbus/A320neo/A320neo.jpg", "Boeing/737-800/737-800.jpg", "Boeing/747/747.jpg", "unknown/unknown.jpg"]
    assert filed == expected
    (here / "photos/copy").mkdir()
    (here / "photos/copy/747.jpg").write_bytes((here / "photos/below/747.jpg").read_bytes())
    assert run("photos", "--server", address, "--out", "a.csv", "--sort-into", "sorted") == 3
    message = capsys.readouterr().err
    assert "0 photos filed in sorted; 5 were there already." in message
    assert filed == sorted(str(path.relative_to("sorted")) for path in Path("sorted").rglob("*.jpg"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_photos_are_sorted_by_the_results_of_other_formats(address: str, here: Path, name: str) -> None:
    assert run("photos", "--server", address, "--out", name) == 0
    assert run("photos", "--server", "127.0.0.1:1", "--out", name, "--sort-into", "sorted") == 0
    assert len(list(Path("sorted").rglob("*.jpg"))) == 3


def test_csv_for_excel_has_a_byte_order_mark_and_is_resumed(
    address: str, here: Path, paint: Paint, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "photos/ümläut 東京.jpg").write_bytes(paint("747"))
    assert run("photos", "--server", address, "--out", "a.csv", "--format", "excel") == 0
    content = Path("a.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbffile,time,")
    assert "photos/ümläut 東京.jpg" in content.decode("utf-8-sig")
    assert run("photos", "--server", "127.0.0.1:1", "--out", "a.csv") == 0, "nothing is asked again"
    assert Path("a.csv").read_bytes() == content
    capsys.readouterr()
    assert run("photos", "--server", address, "--format", "excel") == 0
    assert capsys.readouterr().out.startswith("\ufefffile,time,")


@pytest.mark.parametrize(("delimiter", "line_end"), [(",", "\r\n"), (";", "\r\n"), ("\t", "\n")])
def test_csv_with_a_column_of_notes_that_excel_has_saved_is_resumed_and_keeps_the_notes(
    address: str, here: Path, paint: Paint, capsys: pytest.CaptureFixture[str], delimiter: str, line_end: str
) -> None:
    assert run("photos", "--server", address, "--out", "a.csv") == 0
    header, *lines = Path("a.csv").read_text(encoding="utf-8").splitlines()
    edited = [f"notes,{header}", *(f"a fine one,{line}" for line in lines)]
    text = "".join(line.replace(",", delimiter) + line_end for line in edited)
    Path("a.csv").write_bytes(text.encode("utf-8-sig"))
    (here / "photos/new.jpg").write_bytes(paint("747"))
    assert run("photos", "--server", address, "--out", "a.csv") == 0
    assert "1 photo in" in capsys.readouterr().err
    resumed = Path("a.csv").read_bytes().decode("utf-8-sig")
    assert resumed.startswith(text)
    appended = resumed.removeprefix(text)
    assert appended.startswith(f"{delimiter}photos/new.jpg{delimiter}")
    assert appended.endswith(line_end)
    rows = csv_rows(resumed.replace(delimiter, ","))
    assert [row["notes"] for row in rows] == [*3 * ["a fine one"], ""]
    assert rows[-1]["name"] == "Boeing 747"


def test_photo_is_recognized_by_any_path_and_from_any_folder(
    address: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("photos", "--server", address, "--out", "a.csv") == 0
    (here / "alias").symlink_to(here / "photos")
    for path in (here / "photos", "./photos/../photos", "alias"):
        assert run(path, "--server", "127.0.0.1:1", "--out", "a.csv") == 0
    monkeypatch.chdir(here / "photos")
    assert run(".", "--server", "127.0.0.1:1", "--out", "../a.csv") == 0
    assert files_in((here / "a.csv").read_text()) == ALL
    (here / "photos/new.jpg").write_bytes((here / "photos/below/747.jpg").read_bytes())
    assert run("new.jpg", "--server", address, "--out", "../a.csv") == 0
    monkeypatch.chdir(here)
    assert run("photos", "--server", "127.0.0.1:1", "--out", "a.csv") == 0
    assert files_in(Path("a.csv").read_text()) == sorted([*ALL, str(here / "photos/new.jpg")])


def test_confident_names_and_guesses_have_separate_columns(
    address: str, here: Path, paint: Paint, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "photos/doubtful.jpg").write_bytes(paint("nothing known"))
    assert run("photos", "--server", address) == 0
    rows = {row["file"]: row for row in csv_rows(capsys.readouterr().out)}
    confident, doubtful = rows["photos/A320neo.jpg"], rows["photos/doubtful.jpg"]
    assert (confident["level"], confident["name"], confident["model"]) == ("model", "Airbus A320neo", "A320neo")
    assert confident["probability"] == confident["model_probability"]
    assert confident["best_guess_model"] == "A320neo"
    assert (doubtful["level"], doubtful["name"]) == ("unknown", "unknown")
    assert [doubtful[column] for column in ("constructor", "family", "model", "constructor_probability")] == 4 * [""]
    assert doubtful["best_guess_constructor"] in ("Airbus", "Boeing")
    assert float(doubtful["best_guess_constructor_probability"]) == float(doubtful["probability"])
    assert {row["network"] for row in rows.values()} == {"tiny 1"}
    moment = datetime.fromisoformat(confident["time"])
    assert moment.utcoffset() is not None
    assert abs((datetime.now().astimezone() - moment).total_seconds()) < 3600


def test_missing_folders_of_the_output_are_created(address: str, here: Path) -> None:
    for name in ("new/deep/a.csv", "other/a.jsonl", "third/a.parquet"):
        assert run("photos", "--server", address, "--out", name) == 0
        assert Path(name).is_file()
    assert len(Path("other/a.jsonl").read_text().splitlines()) == 3


def test_short_options_and_quiet(address: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "photos/bad.jpg").write_bytes(b"not a photo")
    assert run("photos", "-r", "-q", "-o", "a.jsonl", "--server", address) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 2
    assert "photos/bad.jpg: " in output.err
    assert "1 of 4 photos failed." in output.err
    assert {json.loads(line)["file"] for line in Path("a.jsonl").read_text().splitlines()} == {*ALL, "photos/bad.jpg"}


@pytest.mark.parametrize(
    ("name", "advice"), [("a.json", "Name a .jsonl file"), ("a.xlsx", "Name a .csv file, and convert it")]
)
def test_format_that_cannot_be_appended_to_names_another(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, advice: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 200)
    assert run("photos", "--out", name) == 2
    assert advice in " ".join(capsys.readouterr().err.split())
