"""Catalog store: reading, validation, atomic appends, near-duplicate groups."""

import csv
import hashlib
import io
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError
from planespotter_scraping.catalog.folder_import import import_folder

PHOTOS = Path(__file__).parents[3] / ".." / "shared" / "photos"


def write(folder: Path, *lines: str) -> Path:
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_reading_adds_the_label_path_and_missing_columns(tmp_path: Path) -> None:
    write(tmp_path, "photo_id,file,constructor,aircraft_type,mood", "7,images/7.jpg,BOEING,737-8AS,sunny")
    frame = catalog.read(tmp_path)
    assert set(catalog.COLUMNS) | {"family", "model", "mood"} == set(frame.columns)
    row = frame.iloc[0]
    assert (row["constructor"], row["family"], row["model"]) == ("Boeing", "737", "737-800")
    assert (row["aircraft_type"], row["mood"], row["airline"]) == ("737-8AS", "sunny", "")


def test_a_catalog_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    text = '\ufeffphoto_id,file,constructor,airline\r\n1,a.jpg,Airbus,"Sun, Sea and Air"\r\n\r\n2,b.jpg,,'
    (tmp_path / "catalog.csv").write_bytes(text.encode())
    frame = catalog.read(tmp_path)
    assert frame["airline"].tolist() == ["Sun, Sea and Air", ""]
    assert frame["constructor"].tolist() == ["Airbus", ""]


def test_an_empty_catalog_has_no_rows(tmp_path: Path) -> None:
    assert len(catalog.read(write(tmp_path, "photo_id,file,constructor"))) == 0


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([""], "has no column 'photo_id'. Its header is empty"),
        (["photo_id;file;constructor", "1;a.jpg;Airbus"], "separate values by commas, not semicolons"),
        (["photo_id,constructor", "1,Airbus"], "has no column 'file'. Its header is photo_id, constructor"),
        (["photo_id,file,constructor,file", "1,a,b,c"], "two columns named 'file'"),
        (["photo_id,file,constructor", "1,a.jpg,Airbus", "2,b.jpg"], "Row 2 .* has 2 values, .* 3 columns"),
        (["photo_id,file,constructor", "1,a.jpg,Airbus,ATR"], "Row 1 .* has 4 values, .* 3 columns"),
        (["photo_id,file,constructor", "1,a.jpg,Airbus", ",b.jpg,Airbus"], "Row 2 .* has no photo_id"),
        (["photo_id,file,constructor", "1,,Airbus"], "Row 1 .* has no file"),
        (["photo_id,file,constructor", "1,a.jpg,", "2,b.jpg,", "1,c.jpg,"], "'1' is not unique: rows 1, 3 of"),
        (["photo_id,file,constructor", "1,../a.jpg,"], "'../a.jpg' in row 1 of .* may be outside"),
        (["photo_id,file,constructor", "1,/etc/hostname,"], "'/etc/hostname' in row 1 of .* may be outside"),
        (["photo_id,file,constructor", '1,"a.jpg,Airbus', "2,b.jpg,Airbus"], "is not CSV"),
    ],
)
def test_an_invalid_catalog_is_rejected_with_reason_and_row(tmp_path: Path, lines: list[str], words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        catalog.read(write(tmp_path, *lines))


def test_the_error_for_a_missing_catalog_names_the_command_that_creates_one(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="planespotter scrape"):
        catalog.read(tmp_path / "nowhere")


def test_another_encoding_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "catalog.csv").write_bytes(b"photo_id,file,constructor\n1,\xe9.jpg,Airbus\n")
    with pytest.raises(CatalogError, match=r"not UTF-8 text \(byte 28\)"):
        catalog.read(tmp_path)


def test_an_appended_photo_is_read_back(tmp_path: Path) -> None:
    row = {"photo_id": "7", "source": "sample", "constructor": "Airbus", "airline": 'A "good", wide\nline'}
    catalog.append(tmp_path, row, b"the image")
    frame = catalog.read(tmp_path)
    assert frame["file"].tolist() == ["images/sample/7.jpg"]
    assert frame["airline"].tolist() == ['A "good", wide line']
    assert frame["sha256"].tolist() == [hashlib.sha256(b"the image").hexdigest()]
    assert catalog.photo_ids(tmp_path) == {"7"}
    catalog.check(tmp_path, frame, hashes=True)


def test_missing_images_are_reported_with_name_and_number(tmp_path: Path) -> None:
    for photo_id in "12345":
        catalog.append(tmp_path, {"photo_id": photo_id}, b"the image")
    frame = catalog.read(tmp_path)
    (tmp_path / "images" / "2.jpg").unlink()
    (tmp_path / "images" / "4.jpg").write_bytes(b"")
    with pytest.raises(CatalogError, match=r"2 images are missing or empty, of 5 in .* images/2.jpg, images/4.jpg\."):
        catalog.check(tmp_path, frame)


