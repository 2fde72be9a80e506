"""Folder import: labels from folder names and CSV files, idempotence, exact copies."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError, folder_import
from planespotter_scraping.catalog.folder_import import ImportResult, import_folder
from planespotter_scraping.catalog.path_labels import (
    labels_from_path,
)
from planespotter_scraping.cli import app
from planespotter_scraping.console.summaries import import_sentences


def photo(path: Path, red: int, size: tuple[int, int] = (60, 40)) -> Path:
    """Write a small image whose content depends on `red`, in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (red, 100, 200)).save(path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five photos in three formats, an exact copy, a web page with the name of an image, and a text file."""
    folder = tmp_path / "My pictures"
    photo(folder / "Boeing" / "737-800" / "1.jpg", 10)
    photo(folder / "Boeing" / "737-800" / "2.PNG", 20, (80, 50))
    photo(folder / "Airbus" / "A320-214" / "3.webp", 30)
    photo(folder / "A350-941" / "4.jpeg", 40)
    photo(folder / "holiday" / "5.jpg", 50)
    (folder / "Boeing" / "737-800" / "1 copy.jpg").write_bytes((folder / "Boeing" / "737-800" / "1.jpg").read_bytes())
    (folder / "holiday" / "broken.jpg").write_text("<html>not found</html>")
    (folder / "holiday" / "notes.txt").write_text("sunny")
    (folder / ".thumbnails").mkdir()
    photo(folder / ".thumbnails" / "1.jpg", 60)
    return folder


def labels(frame_folder: Path) -> set[tuple[str, str, str, str]]:
    frame = catalog.read(frame_folder)
    return set(zip(frame["constructor"], frame["family"], frame["model"], frame["aircraft_type"], strict=True))


def test_folder_names_label_the_photos(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "out"
    outcome = import_folder(pictures, out)
    assert outcome.stored == 5
    assert labels(out) == {
        ("Boeing", "737", "737-800", "737-800"),
        ("Airbus", "A320", "A320-200", "A320-214"),
        ("Airbus", "A350", "A350-900", "A350-941"),
        ("", "", "", "holiday"),
    }
    frame = catalog.read(out)
    catalog.check(out, frame, hashes=True)
    assert set(frame["source"]) == {"My-pictures"}
    assert sorted(set(zip(frame["width"], frame["height"], strict=True))) == [("60", "40"), ("80", "50")]
    assert {Path(file).suffix for file in frame["file"]} == {".jpg", ".png", ".webp"}
    assert set(frame["sha256"]) == {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in pictures.rglob("[1-5]*")
        if ".thumbnails" not in path.parts
    }


def test_skipped_files_and_labels_without_a_family_are_reported(tmp_path: Path, pictures: Path) -> None:
    outcome = import_folder(pictures, tmp_path / "out")
    assert outcome.copies == {"Boeing/737-800/1.jpg": "Boeing/737-800/1 copy.jpg"}
    assert "not an image, but a web page" in outcome.unreadable["holiday/broken.jpg"]
    assert outcome.without_family == {"holiday": 1}
    assert outcome.other_files == {".txt": 1}
    assert "Skipped hidden and system files and folders (1): .thumbnails." in import_sentences(outcome)


def test_the_exact_copy_with_the_deepest_label_is_stored_and_conflicts_are_reported(
    tmp_path: Path, pictures: Path
) -> None:
    for folder in ("000 new", "Airbus", "Airbus/A320", "Airbus/A350-941"):
        (pictures / folder).mkdir(exist_ok=True)
        (pictures / folder / "copy.webp").write_bytes((pictures / "Airbus" / "A320-214" / "3.webp").read_bytes())
    outcome = import_folder(pictures, tmp_path / "out")
    assert ("Airbus", "A320", "A320-200", "A320-214") in labels(tmp_path / "out")
    assert outcome.copies["000 new/copy.webp"] == "Airbus/A320-214/3.webp"
    assert outcome.label_conflicts == {"Airbus/A350-941/copy.webp": "A350-900 and A320-200"}
    sentences = list(import_sentences(outcome))
    assert any("A320-214/3.webp, but their labels conflict: A350-900 and A320-200." in line for line in sentences)


def test_a_second_import_adds_only_new_photos(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "out"
    import_folder(pictures, out)
    first = catalog.read(out)
    photo(pictures / "Boeing" / "787-9" / "new.jpg", 70)
    (pictures / "Boeing" / "737-800" / "2.PNG").rename(pictures / "holiday" / "moved.png")
    outcome = import_folder(pictures, out)
    assert (outcome.stored, outcome.known) == (1, 5)
    second = catalog.read(out)
    assert second.iloc[:5].equals(first)
    assert second["model"].iloc[5] == "787-9"


def test_a_photo_lost_to_a_power_failure_is_stored_by_the_next_run(tmp_path: Path, pictures: Path) -> None:
    for link in (False, True):
        out = tmp_path / f"out-{link}"
        import_folder(pictures, out, link=link)
        rows = (out / "catalog.csv").read_bytes()
        (out / "catalog.csv").write_bytes(rows[:-30])  # the image exists, its row is partial
        outcome = import_folder(pictures, out, link=link)
        assert (outcome.stored, outcome.known) == (1, 4)
        catalog.check(out, catalog.read(out), hashes=True)
        assert list((out / "images").rglob(".*.part")) == []


def test_linked_images_share_the_inodes_of_the_users_files(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "out"
    import_folder(pictures, out, link=True)
    inodes = {path.stat().st_ino for path in pictures.rglob("*")}
    assert all((out / file).stat().st_ino in inodes for file in catalog.read(out)["file"])
    copied = tmp_path / "copied"
    import_folder(pictures, copied)
    assert all((copied / file).stat().st_ino not in inodes for file in catalog.read(copied)["file"])


def test_the_catalog_may_be_inside_the_imported_folder(tmp_path: Path, pictures: Path) -> None:
    out = pictures / "catalog"
    assert import_folder(pictures, out).stored == 5
    assert import_folder(pictures, out).stored == 0


def test_a_csv_file_labels_the_photos_that_it_lists(tmp_path: Path, pictures: Path) -> None:
    listed = tmp_path / "labels.csv"
    listed.write_text(
        "\ufefffile,constructor,aircraft_type,registration,airline\r\n"
        'Boeing/737-800/1.jpg,boeing,737-8AS,EI-DAC,"Sun, Sea"\r\n'
        "holiday/5.jpg,,A321-271NX,,\r\n"
        "holiday/gone.jpg,Airbus,A320,,\r\n"
    )
    outcome = import_folder(pictures, tmp_path / "out", labels=listed, source="own")
    assert outcome.stored == 2
    assert outcome.unreadable == {"holiday/gone.jpg": "No such file or directory"}
    assert outcome.unlisted == 5
    first, second = catalog.read(tmp_path / "out").to_dict("records")
    assert (first["constructor"], first["model"], first["aircraft_type"]) == ("Boeing", "737-800", "737-8AS")
    assert (first["registration"], first["airline"], first["source"]) == ("EI-DAC", "Sun, Sea", "own")
    assert (second["constructor"], second["model"], second["registration"]) == ("Airbus", "A321neo", "")


@pytest.mark.parametrize(
    ("file", "constructor", "aircraft_type"),
    [
        ("Boeing/737-800/1.jpg", "Boeing", "737-800"),
        ("boeing/737-800/1.jpg", "boeing", "737-800"),
        ("737-800/1.jpg", "Boeing", "737-800"),
        ("Boeing 737-800/1.jpg", "Boeing", "Boeing 737-800"),
        ("Boeing_737-800/1.jpg", "Boeing", "Boeing_737-800"),
        ("Boeing/1.jpg", "Boeing", ""),
        ("Airbus/A320/A320-214/Lufthansa/1.jpg", "Airbus", "A320-214"),
        ("Lufthansa/A320-214/1.jpg", "Airbus", "A320-214"),
        ("2023/Boeing/787-9/1.jpg", "Boeing", "787-9"),
        ("Bombardier/CS300/1.jpg", "Bombardier", "CS300"),
        ("Embraer/E190/1.jpg", "Embraer", "E190"),
        ("holiday/1.jpg", "", "holiday"),
        ("1.jpg", "", ""),
    ],
)
def test_labels_are_derived_from_folder_names_in_several_orders(
    tmp_path: Path, file: str, constructor: str, aircraft_type: str
) -> None:
    assert labels_from_path(tmp_path, file) == {"constructor": constructor, "aircraft_type": aircraft_type}


def test_the_imported_folder_labels_images_directly_in_it() -> None:
    assert labels_from_path(Path("A350-1041"), "1.jpg") == {"constructor": "Airbus", "aircraft_type": "A350-1041"}
    assert labels_from_path(Path("Boeing"), "1.jpg") == {"constructor": "Boeing", "aircraft_type": ""}


def test_folders_that_cannot_be_imported_are_a_catalog_error(tmp_path: Path, pictures: Path) -> None:
    def rejected(words: str, call: Callable[[], ImportResult]) -> None:
        with pytest.raises(CatalogError, match=words):
            call()

    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "out"
    rejected("hold no photos: no file ends in .jpg", lambda: import_folder(empty, out))
    rejected("is not a folder", lambda: import_folder(tmp_path / "nowhere", out))
    rejected("are inside it", lambda: import_folder(pictures, tmp_path))
    rejected("source 'a/b' is not a valid folder name", lambda: import_folder(pictures, out, source="a/b"))
    rejected("is a file. Choose a folder", lambda: import_folder(pictures, pictures / "holiday" / "notes.txt"))
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("constructor\nBoeing\n", "are invalid: constructor. Give the column 'file'"),
        ("file,file\n1.jpg,2.jpg\n", "are invalid: file is there twice. Give each once"),
        ("", "are invalid: none. Give the column 'file'"),
        ("file\n", "lists no photos"),
        ("file,airline\n1.jpg,Sun, Sea\n", "Row 1 .* has 3 values, .* 2 columns"),
        ("file\n1.jpg\n1.jpg\n", "Row 2 .* names '1.jpg' again"),
        ('file,airline\n"",Sun\n', "Row 1 .* names no file"),
        ('file,airline\n1.jpg,"Sun\n', "is not CSV"),
    ],
)
def test_an_invalid_csv_file_is_rejected_with_the_reason(tmp_path: Path, pictures: Path, text: str, words: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(CatalogError, match=words):
        import_folder(pictures, tmp_path / "out", labels=tmp_path / "labels.csv")


def test_hard_links_across_disks_are_rejected(tmp_path: Path, pictures: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk on this machine")
    with pytest.raises(CatalogError, match="is not on the same disk"):
        folder_import._check_links(pictures, elsewhere)


def test_the_command_reports_stored_and_skipped_files(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["catalog", "import", str(pictures), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "5 photos stored, 0 known already." in result.output
    assert "Skipped Boeing/737-800/1.jpg: exact copy of Boeing/737-800/1 copy.jpg." in result.output
    assert "Skipped holiday/broken.jpg: it is not an image, but a web page" in result.output
    assert "1 photo without a family; their labels: holiday (1)." in result.output
    assert "Skipped other files: 1 .txt." in result.output


def test_an_import_without_a_usable_photo_exits_with_1(tmp_path: Path) -> None:
    (tmp_path / "in" / "A380").mkdir(parents=True)
    (tmp_path / "in" / "A380" / "1.jpg").write_text("not an image")
    result = CliRunner().invoke(app, ["catalog", "import", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "Skipped A380/1.jpg: it is not an image" in result.output


def test_photos_of_phones_and_cameras_are_stored_as_jpeg_once(tmp_path: Path) -> None:
    folder, out = tmp_path / "photos" / "737-800", tmp_path / "out"
    for name in ("scan.tif", "phone.avif", "paint.bmp", "camera.jfif"):
        photo(folder / name, len(name))
    (folder / "broken.NEF").write_bytes(b"MM\0*" + bytes(500))
    outcome = import_folder(tmp_path / "photos", out, link=True)
    assert outcome.stored == 4
    assert "a raw photo of a camera" in outcome.unreadable["737-800/broken.NEF"]
    catalog.check(out, catalog.read(out), hashes=True)
    assert {Path(file).suffix for file in catalog.read(out)["file"]} == {".jpg"}
    again = import_folder(tmp_path / "photos", out)
    assert (again.stored, again.known) == (0, 4)


def test_ctrl_c_keeps_the_photos_that_were_read_and_the_next_run_adds_the_others(tmp_path: Path) -> None:
    for number in range(30):
        photo(tmp_path / "photos" / "737-800" / f"{number}.png", 8 * number)
    out, seen = tmp_path / "out", list[int]()

    def interrupt(result: ImportResult, total: int) -> None:
        seen.append(total)
        if len(seen) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_folder(tmp_path / "photos", out, progress=interrupt)
    assert len(catalog.read(out)) == 10
    outcome = import_folder(tmp_path / "photos", out)
    assert (outcome.stored, outcome.known) == (20, 10)
    catalog.check(out, catalog.read(out), hashes=True)


def test_many_photos_are_appended_in_few_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        photo(tmp_path / "photos" / "737-800" / f"{number}.png", 10 * number)
    sizes, append_all = list[int](), catalog.append_all

    def record(out: Path, photos: list[catalog.NewPhoto]) -> None:
        sizes.append(len(photos))
        append_all(out, photos)

    monkeypatch.setattr(catalog, "append_all", record)
    monkeypatch.setattr(folder_import, "BATCH_PHOTOS", 8)
    outcome = import_folder(tmp_path / "photos", tmp_path / "out")
    assert (sizes, outcome.stored) == ([8, 8, 4], 20)
