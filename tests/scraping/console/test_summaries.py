"""What is said when a crawl has ended."""

from collections import Counter
from pathlib import Path

import pytest

from planespotter_scraping import catalog
from planespotter_scraping.console.summaries import show
from planespotter_scraping.crawling.result import CrawlResult


def test_what_was_done_and_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog.append(tmp_path, {"photo_id": "1", "constructor": "Airbus", "registration": "D-AIZC"}, b"an image")
    missing = {"airline": Counter({"not on the card": 1}), "image_url": Counter({"no image": 2})}
    show(tmp_path, CrawlResult(pages=1, stored=1, missing=missing, notes=Counter({"A note.": 1})))
    assert capsys.readouterr().out.splitlines()[-5:] == [
        "1 page read, 1 photo stored, 0 known already.",
        "A note.",
        "1 photo without an airline: their pages do not say.",
        "1 photo without a type: their pages do not say.",
        "2 cards without image_url: no image.",
    ]


def test_what_a_site_wrote_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others, bad = Counter({"[/red]": 2}), {"x-1": "it begins '[/b]'"}
    show(tmp_path, CrawlResult(other_constructors=others, bad_images=bad))
    said = capsys.readouterr().out
    assert "Left out, since --constructors does not name them: 2 of [/red]." in said
    assert "1 photo without a usable image, such as x-1: it begins '[/b]'." in said