def test_a_changed_image_is_detected_by_its_hash(tmp_path: Path) -> None:
    catalog.append(tmp_path, {"photo_id": "1"}, b"the image")
    frame = catalog.read(tmp_path)
    (tmp_path / "images" / "1.jpg").write_bytes(b"another")
    catalog.check(tmp_path, frame)
    with pytest.raises(CatalogError, match="sha256 differs"):
        catalog.check(tmp_path, frame, hashes=True)


@pytest.mark.parametrize("photo_id", ["", "../7", "a/b", ".hidden", "a b"])
def test_a_photo_id_that_is_not_a_safe_file_name_is_rejected(tmp_path: Path, photo_id: str) -> None:
    with pytest.raises(CatalogError, match="letters, digits"):
        catalog.append(tmp_path, {"photo_id": photo_id}, b"the image")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line_end", ["\n", "\r\n", ""])
def test_appending_to_a_handwritten_catalog_adds_missing_columns(tmp_path: Path, line_end: str) -> None:
    text = 'photo_id,mood,file,constructor\r\n1,"sunny, warm",a.jpg,Airbus\r\n2,,b.jpg,Boeing'
    (tmp_path / "catalog.csv").write_bytes(b"\xef\xbb\xbf" + (text + line_end).encode())
    original = catalog.read(tmp_path)
    catalog.append(tmp_path, {"photo_id": "3", "constructor": "ATR", "airline": "Air", "phash": "ff" * 8}, b"the image")
    frame = catalog.read(tmp_path)
    pd.testing.assert_frame_equal(frame.iloc[:2][original.columns], original)
    assert frame["airline"].tolist() == ["", "", "Air"]
    assert frame["phash"].tolist() == ["", "", "ff" * 8]
    header = (tmp_path / "catalog.csv").read_text(encoding="utf-8-sig").partition("\n")[0].split(",")
    assert header[:4] == ["photo_id", "mood", "file", "constructor"]
    assert set(catalog.COLUMNS) <= set(header)


def test_a_csv_file_that_is_not_a_catalog_is_not_appended_to(tmp_path: Path) -> None:
    text = "name,price\nbread,3\n"
    (tmp_path / "catalog.csv").write_text(text)
    with pytest.raises(CatalogError, match=r"no column 'photo_id'\. Its header is name, price"):
        catalog.append(tmp_path, {"photo_id": "2"}, b"the image")
    assert (tmp_path / "catalog.csv").read_text() == text


def test_dropped_photos_are_known_but_not_in_the_catalog(tmp_path: Path) -> None:
    for photo_id in "12":
        catalog.append(tmp_path, {"photo_id": photo_id}, photo_id.encode())
    header, rows = catalog.parse(tmp_path / "catalog.csv")
    catalog.rewrite(tmp_path / "dropped.csv", [*header, "drop_reason"], [[*row, "too small"] for row in rows])
    catalog.rewrite(tmp_path / "catalog.csv", header, rows[:1])
    assert catalog.photo_ids(tmp_path) == {"1", "2"}
    assert catalog.image_hashes(tmp_path) == {hashlib.sha256(text).hexdigest() for text in (b"1", b"2")}
    assert catalog.dropped(tmp_path)[["photo_id", "drop_reason"]].values.tolist() == [["2", "too small"]]
    assert len(catalog.dropped(tmp_path / "images")) == 0


def test_near_duplicates_share_a_group(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for number in range(3):
        picture = Image.fromarray(random.integers(0, 255, (12, 18, 3), np.uint8)).resize((360, 240))
        for copy, quality in ((0, 90), (1, 40)):
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=quality)
            catalog.append(tmp_path, {"photo_id": f"{number}-{copy}"}, file.getvalue())
    catalog.append(tmp_path, {"photo_id": "broken"}, b"not an image")
    frame = catalog.read(tmp_path)
    shuffled = frame.sample(frac=1, random_state=3)
    steps: list[tuple[int, int]] = []
    groups = catalog.near_duplicate_groups(tmp_path, shuffled, progress=lambda done, total: steps.append((done, total)))
    assert list(groups.index) == list(shuffled.index)
    of = dict(zip(shuffled["photo_id"], groups, strict=True))
    assert of["0-0"] == of["0-1"]
    assert of["1-0"] == of["1-1"]
    assert of["2-0"] == of["2-1"]
    assert len(set(of.values())) == 4
    assert steps[-1] == (7, 7)
    assert len(catalog.near_duplicate_groups(tmp_path, frame.iloc[:0])) == 0


