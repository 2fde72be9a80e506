"""Label review: contradictions in the column `review`, for people and spreadsheets."""

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


def test_contradicting_labels_come_before_labels_with_one_value(tmp_path: Path) -> None:
    remarks = review.remarks(stored(tmp_path))
    assert [(remark.photo_id, remark.field, remark.differs) for remark in remarks] == [
        ("3", "aircraft_type", True),
        ("2", "airline", False),
        ("3", "registration", False),
    ]
    assert remarks[0].finding == "the card says 737-8AS; WL, the address 737-7BD"


def test_the_command_prints_text_and_csv(tmp_path: Path) -> None:
    stored(tmp_path)
    text = CliRunner().invoke(app, ["catalog", "review", str(tmp_path), "--top", "1"]).stdout
    assert text.startswith("2 photos to review: 1 label with two different values, 2 with one value only.\n3  aircraft")
    assert "https://p.test/3" in text
    assert "... and 2 more" in text
    rows = list(
        csv.DictReader(io.StringIO(CliRunner().invoke(app, ["catalog", "review", str(tmp_path), "--csv"]).stdout))
    )
    assert [row["field"] for row in rows] == ["aircraft_type", "airline", "registration"]


def test_a_catalog_without_contradictions_has_nothing_to_review(tmp_path: Path) -> None:
    catalog.append(tmp_path, {"photo_id": "1", "constructor": "Boeing"}, b"x")
    assert "No labels to review" in CliRunner().invoke(app, ["catalog", "review", str(tmp_path)]).stdout
