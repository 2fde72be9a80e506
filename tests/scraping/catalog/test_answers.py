"""Answers become labels: corrected predictions, the page's corrections, Label Studio's export."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.scraping.cleaning.test_clean import jpeg, scene
from typer.testing import CliRunner

from planespotter_client.convert import label_studio
from planespotter_client.convert.results import Row
from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError
from planespotter_scraping.catalog.answers import import_answers, read_answers
from planespotter_scraping.cli import app

HEADER = "file,level,name,probability,constructor,family,model,error,correction"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "day 1").mkdir(parents=True)
    for number, name in enumerate(("a", "b", "day 1/c", "d")):
        (folder / f"{name}.jpg").write_bytes(jpeg(scene(number)))
    return folder


def answers(photos: Path, prefix: str = "") -> Path:
    """Predictions: one corrected, one confident, one not, one failed; `prefix` precedes each path."""
    rows = (
        "a.jpg,family,Boeing 737,0.8,Boeing,737,,,A320neo",
        "b.jpg,model,Boeing 737-800,0.97,Boeing,737,737-800,,",
        "day 1/c.jpg,constructor,Airbus,0.6,Airbus,,,,",
        "d.jpg,,,,,,,The photo is damaged.,",
    )
    file = photos.parent / "answers.csv"
    file.write_text("\n".join([HEADER, *(prefix + row for row in rows)]) + "\n", encoding="utf-8-sig")
    return file


def table(folder: Path) -> list[tuple[str, str]]:
    frame = catalog.read(folder)
    return sorted(zip(frame["constructor"], frame["aircraft_type"], strict=True))


def test_only_corrected_photos_are_stored(photos: Path, tmp_path: Path) -> None:
    result = import_answers(answers(photos, f"{photos}/"), tmp_path / "out")
    assert result.stored == 1
    assert result.notes == ["Skipped: 3 photos without a correction."]
    assert table(tmp_path / "out") == [("Airbus", "A320neo")]
    assert catalog.read(tmp_path / "out")["source"][0] == "answers"


def test_confident_predictions_are_labels_if_asked_for(photos: Path, tmp_path: Path) -> None:
    import_answers(answers(photos, f"{photos}/"), tmp_path / "out", min_probability=0.9)
    assert table(tmp_path / "out") == [("Airbus", "A320neo"), ("Boeing", "737-800")]


def test_names_of_the_page_are_found_in_the_folder(photos: Path, tmp_path: Path) -> None:
    """The page names a photo by its path in the folder that was dropped."""
    result = import_answers(answers(photos, "photos/"), tmp_path / "out", folder=photos, min_probability=0.5)
    assert result.stored == 3
    assert ("Airbus", "") in table(tmp_path / "out")


def test_corrections_that_the_page_saves_are_answers(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("\ufefffile,constructor,aircraft_type\nphotos/a.jpg,Boeing,737-800\nb.jpg,,Embraer E190\n")
    import_answers(file, tmp_path / "out", folder=photos)
    assert table(tmp_path / "out") == [("Boeing", "737-800"), ("Embraer", "Embraer E190")]


def task(image: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    results = [{"result": [{"value": value}], "was_cancelled": value == {}} for value in annotations]
    return {"id": 1, "data": {"image": image}, "annotations": results}


def test_label_studio_export_is_answers(photos: Path, tmp_path: Path) -> None:
    tasks = [
        task("/data/upload/3/0123abcd-a.jpg", {"taxonomy": [["Boeing", "737", "737-800"]]}),
        task("/data/local-files/?d=day%201/c.jpg", {"choices": ["Airbus A320neo"]}),
        task("http://127.0.0.1:8080/b.jpg", {"choices": ["Boeing 747"]}, {"choices": ["Airbus A380"]}),
        task("d.jpg", {}, {"choices": ["No aircraft"]}),
        task("d.jpg"),
        task("notes.txt", {"choices": ["Boeing 747"]}),
    ]
    file = tmp_path / "export.json"
    file.write_text(json.dumps(tasks))
    result = import_answers(file, tmp_path / "out", folder=photos)
    assert table(tmp_path / "out") == [("Airbus", "A320neo"), ("Boeing", "737-800"), ("No aircraft", "")]
    assert result.notes[0] == (
        "Skipped: 1 photo without an annotation, 1 task without a photo, 1 photo whose annotators disagree."
    )


def test_annotated_tasks_of_convert_come_back_as_labels(photos: Path, tmp_path: Path) -> None:
    """The tasks that planespotter convert writes, with an annotation by a person as Label Studio exports it."""
    tasks = []
    for name, annotated in (("a", ["Airbus", "A320", "A320neo"]), ("day 1/c", ["Boeing", "737"]), ("d", None)):
        row = Row(str(photos / f"{name}.jpg"), {}, (), ("Boeing", "737", "737-800"), 0.6)
        exported = label_studio.task(row, label_studio.LOCAL_FILES)
        annotation = {**exported["predictions"][0]["result"][0], "value": {"taxonomy": [annotated]}}
        tasks.append({**exported, "annotations": [{"result": [annotation]}] if annotated else []})
    file = tmp_path / "export.json"
    file.write_text(json.dumps(tasks))
    result = import_answers(file, tmp_path / "out")
    assert table(tmp_path / "out") == [("Airbus", "A320neo"), ("Boeing", "737")]
    assert result.notes == ["Skipped: 1 photo without an annotation."]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("answers.csv", "file,probability\na.jpg,0.9\n", "is not a CSV file of predictions: it has no column"),
        ("export.json", "{}", "is not an export of Label Studio: .* not JSON-MIN"),
        ("export.json", "[", "is not JSON"),
        ("missing.csv", None, "cannot be read: No such file or directory"),
    ],
)
def test_unusable_answers_are_an_error(tmp_path: Path, name: str, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(CatalogError, match=words):
        read_answers(tmp_path / name)


def test_answers_without_corrections_or_photos_are_explained(photos: Path, tmp_path: Path) -> None:
    file = answers(photos, "gone/")
    with pytest.raises(CatalogError, match=r"No photo of .* exists, such as gone/a.jpg. Give the folder of the photos"):
        import_answers(file, tmp_path / "out")
    file.write_text(f"{HEADER}\na.jpg,family,Boeing 737,0.8,Boeing,737,,,some plane\n")
    with pytest.raises(CatalogError, match=r"labels no photo: Skipped: 1 type without their constructor, such as 'so"):
        import_answers(file, tmp_path / "out")


def test_the_command_imports_answers_and_rejects_other_labels(photos: Path, tmp_path: Path) -> None:
    file, out = answers(photos, f"{photos}/"), str(tmp_path / "out")
    done = CliRunner().invoke(app, ["catalog", "import", "--answers", str(file), "--out", out])
    assert done.exit_code == 0, done.output
    assert "1 photo stored, 0 known already." in done.output
    for arguments, words in (
        (["--answers", str(file), "--labels", "labels.csv"], "omit --labels"),
        ([], "pass the folder of the photos, or --answers"),
        ([str(photos), "--min-probability", "0.5"], "it needs --answers"),
    ):
        done = CliRunner().invoke(app, ["catalog", "import", *arguments, "--out", out])
        assert done.exit_code == 2
        assert words in " ".join(done.output.replace("│", " ").split())