def test_a_folder_that_cannot_be_written_is_a_catalog_error(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(CatalogError, match="photo 1 cannot be stored"):
        catalog.append(tmp_path, {"photo_id": "1"}, b"the image")


# Any text, with more of the characters that are special in CSV.
values = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(',"\n\r'), max_size=12)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.fixed_dictionaries({"airline": values, "aircraft_type": values}), min_size=1, max_size=4),
    cut=st.integers(min_value=0, max_value=200),
)
def test_a_kill_while_a_row_is_written_loses_at_most_that_row(rows: list[dict[str, str]], cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, row in enumerate(rows):
            catalog.append(folder, {"photo_id": str(number), **row}, b"an image")
        complete = catalog.read(folder)
        file = folder / "catalog.csv"
        last_row = file.read_bytes().rstrip(b"\n").rfind(b"\n") + 1
        size = file.stat().st_size
        with file.open("rb+") as handle:
            handle.truncate(max(last_row, size - cut))

        torn = catalog.read(folder)
        pd.testing.assert_frame_equal(torn.iloc[: len(rows) - 1], complete.iloc[: len(rows) - 1])
        catalog.append(folder, {"photo_id": "next"}, b"an image")
        repaired = catalog.read(folder)
        remaining = len(rows) if cut == 0 else len(rows) - 1
        assert repaired["photo_id"].tolist() == [*(str(number) for number in range(remaining)), "next"]
        pd.testing.assert_frame_equal(repaired.iloc[:remaining], complete.iloc[:remaining])


@settings(max_examples=20, deadline=None)
@given(st.integers(min_value=0, max_value=200))
def test_a_partial_header_is_repaired(cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "catalog.csv").write_text(",".join(catalog.COLUMNS)[:cut])
        catalog.append(folder, {"photo_id": "1"}, b"an image")
        assert catalog.photo_ids(folder) == {"1"}


def test_every_row_of_the_photo_catalog_is_read_with_its_label_path() -> None:
    if not PHOTOS.exists():
        pytest.skip("the photo catalog is not on this machine")
    frame = catalog.read(PHOTOS)
    catalog.check(PHOTOS, frame)
    with (PHOTOS / "catalog.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert frame["photo_id"].tolist() == [row["photo_id"] for row in rows]
    assert frame["aircraft_type"].tolist() == [row["aircraft_type"] for row in rows]
    assert (frame["constructor"] != "").all()
    # A customer code has two characters, so 737-86J is a 737-800, and 737-8 MAX is not.
    count = sum(re.match(r"737-8[0-9A-Z]{2}", row["aircraft_type"]) is not None for row in rows)
    assert frame["model"].value_counts()["737-800"] == count > 0


@pytest.mark.parametrize(
    ("column", "value", "meaning"),
    [
        ("phash", "1.23E+18", "16 hexadecimal digits"),
        ("width", "420,5", "a number of pixels"),
        ("height", "1.2E+03", "a number of pixels"),
        ("sha256", "1,9E+76", "64 hexadecimal digits"),
    ],
)
def test_a_value_that_a_spreadsheet_changed_is_named_with_its_row(
    tmp_path: Path, column: str, value: str, meaning: str
) -> None:
    rows = ["photo_id,file,constructor,extra", "1,1.jpg,Airbus,", f'2,2.jpg,Airbus,"{value}"']
    (tmp_path / "catalog.csv").write_text("\n".join(rows).replace("extra", column) + "\n", encoding="utf-8")
    words = rf"The {column} in row 2 of .* is '{re.escape(value)}', which is not {meaning}: a spreadsheet may"
    with pytest.raises(CatalogError, match=words):
        catalog.read(tmp_path)


def test_sizes_with_decimals_as_pandas_writes_them_are_read(tmp_path: Path) -> None:
    text = 'photo_id,file,constructor,width,height\n1,1.jpg,Airbus,420.0,"280,0"\n2,2.jpg,Airbus,,\n'
    (tmp_path / "catalog.csv").write_text(text, encoding="utf-8")
    frame = catalog.read(tmp_path)
    assert list(frame["width"]) == ["420", ""]
    assert list(frame["height"]) == ["280", ""]


@pytest.mark.parametrize(
    ("damage", "words"),
    [("same", r"photo_id '1' is not unique: rows 1, 2 of"), (",,,", "Row 2 of .* has no photo_id")],
)
def test_nothing_is_imported_into_a_catalog_with_doubled_ids_or_blank_rows(
    tmp_path: Path, damage: str, words: str
) -> None:
    out, pictures = tmp_path / "out", tmp_path / "A320-214"
    catalog.append(out, {"photo_id": "1", "constructor": "Boeing"}, b"the image")
    header, row = (out / "catalog.csv").read_text(encoding="utf-8").splitlines()
    damaged = row if damage == "same" else "," * header.count(",")
    text = f"{header}\n{row}\n{damaged}\n"
    (out / "catalog.csv").write_text(text, encoding="utf-8")
    pictures.mkdir()
    Image.new("RGB", (60, 40), (10, 100, 200)).save(pictures / "new.jpg")
    with pytest.raises(CatalogError, match=words):
        import_folder(pictures, out)
    assert (out / "catalog.csv").read_text(encoding="utf-8") == text


def test_unix_tools_see_no_carriage_return_in_the_last_column(tmp_path: Path) -> None:
    catalog.append(tmp_path, {"photo_id": "1"}, b"the image")
    assert b"\r" not in (tmp_path / "catalog.csv").read_bytes()
