"""Labels that a network contradicts with confidence."""

import re
from pathlib import Path

import pandas as pd
import pytest
from tests.scraping.cleaning.test_clean import jpeg, scene
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError
from planespotter_scraping.cli import app
from planespotter_scraping.explore import page
from planespotter_scraping.explore.disagreements import Disagreement, find_disagreements, read_predictions

HEADER = "file,time,level,name,probability,constructor,family,model,best_guess_constructor,error"
LABELS = {"a": ("Airbus", "A320-214"), "b": ("Boeing", "737-8AS"), "c": ("Airbus", ""), "d": ("Boeing", "787-9")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "photos"
    for number, (photo_id, (constructor, kind)) in enumerate(LABELS.items()):
        row = {"photo_id": photo_id, "source": "site", "constructor": constructor, "aircraft_type": kind}
        catalog.append(out, row, jpeg(scene(number)))
    return out


def predictions(folder: Path, *rows: str, name: str = "predictions.csv") -> Path:
    """Write predictions: of each the id of its photo, then probability, constructor, family and model."""
    lines = [HEADER]
    for row in rows:
        photo_id, probability, constructor, family, model = row.split(",")
        lines.append(f"{folder}/images/site/{photo_id}.jpg,,,,{probability},{constructor},{family},{model},Boeing,")
    out = folder.parent / name
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out


def disagreements(folder: Path, file: Path) -> list[Disagreement]:
    frame = catalog.read(folder)
    return find_disagreements(frame, read_predictions(folder, frame, file))


def test_the_most_confident_contradiction_comes_first(folder: Path) -> None:
    file = predictions(folder, "a,0.91,Airbus,A320,A320neo", "b,0.97,Airbus,A321,", "d,0.99,Boeing,787,787-9")
    assert disagreements(folder, file) == [
        Disagreement("b", "Boeing 737-800", "Airbus A321", 0.97),
        Disagreement("a", "Airbus A320-200", "Airbus A320neo", 0.91),
    ]


def test_levels_that_only_one_of_both_names_do_not_contradict(folder: Path) -> None:
    assert (
        disagreements(folder, predictions(folder, "a,0.9,Airbus,,", "c,0.95,Airbus,A380,", "d,0.8,Boeing,787,")) == []
    )


def test_predictions_without_confidence_and_failed_photos_do_not_count(folder: Path) -> None:
    assert disagreements(folder, predictions(folder, "b,0.6,,,", "a,,,,", "d,,Airbus,A350,")) == []


def test_predictions_of_a_run_in_another_folder_are_matched_by_their_names(folder: Path) -> None:
    file = predictions(folder, "b,0.97,Airbus,A321,", "d,0.9,Boeing,787,")
    file.write_text(file.read_text(encoding="utf-8").replace(str(folder), "/archive/elsewhere"), encoding="utf-8")
    assert [item.photo_id for item in disagreements(folder, file)] == ["b"]


def test_a_file_that_a_spreadsheet_saved_is_read(folder: Path) -> None:
    file = predictions(folder, "b,0.97,Airbus,A321,")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b",", b";").replace(b"0.97", b"0,97"))
    assert disagreements(folder, file) == [Disagreement("b", "Boeing 737-800", "Airbus A321", 0.97)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"predictions.csv cannot be read: No such file or directory. Check the path."),
        (
            "file,constructor\na.jpg,Airbus\n",
            "is not a CSV file of predictions: it has no column 'family'. Make it with",
        ),
        (f"{HEADER}\nelsewhere.jpg,,,,0.9,Airbus,A321,,Boeing,\n", "has no predictions of photos in .* Make them with"),
    ],
)
def test_unusable_predictions_are_an_error(folder: Path, content: str | None, words: str) -> None:
    file = folder.parent / "predictions.csv"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(CatalogError, match=words):
        disagreements(folder, file)


def test_the_report_shows_contradicted_labels_with_pictures_and_ids(folder: Path) -> None:
    file = predictions(folder, "a,0.91,Airbus,A320,A320neo", "b,0.97,Airbus,A321,")
    out = folder.parent / "report.html"
    done = CliRunner().invoke(app, ["explore", str(folder), "--out", str(out), "--predictions", str(file)])
    assert done.exit_code == 0, done.output
    text = out.read_text(encoding="utf-8")
    section = text[text.index('id="suspects"') : text.index("</section>", text.index('id="suspects"'))]
    assert "A network contradicts the label with confidence" in section
    assert re.search(r">b\na</textarea>", section)
    assert "Boeing 737-800, the network: Airbus A321 (97%)" in section
    assert section.count("<img ") == 2


def test_a_photo_that_was_deleted_since_is_listed_without_a_picture(folder: Path) -> None:
    file = predictions(folder, "a,0.91,Airbus,A320,A320neo", "b,0.97,Airbus,A321,")
    (folder / "images/site/b.jpg").unlink()
    page.write(folder, folder.parent / "report.html", predictions=file)
    text = (folder.parent / "report.html").read_text(encoding="utf-8")
    assert ">b\na</textarea>" in text
    assert "the network: Airbus A321" not in text


def test_an_empty_catalog_has_no_predictions(tmp_path: Path) -> None:
    frame = pd.DataFrame(columns=["photo_id", "file", "constructor", "family", "model"])
    file = tmp_path / "predictions.csv"
    file.write_text(HEADER + "\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="has no predictions"):
        read_predictions(tmp_path, frame, file)


def test_error_about_a_wrong_file_does_not_advise_to_overwrite_it(folder: Path) -> None:
    with pytest.raises(CatalogError, match=r"catalog\.csv is not a CSV .* classify CATALOG --out predictions\.csv$"):
        disagreements(folder, folder / "catalog.csv")
