"""Console summary of a crawl."""

from collections import Counter
from pathlib import Path

import pytest

from planespotter_scraping import catalog
from planespotter_scraping.console.summaries import show
from planespotter_scraping.crawling.result import CrawlResult


def test_counts_notes_and_missing_fields_are_summarized(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog.append(tmp_path, {"photo_id": "1", "constructor": "Airbus", "registration": "D-AIZC"}, b"an image")
    missing = {"airline": Counter({"not on the card": 1}), "image_url": Counter({"no image": 2})}
    show(tmp_path, CrawlResult(pages=1, stored=1, missing=missing, notes=Counter({"A note.": 1})))
    assert capsys.readouterr().out.splitlines()[-5:] == [
        "1 page read, 1 photo stored, 0 known already.",
        "A note.",
        "1 photo without an airline on the page.",
        "1 photo without a type on the page.",
        "2 cards without image_url: no image.",
    ]


def test_text_of_a_site_is_not_interpreted_as_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    constructors, bad = Counter({"[/red]": 2}), {"x-1": "it begins '[/b]'"}
    show(tmp_path, CrawlResult(other_constructors=constructors, bad_images=bad))
    output = capsys.readouterr().out
    assert "Skipped, not in --constructors: 2 of [/red]." in output
    assert "1 photo without a usable image, such as x-1: it begins '[/b]'." in output
