"""Catalogs of a user's own photos: what the folders and the CSV say, and that nothing is stored twice or lost."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError, folder_import
from planespotter_scraping.catalog.folder_import import Imported, import_folder, labels_of
from planespotter_scraping.cli import app
from planespotter_scraping.console.summaries import import_sentences


def photo(path: Path, colour: int, size: tuple[int, int] = (60, 40)) -> Path:
    """Write a small image, whose content depends on `colour`, in the format of the file's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 100, 200)).save(path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five photos in three formats, an exact copy, a text with an image's name, and a file of another kind."""
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


def test_the_folders_names_label_the_photos(tmp_path: Path, pictures: Path) -> None:
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


def test_what_was_left_out_or_not_placed_is_told(tmp_path: Path, pictures: Path) -> None:
    outcome = import_folder(pictures, tmp_path / "out")
    assert outcome.copies == {"Boeing/737-800/1.jpg": "Boeing/737-800/1 copy.jpg"}
    assert "not a whole image" in outcome.unreadable["holiday/broken.jpg"]
    assert outcome.unplaced == {"holiday": 1}
    assert outcome.other_kinds == {".txt": 1}


def test_of_exact_copies_the_one_whose_label_tells_most_is_stored_and_a_contradiction_is_told(
    tmp_path: Path, pictures: Path
) -> None:
    for folder in ("000 new", "Airbus", "Airbus/A320", "Airbus/A350-941"):
        (pictures / folder).mkdir(exist_ok=True)
        (pictures / folder / "copy.webp").write_bytes((pictures / "Airbus" / "A320-214" / "3.webp").read_bytes())
    outcome = import_folder(pictures, tmp_path / "out")
    assert ("Airbus", "A320", "A320-200", "A320-214") in labels(tmp_path / "out")
    assert outcome.copies["000 new/copy.webp"] == "Airbus/A320-214/3.webp"
    assert outcome.disagreeing == {"Airbus/A350-941/copy.webp": "A350-900 and A320-200"}
    told = list(import_sentences(outcome))
    assert any("A320-214/3.webp, but their labels disagree: A350-900 and A320-200." in line for line in told)


def test_importing_again_adds_only_what_is_new(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "out"
    import_folder(pictures, out)
    before = catalog.read(out)
    photo(pictures / "Boeing" / "787-9" / "new.jpg", 70)
    (pictures / "Boeing" / "737-800" / "2.PNG").rename(pictures / "holiday" / "moved.png")
    outcome = import_folder(pictures, out)
    assert (outcome.stored, outcome.known) == (1, 5)
    after = catalog.read(out)
    assert after.iloc[:5].equals(before)
    assert after["model"].iloc[5] == "787-9"


def test_a_photo_in_flight_when_the_power_went_is_stored_by_the_next_run(tmp_path: Path, pictures: Path) -> None:
    for link in (False, True):
        out = tmp_path / f"out-{link}"
        import_folder(pictures, out, link=link)
        rows = (out / "catalog.csv").read_bytes()
        (out / "catalog.csv").write_bytes(rows[:-30])  # its image is there, its row is cut
        outcome = import_folder(pictures, out, link=link)
        assert (outcome.stored, outcome.known) == (1, 4)
        catalog.check(out, catalog.read(out), hashes=True)
        assert list((out / "images").rglob(".*.part")) == []


def test_linked_images_are_the_users_own_files(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "out"
    import_folder(pictures, out, link=True)
    inodes = {path.stat().st_ino for path in pictures.rglob("*")}
    assert all((out / file).stat().st_ino in inodes for file in catalog.read(out)["file"])
    copied = tmp_path / "copied"
    import_folder(pictures, copied)
    assert all((copied / file).stat().st_ino not in inodes for file in catalog.read(copied)["file"])


def test_the_catalog_may_lie_among_the_photos(tmp_path: Path, pictures: Path) -> None:
    out = pictures / "catalog"
    assert import_folder(pictures, out).stored == 5
    assert import_folder(pictures, out).stored == 0


def test_a_csv_labels_the_photos_that_it_names(tmp_path: Path, pictures: Path) -> None:
    listed = tmp_path / "labels.csv"
    listed.write_text(
        "\ufefffile,constructor,aircraft_type,registration,airline\r\n"
        'Boeing/737-800/1.jpg,boeing,737-8AS,EI-DAC,"Sun, Sea"\r\n'
        "holiday/5.jpg,,A321-271NX,,\r\n"
        "holiday/gone.jpg,Airbus,A320,,\r\n"
    )
    outcome = import_folder(pictures, tmp_path / "out", labels=listed, source="mine")
    assert outcome.stored == 2
    assert outcome.unreadable == {"holiday/gone.jpg": "No such file or directory"}
    assert outcome.not_listed == 5
    first, second = catalog.read(tmp_path / "out").to_dict("records")
    assert (first["constructor"], first["model"], first["aircraft_type"]) == ("Boeing", "737-800", "737-8AS")
    assert (first["registration"], first["airline"], first["source"]) == ("EI-DAC", "Sun, Sea", "mine")
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
def test_folder_names_are_read_in_several_orders(
    tmp_path: Path, file: str, constructor: str, aircraft_type: str
) -> None:
    assert labels_of(tmp_path, file) == {"constructor": constructor, "aircraft_type": aircraft_type}


def test_a_folder_of_one_type_labels_what_lies_in_it() -> None:
    assert labels_of(Path("A350-1041"), "1.jpg") == {"constructor": "Airbus", "aircraft_type": "A350-1041"}
    assert labels_of(Path("Boeing"), "1.jpg") == {"constructor": "Boeing", "aircraft_type": ""}


def test_what_cannot_be_imported_is_a_sentence(tmp_path: Path, pictures: Path) -> None:
    def refused(words: str, call: Callable[[], Imported]) -> None:
        with pytest.raises(CatalogError, match=words):
            call()

    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "out"
    refused("hold no photos. Photos are files ending in", lambda: import_folder(empty, out))
    refused("is not a folder", lambda: import_folder(tmp_path / "nowhere", out))
    refused("lie inside it", lambda: import_folder(pictures, tmp_path))
    refused("The source 'a/b' cannot be used", lambda: import_folder(pictures, out, source="a/b"))
    refused("is a file. Choose a folder", lambda: import_folder(pictures, pictures / "holiday" / "notes.txt"))
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,maker,type\n1.jpg,Boeing,737\n", "columns that labels do not have: 'maker', 'type'. .* known are file,"),
        ("constructor\nBoeing\n", "must have the column 'file'"),
        ("file,file\n1.jpg,2.jpg\n", "each column once"),
        ("", "must have the column 'file'"),
        ("file\n", "names no photos"),
        ("file,airline\n1.jpg,Sun, Sea\n", "Row 1 .* has 3 values, .* 2 columns"),
        ("file\n1.jpg\n1.jpg\n", "Row 2 .* names '1.jpg' again"),
        ('file,airline\n"",Sun\n', "Row 1 .* names no file"),
        ('file,airline\n1.jpg,"Sun\n', "is not CSV"),
    ],
)
def test_bad_labels_are_refused_with_what_is_wrong(tmp_path: Path, pictures: Path, text: str, words: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(CatalogError, match=words):
        import_folder(pictures, tmp_path / "out", labels=tmp_path / "labels.csv")


def test_links_across_disks_are_refused(tmp_path: Path, pictures: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk on this machine")
    with pytest.raises(CatalogError, match="is on another disk"):
        folder_import._check_links(pictures, elsewhere)


def test_the_command_tells_what_it_did(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["catalog", "import", str(pictures), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "5 photos stored, 0 known already." in result.output
    assert "1.jpg is an exact copy of Boeing/737-800/1 copy.jpg." in result.output
    assert "holiday/broken.jpg cannot be read: it is not a whole image, but a web page" in result.output
    assert "Without a family: 1 photo, as all that is known is: holiday (1)." in result.output
    assert "left out: 1 .txt." in result.output


def test_not_one_photo_that_can_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.jpg").write_text("no image")
    result = CliRunner().invoke(app, ["catalog", "import", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "1.jpg cannot be read" in result.output
