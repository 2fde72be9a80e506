"""Attribution page: authors and licences of a catalog's photos."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError, attribution
from planespotter_scraping.catalog.folder_import import import_folder
from planespotter_scraping.cleaning import clean
from planespotter_scraping.cli import app

ROW = {
    "photo_id": "commons-1",
    "source": "commons",
    "page_url": "https://wiki.test/wiki/File:A_(1).jpg",
    "constructor": "Airbus",
    "photographer": "Tenzin W.",
    "licence": "CC BY-SA 4.0",
    "licence_url": "https://creativecommons.org/licenses/by-sa/4.0",
    "credit": "Own work",
    "title": "Druk, Airbus A319-115, A5-RGF (1)",
    "width": "1280",
    "height": "853",
    "original_size": "3000x2000",
}


def jpeg(side: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(side).integers(0, 255, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()


def lines(folder: Path) -> list[str]:
    text = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("- ")]


def test_each_licensed_photo_has_a_line_with_author_licence_and_source(tmp_path: Path) -> None:
    catalog.append(tmp_path, ROW, b"1")
    catalog.append(tmp_path, {"photo_id": "own-1", "constructor": "Airbus"}, b"2")
    assert attribution.write(tmp_path) == 1
    assert lines(tmp_path) == [
        "- [Druk, Airbus A319-115, A5-RGF (1)](https://wiki.test/wiki/File:A_%281%29.jpg) by Tenzin W., "
        "[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0), scaled down from 3000x2000: "
        "`images/commons/commons-1.jpg`"
    ]
    page = (tmp_path / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert page.splitlines()[2].startswith("Anyone may use the 1 photo below")


def test_spaces_in_a_url_are_escaped_and_cropped_rows_are_stated(tmp_path: Path) -> None:
    row = {**ROW, "page_url": "https://wiki.test/A 1.jpg", "height": "846", "cropped_bottom": "7"}
    catalog.append(tmp_path, {**row, "original_size": "1280x853"}, b"1")
    attribution.write(tmp_path)
    assert "](https://wiki.test/A%201.jpg) by" in lines(tmp_path)[0]
    assert "4.0), cropped by 7 rows: `images/" in lines(tmp_path)[0]


def test_stretched_photos_are_stated_and_do_not_count_as_scaled_down(tmp_path: Path) -> None:
    row = {**ROW, "width": "1920", "height": "853", "stretched": "1.5", "original_size": "1280x853"}
    catalog.append(tmp_path, row, b"1")
    attribution.write(tmp_path)
    assert "4.0), stretched to 1.5 times its width: `images/" in lines(tmp_path)[0]


def test_cleaning_undo_and_import_refresh_an_existing_page(tmp_path: Path) -> None:
    folder, own = tmp_path / "catalog", tmp_path / "own" / "Boeing" / "737-800"
    small, large = (jpeg(side) for side in (64, 300))
    catalog.append(folder, ROW, large)
    catalog.append(folder, {**ROW, "photo_id": "commons-2"}, small)
    clean.clean(folder)
    assert not (folder / attribution.FILE).exists()
    clean.undo(folder)
    attribution.write(folder)
    clean.clean(folder, dry_run=True)
    assert len(lines(folder)) == 2
    clean.clean(folder)
    assert len(lines(folder)) == 1
    clean.undo(folder)
    assert len(lines(folder)) == 2
    own.mkdir(parents=True)
    (own / "1.jpg").write_bytes(jpeg(301))
    (tmp_path / "labels.csv").write_text("file,constructor,licence\nBoeing/737-800/1.jpg,Boeing,CC0\n")
    import_folder(tmp_path / "own", folder, labels=tmp_path / "labels.csv")
    assert len(lines(folder)) == 3


def test_unknown_values_are_not_claimed(tmp_path: Path) -> None:
    bare = {"photo_id": "x-1", "source": "x", "constructor": "Boeing", "licence": "Public domain"}
    catalog.append(tmp_path, {**ROW, "credit": "Archive of Paro", "original_size": "1280x853"}, b"1")
    catalog.append(tmp_path, bare, b"2")
    attribution.write(tmp_path)
    first, second = lines(tmp_path)
    assert "by Tenzin W., credit: Archive of Paro, [CC BY-SA 4.0]" in first
    assert "scaled down" not in first
    assert second == "- x-1 by an unknown author, Public domain: `images/x/x-1.jpg`"


def test_the_same_rows_yield_the_same_page_at_any_number(tmp_path: Path) -> None:
    catalog.append(tmp_path, ROW, b"1")
    header, row = (tmp_path / "catalog.csv").read_text(encoding="utf-8").splitlines()
    rows = [row.replace("commons-1", f"commons-{number}") for number in range(5000)]
    (tmp_path / "catalog.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    assert attribution.write(tmp_path) == 5000
    page = (tmp_path / "ATTRIBUTION.md").read_bytes()
    assert attribution.write(tmp_path) == 5000
    assert (tmp_path / "ATTRIBUTION.md").read_bytes() == page
    assert len(set(lines(tmp_path))) == 5000


@given(
    st.fixed_dictionaries(
        {name: st.text(st.characters(codec="utf-8")) for name in ("title", "photographer", "credit")}
    ),
    st.sampled_from(["", "javascript:alert(1)", "https://x.test/a)[b](c <d> `e`", "https://x.test/ä\n- [x](y)"]),
)
def test_untrusted_text_is_escaped_and_stays_on_its_line(texts: dict[str, str], address: str) -> None:
    row = {**dict.fromkeys(catalog.COLUMNS, ""), **ROW, **texts, "page_url": address, "file": "images/1.jpg"}
    line = attribution._line(row)
    assert "\n" not in line
    assert "](javascript" not in line
    assert "<d>" not in line
    links = re.sub(r"\\.", "", line).count("](")  # unescaped
    assert links == (2 if address.startswith("https") else 1)


def test_a_catalog_without_licences_has_no_page(tmp_path: Path) -> None:
    catalog.append(tmp_path, {"photo_id": "own-1", "constructor": "Airbus"}, b"2")
    (tmp_path / "ATTRIBUTION.md").write_text("of photos that are gone")
    assert attribution.write(tmp_path) == 0
    assert not (tmp_path / "ATTRIBUTION.md").exists()


def test_the_command_reports_the_number_of_photos(tmp_path: Path) -> None:
    catalog.append(tmp_path, ROW, b"1")
    result = CliRunner().invoke(app, ["catalog", "attribution", str(tmp_path)])
    assert result.exit_code == 0
    assert "names the authors of 1 photo" in result.output.replace("\n", " ")
    result = CliRunner().invoke(app, ["catalog", "attribution", str(tmp_path / "none")])
    assert isinstance(result.exception, CatalogError)


def test_a_page_that_cannot_be_written_is_a_catalog_error(tmp_path: Path) -> None:
    catalog.append(tmp_path, ROW, b"1")
    (tmp_path / "ATTRIBUTION.md" / "in the way").mkdir(parents=True)
    with pytest.raises(CatalogError, match=r"ATTRIBUTION.md cannot be written: .*`planespotter catalog attribution"):
        attribution.write(tmp_path)
