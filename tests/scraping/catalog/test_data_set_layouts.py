"""Layouts of data sets: FGVC-Aircraft, Kaggle, Roboflow, COCO and image folders are imported with the right labels."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError
from planespotter_scraping.catalog.folder_import import import_folder
from planespotter_scraping.catalog.path_labels import labels_from_path
from planespotter_scraping.cli import app

TYPES = ["737-800", "A320", "747-400", "A380"]
EXPECTED = {("Boeing", "737-800"), ("Airbus", "A320"), ("Boeing", "747-400"), ("Airbus", "A380")}


def photos(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (300, 200), (40 * number, 90, 160)).save(folder / name)


def imported(folder: Path, out: Path, **options: object) -> set[tuple[str, str]]:
    import_folder(folder, out, **options)  # type: ignore[arg-type]
    frame = catalog.read(out)
    return {(row["constructor"], row["model"] or row["family"]) for row in frame.to_dict("records")}


def test_fgvc_aircraft_is_imported_as_it_is_unpacked(tmp_path: Path) -> None:
    data = tmp_path / "fgvc-aircraft-2013b" / "data"
    photos(data / "images", [f"10000{number}.jpg" for number in range(4)])
    for level, labels in (("variant", TYPES), ("manufacturer", ["Boeing", "Airbus", "Boeing", "Airbus"])):
        for split, numbers in (("trainval", range(2)), ("test", range(2, 4))):
            lines = "".join(f"10000{number} {labels[number]}\n" for number in numbers)
            (data / f"images_{level}_{split}.txt").write_text(lines)
    (data / "variants.txt").write_text("\n".join(TYPES))
    assert imported(tmp_path / "fgvc-aircraft-2013b", tmp_path / "out") == EXPECTED


def test_kaggle_table_with_further_columns_is_read(tmp_path: Path) -> None:
    photos(tmp_path / "kaggle" / "images", [f"{number}.jpg" for number in range(4)])
    rows = "".join(f"{number},{number}.jpg,{TYPES[number]},{number}\n" for number in range(4))
    (tmp_path / "kaggle" / "train.csv").write_text("id,filename,Classes,Labels\n" + rows)
    assert imported(tmp_path / "kaggle", tmp_path / "found") == EXPECTED
    table = tmp_path / "kaggle" / "train.csv"
    result = import_folder(tmp_path / "kaggle" / "images", tmp_path / "given", labels=table)
    assert result.stored == 4
    assert any("ignored: id, Labels" in note for note in result.notes)


def test_column_option_names_a_column_that_is_not_recognized(tmp_path: Path) -> None:
    photos(tmp_path / "in", ["a.jpg"])
    (tmp_path / "t.csv").write_text("bild;muster;halter\na.jpg;A350-941;Lufthansa\n")
    command = ["catalog", "import", str(tmp_path / "in"), "--labels", str(tmp_path / "t.csv"), "--out"]
    columns = ["--column", "file=bild", "--column", "aircraft_type=muster", "--column", "airline=halter"]
    invocation = CliRunner().invoke(app, [*command, str(tmp_path / "out"), *columns])
    assert invocation.exit_code == 0, invocation.output
    row = catalog.read(tmp_path / "out").iloc[0]
    assert (row["constructor"], row["model"], row["airline"]) == ("Airbus", "A350-900", "Lufthansa")
    wrong = CliRunner().invoke(app, [*command, str(tmp_path / "no"), "--column", "type=muster"])
    assert wrong.exit_code == 2
    with pytest.raises(
        CatalogError, match=r"has no column 'typ' for aircraft_type\. Its columns are bild, muster, halter"
    ):
        import_folder(
            tmp_path / "in",
            tmp_path / "no",
            labels=tmp_path / "t.csv",
            columns={"file": "bild", "aircraft_type": "typ"},
        )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_table_from_a_spreadsheet_is_read_in_any_encoding(tmp_path: Path, encoding: str, separator: str) -> None:
    photos(tmp_path / "in", ["größe.jpg"])
    text = "file,aircraft_type,photographer\ngröße.jpg,747-8I,Jörg Müller\n".replace(",", separator)
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    import_folder(tmp_path / "in", tmp_path / "out", labels=tmp_path / "labels.csv")
    row = catalog.read(tmp_path / "out").iloc[0]
    assert (row["family"], row["photographer"]) == ("747", "Jörg Müller")


def test_roboflow_classes_are_read_in_each_split(tmp_path: Path) -> None:
    for split, numbers in (("train", (0, 1)), ("valid", (2, 3))):
        folder = tmp_path / "rf" / split
        photos(folder, [f"{number}.jpg" for number in numbers])
        for number in numbers:  # other pictures in each split
            Image.new("RGB", (300, 200), (10, 60 * number, 10)).save(folder / f"{number}.jpg")
        rows = "".join(
            f"{number}.jpg, {', '.join('1' if kind == TYPES[number] else '0' for kind in TYPES)}\n"
            for number in numbers
        )
        (folder / "_classes.csv").write_text(f"filename, {', '.join(TYPES)}\n{rows}")
    assert imported(tmp_path / "rf", tmp_path / "out") == EXPECTED


def test_tables_of_boxes_are_merged_and_photos_of_two_types_are_skipped(tmp_path: Path) -> None:
    photos(tmp_path / "rf", ["0.jpg", "1.jpg"])
    boxes = "0.jpg,300,200,737-800,1,1,9,9\n0.jpg,300,200,737-800,2,2,9,9\n1.jpg,300,200,A320,1,1,9,9\n"
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    (tmp_path / "rf" / "_annotations.csv").write_text(header + boxes + "1.jpg,300,200,A380,2,2,9,9\n")
    result = import_folder(tmp_path / "rf", tmp_path / "out", labels=tmp_path / "rf" / "_annotations.csv")
    assert (result.stored, result.unlisted) == (1, 1)
    assert "Skipped 1 photo with several different labels." in result.notes


def test_photos_of_two_types_in_a_data_set_are_skipped_as_the_note_says(tmp_path: Path) -> None:
    photos(tmp_path / "rf", ["0.jpg", "1.jpg"])
    boxes = "0.jpg,737-800,1\n1.jpg,A320,1\n1.jpg,A380,2\n"
    (tmp_path / "rf" / "_annotations.csv").write_text(f"filename,class,xmin\n{boxes}")
    result = import_folder(tmp_path / "rf", tmp_path / "out")
    assert result.notes[-1] == "Skipped 1 photo with several different labels."
    assert set(catalog.read(tmp_path / "out")["model"]) == {"737-800"}
    assert (result.stored, result.without_family) == (1, {})


def test_tables_in_hidden_and_housekeeping_folders_are_not_read(tmp_path: Path) -> None:
    photos(tmp_path / "kaggle", ["0.jpg"])
    for name, kind in ((".ipynb_checkpoints", "A380"), ("__MACOSX", "747-400"), ("tables", "737-800")):
        (tmp_path / "kaggle" / name).mkdir()
        (tmp_path / "kaggle" / name / "train.csv").write_text(f"filename,class\n0.jpg,{kind}\n")
    assert imported(tmp_path / "kaggle", tmp_path / "out") == {("Boeing", "737-800")}


def test_coco_json_is_read(tmp_path: Path) -> None:
    photos(tmp_path / "coco" / "train2017", [f"{number:012}.jpg" for number in range(4)])
    content = {
        "images": [{"id": number, "file_name": f"{number:012}.jpg"} for number in range(4)],
        "categories": [{"id": 9, "name": "aircraft"}, *({"id": n, "name": name} for n, name in enumerate(TYPES))],
        "annotations": [{"image_id": number, "category_id": kind} for number in range(4) for kind in (9, number)],
    }
    (tmp_path / "coco" / "annotations").mkdir()
    (tmp_path / "coco" / "annotations" / "instances_train.json").write_text(json.dumps(content))
    assert imported(tmp_path / "coco", tmp_path / "out") == EXPECTED


def test_results_of_classify_are_a_table_of_labels(tmp_path: Path) -> None:
    photos(tmp_path / "in", ["a.jpg", "b.jpg"])
    text = "file,constructor,family,model,confidence_level\na.jpg,Boeing,737,737-800,model\nb.jpg,Airbus,A320,,family\n"
    (tmp_path / "results.csv").write_text(text)
    result = imported(tmp_path / "in", tmp_path / "out", labels=tmp_path / "results.csv")
    assert result == {("Boeing", "737-800"), ("Airbus", "A320")}


@pytest.mark.parametrize("split", ["train", "valid", "test", "val", "data", "images", "Photos", "JPEGImages"])
def test_names_of_splits_are_never_labels(split: str) -> None:
    assert labels_from_path(Path("set"), f"{split}/C919/1.jpg")["constructor"] != split
    assert labels_from_path(Path("set"), f"{split}/737-800/1.jpg") == labels_from_path(Path("set"), "737-800/1.jpg")
    assert labels_from_path(Path("set"), f"data/{split}/1.jpg") == {"constructor": "", "aircraft_type": ""}


def test_folder_without_any_label_stores_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    photos(tmp_path / "kaggle" / "images", ["1.jpg", "2.jpg"])
    words = r"No label of an aircraft was found in any folder name.*so nothing was stored \(2 photos\)\. .*--labels"
    with pytest.raises(CatalogError, match=words):
        import_folder(tmp_path / "kaggle", tmp_path / "out")
    assert not (tmp_path / "out" / "catalog.csv").exists()
