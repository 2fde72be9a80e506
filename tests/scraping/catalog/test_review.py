"""The labels that a person should look at."""

import csv
import io
from pathlib import Path

import pandas as pd
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog import review
from planespotter_scraping.cli import app

REVIEWS = {
    "1": "",
    "2": "airline: only the address says Druk",
    "3": "aircraft_type: the card says 737-8AS; WL, the address 737-7BD; registration: only the address says A5-ABC",
}


def stored(folder: Path) -> pd.DataFrame:
    for photo_id, text in REVIEWS.items():
        row = {"photo_id": photo_id, "source": "s", "constructor": "Boeing", "page_url": f"https://p.test/{photo_id}"}
        catalog.append(folder, row | {"review": text}, b"x")
    return catalog.read(folder)


def test_labels_that_differ_come_before_those_that_were_read_once(tmp_path: Path) -> None:
    found = review.remarks(stored(tmp_path))
    assert [(remark.photo_id, remark.field, remark.differs) for remark in found] == [
        ("3", "aircraft_type", True),
        ("2", "airline", False),
        ("3", "registration", False),
    ]
    assert found[0].found == "the card says 737-8AS; WL, the address 737-7BD"


def test_the_command_prints_them_for_people_and_for_spreadsheets(tmp_path: Path) -> None:
    stored(tmp_path)
    text = CliRunner().invoke(app, ["catalog", "review", str(tmp_path), "--top", "1"]).stdout
    assert text.startswith("2 photos to look at: 1 labels read in two ways, 2 read only once.\n3  aircraft_type: ")
    assert "https://p.test/3" in text
    assert "... and 2 more" in text
    rows = list(
        csv.DictReader(io.StringIO(CliRunner().invoke(app, ["catalog", "review", str(tmp_path), "--csv"]).stdout))
    )
    assert [row["field"] for row in rows] == ["aircraft_type", "airline", "registration"]


def test_a_catalog_without_remarks_says_so(tmp_path: Path) -> None:
    catalog.append(tmp_path, {"photo_id": "1", "constructor": "Boeing"}, b"x")
    assert "Nothing to look at" in CliRunner().invoke(app, ["catalog", "review", str(tmp_path)]).stdout
